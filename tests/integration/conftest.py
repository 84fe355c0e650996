# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the integration tests: a real Airflow under a real supervisord, and a real Ansible."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbed import fleet as fleets
from testbed import hosts, releases
from testbed.errors import MissingPython
from testbed.fleet import Fleet
from testbed.installation import Installer, find_uv
from testbed.instance import Airflow, free_port
from testbed.reaper import reaped
from testbed.runner import Ansible
from xdist.scheduler import LoadScopeScheduling

CHECKOUT = Path(__file__).resolve().parents[2]
# Of each way to keep users one, and in the middle one that restarts for backends; `make test-fleet` runs all.
MEMBERS = "airflow-3-3-2-fab,airflow-2-11-2,airflow-3-3-2-simple"


# Files that use the fleet: hosts are dear, so one worker has them all.
ON_FLEET = ("test_audit", "test_faults", "test_fleet", "test_fleet_users", "test_remediation")


class ByAirflow(LoadScopeScheduling):  # type: ignore[misc]  # xdist leaves its arguments untyped
    """Workers share out the servers: those tests go together that use the same one, in their order."""

    def _split_scope(self, nodeid: str) -> str:
        file, _colons, test = nodeid.partition("::")
        release = re.search(r"\[\d+\.\d+\.\d+", test)
        return "fleet" if Path(file).stem in ON_FLEET else file + (release[0] if release else "")


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    return ByAirflow(config, log)


@pytest.fixture(scope="session")
def airflow() -> Iterator[Airflow]:
    """The release named by AIRFLOW_VERSION, healthy, in a fresh home that is gone afterwards."""
    release = releases.release(os.environ.get("AIRFLOW_VERSION", releases.DEFAULT))
    installer = Installer(CHECKOUT / ".build/airflow", find_uv(CHECKOUT), print)
    try:
        installation = installer.airflow(release)
    except MissingPython as error:
        pytest.skip(str(error))
    # Not pytest's own temporary folder: its paths get too long for supervisord's socket.
    home = Path(tempfile.mkdtemp(prefix="airflow-"))
    with reaped(home):
        airflow = Airflow(installation, home, free_port())
        airflow.prepare()
        airflow.start()
        yield airflow


@pytest.fixture(scope="session")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Ansible:
    """The ansible-core beside this pytest, with this checkout as the installed collection."""
    python = Path(sys.executable)
    return Ansible(python.parent, tmp_path_factory.mktemp("ansible"), CHECKOUT / ".build/collections", python)


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """Systemd hosts with the Airflows that AIRFLOW_FLEET names, all servers healthy, and two light hosts."""
    why_not = hosts.reason_to_skip()
    if why_not:
        pytest.skip(why_not)
    names = os.environ.get("AIRFLOW_FLEET", MEMBERS).split(",")
    folder = Path(tempfile.mkdtemp(prefix="fleet-"))
    with fleets.fleet(folder, [name for name in names if name != "all"], light=2) as fleet:
        yield fleet


@pytest.fixture(scope="session")
def on_fleet(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Ansible:
    """The same ansible-core, for the hosts of the fleet."""
    python = Path(sys.executable)
    folder = tmp_path_factory.mktemp("ansible-fleet")
    collections = CHECKOUT / ".build/collections"
    return Ansible(python.parent, folder, collections, python, hosts=fleet.inventory(), prefix=fleet.bed.inside())

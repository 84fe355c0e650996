# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the integration tests: a real Airflow under a real supervisord, and a real Ansible."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from testbed import fleet as fleets
from testbed import hosts, releases
from testbed.errors import MissingProgram, MissingPython
from testbed.fleet import Fleet
from testbed.instance import Airflow
from testbed.runner import Ansible
from testbed.running import CHECKOUT, running
from testbed.stopwatch import note
from xdist.scheduler import LoadScopeScheduling

# Of each way to keep users one, and in the middle one that restarts for backends; `make test-fleet` runs all.
MEMBERS = "airflow-3-3-2-fab,airflow-2-11-2,airflow-3-3-2-simple"


# Files that use the fleet: hosts are dear, so one worker has them all.
ON_FLEET = ("test_audit", "test_faults", "test_fleet", "test_fleet_users", "test_remediation", "test_night")


# These begin first: what takes long must not begin last, when the other worker has nothing left to do.
LONGEST = (*ON_FLEET, "test_config_roundtrip", "test_airflow_api_auth", "test_fake_webserver", "test_service_managers")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


class ByAirflow(LoadScopeScheduling):  # type: ignore[misc]  # xdist leaves its arguments untyped
    """Workers share out the servers: those tests go together that use the same one, in their order."""

    def _split_scope(self, nodeid: str) -> str:
        file, _colons, test = nodeid.partition("::")
        release = re.search(r"\[\d+\.\d+\.\d+", test)
        return "fleet" if Path(file).stem in ON_FLEET else file + (release[0] if release else "")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        note(report.when or "", report.duration, report.nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    return ByAirflow(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup() -> Generator[None, Any, Any]:
    """Skip, with the reason, what needs an interpreter or a program that this machine does not have."""
    try:
        return (yield)
    except (MissingProgram, MissingPython) as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def airflow() -> Iterator[Airflow]:
    """The version named by AIRFLOW_VERSION, with a scheduler."""
    with running(os.environ.get("AIRFLOW_VERSION", releases.DEFAULT)) as airflow:
        yield airflow


@pytest.fixture(scope="session")
def fake() -> Iterator[Airflow]:
    """The stand-in for Airflow's webserver: every test that uses it restarts it, in a tenth of the time."""
    with running(releases.DEFAULT, fake=True) as airflow:
        yield airflow


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Any:
    """An Airflow whose server may be restarted: the stand-in, and for tests marked ``witness`` the real one as well.

    The test file's fixtures ``fake`` and ``airflow`` are those two. Tests marked ``real`` have the real one only.
    """
    return request.getfixturevalue(request.param)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" in metafunc.fixturenames:
        real, witness = map(metafunc.definition.get_closest_marker, ("real", "witness"))
        kinds = ["airflow"] if real else ["fake", "airflow"] if witness else ["fake"]
        metafunc.parametrize("server", kinds, indirect=True)


@pytest.fixture(scope="session")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ansible]:
    """The ansible-core beside this pytest, with this checkout as the installed collection."""
    python = Path(sys.executable)
    directory = tmp_path_factory.mktemp("ansible")
    with closing(Ansible(python.parent, directory, CHECKOUT / ".build/collections", python)) as ansible:
        yield ansible


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
def on_fleet(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ansible]:
    """The same ansible-core, for the hosts of the fleet."""
    python = Path(sys.executable)
    directory = tmp_path_factory.mktemp("ansible-fleet")
    collections = CHECKOUT / ".build/collections"
    prefix = fleet.bed.inside()
    with closing(Ansible(python.parent, directory, collections, python, fleet.inventory(), prefix)) as ansible:
        yield ansible

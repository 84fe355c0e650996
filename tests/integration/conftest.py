# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the integration tests: a real Airflow under a real supervisord, and a real Ansible."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbed import releases
from testbed.errors import MissingPython
from testbed.installation import Installer, find_uv
from testbed.instance import Airflow, free_port
from testbed.reaper import reaped
from testbed.runner import Ansible

CHECKOUT = Path(__file__).resolve().parents[2]


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

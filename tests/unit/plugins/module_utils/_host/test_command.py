# SPDX-License-Identifier: GPL-3.0-or-later
"""How Airflow's Python is run: where, and what it imports. As which user is shown in the integration tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._host import command
from ansible_collections.fleetops.airflow.plugins.module_utils._host.command import run_python
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host, ServiceDefinition
from unit.plugins import hosts


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host whose service has a directory, in which lies a file that would be imported in place of a real module."""
    monkeypatch.setattr(command, "user_of", lambda _host: None)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    cfg = tmp_path / "airflow.cfg"
    cfg.touch()
    (tmp_path / "json.py").write_text("raise SystemExit('imported from the directory of the service')\n")
    service = ServiceDefinition("the unit", [], {}, None, directory=str(tmp_path), is_known=True)
    return hosts.host(servers=[], service=service, home=str(tmp_path), real_path=str(cfg), interpreter=sys.executable)


def test_program_runs_in_the_directory_of_the_service_and_imports_nothing_from_it(stopped: Host) -> None:
    done = run_python(stopped, "import json, os, sys; print(os.getcwd(), *sys.argv[1:])", ["a", "b"])
    assert done == (0, f"{stopped.home} a b\n")


def test_program_runs_elsewhere_where_there_is_no_such_directory(stopped: Host) -> None:
    service = stopped.service._replace(directory=f"{stopped.home}/none")
    assert run_python(stopped._replace(service=service), "import os; print(os.getcwd())").raw == "/\n"


def test_root_does_not_run_in_a_directory_of_another_user(stopped: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(command, "_refuse_what_others_write", lambda _paths: None)
    monkeypatch.setattr(command, "writable_by_others", lambda path: path)
    assert run_python(stopped, "import os; print(os.getcwd())").raw == "/\n"

# SPDX-License-Identifier: GPL-3.0-or-later
"""The user's own restart command, really run."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._services import managers
from ansible_collections.fleetops.airflow.plugins.module_utils._services.managers import Command


def test_a_command_that_leaves_a_server_behind_returns_at_once(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    begun = time.monotonic()
    Command(f"sleep 60 & echo $! > {pid}; echo started").start()
    assert time.monotonic() - begun < 10
    subprocess.run(["kill", pid.read_text().strip()], check=True)


def test_a_command_that_fails_is_quoted() -> None:
    with pytest.raises(AirflowError, match="restart_command ended with status 3: no such unit"):
        Command("echo no such unit >&2; exit 3").start()


def test_a_command_that_stays_is_ended_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managers, "COMMAND_LIMIT", 1)
    pid = tmp_path / "pid"
    with pytest.raises(AirflowError, match="did not return within 1 s and was killed"):
        Command(f"sleep 60 & echo $! > {pid}; wait").start()
    for _attempt in range(100):
        if not Path(f"/proc/{pid.read_text().strip()}").exists():
            return
        time.sleep(0.05)
    raise AssertionError("the child of the command still runs")

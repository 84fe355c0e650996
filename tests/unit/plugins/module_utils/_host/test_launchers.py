# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process runs by its words, and what a service consists of, with real processes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._host import proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.launchers import (
    airflow_command,
    components_of,
    is_launcher,
)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("python /v/bin/airflow webserver --port 8080", "webserver"),
        ("python -m airflow webserver", "webserver"),
        ("python -W ignore -X dev -m airflow api-server", "api-server"),
        ("python -Im airflow scheduler", "scheduler"),
        ("python -X dev /v/bin/airflow webserver", "webserver"),
        ("python --check-hash-based-pycs always /v/bin/airflow standalone", "standalone"),
        ("python -u /v/bin/airflow", None),
        ("python start.py /v/bin/airflow webserver", None),
        ("python -c x airflow webserver", None),
        ("python -m http.server airflow webserver", None),
        ("python conda run -n af airflow webserver", None),
        ("vim airflow webserver", "webserver"),  # whose executable is no Python
        ("python", None),
        ("", None),
    ],
)
def test_command_of_airflow(line: str, command: str | None) -> None:
    assert airflow_command(line.split()) == command


def started(*words: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(words)
    time.sleep(0.3)
    return process


def test_service_behind_launchers(tmp_path: Path) -> None:
    """A shell that starts a scheduler and something else; the scheduler's own children end in their own time."""
    airflow = tmp_path / "airflow"
    airflow.write_text("import subprocess\nsubprocess.run(['sleep', '30'])\n")
    script = f"{sys.executable} {airflow} scheduler & sleep 31 & timeout 30 {sys.executable} {airflow} celery; true"
    with started("bash", "-c", script) as shell:
        try:
            found = [process.arguments for process in components_of(shell.pid)]
            assert found[0][:2] == ["bash", "-c"]
            assert sorted(words[0] for words in found[1:]) == sorted(["timeout", sys.executable])
            assert [words[-1] for words in found if words[0] == sys.executable] == ["scheduler"]
        finally:
            for process in [*proc.descendants(shell.pid), proc.read_process(shell.pid)]:
                if process:
                    proc.send_signal(process, 9)
    assert components_of(shell.pid) == []


@pytest.mark.parametrize(("words", "launcher"), [(["bash", "-c", "sleep 5; true"], True), (["sleep", "5"], False)])
def test_launcher_by_its_executable(words: list[str], launcher: bool) -> None:
    with started(*words) as process:
        seen = proc.read_process(process.pid)
        assert seen is not None
        assert is_launcher(seen) is launcher
        for child in proc.descendants(process.pid):
            proc.send_signal(child, 9)
        process.kill()

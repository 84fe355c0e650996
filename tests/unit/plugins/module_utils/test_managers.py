# SPDX-License-Identifier: GPL-3.0-or-later
"""The user's own restart command, really run. supervisord is met in the integration tests."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils import _managers
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._managers import Command, Supervisor, supervisor_program
from ansible_collections.fleetops.airflow.plugins.module_utils._proc import Process


def nothing() -> None:
    pass


def test_a_command_that_leaves_a_server_behind_returns_at_once(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    begun = time.monotonic()
    Command(f"sleep 60 & echo $! > {pid}; echo started").restart(nothing, timeout=20)
    assert time.monotonic() - begun < 10
    subprocess.run(["kill", pid.read_text().strip()], check=True)


def test_a_command_that_fails_is_quoted() -> None:
    with pytest.raises(AirflowError, match="restart_command ended with status 3: no such unit"):
        Command("echo no such unit >&2; exit 3").restart(nothing, timeout=20)


def test_a_command_that_stays_is_ended_with_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(AirflowError, match="did not return within 1 s and was killed"):
        Command(f"sleep 60 & echo $! > {pid}; wait").restart(nothing, timeout=1)
    for _attempt in range(100):
        if not Path(f"/proc/{pid.read_text().strip()}").exists():
            return
        time.sleep(0.05)
    raise AssertionError("the child of the command still runs")


def test_names_of_programs() -> None:
    assert supervisor_program({"SUPERVISOR_PROCESS_NAME": "web", "SUPERVISOR_GROUP_NAME": "web"}) == "web"
    assert supervisor_program({"SUPERVISOR_PROCESS_NAME": "web", "SUPERVISOR_GROUP_NAME": "air"}) == "air:web"
    assert supervisor_program({"PATH": "/bin"}) is None


@pytest.mark.parametrize(
    ("text", "url", "login"),
    [
        ("[unix_http_server]\nfile=%(here)s/s.sock ; here\n", "unix://{here}/s.sock", None),
        ("[inet_http_server]\nport=*:9001\nusername=u\npassword=p\n", "http://127.0.0.1:9001", ("u", "p")),
        (
            "[unix_http_server]\nfile=/run/s.sock\npassword={SHA}82ab\n[supervisorctl]\nusername=u\npassword=thepass\n",
            "unix:///run/s.sock",
            ("u", "thepass"),
        ),
    ],
)
def test_where_supervisord_listens(tmp_path: Path, text: str, url: str, login: tuple[str, str] | None) -> None:
    conf = tmp_path / "supervisord.conf"
    conf.write_text(text)
    daemon = Process(1, 0, 0.0, 0, ["/usr/bin/python3", "/usr/bin/supervisord", "-c", str(conf)])
    assert _managers._supervisor_address(daemon) == (url.format(here=tmp_path), login)


def test_a_supervisord_that_hangs_does_not_hold_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Supervisor._call, "__kwdefaults__", {"timeout": 0.2})
    conf = tmp_path / "supervisord.conf"
    conf.write_text("[unix_http_server]\nfile=%(here)s/s\n")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        daemon = Process(4711, 0, 0.0, 0, ["/usr/bin/supervisord", "-c", str(conf)])
        with pytest.raises(AirflowError, match=r"supervisord \(pid 4711\) cannot be reached: timed out"):
            Supervisor(daemon, "airflow-webserver").exists()


def test_a_supervisord_that_listens_nowhere(tmp_path: Path) -> None:
    conf = tmp_path / "supervisord.conf"
    conf.write_text("[supervisord]\n")
    daemon = Process(1, 0, 0.0, 0, ["/usr/bin/supervisord", f"--configuration={conf}"])
    with pytest.raises(AirflowError, match=r"opens no interface .* use restart_command"):
        _managers._supervisor_address(daemon)

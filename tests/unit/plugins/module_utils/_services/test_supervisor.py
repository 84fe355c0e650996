# SPDX-License-Identifier: GPL-3.0-or-later
"""Where supervisord is reached, out of its configuration. It is met itself in the integration tests."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.proc import Process
from ansible_collections.fleetops.airflow.plugins.module_utils._services import supervisor
from ansible_collections.fleetops.airflow.plugins.module_utils._services.names import supervisor_program
from ansible_collections.fleetops.airflow.plugins.module_utils._services.supervisor import Supervisor


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
    assert supervisor._supervisor_address(daemon) == (url.format(here=tmp_path), login)


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
        supervisor._supervisor_address(daemon)

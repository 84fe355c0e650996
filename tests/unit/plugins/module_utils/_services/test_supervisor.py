# SPDX-License-Identifier: GPL-3.0-or-later
"""Where supervisord is reached, out of its configuration. It is met itself in the integration tests."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host import proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.proc import Process
from ansible_collections.fleetops.airflow.plugins.module_utils._host.trust import supervisor_program
from ansible_collections.fleetops.airflow.plugins.module_utils._services.supervisor import Supervisor
from ansible_collections.fleetops.airflow.plugins.module_utils._services.supervisor_config import SupervisorConfig


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
    assert SupervisorConfig(daemon).address() == (url.format(here=tmp_path), login)


def test_a_supervisord_that_hangs_does_not_hold_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Supervisor._call, "__kwdefaults__", {"timeout": 0.2})
    conf = tmp_path / "supervisord.conf"
    conf.write_text("[unix_http_server]\nfile=%(here)s/s\n")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        daemon = Process(4711, 0, 0.0, 0, ["/usr/bin/supervisord", "-c", str(conf)])
        with pytest.raises(AirflowError, match=r"supervisord \(pid 4711\) cannot be reached: .*timed out"):
            Supervisor(daemon, "airflow-webserver").exists()


def test_a_supervisord_that_listens_nowhere(tmp_path: Path) -> None:
    conf = tmp_path / "supervisord.conf"
    conf.write_text("[supervisord]\n")
    daemon = Process(1, 0, 0.0, 0, ["/usr/bin/supervisord", f"--configuration={conf}"])
    with pytest.raises(AirflowError, match=r"opens no interface .* Add one\.$"):
        SupervisorConfig(daemon).address()


def test_supervisord_that_listens_by_an_included_file(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/http.conf").write_text("[unix_http_server]\nfile=%(here)s/s\nusername=u\npassword=s3cret;x\n")
    daemon = daemon_with(tmp_path, "[include]\nfiles = conf.d/*.conf none/*.ini\n[supervisord]\n")
    assert SupervisorConfig(daemon).address() == (f"unix://{tmp_path}/conf.d/s", ("u", "s3cret;x"))


@pytest.mark.parametrize(
    "options",
    [
        ["-c", "F"],
        ["-cF"],
        ["-nc", "F"],
        ["-ncF"],
        ["-n", "-cF"],
        ["-l", "/x.log", "-c", "F"],
        ["--configuration", "F"],
        ["--configuration=F"],
        ["--conf=F"],
    ],
)
def test_file_of_a_supervisord_by_its_options(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "F").write_text("")
    arguments = ["/usr/bin/supervisord", *(word.replace("F", str(tmp_path / "F")) for word in options)]
    assert SupervisorConfig(Process(1, 0, 0.0, 0, arguments)).path == str(tmp_path / "F")


def daemon_with(folder: Path, text: str) -> Process:
    (folder / "supervisord.conf").write_text(text)
    return Process(1, 0, 0.0, 0, ["/usr/bin/supervisord", "-c", str(folder / "supervisord.conf")])


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SupervisorConfig:
    monkeypatch.setattr(proc, "environment", lambda _pid: {"HOME": "/root", "BASE": "/srv", "A": "1"})
    return SupervisorConfig(
        daemon_with(
            tmp_path,
            """\
[supervisord]
environment = A=2,SHARED=yes
[program:web]
command = %(ENV_BASE)s/bin/airflow webserver --port 808%(process_num)d
process_name = web_%(process_num)02d
numprocs = 2
user = airflow
directory = /srv
environment = AIRFLOW_HOME="/srv/air flow",URL='http://x/%%20',B=%(program_name)s-%(group_name)s
[group:air]
programs = web, scheduler
[program:scheduler]
command = airflow scheduler
""",
        )
    )


def test_what_a_program_is_given(programs: SupervisorConfig) -> None:
    web = programs.program("air:web_01")
    assert web is not None
    assert web.arguments == ["/srv/bin/airflow", "webserver", "--port", "8081"]
    assert (web.user, web.directory) == ("airflow", "/srv")
    assert web.environment == {
        "HOME": "/root",
        "BASE": "/srv",
        "A": "2",
        "SHARED": "yes",
        "AIRFLOW_HOME": "/srv/air flow",
        "URL": "http://x/%20",
        "B": "web-air",
    }
    assert programs.program("air:web_02") is None
    scheduler = programs.program("air:scheduler")
    assert scheduler is not None
    assert (scheduler.arguments, scheduler.user) == (["airflow", "scheduler"], None)

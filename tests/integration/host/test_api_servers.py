# SPDX-License-Identifier: GPL-3.0-or-later
"""How Airflow 3 serves its API: the whole of it, the part that tasks report to by itself, and with gunicorn."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbed.installation import find_uv
from testbed.instance import Airflow, free_port
from testbed.runner import Ansible
from testbed.running import CHECKOUT, running

AUTH, INFO, USER = (f"fleetops.airflow.airflow_{name}" for name in ("api_auth", "api_auth_info", "user"))
VERSION = "3.3.2"
EXECUTION = "airflow-execution-api"


@pytest.fixture(scope="module")
def gunicorn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with gunicorn, for PYTHONPATH: Airflow 3 does not bring it along."""
    directory = tmp_path_factory.mktemp("gunicorn")
    uv = [str(find_uv(CHECKOUT)), "pip", "install", "--quiet", "--python-version", "3.12", "--target", str(directory)]
    subprocess.run([*uv, "gunicorn==23.0.0"], check=True)
    return directory


@pytest.fixture(scope="module")
def two(gunicorn: Path) -> Iterator[Airflow]:
    """One server for the API and one for tasks, on the same airflow.cfg."""
    port = free_port()

    def split(airflow: Airflow) -> None:
        conf = airflow.supervisord_conf.read_text()
        head, program, rest = conf.partition(f"[program:{airflow.server_program}]\n")
        section, next_section, tail = rest.partition("\n[")
        whole = section.replace(f"--port {airflow.port}", f"--port {airflow.port} --apps core")
        execution = section.replace(f"--port {airflow.port}", f"--port {port} --apps execution")
        execution = execution.replace(airflow.server_program, EXECUTION)
        assert execution != section != whole
        text = f"{head}{program}{whole}\n[program:{EXECUTION}]\n{execution}{next_section}{tail}"
        airflow.supervisord_conf.write_text(text)

    environment = {"PYTHONPATH": str(gunicorn)}
    with running(VERSION, server_only=True, before_start=split, environment=environment) as airflow:
        yield airflow


def test_servers_of_one_file_are_judged_by_what_they_serve(ansible: Ansible, two: Airflow) -> None:
    home = {"airflow_home": str(two.home)}
    services = [EXECUTION, two.server_program]
    for args in (home, {**home, "service": services}):
        info = ansible.module(INFO, args)
        assert not info.failed, info.output
        assert info.result["server"]["url"] == two.url
        assert (info.result["server"]["health"], info.result["restart_pending"]) == ("healthy", False)
    done = ansible.module(AUTH, {**home, "jwt_expiration_time": 7200})
    assert "Several servers of Airflow run on this host" in done.msg
    wanted = {**home, "service": services, "jwt_expiration_time": 7200}
    pids = {two.supervisor.pid(program) for program in services}
    done = ansible.module(AUTH, wanted)
    assert done.result.get("restarted"), done.output
    assert not pids & {two.supervisor.pid(program) for program in services}
    assert not ansible.module(AUTH, wanted).changed


def test_gunicorn_is_the_api_server(ansible: Ansible, two: Airflow) -> None:
    two.supervisor.stop(EXECUTION)
    home = {"airflow_home": str(two.home)}
    args = {**home, "service": two.server_program, "options": {"server_type": "gunicorn"}}
    done = ansible.module(AUTH, args)
    assert done.result.get("restarted"), done.output
    title = Path(f"/proc/{two.webserver_pid()}/cmdline").read_text()
    assert title.startswith("gunicorn: master"), title
    info = ansible.module(INFO, home)
    assert not info.failed, info.output
    assert (info.result["server"]["url"], info.result["restart_pending"]) == (two.url, False)
    assert info.result["in_force"]
    again = ansible.module(AUTH, args)
    assert (again.failed, again.changed) == (False, False), again.output
    name, password = two.admin
    done = ansible.module(AUTH, {**home, "auth_manager": "simple", "username": name, "password": password})
    assert not done.failed, done.output


def test_address_by_the_names_of_airflow_2(ansible: Ansible) -> None:
    """An upgrade leaves airflow.cfg as it was, and Airflow 3 reads the former names too."""

    def upgraded(airflow: Airflow) -> None:
        conf = airflow.supervisord_conf.read_text()
        assert f" --port {airflow.port}" in conf
        airflow.supervisord_conf.write_text(re.sub(rf" --(port {airflow.port}|host \S+)", "", conf))
        text = re.sub(r"(?m)^(port|host|base_url) = .*\n", "", airflow.cfg.read_text())
        address = f"web_server_port = {airflow.port}\nweb_server_host = 127.0.0.1\n"
        airflow.cfg.write_text(f"{text}\n[webserver]\n{address}base_url = http://airflow.example.com/\n")

    with running(VERSION, server_only=True, before_start=upgraded) as airflow:
        home = {"airflow_home": str(airflow.home)}
        info = ansible.module(INFO, home)
        assert (info.result["server"]["url"], info.result["server"]["health"]) == (airflow.url, "healthy"), info.output
        made = ansible.module(USER, {**home, "username": "deployer", "password": "pass-4711", "roles": ["user"]})
        assert (made.result.get("created"), made.result.get("login_proved")) == (True, True), made.output
        airflow.supervisor.stop(airflow.server_program)
        done = ansible.module(AUTH, {**home, "service": airflow.server_program, "jwt_expiration_time": 7200})
        assert done.result.get("restarted"), done.output
        assert ansible.module(INFO, home).result["server"]["health"] == "healthy"

# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stand-in for Airflow's server claims, held against the real one: both run each of these tests."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from testbed import processes
from testbed.instance import Airflow

BACKEND = "airflow.api.auth.backend."
FAB_BASIC = "airflow.providers.fab.auth_manager.api.auth.backend.basic_auth"
pytestmark = pytest.mark.witness


@pytest.fixture
def airflow_as_it_was(server: Airflow) -> Iterator[Airflow]:
    pristine = server.cfg.read_bytes()
    yield server
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        master = gunicorn(server)
        os.kill(master, signal.SIGTERM)
        server.wait_until(lambda: not processes.alive(master), "gunicorn has ended")
    server.cfg.write_bytes(pristine)
    server.restart_webserver()


def gunicorn(airflow: Airflow) -> int:
    return int(airflow.pid_file.read_text())


def status(airflow: Airflow, user: str | None = None, password: str | None = None) -> int:
    request = urllib.request.Request(airflow.url + "/api/v1/dags")
    if user:
        pair = f"{user}:{password or airflow.users[user]}"
        request.add_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def title(pid: int) -> str:
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().replace(b"\0", b" ").decode().strip()


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        (f"{BACKEND}basic_auth,{BACKEND}session", True),
        (f" {FAB_BASIC} ,{BACKEND}session", True),
        (f"{BACKEND}session", False),
        (f"{BACKEND}default,{BACKEND}basic_auth", False),
    ],
)
def test_backends_decide_who_may_read(airflow_as_it_was: Airflow, value: str, accepted: bool) -> None:
    airflow = airflow_as_it_was
    airflow.write_backends(value)
    before = status(airflow, "admin")
    airflow.restart_webserver()
    assert before == 403  # only a restart makes the server read its file
    expected = 200 if accepted else 403
    assert (status(airflow, "admin"), status(airflow, "viewer")) == (expected, expected)
    assert (status(airflow), status(airflow, "admin", "not it"), status(airflow, "nobody", "x")) == (403, 403, 403)


def test_the_singular_option_counts_where_the_plural_is_absent(airflow_as_it_was: Airflow) -> None:
    airflow = airflow_as_it_was
    text = airflow.cfg.read_text()
    plural = f"\nauth_backends = {BACKEND}session\n"
    airflow.cfg.write_text(text.replace(plural, f"\nauth_backend = {BACKEND}basic_auth\n"))
    airflow.restart_webserver()
    assert status(airflow, "admin") == 200
    airflow.cfg.write_text(text.replace(plural, f"{plural}auth_backend = {BACKEND}basic_auth\n"))
    airflow.restart_webserver()
    assert status(airflow, "admin") == 403


def test_the_processes_and_what_ends_them(airflow_as_it_was: Airflow) -> None:
    airflow = airflow_as_it_was
    monitor, master = airflow.webserver_pid(), gunicorn(airflow)
    assert title(monitor).endswith(f"bin/airflow webserver --hostname 127.0.0.1 --port {airflow.port} --workers 1")
    assert title(master) == "gunicorn: master [airflow-webserver]"
    workers = processes.tree(master)[:-1]
    assert [title(worker) for worker in workers] == ["[ready] gunicorn: worker [airflow-webserver]"]
    with open(f"/proc/{master}/environ", "rb") as file:
        assert b"AIRFLOW_HOME" not in file.read()
    os.kill(monitor, signal.SIGTERM)
    airflow.wait_until(lambda: not any(map(processes.alive, [monitor, master, *workers])), "all three have ended")
    assert not airflow.pid_file.exists()


def test_hup_leaves_gunicorn_behind_and_its_pid_file_keeps_the_next_from_starting(airflow_as_it_was: Airflow) -> None:
    airflow = airflow_as_it_was
    master = gunicorn(airflow)
    os.kill(airflow.webserver_pid(), signal.SIGHUP)
    airflow.supervisor.stop(airflow.server_program)
    assert (airflow.healthy(), gunicorn(airflow)) == (True, master)
    airflow.supervisor.start(airflow.server_program)
    log = airflow.home / f"{airflow.server_program}.log"
    airflow.wait_until(lambda: f"Already running on PID {master}" in log.read_text(), "the next one gives up")
    airflow.supervisor.stop(airflow.server_program)
    os.kill(master, signal.SIGTERM)
    airflow.wait_until(lambda: not processes.alive(master), "gunicorn has ended")
    gone = subprocess.Popen(["true"])
    gone.wait()
    airflow.pid_file.write_text(f"{gone.pid}\n")  # of a process that is gone: no obstacle
    airflow.supervisor.start(airflow.server_program)
    airflow.wait_healthy()


def test_gunicorn_that_ends_alone_takes_the_api_down_and_not_its_parent(airflow_as_it_was: Airflow) -> None:
    airflow = airflow_as_it_was
    monitor = airflow.webserver_pid()
    os.kill(gunicorn(airflow), signal.SIGTERM)
    airflow.wait_until(lambda: not airflow.healthy(), "the API is down")
    time.sleep(1)
    assert (processes.alive(monitor), airflow.webserver_pid()) == (True, monitor)


def test_a_backend_that_breaks_leaves_a_server_that_lives_and_listens_nowhere(airflow_as_it_was: Airflow) -> None:
    airflow = airflow_as_it_was
    plugin = airflow.home / "plugins/broken_backend.py"
    plugin.parent.mkdir(exist_ok=True)
    plugin.write_text("def init_app(app):\n    raise RuntimeError('no authentication today')\n")
    try:
        airflow.write_backends(f"broken_backend,{BACKEND}session")
        airflow.supervisor.stop(airflow.server_program)
        airflow.supervisor.start(airflow.server_program)
        log = airflow.home / f"{airflow.server_program}.log"
        airflow.wait_until(lambda: "no authentication today" in log.read_text(), "the backend has broken it")
        time.sleep(2)
        assert not airflow.healthy()
        assert processes.alive(airflow.webserver_pid())
    finally:
        plugin.unlink()


def test_a_variable_overrides_the_file(airflow_as_it_was: Airflow) -> None:
    airflow = airflow_as_it_was
    airflow.write_backends(f"{BACKEND}basic_auth,{BACKEND}session")
    conf = airflow.supervisord_conf.read_text()
    variable = f'environment=AIRFLOW__API__AUTH_BACKEND="{BACKEND}session"\n'
    try:
        airflow.supervisord_conf.write_text(conf.replace("environment=\n", variable, 1))
        airflow.supervisor.update()
        airflow.wait_healthy()
        assert status(airflow, "admin") == 403
    finally:
        airflow.supervisord_conf.write_text(conf)
        airflow.supervisor.update()
        airflow.wait_healthy()
    assert status(airflow, "admin") == 200

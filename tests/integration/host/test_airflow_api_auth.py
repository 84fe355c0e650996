# SPDX-License-Identifier: GPL-3.0-or-later
"""airflow_api_auth under a real supervisord: the file, the running server, and what went wrong.

All that the stand-in for the server claims of Airflow is in a test marked ``witness``, which a real Airflow runs too.
"""

from __future__ import annotations

import base64
import configparser
import contextlib
import http.server
import os
import signal
import stat
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed import processes
from testbed.instance import Airflow
from testbed.runner import Ansible, ModuleResult

MODULE = "fleetops.airflow.airflow_api_auth"
BASIC = "airflow.api.auth.backend.basic_auth"
SESSION = "airflow.api.auth.backend.session"
WANTED = {"backends": ["basic_auth", "session"]}


@pytest.fixture
def refusing(server: Airflow) -> Iterator[Airflow]:
    """An Airflow as it comes: the API takes no passwords. Afterwards it is so again, whatever the test did."""
    airflow = server
    pristine = airflow.cfg.read_bytes()
    assert api_status(airflow, "admin") in (401, 403)
    yield airflow
    if airflow.cfg.read_bytes() != pristine or not airflow.healthy():
        airflow.supervisor.stop(airflow.server_program)
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the orphan that a failed test has left
            os.kill(int((airflow.home / "airflow-webserver.pid").read_text()), signal.SIGKILL)
        airflow.cfg.write_bytes(pristine)
        airflow.supervisor.start(airflow.server_program)
        airflow.wait_healthy()


@pytest.fixture
def accepting(refusing: Airflow, ansible: Ansible) -> Airflow:
    """The same with passwords taken."""
    done = ansible.module(MODULE, {**WANTED, "airflow_home": str(refusing.home)})
    assert done.changed, done.output
    return refusing


def api_status(airflow: Airflow, user: str) -> int:
    token = base64.b64encode(f"{user}:{airflow.users[user]}".encode()).decode()
    request = urllib.request.Request(airflow.url + "/api/v1/dags", headers={"Authorization": f"Basic {token}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def assert_untouched(airflow: Airflow, before: bytes, pid: int) -> None:
    assert airflow.cfg.read_bytes() == before
    assert airflow.webserver_pid() == pid
    assert airflow.healthy()
    assert [path.name for path in airflow.home.iterdir() if "airflow.cfg" in path.name] == ["airflow.cfg"]


def refused(
    ansible: Ansible, airflow: Airflow, args: dict[str, Any], check: bool = True, **options: Any
) -> ModuleResult:
    """Run the module, in check mode too: it has to fail in both and to leave the file and the server alone."""
    before, pid = airflow.cfg.read_bytes(), airflow.webserver_pid()
    args = {"airflow_home": str(airflow.home), **WANTED, **args}
    done = ansible.module(MODULE, args, **options)
    assert done.failed, done.output
    assert not done.changed
    assert_untouched(airflow, before, pid)
    if check:
        again = ansible.module(MODULE, args, check=True, **options)
        assert about_this_server(again.msg) == about_this_server(done.msg)
    return done


def about_this_server(message: str) -> str:
    """Leave out which other servers run on the host: other tests start and stop theirs meanwhile."""
    return message.split(" Running here: ")[0]


@pytest.fixture
def watched(server: Airflow, tmp_path: Path) -> dict[str, str]:
    """Options that name an interpreter for Airflow which notes in ``tmp_path/started`` that it was started."""
    python = tmp_path / "python3"
    python.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\nexit 1\n")
    executable = tmp_path / "airflow"
    executable.write_text(f"#!{python}\n")
    for path in (python, executable):
        path.chmod(0o755)
    return {"airflow_executable": str(executable), "airflow_version": server.version}


@pytest.mark.witness
def test_from_refused_to_accepted_and_no_further(
    ansible: Ansible, refusing: Airflow, watched: dict[str, str], tmp_path: Path
) -> None:
    airflow = refusing
    before, pid = airflow.cfg.read_bytes(), airflow.webserver_pid()
    airflow.cfg.chmod(0o640)
    args = {**WANTED, "airflow_home": str(airflow.home), "username": "admin", "password": airflow.users["admin"]}

    would = ansible.module(MODULE, args, check=True, diff=True)
    assert would.changed, would.output
    assert_untouched(airflow, before, pid)

    did = ansible.module(MODULE, args, diff=True)
    for done in (would, did):
        assert done.result["before"] == [SESSION]
        assert done.result["after"] == done.result["in_force"] == [BASIC, SESSION]
        assert done.result["restarted"] is True
        assert done.result["restart_reason"] == "airflow.cfg changes"
        assert done.result["airflow_version"] == airflow.version
        assert done.result["diff"] == did.result["diff"]
    assert did.result["diff"]["before"] == f"[api]\nauth_backends = {SESSION}\n"
    assert did.result["diff"]["after"] == f"[api]\nauth_backends = {BASIC},{SESSION}\n"
    assert api_status(airflow, "admin") == 200
    assert airflow.webserver_pid() != pid

    after = airflow.cfg.read_bytes()
    assert after == before.replace(
        f"\nauth_backends = {SESSION}\n".encode(), f"\nauth_backends = {BASIC},{SESSION}\n".encode()
    )
    assert stat.S_IMODE(airflow.cfg.stat().st_mode) == 0o640

    pid = airflow.webserver_pid()
    for check in (True, False):
        again = ansible.module(MODULE, {**args, **watched}, check=check, diff=True)
        assert (again.changed, again.failed) == (False, False), again.output
        assert again.result["restarted"] is False
        assert again.result["restart_reason"] is None
        assert again.result["in_force"] == [BASIC, SESSION]
        assert again.result["diff"]["before"] == again.result["diff"]["after"]
    assert not (tmp_path / "started").exists()
    unproved = {**args, "username": None, "password": None}
    assert ansible.module(MODULE, {**unproved, **watched, "backends": ["deny_all"]}, check=True).failed
    assert (tmp_path / "started").exists()  # so the watch does see what starts Airflow
    assert_untouched(airflow, after, pid)

    back = ansible.module(MODULE, {**unproved, "backends": ["session"]})
    assert back.changed
    assert airflow.cfg.read_bytes() == before
    assert api_status(airflow, "admin") in (401, 403)


@pytest.mark.witness
def test_the_same_meant_in_other_words_is_no_change(ansible: Ansible, refusing: Airflow) -> None:
    airflow = refusing
    airflow.set_backends(f" {BASIC} ,{SESSION}")
    before, pid = airflow.cfg.read_bytes(), airflow.webserver_pid()
    done = ansible.module(MODULE, {**WANTED, "airflow_home": str(airflow.home)})
    assert (done.changed, done.failed) == (False, False), done.output
    fab = "airflow.providers.fab.auth_manager.api.auth.backend.basic_auth"
    done = ansible.module(MODULE, {"backends": [fab, "session"], "airflow_home": str(airflow.home)})
    assert (done.changed, done.failed) == (False, False), done.output
    assert_untouched(airflow, before, pid)


def test_the_option_of_old_is_resolved(ansible: Ansible, refusing: Airflow) -> None:
    airflow = refusing
    pristine = airflow.cfg.read_text()
    old = f"auth_backend = {BASIC}\n"
    airflow.cfg.write_text(pristine.replace(f"auth_backends = {SESSION}\n", f"auth_backends = {BASIC}\n" + old))
    args = {**WANTED, "airflow_home": str(airflow.home)}
    would = ansible.module(MODULE, args, check=True, diff=True)
    assert would.result["diff"]["before"] == f"[api]\nauth_backends = {BASIC}\n{old}"
    assert ansible.module(MODULE, args).changed
    assert airflow.cfg.read_text() == pristine.replace(f"= {SESSION}\n", f"= {BASIC},{SESSION}\n")
    assert not ansible.module(MODULE, args).changed


def test_a_server_older_than_the_file_is_restarted(ansible: Ansible, accepting: Airflow) -> None:
    airflow = accepting
    before, pid = airflow.cfg.read_bytes(), airflow.webserver_pid()
    os.utime(airflow.cfg)
    args = {**WANTED, "airflow_home": str(airflow.home)}
    would = ansible.module(MODULE, args, check=True)
    did = ansible.module(MODULE, args)
    for done in (would, did):
        assert done.changed, done.output
        assert f"the server (pid {pid}, started" in done.result["restart_reason"]
        assert "is older than airflow.cfg" in done.result["restart_reason"]
    assert airflow.cfg.read_bytes() == before
    assert airflow.webserver_pid() != pid
    assert not ansible.module(MODULE, args).changed


@pytest.mark.witness
def test_never_leaves_the_restart_to_a_handler(ansible: Ansible, refusing: Airflow) -> None:
    airflow = refusing
    pid = airflow.webserver_pid()
    args = {**WANTED, "airflow_home": str(airflow.home), "restart": "never"}
    for check in (True, False):
        done = ansible.module(MODULE, args, check=check)
        assert (done.changed, done.result["restarted"], done.result["restart_pending"]) == (True, False, True)
        assert done.result["in_force"] is None
    again = ansible.module(MODULE, args)
    assert (again.changed, again.result["restart_pending"], again.result["in_force"]) == (False, True, None)
    assert airflow.webserver_pid() == pid
    assert ansible.module(MODULE, {**args, "restart": "when_needed"}).result["restarted"]
    assert api_status(airflow, "admin") == 200
    done = ansible.module(MODULE, args)
    assert (done.changed, done.result["restart_pending"], done.result["in_force"]) == (False, False, [BASIC, SESSION])


def test_restart_command_and_a_server_that_does_not_run(ansible: Ansible, refusing: Airflow) -> None:
    airflow = refusing
    supervisorctl = airflow.installation.supervisor_bin / "supervisorctl"
    command = f"{supervisorctl} -c {airflow.supervisord_conf} restart {airflow.server_program}"
    args = {**WANTED, "airflow_home": str(airflow.home), "restart_command": command, "backup": True}
    assert ansible.module(MODULE, args, check=True).changed
    before = airflow.cfg.read_bytes()
    did = ansible.module(MODULE, args)
    assert did.result["restarted"], did.output
    assert api_status(airflow, "admin") == 200
    backup = Path(did.result["backup_file"])
    assert backup.read_bytes() == before
    assert stat.S_IMODE(backup.stat().st_mode) == stat.S_IMODE(airflow.cfg.stat().st_mode)
    backup.unlink()
    assert not ansible.module(MODULE, args).changed

    airflow.supervisor.stop(airflow.server_program)
    started = ansible.module(MODULE, {**WANTED, "path": str(airflow.cfg), "service": airflow.server_program})
    assert started.changed, started.output
    assert started.result["restart_reason"] == "the server is not running"
    assert airflow.healthy()


def test_a_failing_restart_command_puts_everything_back(ansible: Ansible, refusing: Airflow) -> None:
    airflow = refusing
    before = airflow.cfg.read_bytes()
    args = {**WANTED, "airflow_home": str(airflow.home), "restart_command": "echo no such unit >&2; exit 5"}
    done = ansible.module(MODULE, args)
    assert done.failed
    assert "restart_command ended with status 5: no such unit" in done.msg
    assert airflow.cfg.read_bytes() == before


@pytest.mark.witness
def test_a_server_that_does_not_come_up_is_rolled_back(ansible: Ansible, refusing: Airflow) -> None:
    """The backend can be imported, and breaks the server when it starts: only a restart can show that."""
    airflow = refusing
    before = airflow.cfg.read_bytes()
    fernet_key = secret_of(before, "core", "fernet_key")
    plugins = airflow.home / "plugins"
    plugins.mkdir(exist_ok=True)
    backend = plugins / "breaking_backend.py"
    backend.write_text(f"""\
requires_authentication = None
CLIENT_AUTH = None
def init_app(app):
    print("the key is {fernet_key}", flush=True)
    raise RuntimeError("no authentication today")
""")
    args = {"backends": ["breaking_backend.x", "session"], "airflow_home": str(airflow.home), "health_timeout": 15}
    try:
        (plugins / "breaking_backend").mkdir()
        backend.rename(plugins / "breaking_backend" / "x.py")
        done = ansible.module(MODULE, args)
    finally:
        for path in sorted((plugins / "breaking_backend").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        (plugins / "breaking_backend").rmdir()
    assert done.failed
    assert done.result["rolled_back"] is True
    assert "was not healthy within 15 s" in done.msg
    assert "no authentication today" in done.msg
    assert f"{airflow.cfg} was rolled back. The server runs with it again." in done.msg
    assert fernet_key not in done.output
    assert airflow.cfg.read_bytes() == before
    assert airflow.healthy()
    assert not ansible.module(MODULE, {"backends": ["session"], "airflow_home": str(airflow.home)}).changed


@pytest.mark.witness
def test_a_login_that_is_refused_is_rolled_back(ansible: Ansible, refusing: Airflow) -> None:
    airflow = refusing
    before = airflow.cfg.read_bytes()
    args = {**WANTED, "airflow_home": str(airflow.home), "username": "admin", "password": "not-the-password"}
    done = ansible.module(MODULE, args, verbosity=3, diff=True)
    assert done.failed
    assert done.result["rolled_back"] is True
    assert "refuses the login of admin" in done.msg
    assert "not-the-password" not in done.output
    assert airflow.cfg.read_bytes() == before
    assert api_status(airflow, "admin") in (401, 403)


@pytest.mark.witness
def test_an_orphaned_gunicorn_does_not_pass_for_the_server(ansible: Ansible, accepting: Airflow) -> None:
    """HUP ends `airflow webserver` and leaves gunicorn, which answers /health with the configuration of then."""
    airflow = accepting
    orphan = int((airflow.home / "airflow-webserver.pid").read_text())
    os.kill(airflow.webserver_pid(), signal.SIGHUP)
    airflow.supervisor.stop(airflow.server_program)
    assert airflow.healthy()
    args = {**WANTED, "airflow_home": str(airflow.home), "service": airflow.server_program}
    done = ansible.module(MODULE, args)
    assert done.changed, done.output
    assert f"gunicorn (pid {orphan}) outlived its server" in done.result["restart_reason"]
    assert not processes.alive(orphan)  # process 1 of this machine may take its time to reap it
    assert airflow.healthy()
    assert not ansible.module(MODULE, args).changed


@pytest.mark.witness
def test_an_environment_variable_that_beats_the_file(ansible: Ansible, refusing: Airflow) -> None:
    airflow = refusing
    conf = airflow.supervisord_conf.read_text()
    head, program, rest = conf.partition(f"[program:{airflow.server_program}]\n")
    changed = (
        head + program + rest.replace("environment=\n", f'environment=AIRFLOW__API__AUTH_BACKEND="{SESSION}"\n', 1)
    )
    assert changed != conf
    try:
        airflow.supervisord_conf.write_text(changed)
        airflow.supervisor.update()
        airflow.wait_healthy()
        done = refused(ansible, airflow, {})
        assert f"AIRFLOW__API__AUTH_BACKEND={SESSION} in the environment of the server" in done.msg
        assert done.result["overridden_by"] == "AIRFLOW__API__AUTH_BACKEND"

        # Of a program that does not run, its configuration tells the environment.
        before = airflow.cfg.read_bytes()
        airflow.supervisor.stop(airflow.server_program)
        service = {"service": airflow.server_program, "airflow_home": str(airflow.home)}
        done = ansible.module(MODULE, {**WANTED, **service})
        assert f"AIRFLOW__API__AUTH_BACKEND={SESSION} in the environment of the supervisor program" in done.msg
        assert (done.failed, airflow.cfg.read_bytes(), airflow.healthy()) == (True, before, False)

        # What supervisord has read and the file does not say any more, the restarted server tells.
        airflow.supervisord_conf.write_text(conf)
        done = ansible.module(MODULE, {**WANTED, **service})
        assert done.failed, done.output
        assert f"AIRFLOW__API__AUTH_BACKEND={SESSION} in the environment of the restarted server" in done.msg
        assert (done.result["rolled_back"], airflow.cfg.read_bytes()) == (True, before)
        assert airflow.healthy()
    finally:
        airflow.supervisord_conf.write_text(conf)
        airflow.supervisor.update()
        airflow.wait_healthy()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"backends": ["basic"]}, "'basic' is no API authentication backend of Airflow"),
        ({"backends": []}, "backends is empty"),
        ({"backends": ["basic_auth", BASIC]}, f"backends names {BASIC} more than once"),
        ({"backends": ["no.such.module"]}, "cannot import no.such.module: ModuleNotFoundError: No module named 'no'"),
        ({"backends": ["json.decoder"]}, "json.decoder is no API authentication backend: it has no init_app"),
        (
            {"service": "airflow-webservr"},
            "No service airflow-webservr is known on this host. supervisord has: airflow-",
        ),
        ({"url": "localhost:8080"}, "is not an http:// or https:// URL"),
        ({"url": "http://admin:hunter2@localhost:8080"}, "url holds a username or a password"),
        ({"airflow_executable": "/nowhere/airflow"}, "airflow_executable /nowhere/airflow is no file"),
        ({"airflow_version": "two"}, "Airflow version 'two' is none"),
        ({"airflow_version": "3.1.0"}, "Airflow 3.1.0 has no API authentication backends"),
        ({"airflow_version": "2.2.5"}, "Airflow 2.2.5 has no backend session|takes one backend|'session' is no API"),
        ({"health_timeout": 0}, "health_timeout is 0"),
        ({"path": "/etc/airflow.cfg"}, "path and airflow_home are both given"),
        (
            {"backends": ["session"], "username": "admin", "password": "any"},
            f"with {SESSION} the API takes no passwords",
        ),
    ],
)
def test_bad_input_changes_nothing(ansible: Ansible, refusing: Airflow, args: dict[str, Any], message: str) -> None:
    done = refused(ansible, refusing, args, check="import" not in message)
    assert any(part in done.msg for part in message.split("|")), done.msg


def test_a_path_that_is_no_file(ansible: Ansible, refusing: Airflow) -> None:
    for path in (str(refusing.home), "/nowhere/airflow.cfg"):
        done = refused(ansible, refusing, {"airflow_home": None, "path": path})
        assert f"{path} is no file on this host" in done.msg
        assert f"reads {refusing.cfg}" in done.msg


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda data: data + b"\n[api]\n", "section [api] is there a second time"),
        (lambda data: data + b"\nx = 1\nx = 2\n", "x is there a second time"),
        (lambda data: b"\xef\xbb\xbf" + data, "line 1: the file begins with a byte order mark"),
        (lambda data: data + b"\nname = M\xfcller\n", "not UTF-8"),
        (lambda data: b"stray = 1\n" + data, "line 1: text before the first [section]"),
    ],
)
def test_a_file_that_airflow_could_not_read(ansible: Ansible, refusing: Airflow, edit: Any, message: str) -> None:
    airflow = refusing
    pristine, status = airflow.cfg.read_bytes(), airflow.cfg.stat()
    airflow.cfg.write_bytes(edit(pristine))
    try:
        done = refused(ansible, airflow, {})
        assert done.msg.startswith(f"{airflow.cfg}, line ")
        assert message in done.msg
    finally:
        airflow.cfg.write_bytes(pristine)
        os.utime(airflow.cfg, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_an_address_that_is_not_airflow(ansible: Ansible, refusing: Airflow) -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<h1>Welcome</h1>")

        def log_message(self, *arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        done = refused(ansible, refusing, {"url": url})
        server.shutdown()
    assert f"{url}/health does not answer as Airflow {refusing.version} does (HTTP 200, text/html)" in done.msg


def test_no_secret_of_the_file_or_the_task_is_shown(ansible: Ansible, refusing: Airflow, tmp_path: Path) -> None:
    airflow = refusing
    password = airflow.users["admin"]
    secrets = [
        password,
        secret_of(airflow.cfg.read_bytes(), "core", "fernet_key"),
        secret_of(airflow.cfg.read_bytes(), "webserver", "secret_key"),
        base64.b64encode(f"admin:{password}".encode()).decode(),
    ]
    args = {**WANTED, "airflow_home": str(airflow.home), "username": "admin", "password": password}
    for check in (True, False, False):
        done = ansible.module(MODULE, args, check=check, diff=True, verbosity=3)
        assert not done.failed, done.output
        assert [secret for secret in secrets if secret and secret in done.output] == []

    # Ansible's own files on the host hold what the task was given, and nothing of the file.
    done = ansible.module(
        MODULE,
        {"backends": ["session"], "airflow_home": str(airflow.home), "backup": True},
        env={"ANSIBLE_KEEP_REMOTE_FILES": "1", "ANSIBLE_REMOTE_TMP": str(tmp_path), "TMPDIR": str(tmp_path)},
    )
    assert done.changed, done.output
    left = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert left
    assert [secret for secret in secrets for data in left if secret.encode() in data] == []
    backup = Path(done.result["backup_file"])
    assert secrets[1].encode() in backup.read_bytes()
    assert stat.S_IMODE(backup.stat().st_mode) == stat.S_IMODE(airflow.cfg.stat().st_mode)
    backup.unlink()


def test_two_tasks_at_once_take_turns(ansible: Ansible, refusing: Airflow) -> None:
    airflow = refusing
    results: list[ModuleResult] = []

    def run() -> None:
        results.append(ansible.module(MODULE, {**WANTED, "airflow_home": str(airflow.home)}))

    threads = [threading.Thread(target=run), threading.Thread(target=run)]
    for thread in threads:
        thread.start()
        time.sleep(0.3)
    for thread in threads:
        thread.join()
    assert [done.failed for done in results] == [False, False], [done.output for done in results]
    assert sorted(done.result["restarted"] for done in results) == [False, True]
    assert api_status(airflow, "admin") == 200


def test_a_lost_connection_does_not_stop_it_half_way(ansible: Ansible, refusing: Airflow) -> None:
    """The signals that a dying ssh session brings, while the server is down."""
    airflow = refusing
    done: list[ModuleResult] = []
    thread = threading.Thread(
        target=lambda: done.append(ansible.module(MODULE, {**WANTED, "airflow_home": str(airflow.home)}))
    )
    thread.start()
    airflow.wait_until(lambda: BASIC.encode() in airflow.cfg.read_bytes(), "the file is changed")
    module = module_pids()
    assert module
    for pid in module:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            os.kill(pid, number)
    thread.join()
    assert not done[0].failed, done[0].output
    assert api_status(airflow, "admin") == 200


def module_pids() -> list[int]:
    """Python processes that this one has started; the shell above them is not ours to signal."""
    return [
        pid
        for pid in processes.tree(os.getpid())
        if b"python" in cmdline(pid).split(b"\0")[0] and b"AnsiballZ_airflow_api_auth" in cmdline(pid)
    ]


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def secret_of(data: bytes, section: str, option: str) -> str:
    parser = configparser.RawConfigParser()
    parser.read_string(data.decode())
    return parser.get(section, option)

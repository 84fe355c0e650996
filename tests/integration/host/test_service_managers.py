# SPDX-License-Identifier: GPL-3.0-or-later
"""airflow_api_auth over real ssh on hosts with a real systemd: units, init scripts, and what was started by hand.

On one of the two hosts the server is a stand-in: most of these tests are about systemd.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from testbed import hosts, pythons, releases
from testbed.airflow_host import HOME, PORT, AirflowHost
from testbed.hosts import Bed
from testbed.runner import Ansible, ModuleResult
from testbed.running import CHECKOUT, installed

MODULE = "fleetops.airflow.airflow_api_auth"
BASIC = "airflow.api.auth.backend.basic_auth"
SESSION = "airflow.api.auth.backend.session"
UNIT = "airflow-webserver"
WANTED = {"backends": ["basic_auth", "session"]}
Run = Callable[..., ModuleResult]
# Until now this is where PATH leads in all of Debian.
SYSTEMCTL = "/usr/bin/systemctl"


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    why_not = hosts.reason_to_skip()
    if why_not:
        pytest.skip(why_not)
    interpreters = [pythons.find(releases.release(releases.DEFAULT).pythons)]
    folder = Path(tempfile.mkdtemp(prefix="bed-"))
    with hosts.bed(folder, 2, hosts.read_only_folders(*interpreters)) as bed:
        yield bed


def set_up(bed: Bed, number: int, fake: bool) -> AirflowHost:
    airflow = AirflowHost(bed, bed.hosts[number], installed(releases.DEFAULT), fake=fake)
    airflow.prepare()
    airflow.run(f"systemctl start {UNIT}")
    airflow.wait_healthy()
    return airflow


@pytest.fixture(scope="module")
def airflow(bed: Bed) -> AirflowHost:
    return set_up(bed, 0, fake=False)


@pytest.fixture(scope="module")
def fake(bed: Bed) -> AirflowHost:
    return set_up(bed, 1, fake=True)


@pytest.fixture
def refusing(server: AirflowHost) -> Iterator[AirflowHost]:
    """The API takes no passwords. Afterwards it is so again, the unit runs, and nothing else does."""
    airflow = server
    pristine = airflow.cfg.read_bytes()
    pid = airflow.main_pid()
    yield airflow
    drop_ins = [f"/etc/systemd/system/{UNIT}.service.d", "/etc/init.d/airflow-web"]
    airflow.write_environment()
    airflow.run(f"rm -rf {' '.join(drop_ins)}; systemctl unmask {UNIT}; systemctl daemon-reload")
    if airflow.cfg.read_bytes() != pristine or airflow.main_pid() != pid:
        airflow.run(f"systemctl stop {UNIT} airflow-scheduler; pkill -KILL --uid airflow; rm -f {HOME}/*.pid")
        airflow.cfg.write_bytes(pristine)
        airflow.run(f"systemctl reset-failed; systemctl start {UNIT}")
        airflow.wait_healthy()


@pytest.fixture(scope="module")
def on_hosts(bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ansible]:
    python = Path(sys.executable)
    directory = tmp_path_factory.mktemp("ansible-hosts")
    collections = CHECKOUT / ".build/collections"
    with closing(Ansible(python.parent, directory, collections, python, bed.inventory(), bed.inside())) as ansible:
        yield ansible


@pytest.fixture
def run(on_hosts: Ansible, server: AirflowHost) -> Run:
    """Runs the module on the test's host."""

    def run(args: dict[str, Any], **options: Any) -> ModuleResult:
        return on_hosts.module(MODULE, {**WANTED, **args}, hosts=server.host.name, **options)

    return run


def assert_untouched(airflow: AirflowHost, before: bytes, pid: int) -> None:
    assert airflow.cfg.read_bytes() == before
    assert airflow.main_pid() == pid
    assert airflow.status("/health") == 200


@pytest.mark.witness
@pytest.mark.story
def test_the_unit_is_found_and_restarted(run: Run, refusing: AirflowHost) -> None:
    airflow = refusing
    before, pid = airflow.cfg.read_bytes(), airflow.main_pid()
    assert airflow.status("/api/v1/dags", "admin") in (401, 403)
    would = run({}, check=True)
    assert would.changed, would.output
    assert_untouched(airflow, before, pid)

    did = run({"username": "admin", "password": airflow.users["admin"]})
    assert did.result["restarted"], did.output
    assert did.result["path"] == str(HOME / "airflow.cfg")
    assert airflow.main_pid() != pid
    assert airflow.status("/api/v1/dags", "admin") == 200
    assert airflow.run(f"stat -c %U {HOME}/airflow.cfg") == "airflow\n"

    # Without a change nothing is started, so systemctl is not either. What would show that, does when it is named.
    pid, after = airflow.main_pid(), airflow.cfg.read_bytes()
    airflow.run(f"mv {SYSTEMCTL} {SYSTEMCTL}.real")
    airflow.write(SYSTEMCTL, f'#!/bin/sh\ntouch /run/asked\nexec {SYSTEMCTL}.real "$@"\n', 0o755)
    for pipelining in ("False", "True"):
        for args in ({}, {"service": UNIT}, {"service": f"{UNIT}.service", "service_manager": "systemd"}):
            again = run(args, env={"ANSIBLE_PIPELINING": pipelining})
            assert (again.failed, again.changed) == (False, False), again.output
    assert airflow.run("ls /run/asked", check=False) == ""
    assert run({"restart": "always"}, check=True).changed
    assert airflow.run("ls /run/asked") == "/run/asked\n"
    airflow.run(f"mv {SYSTEMCTL}.real {SYSTEMCTL}")
    assert_untouched(airflow, after, pid)


@pytest.mark.witness
def test_what_does_not_come_up_is_put_back_with_the_journals_words(run: Run, refusing: AirflowHost) -> None:
    airflow = refusing
    before = airflow.cfg.read_bytes()
    module = "def init_app(app):\n    raise RuntimeError('no authentication today')\nrequires_authentication = None\n"
    airflow.write(f"{HOME}/plugins/breaking/backend.py", module)
    done = run({"backends": ["breaking.backend", "session"], "health_timeout": 15})
    airflow.run(f"rm -r {HOME}/plugins/breaking")
    assert done.failed
    assert done.result["rolled_back"] is True, done.msg
    assert f"--- the unit {UNIT}.service:" in done.msg
    assert "no authentication today" in done.msg
    assert airflow.cfg.read_bytes() == before
    assert airflow.status("/health") == 200


def test_a_variable_of_the_unit_that_beats_the_file(run: Run, refusing: AirflowHost) -> None:
    airflow = refusing
    airflow.drop_in(f"Environment=AIRFLOW__API__AUTH_BACKEND={SESSION}")
    airflow.run(f"systemctl restart {UNIT}")
    airflow.wait_healthy()
    before, pid = airflow.cfg.read_bytes(), airflow.main_pid()
    done = run({})
    assert done.failed
    owner = f"the server (pid {pid}, service {UNIT})"
    assert f"AIRFLOW__API__AUTH_BACKEND={SESSION} in the environment of {owner}" in done.msg
    assert_untouched(airflow, before, pid)

    # The same where the unit is stopped, so that only what it says of itself can tell.
    airflow.drop_in("")
    airflow.write_environment("# ours", f"AIRFLOW__API__AUTH_BACKENDS='{SESSION}'")
    airflow.run(f"systemctl stop {UNIT}")
    done = run({"service": UNIT})
    assert done.failed
    assert f"AIRFLOW__API__AUTH_BACKENDS={SESSION} in the environment of the unit {UNIT}.service overrides" in done.msg
    assert airflow.cfg.read_bytes() == before
    assert airflow.main_pid() == 0

    # And where the server was started before the variable came.
    airflow.write_environment()
    airflow.run(f"systemctl start {UNIT}")
    airflow.wait_healthy()
    airflow.write_environment(f"AIRFLOW__API__AUTH_BACKENDS={SESSION}")
    pid = airflow.main_pid()
    done = run({})
    assert done.failed
    owner = f"the server (pid {pid}, service {UNIT}) at its next start"
    assert f"AIRFLOW__API__AUTH_BACKENDS={SESSION} in the environment of {owner}" in done.msg
    assert_untouched(airflow, before, pid)

    # What a script sets is seen after the restart alone.
    airflow.write_environment()
    airflow.write("/srv/start.sh", f'#!/bin/sh\n. /srv/more\nexec {HOME}/bin/airflow "$@"\n', 0o755)
    airflow.write("/srv/more", "")
    airflow.drop_in(f"ExecStart=\nExecStart=/srv/start.sh webserver --hostname 0.0.0.0 --port {PORT}")
    airflow.run(f"systemctl restart {UNIT}")
    airflow.wait_healthy()
    airflow.write("/srv/more", f"export AIRFLOW__API__AUTH_BACKENDS={SESSION}\n")
    done = run({})
    assert done.failed
    assert f"AIRFLOW__API__AUTH_BACKENDS={SESSION} in the environment of the restarted server" in done.msg
    assert (done.result["rolled_back"], airflow.cfg.read_bytes()) == (True, before)


def test_a_unit_that_is_stopped_or_failed_is_started(run: Run, refusing: AirflowHost) -> None:
    airflow = refusing
    airflow.run(f"systemctl kill --signal KILL {UNIT}; systemctl stop {UNIT}")
    done = run({"service": UNIT})
    assert done.result["restarted"], done.output
    assert done.result["path"] == str(HOME / "airflow.cfg")  # as the unit says
    assert airflow.status("/api/v1/dags", "admin") == 200


@pytest.mark.witness
def test_an_orphan_that_systemd_leaves_behind(run: Run, refusing: AirflowHost) -> None:
    airflow = refusing
    airflow.drop_in("KillMode=process\nRestart=no")
    airflow.run(f"systemctl restart {UNIT}")
    airflow.wait_healthy()
    orphan = airflow.pid_file()
    airflow.run(f"kill -HUP {airflow.main_pid()}; sleep 2")
    assert (airflow.main_pid(), airflow.status("/health")) == (0, 200)
    done = run({"service": UNIT})
    assert done.result["restarted"], done.output
    assert airflow.run(f"ls -d /proc/{orphan}", check=False) == ""
    assert airflow.status("/api/v1/dags", "admin") == 200


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"service": "airflow-webservr"}, "No service airflow-webservr is known on this host."),
        ({"service": "airflow-webservr"}, "systemd has: airflow-scheduler.service, airflow-webserver.service"),
        ({"service": "airflow-scheduler"}, f"is the unit {UNIT}.service, not airflow-scheduler. Nothing was changed."),
        (
            {"service": UNIT, "service_manager": "supervisor"},
            f"No service {UNIT} is known on this host. No super",
        ),
        (
            {"service": UNIT, "service_manager": "sysvinit"},
            f"No service {UNIT} is known on this host. /etc/ini",
        ),
        ({"service_manager": "supervisor"}, "how the server is restarted is not known"),
    ],
)
def test_services_that_are_none(run: Run, refusing: AirflowHost, args: dict[str, Any], message: str) -> None:
    before, pid = refusing.cfg.read_bytes(), refusing.main_pid()
    for check in (True, False):
        done = run(args, check=check)
        assert done.failed
        assert message in done.msg
    assert_untouched(refusing, before, pid)


def test_a_masked_unit(run: Run, refusing: AirflowHost) -> None:
    airflow = refusing
    before = airflow.cfg.read_bytes()
    airflow.run("systemctl mask airflow-other")
    done = run({"service": "airflow-other"})
    airflow.run("systemctl unmask airflow-other")
    assert done.failed
    assert "The unit airflow-other.service cannot be used: systemd says masked." in done.msg
    assert airflow.cfg.read_bytes() == before


def test_a_unit_that_is_named_by_an_alias(run: Run, refusing: AirflowHost) -> None:
    airflow = refusing
    airflow.run(f"ln -s {UNIT}.service /etc/systemd/system/airflow.service; systemctl daemon-reload")
    try:
        pid = airflow.main_pid()
        assert run({"service": "airflow"}).result["restarted"]
        assert airflow.main_pid() not in (0, pid)
        again = run({"service": "airflow"})
        assert (again.failed, again.changed) == (False, False), again.output
    finally:
        airflow.run("rm /etc/systemd/system/airflow.service; systemctl daemon-reload")


def test_a_unit_whose_command_is_a_shells(run: Run, refusing: AirflowHost) -> None:
    """It is a server of the API: it has to become healthy, and one that is down is noticed."""
    airflow = refusing
    command = f"cd {HOME} && exec {airflow.executable} webserver --port {PORT} --hostname 0.0.0.0 --workers 1"
    airflow.drop_in(f"ExecStart=\nExecStart=/bin/bash -c '{command}'")
    airflow.run(f"systemctl stop {UNIT}; systemd-run --unit taken --quiet python3 -m http.server {PORT}; sleep 0.5")
    before = airflow.cfg.read_bytes()
    try:
        done = run({"service": UNIT, "health_timeout": 5})
        assert done.failed, done.output
        assert "does not answer as Airflow 2.11.2 does" in done.msg
        assert airflow.cfg.read_bytes() == before
    finally:
        airflow.run("systemctl stop taken")
    done = run({"service": UNIT})
    assert done.result["restarted"], done.output
    assert airflow.status("/api/v1/dags", "admin") == 200
    airflow.run(f"systemctl stop {UNIT}")
    assert run({"service": UNIT}).result["restart_reason"] == "the server is not running"


def test_what_was_started_by_hand_is_nobodys(run: Run, refusing: AirflowHost) -> None:
    """It is in the control group of ssh.service, which must not be restarted for it."""
    airflow = refusing
    before, ssh = airflow.cfg.read_bytes(), airflow.main_pid("ssh")
    command = f"{airflow.executable} webserver --port {PORT} --hostname 0.0.0.0 --workers 1"
    airflow.run(f"systemctl stop {UNIT}")
    airflow.run(f"su airflow -c 'AIRFLOW_HOME={HOME} setsid nohup {command} >/dev/null 2>&1 &'")
    airflow.wait_healthy()
    done = run({"airflow_home": str(HOME)})
    assert done.failed
    assert "how the server is restarted is not known" in done.msg
    done = run({})  # root does not believe another user's process which file is meant
    assert done.failed
    assert (
        "of user airflow claims to be a server that reads /opt/airflow/airflow.cfg, but no service manager" in done.msg
    )
    assert airflow.main_pid("ssh") == ssh
    assert airflow.cfg.read_bytes() == before


@pytest.mark.real
def test_an_init_script_that_starts_a_daemon(run: Run, refusing: AirflowHost) -> None:
    airflow = refusing
    airflow.run(f"systemctl stop {UNIT}")
    command = f"{airflow.installation.executable} webserver -D --port {PORT} --hostname 0.0.0.0 --workers 1"
    airflow.write(
        "/etc/init.d/airflow-web",
        f"""\
#!/bin/sh
monitor={HOME}/airflow-webserver-monitor.pid
case "$1" in
  start) su airflow -c 'AIRFLOW_HOME={HOME} {command}' ;;
  stop)
    [ -f $monitor ] && pid=$(cat $monitor) && kill $pid 2>/dev/null || exit 0
    while kill -0 $pid 2>/dev/null; do sleep 0.1; done ;;
esac
""",
        0o755,
    )
    airflow.run("/etc/init.d/airflow-web start </dev/null >/dev/null 2>&1")
    airflow.wait_healthy()
    args = {"service": "airflow-web", "service_manager": "sysvinit", "airflow_home": str(HOME)}
    done = run(args)
    assert done.result["restarted"], done.output
    assert airflow.status("/api/v1/dags", "admin") == 200
    again = run(args)
    assert (again.failed, again.changed) == (False, False), again.result


def test_several_services_are_restarted_once_each(run: Run, refusing: AirflowHost) -> None:
    airflow = refusing
    airflow.run("systemctl start airflow-scheduler")
    pids = airflow.main_pid(), airflow.main_pid("airflow-scheduler")
    done = run({"service": [UNIT, "airflow-scheduler"]})
    assert done.result["restarted"], done.output
    assert airflow.main_pid() != pids[0]
    assert airflow.main_pid("airflow-scheduler") not in (0, pids[1])
    assert airflow.run(f"systemctl show -P NRestarts {UNIT} airflow-scheduler").split() == ["0", "0"]
    assert airflow.status("/api/v1/dags", "admin") == 200
    assert not run({"service": [UNIT, "airflow-scheduler"]}).changed

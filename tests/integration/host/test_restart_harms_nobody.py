# SPDX-License-Identifier: GPL-3.0-or-later
"""A restart touches what it is for and waits for what takes its time. Without the right to restart nothing happens.

On a host with a real systemd. The server is the stand-in.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from testbed import hosts, pythons, releases
from testbed.airflow_host import HOME, AirflowHost
from testbed.runner import Ansible, ModuleResult
from testbed.running import CHECKOUT, installed

AUTH, INFO, CONFIG = (f"fleetops.airflow.airflow_{name}" for name in ("api_auth", "api_auth_info", "config"))
UNIT, SCHEDULER = "airflow-webserver", "airflow-scheduler"
WANTED = {"backends": ["basic_auth", "session"]}
WRONG = {"username": "admin", "password": "wr0ng-one"}
ROLLED_BACK = "was rolled back. The server runs with it again."
Run = Callable[..., ModuleResult]


@pytest.fixture(scope="module")
def host() -> Iterator[AirflowHost]:
    why_not = hosts.reason_to_skip()
    if why_not:
        pytest.skip(why_not)
    interpreters = [pythons.find(releases.release(releases.DEFAULT).pythons)]
    with hosts.bed(Path(tempfile.mkdtemp(prefix="bed-")), 1, hosts.read_only_folders(*interpreters)) as bed:
        host = AirflowHost(bed, bed.hosts[0], installed(releases.DEFAULT), fake=True)
        host.prepare()
        host.run(f"systemctl start {UNIT}")
        host.wait_healthy()
        yield host


@pytest.fixture(scope="module")
def ansible(host: AirflowHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ansible]:
    python, bed = Path(sys.executable), host.bed
    directory = tmp_path_factory.mktemp("ansible-harmless")
    collections = CHECKOUT / ".build/collections"
    with closing(Ansible(python.parent, directory, collections, python, bed.inventory(), bed.inside())) as ansible:
        yield ansible


@pytest.fixture
def airflow(host: AirflowHost) -> Iterator[AirflowHost]:
    """The API takes no passwords. Afterwards it is so again, and the unit runs as it was set up."""
    pristine = host.cfg.read_bytes()
    yield host
    host.run(f"systemctl stop {SCHEDULER} 'dep-*'; rm -rf /etc/systemd/system/dep-* {HOME}/plugins/slow", check=False)
    host.drop_in(None)
    if host.cfg.read_bytes() != pristine or not host.healthy():
        host.cfg.write_bytes(pristine)
        host.run(f"systemctl reset-failed; systemctl restart {UNIT}")
        host.wait_healthy()


@pytest.fixture
def run(ansible: Ansible, airflow: AirflowHost) -> Run:  # noqa: ARG001  # the host has to be as it was set up
    return ansible.module


def active(airflow: AirflowHost, *units: str) -> list[str]:
    return airflow.run(f"systemctl is-active {' '.join(units)}", check=False).split()


# --- bystanders -------------------------------------------------------------------------------


def test_restart_of_the_scheduler_leaves_the_server_alone(run: Run, airflow: AirflowHost) -> None:
    airflow.run(f"systemctl start {SCHEDULER}")
    pids = airflow.main_pid(), airflow.pid_file(), airflow.main_pid(SCHEDULER)
    for extra in ({}, {"path": f"{HOME}/airflow.cfg"}):
        number = 31 + len(extra)
        done = run(CONFIG, {"service": [SCHEDULER], "settings": {"core": {"parallelism": number}}, **extra})
        assert done.result["restarted"], done.output
        assert f"pid {pids[0]}" in done.output
        assert "keeps its old configuration" in done.output
        assert (airflow.main_pid(), airflow.pid_file()) == pids[:2]
        assert airflow.status("/health") == 200
    assert airflow.main_pid(SCHEDULER) not in (0, pids[2])


@pytest.mark.parametrize("dependency", ["Requires", "BindsTo", "PartOf", "Requisite"])
@pytest.mark.parametrize("args", [{}, WRONG], ids=["changed", "rolled back"])
def test_units_that_stop_with_the_server_run_again(
    run: Run, airflow: AirflowHost, dependency: str, args: dict[str, str]
) -> None:
    service = "[Service]\nExecStart=/bin/sleep infinity\n"
    airflow.write("/etc/systemd/system/dep-a.service", f"[Unit]\n{dependency}={UNIT}.service\n{service}")
    airflow.write("/etc/systemd/system/dep-b.service", f"[Unit]\nBindsTo=dep-a.service\n{service}")
    airflow.write("/etc/systemd/system/dep-off.service", f"[Unit]\n{dependency}={UNIT}.service\n{service}")
    timer = f"[Unit]\n{dependency}={UNIT}.service\n[Timer]\nOnActiveSec=1h\nUnit=dep-off.service\n"
    airflow.write("/etc/systemd/system/dep-c.timer", timer)
    airflow.run("systemctl daemon-reload; systemctl start dep-a dep-b dep-c.timer")
    units = ("dep-a", "dep-b", "dep-c.timer", "dep-off")
    before, pid = active(airflow, *units), airflow.main_pid()
    assert before == ["active", "active", "active", "inactive"]
    done = run(AUTH, {**WANTED, **args})
    assert done.failed == bool(args), done.output
    assert airflow.main_pid() not in (0, pid)
    assert active(airflow, *units) == before


# --- what takes its time ----------------------------------------------------------------------


@pytest.mark.parametrize("args", [{}, WRONG], ids=["changed", "rolled back"])
def test_start_that_takes_longer_than_health_timeout_is_waited_for(
    run: Run, airflow: AirflowHost, args: dict[str, str]
) -> None:
    """As with a migration before the server: it is never interrupted."""
    started, ended = "/run/dep-started", "/run/dep-ended"
    airflow.run(f"rm -f {started} {ended}")
    script = f"/bin/sh -c 'echo x >> {started}; sleep 7; echo x >> {ended}'"
    airflow.drop_in(f"ExecStartPre=+{script}")
    done = run(AUTH, {**WANTED, **args, "health_timeout": 3})
    if args:
        assert done.failed
        assert ROLLED_BACK in done.msg
    else:
        assert done.result["restarted"], done.output
    assert airflow.run(f"cat {started}") == airflow.run(f"cat {ended}") == "x\n" * (2 if args else 1)
    assert airflow.status("/health") == 200


def test_server_that_was_not_healthy_before_is_reported_so(run: Run, airflow: AirflowHost) -> None:
    airflow.drop_in("ExecStartPre=/bin/false")
    airflow.run(f"systemctl restart {UNIT}", check=False)
    before = airflow.cfg.read_bytes()
    done = run(AUTH, {**WANTED, "service": [UNIT], "health_timeout": 3})
    assert done.failed, done.output
    assert "The server was not healthy before this task either" in done.msg
    assert "is not healthy, as before." in done.msg
    assert airflow.cfg.read_bytes() == before


# --- without the right ------------------------------------------------------------------------


def test_task_that_may_not_restart_leaves_all_as_it_was(ansible: Ansible, airflow: AirflowHost) -> None:
    before, pid = airflow.cfg.stat(), airflow.main_pid()
    tasks = [{"name": "As the owner of the file", AUTH: WANTED, "become": True, "become_user": "airflow"}]
    play = [{"hosts": "all", "gather_facts": False, "tasks": tasks}]
    done = ansible.playbook(json.dumps(play) + "\n", env={"ANSIBLE_PIPELINING": "True"})
    message = done.tasks[-1].result["msg"]
    assert f"systemctl stop {UNIT}.service ended with status" in message
    assert f"{HOME}/airflow.cfg was rolled back. The server was not touched." in message
    after = airflow.cfg.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert airflow.main_pid() == pid
    info = ansible.module(INFO, {})
    assert info.result["restart_pending"] is False, info.output


# --- others who edit --------------------------------------------------------------------------


def test_edit_by_another_program_while_imports_are_checked_is_kept(run: Run, airflow: AirflowHost) -> None:
    text = airflow.cfg.read_text()
    line = next(line for line in text.splitlines() if line.startswith("parallelism"))
    backend = (
        f"path = '{HOME}/airflow.cfg'\ntext = open(path).read()\n"
        f"open(path, 'w').write(text.replace({line!r}, 'parallelism = 77'))\n"
        "def init_app(app): pass\ndef requires_authentication(function): return function\n"
    )
    airflow.write(f"{HOME}/plugins/slow/backend.py", backend)
    pid = airflow.main_pid()
    done = run(AUTH, {"backends": ["slow.backend", "session"]})
    assert done.failed, done.output
    assert "was changed by another program while this task was preparing its change. Nothing was changed." in done.msg
    assert airflow.cfg.read_text() == text.replace(line, "parallelism = 77")
    assert airflow.main_pid() == pid

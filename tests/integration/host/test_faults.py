# SPDX-License-Identifier: GPL-3.0-or-later
"""What a play says, and in what state it leaves a host, when something goes wrong on it. Nothing here is a stub.

`make test-host-faults` runs all of them and writes docs/host-faults.md; otherwise those run that no other test has.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

import pytest
from testbed.airflow_host import HOME, PORT, AirflowHost
from testbed.fleet import Fleet
from testbed.runner import Ansible, ModuleResult
from testbed.running import CHECKOUT

TABLE = CHECKOUT / "docs/host-faults.md"
MEMBER = "airflow-2-11-2"
WRITE_TABLE = "AIRFLOW_FAULTS" in os.environ
ARGS = {"backends": ["basic_auth", "session"], "health_timeout": 120}
CFG = HOME / "airflow.cfg"
SQUATTER = f"systemd-run --unit squatter python3 -m http.server {PORT}"
HEADER = """\
<!-- SPDX-License-Identifier: GPL-3.0-or-later -->
# Faults on hosts

Written by `make test-host-faults`, which provokes each of these on a real systemd host with Airflow {version},
reached by ssh, while `fleetops.airflow.airflow_api_auth` is about to let passwords in there. What the play says is
quoted without the server's log. In every case the next run, with the cause out of the way, came to the wanted end,
and the one after it changed nothing.

| fault | what the play says | airflow.cfg afterwards | the server afterwards | the next run |
|---|---|---|---|---|
"""


class Site:
    """One host of the fleet, and an Ansible that manages that one."""

    def __init__(self, fleet: Fleet, ansible: Ansible) -> None:
        self.airflow: AirflowHost = fleet.airflows[MEMBER]
        self.bed = fleet.bed
        self._ansible = ansible
        self.pid = 0  # of the server that has the old file
        self._runs = 0

    def run(self, **args: str) -> ModuleResult:
        self._runs += 1  # each with an ssh connection of its own
        env = {
            "ANSIBLE_SSH_CONTROL_PATH_DIR": f"/tmp/cp-{os.getpid()}-{self._runs}",
            "ANSIBLE_TIMEOUT": "5",
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=5 -o ServerAliveInterval=2",
        }
        return self._ansible.module("fleetops.airflow.airflow_api_auth", {**ARGS, **args}, env=env, hosts=MEMBER)

    def run_while(self, disturb: Callable[[], object]) -> ModuleResult:
        """Run, and disturb it as soon as the old server is gone."""
        pid = self.airflow.main_pid()
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(self.run)
            self.wait(lambda: self.airflow.main_pid() != pid)
            disturb()
            return running.result()

    def wait(self, condition: Callable[[], bool], timeout: float = 120) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.1)


class Row(NamedTuple):
    """What a fault came to. ``server``: what it does afterwards, and whether it is another process than before."""

    fault: str
    said: str
    cfg: str
    server: str
    again: str


class Fault(NamedTuple):
    """``always``: whether it is provoked in `make test` too."""

    title: str
    provoke: Callable[[Site], AbstractContextManager[ModuleResult]]
    says: str
    cfg: str
    server: str
    again: str
    always: bool = False


KEPT, CHANGED = "as it was", "changed"
UNTOUCHED, OLD, NEW, DOWN = (
    "healthy, not restarted",
    "healthy, with the old file",
    "healthy, takes passwords",
    "does not answer",
)
DOES_IT, RESTARTS, NOTHING = "makes the change", "restarts the server", "changes nothing"


@contextmanager
def host_down(site: Site) -> Iterator[ModuleResult]:
    """Its network is: the host itself goes on, as one does whose switch is down."""
    site.bed.unplug(site.airflow.host)
    done = site.run()
    site.bed.plug(site.airflow.host)
    yield done


@contextmanager
def ssh_lost(site: Site) -> Iterator[ModuleResult]:
    """Every session of sshd on the host is killed, the one that asks for it too."""
    done = site.run_while(lambda: site.airflow.run("pkill -KILL -f 'sshd: root'", check=False))
    site.wait(lambda: site.airflow.status("/api/v1/dags", "admin") == 200)
    yield done


@contextmanager
def killed(site: Site) -> Iterator[ModuleResult]:
    def kill() -> None:
        site.wait(lambda: site.airflow.main_pid() != 0)
        site.airflow.run(f"systemctl kill --signal KILL {site.airflow.unit}")

    yield site.run_while(kill)


@contextmanager
def no_start(site: Site) -> Iterator[ModuleResult]:
    site.airflow.run(f"cp {CFG} /root/wanted.cfg")
    site.airflow.drop_in(f"ExecStartPre=+/usr/bin/cmp {CFG} /root/wanted.cfg")
    yield site.run()


@contextmanager
def port_taken_before(site: Site) -> Iterator[ModuleResult]:
    airflow = site.airflow
    airflow.run(f"systemctl stop {airflow.unit}; {SQUATTER}")
    site.wait(lambda: airflow.status("/") == 200)
    try:
        yield site.run(service=airflow.unit)
    finally:
        airflow.run("systemctl stop squatter")


@contextmanager
def port_taken_meanwhile(site: Site) -> Iterator[ModuleResult]:
    airflow = site.airflow
    airflow.drop_in(f"ExecStopPost=+/bin/sh -c '{SQUATTER}; sleep 1'")
    try:
        yield site.run()
    finally:
        airflow.drop_in(None)
        airflow.run("systemctl stop squatter")


@contextmanager
def disk_full(site: Site) -> Iterator[ModuleResult]:
    airflow = site.airflow
    airflow.run("mkdir -p /etc/airflow && mount -t tmpfs -o size=400k,mode=755 tmpfs /etc/airflow")
    airflow.run(f"cp -p {CFG} /etc/airflow && mv {CFG} {HOME}/moved.cfg && ln -s /etc/airflow/airflow.cfg {CFG}")
    airflow.run("dd if=/dev/zero of=/etc/airflow/ballast bs=4k status=none", check=False)
    try:
        yield site.run()
    finally:
        airflow.run(f"rm {CFG}; mv {HOME}/moved.cfg {CFG}; umount -l /etc/airflow")


@contextmanager
def variable(site: Site) -> Iterator[ModuleResult]:
    airflow = site.airflow
    airflow.write_environment("AIRFLOW__API__AUTH_BACKENDS=airflow.api.auth.backend.session")
    airflow.run(f"systemctl restart {airflow.unit}")
    airflow.wait_healthy()
    site.pid = airflow.main_pid()
    try:
        yield site.run()
    finally:
        airflow.write_environment()
        airflow.run(f"systemctl restart {airflow.unit}")
        airflow.wait_healthy()


@contextmanager
def orphan(site: Site) -> Iterator[ModuleResult]:
    airflow = site.airflow
    airflow.drop_in("KillMode=process\nRestart=no")
    airflow.run(f"systemctl restart {airflow.unit}")
    airflow.wait_healthy()
    airflow.run(f"kill -HUP {airflow.main_pid()}")
    site.wait(lambda: airflow.main_pid() == 0)
    assert airflow.healthy()
    yield site.run(service=airflow.unit)


@contextmanager
def rebooted(site: Site) -> Iterator[ModuleResult]:
    airflow = site.airflow
    done = site.run()
    started = "cut -d ' ' -f 22 /proc/1/stat"
    first = airflow.run(f"systemctl enable {airflow.unit}; systemd-run --on-active=1 systemctl reboot; {started}")
    site.wait(lambda: airflow.run(started, check=False) not in ("", first))
    airflow.wait_healthy(120)
    yield done


@contextmanager
def two_controllers(site: Site) -> Iterator[ModuleResult]:
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(site.run) for _number in range(2)]
    first, second = sorted((run.result() for run in runs), key=lambda result: not result.changed)
    assert (first.changed, second.changed, second.failed) == (True, False, False), second.output
    yield first


TOOK_PASSWORDS = "changed"
ROLLED_BACK = "was rolled back. The server runs with it again."
FAULTS = {
    "host down": Fault("the host cannot be reached", host_down, "UNREACHABLE", KEPT, UNTOUCHED, DOES_IT, True),
    "ssh lost": Fault(
        "ssh is lost in the middle of the transaction", ssh_lost, "UNREACHABLE", CHANGED, NEW, NOTHING, True
    ),
    "killed": Fault(
        "the webserver is killed while it restarts (`kill -9`)", killed, ROLLED_BACK, KEPT, OLD, DOES_IT, True
    ),
    "no start": Fault("the unit does not start with the new file", no_start, ROLLED_BACK, KEPT, OLD, DOES_IT),
    "port taken before": Fault(
        "the server is down, and something else has its port",
        port_taken_before,
        "does not answer as Airflow",
        KEPT,
        DOWN,
        DOES_IT,
    ),
    "port taken meanwhile": Fault(
        "something else takes the port during the restart, and keeps it",
        port_taken_meanwhile,
        "Check this host.",
        KEPT,
        DOWN,
        DOES_IT,
    ),
    "disk full": Fault(
        "no room in the folder of airflow.cfg, here /etc/airflow",
        disk_full,
        "cannot be replaced: No space left on device. It is as it was. Make room",
        KEPT,
        UNTOUCHED,
        DOES_IT,
    ),
    "variable": Fault(
        "`AIRFLOW__API__AUTH_BACKENDS` in the unit's EnvironmentFile",
        variable,
        "overrides [api] auth_backends of airflow.cfg",
        KEPT,
        UNTOUCHED,
        DOES_IT,
    ),
    "orphan": Fault("gunicorn has outlived its webserver and serves on", orphan, TOOK_PASSWORDS, CHANGED, NEW, NOTHING),
    "rebooted": Fault(
        "the host is rebooted right after the change", rebooted, TOOK_PASSWORDS, CHANGED, NEW, NOTHING, True
    ),
    "two controllers": Fault(
        "two controllers at once: one waits for the other, which makes the change",
        two_controllers,
        TOOK_PASSWORDS,
        CHANGED,
        NEW,
        NOTHING,
        True,
    ),
}
ROWS: list[Row] = []


@pytest.fixture(scope="module")
def site(fleet: Fleet, on_fleet: Ansible) -> Iterator[Site]:
    if MEMBER not in fleet.airflows:
        pytest.skip(f"the fleet has no {MEMBER}")
    site = Site(fleet, on_fleet)
    pristine = site.airflow.cfg.read_bytes()
    yield site
    site.airflow.cfg.write_bytes(pristine)
    site.airflow.run(f"systemctl restart {site.airflow.unit}")
    site.airflow.wait_healthy()
    if WRITE_TABLE and len(ROWS) == len(FAULTS):
        lines = ["| " + " | ".join(row) + " |\n" for row in ROWS]
        TABLE.write_text(HEADER.format(version=site.airflow.installation.release.version) + "".join(lines))


@pytest.fixture
def refusing(site: Site) -> Iterator[Site]:
    """The API takes no passwords and the server is healthy. Afterwards the unit is as it was."""
    airflow = site.airflow
    session = "auth_backends = airflow.api.auth.backend.session"
    pristine = re.sub(r"(?m)^auth_backends = .*", session, airflow.cfg.read_text())
    if airflow.cfg.read_text() != pristine:
        airflow.cfg.write_text(pristine)
        airflow.run(f"systemctl restart {airflow.unit}")
    airflow.wait_healthy()
    yield site
    airflow.write_environment()
    airflow.drop_in(None)


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.always or WRITE_TABLE])
def test_a_fault_leaves_one_of_both_states_and_the_next_run_mends_it(refusing: Site, name: str) -> None:
    site, fault = refusing, FAULTS[name]
    airflow = site.airflow
    before, site.pid = airflow.cfg.read_text(), airflow.main_pid()
    with fault.provoke(site) as done:
        assert airflow.users["admin"] not in done.output
        said = what_was_said(done)
        cfg, server = airflow.run(f"cat {CFG}"), state_of(site, fault.server)
        assert airflow.run(f"ls -A {HOME} /etc/airflow 2>/dev/null | grep fleetops", check=False) == ""
    assert fault.says in said, done.output
    assert (KEPT if cfg == before else CHANGED, server) == (fault.cfg, fault.server), done.output
    assert cfg == before or "auth_backends = airflow.api.auth.backend.basic_auth," in cfg

    airflow.drop_in(None)
    mended = site.run(service=airflow.unit)
    assert not mended.failed, mended.output
    again = DOES_IT if airflow.cfg.read_text() != cfg else RESTARTS if mended.changed else NOTHING
    assert again == fault.again, mended.output
    assert state_of(site, NEW) in (NEW, UNTOUCHED)
    assert airflow.status("/api/v1/dags", "admin") == 200
    assert not site.run().changed
    ROWS.append(Row(fault.title, said, fault.cfg, server, again))


def state_of(site: Site, expected: str) -> str:
    """A server that should come up gets a minute for it; ``airflow webserver`` runs for two without one."""
    airflow = site.airflow
    if expected == DOWN:
        return NEW if airflow.healthy() else DOWN
    airflow.wait_healthy()
    if airflow.main_pid() == site.pid:
        return UNTOUCHED
    return NEW if airflow.status("/api/v1/dags", "admin") == 200 else OLD


def what_was_said(done: ModuleResult) -> str:
    """The message without what the server's log said, and without what is another one each time."""
    if not done.failed:
        return "changed" if done.changed else "ok"
    # What the log said ends in a line that begins as the headings in it do.
    log = r"(?s)\s*Log excerpt:.*?\n---(?= /\S+ was rolled back| Check this host|$)"
    text = re.sub(log, "", done.msg).replace("No log of the server was found to quote.", "")
    for pattern, word in (
        (r"\bpid \d+", "pid N"),
        (r"10\.77\.0\.\d+", "HOST"),
        (re.escape(str(CHECKOUT)) + r"/\S*/bin/", ""),
        (r"\s+", " "),
        (r"\|", "/"),
    ):
        text = re.sub(pattern, word, text)
    return ("UNREACHABLE: " if done.result.get("unreachable") else "FAILED: ") + text.strip()

# SPDX-License-Identifier: GPL-3.0-or-later
"""A night in an hour: two Airflows under a real rulebook, and faults at random on both at once.

Afterwards the journal is held against what was done to them, and against what their hosts have counted themselves:
starts of units, and tries of tasks. `make test-night` writes docs/remediation-night.md. AIRFLOW_NIGHT is its length in
minutes, AIRFLOW_NIGHT_SEED its seed.
"""

from __future__ import annotations

import os
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial

import pytest
from testbed.airflow_host import HOME
from testbed.errors import TestbedError
from testbed.fleet import Fleet
from testbed.rulebook import Entry, when
from testbed.runner import Ansible
from testbed.running import CHECKOUT
from testbed.watched_site import PASSWORD, Site, reason_to_skip, wait_until, watched_site

PAGE = CHECKOUT / "docs/remediation-night.md"
MINUTES = float(os.environ.get("AIRFLOW_NIGHT", "0"))
SEED = int(os.environ.get("AIRFLOW_NIGHT_SEED", "1"))
MEMBERS = ("airflow-2-11-2", "airflow-3-3-2-simple")
WATCH = {"interval": 5, "queued_after": 10, "running_after": 3600, "unreachable_after": 10, "unhealthy_after": 0}
LIMIT, WINDOW = 5, 300  # times, seconds: how often the same is done to the same DAG or host
PATIENCE = 240.0  # seconds, for one fault from its beginning to its end
SETTLED = 20.0  # seconds, for what the journal tells after a fault is over
DAG = '''\
"""Each run fails twice, and then succeeds."""

from datetime import datetime, timezone
from pathlib import Path

from airflow import DAG

try:
    from airflow.providers.standard.operators.python import PythonOperator
except ImportError:
    from airflow.operators.python import PythonOperator


def load(run_id, **_context):
    count = Path("/opt/airflow/flaky-" + run_id)
    tried = int(count.read_text()) if count.exists() else 0
    count.write_text(str(tried + 1))
    if tried < 2:
        raise RuntimeError("the source is away")


with DAG("flaky", start_date=datetime(2024, 1, 1, tzinfo=timezone.utc), schedule=None, tags=["rerun-safe"],
         is_paused_upon_creation=False):
    PythonOperator(task_id="load", python_callable=load)
'''
TEXT = """\
<!-- SPDX-License-Identifier: GPL-3.0-or-later -->
# A night in an hour

Written by `make test-night` on {date}: {minutes:g} minutes with seed {seed} on {cpus} processors. Two real Airflows on
systemd hosts, each with its scheduler, are watched by a real ansible-rulebook with a look each {interval} seconds.
Faults come at random, on both at once, and {kills} times ansible-rulebook itself was killed and started again. Each
rule acts at most {limit} times within {window} seconds.

Afterwards the journal is held against what was done. Each fault must be told, and its end. No rule may have acted
without a fault. Each unit must have been started as often as the faults and the journal say, by the count of systemd;
an action that was cut off with ansible-rulebook may have started its unit once, or not.
No task may have run more often than its reruns say, by its own count. No run may have been made twice. airflow.cfg
must be as before.

| fault | Airflow | times | told, and its end | acted | seconds to the end, median | longest |
|---|---|---|---|---|---|---|
"""


@dataclass
class Fault:
    """What was done to one of them, and when. ``until`` is when it was over, None where it has not been."""

    kind: str
    name: str
    at: float
    until: float | None = None
    starts: int = 0  # of the server, by the fault itself
    run_id: str = ""


@dataclass
class Night:
    """The faults so far."""

    site: Site
    faults: list[Fault] = field(default_factory=list)
    kills: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def wait_for(self, since: float, **wanted: str) -> Entry:
        """The entry of the journal with these texts, however often the rulebook is killed meanwhile."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for entry in self.site.rulebook.entries():
                if when(entry) >= since and all(text in str(entry.get(key, "")) for key, text in wanted.items()):
                    return entry
            time.sleep(0.5)
        raise AssertionError(f"the journal has no entry with {wanted}")


Injure = Callable[[Night, Fault, random.Random], None]


def backends(night: Night, fault: Fault, _random: random.Random) -> None:
    airflow = night.site.airflow(fault.name)
    fault.starts = 1
    airflow.run(
        f"sed -i 's/^auth_backends = .*/auth_backends = airflow.api.auth.backend.session/' {HOME}/airflow.cfg && "
        f"systemctl restart {airflow.unit}"
    )
    night.wait_for(fault.at, subject=f"{fault.name} credentials_refused", action="it is over")


def killed(night: Night, fault: Fault, _random: random.Random) -> None:
    airflow = night.site.airflow(fault.name)
    airflow.run(f"systemctl kill --signal KILL {airflow.unit}")
    night.wait_for(fault.at, subject=f"{fault.name} api_unreachable", action="it is over")


def scheduler(night: Night, fault: Fault, _random: random.Random) -> None:
    night.site.airflow(fault.name).run("systemctl stop airflow-scheduler")
    night.wait_for(fault.at, subject=f"{fault.name} component_unhealthy scheduler", action="it is over")


def flaky(night: Night, fault: Fault, _random: random.Random) -> None:
    fault.run_id = f"night-{len(night.faults)}"
    done = night.site.task("airflow_dag_trigger", fault.name, dag_id="flaky", run_id=fault.run_id)
    assert done.get("changed"), done
    night.wait_for(fault.at, subject=f"{fault.name} run_failed flaky {fault.run_id}", action="it is over")


def paused(night: Night, fault: Fault, _random: random.Random) -> None:
    fault.run_id = f"night-{len(night.faults)}"
    site = night.site
    assert not site.task("airflow_dag", fault.name, dag_id="paused", paused=True).get("failed")
    order = {"dag_id": "paused", "run_id": fault.run_id, "if_paused": "trigger"}
    assert site.task("airflow_dag_trigger", fault.name, **order).get("changed")
    night.wait_for(fault.at, subject=f"{fault.name} run_stuck queued paused {fault.run_id}", action="it is over")


def cut_off(night: Night, fault: Fault, random: random.Random) -> None:
    airflow = night.site.airflow(fault.name)
    airflow.bed.unplug(airflow.host)
    try:
        night.wait_for(fault.at, why=f"{fault.name} api_unreachable")
        time.sleep(random.uniform(0, 20))
    finally:
        airflow.bed.plug(airflow.host)
    night.wait_for(fault.at, subject=f"{fault.name} api_unreachable", action="it is over")


def password(night: Night, fault: Fault, random: random.Random) -> None:
    night.site.log_in_with("not it", fault.name)
    try:
        night.wait_for(fault.at, subject=f"{fault.name} credentials_refused")
        time.sleep(random.uniform(0, 20))
    finally:
        night.site.log_in_with(PASSWORD, fault.name)
    night.wait_for(fault.at, subject=f"{fault.name} credentials_refused", action="it is over")


def broken_file(night: Night, fault: Fault, random: random.Random) -> None:
    airflow = night.site.airflow(fault.name)
    airflow.write(f"{HOME}/dags/night.py", "# an airflow DAG\nfrom nowhere import nothing\n")
    try:
        night.wait_for(fault.at, subject=f"{fault.name} import_error")
        time.sleep(random.uniform(0, 10))
    finally:
        airflow.run(f"rm {HOME}/dags/night.py")
    night.wait_for(fault.at, subject=f"{fault.name} import_error", action="it is over")


def busy(night: Night, fault: Fault, _random: random.Random) -> None:
    """A task that takes long, and a run behind it. Nothing is wrong, and nothing is to be done."""
    fault.run_id = f"night-{len(night.faults)}"
    order = {"dag_id": "slow", "run_id": fault.run_id, "conf": {"seconds": 45}}
    done = night.site.task("airflow_dag_trigger", fault.name, **order, wait=True, wait_timeout=PATIENCE)
    assert done.get("dag_run", {}).get("state") == "success", done


# Of each fault: how it is made and waited for, and what may be done about it, as rule and beginning of the subject.
FAULTS: dict[str, tuple[Injure, tuple[str, str] | None]] = {
    "auth backends set back, and the server restarted": (backends, ("api_auth", "{name}")),
    "API server killed": (killed, ("restart", "{name} webserver")),
    "scheduler stopped": (scheduler, ("restart", "{name} scheduler")),
    "a run that fails twice": (flaky, ("rerun", "{name} flaky")),
    "a run queued for a paused DAG": (paused, ("unpause", "{name} paused")),
    "host cut off": (cut_off, None),
    "wrong password in the login file": (password, None),
    "a file that cannot be imported": (broken_file, None),
    "a task of 45 seconds": (busy, None),
}
OF_2 = {"auth backends set back, and the server restarted"}


def night_of(night: Night, name: str, seed: str) -> None:
    """One fault after the other on one of them, until the night is over."""
    chance = random.Random(seed)
    kinds = [kind for kind in FAULTS if name == MEMBERS[0] or kind not in OF_2]
    waiting: list[str] = []
    while not night.over.is_set():
        if not waiting:
            waiting = chance.sample(kinds, len(kinds))  # each of them once before any of them twice
        kind = waiting.pop()
        fault = Fault(kind, name, time.time())
        night.faults.append(fault)
        print(f"{time.strftime('%H:%M:%S')} {name}: {kind}", flush=True)
        try:
            FAULTS[kind][0](night, fault, chance)
            fault.until = time.time()
        except (AssertionError, TestbedError) as error:
            print(f"{name}, {kind}: {error}", flush=True)
            _repair(night, name)
        print(f"{time.strftime('%H:%M:%S')} {name}: {kind}: {time.time() - fault.at:.0f} s", flush=True)
        night.over.wait(SETTLED)


def _repair(night: Night, name: str) -> None:
    """So that what comes next is about itself."""
    airflow = night.site.airflow(name)
    airflow.run(f"systemctl start {' '.join(airflow.units)}")


def kill_the_rulebook(night: Night, seed: str) -> None:
    chance = random.Random(seed)
    while not night.over.wait(chance.uniform(60, 240)):
        night.site.rulebook.kill()
        night.kills += 1
        night.over.wait(chance.uniform(0, 15))
        night.site.rulebook.start()


def has_dag(site: Site, name: str) -> bool:
    """Whether the scheduler has read the file of the DAG."""
    return not site.task("airflow_dag", name, dag_id="flaky", paused=False).get("failed")


@contextmanager
def threads(over: threading.Event, *functions: Callable[[], None]) -> Iterator[None]:
    """Run them beside the block, after which ``over`` tells them to end."""
    running = [threading.Thread(target=function) for function in functions]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in running:
            thread.join()


def starts(site: Site, name: str, unit: str) -> int:
    """How often systemd has started a unit."""
    return int(site.airflow(name).run(f"journalctl --unit {unit} --output cat --grep '^Started ' | wc -l"))


@pytest.fixture(scope="module")
def site(fleet: Fleet, on_fleet: Ansible, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if not MINUTES:
        pytest.skip("`make test-night` shows it")
    why_not = reason_to_skip()
    if why_not:
        pytest.skip(why_not)
    role = {"remediate_unpause_dags": ["paused"], "remediate_limit": LIMIT, "remediate_window": WINDOW}
    folder = tmp_path_factory.mktemp("night")
    with watched_site(fleet, on_fleet, folder, MEMBERS, DAG, WATCH, role) as site:
        for name in MEMBERS:
            site.airflow(name).drop_in("Restart=no")
            wait_until(partial(has_dag, site, name), "a DAG")
        yield site
        for name in MEMBERS:
            site.airflow(name).drop_in(None)


def test_night(site: Site) -> None:
    night = Night(site)
    airflows = {name: site.airflow(name) for name in MEMBERS}
    before = {name: airflow.cfg.read_bytes() for name, airflow in airflows.items()}
    started = {(name, unit): starts(site, name, unit) for name in MEMBERS for unit in airflows[name].units}
    runs_before = {name: runs_of(site, name) for name in MEMBERS}
    begun = time.time()
    on_each = [partial(night_of, night, name, f"{SEED} {name}") for name in MEMBERS]
    with threads(night.over, *on_each, partial(kill_the_rulebook, night, f"{SEED} kills")):
        time.sleep(MINUTES * 60)
    time.sleep(SETTLED)
    entries = [entry for entry in site.rulebook.entries() if when(entry) >= begun]
    write_page(night, entries)
    troubles = [f"{fault.name}, {fault.kind}: has not ended" for fault in night.faults if fault.until is None]
    troubles += unexplained(night, entries)
    troubles += too_often(entries)
    for (name, unit), number in started.items():
        told = starts_that_are_told(night, entries, name, unit)
        found = starts(site, name, unit) - number
        if found not in told:
            troubles.append(f"{name}: systemd has started {unit} {found} times, and {told} are known")
    for name, airflow in airflows.items():
        if airflow.cfg.read_bytes() != before[name]:
            troubles.append(f"{name}: airflow.cfg is another one than before")
        made = {fault.run_id for fault in night.faults if fault.name == name and fault.run_id}
        if runs_of(site, name) - runs_before[name] != made:
            troubles.append(f"{name}: the runs are not those that were made")
        for fault in night.faults:
            if fault.name == name and FAULTS[fault.kind][0] is flaky:
                tried = int(airflow.run(f"cat {HOME}/flaky-{fault.run_id}"))
                if tried != 3:
                    troubles.append(f"{name}: the task of {fault.run_id} ran {tried} times, not 3")
    assert troubles == [], "\n".join([*troubles, *(str(entry) for entry in entries)])


def runs_of(site: Site, name: str) -> set[str]:
    found = site.task("airflow_dag_run_info", name, dag_ids=["flaky", "paused", "slow"], limit=1000)
    return {run["run_id"] for run in found["dag_runs"]}


def unexplained(night: Night, entries: list[Entry]) -> list[str]:
    """What a rule has done without a fault that it is for."""
    troubles = []
    for entry in entries:
        if entry["step"] != "begin":
            continue
        explained = any(
            cure is not None
            and entry["rule"] == cure[0]
            and entry["subject"] == cure[1].format(name=fault.name)
            and fault.at <= when(entry) <= (fault.until or fault.at + PATIENCE) + SETTLED
            for fault in night.faults
            for cure in (FAULTS[fault.kind][1],)
        )
        if not explained:
            troubles.append(f"nothing was wrong for which to {entry['rule']} {entry['subject']} at {entry['time']}")
    return troubles


def too_often(entries: list[Entry]) -> list[str]:
    begins = [(entry["rule"], entry["subject"], when(entry)) for entry in entries if entry["step"] == "begin"]
    return [
        f"more than {LIMIT} times within {WINDOW} s: {rule} {subject}"
        for rule, subject, at in begins
        if sum((rule, subject) == other[:2] and at - WINDOW < other[2] <= at for other in begins) > LIMIT
    ]


def starts_that_are_told(night: Night, entries: list[Entry], name: str, unit: str) -> range:
    """How often a unit may have been started: by the faults themselves, by rules, and by a change of the backends.

    Of an action that was cut off with its engine the journal has the beginning alone: it has started the unit, or not.
    """
    actions = [("restart", f"{name} {unit.removeprefix('airflow-').removesuffix('.service')}")]
    by_faults = 0
    if unit.removesuffix(".service") == night.site.airflow(name).unit:
        actions = [("restart", f"{name} webserver"), ("api_auth", name)]
        by_faults = sum(fault.starts for fault in night.faults if fault.name == name)
    of_them = [entry for entry in entries if (entry["rule"], entry["subject"]) in actions]
    done = sum(entry["step"] == "end" and entry["outcome"] == "done" for entry in of_them)
    begun = sum(entry["step"] == "begin" for entry in of_them)
    return range(by_faults + done, by_faults + begun + 1)


def write_page(night: Night, entries: list[Entry]) -> None:
    rows = []
    for name in MEMBERS:
        version = night.site.airflow(name).installation.release.version
        for kind, (_injure, cure) in FAULTS.items():
            faults = [fault for fault in night.faults if (fault.name, fault.kind) == (name, kind)]
            ended = [fault.until - fault.at for fault in faults if fault.until is not None]
            if not faults:
                continue
            acted = sum(
                entry["step"] == "begin"
                and cure is not None
                and (entry["rule"], entry["subject"]) == (cure[0], cure[1].format(name=name))
                for entry in entries
            )
            median = f"{statistics.median(ended):.0f}" if ended else "-"
            longest = f"{max(ended):.0f}" if ended else "-"
            rows.append(f"| {kind} | {version} | {len(faults)} | {len(ended)} | {acted} | {median} | {longest} |\n")
    text = TEXT.format(
        date=date.today(),
        minutes=MINUTES,
        seed=SEED,
        cpus=os.cpu_count(),
        interval=WATCH["interval"],
        kills=night.kills,
        limit=LIMIT,
        window=WINDOW,
    )
    PAGE.write_text(text + "".join(rows))

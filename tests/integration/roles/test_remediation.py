# SPDX-License-Identifier: GPL-3.0-or-later
"""What breaks is mended by the rulebook: a real ansible-rulebook, and real Airflows on systemd hosts over ssh.

With AIRFLOW_REMEDIATION=all everything is broken, and the times go into docs/remediation-times.md; else what takes few
minutes.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from testbed.airflow_host import HOME
from testbed.fleet import Fleet
from testbed.rulebook import when
from testbed.runner import Ansible
from testbed.running import CHECKOUT
from testbed.watched_site import PASSWORD, Site, reason_to_skip, wait_until, watched_site

TABLE = CHECKOUT / "docs/remediation-times.md"
ALL = "AIRFLOW_REMEDIATION" in os.environ
MEMBERS = ("airflow-2-11-2", "airflow-3-3-2-simple") if ALL else ("airflow-2-11-2",)
AWAY = 120 if ALL else 20  # seconds
WATCH = {"interval": 5, "queued_after": 10, "running_after": 3600, "unreachable_after": 10, "unhealthy_after": 0}
DAG = '''\
"""Fails twice, and then succeeds: as a source that is away for a while."""

from datetime import datetime, timezone
from pathlib import Path

from airflow import DAG

try:
    from airflow.providers.standard.operators.python import PythonOperator
except ImportError:
    from airflow.operators.python import PythonOperator


def load():
    count = Path("/opt/airflow/flaky")
    tried = int(count.read_text()) if count.exists() else 0
    count.write_text(str(tried + 1))
    if tried < 2:
        raise RuntimeError("the source is away")


with DAG("flaky", start_date=datetime(2024, 1, 1, tzinfo=timezone.utc), schedule=None, tags=["rerun-safe"],
         is_paused_upon_creation=False):
    PythonOperator(task_id="load", python_callable=load)
'''
HEADER = """\
<!-- SPDX-License-Identifier: GPL-3.0-or-later -->
# From broken to mended

Written by `make test-remediation`, which breaks real Airflows on systemd hosts, reached by ssh, while a real
ansible-rulebook watches them with the rulebook `fleetops.airflow.remediate`, on one machine with {cpus} processors.
Seconds from the moment in which it was broken. *Noticed* is when the rule began to act, with a look each {interval}
seconds; *mended* is when the journal says that it works again, proved by the API. A scheduler that is stopped says so;
of one that hangs Airflow itself says it after half a minute.

| broken | Airflow | noticed | mended | what was done |
|---|---|---|---|---|
"""
ROWS: list[tuple[str, str, str, str, str]] = []


@pytest.fixture(scope="module")
def site(fleet: Fleet, on_fleet: Ansible, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    members = [name for name in MEMBERS if name in fleet.airflows]
    if not members:
        pytest.skip(f"the fleet has none of {', '.join(MEMBERS)}")
    role = {"remediate_dags": ["fails"], "remediate_unpause_dags": ["paused"], "remediate_limit": 3}
    why_not = reason_to_skip()
    if why_not:
        pytest.skip(why_not)
    with watched_site(fleet, on_fleet, tmp_path_factory.mktemp("watched"), members, DAG, WATCH, role) as site:
        yield site
    if ALL:
        header = HEADER.format(cpus=os.cpu_count(), interval=WATCH["interval"])
        TABLE.write_text(header + "".join(f"| {' | '.join(row)} |\n" for row in ROWS))


@pytest.fixture(params=MEMBERS)
def name(request: pytest.FixtureRequest, site: Site) -> str:
    if request.param not in site.fleet.airflows:
        pytest.skip(f"the fleet has no {request.param}")
    return str(request.param)


def add_row(site: Site, name: str, broken: str, at: float, noticed: float, mended: float | None, done: str) -> None:
    version = site.airflow(name).installation.release.version
    ROWS.append((broken, version, f"{noticed - at:.0f}", "-" if mended is None else f"{mended - at:.0f}", done))


def test_backends_that_somebody_has_set_back(site: Site) -> None:
    name = MEMBERS[0]
    airflow = site.airflow(name)
    at = time.time()
    airflow.run(
        f"sed -i 's/^auth_backends = .*/auth_backends = airflow.api.auth.backend.session/' {airflow_cfg()} && "
        f"systemctl restart {airflow.unit}"
    )
    begun = site.wait_for(at, rule="api_auth", subject=name, step="begin")
    assert "takes no passwords" in begun["why"]
    end = site.wait_for(at, rule="api_auth", step="end")
    assert end["outcome"] == "done", end
    assert end["before"] == ["airflow.api.auth.backend.session"]
    assert (end["after"]["restarted"], end["after"]["login_accepted"]) == (True, True)
    assert airflow.status("/api/v1/dags") != 200
    over = site.wait_for(at, rule="report", subject="credentials_refused", action="it is over")
    assert over["after"]["recovered"] is True
    assert site.count(at, rule="api_auth", step="begin") == 1
    add_row(
        site,
        name,
        "`auth_backends` set back to `session`, and the server restarted",
        at,
        when(begun),
        when(end),
        "`airflow_api_auth`, and a login as proof",
    )


def airflow_cfg() -> str:
    return f"{HOME}/airflow.cfg"


def test_a_dag_that_fails_twice_and_then_succeeds(site: Site, name: str) -> None:
    at = time.time()
    wait_until(
        lambda: not site.task("airflow_dag_trigger", name, dag_id="flaky", run_id="twice").get("failed"), "a DAG"
    )
    begun = site.wait_for(at, rule="rerun", subject=f"{name} flaky", step="begin")
    over = site.wait_for(at, rule="report", subject=f"{name} run_failed flaky twice", action="it is over")
    runs = site.task("airflow_dag_run_info", name, dag_ids=["flaky"])["dag_runs"]
    assert [run["state"] for run in runs] == ["success"]
    assert site.count(at, rule="rerun", subject=f"{name} flaky", step="begin") == 2
    assert site.count(at, rule="rerun", subject=f"{name} flaky", outcome="cleared") == 2
    done = "its failed tasks rerun, twice; the time of both failing runs is in it"
    add_row(site, name, "a DAG that fails twice and then succeeds", at, when(begun), when(over), done)


def test_a_dag_that_always_fails_is_given_up(site: Site, name: str) -> None:
    if not ALL:
        pytest.skip("`make test-remediation` shows it")
    at = time.time()
    assert site.task("airflow_dag_trigger", name, dag_id="fails", run_id="hopeless")["changed"]
    stopped = site.wait_for(at, rule="rerun", subject=f"{name} fails", step="stopped")
    assert site.count(at, rule="rerun", subject=f"{name} fails", step="begin") == 3
    add_row(site, name, "a DAG that always fails", at, when(stopped), None, "rerun three times, then stopped")


def test_a_run_that_waits_for_a_paused_dag(site: Site, name: str) -> None:
    if not ALL:
        pytest.skip("`make test-remediation` shows it")
    at = time.time()
    order = {"dag_id": "paused", "run_id": "waits", "if_paused": "trigger"}
    assert site.task("airflow_dag_trigger", name, **order)["changed"]
    begun = site.wait_for(at, rule="unpause", subject=f"{name} paused", step="begin")
    end = site.wait_for(at, rule="unpause", subject=f"{name} paused", step="end")
    assert end["outcome"] == "done"
    site.wait_for(at, rule="report", subject=f"{name} run_stuck queued paused waits", action="it is over")
    add_row(site, name, "a run queued for a paused DAG", at, when(begun), when(end), "unpaused, as it is listed")


def test_a_server_that_is_killed(site: Site, name: str) -> None:
    """Its unit does not start it again."""
    airflow = site.airflow(name)
    airflow.drop_in("Restart=no")
    at = time.time()
    airflow.run(f"systemctl kill --signal KILL {airflow.unit}")
    begun = site.wait_for(at, rule="restart", subject=f"{name} webserver", step="begin")
    end = site.wait_for(at, rule="restart", subject=f"{name} webserver", step="end")
    assert end["outcome"] == "done", end
    assert airflow.healthy()
    site.wait_for(at, rule="report", subject=f"{name} api_unreachable", action="it is over")
    airflow.drop_in(None)
    add_row(site, name, "the API's server killed", at, when(begun), when(end), "its unit restarted")


def test_a_scheduler_that_is_killed(site: Site, name: str) -> None:
    if not ALL:
        pytest.skip("`make test-remediation` shows it")
    airflow = site.airflow(name)
    at = time.time()
    airflow.run("systemctl stop airflow-scheduler")
    begun = site.wait_for(at, rule="restart", subject=f"{name} scheduler", step="begin")
    end = site.wait_for(at, rule="restart", subject=f"{name} scheduler", step="end")
    assert end["outcome"] == "done", end
    add_row(site, name, "the scheduler stopped", at, when(begun), when(end), "its unit restarted")


def test_an_api_that_is_away(site: Site) -> None:
    """The network is. What fails meanwhile is told afterwards, even if the rulebook is killed in between."""
    name = MEMBERS[0]
    airflow = site.airflow(name)
    order = {"dag_id": "slow", "run_id": "meanwhile", "conf": {"seconds": "fails at once"}}
    site.task("airflow_dag", name, dag_id="slow", paused=True)
    assert site.task("airflow_dag_trigger", name, if_paused="trigger", **order)["changed"]
    at = time.time()
    site.task("airflow_dag", name, dag_id="slow", paused=False)
    site.fleet.bed.unplug(airflow.host)
    try:
        noticed = site.wait_for(at, rule="restart", subject=name, action="the host cannot be reached")
        site.rulebook.kill()
        time.sleep(max(0.0, at + AWAY - time.time()))
        site.rulebook.start()
    finally:
        site.fleet.bed.plug(airflow.host)
    back = time.time()
    over = site.wait_for(back, rule="report", subject=f"{name} api_unreachable", action="it is over")
    lost = site.wait_for(at, rule="report", subject=f"{name} run_failed slow meanwhile")
    assert lost["after"]["recovered"] is False
    assert site.count(at, subject=f"{name} api_unreachable") == 1  # its end: its beginning is under the host's name
    # Told a second time if the rulebook was killed before the role could say that it had acted on it.
    assert 1 <= site.count(at, why=f"{name} api_unreachable") <= 2
    assert site.count(at, subject=f"{name} run_failed slow meanwhile") == 1
    assert datetime.fromisoformat(lost["after"]["end_date"]).timestamp() < back + 30
    done = f"nothing, for {AWAY} s: one event, one recovery, and a run that failed meanwhile told afterwards"
    add_row(site, name, "the host cut off, and the rulebook killed meanwhile", at, when(noticed), when(over), done)


def test_a_wrong_password_makes_no_storm(site: Site, name: str) -> None:
    airflow = site.airflow(name)
    at = time.time()
    cursor = f"--since=@{int(at)}"
    site.log_in_with("not it", name)
    told = site.wait_for(at, rule="report", subject=f"{name} credentials_refused")
    assert "the password is not that of 'admin'" in told["after"]["diagnosis"]["cause"]
    time.sleep(45 if ALL else 15)
    log = airflow.run(f"journalctl --unit {airflow.unit} {cursor} --output cat")
    tries = len(
        re.findall(r'POST /(auth/token|login/) .* (?:401|302|200)|"GET /api/v1/dags\?limit=1 [^"]*" 40[13]', log)
    )
    assert tries <= 3, log  # one of the API, and on Airflow 2 one by a stranger and one of the login form
    again = time.time()
    site.log_in_with(PASSWORD, name)
    over = site.wait_for(again, rule="report", subject=f"{name} credentials_refused", action="it is over")
    assert site.count(at, rule="api_auth", subject=name) == 0
    done = "nothing: told with its diagnosis; the time is from the right password on"
    add_row(site, name, "the watcher's password is wrong", again, again + when(told) - at, when(over), done)


def test_without_event_driven_ansible(site: Site, on_fleet: Ansible, tmp_path: Path) -> None:
    """One examination and what follows from it: a report that changes nothing, the repair, and nothing left to do."""
    if not ALL:
        pytest.skip("`make test-remediation` shows it")
    name = MEMBERS[0]
    airflow = site.airflow(name)
    site.rulebook.kill()
    airflow.run(
        f"sed -i 's/^auth_backends = .*/auth_backends = airflow.api.auth.backend.session/' {airflow_cfg()} && "
        f"systemctl restart {airflow.unit}"
    )
    airflow.wait_healthy()
    variables = {
        "remediate_url": airflow.url,
        "remediate_api": name,
        "remediate_login_file": str(site.logins[name]),
        "remediate_folder": str(tmp_path / "journal"),
    }
    report = on_fleet.playbook("fleetops.airflow.remediate", {**variables, "remediate_report": True})
    assert (report.rc, report.changed) == (0, 0), report.output
    assert "takes no passwords" in report.output
    assert not (tmp_path / "journal").exists()
    mended = on_fleet.playbook("fleetops.airflow.remediate", variables)
    assert mended.rc == 0, mended.output
    entries = [json.loads(line) for line in (tmp_path / "journal/journal.jsonl").read_text().splitlines()]
    ends = [(entry["rule"], entry["outcome"]) for entry in entries if entry["step"] == "end"]
    assert ("api_auth", "done") in ends
    again = on_fleet.playbook("fleetops.airflow.remediate", {**variables, "remediate_folder": str(tmp_path / "again")})
    assert again.rc == 0, again.output
    assert "credentials_refused" not in again.output
    for done in (report, mended, again):
        assert PASSWORD not in done.output


def test_the_journal_and_the_log_hold_no_password(site: Site) -> None:
    files = [site.rulebook.log, *site.rulebook.state.rglob("*.json*")]
    assert len(files) >= 4
    for file in files:
        text = file.read_text(errors="replace")
        assert PASSWORD not in text, file
        assert json.dumps(PASSWORD)[1:-1] not in text, file

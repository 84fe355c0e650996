# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that call the API, on one release after the other: AIRFLOW_VERSIONS names them, separated by commas.

The tests of one release build on each other, in their order: a start takes half a minute.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import http.server
import json
import os
import re
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api.dialects import DIALECTS
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Answer
from testbed.instance import Airflow
from testbed.runner import Ansible
from testbed.running import running
from unit.plugins import simulation

# The newest of 2.x and 3.x. `make test-matrix` runs all.
VERSIONS = os.environ.get("AIRFLOW_VERSIONS", "2.11.2,3.3.2").split(",")
MODULES = "fleetops.airflow."
BASIC = {
    "1.10": "airflow.contrib.auth.backends.password_auth",
    "2": "airflow.api.auth.backend.basic_auth",
}
FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
NOT_IN_FORCE = {
    "1.10": "the API is closed to everybody",
    "2.0": "basic_auth is not in force, so the API takes no passwords",
    "2": "the login is right, but the API takes no passwords",
}
WRONG_PASSWORD = "the password is not that of 'op'"


class Case:
    """One release with all its programs."""

    def __init__(self, airflow: Airflow, ansible: Ansible) -> None:
        self.airflow = airflow
        self._ansible = ansible
        self.generation = airflow.installation.release.generation
        self.api = {"1.10": "experimental", "2": "v1", "3": "v2"}[self.generation]
        self.minor = tuple(int(part) for part in airflow.version.split(".")[:2])

    def tasks(self, *tasks: dict[str, Any], verbosity: int = 0, **login: Any) -> list[dict[str, Any]]:
        """The results of tasks, of which each has ``module``, perhaps ``check``, and the module's options."""
        login = {"url": self.airflow.url + "/", "username": "op", "password": self.airflow.users["op"], **login}
        play = []
        for task in map(dict, tasks):
            module, check = task.pop("module", "airflow_dag_trigger"), task.pop("check", False)
            play.append({"name": module, MODULES + module: {**login, **task}, "check_mode": check})
        plays = [{"hosts": "localhost", "gather_facts": False, "tasks": [{**t, "ignore_errors": True} for t in play]}]
        done = self._ansible.playbook(json.dumps(plays) + "\n", verbosity=verbosity)
        assert len(done.tasks) == len(tasks), done.output
        assert self.airflow.users["op"] not in done.output
        self.output = done.output
        return [task.result for task in done.tasks]

    def one(self, **task: Any) -> dict[str, Any]:
        return self.tasks(task)[0]

    def set(self, section: str, **options: str) -> None:
        """Options of airflow.cfg that have a line there already."""
        head, found, body = ("\n" + self.airflow.cfg.read_text()).partition(f"\n[{section}]\n")
        assert found, section
        for option, value in options.items():
            body, count = re.subn(rf"(?m)^{option} *=.*$", f"{option} = {value}", body, count=1)
            assert count, option
        self.airflow.cfg.write_text((head + found + body)[1:])

    def runs(self, dag_id: str) -> list[str]:
        with contextlib.closing(sqlite3.connect(f"file:{self.airflow.home}/airflow.db?mode=ro", uri=True)) as database:
            return [row[0] for row in database.execute("SELECT run_id FROM dag_run WHERE dag_id = ?", [dag_id])]

    def state(self, dag_id: str, run_id: str) -> str:
        with contextlib.closing(sqlite3.connect(f"file:{self.airflow.home}/airflow.db?mode=ro", uri=True)) as database:
            query = "SELECT state FROM dag_run WHERE dag_id = ? AND run_id = ?"
            return str(database.execute(query, [dag_id, run_id]).fetchone()[0])

    def raw(self, method: str, path: str, document: Any, login: str | None) -> Answer:
        """One request as it is; ``login`` is "right", "wrong" or None."""
        headers = {"Content-Type": "application/json"}
        password = self.airflow.users["op"] if login == "right" else "not it"
        if login and self.generation == "3":
            headers["Authorization"] = "Bearer " + (self.token() if login == "right" else "not.a.token")
        elif login:
            headers["Authorization"] = "Basic " + base64.b64encode(f"op:{password}".encode()).decode()
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(self.airflow.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(answer.status, titled(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, titled(error.headers), error.read())

    def token(self) -> str:
        """One that the server has given."""
        login = {"username": "op", "password": self.airflow.users["op"]}
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.airflow.url + "/auth/token", json.dumps(login).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(json.load(answer)["access_token"])


def titled(headers: Any) -> dict[str, str]:
    """Names as Answer is asked for them; uvicorn writes them in lower case."""
    return {name.title(): value for name, value in headers.items()}


# A run that is a success although a task failed, and a DAG that nothing of runs yet.
ODD_DAGS = """
from datetime import datetime, timezone
from airflow import DAG
from examples import RELEASE, PythonOperator, fail, greet, manual

extra = {"provide_context": True} if RELEASE < (2, 0) else {}
ends_green = manual("ends_green", "breaks", fail)
cleanup = PythonOperator(task_id="cleanup", python_callable=greet, trigger_rule="all_done", dag=ends_green, **extra)
ends_green.get_task("breaks") >> cleanup
begins_later = DAG(
    "begins_later",
    start_date=datetime(2050, 1, 1, tzinfo=timezone.utc),
    is_paused_upon_creation=False,
    **{"schedule" if RELEASE >= (2, 4) else "schedule_interval": None},
)
PythonOperator(task_id="greet", python_callable=greet, dag=begins_later, **extra)
if RELEASE >= (3, 2):
    start = datetime(2050, 1, 1, tzinfo=timezone.utc)
    unpaused = {"is_paused_upon_creation": False, "allowed_run_types": ["scheduled"]}
    by_schedule = DAG("by_schedule", start_date=start, schedule="@yearly", **unpaused)
    PythonOperator(task_id="greet", python_callable=greet, dag=by_schedule)
"""


@pytest.fixture(scope="module", params=VERSIONS)
def case(request: pytest.FixtureRequest, ansible: Ansible) -> Iterator[Case]:
    def set_up(airflow: Airflow) -> None:
        if airflow.installation.release.generation == "3":  # users and passwords of the simple auth manager
            case = Case(airflow, ansible)
            case.set("core", simple_auth_manager_users="admin:admin,op:op,viewer:viewer")
            passwords = {name: airflow.users[name] for name in ("admin", "op", "viewer")}
            (airflow.home / "simple_auth_manager_passwords.json.generated").write_text(json.dumps(passwords))
        (airflow.dags / "broken.py").write_text("from airflow import DAG\nraise RuntimeError('not today')\n")
        (airflow.dags / "odd.py").write_text(ODD_DAGS)
        for name in ("later", "model"):
            text = (airflow.dags / "examples.py").read_text().replace('"hello"', f'"{name}"')
            (airflow.dags / f"{name}.py").write_text(text)

    with running(request.param, before_start=set_up) as airflow:
        airflow.wait_dags(["later", "model", "ends_green", "begins_later"])
        yield Case(airflow, ansible)


def assert_failed(result: dict[str, Any], cause: str) -> None:
    assert result.get("failed"), result
    assert not result["changed"]
    assert cause in result["diagnosis"]["cause"], result["diagnosis"]
    assert result["diagnosis"]["remedy"]


def assert_stuck(result: dict[str, Any], state: str = "queued") -> None:
    """The run is there, and is left where it is."""
    assert (result["failed"], result["changed"], result["dag_run"]["state"]) == (True, True, state), result
    assert "scheduler" in result["diagnosis"]["cause"], result["diagnosis"]
    assert result["diagnosis"]["remedy"]


class Stripped(http.server.BaseHTTPRequestHandler):
    """A proxy in front of ``port`` that takes the Authorization header away."""

    port = 0

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name != "Authorization"}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.story
def test_as_the_release_comes(case: Case) -> None:
    """Up to 2.11 it takes no passwords. Then it is made to."""
    if case.generation == "3":
        return
    cause = NOT_IN_FORCE["2.0" if (2, 0) <= case.minor <= (2, 2) else case.generation]
    info, trigger = case.tasks({"module": "airflow_api_info"}, {"dag_id": "hello"})
    assert_failed(trigger, cause)
    assert "fleetops.airflow.airflow_api_auth" in trigger["diagnosis"]["remedy"]
    assert cause in info["diagnosis"]["cause"]
    assert (info["reachable"], info["generation"], info["anonymous"]) == (True, case.api, False)
    assert info["login_accepted"] is not True
    several = case.airflow.installation.release.backends_option == "auth_backends"
    case.airflow.set_backends(BASIC[case.generation] + ",airflow.api.auth.backend.session" * several)


@pytest.mark.story
def test_a_run_is_triggered_once_and_waited_for(case: Case) -> None:
    order = {"dag_id": "hello", "run_id": "named-1", "conf": {"a": ["日本", None]}, "wait": True, "wait_timeout": 300}
    check, apply, again = case.tasks({**order, "check": True}, order, order)
    assert [result.get("failed", False) for result in (check, apply, again)] == [False] * 3, apply
    assert [result["changed"] for result in (check, apply, again)] == [True, True, False]
    assert apply["dag_run"]["state"] == again["dag_run"]["state"] == "success"
    assert apply["dag_run"]["conf"] == (None if case.generation == "1.10" else order["conf"])
    assert apply["dag_run"]["url"].startswith(case.airflow.url + "/")
    assert case.runs("hello").count("named-1") == 1


@pytest.mark.story
def test_many_are_triggered_and_waited_for(case: Case) -> None:
    orders = [{"dag_id": "hello", "run_id": f"many-{number}"} for number in range(3)]
    done = case.one(runs=orders, wait=True, wait_timeout=300)
    assert not done.get("failed"), done
    assert [outcome["dag_run"]["state"] for outcome in done["outcomes"]] == ["success"] * 3


def test_success_means_that_tasks_have_run(case: Case) -> None:
    if case.airflow.installation.release.generation == "1.10":
        pytest.skip("the API of 1.10 does not know tasks")
    wait = {"wait": True, "wait_timeout": 120}
    early = {"dag_id": "hello", "logical_date": "2020-01-01T00:00:00+00:00"}  # the DAG begins in 2024
    before = early if case.generation == "3" else {"dag_id": "begins_later"}
    runs = [{"dag_id": "ends_green"}, {"dag_id": "hello"}]
    green, failing, several, empty, future = case.tasks(
        {"dag_id": "ends_green", **wait},
        {"dag_id": "ends_green", "fail_on_failed_tasks": True, **wait},
        {"runs": runs, **wait},
        {**before, **wait},
        {"dag_id": "hello", "logical_date": "2100-01-01T00:00:00+00:00", **wait},
    )
    assert not green.get("failed"), green
    assert (green["dag_run"]["state"], [task["task_id"] for task in green["failed_tasks"]]) == ("success", ["breaks"])
    assert failing["diagnosis"]["code"] == "tasks_failed", failing
    assert [[task["task_id"] for task in one["failed_tasks"]] for one in several["outcomes"]] == [["breaks"], []]
    assert empty.get("failed"), empty
    assert empty["diagnosis"]["code"] == "no_task_ran"
    assert future["diagnosis"]["code"] == "logical_date_in_future"


@pytest.mark.story
def test_a_failed_run_tells_its_reason(case: Case) -> None:
    done = case.one(dag_id="fails", run_id="bad", wait=True, wait_timeout=300)
    assert (done["failed"], done["changed"], done["dag_run"]["state"]) == (True, True, "failed")
    if case.generation == "1.10":
        assert "its tasks could not be asked for" in done["diagnosis"]["cause"]
        return
    assert "task 'fail' failed" in done["diagnosis"]["cause"]
    (task,) = done["failed_tasks"]
    assert (task["task_id"], task["state"], task["try_number"]) == ("fail", "failed", 1)
    assert "ValueError: this task always fails" in "\n".join(task["log"])


@pytest.mark.story
def test_what_is_refused(case: Case) -> None:
    date = "2026-01-31T08:00:00+01:00"
    taken, missing, planned, paused, wrong = case.tasks(
        {"dag_id": "hello", "run_id": "dated", "logical_date": date},
        {"dag_id": "nowhere"},
        {"dag_id": "nowhere", "if_paused": "trigger", "check": True},
        {"dag_id": "paused"},
        {"dag_id": "hello", "password": "not it"},
    )
    assert taken["changed"], taken
    for result in (missing, planned):
        assert_failed(result, "Airflow has no such DAG")
    assert_failed(paused, "it is paused")
    assert_failed(wrong, WRONG_PASSWORD)
    other, note = case.tasks({"dag_id": "hello", "logical_date": date}, {"dag_id": "hello", "note": "why"})
    assert_failed(other, "run 'dated' of this DAG has the logical date")
    if case.minor >= (2, 5):
        assert note["dag_run"]["note"] == "why"
    else:
        assert note["failed"]
        assert "note" in note["msg"]
    assert not case.runs("paused")


def test_a_dag_that_allows_no_manual_runs(case: Case) -> None:
    if case.minor < (3, 2):
        pytest.skip("before 3.2 every DAG allows them")
    order = {"dag_id": "by_schedule"}
    results = case.tasks({**order, "check": True}, order, {**order, "if_paused": "trigger"})
    for result in [*results, case.one(module="airflow_api_info", dag_id="by_schedule")]:
        assert result["diagnosis"]["code"] == "manual_runs_not_allowed", result


def test_a_role_that_may_only_read(case: Case) -> None:
    if case.generation == "1.10":
        pytest.skip("the API of 1.10 knows no roles")
    viewer: dict[str, Any] = {"username": "viewer", "password": case.airflow.users["viewer"]}
    before = case.runs("hello")
    info, check, apply = case.tasks(
        {"module": "airflow_api_info", "dag_id": "hello"},
        {"dag_id": "hello", "check": True},
        {"dag_id": "hello"},
        **viewer,
    )
    for result in (check, apply):
        assert_failed(result, "the role of 'viewer' does not allow to trigger this DAG")
    assert (info["login_accepted"], info["dag"]["exists"], info["dag"]["may_trigger"]) == (True, True, False)
    assert "the role of 'viewer'" in info["diagnosis"]["cause"]
    assert case.runs("hello") == before


@pytest.mark.story
def test_a_dag_is_paused_and_unpaused(case: Case) -> None:
    module = {"module": "airflow_dag", "dag_id": "hello"}
    done = case.tasks(
        {**module, "paused": True, "check": True},
        {**module, "paused": True},
        {**module, "paused": True},
        {**module, "paused": False},
        {"module": "airflow_dag", "dag_id": "nowhere", "paused": True},
    )
    assert [result["changed"] for result in done] == [True, True, False, True, False], done
    assert [result["dag"]["is_paused"] for result in done[:4]] == [True, True, True, False]
    assert_failed(done[4], "Airflow has no such DAG")


@pytest.mark.story
def test_runs_are_listed(case: Case) -> None:
    listing = {"module": "airflow_dag_run_info", "dag_ids": ["hello", "fails"]}
    everything, two, failed, later = case.tasks(
        listing,
        {**listing, "limit": 2},
        {**listing, "states": ["failed"]},
        {**listing, "since": "2999-01-01T00:00:00Z"},
    )
    if case.minor < (2, 1):
        assert everything["failed"]
        assert everything["diagnosis"]["cause"]
        return
    expected = {"named-1", "many-0", "many-1", "many-2", "bad", "dated"}
    assert expected <= {run["run_id"] for run in everything["dag_runs"]}, everything
    assert everything["total"] == len(everything["dag_runs"])
    assert two["dag_runs"] == everything["dag_runs"][:2]
    assert two["total"] == everything["total"]
    assert (later["dag_runs"], later["total"]) == ([], 0)
    if case.minor >= (2, 3):
        assert [run["run_id"] for run in failed["dag_runs"]] == ["bad"], failed


@pytest.mark.story
def test_a_failed_run_is_rerun_once_and_a_state_set(case: Case) -> None:
    rerun = {"module": "airflow_dag_run", "dag_id": "fails", "run_id": "bad", "rerun": "failed_tasks"}
    if case.generation == "1.10":
        assert "can neither rerun a run nor set its state" in case.one(**rerun)["msg"]
        return
    end = {"module": "airflow_dag_run", "dag_id": "fails", "run_id": "bad", "state": "success"}
    if case.minor < (2, 2):
        refused = case.one(**end)
        assert (refused["failed"], refused["changed"]) == (True, False), refused
        assert refused["diagnosis"]["remedy"]
        return
    viewer = {"username": "viewer", "password": case.airflow.users["viewer"]}
    (bad,) = case.one(module="airflow_dag_run_info", dag_ids=["fails"])["dag_runs"]
    this_failure = {**rerun, "end_date": bad["end_date"]}
    check, refused, apply, again, no_run, no_dag = case.tasks(
        {**this_failure, "check": True},
        {**this_failure, **viewer},
        this_failure,
        this_failure,
        {**end, "run_id": "nowhere"},
        {**end, "dag_id": "nowhere"},
    )
    assert_failed(refused, "the role of 'viewer' does not allow to")
    for result in (check, apply):
        assert (result["changed"], result["tasks"], result["reason"]) == (True, ["fail"], None), result
    assert apply["dag_run"]["end_date"] != bad["end_date"]
    assert (again["changed"], again["tasks"]) == (False, []), again
    assert_failed(no_run, "has no run of that id")
    assert_failed(no_dag, "Airflow has no such DAG")

    # While its task runs, the scheduler might have the last word about the state.
    case.airflow.wait_until(lambda: case.state("fails", "bad") == "failed", "the run has failed again", 120)
    done = case.tasks({**end, "check": True}, end, end, {**rerun, "rerun": "all_tasks"})
    for result in done[:2]:
        assert (result["changed"], result["dag_run"]["state"]) == (True, "success"), result
    assert (done[2]["changed"], done[2]["reason"]) == (False, "the run is success already")
    assert (done[3]["changed"], done[3]["reason"]) == (False, "the run is success, and is rerun only out of failed")


@pytest.mark.story
def test_the_examination(case: Case) -> None:
    module = {"module": "airflow_api_info"}
    good, missing, wrong, nobody = case.tasks(
        {**module, "dag_id": "hello"},
        {**module, "dag_id": "nowhere"},
        {**module, "password": "not it"},
        {**module, "username": "", "password": ""},
    )
    assert good["diagnosis"] is None, good
    assert (good["reachable"], good["generation"], good["login_accepted"]) == (True, case.api, True)
    assert good["release"] == (None if case.generation == "1.10" else case.airflow.version)
    assert good["health"]["metadatabase"] == good["health"]["scheduler"] == "healthy"
    assert (good["dag"]["exists"], good["dag"]["is_paused"]) == (True, False)
    assert good["dag"]["may_trigger"] is (None if case.generation == "1.10" else True)
    assert missing["dag"]["exists"] is False
    assert "no such DAG" in missing["diagnosis"]["cause"]
    assert wrong["login_accepted"] is not True
    assert WRONG_PASSWORD in wrong["diagnosis"]["cause"]
    assert nobody["login_accepted"] is None
    assert "no login was given" in nobody["diagnosis"]["cause"] or "none was given" in nobody["diagnosis"]["cause"]


def test_a_dag_that_runs_already_and_a_run_that_is_given_up(case: Case) -> None:
    first = {"dag_id": "slow", "run_id": "in-the-way", "conf": {"seconds": 120}}
    unless = {"dag_id": "slow", "conf": {"seconds": 0}, "unless_running": True}
    end = {"wait": True, "wait_timeout": 1, "on_timeout": "fail_run"}
    given_up = {"dag_id": "slow", "run_id": "given-up", "conf": {"seconds": 120}, **end}
    begun, check, kept, theirs, failed = case.tasks(
        first, {**unless, "check": True}, unless, {**first, **end}, given_up
    )
    assert theirs["timed_out"] is True
    assert "this task has not triggered it" in theirs["msg"]
    assert case.state("slow", "in-the-way") != "failed"
    if case.minor >= (2, 2):  # a scheduler that was at work on a run may call it running once more
        case.one(module="airflow_dag_run", dag_id="slow", run_id="in-the-way", state="failed")
        case.airflow.wait_until(lambda: case.state("slow", "in-the-way") == "failed", "one has failed", 120)
        case.airflow.wait_until(lambda: case.state("slow", "given-up") == "failed", "the other has failed", 120)
    apply = case.one(**unless)
    assert [result["changed"] for result in (begun, check, kept)] == [True, False, False], kept
    assert check["dag_run"]["run_id"] == kept["dag_run"]["run_id"] == "in-the-way"
    assert failed["timed_out"] is True
    assert case.runs("slow").count("in-the-way") == 1
    if case.minor < (2, 2):
        assert "could not be set to failed" in failed["msg"]
        assert (failed["changed"], apply["changed"]) == (False, False)
        return
    assert "and was set to failed" in failed["msg"]
    assert (failed["changed"], failed["dag_run"]["state"], apply["changed"]) == (True, "failed", True)


def test_no_scheduler_is_there(case: Case) -> None:
    """Airflow itself takes half a minute to notice, and one that is being restarted is given as long again."""
    if case.generation == "1.10":
        pytest.skip("the API of 1.10 tells nothing of the scheduler")
    case.airflow.supervisor.stop("airflow-scheduler")
    if case.minor < (2, 1):  # a run is called running from the first there, so only the end of the patience can tell
        assert_stuck(case.one(dag_id="hello", wait=True, wait_timeout=60), "running")
    else:
        begun = time.monotonic()
        assert_stuck(case.one(dag_id="hello", wait=True, wait_timeout=600))
        assert time.monotonic() - begun < 150
    case.airflow.supervisor.start("airflow-scheduler")

    def is_back() -> bool:
        return bool(case.one(module="airflow_api_info")["health"]["scheduler"] == "healthy")

    case.airflow.wait_until(is_back, "the scheduler is healthy")


def test_simulated_airflow_answers_as_the_real_one(case: Case) -> None:
    """Which is what the schedules of the unit tests rest on."""
    if case.generation == "1.10":
        pytest.skip("the simulation has 2.x and 3.x only")
    settings = simulation.Settings(case.api, False, "right", 1.0, 1.0, "success", False)
    model = simulation.SimulatedAirflow(settings, simulation.Clock())
    dialect = DIALECTS[case.api]
    prefix, runs = dialect.prefix, dialect.prefix + "/dags/{dag}/dagRuns"
    named = {dialect.run_key: "model-1", **dialect.always}
    for method, path, document, login in [
        ("GET", prefix + "/version", None, None),
        ("GET", dialect.health, None, None),
        ("GET", prefix + "/dags/{dag}", None, "right"),
        ("GET", prefix + "/dags/{dag}", None, None),
        ("GET", prefix + "/dags/{dag}", None, "wrong"),
        ("GET", prefix + "/dags/nobodys", None, "right"),
        ("POST", runs, {"zzz": 1}, "right"),
        ("GET", runs + "/model-1", None, "right"),
        ("POST", runs, named, "right"),
        ("POST", runs, named, "right"),
        ("GET", runs + "/model-1", None, "right"),
        ("GET", runs + "/model-1/taskInstances?state=failed&limit=100", None, "right"),
        ("POST", prefix + "/dags/~/dagRuns/list", {"dag_ids": ["{dag}"], "page_offset": 0, "page_limit": 1}, "right"),
        ("PATCH", prefix + "/dags/{dag}?update_mask=is_paused", {"is_paused": False}, "right"),
        ("PATCH", runs + "/model-1", {"state": "failed"}, "right"),
    ]:
        told = model.answer(method, path.format(dag=simulation.DAG), document, login)
        asked = json.loads(json.dumps(document).replace("{dag}", "model"))
        real = case.raw(method, path.format(dag="model"), asked, login)
        for _try in range(5):  # SQLite may be locked by the scheduler for too long
            if real.status == 500 != told.status:
                time.sleep(2)
                real = case.raw(method, path.format(dag="model"), asked, login)
        what = f"{method} {path}: {real.status} {real.text[:300]}, in the simulation {told.status} {told.text[:300]}"
        alike = {401, 403} if login != "right" else {real.status}
        assert told.status == real.status or {told.status, real.status} <= alike, what
        assert (dialect.said(told) is None) == (dialect.said(real) is None), what
        if real.status == 200:
            of_others = {"execution_date", "logical_date", "note"}  # which not every version has
            assert set(told.document or {}) <= set(real.document or {}) | of_others, what


MANY = 10000
AT_ONCE = 250  # that ended at one and the same time: more than a page


def add_failed_runs(case: Case) -> set[str]:
    """MANY copies of a run, as failed ones, written into Airflow's database."""
    date = "logical_date" if case.generation == "3" else "execution_date"
    with contextlib.closing(sqlite3.connect(case.airflow.home / "airflow.db", timeout=60)) as database:
        columns = [str(row[1]) for row in database.execute("PRAGMA table_info(dag_run)") if row[1] != "id"]
        row = database.execute(f"SELECT {', '.join(columns)} FROM dag_run WHERE dag_id = 'fails'").fetchone()
        now = datetime.now(UTC)
        rows = []
        for number in range(MANY):
            end = now - timedelta(seconds=60 + number // AT_ONCE)
            days = now - timedelta(days=1000, seconds=number)
            own = {"run_id": f"copy-{number}", "state": "failed", date: f"{days:%F %T}.000000"}
            own.update(dict.fromkeys(["start_date", "end_date"], f"{end:%F %T}.000000"))
            rows.append([own.get(name, value) for name, value in zip(columns, row, strict=True)])
        places = ", ".join("?" * len(columns))
        database.executemany(f"INSERT INTO dag_run ({', '.join(columns)}) VALUES ({places})", rows)
        database.commit()
    return {f"copy-{number}" for number in range(MANY)}


def test_ten_thousand_failed_runs(case: Case) -> None:
    if case.minor < (2, 3):
        pytest.skip("before 2.3 the API cannot be asked for failed runs")
    copies = add_failed_runs(case)
    before = requests_of(case)
    begin = time.monotonic()
    found = case.one(module="airflow_problems_info", failed_within=3600.0)
    seconds, requests = time.monotonic() - begin, requests_of(case) - before
    runs = Counter(problem["run_id"] for problem in found["problems"] if problem["type"] == "run_failed")
    print(f"{case.airflow.version}: {MANY} failed runs in {seconds:.0f} s and {requests} requests")
    assert copies <= set(runs), (len(runs), found.get("msg"))
    assert set(runs.values()) == {1}
    if case.generation == "2":  # 3.x does not log them by default
        assert MANY / 100 <= requests <= 20 + 1.5 * MANY / 100  # pages overlap where many runs have ended at once
    with contextlib.closing(sqlite3.connect(case.airflow.home / "airflow.db", timeout=60)) as database:
        database.execute("DELETE FROM dag_run WHERE run_id LIKE 'copy-%'")
        database.commit()


def requests_of(case: Case) -> int:
    """How many requests of the API the server has logged."""
    log = (case.airflow.home / f"{case.airflow.server_program}.log").read_text(errors="replace")
    return len(re.findall(r'"?(?:GET|POST|PATCH) /(?:api/v\d|auth/token)', log))


def test_another_generation_than_the_servers(case: Case) -> None:
    others = [name for name in ("experimental", "v1", "v2") if name != case.api]
    for result in case.tasks(*({"dag_id": "hello", "api_version": other, "check": True} for other in others)):
        assert_failed(result, "has no API of the generation")
        assert case.api in result["diagnosis"]["remedy"]
    assert not case.one(dag_id="hello", api_version=case.api, check=True).get("failed")


def test_headers_for_gateways_are_not_shown(case: Case) -> None:
    headers = {"X-Gateway-Key": "hush-hush-1", "X-Short": "1"}
    done, bad = case.tasks(
        {"dag_id": "hello", "check": True, "headers": headers},
        {"dag_id": "hello", "headers": {"X-Gateway-Key": "hush-hush-1\nX-Other: 2"}},
        verbosity=3,
    )
    assert not done.get("failed"), done
    assert "must be one line" in bad["msg"]
    assert "hush-hush" not in case.output
    assert '"changed": true' in case.output  # and the short value has not blanked all the ones in the text


def test_a_proxy_that_takes_the_login_away(case: Case) -> None:
    handler = type("Handler", (Stripped,), {"port": case.airflow.port})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        refused = case.one(dag_id="hello", url=f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert_failed(refused, "the Authorization header" if case.minor >= (2, 3) else "does not reach Airflow")


def test_a_dag_that_cannot_be_imported(case: Case) -> None:
    """One that Airflow has never had, and one that it knows from before its file was broken."""
    broken = case.airflow.dags / "broken.py"
    if case.generation == "1.10":
        assert_failed(case.one(dag_id="broken"), "Airflow has no such DAG")  # its API tells no import errors
        return
    missing = case.one(dag_id="broken")
    assert_failed(missing, "Airflow has no such DAG, and files that it cannot import")
    assert broken.name in missing["diagnosis"]["evidence"]
    if case.minor < (2, 3):
        return
    (case.airflow.dags / "later.py").write_text(broken.read_text())

    def is_known() -> bool:
        return bool(case.one(module="airflow_api_info", dag_id="later")["dag"]["has_import_errors"])

    case.airflow.wait_until(is_known, "later.py has an import error", 150)
    check, apply, info = case.tasks(
        {"dag_id": "later", "check": True}, {"dag_id": "later"}, {"module": "airflow_api_info", "dag_id": "later"}
    )
    for result in (check, apply):
        assert_failed(result, "its file cannot be imported at present")
    assert "its file cannot be imported at present" in info["diagnosis"]["cause"]
    assert not case.runs("later")


def test_run_id_that_the_server_does_not_take(case: Case) -> None:
    """Neither the ids that are chosen here: the form that Airflow always takes is not unique."""
    if case.minor < (2, 6) or "allowed_run_id_pattern" not in case.airflow.cfg.read_text():
        pytest.skip("this release takes any id")
    case.set("scheduler", allowed_run_id_pattern="^release-[0-9]+$")
    if case.generation == "2":
        case.airflow.write_backends(BASIC["2"])
    case.airflow.restart_webserver()
    try:
        refused, taken = case.tasks({"dag_id": "hello"}, {"dag_id": "hello", "run_id": "release-7"})
    finally:
        case.set("scheduler", allowed_run_id_pattern="^[A-Za-z0-9_.~:+-]+$")
        case.airflow.restart_webserver()
    assert "allowed_run_id_pattern" in refused["diagnosis"]["remedy"], refused
    assert refused["diagnosis"]["code"] == ("run_id_not_allowed" if case.generation == "3" else "server_error")
    assert not [run_id for run_id in case.runs("hello") if run_id == refused.get("dag_run", {}).get("run_id")]
    assert taken["changed"], taken


def test_a_server_that_lets_everybody_in_as_nobody(case: Case) -> None:
    if case.generation != "2":
        pytest.skip("the backend default is one of Airflow 2; on 1.10 whoever calls may trigger")
    case.airflow.set_backends("airflow.api.auth.backend.default")
    refused = case.one(dag_id="hello")
    assert_failed(refused, "the login is right, but the API takes no passwords")
    assert refused["diagnosis"]["http_status"] == 403


# --- tokens of Airflow 3 ----------------------------------------------------------------------


def signed_again(token: str, secret: str, **claims: Any) -> str:
    """The token with other claims, signed as the server does it."""
    header, payload, _signature = token.split(".")
    known = json.loads(base64.urlsafe_b64decode(payload + "=="))
    algorithm = json.loads(base64.urlsafe_b64decode(header + "=="))["alg"]
    body = base64.urlsafe_b64encode(json.dumps({**known, **claims}).encode()).rstrip(b"=").decode()
    digest = {"HS512": hashlib.sha512, "HS256": hashlib.sha256}[algorithm]
    signature = hmac.new(secret.encode(), f"{header}.{body}".encode(), digest).digest()
    return f"{header}.{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def test_a_ready_token(case: Case) -> None:
    if case.generation != "3":
        refused = case.one(dag_id="hello", username="", password="", token="abc.def")
        assert refused["failed"]
        assert not refused["changed"]
        return
    token = case.token()
    secret = re.search(r"(?m)^jwt_secret = (.*)$", case.airflow.cfg.read_text())
    assert secret
    orders = [
        {"dag_id": "hello", "token": token, "run_id": "by-token"},
        {"dag_id": "hello", "token": signed_again(token, secret[1], exp=1700000000, iat=1600000000, nbf=1600000000)},
        {"dag_id": "hello", "token": signed_again(token, "another secret than the server's" * 3)},
    ]
    done, expired, foreign = case.tasks(*orders, username="", password="", verbosity=3)
    assert done["changed"], done
    assert_failed(expired, "the token has expired")
    assert_failed(foreign, "the token is none that this server has signed")
    assert not [order["token"] for order in orders if order["token"] in case.output]


def test_the_auth_manager_of_fab_and_a_token_that_ends_during_the_wait(case: Case) -> None:
    if case.generation != "3":
        pytest.skip("there are no tokens before Airflow 3")
    case.set("core", auth_manager=FAB)
    case.set("api_auth", jwt_expiration_time="2", jwt_leeway="0")
    case.airflow.restart_webserver()
    order = {"dag_id": "slow", "run_id": "by-fab", "conf": {"seconds": 6}, "wait": True, "wait_timeout": 300}
    done, wrong = case.tasks(order, {"dag_id": "hello", "password": "not it"}, verbosity=3)
    assert not done.get("failed"), done
    assert (done["changed"], done["dag_run"]["state"]) == (True, "success")
    assert "eyJ" not in case.output  # as every token begins
    assert_failed(wrong, WRONG_PASSWORD)
    test_a_role_that_may_only_read(case)


def test_base_path_that_url_lacks(case: Case) -> None:
    """With FAB, as the test before leaves it: its login is there below the base path only."""
    if case.generation != "3":
        pytest.skip("up to 2.x nothing responds without the base path")
    text = case.airflow.cfg.read_text()
    case.airflow.cfg.write_text(text.replace("\n[api]\n", f"\n[api]\nbase_url = {case.airflow.url}/airflow\n"))
    case.set("core", auth_manager=FAB)
    case.airflow.restart_webserver()
    try:
        lacking, whole = case.tasks({"dag_id": "hello"}, {"dag_id": "hello", "url": case.airflow.url + "/airflow"})
    finally:
        case.airflow.cfg.write_text(text)
        case.airflow.restart_webserver()
    assert lacking["diagnosis"]["code"] == "base_path_missing", lacking
    assert case.airflow.url + "/airflow" in lacking["msg"]
    assert whole["changed"], whole


def test_a_database_that_is_away(case: Case) -> None:
    """The last test: a scheduler does not survive it."""
    if case.generation != "2":
        pytest.skip("3.x keeps its connection to the file, and 1.10 has no page that tells")
    case.airflow.set_backends(BASIC["2"])
    database = case.airflow.home / "airflow.db"
    away = database.with_name("away.db")
    database.rename(away)
    database.mkdir()
    try:
        triggered, seen = case.tasks({"dag_id": "hello"}, {"module": "airflow_api_info", "dag_id": "hello"})
    finally:
        database.rmdir()
        away.rename(database)
    for result in (triggered, seen):
        assert result["diagnosis"]["code"] == "database_not_available", result

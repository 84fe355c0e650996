# SPDX-License-Identifier: GPL-3.0-or-later
"""airflow_dag_trigger on a real Airflow: each scenario in check mode, applied, and applied again."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import socket
import sqlite3
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api.arguments import API_ARGUMENTS
from ansible_collections.fleetops.airflow.plugins.module_utils._api.connect import connect
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.request import run_request
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.trigger import Trigger
from testbed.faulty_proxy import FaultyProxy
from testbed.instance import Airflow
from testbed.runner import Ansible

MODULE = "fleetops.airflow.airflow_dag_trigger"
BACKEND = "airflow.api.auth.backend."
ODD_PASSWORD = "pä$$wörd-日本"


@dataclass
class Caller:
    """The module with url and a login."""

    ansible: Ansible
    airflow: Airflow
    user: str

    @property
    def login(self) -> dict[str, Any]:
        return {"url": self.airflow.url, "username": self.user, "password": self.airflow.users[self.user]}

    def tasks(self, *orders: dict[str, Any], verbosity: int = 0) -> tuple[list[dict[str, Any]], str]:
        """The results of one task for each of the orders, in one play, and all that was printed."""
        tasks = [
            {"name": "Trigger", MODULE: {**self.login, **order}, "ignore_errors": True, "check_mode": check}
            for check, order in [(bool(order.pop("check", False)), order) for order in map(dict, orders)]
        ]
        play = {"hosts": "localhost", "gather_facts": False, "tasks": tasks}
        done = self.ansible.playbook(json.dumps([play]) + "\n", verbosity=verbosity)
        assert len(done.tasks) == len(orders), done.output
        return [task.result for task in done.tasks], done.output

    def one(self, **order: Any) -> dict[str, Any]:
        return self.tasks(order)[0][0]

    def three_times(self, **order: Any) -> list[dict[str, Any]]:
        """In check mode, applied, and applied again."""
        return self.tasks({**order, "check": True}, order, order)[0]


def changes(*results: dict[str, Any]) -> tuple[bool, ...]:
    return tuple(result["changed"] for result in results)


def assert_refused(results: list[dict[str, Any]], cause: str, *in_message: str) -> None:
    """All failed for that cause, and changed nothing."""
    for result in results:
        assert result["failed"]
        assert not result["changed"]
        assert result["diagnosis"].keys() == {"code", "cause", "evidence", "remedy", "http_status"}
        assert cause in result["diagnosis"]["cause"]
        assert all(text in result["msg"] for text in in_message), result["msg"]


@pytest.fixture(scope="module")
def accepting(airflow: Airflow) -> Iterator[Airflow]:
    """An Airflow whose API takes passwords. Afterwards it is as it came: it takes none."""
    pristine = airflow.cfg.read_bytes()
    airflow.set_backends(f"{BACKEND}basic_auth,{BACKEND}session")
    yield airflow
    airflow.cfg.write_bytes(pristine)
    airflow.restart_webserver()


@pytest.fixture(scope="module")
def op(ansible: Ansible, accepting: Airflow) -> Caller:
    return Caller(ansible, accepting, "op")


def runs(airflow: Airflow, dag_id: str) -> list[str]:
    """The ids of a DAG's runs, from the database."""
    with contextlib.closing(
        sqlite3.connect(f"file:{airflow.home}/airflow.db?mode=ro", uri=True, timeout=20)
    ) as database:
        return [row[0] for row in database.execute("SELECT run_id FROM dag_run WHERE dag_id = ?", [dag_id])]


def is_paused(airflow: Airflow, dag_id: str) -> bool:
    with contextlib.closing(
        sqlite3.connect(f"file:{airflow.home}/airflow.db?mode=ro", uri=True, timeout=20)
    ) as database:
        return bool(database.execute("SELECT is_paused FROM dag WHERE dag_id = ?", [dag_id]).fetchone()[0])


def call(airflow: Airflow, method: str, path: str, document: dict[str, Any] | None = None) -> None:
    """One call of the API as admin, to put things back."""
    pair = base64.b64encode(f"admin:{airflow.users['admin']}".encode()).decode()
    request = urllib.request.Request(airflow.url + path, method=method, headers={"Authorization": "Basic " + pair})
    if document is not None:
        request.data = json.dumps(document).encode()
        request.add_header("Content-Type", "application/json")
    urllib.request.urlopen(request, timeout=30).close()


# --- refused ----------------------------------------------------------------------------------


@pytest.mark.story
def test_a_server_without_basic_auth(ansible: Ansible, airflow: Airflow) -> None:
    op = Caller(ansible, airflow, "op")
    assert_refused(
        op.three_times(dag_id="hello"),
        "the login is right, but the API takes no passwords",
        airflow.url,
        "'hello'",
        "fleetops.airflow.airflow_api_auth",
    )
    assert_refused([op.one(dag_id="hello", password="not it")], "the password is not that of 'op'")
    assert not [run_id for run_id in runs(airflow, "hello") if run_id.startswith("ansible__")]


def test_a_wrong_password(op: Caller) -> None:
    assert_refused(op.three_times(dag_id="hello", password="not it"), "the password is not that of 'op'")


def test_a_role_that_may_only_read(ansible: Ansible, accepting: Airflow) -> None:
    results = Caller(ansible, accepting, "viewer").three_times(dag_id="hello")
    assert_refused(results, "the role of 'viewer' does not allow to trigger this DAG", "User or Op")
    assert not [run_id for run_id in runs(accepting, "hello") if run_id.startswith("ansible__")]


def test_a_dag_that_is_not_there(op: Caller) -> None:
    results = op.three_times(dag_id="nowhere")
    assert_refused(results, "Airflow has no such DAG", "'nowhere'", op.airflow.url)
    assert {result["diagnosis"]["http_status"] for result in results} == {404}


BAD_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"run_id": "a b"}, "run_id"),
    ({"logical_date": "2026-01-31T08:00:00"}, "timezone"),
    ({"conf": "[1]"}, "dict"),
    ({"wait_interval": 0.2}, "wait_interval"),
    ({"wait_timeout": 0}, "wait_timeout"),
    ({"url": "localhost:8080"}, "scheme"),
    ({"url": ""}, "url is empty"),
    ({"username": "a:b", "api_version": "v1"}, "colon"),
    ({"client_key": "/nonexistent"}, "client_cert"),
]


def test_bad_options_send_nothing(op: Caller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        nobody.settimeout(0.1)
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        results, _rest = op.tasks(*({"dag_id": "hello", "url": url, **args} for args, _rest in BAD_OPTIONS))
        with pytest.raises(TimeoutError):
            nobody.accept()
    for result, (_args, hint) in zip(results, BAD_OPTIONS, strict=True):
        assert result["failed"]
        assert hint in result["msg"]


# --- triggered --------------------------------------------------------------------------------


def test_a_named_run_is_made_once(op: Caller) -> None:
    conf = {"a": 1, "ä": ["日本", None, 1.5]}
    order = {"dag_id": "hello", "run_id": "named-1", "conf": conf, "note": "first", "wait": True}
    (check, apply, again, check_again), _rest = op.tasks(
        {**order, "check": True}, order, order, {**order, "check": True}
    )
    assert changes(check, apply, again, check_again) == (True, True, False, False)
    planned = {"dag_id": "hello", "run_id": "named-1", "conf": conf, "note": "first", "state": None, "url": None}
    nothing = {"logical_date": None, "start_date": None, "end_date": None, "run_type": None}
    assert check["dag_run"] == {**planned, **nothing}
    run = apply["dag_run"]
    assert (run["state"], run["conf"], run["note"], run["run_type"]) == ("success", conf, "first", "manual")
    assert run["url"] == f"{op.airflow.url}/dags/hello/grid?dag_run_id=named-1"
    assert again["dag_run"] == check_again["dag_run"] == run
    assert (apply["timed_out"], apply["failed_tasks"]) == (False, [])
    assert runs(op.airflow, "hello").count("named-1") == 1


def test_a_named_run_with_another_conf_is_an_error(op: Caller) -> None:
    order = {"dag_id": "hello", "run_id": "named-2"}
    other = {**order, "conf": {"a": 1, "token": "hush-hush-2"}}
    (first, *others), _rest = op.tasks(
        {**order, "conf": {"a": 1, "token": "hush-hush-1"}}, {**other, "check": True}, other
    )
    assert changes(first) == (True,)
    assert_refused(others, "conf differs in 'token'")
    assert not [result for result in others if "hush" in result["msg"] + str(result["diagnosis"])]


def test_without_a_name_every_task_makes_a_run(op: Caller) -> None:
    before = runs(op.airflow, "hello")
    check, apply, again = op.three_times(dag_id="hello")
    assert check["dag_run"]["run_id"] is None
    ids = {apply["dag_run"]["run_id"], again["dag_run"]["run_id"]}
    assert set(runs(op.airflow, "hello")) - set(before) == ids
    assert len(ids) == 2


def test_a_logical_date_is_taken_once(op: Caller) -> None:
    check, apply, again = op.three_times(dag_id="hello", logical_date="2026-01-31T08:00:00+01:00")
    assert changes(check, apply) == (True, True)
    assert_refused([again], "has the logical date", apply["dag_run"]["run_id"])
    assert again["diagnosis"]["http_status"] == 409


def test_a_password_of_any_letters(op: Caller, accepting: Airflow) -> None:
    user = ["--username", "odd", "--firstname", "A", "--lastname", "B", "--email", "odd@example.org"]
    created = accepting.cli("users", "create", "--role", "Op", *user, "--password", ODD_PASSWORD)
    assert created.returncode == 0, created.stderr
    results = op.three_times(dag_id="hello", run_id="odd", username="odd", password=ODD_PASSWORD)
    assert changes(*results) == (True, True, False)


def test_options_from_environment_and_action_group(op: Caller) -> None:
    env = {"AIRFLOW_API_URL": op.airflow.url + "/api/v1/", "AIRFLOW_API_USERNAME": "op"}
    env["AIRFLOW_API_PASSWORD"] = op.airflow.users["op"]
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "tasks": [
            {"name": "From the environment", MODULE: {"dag_id": "hello"}},
            {
                "name": "From module_defaults",
                MODULE: {"dag_id": "nowhere"},
                "module_defaults": {"group/fleetops.airflow.api": {"url": "no-scheme"}},
                "ignore_errors": True,
            },
        ],
    }
    done = op.ansible.playbook(json.dumps([play]) + "\n", check=True, env=env)
    first, second = (task.result for task in done.tasks)
    assert not first.get("failed"), first
    assert "no scheme" in second["msg"]


def test_requests_is_found_in_the_interpreter_of_airflow(op: Caller, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    bin_folders = [op.airflow.executable.parent, Path(sys.executable).parent, "/usr/bin", "/bin"]
    result = op.ansible.module(
        MODULE,
        {**op.login, "dag_id": "hello"},
        check=True,
        env={"PATH": ":".join(map(str, bin_folders))},
        python=tmp_path / "bare/bin/python",
    )
    assert not result.failed, result.msg
    assert op.airflow.users["op"] not in result.output


# --- paused -----------------------------------------------------------------------------------


@pytest.fixture
def paused(accepting: Airflow) -> Iterator[str]:
    yield "paused"
    call(accepting, "PATCH", "/api/v1/dags/paused", {"is_paused": True})


def test_a_paused_dag_is_not_triggered(op: Caller, paused: str) -> None:
    assert_refused(op.three_times(dag_id=paused), "it is paused", "if_paused")
    assert runs(op.airflow, paused) == []


def test_a_paused_dag_is_triggered_all_the_same(op: Caller, paused: str) -> None:
    order = {"dag_id": paused, "run_id": "waits", "if_paused": "trigger"}
    (*results, waited), _rest = op.tasks(
        {**order, "check": True}, order, order, {**order, "wait": True, "wait_timeout": 1}
    )
    assert changes(*results) == (True, True, False)
    assert is_paused(op.airflow, paused)
    assert waited["timed_out"] is True
    assert_refused([waited], "its DAG is paused")


def test_a_paused_dag_is_unpaused(op: Caller, paused: str) -> None:
    order = {"dag_id": paused, "run_id": "goes", "if_paused": "unpause", "wait": True}
    check = op.one(check=True, **order)
    assert changes(check) == (True,)
    assert is_paused(op.airflow, paused)
    (apply, again), _rest = op.tasks(order, order)
    assert changes(apply, again) == (True, False)
    assert apply["dag_run"]["state"] == "success"
    assert not is_paused(op.airflow, paused)


# --- waiting ----------------------------------------------------------------------------------


def test_a_run_that_fails(op: Caller) -> None:
    check, apply, again = op.three_times(dag_id="fails", run_id="bad", wait=True)
    assert changes(check, apply, again) == (True, True, False)
    assert "failed" not in check
    assert apply["failed"]
    assert_refused([again], "task 'fail' failed", apply["dag_run"]["url"])
    (task,) = apply["failed_tasks"]
    assert (task["task_id"], task["state"], task["try_number"]) == ("fail", "failed", 1)
    assert "this task always fails" in "\n".join(task["log"])
    assert apply["dag_run"]["state"] == "failed"


def test_a_run_that_takes_too_long_and_a_restart_meanwhile(op: Caller) -> None:
    order = {"dag_id": "slow", "run_id": "long", "conf": {"seconds": 8}, "wait": True}
    check, late = op.tasks({**order, "check": True}, {**order, "wait_timeout": 2})[0]
    assert changes(check, late) == (True, True)
    assert late["failed"]
    assert late["timed_out"] is True
    assert late["dag_run"]["state"] in ("queued", "running")
    restart = threading.Thread(target=op.airflow.restart_webserver)
    restart.start()
    again = op.one(**order, wait_timeout=120)
    restart.join()
    assert "failed" not in again, again
    assert changes(again) == (False,)
    assert again["dag_run"]["state"] == "success"


# --- many at once -----------------------------------------------------------------------------


def test_many_runs_in_one_task(op: Caller) -> None:
    first = {"dag_id": "hello", "run_id": "many-1", "conf": {"number": 1}}
    others = [{"dag_id": "hello", "conf": {"number": number}} for number in (2, 3)]
    wrong = [{"dag_id": "fails"}, {"dag_id": "nowhere"}, {**first, "run_id": "many-2", "logical_date": "x"}]
    order = {"runs": [first, *others], "wait": True, "wait_timeout": 300}
    mixed = {**order, "runs": [first, *wrong[:2]]}
    (check, apply, again, both, bad, twice), _rest = op.tasks(
        {**order, "check": True},
        order,
        mixed,
        {**order, "dag_id": "hello"},
        {**order, "runs": wrong},
        {**order, "runs": [first, first]},
    )
    assert changes(check, apply, again) == (True, True, True)
    assert [outcome["dag_run"]["state"] for outcome in check["outcomes"]] == [None] * 3
    assert [outcome["dag_run"]["state"] for outcome in apply["outcomes"]] == ["success"] * 3
    assert [outcome["dag_run"]["conf"]["number"] for outcome in apply["outcomes"]] == [1, 2, 3]
    assert [outcome["changed"] for outcome in again["outcomes"]] == [False, True, False]
    there, failed, nowhere = again["outcomes"]
    assert again["failed"]
    assert "2 of 3 runs went wrong" in again["msg"]
    assert there["dag_run"] == apply["outcomes"][0]["dag_run"]
    assert "this task always fails" in "\n".join(failed["failed_tasks"][0]["log"])
    assert nowhere["diagnosis"]["http_status"] == 404
    assert "mutually exclusive: dag_id|runs" in both["msg"]
    assert "runs[2]: logical_date" in bad["msg"]
    assert "runs[0] and runs[1]" in twice["msg"]
    assert runs(op.airflow, "hello").count("many-1") == 1


# --- what is not there ------------------------------------------------------------------------


class Page(http.server.BaseHTTPRequestHandler):
    """Somebody else's web site."""

    def do_GET(self) -> None:
        body = b"<html><title>Our cafeteria</title></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def test_a_server_that_is_not_airflow(op: Caller) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        results = op.three_times(dag_id="hello", url=url)
        server.shutdown()
    assert_refused(results, "what answers there is not Airflow", f"at {url}: what")
    assert "200 with text/html, titled 'Our cafeteria'" in results[0]["diagnosis"]["evidence"]


def test_hosts_that_do_not_answer(op: Caller) -> None:
    results, _rest = op.tasks(
        {"dag_id": "hello", "url": "http://airflow.invalid"},
        {"dag_id": "hello", "url": op.airflow.url.replace("http", "https"), "timeout": 1},
    )
    for result, cause in zip(results, ["name cannot be resolved", "TLS"], strict=True):
        assert_refused([result], cause)
        assert result["diagnosis"]["http_status"] is None


# --- secrets ----------------------------------------------------------------------------------


def test_no_login_is_shown(op: Caller) -> None:
    password = op.airflow.users["op"]
    secrets = [password, base64.b64encode(f"op:{password}".encode()).decode()]
    results, output = op.tasks(
        {"dag_id": "hello", "run_id": "secret", "check": True},
        {"dag_id": "hello", "run_id": "secret"},
        {"dag_id": "nowhere"},
        {"dag_id": "hello", "username": "nobody"},
        verbosity=3,
    )
    assert not [secret for secret in secrets if secret in output + json.dumps(results)]
    with_login = op.airflow.url.replace("//", f"//op:{password}@")
    results, output = op.tasks(
        {"dag_id": "hello", "url": with_login},
        {"dag_id": "hello", "url": with_login + "/?x"},
        verbosity=3,
    )
    assert all(result["failed"] for result in results)
    assert not [secret for secret in secrets if secret in output + json.dumps(results)]


# --- a network that fails ---------------------------------------------------------------------


@pytest.mark.story
def test_sixty_triggers_make_sixty_runs(op: Caller, paused: str) -> None:
    """Four callers at once, without Ansible around the code. The DAG is paused: no run costs the scheduler."""
    before = set(runs(op.airflow, paused))
    proxy = FaultyProxy(op.airflow.port, delay=0.5)
    defaults = {name: argument.get("default") for name, argument in API_ARGUMENTS.items()}
    nothing = dict.fromkeys(["logical_date", "note"])
    waiting = {"wait": False, "wait_timeout": 60.0, "wait_interval": 10.0, "on_timeout": "leave"}
    common = {**defaults, **nothing, **waiting, **op.login, "url": proxy.url, "dag_id": paused, "if_paused": "trigger"}
    common.update(unless_running=False, fail_on_failed_tasks=False)

    def place(number: int) -> Trigger:
        options = {**common, "conf": {"number": number}, "run_id": f"faulty-{number}" if number % 2 else None}
        trigger = Trigger(connect(options), run_request(options))
        trigger.submit()
        return trigger

    with ThreadPoolExecutor(max_workers=4) as pool:
        placed = list(pool.map(place, range(60)))
    proxy.close()
    after = set(runs(op.airflow, paused))
    for run_id in after - before:
        call(op.airflow, "DELETE", f"/api/v1/dags/{paused}/dagRuns/{quote(run_id)}")
    assert all(trigger.changed for trigger in placed)
    assert {trigger.run.run_id for trigger in placed if trigger.run} == after - before
    assert len(after - before) == 60
    assert all(proxy.faults.values()), proxy.faults


@pytest.mark.story
def test_the_module_behind_the_same_network(op: Caller, paused: str) -> None:
    before = set(runs(op.airflow, paused))
    proxy = FaultyProxy(op.airflow.port)
    order = {"dag_id": paused, "run_id": "behind", "if_paused": "trigger", "url": proxy.url}
    check, apply, again = op.three_times(**order)
    proxy.close()
    assert changes(check, apply, again) == (True, True, False)
    assert set(runs(op.airflow, paused)) - before == {"behind"}

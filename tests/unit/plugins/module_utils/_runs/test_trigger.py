# SPDX-License-Identifier: GPL-3.0-or-later
"""Exactly one run, whatever the network does: against a model of Airflow that fails on command."""

from __future__ import annotations

import contextlib
import json
import re
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any, Generator, Mapping
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.dialects import V2
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import (
    Answer,
    Http,
    RetryPolicy,
    TransportError,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.request import run_request
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.trigger import Trigger
from hypothesis import given
from hypothesis import strategies as st

OPTIONS: dict[str, Any] = {
    "dag_id": "load",
    "run_id": None,
    "conf": None,
    "logical_date": None,
    "note": None,
    "if_paused": "fail",
    "wait": False,
    "wait_timeout": 600.0,
    "wait_interval": 10.0,
    "unless_running": False,
    "on_timeout": "leave",
    "fail_on_failed_tasks": False,
}

# What can happen to one request. "done" means that Airflow carries it out, and its answer is lost.
FAULTS = ["ok", "refused", "dropped", "done, dropped", "done, 500", "503", "504", "done, 504", "429"]


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class FakeAirflow(Http):
    """The API of one DAG, in memory. ``faults`` befall the requests in their order; then all goes well.

    ``states`` are the states that a run goes through, one with each look at it.
    """

    def __init__(self, faults: list[str] | None = None) -> None:
        super().__init__("http://airflow.example", lambda request: request)
        self.faults = list(faults or [])
        self.states = ["queued"]
        self.is_paused = False
        self.has_import_errors = False
        self.allowed_run_types: list[str] | None = None
        self.scheduler = "healthy"
        self.has_failed_tasks = self.is_empty = False  # of runs that are a success
        self.running: list[dict[str, Any]] = []  # task instances of any DAG
        self.reads_every_dag = True
        self.dates: dict[str, str] = {}  # of a run that was asked for by itself
        self.release = (2, 11)
        self.runs: dict[str, dict[str, Any]] = {}
        self.sent: list[tuple[str, str]] = []

    def send(self, method: str, path: str, *, document: Mapping[str, Any] | None = None, **_other: Any) -> Answer:
        self.sent.append((method, path))
        fault = self.faults.pop(0) if self.faults else "ok"
        if fault == "refused":
            raise TransportError("refused", "the connection was refused", nothing_sent=True)
        answer = self.answer(method, path, document) if fault == "ok" or fault.startswith("done") else None
        if fault.endswith("dropped"):
            raise TransportError("broken", "the connection was dropped")
        status = re.search(r"\d+", fault)
        if fault.endswith("500") and not fault.startswith("gateway"):
            return problem(500)  # Airflow itself
        if status:
            return Answer(int(status.group()), {}, b"")
        return answer or Answer(404, {}, b"")

    def answer(self, method: str, path: str, document: Mapping[str, Any] | None) -> Answer:
        parts = urlsplit(path)
        words = parts.path.split("/")[3:]
        if method == "PATCH" and len(words) == 4:
            self.states = [(document or {})["state"]]
        elif method == "PATCH":
            self.is_paused = bool((document or {})["is_paused"])
        if words[-1] == "list":
            return self.listed(dict(document or {}))
        pages: dict[str, dict[str, Any]] = {
            "dags": {"dags": []},
            "health": {"scheduler": {"status": self.scheduler}},
            "dags/~/dagRuns/~/taskInstances": {"task_instances": self.running},
            "dags/load/details": {"is_paused": self.is_paused, "max_active_runs": 16},
        }
        if "/".join(words) in pages:
            return as_answer(200, pages["/".join(words)])
        if len(words) == 2 and words[1].endswith("no_such_dag"):
            return problem(404 if self.reads_every_dag else 403)
        if len(words) == 2:
            state: dict[str, Any] = {"is_paused": self.is_paused, "has_import_errors": self.has_import_errors}
            state["allowed_run_types"] = self.allowed_run_types
            return as_answer(200, {"dag_id": "load", **state})
        if words[-1] == "taskInstances":
            failed = self.states[0] == "failed" or self.has_failed_tasks
            task = {"task_id": "work", "state": "failed" if failed else "success", "try_number": 0}
            there = not self.is_empty and (failed or "state=failed" not in parts.query)
            return as_answer(200, {"task_instances": [task] * there})
        if method == "POST":
            return self.create(dict(document or {}))
        if parts.query:
            date = parse_qs(parts.query)["execution_date_gte"][0]
            return as_answer(200, {"dag_runs": [run for run in self.runs.values() if run["execution_date"] == date]})
        run = self.runs.get(unquote(words[3]))
        if run is None:
            return problem(404)
        if len(self.states) > 1:
            self.states.pop(0)
        return as_answer(200, {**run, **self.dates, "state": self.states[0]})

    def listed(self, document: dict[str, Any]) -> Answer:
        if "states" in document and self.release < (2, 3):
            return problem(400, "{'states': ['Unknown field.']}")
        runs = [run for run in self.runs.values() if run["state"] in document.get("states", [run["state"]])]
        begin = document["page_offset"]
        page = runs[begin : begin + document["page_limit"]]
        return as_answer(200, {"dag_runs": page, "total_entries": len(runs)})

    def create(self, document: dict[str, Any]) -> Answer:
        if "zzz" in document:
            return problem(400, "{'zzz': ['Unknown field.']}")
        run_id = document["dag_run_id"]
        date = document.get("execution_date", f"now {len(self.runs)}")
        if run_id in self.runs or date in [run["execution_date"] for run in self.runs.values()]:
            return problem(409)
        self.add(run_id, document.get("conf"), date)
        return as_answer(200, self.runs[run_id])

    def add(self, run_id: str, conf: dict[str, Any] | None = None, date: str = "2026-01-01T00:00:00+00:00") -> None:
        self.runs[run_id] = {
            "dag_id": "load",
            "dag_run_id": run_id,
            "execution_date": date,
            "conf": conf or {},
            "state": "queued",
        }

    @property
    def posts(self) -> int:
        return sum(method == "POST" for method, _other in self.sent)


def as_answer(status: int, document: dict[str, Any], kind: str = "application/json") -> Answer:
    return Answer(status, {"Content-Type": kind}, json.dumps(document).encode())


def problem(status: int, detail: str | None = None) -> Answer:
    document = {"status": status, "type": "https://airflow.apache.org/docs/x", "detail": detail, "title": "Problem"}
    return as_answer(status, document, "application/problem+json")


def trigger_on(airflow: FakeAirflow, **options: Any) -> Trigger:
    clock = Clock()
    api = Api(airflow, retry_policy=lambda: RetryPolicy(30, clock, clock.sleep))
    return Trigger(api, run_request({**OPTIONS, **options}), clock, clock.sleep)


def failure_of(trigger: Trigger, wait: bool = False) -> AirflowError:
    act = trigger.wait if wait else trigger.submit
    with pytest.raises(AirflowError) as caught:
        act()
    return caught.value


class TestOnce:
    def test_costs_two_requests(self) -> None:
        airflow = FakeAirflow()
        trigger = trigger_on(airflow, conf={"a": 1})
        run = trigger.submit()
        assert [method for method, _other in airflow.sent] == ["GET", "POST"]
        assert trigger.changed
        assert airflow.runs.keys() == {run.run_id}

    @given(faults=st.lists(st.sampled_from(FAULTS), max_size=7), named=st.booleans(), dated=st.booleans())
    def test_one_run_whatever_happens(self, faults: list[str], named: bool, dated: bool) -> None:
        airflow = FakeAirflow(faults)
        trigger = trigger_on(
            airflow,
            run_id="mine" if named else None,
            logical_date="2026-01-31T08:00:00+00:00" if dated else None,
        )
        try:
            run = trigger.submit()
        except CallFailed:
            # Errors of the server itself are not repeated for long. The run may exist only where that is admitted.
            assert "done, 500" in faults
            assert trigger.in_doubt or not airflow.runs
            assert not trigger.changed
        else:
            assert airflow.runs.keys() == {run.run_id}
            assert trigger.changed
            assert not trigger.in_doubt

    @given(faults=st.lists(st.sampled_from(FAULTS), max_size=5))
    def test_a_run_that_exists_is_left_alone(self, faults: list[str]) -> None:
        airflow = FakeAirflow(faults)
        airflow.add("mine", {"a": 1})
        trigger = trigger_on(airflow, run_id="mine", conf={"a": 1})
        try:
            run = trigger.submit()
        except CallFailed:
            assert "done, 500" in faults
        else:
            assert run.run_id == "mine"
        assert not trigger.changed
        assert airflow.posts == 0

    def test_a_server_that_stays_down_leaves_a_doubt_only_after_the_post(self) -> None:
        before = trigger_on(FakeAirflow(["503"] * 50))
        with pytest.raises(CallFailed):
            before.submit()
        assert not before.in_doubt
        after = trigger_on(FakeAirflow(["ok", "done, dropped"] + ["503"] * 50))
        with pytest.raises(CallFailed):
            after.submit()
        assert after.in_doubt
        assert after.result()["dag_run"]["run_id"] == after.request.new.run_id

    def test_an_error_of_airflow_itself_leaves_no_doubt(self) -> None:
        """As 2.0 answers to a date that is taken."""
        airflow = FakeAirflow(["ok", "500", "ok", "500", "ok", "500", "ok"])
        trigger = trigger_on(airflow)
        with pytest.raises(CallFailed):
            trigger.submit()
        assert not trigger.in_doubt

    def test_an_error_of_a_gateway_leaves_doubt(self) -> None:
        """It may have passed the request on, and Airflow may be slow."""
        trigger = trigger_on(FakeAirflow(["ok"] + ["gateway 500", "ok"] * 5))
        with pytest.raises(CallFailed):
            trigger.submit()
        assert trigger.in_doubt
        assert trigger.result()["dag_run"]["run_id"] == trigger.request.new.run_id

    @pytest.mark.parametrize(
        ("answer", "doubt"),
        [
            ("gateway 200", True),
            ("gateway 408", True),
            ("gateway 409", True),
            ("gateway 502", True),
            ("gateway 403", False),
        ],
    )
    def test_doubt_is_that_of_the_answer_and_in_the_result(self, answer: str, doubt: bool) -> None:
        trigger = trigger_on(FakeAirflow(["ok"] + [answer, "ok"] * 50))
        with pytest.raises(CallFailed):
            trigger.submit()
        assert (trigger.in_doubt, trigger.result().get("in_doubt", False)) == (doubt, doubt)
        assert ("dag_run" in trigger.result()) is doubt

    def test_request_that_the_network_doubles_makes_a_run_of_this_task(self) -> None:
        airflow = FakeAirflow()
        create, trigger = airflow.create, trigger_on(airflow)

        def doubled(document: dict[str, Any]) -> Answer:
            create(document)
            return create(document)

        airflow.create = doubled  # type: ignore[method-assign]
        assert trigger.submit().run_id in airflow.runs
        assert (trigger.changed, trigger.created) == (True, True)

    def test_conf_of_a_foreign_run_is_not_shown(self) -> None:
        for wanted in ({"run_id": "theirs", "conf": {"a": 2}}, {"run_id": "theirs"}, {"unless_running": True}):
            airflow = FakeAirflow()
            airflow.add("theirs", {"a": "t0psecret"})
            trigger = trigger_on(airflow, **wanted)
            with contextlib.suppress(AirflowError):
                trigger.submit()
            assert trigger.run is not None
            assert "t0psecret" not in str(trigger.result()), wanted
        ours = trigger_on(airflow, run_id="theirs", conf={"a": "t0psecret"})
        ours.submit()
        assert ours.result()["dag_run"]["conf"] == {"a": "t0psecret"}

    def test_only_own_runs_are_set_to_failed_in_the_end(self) -> None:
        for wanted, state in (({"unless_running": True}, "queued"), ({"run_id": "theirs"}, "queued"), ({}, "failed")):
            airflow = FakeAirflow()
            airflow.add("theirs", {}, "2026-01-01T00:00:00+00:00")
            trigger = trigger_on(airflow, wait=True, wait_timeout=3, on_timeout="fail_run", **wanted)
            trigger.submit()
            with pytest.raises(AirflowError, match="did not end") as caught:
                trigger.wait()
            assert airflow.states == [state], wanted
            assert ("this task has not triggered it" in str(caught.value)) is (state == "queued")

    @pytest.mark.parametrize("check_mode", [True, False])
    def test_dag_that_allows_no_manual_runs(self, check_mode: bool) -> None:
        airflow = FakeAirflow()
        airflow.allowed_run_types = ["scheduled", "manual"]
        trigger_on(airflow).submit(check_mode)
        airflow.allowed_run_types = ["scheduled"]
        trigger = trigger_on(airflow)
        with pytest.raises(AirflowError) as caught:
            trigger.submit(check_mode)
        assert caught.value.details["diagnosis"]["code"] == "manual_runs_not_allowed"

    @pytest.mark.parametrize("minutes", [0, 1, 59])
    def test_success_without_a_task_is_none(self, minutes: int) -> None:
        """However long a busy scheduler takes for it."""
        airflow = FakeAirflow()
        airflow.states, airflow.is_empty = ["success"], True
        airflow.dates = {"start_date": "2026-01-31T08:00:00+00:00", "end_date": f"2026-01-31T08:{minutes:02}:01+00:00"}
        error = failure_of(trigger_on(airflow, wait=True), wait=True)
        assert error.details["diagnosis"]["code"] == "no_task_ran"

    @pytest.mark.parametrize("fails", [True, False])
    def test_tasks_that_failed_in_a_success_are_listed(self, fails: bool) -> None:
        airflow = FakeAirflow()
        airflow.states, airflow.has_failed_tasks = ["success"], True
        trigger = trigger_on(airflow, wait=True, fail_on_failed_tasks=fails)
        if fails:
            assert failure_of(trigger, wait=True).details["diagnosis"]["code"] == "tasks_failed"
        else:
            trigger.submit()
            assert trigger.wait().state == "success"
        assert [task["task_id"] for task in trigger.result()["failed_tasks"]] == ["work"]

    def test_success_whose_tasks_are_not_listed_is_not_called_one(self) -> None:
        airflow = FakeAirflow()
        airflow.states = ["success"]
        send = airflow.send

        def hidden(method: str, path: str, **other: Any) -> Answer:
            return problem(403) if "/taskInstances" in path else send(method, path, **other)

        airflow.send = hidden  # type: ignore[method-assign]
        error = failure_of(trigger_on(airflow, wait=True, fail_on_failed_tasks=True), wait=True)
        assert error.details["diagnosis"]["code"] == "failed_tasks_unknown"

    def test_busy_scheduler_is_waited_for(self) -> None:
        """SequentialExecutor: its scheduler shows no life while it runs a task."""
        airflow = FakeAirflow()
        airflow.scheduler, airflow.running = "unhealthy", [{"dag_id": "slow", "task_id": "sleep"}]
        error = failure_of(trigger_on(airflow, wait=True, wait_timeout=300.0), wait=True)
        assert error.details["timed_out"] is True
        assert error.details["diagnosis"]["code"] == "scheduler_busy"

    def test_scheduler_is_not_called_dead_by_who_does_not_see_all_tasks(self) -> None:
        """The task that keeps it busy may be one of a DAG that this user may not read."""
        airflow = FakeAirflow()
        airflow.scheduler, airflow.reads_every_dag = "unhealthy", False
        error = failure_of(trigger_on(airflow, wait=True, wait_timeout=300.0), wait=True)
        assert error.details["timed_out"] is True
        assert error.details["diagnosis"]["code"] == "scheduler_not_running_or_busy"

    def test_shortest_wait_looks_once(self) -> None:
        airflow = FakeAirflow()
        trigger = trigger_on(airflow, wait=True, wait_timeout=1)
        trigger.submit()
        airflow.states = ["queued", "success"]
        assert trigger.wait().state == "success"

    def test_the_last_try_is_asked_for_as_well(self) -> None:
        airflow = FakeAirflow(["ok", "500", "ok", "500", "ok", "done, 500"])
        assert trigger_on(airflow).submit()

    def test_a_connection_that_never_was_leaves_no_doubt(self) -> None:
        trigger = trigger_on(FakeAirflow(["ok"] + ["refused"] * 50))
        with pytest.raises(CallFailed):
            trigger.submit()
        assert not trigger.in_doubt

    def test_somebody_else_was_quicker(self) -> None:
        airflow = FakeAirflow()
        trigger = trigger_on(airflow, run_id="mine", conf={"a": 1})
        create = airflow.create

        def beaten(document: dict[str, Any]) -> Answer:
            airflow.add("mine", {"a": 1})
            return create(document)

        airflow.create = beaten  # type: ignore[method-assign]
        assert trigger.submit().run_id == "mine"
        assert not trigger.changed

    def test_ids_are_unique_and_valid(self) -> None:
        ids = {run_request(OPTIONS).new.run_id for _other in range(100)}
        assert len(ids) == 100
        assert all(re.fullmatch(r"[A-Za-z0-9_.~:+-]{1,250}", run_id) for run_id in ids)


class TestSame:
    @pytest.mark.parametrize(
        ("there", "asked", "keys"),
        [
            ({"a": 1}, {"a": 1}, []),
            ({"a": 1}, None, []),
            ({}, {}, []),
            ({"a": 1}, {}, ["a"]),
            ({"a": 1, "b": 2}, {"a": 1, "b": 3}, ["b"]),
            ({"a": 1}, {"a": True}, ["a"]),
            ({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}, []),
            ({"token": "hush-1"}, {"token": "hush-2", "c": 1}, ["c", "token"]),
        ],
    )
    def test_conf(self, there: dict[str, Any], asked: dict[str, Any] | None, keys: list[str]) -> None:
        airflow = FakeAirflow()
        airflow.add("mine", there)
        trigger = trigger_on(airflow, run_id="mine", conf=asked)
        if not keys:
            trigger.submit()
            return
        error = failure_of(trigger)
        assert "conf differs in " + ", ".join(repr(key) for key in keys) in str(error)
        assert "hush" not in str(error) + str(error.details["diagnosis"])
        assert error.details["diagnosis"]["code"] == "run_differs"
        assert airflow.posts == 0

    def test_logical_date(self) -> None:
        airflow = FakeAirflow()
        airflow.add("mine", date="2026-01-31T08:00:00+00:00")
        assert trigger_on(airflow, run_id="mine", logical_date="2026-01-31T09:00:00+01:00").submit()
        error = failure_of(trigger_on(airflow, run_id="mine", logical_date="2026-01-31T09:00:00Z"))
        assert "logical date is 2026-01-31T08:00:00+00:00" in str(error)

    def test_date_taken_by_another_run(self) -> None:
        airflow = FakeAirflow()
        airflow.add("other", date="2026-01-31T08:00:00+00:00")
        trigger = trigger_on(airflow, logical_date="2026-01-31T08:00:00Z")
        error = failure_of(trigger)
        assert "run 'other'" in str(error)
        found = error.details["diagnosis"]
        assert (found["code"], found["http_status"]) == ("logical_date_taken", 409)
        assert airflow.runs.keys() == {"other"}


class TestImportErrors:
    @pytest.mark.parametrize("check_mode", [True, False])
    def test_a_dag_whose_file_is_broken_is_not_triggered(self, check_mode: bool) -> None:
        airflow = FakeAirflow()
        airflow.has_import_errors = True
        with pytest.raises(AirflowError, match="cannot be imported") as caught:
            trigger_on(airflow, if_paused="unpause").submit(check_mode)
        assert caught.value.details["changed"] is False
        assert [method for method, _other in airflow.sent] == ["GET"]

    def test_check_mode_looks_at_the_dag_even_where_nobody_minds_that_it_is_paused(self) -> None:
        airflow = FakeAirflow()
        airflow.has_import_errors = True
        with pytest.raises(AirflowError, match="cannot be imported"):
            trigger_on(airflow, if_paused="trigger").submit(check_mode=True)


class TestPaused:
    def test_fail_sends_nothing(self) -> None:
        airflow = FakeAirflow()
        airflow.is_paused = True
        error = failure_of(trigger_on(airflow))
        assert "paused" in str(error)
        assert error.details["changed"] is False
        assert [method for method, _other in airflow.sent] == ["GET"]

    def test_unpause(self) -> None:
        airflow = FakeAirflow()
        airflow.is_paused = True
        trigger_on(airflow, if_paused="unpause").submit()
        assert not airflow.is_paused
        assert [method for method, _other in airflow.sent] == ["GET", "PATCH", "POST"]

    def test_trigger(self) -> None:
        airflow = FakeAirflow()
        airflow.is_paused = True
        trigger_on(airflow, if_paused="trigger").submit()
        assert airflow.is_paused
        assert [method for method, _other in airflow.sent] == ["POST"]

    def test_matters_for_an_unfinished_run_only_to_who_waits(self) -> None:
        airflow = FakeAirflow()
        airflow.is_paused = True
        airflow.add("mine")
        assert trigger_on(airflow, run_id="mine").submit()
        assert "paused" in str(failure_of(trigger_on(airflow, run_id="mine", wait=True)))
        unpausing = trigger_on(airflow, run_id="mine", wait=True, if_paused="unpause")
        unpausing.submit()
        assert unpausing.changed
        assert not airflow.is_paused
        assert airflow.posts == 0

    def test_what_changed_before_a_failure_is_told(self) -> None:
        airflow = FakeAirflow(["ok", "ok"] + ["503"] * 50)
        airflow.is_paused = True
        trigger = trigger_on(airflow, if_paused="unpause")
        with pytest.raises(CallFailed):
            trigger.submit()
        assert trigger.changed


class TestUnlessRunning:
    @pytest.mark.parametrize("release", [(2, 2), (2, 11)])
    @pytest.mark.parametrize(("state", "changed"), [("queued", False), ("running", False), ("success", True)])
    def test_an_active_run_is_enough(self, release: tuple[int, int], state: str, changed: bool) -> None:
        airflow = FakeAirflow()
        airflow.release = release
        for number in range(150):
            airflow.add(f"old-{number}", date=f"then {number}")
            airflow.runs[f"old-{number}"]["state"] = "failed"
        airflow.add("other")
        airflow.runs["other"]["state"] = state
        trigger = trigger_on(airflow, unless_running=True)
        run = trigger.submit()
        assert trigger.changed is changed
        assert (run.run_id == "other") is not changed
        assert len(airflow.runs) == 151 + changed

    def test_it_is_waited_for(self) -> None:
        airflow = FakeAirflow()
        airflow.add("other")
        airflow.states = ["running", "success"]
        trigger = trigger_on(airflow, unless_running=True, wait=True)
        trigger.submit()
        assert trigger.wait()._replace(url=None).run_id == "other"
        assert not trigger.changed

    def test_in_check_mode(self) -> None:
        airflow = FakeAirflow()
        airflow.add("other")
        assert trigger_on(airflow, unless_running=True).submit(check_mode=True).run_id == "other"


class TestCheckMode:
    @pytest.mark.parametrize("if_paused", ["unpause", "trigger"])
    @pytest.mark.parametrize("is_paused", [True, False])
    def test_changes_nothing(self, if_paused: str, is_paused: bool) -> None:
        airflow = FakeAirflow()
        airflow.is_paused = is_paused
        trigger = trigger_on(airflow, if_paused=if_paused, conf={"a": 1})
        run = trigger.submit(check_mode=True)
        assert trigger.changed
        assert (run.run_id, run.state, run.conf) == (None, None, {"a": 1})
        assert (airflow.runs, airflow.is_paused) == ({}, is_paused)

    def test_an_existing_run_is_no_change(self) -> None:
        airflow = FakeAirflow()
        airflow.add("mine")
        trigger = trigger_on(airflow, run_id="mine")
        assert trigger.submit(check_mode=True).run_id == "mine"
        assert not trigger.changed

    @pytest.mark.parametrize("named", [None, "mine"])
    def test_logical_date_that_another_run_has(self, named: str | None) -> None:
        airflow = FakeAirflow()
        airflow.add("other", date="2026-01-31T08:00:00+00:00")
        trigger = trigger_on(airflow, run_id=named, logical_date="2026-01-31T08:00:00Z")
        with pytest.raises(AirflowError, match="run 'other'") as caught:
            trigger.submit(check_mode=True)
        assert caught.value.details["diagnosis"]["code"] == "logical_date_taken"
        assert (trigger.changed, list(airflow.runs)) == (False, ["other"])

    def test_a_refusal_is_no_change(self) -> None:
        trigger = trigger_on(FakeAirflow(["ok", "403"]))
        with pytest.raises(CallFailed):
            trigger.submit(check_mode=True)
        assert trigger.result() == {"changed": False}

    def test_fails_as_a_real_run_would(self) -> None:
        airflow = FakeAirflow()
        airflow.is_paused = True
        with pytest.raises(AirflowError):
            trigger_on(airflow).submit(check_mode=True)


class TestWait:
    def test_until_success(self) -> None:
        airflow = FakeAirflow()
        airflow.states = ["queued", "queued", "running", "success"]
        trigger = trigger_on(airflow, wait=True)
        trigger.submit()
        assert trigger.wait().state == "success"
        assert trigger.result()["failed_tasks"] == []
        assert trigger.result()["timed_out"] is False

    def test_a_failed_run(self) -> None:
        airflow = FakeAirflow()
        airflow.states = ["queued", "failed"]
        error = failure_of(trigger_on(airflow, wait=True), wait=True)
        assert "task 'work' failed" in str(error)
        assert error.details["changed"] is True
        assert error.details["dag_run"]["state"] == "failed"
        assert error.details["failed_tasks"][0]["task_id"] == "work"

    def test_a_failed_run_of_before_is_no_change(self) -> None:
        airflow = FakeAirflow()
        airflow.add("mine")
        airflow.states = ["failed"]
        error = failure_of(trigger_on(airflow, wait=True, run_id="mine"), wait=True)
        assert error.details["changed"] is False

    @pytest.mark.parametrize(("timeout", "most"), [(1.0, 1), (30.0, 30), (600.0, 115), (86400.0, 9000)])
    def test_pauses_grow_and_the_end_comes(self, timeout: float, most: int) -> None:
        airflow = FakeAirflow()
        airflow.states = ["running"]
        clock = Clock()
        trigger = Trigger(
            Api(airflow), run_request({**OPTIONS, "wait": True, "wait_timeout": timeout}), clock, clock.sleep
        )
        trigger.submit()
        sent = len(airflow.sent)
        error = failure_of(trigger, wait=True)
        assert error.details["timed_out"] is True
        assert error.details["changed"] is True
        assert timeout - 0.05 <= clock.now <= timeout
        *looks, dag, health, tasks = [path for _method, path in airflow.sent[sent:]]
        assert len(looks) <= most
        assert all("/dagRuns/" in path for path in looks)
        # Why it has not ended, asked once.
        assert (dag, health) == ("/api/v1/dags/load", "/api/v1/health")
        assert tasks.endswith("/taskInstances?limit=100")

    def test_a_run_out_of_time_is_left_alone_or_failed(self) -> None:
        for on_timeout, state in [("leave", "running"), ("fail_run", "failed")]:
            airflow = FakeAirflow()
            airflow.states = ["running"]
            trigger = trigger_on(airflow, wait=True, wait_timeout=5.0, on_timeout=on_timeout)
            trigger.submit()
            error = failure_of(trigger, wait=True)
            assert error.details["timed_out"] is True
            assert airflow.states == [state]
            assert error.details["dag_run"]["state"] == state
            assert ("was set to failed" in str(error)) is (on_timeout == "fail_run")

    def test_a_run_that_ends_at_the_last_moment_is_not_failed(self) -> None:
        airflow = FakeAirflow()
        airflow.states = ["running"]
        trigger = trigger_on(airflow, wait=True, wait_timeout=1.0, on_timeout="fail_run")
        trigger.submit()
        airflow.states = ["running", "running", "success"]
        assert trigger.wait().state == "success"
        assert not [method for method, _other in airflow.sent if method == "PATCH"]

    def test_a_run_that_cannot_be_failed(self) -> None:
        airflow = FakeAirflow()
        airflow.states = ["running"]
        trigger = trigger_on(airflow, wait=True, wait_timeout=1.0, on_timeout="fail_run")
        trigger.submit()
        airflow.faults = ["ok", "ok", "ok", "ok", "405"]  # a look at the run, at the DAG, the health, the run
        assert "could not be set to failed" in str(failure_of(trigger, wait=True))

    @given(st.lists(st.sampled_from([fault for fault in FAULTS if fault != "ok"]), max_size=20))
    def test_looks_that_fail_do_not_end_it(self, faults: list[str]) -> None:
        airflow = FakeAirflow()
        airflow.states = ["running", "running", "success"]
        trigger = trigger_on(airflow, wait=True)
        trigger.submit()
        airflow.faults = faults
        assert trigger.wait().state == "success"

    def test_404_of_a_gateway_does_not_end_it(self) -> None:
        """As while the server behind it restarts."""
        airflow = FakeAirflow()
        airflow.states = ["running", "success"]
        trigger = trigger_on(airflow, wait=True)
        trigger.submit()
        airflow.faults = ["404"] * 9
        assert trigger.wait().state == "success"

    def test_success_whose_tasks_cannot_be_read_is_warned_of(self) -> None:
        airflow = FakeAirflow()
        airflow.states = ["success"]
        trigger = trigger_on(airflow, wait=True)
        trigger.submit()
        airflow.faults = ["ok", "403", "403"]
        assert trigger.wait().state == "success"
        (warning,) = trigger.result()["warnings"]
        assert "has run could not be determined" in warning

    def test_a_refusal_that_stays_does(self) -> None:
        airflow = FakeAirflow()
        trigger = trigger_on(airflow, wait=True)
        trigger.submit()
        airflow.faults = ["401", "401", "503", "401", "401", "401"]
        with pytest.raises(CallFailed):
            trigger.wait()
        assert airflow.faults == []

    def test_a_paused_dag_explains_a_queued_run(self) -> None:
        airflow = FakeAirflow()
        airflow.is_paused = True
        error = failure_of(trigger_on(airflow, wait=True, if_paused="trigger", wait_timeout=5.0), wait=True)
        assert "paused" in error.details["diagnosis"]["cause"]

    def test_without_a_scheduler_it_ends_early(self) -> None:
        airflow = FakeAirflow()
        airflow.scheduler = "unhealthy"
        clock = Clock()
        api = Api(airflow, retry_policy=lambda: RetryPolicy(30, clock, clock.sleep))
        trigger = Trigger(api, run_request({**OPTIONS, "wait": True, "wait_timeout": 3600.0}), clock, clock.sleep)
        trigger.submit()
        error = failure_of(trigger, wait=True)
        assert "scheduler" in error.details["diagnosis"]["cause"]
        assert error.details["timed_out"] is False
        assert 30 < clock.now < 60

    @pytest.mark.parametrize("states", [["running"], ["queued"]])
    def test_a_scheduler_that_comes_back_is_waited_for(self, states: list[str]) -> None:
        """And one that does not matter to a run that has begun is not asked for."""
        airflow = FakeAirflow()
        airflow.scheduler = "unhealthy"
        clock = Clock()

        def sleep(seconds: float) -> None:
            clock.sleep(seconds)
            if clock.now > 25:
                airflow.scheduler = "healthy"
            if clock.now > 100:
                airflow.states = ["success"]

        api = Api(airflow, retry_policy=lambda: RetryPolicy(30, clock, clock.sleep))
        trigger = Trigger(api, run_request({**OPTIONS, "wait": True}), clock, sleep)
        trigger.submit()
        airflow.states = states
        assert trigger.wait().state == "success"
        assert any("health" in path for _other, path in airflow.sent) is (states == ["queued"])

    @pytest.mark.parametrize("length", [0.5, 3.3, 12.7, 31.2, 58.9])
    def test_the_end_of_a_short_run_is_seen_soon(self, length: float) -> None:
        """Half of the pauses is the median delay, and there is at most one request a second."""
        airflow = FakeAirflow()
        clock = Clock()

        def sleep(seconds: float) -> None:
            clock.sleep(seconds)
            airflow.states = ["success" if clock.now >= length else "running"]

        trigger = Trigger(Api(airflow), run_request({**OPTIONS, "wait": True}), clock, sleep)
        trigger.submit()
        sent = len(airflow.sent)
        trigger.wait()
        assert clock.now - length < 1.8
        looks = [path for _method, path in airflow.sent[sent:] if "/taskInstances" not in path]
        assert len(looks) <= clock.now

    def test_so_does_a_scheduler_that_does_not_run(self) -> None:
        airflow = FakeAirflow()
        airflow.scheduler = "unhealthy"
        error = failure_of(trigger_on(airflow, wait=True, wait_timeout=5.0), wait=True)
        assert "scheduler" in error.details["diagnosis"]["cause"]


class Watched(FakeAirflow):
    """An Airflow that watches runs itself; ``lines_of`` are the lines of each of those answers."""

    def __init__(self, *lines_of: list[str]) -> None:
        super().__init__()
        self.lines_of = list(lines_of)
        self.watches = 0

    def lines(self, _path: str, _silence: float, _most: float) -> Generator[bytes, None, None]:
        self.watches += 1
        for line in self.lines_of.pop(0) if self.lines_of else []:
            if line == "cut":
                raise TransportError("broken", "the connection was dropped")
            if line == "end":
                self.states = ["success"]
            yield b'{"state": "success", "results": {"a": 1}}' if line == "end" else line.encode()


class TestWatch:
    RUNNING = '{"state": "running"}'

    def wait_on(self, airflow: Watched) -> Clock:
        airflow.states = ["running"]
        clock = Clock()

        def sleep(seconds: float) -> None:
            clock.sleep(seconds)
            airflow.states = ["success"]

        trigger = Trigger(Api(airflow, dialect=V2), run_request({**OPTIONS, "wait": True}), clock, sleep)
        trigger.submit()
        airflow.sent.clear()
        assert trigger.wait().state == "success"
        return clock

    def test_one_request_and_a_look(self) -> None:
        airflow = Watched([self.RUNNING] * 3 + ["", "end", "never read"])
        assert self.wait_on(airflow).now == 0
        looks = [path for _method, path in airflow.sent if "/taskInstances" not in path]
        assert (airflow.watches, len(looks)) == (1, 1)

    @pytest.mark.parametrize(
        "lines", [[], ["cut"], [RUNNING, "cut"], ["<html>"], ["[1]"], ['{"detail": "Not Found"}'], ["1"]]
    )
    def test_without_it_the_run_is_looked_at(self, lines: list[str]) -> None:
        airflow = Watched(lines)
        assert self.wait_on(airflow).now == 1
        looks = [path for _method, path in airflow.sent if "/taskInstances" not in path]
        assert (airflow.watches, len(looks)) == (1, 1)


class TestFuture:
    """Airflow starts a run not before its logical date, and the clock of the server says when that is."""

    @staticmethod
    def date(seconds: float) -> str:
        return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat()

    @staticmethod
    def airflow(ahead: float | None) -> FakeAirflow:
        """An Airflow whose clock is so many seconds ahead of ours, or that does not show it."""
        airflow = FakeAirflow()
        send = airflow.send

        def dated(method: str, path: str, **other: Any) -> Answer:
            answer = send(method, path, **other)
            if ahead is None:
                return answer
            shown = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=ahead), usegmt=True)
            return Answer(answer.status, {**answer.headers, "Date": shown}, answer.body)

        airflow.send = dated  # type: ignore[method-assign]
        return airflow

    @pytest.mark.parametrize("check_mode", [True, False])
    @pytest.mark.parametrize(
        ("seconds", "ahead", "wait", "fails"),
        [
            (7200, None, True, True),
            (7200, 0, True, True),
            (7200, 0, False, False),
            (7200, 7000, True, False),  # our clock is slow
            (-3600, -7200, True, True),  # our clock is fast
            (610, 0, True, False),  # within the margin
            (-86400 * 2, 0, True, False),
        ],
    )
    def test_run_to_be(self, seconds: float, ahead: float | None, wait: bool, fails: bool, check_mode: bool) -> None:
        airflow = self.airflow(ahead)
        trigger = trigger_on(airflow, logical_date=self.date(seconds), wait=wait)
        if not fails:
            trigger.submit(check_mode)
            assert trigger.changed
            return
        with pytest.raises(AirflowError) as caught:
            trigger.submit(check_mode)
        assert caught.value.details["diagnosis"]["code"] == "logical_date_in_future"
        assert (airflow.posts, caught.value.details["changed"]) == (0, False)

    def test_past_date_costs_no_request(self) -> None:
        airflow = FakeAirflow()
        trigger_on(airflow, logical_date=self.date(-86400 * 2), wait=True).submit()
        assert [path for _method, path in airflow.sent if "health" in path] == []

    @pytest.mark.parametrize("asked", [{"run_id": "theirs"}, {"unless_running": True}])
    @pytest.mark.parametrize("state", ["queued", "running", "success"])
    def test_run_that_is_there(self, asked: dict[str, Any], state: str) -> None:
        airflow = self.airflow(0)
        airflow.add("theirs", date=self.date(7200))
        airflow.states = [state]
        airflow.runs["theirs"]["state"] = state
        trigger = trigger_on(airflow, wait=True, **asked)
        if state != "queued":
            trigger.submit()
            return
        error = failure_of(trigger)
        assert error.details["diagnosis"]["code"] == "logical_date_in_future"
        assert "Run 'theirs' of DAG 'load'" in str(error)
        assert airflow.posts == (1 if "unless_running" in asked else 0)  # the list
        assert trigger_on(airflow, **asked).submit().run_id == "theirs"

    @pytest.mark.parametrize(
        ("date", "due", "fails", "posts"),
        [
            (86400 * 400, 86400 * 400, True, 0),  # no schedule has an interval of that length
            (7200, 7200, True, 1),  # of a DAG without a schedule
            (7200, -3600, False, 1),  # due at the end of the interval before
            (None, 0, False, 1),
        ],
    )
    def test_run_of_airflow_3_is_due_when_it_says(
        self, date: float | None, due: float, fails: bool, posts: int
    ) -> None:
        airflow = FakeAirflow()
        airflow.dates = {"run_after": self.date(due)}
        logical_date = None if date is None else self.date(date)
        trigger = Trigger(
            Api(airflow, dialect=V2), run_request({**OPTIONS, "logical_date": logical_date, "wait": True})
        )
        if fails:
            error = failure_of(trigger)
            assert error.details["diagnosis"]["code"] == "logical_date_in_future"
            assert error.details["changed"] is bool(posts)
        else:
            trigger.submit()
        assert airflow.posts == posts

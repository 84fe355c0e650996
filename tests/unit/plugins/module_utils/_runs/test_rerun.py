# SPDX-License-Identifier: GPL-3.0-or-later
"""A run is rerun once, whatever the network does: against a model of one run that fails on command."""

from __future__ import annotations

import json
import re
from typing import Any, Mapping, Sequence
from urllib.parse import quote

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.dialects import EXPERIMENTAL, V1, V2, Dialect
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import (
    Answer,
    Http,
    RetryPolicy,
    TransportError,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import Selection, TaskInstance
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.rerun import (
    RunChange,
    Wanted,
    left_out,
    select_failed,
    teardowns_left_out,
    wanted_change,
)
from hypothesis import given
from hypothesis import strategies as st

# What can happen to one request. "done" means that Airflow carries it out, and its answer is lost.
FAULTS = ["ok", "refused", "dropped", "done, dropped", "done, 500", "503", "504", "done, 504", "429"]
ENDED = "2026-01-31T08:00:00+00:00"


class FakeAirflow(Http):
    """The API of one DAG with one run, in memory. ``faults`` befall the requests in their order; then all goes well.

    A run that was cleared fails again before the next look at it if ``fails_again``. What was cleared is not told if it
    ``forgets``, as 2.6.3 does.
    """

    def __init__(self, faults: list[str] | None = None) -> None:
        super().__init__("http://airflow.example", lambda request: request)
        self.faults = list(faults or [])
        self.state = "failed"
        self.end_date: str | None = ENDED
        # By task: its state, and for how long it ran.
        self.tasks: list[dict[str, Any]] = [
            {"task_id": "start", "state": "success", "duration": 2.0},
            {"task_id": "load", "state": "failed", "duration": 1.0},
            {"task_id": "report", "state": "upstream_failed"},
        ]
        self.is_paused = self.is_stale = self.has_import_errors = False
        self.has_teardown = False
        self.backfills: list[dict[str, Any]] = []
        self.hides_backfills = False
        self.dag_tasks: list[dict[str, Any]] = []
        self.tries: dict[str, list[str]] = {}  # by task, when each that Airflow has recorded started
        self.fails_again = False
        self.forgets = False
        self.clears = 0
        self.patches = 0
        self.run_id = "mine"
        self.run_type: str | None = None
        self.sent: list[tuple[str, str, Any]] = []

    def send(self, method: str, path: str, *, document: Mapping[str, Any] | None = None, **_other: Any) -> Answer:
        self.sent.append((method, path, document))
        fault = self.faults.pop(0) if self.faults else "ok"
        if fault == "refused":
            raise TransportError("refused", "the connection was refused", nothing_sent=True)
        answer = self.answer(method, path, dict(document or {})) if fault == "ok" or fault.startswith("done") else None
        if fault.endswith("dropped"):
            raise TransportError("broken", "the connection was dropped")
        status = re.search(r"\d+", fault)
        if status:
            return Answer(int(status.group()), {}, b"")
        return answer or Answer(404, {}, b"")

    def answer(self, method: str, path: str, document: dict[str, Any]) -> Answer:
        if path.endswith("/clearTaskInstances"):
            return self.clear(document)
        if path.split("?")[0].endswith("/dags/load"):
            self.is_paused = document.get("is_paused", self.is_paused)
            state = {"is_paused": self.is_paused, "is_stale": self.is_stale}
            return as_answer(200, {"dag_id": "load", **state, "has_import_errors": self.has_import_errors})
        if "/backfills" in path:
            if self.hides_backfills:
                return as_answer(403, {"detail": "Forbidden"})
            offset = int((re.findall(r"offset=(\d+)", path) or ["0"])[0])
            page = self.backfills[offset : offset + 100]
            return as_answer(200, {"backfills": page, "total_entries": len(self.backfills)})
        if "/task" in path:
            return self.about_tasks(path)
        if f"/dagRuns/{quote(self.run_id)}" not in path:
            kind = "https://airflow.apache.org/docs/apache-airflow/2.11.2/x"
            return as_answer(404, {"title": "no such run", "type": kind}, "application/problem+json")
        if method == "PATCH":
            self.patches += 1
            if self.has_teardown:
                self.tasks = [{**task, "state": "success"} for task in self.tasks if task["task_id"] != "delete"]
                self.tasks.append({"task_id": "delete", "state": "running"})
                return as_answer(200, self.run())
            self.state = document["state"]
            self.end_date = None if self.state == "queued" else "2026-01-31T09:00:00+00:00"
        elif self.state == "queued" and self.fails_again:
            self.state, self.end_date = "failed", "2026-01-31T08:%02d:00+00:00" % self.clears
        return as_answer(200, self.run())

    def about_tasks(self, path: str) -> Answer:
        if path.endswith("/tasks"):
            return as_answer(200, {"tasks": self.dag_tasks, "total_entries": len(self.dag_tasks)})
        if path.endswith("/tries"):
            tries = self.tries.get(path.split("/taskInstances/")[1][: -len("/tries")])
            if tries is None:
                return as_answer(404, {"title": "Not Found"}, "application/problem+json")
            listed = [{"start_date": date} for date in tries]
            return as_answer(200, {"task_instances": listed, "total_entries": len(listed)})
        return as_answer(200, {"task_instances": self.tasks, "total_entries": len(self.tasks)})

    def clear(self, document: dict[str, Any]) -> Answer:
        tasks = [task["task_id"] for task in self.tasks]
        if "task_ids" in document:
            tasks = [name if isinstance(name, str) else name[0] for name in document["task_ids"]]
        if not document["dry_run"] and tasks:
            self.clears += 1
            self.state, self.end_date = "queued", None
            tasks = [] if self.forgets else tasks
        return as_answer(200, {"task_instances": [{"task_id": task} for task in tasks]})

    def run(self) -> dict[str, Any]:
        known = {
            "dag_id": "load",
            "dag_run_id": self.run_id,
            "logical_date": ENDED,
            "execution_date": ENDED,
            "conf": {},
        }
        if self.run_type is not None:
            known["run_type"] = self.run_type
        return {**known, "state": self.state, "end_date": self.end_date}

    @property
    def methods(self) -> list[str]:
        return [method for method, _path, _document in self.sent]


def as_answer(status: int, document: dict[str, Any], kind: str = "application/json") -> Answer:
    return Answer(status, {"Content-Type": kind}, json.dumps(document).encode())


def change_on(airflow: FakeAirflow, dialect: Dialect = V1, **options: Any) -> RunChange:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    api = Api(airflow, dialect=dialect, retry_policy=lambda: RetryPolicy(30, lambda: now[0], sleep))
    return RunChange(api, Wanted("load", options.pop("run_id", "mine"), **options))


class TestRerun:
    def test_what_is_asked(self) -> None:
        for dialect in (V1, V2):
            airflow = FakeAirflow()
            change = change_on(airflow, dialect, rerun="failed_tasks")
            change.make()
            about_teardowns = ["GET"] if dialect is V2 else []
            assert airflow.methods == ["GET", "GET", "GET", "POST", *about_teardowns, "GET", "POST", "GET"]
            look, request = (document for method, _path, document in airflow.sent if method == "POST")
            of_run = {"dag_run_id": "mine"} if dialect is V2 else {"start_date": ENDED, "end_date": ENDED}
            named = {"task_ids": ["load", "report"], "only_failed": False}  # so that their setups come along
            assert request == {**of_run, **named, "reset_dag_runs": True, "dry_run": False}
            assert look == {**request, "dry_run": True}
            result = change.result()
            assert (result["changed"], result["tasks"], result["reason"]) == (True, ["load", "report"], None)
            assert result["dag_run"]["state"] == "queued"
            assert result["diff"]["before"].startswith("state: failed\n")
            assert result["diff"]["after"].startswith("state: queued\n")

    def test_all_tasks(self) -> None:
        change = change_on(FakeAirflow(), rerun="all_tasks")
        change.make()
        assert change.tasks == ["load", "report", "start"]

    def test_an_airflow_that_does_not_tell_what_it_has_cleared(self) -> None:
        airflow = FakeAirflow()
        airflow.forgets = True
        change = change_on(airflow, rerun="failed_tasks")
        change.make()
        assert (change.changed, change.tasks) == (True, ["load", "report"])

    def test_check_mode_clears_nothing_and_says_the_same(self) -> None:
        airflow, real = FakeAirflow(), FakeAirflow()
        planned, made = change_on(airflow, rerun="failed_tasks"), change_on(real, rerun="failed_tasks")
        planned.make(check_mode=True)
        made.make()
        assert (airflow.clears, real.clears) == (0, 1)
        assert planned.result() == made.result()

    @pytest.mark.parametrize("state", ["queued", "running", "success"])
    def test_a_run_in_another_state_is_left_alone(self, state: str) -> None:
        airflow = FakeAirflow()
        airflow.state = state
        change = change_on(airflow, rerun="all_tasks")
        change.make()
        assert not change.changed
        assert change.reason == f"the run is {state}, and is rerun only out of failed"
        assert airflow.methods == ["GET"]

    def test_one_failure_is_rerun_once(self) -> None:
        airflow = FakeAirflow()
        airflow.fails_again = True
        changed = []
        for _time in range(3):
            change = change_on(airflow, rerun="failed_tasks", end_date="2026-01-31T09:00:00+01:00")
            change.make()
            changed.append(change.changed)
        assert changed == [True, False, False]
        assert (
            change.reason
            == f"the run ended at 2026-01-31T08:01:00+00:00, and the end that is meant is {'2026-01-31T09:00:00+01:00'}"
        )

    def test_no_task_failed(self) -> None:
        airflow = FakeAirflow()
        airflow.tasks = airflow.tasks[:1]
        with pytest.raises(AirflowError, match="none of its tasks failed") as caught:
            change_on(airflow, rerun="failed_tasks").make()
        assert caught.value.details["changed"] is False
        assert airflow.clears == 0

    @given(faults=st.lists(st.sampled_from(FAULTS), max_size=8), fails_again=st.booleans())
    def test_once_whatever_happens(self, faults: list[str], fails_again: bool) -> None:
        airflow = FakeAirflow(faults)
        airflow.fails_again = fails_again
        change = change_on(airflow, rerun="failed_tasks")
        try:
            change.make()
        except CallFailed:
            assert airflow.clears == 0 or change.in_doubt or change.changed
        else:
            assert change.changed
            assert not change.in_doubt
        assert airflow.clears <= 1

    def test_a_server_that_stays_down_leaves_a_doubt_only_after_the_order(self) -> None:
        before = change_on(FakeAirflow(["ok"] * 5 + ["refused"] * 50), rerun="failed_tasks")
        after = change_on(FakeAirflow(["ok"] * 5 + ["done, dropped"] + ["503"] * 50), rerun="failed_tasks")
        for change in (before, after):
            with pytest.raises(CallFailed):
                change.make()
        assert (before.in_doubt, after.in_doubt) == (False, True)


def late(airflow: FakeAirflow, looks: int) -> None:
    """Have Airflow carry out a clear only when it has been looked at so many times more, with no answer to it."""
    answer, waiting = airflow.answer, []

    def answered(method: str, path: str, document: dict[str, Any]) -> Answer:
        if path.endswith("/clearTaskInstances") and not document["dry_run"]:
            waiting.append((looks, document))
            raise TransportError("broken", "the connection was dropped")
        if waiting:
            left, order = waiting.pop()
            if left:
                waiting.append((left - 1, order))
            else:
                airflow.clear(order)
        return answer(method, path, document)

    airflow.answer = answered  # type: ignore[method-assign]


class TestLate:
    @pytest.mark.parametrize("looks", [0, 1, 5])
    def test_request_that_comes_late_is_waited_for(self, looks: int) -> None:
        airflow = FakeAirflow()
        late(airflow, looks)
        change = change_on(airflow, rerun="all_tasks")
        change.make()
        assert (change.changed, change.in_doubt, airflow.clears) == (True, False, 1)

    def test_request_that_does_not_come_is_not_sent_again(self) -> None:
        airflow = FakeAirflow()
        late(airflow, 10_000)
        change = change_on(airflow, rerun="all_tasks")
        with pytest.raises(CallFailed):
            change.make()
        assert change.result()["in_doubt"] is True
        orders = [document for _method, path, document in airflow.sent if path.endswith("clearTaskInstances")]
        assert [order["dry_run"] for order in orders] == [True, False]


class TestSelection:
    FAILED = TaskInstance("load", -1, "failed", True)
    DONE = TaskInstance("start", -1, "success", True)

    def test_what_did_not_run_because_the_run_was_ended(self) -> None:
        behind = TaskInstance("report", -1, "skipped", False)
        by_itself = TaskInstance("optional", -1, "skipped", True)
        assert select_failed([self.DONE, self.FAILED, behind, by_itself], "failed", False) == [
            Selection(["load", "report"], False)
        ]
        assert select_failed([self.DONE, behind], "failed", False) == [Selection(["report"], False)]
        assert select_failed([self.DONE, behind], "success", False) == []

    def test_what_waits_in_a_run_that_was_ended(self) -> None:
        """Before 2.4, who sets a run to failed leaves in it what waits."""
        for state in (None, "scheduled", "up_for_retry", "up_for_reschedule"):
            waiting = TaskInstance("again", -1, state, True)
            assert select_failed([self.DONE, waiting], "failed", False) == [Selection(["again"], False)]
        running = TaskInstance("delete", -1, "running", True)
        assert select_failed([self.DONE, running], "failed", False) == []

    def test_part_of_a_mapped_task_that_did_not_run(self) -> None:
        each = [TaskInstance("each", 0, "success", True), TaskInstance("each", 1, "failed", True)]
        behind = TaskInstance("each", 2, "skipped", False)
        selections = select_failed([*each, behind], "failed", False)
        assert selections == [Selection(["each"], True)]
        assert left_out([*each, behind], selections) == [behind]
        selections = select_failed([*each, behind], "failed", True)
        assert left_out([*each, behind], selections) == []

    def test_part_of_a_mapped_task(self) -> None:
        each = [TaskInstance("each", index, "failed" if index == 2 else "success", True) for index in range(3)]
        assert select_failed([self.FAILED, *each], "failed", True) == [Selection(["load", ("each", 2)], False)]
        assert select_failed([self.FAILED, *each], "failed", False) == [
            Selection(["load"], False),
            Selection(["each"], True),
        ]
        assert select_failed(each, "failed", False) == [Selection(["each"], True)]


class TestSkipped:
    """A task that ran and is skipped: by itself, or by who ended the run while it waited for its next try."""

    OF_RETRY: Mapping[str, Any] = {
        "task_id": "fetch",
        "state": "skipped",
        "operator": "PythonOperator",
        "start_date": "2026-01-31T07:00:00+00:00",
        "duration": 3.0,
        "try_number": 1,
        "max_tries": 2,
    }

    def rerun(self, tries: list[str] | None, dialect: Dialect = V1, **other: Any) -> RunChange:
        airflow = FakeAirflow()
        airflow.tasks.append({**self.OF_RETRY, **other})
        if tries is not None:
            airflow.tries["fetch"] = tries
        change = change_on(airflow, dialect, rerun="failed_tasks")
        change.make()
        return change

    @pytest.mark.parametrize("dialect", [V1, V2])
    def test_try_is_recorded_so_it_failed(self, dialect: Dialect) -> None:
        started = str(self.OF_RETRY["start_date"])
        change = self.rerun([started, started], dialect)
        assert change.tasks == ["fetch", "load", "report"]
        assert change.warnings == []

    @pytest.mark.parametrize("dialect", [V1, V2])
    def test_try_is_not_recorded_so_it_skipped_itself(self, dialect: Dialect) -> None:
        change = self.rerun(["2026-01-31T06:00:00+00:00", str(self.OF_RETRY["start_date"])], dialect)
        assert change.tasks == ["load", "report"]
        assert change.warnings == []

    def test_airflow_records_no_tries(self) -> None:
        change = self.rerun(None)
        assert change.tasks == ["fetch", "load", "report"]
        (warning,) = change.result()["warnings"]
        assert "task fetch ran and then became skipped" in warning

    def test_without_retries_it_skipped_itself(self) -> None:
        change = self.rerun(None, max_tries=0)
        assert change.tasks == ["load", "report"]
        assert "warnings" not in change.result()

    def test_sensor_may_have_waited_without_retries(self) -> None:
        for other in ({"operator": "HttpSensor"}, {"operator": None}):
            change = self.rerun([str(self.OF_RETRY["start_date"])], max_tries=0, **other)
            assert change.tasks == ["fetch", "load", "report"]
            assert len(change.warnings) == 1

    def test_never_started(self) -> None:
        change = self.rerun(None, duration=0.0)
        assert change.tasks == ["fetch", "load", "report"]
        assert change.warnings == []

    def test_mapped_instance_is_asked_for_by_its_index(self) -> None:
        started = str(self.OF_RETRY["start_date"])
        airflow = FakeAirflow()
        airflow.tasks.append({**self.OF_RETRY, "map_index": 3})
        airflow.tries["fetch/3"] = [started]
        change = change_on(airflow, rerun="failed_tasks")
        change.make()
        assert change.tasks == ["load", "report"]


class TestTeardowns:
    TASKS: Sequence[Mapping[str, Any]] = [
        {"task_id": "create", "trigger_rule": "all_success", "downstream_task_ids": ["load", "delete"]},
        {"task_id": "load", "trigger_rule": "all_success", "downstream_task_ids": ["report"]},
        {"task_id": "report", "trigger_rule": "all_done", "downstream_task_ids": ["delete"]},
        {"task_id": "delete", "trigger_rule": "all_done_setup_success", "downstream_task_ids": ["mail"]},
        {"task_id": "mail", "trigger_rule": "all_success", "downstream_task_ids": None},
    ]

    def test_behind_what_is_cleared_and_not_cleared_along(self) -> None:
        assert teardowns_left_out(self.TASKS, ["load", "report"]) == ["delete"]
        assert teardowns_left_out(self.TASKS, ["create", "load", "report", "delete"]) == []
        assert teardowns_left_out(self.TASKS, ["mail"]) == []
        assert teardowns_left_out(self.TASKS, ["of a DAG that has been changed"]) == []

    def test_airflow_that_leaves_them_out_is_reported(self) -> None:
        airflow = FakeAirflow()
        airflow.dag_tasks = [dict(task) for task in self.TASKS]
        change = change_on(airflow, V2, rerun="failed_tasks")
        change.make()
        assert change.tasks == ["load", "report"]
        (warning,) = change.warnings
        assert "the teardown delete along" in warning


class TestWhatWouldNotStart:
    def test_paused(self) -> None:
        orders: list[dict[str, Any]] = [{"rerun": "all_tasks"}, {"state": "queued"}]
        for wanted in orders:
            airflow = FakeAirflow()
            airflow.is_paused = True
            with pytest.raises(AirflowError) as caught:
                change_on(airflow, **wanted).make()
            assert caught.value.details["diagnosis"]["code"] == "dag_paused"
            assert (airflow.clears, airflow.patches) == (0, 0)
            change_on(airflow, if_paused="unpause", **wanted).make()
            assert (airflow.is_paused, airflow.clears + airflow.patches) == (False, 1)

    def test_stale(self) -> None:
        airflow = FakeAirflow()
        airflow.is_stale = True
        with pytest.raises(AirflowError) as caught:
            change_on(airflow, rerun="all_tasks").make()
        assert caught.value.details["diagnosis"]["code"] == "dag_stale"

    @pytest.mark.parametrize("is_stale", [True, False])
    def test_file_that_cannot_be_imported(self, is_stale: bool) -> None:
        orders: list[dict[str, Any]] = [{"rerun": "all_tasks"}, {"rerun": "failed_tasks"}, {"state": "queued"}]
        for wanted in orders:
            airflow = FakeAirflow()
            airflow.has_import_errors, airflow.is_stale = True, is_stale
            with pytest.raises(AirflowError, match="cannot be imported") as caught:
                change_on(airflow, **wanted).make()
            assert caught.value.details["diagnosis"]["code"] == "dag_import_error"
            assert (airflow.clears, airflow.patches) == (0, 0)
        airflow = FakeAirflow()
        airflow.has_import_errors = True
        change_on(airflow, state="success").make()
        assert airflow.state == "success"

    def test_nothing_to_clear(self) -> None:
        airflow = FakeAirflow()
        airflow.tasks = [{"task_id": "load", "state": "success", "duration": 1.0}]
        with pytest.raises(AirflowError) as caught:
            change_on(airflow, rerun="failed_tasks").make()
        assert caught.value.details["diagnosis"]["code"] == "nothing_to_clear"
        assert airflow.clears == 0

    def test_run_of_a_backfill(self) -> None:
        airflow = FakeAirflow()
        airflow.run_id = "backfill__2026"
        with pytest.raises(AirflowError, match="airflow dags backfill") as caught:
            change_on(airflow, rerun="all_tasks", run_id=airflow.run_id).make()
        assert caught.value.details["diagnosis"]["code"] == "backfill_run"
        change_on(airflow, V2, rerun="all_tasks", run_id=airflow.run_id).make()
        assert airflow.clears == 1
        airflow.state, airflow.end_date = "failed", ENDED
        span = {"from_date": "2026-01-01T00:00:00Z", "to_date": "2026-02-01T00:00:00Z"}
        airflow.backfills = [{"is_paused": True, **span}]
        with pytest.raises(AirflowError, match="cancelled or paused"):
            change_on(airflow, V2, rerun="all_tasks", run_id=airflow.run_id).make()

    def test_run_of_a_backfill_is_known_by_its_type(self) -> None:
        airflow = FakeAirflow()
        airflow.run_type = "backfill"
        with pytest.raises(AirflowError, match="airflow dags backfill"):
            change_on(airflow, rerun="all_tasks").make()
        airflow = FakeAirflow()
        airflow.run_id, airflow.run_type = "backfill__by_hand", "manual"
        change_on(airflow, rerun="all_tasks", run_id=airflow.run_id).make()
        assert airflow.clears == 1


class TestBackfillsOf3:
    """Which backfill a run belongs to is not told: any that covers its date."""

    COVERS: Mapping[str, Any] = {"from_date": "2026-01-01T00:00:00Z", "to_date": "2026-02-01T00:00:00Z"}
    OTHER: Mapping[str, Any] = {"from_date": "2025-01-01T00:00:00Z", "to_date": "2025-02-01T00:00:00Z"}

    def change(self, backfills: list[dict[str, Any]], hidden: bool = False) -> RunChange:
        airflow = FakeAirflow()
        airflow.run_type, airflow.backfills, airflow.hides_backfills = "backfill", backfills, hidden
        return change_on(airflow, V2, rerun="all_tasks")

    def test_beyond_the_first_page(self) -> None:
        others = [{**self.OTHER, "is_paused": True}] * 130
        with pytest.raises(AirflowError, match="cancelled or paused"):
            self.change([*others, {**self.COVERS, "is_paused": True}]).make()
        change = self.change(others)
        change.make()
        assert (change.changed, change.warnings) == (True, [])

    def test_not_known_is_said(self) -> None:
        both = [{**self.COVERS, "is_paused": paused} for paused in (True, False)]
        for change, why in (
            (self.change([], hidden=True), "answers 403"),
            (self.change(both), "several backfills cover its date"),
        ):
            change.make()
            assert change.changed
            (warning,) = change.result()["warnings"]
            assert why in warning


class TestState:
    @pytest.mark.parametrize("state", ["success", "queued"])
    def test_it_is_set_once(self, state: str) -> None:
        airflow = FakeAirflow()
        change = change_on(airflow, state=state)
        change.make()
        assert (change.changed, airflow.state) == (True, state)
        assert airflow.methods == (["GET", "GET", "PATCH"] if state == "queued" else ["GET", "PATCH"])
        again = change_on(airflow, state=state)
        again.make()
        assert (again.changed, again.reason) == (False, f"the run is {state} already")

    def test_check_mode(self) -> None:
        airflow = FakeAirflow()
        change = change_on(airflow, state="success")
        change.make(check_mode=True)
        assert (change.changed, airflow.state) == (True, "failed")
        assert change.result()["dag_run"]["state"] == "success"

    @given(faults=st.lists(st.sampled_from(FAULTS), max_size=6))
    def test_whatever_happens(self, faults: list[str]) -> None:
        airflow = FakeAirflow(faults)
        change = change_on(airflow, state="success")
        try:
            change.make()
        except CallFailed:
            assert airflow.state == "failed" or change.in_doubt
        else:
            assert (change.changed, airflow.state) == (True, "success")
        assert airflow.patches <= 1

    def test_teardown_that_goes_on_and_the_second_time(self) -> None:
        airflow = FakeAirflow()
        airflow.state, airflow.has_teardown = "running", True
        airflow.tasks.append({"task_id": "delete", "state": None})
        airflow.tasks[0]["state"] = "running"
        first, second = change_on(airflow, state="failed"), change_on(airflow, state="failed")
        first.make()
        second.make()
        assert (first.changed, second.changed) == (True, False)
        assert "its teardown goes on" in str(first.reason)


class TestWhatIsNotThere:
    def test_a_run(self) -> None:
        with pytest.raises(AirflowError, match="has no run of that id") as caught:
            change_on(FakeAirflow(), run_id="nowhere", state="failed").make()
        assert caught.value.details["diagnosis"]["http_status"] == 404

    def test_an_api_that_can(self) -> None:
        class Old(FakeAirflow):
            def answer(self, *_request: object) -> Answer:
                return Answer(200, {"Content-Type": "application/json"}, b"[]")

        with pytest.raises(AirflowError, match=r"Airflow 1\.10, which can neither rerun"):
            change_on(Old(), EXPERIMENTAL, rerun="failed_tasks").make()

    def test_a_date(self) -> None:
        options = {"dag_id": "load", "run_id": "mine", "state": None, "rerun": "all_tasks", "rerun_states": ["failed"]}
        options["if_paused"] = "fail"
        assert wanted_change({**options, "end_date": ""}).end_date is None
        with pytest.raises(AirflowError, match="add the timezone"):
            wanted_change({**options, "end_date": "2026-01-31T08:00:00"})

# SPDX-License-Identifier: GPL-3.0-or-later
"""A run is rerun once, whatever the network does: against a model of one run that fails on command."""

from __future__ import annotations

import json
import re
from typing import Any, Mapping

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
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.rerun import RunChange, Wanted, wanted_change
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
        self.failed_tasks = ["load", "report"]
        self.fails_again = False
        self.forgets = False
        self.clears = 0
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
        if path.endswith("/dags/load"):
            return as_answer(200, {"dag_id": "load", "is_paused": False})
        if "/dagRuns/mine" not in path:
            kind = "https://airflow.apache.org/docs/apache-airflow/2.11.2/x"
            return as_answer(404, {"title": "no such run", "type": kind}, "application/problem+json")
        if method == "PATCH":
            self.state = document["state"]
            self.end_date = None if self.state == "queued" else "2026-01-31T09:00:00+00:00"
        elif self.state == "queued" and self.fails_again:
            self.state, self.end_date = "failed", "2026-01-31T08:%02d:00+00:00" % self.clears
        return as_answer(200, self.run())

    def clear(self, document: dict[str, Any]) -> Answer:
        tasks = self.failed_tasks if document["only_failed"] else ["load", "report", "start"]
        if not document["dry_run"] and tasks:
            self.clears += 1
            self.state, self.end_date = "queued", None
            tasks = [] if self.forgets else tasks
        return as_answer(200, {"task_instances": [{"task_id": task} for task in tasks]})

    def run(self) -> dict[str, Any]:
        known = {"dag_id": "load", "dag_run_id": "mine", "execution_date": ENDED, "conf": {}}
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
            assert airflow.methods == ["GET", "POST", "POST", "GET"]
            look, request = (document for method, _path, document in airflow.sent if method == "POST")
            of_run = {"dag_run_id": "mine"} if dialect is V2 else {"start_date": ENDED, "end_date": ENDED}
            assert request == {**of_run, "only_failed": True, "reset_dag_runs": True, "dry_run": False}
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
        airflow.failed_tasks = []
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
            # Errors of the server itself are not repeated for long.
            assert "done, 500" in faults
            assert airflow.clears == 0 or change.in_doubt or change.changed
        else:
            assert change.changed
            assert not change.in_doubt
        assert airflow.clears <= 1

    def test_a_server_that_stays_down_leaves_a_doubt_only_after_the_order(self) -> None:
        before = change_on(FakeAirflow(["ok", "ok"] + ["refused"] * 50), rerun="failed_tasks")
        after = change_on(FakeAirflow(["ok", "ok", "done, dropped"] + ["503"] * 50), rerun="failed_tasks")
        for change in (before, after):
            with pytest.raises(CallFailed):
                change.make()
        assert (before.in_doubt, after.in_doubt) == (False, True)


class TestState:
    @pytest.mark.parametrize("state", ["success", "queued"])
    def test_it_is_set_once(self, state: str) -> None:
        airflow = FakeAirflow()
        change = change_on(airflow, state=state)
        change.make()
        assert (change.changed, airflow.state) == (True, state)
        assert airflow.methods == ["GET", "PATCH"]
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
            assert "done, 500" in faults
            assert airflow.state == "failed" or change.in_doubt
        else:
            assert (change.changed, airflow.state) == (True, "success")


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
        assert wanted_change({**options, "end_date": ""}).end_date is None
        with pytest.raises(AirflowError, match="add the timezone"):
            wanted_change({**options, "end_date": "2026-01-31T08:00:00"})

# SPDX-License-Identifier: GPL-3.0-or-later
"""Many runs at once: against the same model of Airflow as one run, with several threads and an end for each run."""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Any, Iterator, Mapping

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Answer, Http, RetryPolicy
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.batch import CONNECTIONS, Batch, Lanes
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.request import run_requests
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.trigger import LAST_WORDS
from unit.plugins.module_utils._runs.test_trigger import OPTIONS, Clock, FakeAirflow, as_answer, problem
from unit.plugins.scripted_server import Request, Server, as_json
from unit.plugins.scripted_server import problem as refusal

RUNS = {**OPTIONS, "dag_id": None, "wait": True}


class BusyAirflow(FakeAirflow):
    """The same with runs that end: ``ending`` of them with each look at what has ended, in ``state``."""

    def __init__(self, faults: list[str] | None = None) -> None:
        super().__init__(faults)
        self.ending = 30
        self.state = "success"
        self.with_failed_tasks: list[str] = []
        self.most_writers = 0
        self._writers = 0
        self._lock = threading.Lock()
        self._now = datetime.now(timezone.utc)

    def send(self, method: str, path: str, *, document: Mapping[str, Any] | None = None, **other: Any) -> Answer:
        writes = method == "POST" and not path.endswith("list")
        self._writers += writes
        self.most_writers = max(self.most_writers, self._writers)
        try:
            with self._lock:
                return super().send(method, path, document=document, **other)
        finally:
            self._writers -= writes

    def listed(self, document: dict[str, Any]) -> Answer:
        if "page_limit" not in document:  # of tasks
            run_ids = self.with_failed_tasks if document.get("state") == ["failed"] else self.runs
            tasks = [{"dag_id": "load", "dag_run_id": run_id, "task_id": "work"} for run_id in run_ids]
            return as_answer(200, {"task_instances": tasks, "total_entries": len(tasks)})
        if document["page_offset"] == 0:
            active = [run for run in self.runs.values() if run["state"] == "queued"]
            for run in active[: self.ending]:
                self._now += timedelta(seconds=5)
                start = self._now - timedelta(seconds=60)
                run.update(state=self.state, start_date=start.isoformat(), end_date=self._now.isoformat())
                self.has_failed_tasks = self.state == "failed"
        if "end_date_gte" not in document:
            return super().listed(document)
        ended = [run for run in self.runs.values() if (run.get("end_date") or "") >= document["end_date_gte"]]
        begin = document["page_offset"]
        return as_answer(200, {"dag_runs": ended[begin : begin + 100], "total_entries": len(ended)})


def batch_on(airflow: FakeAirflow, *runs: dict[str, Any], **options: Any) -> Batch:
    clock = Clock()
    api = Api(airflow, retry_policy=lambda: RetryPolicy(30, clock, clock.sleep))
    one = {"run_id": None, "conf": None, "logical_date": None, "note": None}
    return Batch(
        api,
        run_requests({**RUNS, **options, "runs": [{**one, "dag_id": "load", **run} for run in runs]}),
        clock,
        clock.sleep,
    )


def asked(airflow: FakeAirflow, method: str, end: str) -> int:
    return sum(sent == method and path.split("?")[0].endswith(end) for sent, path in airflow.sent)


def test_all_are_triggered_and_waited_for() -> None:
    airflow = BusyAirflow()
    batch = batch_on(airflow, *({"conf": {"number": number}} for number in range(250)))
    batch.submit()
    assert len(airflow.runs) == 250
    assert asked(airflow, "GET", "/load") == 1
    batch.wait()
    assert batch.failures == {}
    assert {trigger.run.state for trigger in batch.triggers if trigger.run} == {"success"}
    assert [trigger.run.conf for trigger in batch.triggers if trigger.run] == [{"number": n} for n in range(250)]
    assert asked(airflow, "POST", "list") <= 12
    assert not any("dagRuns/ansible" in path for _method, path in airflow.sent)


@pytest.mark.parametrize("fails", [True, False])
def test_tasks_that_failed_in_a_success_are_found_for_all_at_once(fails: bool) -> None:
    airflow = BusyAirflow()
    batch = batch_on(airflow, *({} for _number in range(50)), fail_on_failed_tasks=fails)
    batch.submit()
    airflow.with_failed_tasks = [str(batch.triggers[7].request.new.run_id)]
    before = asked(airflow, "POST", "taskInstances/list")
    batch.wait()
    assert asked(airflow, "POST", "taskInstances/list") == before + 2
    assert list(batch.failures) == ([7] if fails else [])
    assert [number for number, trigger in enumerate(batch.triggers) if trigger.failed_tasks] == [7]


def test_one_that_goes_wrong_does_not_lose_the_others() -> None:
    airflow = BusyAirflow()
    airflow.add("there", {"a": 1})
    batch = batch_on(airflow, {}, {"run_id": "there", "conf": {"a": 2}}, {})
    batch.submit()
    batch.wait()
    assert list(batch.failures) == [1]
    assert "conf differs in 'a'" in str(batch.failures[1])
    assert len(airflow.runs) == 3


def test_failed_runs_are_told_one_by_one() -> None:
    airflow = BusyAirflow()
    airflow.state = "failed"
    batch = batch_on(airflow, *({} for _number in range(30)))
    batch.submit()
    batch.wait()
    assert len(batch.failures) == 30
    assert sum(bool(trigger.failed_tasks) for trigger in batch.triggers) == 20


@pytest.mark.parametrize(("status", "sent"), [("401", 1), ("403", 1)])
def test_what_was_refused_once_is_not_sent_again(status: str, sent: int) -> None:
    airflow = BusyAirflow(["ok"] + [status] * 50)
    batch = batch_on(airflow, *({} for _number in range(40)), if_paused="trigger")
    batch.submit()
    assert len(batch.failures) == 40
    assert all(isinstance(failure, CallFailed) for failure in batch.failures.values())
    assert sent <= airflow.posts < sent + CONNECTIONS


def test_wrong_password_that_is_answered_403_is_tried_twice_at_most() -> None:
    """Beside ``session``: once by the first run, and once to see whether it is the login."""
    airflow = BusyAirflow(["ok"] + ["403"] * 100)
    batch = batch_on(airflow, *({"dag_id": f"load_{number}"} for number in range(12)), if_paused="trigger")
    batch.submit()
    assert len(batch.failures) == 12
    assert len(airflow.sent) <= 3  # the clock, the run and the login


def test_permission_for_one_dag_alone_does_not_stop_the_others() -> None:
    airflow = BusyAirflow(["ok", "403", "ok"])
    batch = batch_on(airflow, {"dag_id": "secret"}, {}, {}, if_paused="trigger")
    batch.submit()
    assert list(batch.failures) == [0]


def test_server_that_goes_away_during_the_wait_costs_its_patience_once() -> None:
    airflow = BusyAirflow()
    airflow.ending = 0
    batch = batch_on(airflow, *({} for _number in range(100)), wait_timeout=3, on_timeout="fail_run")
    batch.submit()
    airflow.faults = ["refused"] * 10000
    before = len(airflow.sent)
    batch.wait()
    assert len(batch.failures) == 100
    assert "could not be set to failed, because the server does not respond" in str(batch.failures[99])
    assert len(airflow.sent) - before < 12


def test_a_server_that_is_gone_is_waited_for_once() -> None:
    airflow = BusyAirflow(["ok"] + ["refused"] * 30)
    batch = batch_on(airflow, *({} for _number in range(40)), if_paused="trigger")
    batch.submit()
    assert 40 > len(batch.failures) > 1  # the first ones; then it is back
    assert len(airflow.runs) == 40 - len(batch.failures)


def test_a_database_of_one_writer() -> None:
    """An error 500 after the run was made, or before: each is asked for, and none is made twice."""
    airflow = BusyAirflow(["ok", "ok", "ok", "ok", "ok", "done, 500", "ok", "500"])
    batch = batch_on(airflow, *({} for _number in range(40)))
    batch.submit()
    assert batch.failures == {}
    assert len(airflow.runs) == 40
    assert all(trigger.changed for trigger in batch.triggers)


def test_a_paused_dag_fails_all_and_is_unpaused_once() -> None:
    airflow = BusyAirflow()
    airflow.is_paused = True
    batch = batch_on(airflow, {}, {}, {})
    batch.submit()
    assert len(batch.failures) == 3
    assert airflow.posts == 0
    batch = batch_on(airflow, {}, {}, {}, if_paused="unpause")
    batch.submit()
    assert batch.failures == {}
    assert asked(airflow, "GET", "/load") == 2


def test_check_mode() -> None:
    airflow = BusyAirflow()
    airflow.add("there")
    batch = batch_on(airflow, {}, {"run_id": "there"})
    batch.submit(check_mode=True)
    assert [trigger.changed for trigger in batch.triggers] == [True, False]
    assert airflow.runs.keys() == {"there"}


@pytest.mark.parametrize("on_timeout", ["leave", "fail_run"])
def test_out_of_time(on_timeout: str) -> None:
    airflow = BusyAirflow()
    airflow.ending = 0
    airflow.states = ["running"]
    batch = batch_on(airflow, *[{}] * (1 if on_timeout == "fail_run" else 3), wait_timeout=30.0, on_timeout=on_timeout)
    batch.submit()
    batch.wait()
    for failure in batch.failures.values():
        assert isinstance(failure, AirflowError)
        assert failure.details["timed_out"] is True
    assert len(batch.failures) == len(batch.triggers)
    assert (airflow.states == ["failed"]) is (on_timeout == "fail_run")


def test_looks_that_fail_do_not_end_the_wait() -> None:
    airflow = BusyAirflow()
    batch = batch_on(airflow, {}, {})
    batch.submit()
    airflow.faults = ["503", "dropped", "429", "503", "dropped"]
    batch.wait()
    assert batch.failures == {}


def test_an_end_that_the_list_does_not_tell_is_found_all_the_same() -> None:
    """As where the clocks of scheduler and webserver differ."""
    airflow = BusyAirflow()
    airflow._now -= timedelta(hours=3)
    batch = batch_on(airflow, {}, {}, {})
    batch.submit()
    airflow.states = ["success"]
    batch.wait()
    assert batch.failures == {}


def test_without_a_scheduler_all_end_early() -> None:
    airflow = BusyAirflow()
    airflow.ending = 0
    airflow.scheduler = "unhealthy"
    batch = batch_on(airflow, {}, {})
    batch.submit()
    batch.wait()
    assert len(batch.failures) == 2
    assert all("scheduler" in str(failure) for failure in batch.failures.values())


class TestOrders:
    def test_say_which_one_is_wrong(self) -> None:
        with pytest.raises(AirflowError, match=r"runs\[1\]: run_id"):
            batch_on(FakeAirflow(), {}, {"run_id": "a b"})

    def test_the_same_run_twice(self) -> None:
        with pytest.raises(AirflowError, match=r"runs\[0\] and runs\[2\]"):
            batch_on(FakeAirflow(), {"run_id": "x"}, {}, {"run_id": "x"})

    def test_unless_running_twice(self) -> None:
        with pytest.raises(AirflowError, match="only once"):
            batch_on(FakeAirflow(), {}, {}, unless_running=True)
        assert batch_on(FakeAirflow(), {}, {"dag_id": "other"}, unless_running=True)


class TestLanes:
    def use(self, lanes: Lanes, clock: Clock, times: int, seconds: float, status: int | None = None) -> None:
        for _number in range(times):
            try:
                with lanes.one():
                    clock.sleep(seconds)
                    if status:
                        raise CallFailed("POST", "/", answer=problem(status))
            except CallFailed:
                pass

    def test_wide_only_where_it_pays(self) -> None:
        clock = Clock()
        few, many = Lanes(100, clock), Lanes(1000, clock)
        self.use(few, clock, 10, 0.02)
        self.use(many, clock, 10, 0.02)
        assert (few.width, many.width) == (1, CONNECTIONS)

    def test_narrow_for_good_after_an_error_500(self) -> None:
        clock = Clock()
        lanes = Lanes(1000, clock)
        self.use(lanes, clock, 10, 0.1)
        self.use(lanes, clock, 1, 5.0, 503)
        assert lanes.width == CONNECTIONS
        self.use(lanes, clock, 1, 5.0, 500)
        assert lanes.width == 1
        self.use(lanes, clock, 50, 0.1)
        assert lanes.width == 1

    def test_no_more_at_a_time_than_lanes(self) -> None:
        lanes = Lanes(10)
        lanes.width = 2
        inside = most = 0

        def enter() -> None:
            nonlocal inside, most
            with lanes.one():
                inside += 1
                most = max(most, inside)
                threading.Event().wait(0.02)
                inside -= 1

        threads = [threading.Thread(target=enter) for _number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most <= 2


class Hanging:
    """Makes runs that are queued for ever, and from then on lets each request hang."""

    def __init__(self, runs: int) -> None:
        self.runs = runs
        self.over = threading.Event()

    def __call__(self, request: Request) -> bytes:
        if request.target.endswith("/health"):
            return as_json({"scheduler": {"status": "healthy"}})
        if request.method == "GET" and request.target == "/api/v1/dags/load":
            return as_json({"is_paused": False})
        if request.method == "POST" and request.target.endswith("/dagRuns") and self.runs:
            self.runs -= 1
            return as_json({"dag_id": "load", "dag_run_id": json.loads(request.body)["dag_run_id"], "state": "queued"})
        self.over.wait(60)
        return b""


@pytest.mark.parametrize("number", [1, 4])
@pytest.mark.parametrize("on_timeout", ["leave", "fail_run"])
def test_wait_timeout_holds_with_a_server_that_hangs(number: int, on_timeout: str) -> None:
    server, hanging = Server(), Hanging(number)
    server.otherwise = hanging
    api = Api(Http(server.url, lambda request: request, timeout=30))
    options = {**RUNS, "runs": [{"dag_id": "load"}] * number, "wait_timeout": 2.0, "on_timeout": on_timeout}
    batch = Batch(api, run_requests(options))
    begin = time.monotonic()
    try:
        batch.submit()
        if number == 1:
            with pytest.raises(AirflowError, match="did not end within 2 seconds"):
                batch.triggers[0].wait()
        else:
            batch.wait()
            assert all("did not end within 2 seconds" in str(batch.failures[each]) for each in range(number))
    finally:
        hanging.over.set()
        server.close()
    assert time.monotonic() - begin < 2 + 1 + LAST_WORDS + 1


class Batched(Server):
    """Airflow 2.11 with some runs of a DAG, each in a state of its own, which the test changes."""

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[str, str] = {}
        self.tasks: dict[str, list[dict[str, Any]]] = {}
        self.missing: set[str] = set()
        self.dates: dict[str, str] = {}
        self.lists_states = True
        self.otherwise = self.answered

    def run(self, run_id: str) -> dict[str, Any]:
        date = "2026-01-01T00:00:00+00:00"
        found = {"dag_id": "load", "dag_run_id": run_id, "state": self.states[run_id], "execution_date": date}
        return {**found, **self.dates}

    def answered(self, request: Request) -> bytes:
        words = request.target.partition("?")[0].split("/")[3:]
        document = json.loads(request.body or b"{}")
        if words[-1] == "health":
            healthy = {"status": "healthy"}
            return as_json({"metadatabase": healthy, "scheduler": healthy, "triggerer": {"status": None}})
        if words[-1] == "list" and "states" in document and not self.lists_states:
            return refusal(400, detail="{'states': ['Unknown field.']}")
        if words == ["dags", "~", "dagRuns", "list"]:
            wanted = document.get("states", ["success", "failed"])
            there = [self.run(run_id) for run_id in self.states if run_id not in self.missing]
            found = [run for run in there if run["state"] in wanted]
            return as_json({"dag_runs": found, "total_entries": len(found)})
        if words[-1] == "list":
            done = [run_id for run_id, state in self.states.items() if state == "success" and run_id in self.tasks]
            done = [] if "state" in document else done
            tasks = [{"dag_id": "load", "dag_run_id": run_id, "task_id": "work"} for run_id in done]
            return as_json({"task_instances": tasks, "total_entries": len(tasks)})
        if words[-1] == "taskInstances":
            tasks = self.tasks.get(words[3], [])
            return as_json({"task_instances": tasks, "total_entries": len(tasks)})
        if words[-1] == "details":
            return as_json({"is_paused": False, "max_active_runs": 16})
        if len(words) == 2:
            return as_json({"dag_id": "load", "is_paused": False})
        if request.method == "POST":
            self.states[document["dag_run_id"]] = "queued"
            return as_json(self.run(document["dag_run_id"]))
        if words[3] in self.missing or words[3] not in self.states:
            return refusal(404, detail=f"DAGRun with DAG ID: 'load' and DagRun ID: '{words[3]}' not found")
        return as_json(self.run(words[3]))


@pytest.fixture
def batched() -> Iterator[Batched]:
    server = Batched()
    yield server
    server.close()


def batch_of(server: Batched, *run_ids: str, **options: Any) -> tuple[Batch, Clock]:
    clock = Clock()
    api = Api(Http(server.url, lambda request: request), retry_policy=lambda: RetryPolicy(30, clock, clock.sleep))
    one = {"conf": None, "logical_date": None, "note": None}
    runs = [{**one, "dag_id": "load", "run_id": run_id} for run_id in run_ids]
    return Batch(api, run_requests({**RUNS, **options, "runs": runs}), clock, clock.sleep), clock


def diagnosis_of(batch: Batch, number: int) -> dict[str, Any]:
    failure = batch.failures[number]
    assert isinstance(failure, AirflowError)
    found: dict[str, Any] = failure.details["diagnosis"]
    return found


class TestEachRunByItself:
    def test_each_has_its_own_reason_and_state_when_the_time_is_up(self, batched: Batched) -> None:
        batch, _clock = batch_of(batched, "a", "b", "c", wait_timeout=30.0)
        batch.submit()
        batched.states.update(a="running", b="running")
        batched.tasks["a"] = [{"task_id": "load", "state": "running", "pool": "default_pool"}]
        batched.tasks["b"] = [{"task_id": "hold", "state": "deferred", "pool": "default_pool"}]
        batch.wait()
        assert [diagnosis_of(batch, number)["code"] for number in range(3)] == [
            "wait_timeout",
            "triggerer_not_running",
            "wait_timeout",
        ]
        assert "task 'load' is running" in diagnosis_of(batch, 0)["cause"]
        assert "it is still queued" in diagnosis_of(batch, 2)["cause"]
        states = [trigger.result()["dag_run"]["state"] for trigger in batch.triggers]
        assert states == ["running", "running", "queued"]
        assert [len(trigger.unfinished_tasks) for trigger in batch.triggers] == [1, 1, 0]

    def test_what_they_have_in_common_is_asked_for_once(self, batched: Batched) -> None:
        batch, _clock = batch_of(batched, *(f"r{number}" for number in range(20)), wait_timeout=2.0)
        batch.submit()
        batched.requests.clear()
        batch.wait()
        asked = [request.target for request in batched.requests]
        assert asked.count("/api/v1/health") == asked.count("/api/v1/dags/load") == 1
        assert len([target for target in asked if "/taskInstances" in target]) == 20

    def test_each_has_the_last_state_seen_when_the_server_is_gone(self, batched: Batched) -> None:
        batch, _clock = batch_of(batched, "a", "b", wait_timeout=30.0)
        batch.submit()
        batched.states["a"] = "running"
        count = [0]

        def dies(request: Request) -> bytes:
            count[0] += 1
            return batched.answered(request) if count[0] < 12 else b""

        batched.otherwise = dies
        batch.wait()
        assert [trigger.run.state for trigger in batch.triggers if trigger.run] == ["running", "queued"]
        for number, state in enumerate(["running", "queued"]):
            assert diagnosis_of(batch, number)["code"] == "run_state_unknown"
            assert f"last state seen is '{state}'" in diagnosis_of(batch, number)["evidence"]

    @pytest.mark.parametrize("lists_states", [True, False])
    def test_a_deleted_run_fails_soon_and_alone(self, batched: Batched, lists_states: bool) -> None:
        batched.lists_states = lists_states
        batch, clock = batch_of(batched, "a", "b", wait_timeout=3600.0)
        batch.submit()
        batched.missing.add("b")
        batched.tasks["a"] = [{"task_id": "load", "state": "success"}]
        seen: list[float] = []

        def sleep(seconds: float) -> None:
            clock.sleep(seconds)
            if 1 in batch.failures and not seen:
                seen.append(clock.now)
            if clock.now > 120:
                batched.states["a"] = "success"

        batch._sleep = sleep
        batch.wait()
        assert list(batch.failures) == [1]
        failure = batch.failures[1]
        assert isinstance(failure, CallFailed)
        assert failure.path.endswith("/dagRuns/b")
        assert seen[0] < (10 if lists_states else 20)

    def test_all_deleted_runs_end_the_wait(self, batched: Batched) -> None:
        batch, clock = batch_of(batched, *(f"r{number}" for number in range(30)), wait_timeout=3600.0)
        batch.submit()
        batched.missing.update(batched.states)
        batch.wait()
        assert len(batch.failures) == 30
        assert clock.now < 60

    def test_a_success_without_tasks_is_none_however_long_it_took(self, batched: Batched) -> None:
        batch, _clock = batch_of(batched, "a", "b", "c")
        batch.submit()
        batched.states.update(a="success", b="success", c="success")
        batched.tasks.update(a=[{"task_id": "load", "state": "success"}], c=[{"task_id": "load", "state": "success"}])
        batched.dates = {"start_date": "2026-01-31T08:00:00+00:00", "end_date": "2026-01-31T09:00:00+00:00"}
        batched.requests.clear()
        batch.wait()
        assert list(batch.failures) == [1]
        assert diagnosis_of(batch, 1)["code"] == "no_task_ran"
        alone = [request.target for request in batched.requests if request.target.endswith("taskInstances?limit=1")]
        assert alone == ["/api/v1/dags/load/dagRuns/b/taskInstances?limit=1"]

    def test_run_that_was_just_deleted_when_the_time_is_up_has_no_known_state(self, batched: Batched) -> None:
        batch, _clock = batch_of(batched, "a", "b", wait_timeout=1.0)
        batch.submit()
        batched.missing.add("b")
        batch.wait()
        assert [diagnosis_of(batch, number)["code"] for number in range(2)] == ["wait_timeout", "run_state_unknown"]
        assert "/dagRuns/b: 404" in diagnosis_of(batch, 1)["evidence"]

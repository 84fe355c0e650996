# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a run that did not end in time."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api.auth import NoLogin
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Http, RetryPolicy
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import Run, UnfinishedTask
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.unfinished import Held, HoldUps, timed_out
from unit.plugins.scripted_server import Request, Server, as_json, problem


def task(state: str | None, pool: str = "default_pool") -> UnfinishedTask:
    return UnfinishedTask("work", -1, state, pool)


@pytest.mark.parametrize(
    ("state", "held", "code", "cause"),
    [
        ("running", {}, "wait_timeout", "it is still running"),
        ("queued", {"paused": True, "scheduler": "unhealthy"}, "dag_paused", "paused"),
        (
            "queued",
            {"scheduler": "unhealthy", "busy": ""},
            "scheduler_not_running",
            "scheduler does not run, so nothing starts it",
        ),
        ("queued", {"scheduler": "unhealthy"}, "scheduler_not_running_or_busy", "it does not run, or is busy"),
        (
            "running",
            {"scheduler": "unhealthy", "busy": ""},
            "scheduler_not_running",
            "still running, and the scheduler does not run",
        ),
        ("queued", {"scheduler": "unhealthy", "busy": "slow.sleep"}, "scheduler_busy", "while task slow.sleep runs"),
        ("queued", {"scheduler": "healthy"}, "wait_timeout", "it is still queued"),
        ("running", {"paused": True}, "dag_paused", "it is still running, and its DAG is paused"),
        ("running", {"tasks": [task("deferred")], "triggerer": ""}, "triggerer_not_running", "no triggerer runs"),
        ("running", {"tasks": [task("deferred")], "triggerer": "healthy"}, "wait_timeout", "task 'work' is deferred"),
        ("running", {"tasks": [task(None)]}, "wait_timeout", "task 'work' is not scheduled yet"),
        (
            "running",
            {"tasks": [task("scheduled", "x")], "pool": ("x", None)},
            "pool_missing",
            "'x', which does not exist",
        ),
        ("running", {"tasks": [task("queued", "x")], "pool": ("x", (3, 0))}, "pool_full", "all of whose 3 slots"),
        (
            "running",
            {"tasks": [task("queued", "x")], "pool": ("x", (0, None))},
            "wait_timeout",
            "task 'work' is queued",
        ),
        ("running", {"tasks": [task("deferred")]}, "wait_timeout", "task 'work' is deferred"),
        ("running", {"tasks": [task("queued", "x")], "pool": ("x", (3, 1))}, "wait_timeout", "task 'work' is queued"),
        ("queued", {"scheduler": "healthy", "max_active_runs": 1}, "max_active_runs_reached", "1 at a time"),
    ],
)
def test_timed_out(state: str, held: dict[str, Any], code: str, cause: str) -> None:
    found = timed_out(state, "http://h/r", Held(**held), None)
    assert found.code == code
    assert cause in found.cause


def test_state_that_could_not_be_read() -> None:
    found = timed_out("running", "http://h/r", Held(), "GET x: 503")
    assert (found.code, "could not be asked" in found.cause) == ("run_state_unknown", True)


class TestHoldUps:
    RUN = Run("load", "r", "running", None, None, None, None, None, None)

    def held(self, server: Server, pages: dict[str, Any], tasks: list[dict[str, Any]], page: int = 100) -> Held:
        """What is found out of a server that answers by these pages, and lists these task instances."""

        def answered(request: Request) -> bytes:
            path, _other, query = request.target.partition("?")
            if path.endswith("/taskInstances") and "/r/" in path:
                begin = int(dict(parse_qsl(query)).get("offset", 0))
                return as_json({"task_instances": tasks[begin : begin + page], "total_entries": len(tasks)})
            return next((as_json(pages[end]) for end in pages if path.endswith(end)), problem(403))

        server.otherwise = answered
        return HoldUps(Api(Http(server.url, NoLogin()), retry_policy=lambda: RetryPolicy(0))).of(self.RUN)

    @pytest.mark.parametrize(
        ("health", "triggerer", "code"),
        [
            ({}, None, "wait_timeout"),  # before 2.6.2
            ({"triggerer": None}, "", "triggerer_not_running"),
            ({"triggerer": {"status": None}}, "", "triggerer_not_running"),
            ({"triggerer": {"status": "healthy"}}, "healthy", "wait_timeout"),
        ],
    )
    def test_triggerer(self, server: Server, health: dict[str, Any], triggerer: str | None, code: str) -> None:
        healthy = {"status": "healthy"}
        pages: dict[str, Any] = {"/health": {"metadatabase": healthy, "scheduler": healthy, **health}}
        held = self.held(server, pages, [{"task_id": "hold", "state": "deferred"}])
        assert held.triggerer == triggerer
        assert timed_out("running", "http://h/r", held, None).code == code

    def test_unfinished_tasks_of_a_large_run(self, server: Server) -> None:
        tasks: list[dict[str, Any]] = [{"task_id": f"t{number}", "state": "success"} for number in range(250)]
        tasks += [{"task_id": f"n{number}", "state": None} for number in range(250)]
        tasks += [{"task_id": "hold", "state": "deferred"}]
        pages: dict[str, Any] = {"/health": {"metadatabase": {}, "scheduler": {"status": "healthy"}, "triggerer": None}}
        held = self.held(server, pages, tasks)
        assert (len(held.tasks), held.tasks[0].task_id) == (251, "hold")
        assert timed_out("running", "http://h/r", held, None).code == "triggerer_not_running"

    @pytest.mark.parametrize("open_slots", [-1, float("inf"), 0, "many", None])
    def test_pool_without_a_limit_is_not_full(self, server: Server, open_slots: object) -> None:
        pages = {
            "/health": {"metadatabase": {}, "scheduler": {"status": "healthy"}},
            "/pools/x": {"name": "x", "slots": -1, "open_slots": open_slots},
        }
        held = self.held(server, pages, [{"task_id": "work", "state": "scheduled", "pool": "x"}])
        assert timed_out("running", "http://h/r", held, None).code == "wait_timeout"

    @pytest.mark.parametrize(
        ("status", "code"), [(404, "scheduler_not_running"), (403, "scheduler_not_running_or_busy")]
    )
    def test_only_who_reads_every_dag_sees_that_no_task_runs(self, server: Server, status: int, code: str) -> None:
        pages: dict[str, Any] = {
            "/health": {"metadatabase": {}, "scheduler": {"status": "unhealthy"}},
            "/dags/~/dagRuns/~/taskInstances": {"task_instances": []},
        }
        held = self.held(server, pages, [])
        assert timed_out("queued", "http://h/r", held, None).code == "scheduler_not_running_or_busy"
        answered = server.otherwise
        assert callable(answered)

        def limited(request: Request) -> bytes:
            return problem(status) if request.target.endswith("no_such_dag") else answered(request)

        server.otherwise = limited
        held = HoldUps(Api(Http(server.url, NoLogin()), retry_policy=lambda: RetryPolicy(0))).of(self.RUN)
        assert timed_out("queued", "http://h/r", held, None).code == code

# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a run that did not end in time."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import UnfinishedTask
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.unfinished import Held, timed_out


def task(state: str | None, pool: str = "default_pool") -> UnfinishedTask:
    return UnfinishedTask("work", -1, state, pool)


@pytest.mark.parametrize(
    ("state", "held", "code", "cause"),
    [
        ("running", {}, "wait_timeout", "it is still running"),
        ("queued", {"paused": True, "scheduler": "unhealthy"}, "dag_paused", "paused"),
        ("queued", {"scheduler": "unhealthy"}, "scheduler_not_running", "scheduler does not run, so nothing starts it"),
        (
            "running",
            {"scheduler": "unhealthy"},
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

# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a run that failed, or did not end in time."""

from __future__ import annotations

from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import FailedTask
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import Diagnosis
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.runs import failed_run, timed_out


def test_failed_run() -> None:
    def failed(*names: str) -> Diagnosis:
        return failed_run("http://h/r", [FailedTask(name, -1, "failed", 1, None) for name in names])

    assert failed("b").cause == "task 'b' failed"
    assert failed("b", "b", "a").cause == "tasks failed: a, b"
    assert failed(*"abcdefg").cause == "tasks failed: a, b, c, d, e and 2 more"
    assert "no task of it failed" in failed().cause


def test_timed_out() -> None:
    def cause(state: str, paused: bool | None = None, scheduler: str | None = None, trouble: str | None = None) -> str:
        return timed_out(state, "http://h/r", paused, scheduler, trouble).cause

    assert cause("running") == "it is still running"
    assert "paused" in cause("queued", paused=True, scheduler="unhealthy")
    assert "scheduler" in cause("queued", paused=False, scheduler="unhealthy")
    assert cause("queued", paused=False, scheduler="healthy") == "it is still queued"
    assert cause("running", paused=False, scheduler="healthy") == "it is still running"
    assert cause("running", paused=True).startswith("it is still running, and its DAG is paused")
    assert cause("running", scheduler="unhealthy").startswith("it is still running, and the scheduler does not run")
    assert "could not be asked" in cause("running", trouble="GET x: 503")

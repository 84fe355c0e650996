# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a run that failed."""

from __future__ import annotations

from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import FailedTask
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import Diagnosis
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.runs import failed_run


def test_failed_run() -> None:
    def failed(*names: str) -> Diagnosis:
        return failed_run(
            "http://h/r", [FailedTask(name, -1, "failed", 1, "2026-01-31T08:00:01+00:00", None) for name in names]
        )

    assert failed("b").cause == "task 'b' failed"
    assert failed("b", "b", "a").cause == "tasks failed: a, b"
    assert failed(*"abcdefg").cause == "tasks failed: a, b, c, d, e and 2 more"
    assert "no task of it failed" in failed().cause


def test_task_that_never_started() -> None:
    tasks = [FailedTask("a", -1, "failed", 1, None, None), FailedTask("b", -1, "failed", 1, None, None)]
    found = failed_run("http://h/r", tasks)
    assert (found.code, "execution_api_server_url" in found.remedy) == ("task_not_started", True)
    started = tasks[1]._replace(start_date="2026-01-31T08:00:01+00:00")
    assert failed_run("http://h/r", [tasks[0], started]).code == "run_failed"

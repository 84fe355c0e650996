# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible callback that writes the result of every task, as one line of JSON each, for runner.py to read."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: testbed_results
type: notification
short_description: Write task results for the integration tests
description: One JSON object a line, into the file named by the environment variable TESTBED_RESULTS.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no type hints
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "testbed_results"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._started: dict[tuple[str, str], float] = {}

    def _write(self, line: dict[str, Any]) -> None:
        with open(os.environ["TESTBED_RESULTS"], "a", encoding="utf-8") as file:
            file.write(json.dumps(line, default=str) + "\n")

    def _write_result(self, task_result: Any, **extra: bool) -> None:
        # The attributes lost their underscores in ansible-core 2.19.
        result = task_result.result if hasattr(task_result, "result") else task_result._result
        task = task_result.task if hasattr(task_result, "task") else task_result._task
        host = task_result.host if hasattr(task_result, "host") else task_result._host
        names = {"host": host.get_name(), "task": task.get_name(), "action": task.action, "ended": time.time()}
        seconds = time.monotonic() - self._started[(host.get_name(), task._uuid)]
        self._write({**names, "seconds": seconds, "result": {**result, **extra}})

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._started[(host.get_name(), task._uuid)] = time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:
        self._write_result(result)

    # Ansible calls it with ignore_errors by name.
    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # noqa: ARG002
        self._write_result(result, failed=True)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._write_result(result, unreachable=True)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._write_result(result, skipped=True)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._write({"stats": {host: stats.summarize(host) for host in stats.processed}})

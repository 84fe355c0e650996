# SPDX-License-Identifier: GPL-3.0-or-later
"""What the variables of a role come to, evaluated by Ansible's own templating, without a playbook."""

from __future__ import annotations

import atexit
import functools
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLES = ROOT / "roles"


def tasks_of(role: str, file: str) -> list[dict[str, Any]]:
    """The tasks of a file, in their order, those in blocks included."""
    found: list[dict[str, Any]] = []

    def take(tasks: list[dict[str, Any]]) -> None:
        for task in tasks:
            found.append(task)
            for part in ("block", "rescue", "always"):
                take(task.get(part, []))

    take(yaml.safe_load((ROLES / role / "tasks" / f"{file}.yml").read_text()))
    return found


def task_of(role: str, file: str, name: str) -> dict[str, Any]:
    """The one task of that name."""
    (task,) = [task for task in tasks_of(role, file) if task["name"] == name]
    return task


def value_of(role: str, text: str, *variables: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Any:
    """What a template comes to in the role, with its defaults and variables and those of a task; the last ones win."""
    known: dict[str, Any] = {}
    for part in ("defaults", "vars"):
        path = ROLES / role / part / "main.yml"
        known.update(yaml.safe_load(path.read_text()) if path.exists() else {})
    for more in variables:
        known.update(more)
    worker = _worker()
    assert worker.stdin
    assert worker.stdout
    worker.stdin.write(json.dumps([text, known, dict(environment or {})]) + "\n")
    worker.stdin.flush()
    answer = json.loads(worker.stdout.readline())
    assert "error" not in answer, answer["error"]
    return answer["value"]


@functools.lru_cache
def _worker() -> subprocess.Popen[str]:
    """One for all templates: to start it takes a second."""
    command = [sys.executable, str(Path(__file__).with_name("evaluate.py")), str(ROOT / ".build/collections")]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end() -> None:
        assert worker.stdin
        assert worker.stdout
        worker.stdin.close()
        worker.wait(10)
        worker.stdout.close()

    atexit.register(end)
    return worker

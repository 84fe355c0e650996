# SPDX-License-Identifier: GPL-3.0-or-later
"""What the variables of a role come to, evaluated by Ansible's own templating, without a playbook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

try:
    from ansible.template import trust_as_template as _trust
except ImportError:  # before ansible-core 2.19 every text is a template
    _trust: Callable[[str], str] = str  # type: ignore[no-redef]

ROLES = Path(__file__).resolve().parents[3] / "roles"


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


def value_of(role: str, text: str, *variables: Mapping[str, Any]) -> Any:
    """What a template comes to in the role, with its defaults and variables and those of a task; the last ones win."""
    known: dict[str, Any] = {}
    for part in ("defaults", "vars"):
        path = ROLES / role / part / "main.yml"
        known.update(_trusted(yaml.safe_load(path.read_text())) if path.exists() else {})
    for more in variables:
        known.update(_trusted(more))
    return Templar(loader=DataLoader(), variables=known).template(_trust(text))


def _trusted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _trusted(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_trusted(one) for one in value]
    return _trust(value) if isinstance(value, str) else value

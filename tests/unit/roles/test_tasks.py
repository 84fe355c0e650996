# SPDX-License-Identifier: GPL-3.0-or-later
"""Each task of each role can be read by Ansible: what is wrong with an include ends a play, past every rescue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.mod_args import ModuleArgsParser
from unit.roles.role_vars import ROLES

FILES = sorted(ROLES.glob("*/tasks/*.yml"))


def flat(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in tasks:
        parts = [key for key in ("block", "rescue", "always") if key in task]
        for part in parts:
            yield from flat(task[part])
        if not parts:
            yield task


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parts[-3]}/{path.name}")
def test_tasks_can_be_read(path: Path) -> None:
    for task in flat(yaml.safe_load(path.read_text())):
        # As it is for whoever may give free-form text: an include whose text holds a "=".
        action, arguments, _delegate = ModuleArgsParser(task_ds=dict(task)).parse(skip_action_validation=True)
        if action.endswith(("include_tasks", "import_tasks")):
            assert set(arguments) <= {"_raw_params", "file", "apply"}, task["name"]

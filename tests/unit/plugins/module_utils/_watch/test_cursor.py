# SPDX-License-Identifier: GPL-3.0-or-later
"""What a watcher knows, on disk."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._watch.cursor import Cursor, file_name
from unit.plugins.module_utils._watch.test_watcher import Site, quiet_day


def test_one_at_a_time(tmp_path: Path) -> None:
    site = Site(tmp_path, quiet_day())
    with pytest.raises(AirflowError, match="is in use"):
        Cursor(str(tmp_path), "airflow.example")
    site.cursor.close()
    Cursor(str(tmp_path), "airflow.example").close()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', '{"format": 1}'])
def test_one_that_is_broken_is_not_begun_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    for _time in range(2):
        with pytest.raises(AirflowError, match="is not what was written there"):
            Cursor(str(tmp_path), "a")


def test_a_name_is_no_path(tmp_path: Path) -> None:
    cursor = Cursor(str(tmp_path), "../../etc/x")
    assert os.path.dirname(cursor.path) == str(tmp_path)
    cursor.close()


def test_names_that_differ_in_signs_have_files_of_their_own(tmp_path: Path) -> None:
    names = ["生产", "测试", "prod a", "prod_a", "a:8080", "a_8080", "..", "."]
    assert len({file_name(name) for name in names}) == len(names)
    assert file_name("airflow.example-1") == "airflow.example-1"
    cursors = [Cursor(str(tmp_path), name) for name in names]
    assert {os.path.dirname(cursor.path) for cursor in cursors} == {str(tmp_path)}
    for cursor in cursors:
        cursor.close()


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AirflowError, match="Set state_folder"):
        Cursor(str(tmp_path / "file"), "a")


@pytest.mark.parametrize("name", ["airflow.example", "生产", "prod a", "..x", "a:8080"])
def test_role_names_the_wake_file_alike(name: str) -> None:
    """By the very template of the role."""
    templating = pytest.importorskip("jinja2")
    role = Path(__file__).resolve().parents[5] / "roles/remediate/tasks/api_auth.yml"
    tasks = pytest.importorskip("yaml").safe_load(role.read_text())
    variables = next(task["vars"] for task in tasks if "remediate_file_name" in task.get("vars", {}))
    environment = templating.Environment(autoescape=False)
    environment.filters["regex_replace"] = lambda text, pattern, other: re.sub(pattern, other, text)
    environment.filters["hash"] = lambda text, kind: hashlib.new(kind, text.encode()).hexdigest()
    problem = {"api": name}
    plain = environment.from_string(variables["remediate_plain"]).render(remediate_problem=problem)
    shown = environment.from_string(variables["remediate_file_name"]).render(
        remediate_problem=problem, remediate_plain=plain
    )
    assert shown.strip() == file_name(name)

# SPDX-License-Identifier: GPL-3.0-or-later
"""The codes of diagnoses: those of the source are those of the documentation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.no_answer import _NO_ANSWER_CODES

ROOT = Path(__file__).resolve().parents[2]


def codes_in(path: Path) -> Iterator[str]:
    """The literal codes of each Diagnosis that a file makes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Diagnosis":
            assert node.args, f"{path}:{node.lineno} has no code"
            yield from (str(part.value) for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant))


def test_codes_are_documented() -> None:
    sources = [*(ROOT / "plugins").rglob("*.py"), *(ROOT / "extensions").rglob("*.py")]
    used = {code for path in sources for code in codes_in(path) if not code.isdigit()} | set(_NO_ANSWER_CODES.values())
    lines = re.findall(r"(?m)^\| `(\w+)` \|", (ROOT / "docs/diagnoses.md").read_text())
    assert len(lines) == len(set(lines))
    assert set(lines) == used
    assert all(re.fullmatch(r"[a-z][a-z0-9_]+", code) for code in used)


def test_roles_act_on_documented_codes() -> None:
    text = (ROOT / "roles/remediate/tasks/main.yml").read_text()
    assert "remedy" not in text
    documented = (ROOT / "docs/diagnoses.md").read_text()
    codes = [
        code for part in re.findall(r"remediate_code in\s*\[(.*?)\]", text) for code in re.findall(r"'(\w+)'", part)
    ]
    assert len(codes) > 5
    assert all(f"`{code}`" in documented for code in codes)


def test_each_code_has_a_test() -> None:
    """One that provokes it and names it, among the unit tests."""
    me = Path(__file__).resolve()
    texts = [path.read_text() for path in (ROOT / "tests/unit").rglob("test_*.py") if path != me]
    codes = re.findall(r"(?m)^\| `(\w+)` \|", (ROOT / "docs/diagnoses.md").read_text())
    assert [code for code in codes if not any(f'"{code}"' in text for text in texts)] == []

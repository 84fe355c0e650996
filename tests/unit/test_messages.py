# SPDX-License-Identifier: GPL-3.0-or-later
"""No message names an option that the module which shows it does not have, nor a remedy that cannot help its reader."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from unit.test_imports import FILES, ROOT, imported, imports

MODULES = ("airflow_api_auth", "airflow_api_auth_info", "airflow_config", "airflow_user")
# Words that are an option's name and nothing else, and phrases that name one.
NAMED = r"\b(?:Correct|with|with path or|Name (?:it )?with) (path|url|service|airflow_home)\b"


def options_of(module: str) -> set[str]:
    """Those of a module, from its documentation, which ansible-test holds against its argument spec."""
    source = (ROOT / f"plugins/modules/{module}.py").read_text()
    documented = yaml.safe_load(_assigned(source, "DOCUMENTATION"))
    found = set(documented["options"])
    for fragment in documented["extends_documentation_fragment"]:
        path = ROOT / f"plugins/doc_fragments/{fragment.rpartition('.')[2]}.py"
        text = next(
            node.value.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        )
        found |= set(yaml.safe_load(str(text)).get("options", {}))
    return found


def _assigned(source: str, name: str) -> str:
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            assert isinstance(node.value, ast.Constant)
            return str(node.value.value)
    raise AssertionError(name)


def reached_from(module: str) -> list[Path]:
    graph, source = imports(), (ROOT / f"plugins/modules/{module}.py").read_text()
    reached = set(imported(source, set(FILES)))
    while new := {used for name in reached for used in graph[name]} - reached:
        reached |= new
    return [ROOT / f"plugins/modules/{module}.py", *(FILES[name] for name in sorted(reached))]


def messages(path: Path) -> Iterator[tuple[int, str, set[str]]]:
    """Line and text of each string that a person may read, and the options under whose condition it stands."""

    def walk(node: ast.AST, conditions: frozenset[str]) -> Iterator[tuple[int, str, set[str]]]:
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "with_option":
            condition = node.args[0]
            assert isinstance(condition, ast.Constant)
            conditions |= {str(condition.value)}
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return  # a docstring
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in (
            "DOCUMENTATION",
            "EXAMPLES",
            "RETURN",
        ):
            return
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value, set(conditions)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, conditions)

    yield from walk(ast.parse(path.read_text()), frozenset())


@pytest.mark.parametrize("module", MODULES)
def test_messages_name_only_options_of_the_module(module: str) -> None:
    own = options_of(module)
    words = {option for other in MODULES for option in options_of(other) if "_" in option} - own
    wrong = []
    for path in reached_from(module):
        for line, text, conditions in messages(path):
            named = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", text)) & words | set(re.findall(NAMED, text)) - own
            about = {option for option in words if text.startswith(option)}  # a value that was given to it
            if named - conditions - about and not text.startswith("\nimport "):  # a program
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {', '.join(sorted(named))}: {text!r}")
    assert not wrong, "\n".join(wrong)


def test_only_who_is_not_root_is_told_to_become() -> None:
    files = [path for path in FILES.values() if path.name != "_errors.py"]
    found = [
        f"{path}:{line}" for path in files for line, text, _conditions in messages(path) if "become" in text.split()
    ]
    assert not [place for place in found if "_host/" in place or "_change/" in place or "_services/" in place], found

# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports go one way: each package of plugins/module_utils uses only those below it, and no two files use each other.

Imports inside functions, and imports for type checkers only, count as well.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path
from typing import TypeGuard

import pytest

ROOT = Path(__file__).resolve().parents[2]
UTILS = ROOT / "plugins/module_utils"
NAMESPACE = "ansible_collections.fleetops.airflow.plugins.module_utils"
# What uses the packages, and is itself used by none of them.
ENTRY_POINTS = [*(ROOT / "plugins/modules").glob("*.py"), *(ROOT / "extensions").rglob("*.py")]

# What all may use.
COMMON = {"_errors", "_record"}
# Package or single file -> what it uses beside COMMON.
USES = {
    "_errors": "",
    "_record": "",
    "_compile_once": "",
    # the host
    "_cfg": "",
    "_releases": "_cfg",
    "_host": "_cfg _releases",
    "_services": "_host",
    "_change": "_cfg _releases _host _services",
    "_users": "_cfg _host _change",
    # the API
    "_api": "",
    "_diagnosis": "_api",
    "_runs": "_api _diagnosis",
    "_watch": "_api _diagnosis",
    # between Ansible and the modules; asks _host for Airflow's interpreter, which has requests
    "_module": "_cfg _host",
}
HOST = {"_cfg", "_releases", "_host", "_services", "_change", "_users"}
API = {"_api", "_diagnosis", "_runs", "_watch"}
MOST_FLOORS = 8
MOST_LINES = 400
REASON = re.compile(r"(?m)^# More than 400 lines(?: of code)?, because \w+")


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(UTILS).with_suffix("").parts)


FILES = {name_of(path): path for path in sorted(UTILS.rglob("*.py")) if path.name != "__init__.py"}


def imported(source: str, known: set[str]) -> set[str]:
    """The files of module_utils that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            paths = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            paths = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for path in paths:
            name = path[len(NAMESPACE) + 1 :] if path.startswith(NAMESPACE + ".") else None
            while name and name not in known:  # a name in a file
                name = name.rpartition(".")[0]
            if path.startswith(NAMESPACE):
                assert name, f"{path} is none of our files"
                found.add(name)
    return found


def imports() -> dict[str, set[str]]:
    return {name: imported(path.read_text(), set(FILES)) for name, path in FILES.items()}


def package_of(name: str) -> str:
    return name.partition(".")[0]


def between_packages(files: dict[str, set[str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {package_of(name): set() for name in files}
    for name, targets in files.items():
        found[package_of(name)] |= {package_of(target) for target in targets} - {package_of(name)}
    return found


def all_below(name: str, uses: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(uses[name])
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += uses[one]
    return found


def drawn(text: str) -> dict[str, set[str]]:
    """The arrows of a Mermaid flowchart."""
    found: dict[str, set[str]] = {}
    for source, targets in re.findall(r"(?m)^ *(\w+) --> (.+)$", text):
        found.setdefault(source, set()).update(targets.split(" & "))
    return found


def floor_of(package: str, uses: dict[str, set[str]]) -> int:
    return 1 + max((floor_of(below, uses) for below in uses[package]), default=0)


def test_packages_use_what_the_table_allows() -> None:
    found = {package: " ".join(sorted(used - COMMON)) for package, used in between_packages(imports()).items()}
    assert found == {package: " ".join(sorted(used.split())) for package, used in USES.items()}


def test_picture_in_contributing_shows_the_imports() -> None:
    (picture,) = re.findall(r"(?s)```mermaid\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text())
    arrows = drawn(picture)
    modules = arrows.pop("modules")
    packages = {package: used - COMMON for package, used in between_packages(imports()).items()}
    assert arrows == {package: used for package, used in packages.items() if used}
    assert modules <= {package_of(name) for path in ENTRY_POINTS for name in imported(path.read_text(), set(FILES))}
    # Modules use nearly all of them: drawn is what no other package uses, at least.
    assert set(packages) == modules.union(*arrows.values()) | COMMON | {"_compile_once"}


def test_unit_tests_mirror_the_packages() -> None:
    tests = Path(__file__).parent / "plugins/module_utils"
    for path in tests.rglob("test_*.py"):
        package = path.relative_to(tests).parent
        subject = path.name[len("test_") :] if package.parts else path.name[len("test") :]
        assert (UTILS / package / subject).is_file(), path


def test_imports_have_no_circle() -> None:
    files = imports()
    assert [name for name in files if name in all_below(name, files)] == []


def test_host_and_api_share_only_errors() -> None:
    packages = between_packages(imports())
    host, api = (set().union(*(all_below(one, packages) | {one} for one in wing)) for wing in (HOST, API))
    assert host & api == {"_errors"}
    assert host | api | {"_module", "_compile_once"} == set(packages)


def test_packages_have_eight_floors_at_most() -> None:
    packages = between_packages(imports())
    modules = 1  # above all packages
    assert max(floor_of(package, packages) for package in packages) + modules <= MOST_FLOORS


@pytest.mark.parametrize("path", ENTRY_POINTS, ids=lambda path: str(path.stem))
def test_entry_points_import_files_that_exist(path: Path) -> None:
    imported(path.read_text(), set(FILES))


def test_imports_are_found_in_every_place() -> None:
    source = f"""
import {NAMESPACE}._cfg.text
from {NAMESPACE} import _errors, _cfg as other
def function():
    from {NAMESPACE}._host.proc import Process
if TYPE_CHECKING:
    from {NAMESPACE}._host import health
import os, re
"""
    known = {"_cfg.text", "_errors", "_cfg", "_host.proc", "_host.health"}
    assert imported(source, known) == known
    with pytest.raises(AssertionError, match="none of our files"):
        imported(f"from {NAMESPACE}._nothing import x", known)
    with pytest.raises(AssertionError, match="absolute"):
        imported("from . import x", known)


def is_documentation(node: ast.AST) -> TypeGuard[ast.stmt]:
    """Whether a statement is a docstring, or one of the texts from which ansible-doc makes a module's page."""
    if isinstance(node, ast.Assign):
        return getattr(node.targets[0], "id", None) in ("DOCUMENTATION", "EXAMPLES", "RETURN")
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def lines_of_code(source: str) -> int:
    """Lines that hold more than blanks, comments and documentation."""
    documentation: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if is_documentation(node):
            documentation.update(range(node.lineno, (node.end_lineno or 0) + 1))
    nothing = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in nothing:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - documentation)


def test_lines_of_code_leave_out_documentation() -> None:
    source = '''
# a comment
"""Of the module."""
DOCUMENTATION = r"""
module: x
"""
x = """
two
"""

def f():
    """Of it.

    More.
    """
    return 1  # and why
'''
    assert lines_of_code(source) == 5


@pytest.mark.parametrize("path", [*FILES.values(), *ENTRY_POINTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_file_is_short_or_gives_a_reason(path: Path) -> None:
    source = path.read_text()
    assert lines_of_code(source) <= MOST_LINES or REASON.search(source)

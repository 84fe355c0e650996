# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Python file assigns to a name, as far as that can be told without running the file. Pure."""

from __future__ import annotations

import ast

# Functions that can assign to any name.
_POWERFUL = ("exec", "eval", "globals", "locals", "vars", "setattr", "__import__", "import_module", "load_source")


def assigned_text(tree: ast.Module, name: str) -> str | None:
    """The text that the name has in the end. "" if it is not assigned. None if that cannot be told."""
    value: str | None = ""
    for statement in tree.body:
        if _is_plain(statement, name):
            value = _text(statement)
        elif _may_assign(statement, name):
            value = None
    return value


def _is_plain(statement: ast.stmt, name: str) -> bool:
    """Whether this is ``name = ...`` and nothing else."""
    if isinstance(statement, ast.AnnAssign):
        return statement.value is not None and _is_name(statement.target, name)
    return isinstance(statement, ast.Assign) and len(statement.targets) == 1 and _is_name(statement.targets[0], name)


def _text(statement: ast.stmt) -> str | None:
    value = getattr(statement, "value", None)
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _may_assign(statement: ast.stmt, name: str) -> bool:
    """Whether anything within the statement might: an assignment to it, an import of everything, or a call that can do
    whatever it likes.
    """
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load):
            return True
        if isinstance(node, ast.alias) and (node.name == "*" or (node.asname or node.name) == name):
            return True
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node.name == name:
            return True
        if isinstance(node, ast.Global) and name in node.names:
            return True
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, (ast.Name, ast.Attribute)):
            function = called.id if isinstance(called, ast.Name) else called.attr
            if function in _POWERFUL:
                return True
    return False

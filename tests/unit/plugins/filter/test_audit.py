# SPDX-License-Identifier: GPL-3.0-or-later
"""How hosts are judged and sorted, and what becomes of results that are not ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.filter.audit import audit
from ansible_collections.fleetops.airflow.plugins.plugin_utils._audit.findings import CODES, LEVELS

FINE: dict[str, Any] = {
    "airflow_version": "2.11.2",
    "open_to_everybody": False,
    "warnings_found": [],
    "server": {"health": "healthy"},
    "restart_pending": False,
    "restart_reason": None,
    "overridden_by": None,
}
OPEN = {**FINE, "open_to_everybody": True}


def judged(result: Any) -> dict[str, Any]:
    (row,) = audit({"host": result})
    return row


def codes(result: Any) -> list[str]:
    return [finding["code"] for finding in judged(result)["findings"]]


def test_the_most_dangerous_come_first_and_names_decide_between_equals() -> None:
    rows = audit(
        {
            "z-fine": FINE,
            "a-fine": FINE,
            "pending": {**FINE, "restart_pending": True, "restart_reason": "it is older"},
            "warned": {**FINE, "warnings_found": ["It is dangerous."]},
            "failed": {"failed": True, "msg": "No file."},
            "away": {"unreachable": True, "msg": "No route."},
            "open": {**OPEN, "warnings_found": ["Everybody."]},
        }
    )
    assert [row["host"] for row in rows] == ["open", "away", "failed", "warned", "pending", "a-fine", "z-fine"]
    assert [row["level"] for row in rows] == ["danger", "unknown", "unknown", "warning", "attention", "fine", "fine"]
    assert rows[0]["reasons"] == [
        "Any client that reaches the API server can read DAGs without credentials.",
        "Everybody.",
    ]
    assert rows[1]["reasons"] == ["The host is unreachable: No route."]
    assert rows[2]["reasons"] == ["The host could not be inspected: No file."]
    assert rows[4]["reasons"] == ["A restart is pending: it is older."]


def test_of_one_level_worse_and_more_findings_come_first_then_equal_ones_together() -> None:
    pending = {**FINE, "restart_pending": True}
    rows = audit(
        {
            "a": OPEN,
            "b": {**OPEN, "overridden_by": "A"},
            "c": {**OPEN, "warnings_found": ["x"]},
            "d": {**OPEN, "warnings_found": ["x", "y"]},
            "e": pending,
            "f": {**FINE, "overridden_by": "A"},
            "g": pending,
            "h": {**FINE, "server": None, "open_to_everybody": None},
        }
    )
    assert "".join(row["host"] for row in rows) == "dcbahfeg"


def test_names_are_sorted_as_people_count() -> None:
    names = ["web10", "web2", "web02", "web", "10", "9", "web2a", "w" + "9" * 5000]
    rows = audit(dict.fromkeys(names, FINE))
    assert [row["host"] for row in rows][:7] == [
        "9",
        "10",
        "w" + "9" * 999 + " (cut off)",
        "web",
        "web02",
        "web2",
        "web2a",
    ]


def test_findings_of_a_host_are_sorted_by_severity() -> None:
    result = {**OPEN, "overridden_by": "A", "restart_pending": True, "warnings_found": ["x"]}
    assert codes(result) == ["anonymous_access", "dangerous_setting", "overridden", "restart_pending"]
    assert list(CODES) == sorted(CODES, key=lambda code: LEVELS.index(CODES[code][0]))


@pytest.mark.parametrize(
    ("more", "expected", "level"),
    [
        ({}, [], "fine"),
        ({"open_to_everybody": None}, ["anonymous_access_unknown"], "unknown"),
        ({"open_to_everybody": None, "server": {"health": "down"}}, ["anonymous_access_unknown"], "unknown"),
        ({"open_to_everybody": None, "server": None}, ["no_server"], "attention"),
        ({"open_to_everybody": True, "server": None}, ["anonymous_access", "no_server"], "danger"),
        ({"server": {"health": "unhealthy"}}, ["not_healthy"], "attention"),
        ({"restart_pending": None}, ["restart_unknown"], "attention"),
        ({"overridden_by": "AIRFLOW__X"}, ["overridden"], "attention"),
    ],
)
def test_what_is_not_known_is_not_fine(more: dict[str, Any], expected: list[str], level: str) -> None:
    result = {**FINE, **more}
    assert (codes(result), judged(result)["level"]) == (expected, level)


def test_a_failure_that_the_play_ignores_is_one() -> None:
    """With failed_when, Ansible sets failed to false."""
    row = judged({"failed": False, "msg": "airflow.cfg is not a file.", "changed": False})
    assert row["reasons"] == ["The host could not be inspected: airflow.cfg is not a file."]


@pytest.mark.parametrize("result", [{}, None, [], "text", 1])
def test_a_host_that_was_not_asked_is_unknown(result: Any) -> None:
    assert codes(result) == ["not_inspected"]


WRONG: dict[str, list[Any]] = {
    "open_to_everybody": ["", "false", 0, [], {}, float("nan")],
    "airflow_version": [None, 3, ["2"]],
    "server": ["x", [], {}, {"health": None}, {"health": {}}],
    "warnings_found": [None, "", {}, [None], [["x"]]],
    "restart_pending": ["no", 0],
    "configured": ["x", [1], {"a": 1}],
    "in_force": ["x", [1], {"a": 1}],
    **{name: [1, ["x"]] for name in ("path", "overridden_by", "public_role", "source")},
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_result_with_a_value_of_another_type_is_unknown(name: str, value: Any) -> None:
    """It is not taken for fine, and the audit of the other hosts goes on."""
    rows = audit({"hostile": {**FINE, name: value}, "open": OPEN, "fine": FINE})
    assert [row["host"] for row in rows] == ["open", "hostile", "fine"]
    assert name in rows[1]["reasons"][0]
    assert rows[1]["airflow_version"] is None


@pytest.mark.parametrize("name", FINE)
def test_a_result_without_a_value_that_decides_is_unknown(name: str) -> None:
    result = {key: value for key, value in FINE.items() if key != name}
    assert codes(result) == ["not_inspected"]


def test_texts_are_plain_and_bounded() -> None:
    text = "a\x00b\x1b[31mc\u202ed\ud800e\U0001f600f\n\tg \ufdfd " + "x" * 5_000_000
    row = judged({**FINE, "warnings_found": [text] * 1000, "airflow_version": text, "configured": [text] * 1000})
    assert row["reasons"][0].startswith("a\\u0000b\\u001b[31mc\\u202ed\\ud800e\\U0001f600f g \\ufdfd xxx")
    assert row["reasons"][-1] == "and 950 more"
    assert len(json.dumps(row)) < 250_000
    json.dumps(row, ensure_ascii=False).encode()
    names = "Zürich, Łódź, 東京, Ελλάδα: 5 €"
    assert judged({**FINE, "warnings_found": [names]})["reasons"] == [names]

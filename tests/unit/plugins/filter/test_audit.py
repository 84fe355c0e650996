# SPDX-License-Identifier: GPL-3.0-or-later
"""How hosts are judged and sorted."""

from __future__ import annotations

from typing import Any

from ansible_collections.fleetops.airflow.plugins.filter.audit import LEVELS, audit

FINE: dict[str, Any] = {
    "airflow_version": "2.11.2",
    "open_to_everybody": False,
    "warnings_found": [],
    "server": {"health": "healthy"},
    "restart_pending": False,
    "restart_reason": None,
    "overridden_by": None,
}


def test_the_most_dangerous_come_first_and_names_decide_between_equals() -> None:
    told = audit(
        {
            "z-fine": FINE,
            "a-fine": FINE,
            "pending": {**FINE, "restart_pending": True, "restart_reason": "it is older"},
            "warned": {**FINE, "warnings_found": ["It is dangerous."]},
            "failed": {"failed": True, "msg": "No file."},
            "away": {"unreachable": True, "msg": "No route."},
            "open": {**FINE, "open_to_everybody": True, "warnings_found": ["Everybody."]},
        }
    )
    assert [row["host"] for row in told] == ["open", "away", "failed", "warned", "pending", "a-fine", "z-fine"]
    assert [row["level"] for row in told] == ["danger", "unknown", "unknown", "warning", "attention", "fine", "fine"]
    assert told[0]["reasons"][1] == "Everybody."
    assert told[1]["reasons"] == ["The host cannot be reached: No route."]
    assert told[2]["reasons"] == ["Nothing could be told of it: No file."]
    assert told[4]["reasons"] == ["A restart is pending: it is older."]


def test_what_cannot_be_told_is_not_fine() -> None:
    """Neither a host that was not asked, nor one without a server."""
    assert audit({"host": {}})[0]["level"] == "unknown"
    down = audit({"host": {**FINE, "open_to_everybody": None, "server": None, "overridden_by": "AIRFLOW__X"}})[0]
    assert down["level"] == "attention"
    assert down["reasons"] == [
        "No running server was found.",
        "AIRFLOW__X in the server's environment beats the file.",
    ]
    assert {row["level"] for row in audit({"host": {**FINE, "server": {"health": "down"}}})} < set(LEVELS)

# SPDX-License-Identifier: GPL-3.0-or-later
"""What has changed since an earlier audit, and which files are not one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.filter.audit_report import audit_report
from unit.plugins.filter.test_audit import FINE, OPEN

PENDING = {**FINE, "restart_pending": True, "restart_reason": "pid 1"}
WARNED = {**FINE, "warnings_found": ["It is so on Airflow 2.11.2."]}
DOWN = {**FINE, "server": None, "open_to_everybody": None, "restart_pending": None}
AWAY = {"unreachable": True, "msg": "No route."}
FAILED = {"failed": True, "msg": "No file."}
CHANGES = ("new", "resolved", "not_checked")


def compared(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The change of one host."""
    earlier = json.dumps(audit_report({"host": before}, "then"))
    (row,) = audit_report({"host": now}, "now", earlier)["hosts"]
    change: dict[str, Any] = row["change"]
    return change


@pytest.mark.parametrize(
    ("before", "now", "kind", "new", "resolved", "not_checked"),
    [
        (FINE, FINE, "same", [], [], []),
        (FINE, OPEN, "worse", ["anonymous_access"], [], []),
        (OPEN, FINE, "better", [], ["anonymous_access"], []),
        (OPEN, PENDING, "better", ["restart_pending"], ["anonymous_access"], []),
        (PENDING, {**PENDING, "restart_reason": "pid 2"}, "same", [], [], []),
        (WARNED, {**FINE, "warnings_found": ["It is so on Airflow 3.3.2."]}, "same", [], [], []),
        (WARNED, {**FINE, "warnings_found": ["Another."]}, "changed", ["dangerous_setting"], ["dangerous_setting"], []),
        (WARNED, {**WARNED, "overridden_by": "A"}, "worse", ["overridden"], [], []),
        ({**WARNED, "overridden_by": "A"}, WARNED, "better", [], ["overridden"], []),
        # A server that does not run has not become better.
        (OPEN, DOWN, "changed", ["no_server"], [], ["anonymous_access"]),
        (WARNED, {**DOWN, "warnings_found": []}, "changed", ["no_server"], [], ["dangerous_setting"]),
        (OPEN, {**FINE, "open_to_everybody": None}, "changed", ["anonymous_access_unknown"], [], ["anonymous_access"]),
        (PENDING, {**FINE, "restart_pending": None}, "changed", ["restart_unknown"], [], ["restart_pending"]),
        # Nor has one that cannot be asked, and one that could not be asked may have been as it is now.
        (OPEN, AWAY, "changed", [], [], ["anonymous_access"]),
        (FINE, AWAY, "worse", [], [], []),
        (AWAY, OPEN, "worse", [], [], []),
        (AWAY, FINE, "changed", [], [], []),
        (AWAY, AWAY, "same", [], [], []),
        (AWAY, FAILED, "changed", ["not_inspected"], ["unreachable"], []),
    ],
)
def test_what_changed(
    before: dict[str, Any],
    now: dict[str, Any],
    kind: str,
    new: list[str],
    resolved: list[str],
    not_checked: list[str],
) -> None:
    change = compared(before, now)
    found = [[finding["code"] for finding in change[name]] for name in CHANGES]
    assert [change["kind"], *found] == [kind, new, resolved, not_checked]
    assert change["since"] == "then"


def test_other_facts_that_changed() -> None:
    before = {**FINE, "in_force": None, "configured": ["a"], "public_role": "", "takes_passwords": True}
    now = {**FINE, "airflow_version": "3.3.2", "in_force": ["a"], "configured": ["b"], "takes_passwords": None}
    change = compared(before, now)
    assert change["facts"] == [
        {"name": "airflow_version", "before": "2.11.2", "after": "3.3.2"},
        {"name": "configured", "before": ["a"], "after": ["b"]},
    ]
    assert change["kind"] == "changed"


def test_without_an_earlier_report_nothing_is_compared() -> None:
    for previous in (None, ""):
        report = audit_report({"host": FINE}, "now", previous)
        assert (report["compared_with"], report["not_compared"]) == (None, None)
        assert report["hosts"][0]["change"] is None
        assert report["summary"] == "1 host: 1 fine."


def test_hosts_that_are_not_asked_are_compared_when_they_are_again() -> None:
    """As with --limit: the second audit asks a alone, the third asks all."""
    names = ["a", "b", "gone"]
    first = audit_report({"a": FINE, "b": OPEN, "gone": OPEN}, "1", None, names)
    second = audit_report({"a": FINE}, "2", json.dumps(first), ["a", "b"])
    assert [row["host"] for row in second["hosts"]] == ["a"]
    assert [(row["host"], row["level"], row["audited"]) for row in second["not_asked"]] == [("b", "danger", "1")]
    assert second["removed"] == [{"host": "gone", "level": "danger", "audited": "1"}]
    third = audit_report({"a": OPEN, "b": FINE, "c": FINE}, "3", json.dumps(second), ["a", "b", "c"])
    changes = {row["host"]: (row["change"]["kind"], row["change"]["since"]) for row in third["hosts"]}
    assert changes == {"a": ("worse", "2"), "b": ("better", "1"), "c": ("new", None)}
    assert (third["not_asked"], third["removed"]) == ([], [])
    assert third["summary"] == "3 hosts: 1 danger, 2 fine. Compared with the audit of 2: 1 worse, 1 better, 1 new."


GOOD = json.loads(json.dumps(audit_report({"host": OPEN}, "then")))
ROW = GOOD["hosts"][0]


@pytest.mark.parametrize(
    "text",
    [
        "not JSON",
        "[" * 100_000,
        "[]",
        "null",
        "{}",
        json.dumps({"hosts": [], "written": "then"}),
        json.dumps({**GOOD, "format": 2}),
        json.dumps({**GOOD, "hosts": {}}),
        json.dumps({**GOOD, "not_asked": None}),
        json.dumps({**GOOD, "written": 1}),
        *[
            json.dumps({**GOOD, "hosts": [row]})
            for row in (
                None,
                {},
                {**ROW, "host": 1},
                {**ROW, "level": "harmless"},
                {**ROW, "findings": None},
                {**ROW, "findings": [{"code": "x", "severity": "danger", "text": "x"}]},
                {**ROW, "findings": [{"code": "anonymous_access", "severity": "fine", "text": "x"}]},
                {**ROW, "findings": [{"code": [], "severity": "fine", "text": "x"}]},
                {**ROW, "open_to_everybody": "no"},
                {**ROW, "configured": 1},
            )
        ],
    ],
    ids=lambda text: text[:20],
)
def test_a_file_that_is_no_report_is_named_and_not_compared(text: str) -> None:
    report = audit_report({"host": FINE}, "now", text)
    assert report["compared_with"] is None
    assert report["not_compared"].startswith(("it is ", "the findings ", "the facts "))
    assert report["hosts"][0]["change"] is None
    assert "Not compared with the earlier file: " in report["summary"]


def test_a_report_is_compared_with_itself_after_a_round_trip() -> None:
    """Also texts that were cut off or made plain are the same then."""
    odd = {**WARNED, "configured": ["x" * 5000, "a\x00"] * 100, "warnings_found": ["\u202e<b>" * 2000]}
    assert compared(odd, odd)["kind"] == "same"

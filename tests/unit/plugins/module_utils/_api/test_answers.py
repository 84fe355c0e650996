# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose an answer is: what Airflow itself writes, and what others write that looks alike."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import (
    CallFailed,
    Doubt,
    clock_of,
    json_object,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._api.dialects import EXPERIMENTAL, V1, V2, Dialect
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Answer

DOCS = "https://airflow.apache.org/docs/apache-airflow/2.11.2/stable-rest-api-ref.html#section/Errors/AlreadyExists"
FLASK = "The server encountered an internal error and was unable to complete your request. Either the server is ..."
UNIQUE = {"reason": "Unique constraint violation", "statement": "hidden", "orig_error": "hidden"}


def failed(dialect: Dialect, status: int, document: Any, kind: str = "application/json") -> CallFailed:
    answer = Answer(status, {"Content-Type": kind}, json.dumps(document).encode())
    return CallFailed("POST", dialect.prefix + "/dags/load/dagRuns", answer=answer, dialect=dialect)


def v1(status: int, kind: str = DOCS, detail: str | None = None) -> CallFailed:
    document = {"detail": detail, "status": status, "title": "Title", "type": kind}
    return failed(V1, status, document, "application/problem+json")


@pytest.mark.parametrize(
    ("failure", "doubt"),
    [
        (v1(409), Doubt.NONE),
        (v1(500), Doubt.OVER),
        (v1(500, "about:blank", FLASK), Doubt.OVER),
        (failed(V2, 409, {"detail": UNIQUE}), Doubt.NONE),
        (failed(V2, 500, {"detail": {**UNIQUE, "reason": "Database error"}}), Doubt.OVER),
        (failed(V2, 422, {"detail": [{"loc": ["body", "conf"], "msg": "no", "type": "x"}]}), Doubt.NONE),
        (failed(V2, 404, {"detail": "The Dag with ID: `load` was not found"}), Doubt.NONE),
        (failed(EXPERIMENTAL, 400, {"error": "Run id x already exists for dag id load"}), Doubt.NONE),
    ],
)
def test_airflow_itself_has_answered(failure: CallFailed, doubt: Doubt) -> None:
    assert (failure.foreign, failure.doubt) == (False, doubt)
    assert failure.taken is (failure.status == 409 or failure.dialect is EXPERIMENTAL)


@pytest.mark.parametrize("status", [200, 408, 409, 499, 500, 502, 504])
@pytest.mark.parametrize(
    ("dialect", "document", "kind"),
    [
        (V1, {"title": "Gateway", "detail": "no", "type": "about:blank"}, "application/problem+json"),
        (
            V1,
            {"title": "Gateway", "detail": "no", "type": "https://gateway.example/problems/1"},
            "application/problem+json",
        ),
        (V1, {"title": "Gateway"}, "application/problem+json"),
        (V2, {"detail": "upstream"}, "application/json"),
        (V2, {"detail": {"reason": "upstream"}}, "application/json"),
        (V2, {"detail": "upstream", "title": "Gateway", "status": 500}, "application/json"),
        (EXPERIMENTAL, {"error": "upstream"}, "application/json"),
    ],
)
def test_what_others_may_have_answered_leaves_doubt(
    dialect: Dialect, document: dict[str, Any], kind: str, status: int
) -> None:
    failure = failed(dialect, status, document, kind)
    assert (failure.doubt, failure.taken, failure.missing) == (Doubt.OPEN, False, False)


@pytest.mark.parametrize(
    ("dialect", "document"),
    [
        (V1, {"title": "Not Found", "detail": "no", "type": "about:blank"}),
        (V2, {"detail": "no such upstream"}),
        (V2, {"detail": "Not Found"}),
        (V2, {"detail": "Dag not found", "code": 4}),
    ],
)
def test_404_of_others_says_nothing_of_a_dag(dialect: Dialect, document: dict[str, Any]) -> None:
    kind = "application/problem+json" if dialect is V1 else "application/json"
    assert not failed(dialect, 404, document, kind).missing


HOSTILE_DATES = [
    "Thu, 01 Jan 1001 00:00:00 +2359",
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Thu, 01 Jan 1001 00:00:00 GMT",
    "Sat, 00 Jan 0000 00:00:00 GMT",
    "Fri, 27 Nov 2026 07:00:00 +99999999999999",
    "Fri, 27 Nov 99999999999 07:00:00 GMT",
    "\xb2",
    "",
]


@pytest.mark.parametrize("date", HOSTILE_DATES)
def test_date_that_no_clock_shows(date: str) -> None:
    answer = Answer(503, {"Date": date, "Retry-After": date}, b"")
    assert (clock_of(answer), answer.retry_after) == (None, None)


@pytest.mark.parametrize("zone", ["GMT", "-0000", "+0000"])
def test_date_without_a_zone_is_one_of_utc(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        shown = clock_of(Answer(200, {"Date": f"Fri, 27 Nov 2026 07:00:00 {zone}"}, b""))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert shown == datetime(2026, 11, 27, 7, tzinfo=timezone.utc)


@pytest.mark.parametrize("body", [b"[" * 200000, b'{"a":' * 200000, b"1" * 10000, b"\xff", b""])
def test_body_that_is_hard_to_read_is_no_document(body: bytes) -> None:
    answer = Answer(200, {"Content-Type": "application/json"}, body)
    assert (answer.document, json_object(answer)) == (None, None)

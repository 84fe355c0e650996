# SPDX-License-Identifier: GPL-3.0-or-later
"""What airflow_api_info returns of a DAG."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api.auth import (
    BasicLogin,
    Logins,
    NoLogin,
    TokenLogin,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Http
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.examination import examine
from unit.plugins.scripted_server import Request, Server, as_json, http, problem

HEALTH = {"metadatabase": {"status": "healthy"}, "scheduler": {"status": "healthy"}}


@pytest.mark.parametrize(
    ("dag", "code"),
    [
        ({"is_active": False}, "dag_stale"),
        ({"is_active": False, "has_import_errors": True}, "dag_import_error"),
        ({"is_active": True}, "dag_not_found"),  # it has gone between the two requests
        (None, "dag_not_found"),
    ],
)
def test_dag_whose_file_is_gone(server: Server, dag: dict[str, Any] | None, code: str) -> None:
    """As Airflow 2.11 answers: it shows the DAG, and answers 404 to a trigger."""
    pages = {"/version": {"version": "2.11.2"}, "/health": HEALTH, "/dags": {"dags": []}}
    pages["/importErrors"] = {"import_errors": [], "total_entries": 0}
    if dag is not None:
        pages["/dags/load"] = {"dag_id": "load", "is_paused": False, **dag}

    def answered(request: Request) -> bytes:
        path = request.target.partition("?")[0]
        if request.method == "GET" and path.startswith("/api/v1") and path[len("/api/v1") :] in pages:
            return as_json(pages[path[len("/api/v1") :]])
        return problem(404, detail="DAG with dag_id: 'load' not found")

    server.otherwise = answered
    found = examine(Api(Http(server.url, NoLogin())), "load")
    assert found["dag"]["exists"] is (dag is not None)
    assert found["diagnosis"]["code"] == code
    assert found["diagnosis"]["http_status"] == 404


@pytest.mark.parametrize(
    ("answer", "accepted", "code"),
    [
        (as_json({"detail": "Invalid credentials"}, 401), False, "wrong_credentials"),
        (http(403, "<title>Sign in</title>", "text/html"), None, "rejected_by_gateway"),
        (http(502, "", None), None, "server_unavailable"),
        (b"", None, "connection_dropped"),
        (as_json({"detail": "Method Not Allowed"}, 405), None, "no_password_login"),
    ],
)
def test_only_airflow_itself_rejects_a_login(server: Server, answer: bytes, accepted: bool | None, code: str) -> None:
    def answered(request: Request) -> bytes:
        if request.target == "/auth/token":
            return answer
        pages = {"/api/v2/version": {"version": "3.3.2"}, "/api/v2/monitor/health": HEALTH}
        if request.target in pages:
            return as_json(pages[request.target])
        return as_json({"detail": "Not authenticated"}, 401)

    server.otherwise = answered
    anonymous = Http(server.url, NoLogin())
    basic = BasicLogin("ada", "pw")
    found = examine(Api(anonymous, Logins(basic, TokenLogin(anonymous, "ada", "pw"), "ada", basic)), None)
    assert (found["login_accepted"], found["diagnosis"]["code"]) == (accepted, code)
    assert found["health"] == {"metadatabase": "healthy", "scheduler": "healthy"}
    assert found["anonymous"] is False

# SPDX-License-Identifier: GPL-3.0-or-later
"""What airflow_api_info returns of a DAG."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api.auth import NoLogin
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Http
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.examination import examine
from unit.plugins.scripted_server import Request, Server, as_json, problem

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

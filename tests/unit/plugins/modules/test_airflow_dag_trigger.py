# SPDX-License-Identifier: GPL-3.0-or-later
"""What airflow_dag_trigger returns of many runs: for each what is true of that run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.modules.airflow_dag_trigger import many
from unit.plugins.module_utils._runs.test_trigger import OPTIONS
from unit.plugins.scripted_server import Request, Server, as_json, problem

API: dict[str, Any] = {
    "username": "ada",
    "password": "right",
    "token": None,
    "kerberos": False,
    "kerberos_hostname": None,
    "headers": None,
    "timeout": 5.0,
    "validate_certs": True,
    "ca_path": None,
    "client_cert": None,
    "client_key": None,
    "api_version": "v1",
}


def outcomes_of(server: Server, *confs: dict[str, Any]) -> list[dict[str, Any]]:
    runs = [{"dag_id": "load", "run_id": None, "conf": conf, "logical_date": None, "note": None} for conf in confs]
    with pytest.raises(AirflowError) as caught:
        many({**OPTIONS, **API, "url": server.url, "dag_id": None, "runs": runs}, check_mode=False)
    found: list[dict[str, Any]] = caught.value.details["outcomes"]
    return found


def test_each_run_that_is_refused_has_its_own_reason(server: Server) -> None:
    def refused(request: Request) -> bytes:
        if request.method == "GET":
            return as_json({"is_paused": False, "scheduler": {"status": "healthy"}})
        (param,) = json.loads(request.body)["conf"]
        return problem(400, detail=f"Invalid input for param {param}: it is not of type 'integer'")

    server.otherwise = refused
    found = outcomes_of(server, {"first": "x"}, {"second": "x"}, {"first": "y"})
    causes = [outcome["diagnosis"]["cause"] for outcome in found]
    assert ["param first" in cause for cause in causes] == [True, False, True]
    assert "param second" in causes[1]


def test_what_is_refused_for_all_is_explained_once(server: Server) -> None:
    def refused(request: Request) -> bytes:
        return as_json({"scheduler": {"status": "healthy"}}) if request.target.endswith("/health") else problem(401)

    server.otherwise = refused
    found = outcomes_of(server, *[{}] * 5)
    assert len({outcome["diagnosis"]["cause"] for outcome in found}) == 1
    assert [request.target for request in server.requests].count("/login/") == 1

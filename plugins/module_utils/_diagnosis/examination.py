# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a server, a login and a DAG as a trigger would meet them, without a trigger."""

from __future__ import annotations

import contextlib
from typing import Any

from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.auth import NOBODY
from ansible_collections.fleetops.airflow.plugins.module_utils._api.calls import identify
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.dialects import DIALECTS
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Http, TransportError
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.findings import explain
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import Diagnosis
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.runs import (
    import_error,
    no_manual_runs,
    paused_dag,
    stale_dag,
)


def examine(api: Api, dag_id: str | None) -> dict[str, Any]:
    """The result of airflow_api_info. Nothing of it raises: what went wrong is in ``diagnosis``."""
    found: dict[str, Any] = {
        "reachable": False,
        "release": None,
        "generation": None,
        "health": {},
        "running_task": None,
        "anonymous": None,
        "login_accepted": None,
        "dag": None,
        "diagnosis": None,
    }
    why = _examine(api.without_retries(), dag_id, found)
    found["diagnosis"] = why and why._asdict()
    return found


def _examine(api: Api, dag_id: str | None, found: dict[str, Any]) -> Diagnosis | None:
    """Fill in what can be found out, and return why no more can."""
    try:
        server = identify(api.anonymous)
    except TransportError as trouble:
        failure = CallFailed("GET", "/api/v2/version", trouble=trouble, dialect=api.dialect)
        return explain(api, None, failure)
    found.update(generation=server.generation, release=server.release)
    if server.generation is not None:
        found["reachable"] = True
        api = Api(api.anonymous, api.logins, DIALECTS[server.generation], retry_policy=api.retry_policy)
    try:
        found["health"] = _health(api)
        if server.generation is not None:
            found["anonymous"] = _is_open(api.anonymous, api.login_check_path())
    except CallFailed as failure:
        return explain(api, None, failure)
    try:
        api.verify_login()
        # Where everybody is let in, whether this login is a good one does not show.
        found["login_accepted"] = None if api.logins is NOBODY or found["anonymous"] else True
    except CallFailed as failure:
        refused = not failure.foreign and (failure.status == 401 or (failure.at_login and failure.answer is not None))
        found["login_accepted"] = False if refused and api.logins is not NOBODY else None
        return explain(api, dag_id, failure)
    if found["health"].get("scheduler") == "unhealthy" and api.dialect.has_tasks:
        with contextlib.suppress(CallFailed):
            found["running_task"] = api.running_task()
    return _examine_dag(api, dag_id, found) if dag_id else None


def _examine_dag(api: Api, dag_id: str, found: dict[str, Any]) -> Diagnosis | None:
    dag: dict[str, Any] = {
        "dag_id": dag_id,
        "exists": None,
        "is_paused": None,
        "has_import_errors": None,
        "is_stale": None,
        "allows_manual_runs": None,
    }
    found["dag"] = {**dag, "may_trigger": None}
    try:
        seen = api.dag(dag_id)
    except CallFailed as failure:
        if failure.missing:
            found["dag"]["exists"] = False
        return explain(api, dag_id, failure)
    found["dag"].update(seen._asdict(), exists=True)
    try:
        if api.check_create_run(dag_id):
            found["dag"]["may_trigger"] = True
    except CallFailed as failure:
        if failure.status == 403:
            found["dag"]["may_trigger"] = False
        return explain(api, dag_id, failure)
    if seen.has_import_errors:
        return import_error(dag_id)
    if seen.is_stale:
        return stale_dag(dag_id)
    if not seen.allows_manual_runs:
        return no_manual_runs(dag_id)
    return paused_dag(dag_id) if seen.is_paused else None


def _health(api: Api) -> dict[str, str | None]:
    """The health page, which takes no login: with a wrong one it could not be read on Airflow 3."""
    try:
        return api.inspect_health()[0]
    except CallFailed as failure:
        if failure.answer is None or api.logins is NOBODY:
            raise
    return api.health()  # something in front may want one


def _is_open(anonymous: Http, path: str) -> bool | None:
    """Whether an anonymous client may do what takes a login."""
    try:
        answer = anonymous.send("GET", path)
    except TransportError:
        return None
    if answer.status == 200 and answer.document is not None:
        return True
    return False if answer.status in (401, 403) else None

# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look further after a call that failed, for what its answer does not tell.

Nothing here changes anything in Airflow, but for the count of logins that Airflow keeps for each user: the
web interface's login form is tried once. The password goes to the host that it was for, and to no other.
"""

from __future__ import annotations

from typing import Sequence

from ansible_collections.fleetops.airflow.plugins.module_utils._api import (
    Api,
    CallFailed,
    Server,
    identify,
    is_missing,
    problem_of,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._auth import BasicLogin, NoLogin
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis import (
    Diagnosis,
    Observed,
    diagnose,
    login_shows,
    refused_ticket,
    release_of,
    tells_by_itself,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._http import Http, NoAnswer
from ansible_collections.fleetops.airflow.plugins.module_utils._kerberos_login import KerberosLogin


def explain(api: Api, dag_id: str, failure: CallFailed, private: Sequence[str] = ()) -> Diagnosis:
    """Why a call about this DAG failed. ``private``: texts that must not be repeated from an answer."""
    username = api.login.username if isinstance(api.login, BasicLogin) else None
    seen = Observed(api.http.base, dag_id, username, failure, private=private)
    answer = failure.answer
    if answer is None or 300 <= answer.status < 400:
        return diagnose(seen)
    if isinstance(api.login, KerberosLogin):
        refused = refused_ticket(seen, api.login.service)
        if refused:
            return refused
    if problem_of(answer) is None:
        return diagnose(seen._replace(server=_identified(api.http)))
    if is_missing(answer):
        return diagnose(seen._replace(import_errors=_import_errors(api)))
    if answer.status in (401, 403):
        seen = seen._replace(server=Server("v1", release_of(answer)))
        return diagnose(_compared(api, seen))
    return diagnose(seen)


def _compared(api: Api, seen: Observed) -> Observed:
    """The refused call beside the same one by a stranger, and by the same user in a web session."""
    path = seen.failure.path if seen.failure.method == "GET" else api.dag_path(seen.dag_id)
    seen = seen._replace(
        stranger=_status(api.http.with_login(NoLogin()), path),
        known=seen.failure.status if seen.failure.path == path else _status(api.http, path),
    )
    if not isinstance(api.login, BasicLogin) or tells_by_itself(seen) or login_shows(seen):
        return seen
    login = api.login.try_form(api.http)
    if not login.accepted or login.session is None:
        return seen._replace(form=login.accepted, form_trouble=login.why_not or None)
    return seen._replace(
        form=True,
        may_read=_may_read(login.session, path),
        may_trigger=_may_trigger(api.impatient(login.session), seen.dag_id),
    )


def _may_read(session: Http, path: str) -> bool | None:
    """Whether the user of a web session may; None where the API takes no web sessions."""
    return {200: True, 404: True, 403: False}.get(_status(session, path) or 0)


def _may_trigger(api: Api, dag_id: str) -> bool | None:
    try:
        api.check_create_run(dag_id)
    except CallFailed as failure:
        return {404: True, 403: False}.get(failure.status or 0)
    return True


def _status(http: Http, path: str) -> int | None:
    try:
        return http.send("GET", path).status
    except NoAnswer:
        return None


def _identified(http: Http) -> Server | None:
    try:
        return identify(http)
    except NoAnswer:
        return None


def _import_errors(api: Api) -> list[str] | None:
    try:
        return api.impatient().import_errors()
    except CallFailed:
        return None

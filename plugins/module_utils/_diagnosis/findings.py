# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look further after a call that failed, for what its answer does not tell.

Nothing here changes anything in Airflow, but for the count of logins that Airflow keeps for each user: the
web interface's login form is tried once. The password goes to the host that it was for, and to no other.
"""

from __future__ import annotations

import re
from typing import Sequence
from urllib.parse import urlsplit

from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.auth import NOBODY, NoToken
from ansible_collections.fleetops.airflow.plugins.module_utils._api.calls import identify
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Answer, Http, TransportError, split_url
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import Dag, Server
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.calls import diagnose
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import Diagnosis, Observed, error
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.refusals_kerberos import refused_ticket
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.refusals_v1 import (
    login_shows,
    release_of,
    tells_by_itself,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError


def failed(api: Api, dag_id: str | None, failure: CallFailed, what: str) -> AirflowError:
    """The error of a module whose call about this DAG failed. ``what`` is what has not come about."""
    return error(f"{what} at {api.base}", explain(api, dag_id, failure), changed=False)


def explain(api: Api, dag_id: str | None, failure: CallFailed, private: Sequence[str] = ()) -> Diagnosis:
    """Why a call about this DAG, or about none in particular, failed.

    ``private``: texts that must not be repeated from an answer.
    """
    logins = api.logins
    has_token = not (logins is NOBODY or logins.username or logins.service)
    seen = Observed(
        api.base,
        dag_id,
        logins.username,
        failure,
        has_token=has_token,
        private=private,
        tried=api.retry_policy().seconds,
        blank_in_password=logins.form is not None and logins.form.has_blank_at_an_end,
    )
    answer = failure.answer
    if answer is None or 300 <= answer.status < 400:
        return diagnose(seen)
    if logins.service:
        refused = refused_ticket(seen, logins.service)
        if refused:
            return refused
    if answer.status >= 500 and not answer.passing:
        seen = seen._replace(health=_health(api))
    if failure.foreign and failure.at_login:
        seen = seen._replace(base_path=_base_path(api.anonymous))
    if failure.foreign:
        server = _identified(api.anonymous)
        if api.has_answered and (server is None or server.generation is None):  # it is there, and is hard to reach
            server = Server(api.dialect.generation, None)
        return diagnose(seen._replace(server=server))
    if failure.missing:
        # Airflow 2 goes on showing a DAG whose file is gone, and answers 404 to a trigger of it.
        dag = _shown(api, dag_id) if dag_id and failure.method != "GET" else None
        return diagnose(seen._replace(import_errors=_import_errors(api), dag=dag))
    if answer.status not in (401, 403):
        return diagnose(seen)
    return diagnose(_INSPECT_FURTHER[failure.dialect.generation](api, seen, answer))


def _inspect_further_v2(api: Api, seen: Observed, _answer: Answer) -> Observed:
    """Airflow 3 says clearly what it refuses; only its release is not told."""
    return seen._replace(server=_identified(api.anonymous))


def _inspect_further_experimental(api: Api, seen: Observed, _answer: Answer) -> Observed:
    """What an anonymous client is answered shows which backend is in force."""
    return seen._replace(server=Server("experimental", None), anonymous=_status(api.anonymous, seen.failure.path))


def _inspect_further_v1(api: Api, seen: Observed, answer: Answer) -> Observed:
    """The refused call beside the same one by an anonymous client, and by the same user in a web session."""
    path = seen.failure.path
    if seen.failure.method != "GET":
        path = api.login_check_path() if seen.dag_id is None else api.dag_path(seen.dag_id)
    seen = seen._replace(
        server=Server("v1", release_of(answer)),
        anonymous=_status(api.anonymous, path),
        known=seen.failure.status if seen.failure.path == path else _status(api.http, path),
    )
    if api.logins.form is None or tells_by_itself(seen) or login_shows(seen):
        return seen
    login = api.logins.form.try_form(api.anonymous)
    if not login.accepted or login.session is None:
        return seen._replace(form=login.accepted, form_trouble=login.why_not or None)
    seen = seen._replace(form=True, may_read=_may_read(login.session, path))
    if seen.dag_id is None:  # what was sent by POST was a question too
        return seen._replace(may_trigger=seen.may_read)
    return seen._replace(may_trigger=_may_trigger(api.without_retries(NOBODY, login.session), seen.dag_id))


_INSPECT_FURTHER = {"v1": _inspect_further_v1, "v2": _inspect_further_v2, "experimental": _inspect_further_experimental}


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
    except (TransportError, NoToken):
        return None


def _identified(anonymous: Http) -> Server | None:
    try:
        return identify(anonymous)
    except TransportError:
        return None


def _base_path(anonymous: Http) -> str | None:
    """The path below which Airflow 3 says that everything is, if url has another: some calls work without it."""
    try:
        page = anonymous.send("GET", "/", headers={"Accept": "text/html"})
    except TransportError:
        return None
    found = re.search(r'<base href="([^"]*)"', page.text)
    path = split_url(found.group(1)).path.rstrip("/") if found else ""
    return path if path and path != urlsplit(anonymous.base).path else None


def _health(api: Api) -> dict[str, str | None]:
    try:
        return api.without_retries().inspect_health()[0]
    except CallFailed:
        return {}


def _shown(api: Api, dag_id: str) -> Dag | None:
    try:
        return api.without_retries().dag(dag_id)
    except CallFailed:
        return None


def _import_errors(api: Api) -> list[str] | None:
    try:
        return api.without_retries().import_errors()
    except CallFailed:
        return None

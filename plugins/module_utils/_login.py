# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server takes a username and a password, tried with real requests from its own host."""

from __future__ import annotations

import base64
import json

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._health import (
    VERIFIED,
    Answer,
    Tls,
    Unreachable,
    describe,
    get,
    request,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import Era

_TIMEOUT = 30.0  # seconds for each wait on the network


def refused_login(era: Era, base_url: str, login: tuple[str, str], tls: Tls = VERIFIED) -> str | None:
    """Why a username and a password are not good for this server, as a sentence. None if they are.

    :raises AirflowError: if the answers say nothing about the login.
    """
    username, password = login
    # In UTF-8, which Airflow expects.
    credentials = "Basic " + base64.b64encode(":".join(login).encode("utf-8")).decode("ascii")
    try:
        if era.token_path:
            url = base_url + era.token_path
            body = json.dumps({"username": username, "password": password}).encode("utf-8")
            answer = request("POST", url, _TIMEOUT, tls, {"Content-Type": "application/json"}, body)
            token = _token(answer)
            if token is None:
                return _judged(answer, False, url, username, "the user does not exist, or the password is wrong")
            credentials = "Bearer " + token
        url = base_url + era.login_path
        answer = get(url, _TIMEOUT, tls, {"Authorization": credentials})
    except Unreachable as error:
        raise AirflowError("The login of %s cannot be tried at %s: %s." % (username, url, error)) from None
    causes = "the user's role may not read DAGs"
    if not era.token_path:
        causes = "the user does not exist, the password is wrong, or " + causes
    return _judged(answer, answer.status == 200 and "json" in answer.content_type, url, username, causes)


def open_to_everybody(era: Era, base_url: str, tls: Tls = VERIFIED) -> bool | None:
    """Whether a request without credentials may read DAGs. None if the answer does not tell."""
    try:
        answer = get(base_url + era.login_path, _TIMEOUT, tls)
    except Unreachable:
        return None
    if answer.status in (401, 403):
        return False
    return True if answer.status == 200 and "json" in answer.content_type else None


def _token(answer: Answer) -> str | None:
    if answer.status != 201:
        return None
    try:
        document = json.loads(answer.body)
    except ValueError:
        return None
    token = document.get("access_token") if isinstance(document, dict) else None
    return token if isinstance(token, str) else None


def _judged(answer: Answer, accepted: bool, url: str, username: str, causes: str) -> str | None:
    if answer.status in (401, 403):
        return "%s refuses the login of %s (HTTP %d): %s." % (url, username, answer.status, causes)
    if not accepted:
        raise AirflowError("The login of %s cannot be proved: %s answers %s." % (username, url, describe(answer)))
    return None

# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server takes a username and a password, tried with real requests from its own host."""

from __future__ import annotations

import base64
import json
import os

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.health import (
    VERIFIED,
    Answer,
    Tls,
    Unreachable,
    describe,
    get,
    request,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import VersionFamily

_JSON = {"Content-Type": "application/json"}
_TIMEOUT = 30.0  # seconds for each wait on the network


def refused_login(family: VersionFamily, base_url: str, login: tuple[str, str], tls: Tls = VERIFIED) -> str | None:
    """Why a username and a password are not good for this server, as a sentence. None if they are.

    That a request with them is accepted shows it only if the same request without them is not.

    :raises AirflowError: if the answers say nothing about the login.
    """
    username = login[0]
    url = base_url + (family.token_path or family.login_path)
    try:
        credentials = _credentials(family, base_url, login, tls)
        if isinstance(credentials, Answer):
            return _judged(credentials, False, url, username, "the user does not exist, or the password is wrong")
        url = base_url + family.login_path
        answer = get(url, _TIMEOUT, tls, {"Authorization": credentials})
    except Unreachable as error:
        raise AirflowError("The login of %s cannot be tried at %s: %s." % (username, url, error)) from None
    causes = "the user's role may not read DAGs"
    if not family.token_path:
        causes = "the user does not exist, the password is wrong, or " + causes
    refused = _judged(answer, answer.status == 200 and "json" in answer.content_type, url, username, causes)
    if refused is not None:
        return refused
    if not family.token_path:
        anonymous, seen = _anonymously(family, base_url, tls)
        if anonymous is None:
            raise AirflowError(
                "The login of %s cannot be verified at %s: the same request without credentials is not rejected as "
                "Airflow rejects it (%s), so its acceptance shows nothing. Give as url the server's own address, "
                "without a proxy." % (username, url, seen)
            )
    else:
        anonymous = accepts_anybody(family, base_url, tls)
    if anonymous:
        raise AirflowError(
            "The login of %s cannot be verified at %s: the server accepts the same request without credentials "
            "(anonymous access). Remove the public role, or the option that makes everybody an admin, from its "
            "configuration." % (username, url)
        )
    return None


def accepts_anybody(family: VersionFamily, base_url: str, tls: Tls = VERIFIED) -> bool:
    """Whether requests are accepted whoever sends them, so that none of them shows whether a login is right.

    Where a password is exchanged for a token, that is so if tokens are given without a password. Otherwise it is so
    unless a request without credentials is known to be rejected.
    """
    if not family.token_path:
        return open_to_everybody(family, base_url, tls) is not False
    try:
        return _token(get(base_url + family.token_path, _TIMEOUT, tls)) is not None
    except Unreachable:
        return True


def may_trigger(family: VersionFamily, base_url: str, login: tuple[str, str], tls: Tls = VERIFIED) -> bool:
    """Whether this login is good for triggering DAGs: it is asked to trigger one that does not exist.

    False where it is not, and where that cannot be told.
    """
    nowhere = "fleetops-nowhere-%s" % os.urandom(8).hex()
    url = base_url + family.trigger_path % nowhere
    try:
        credentials = _credentials(family, base_url, login, tls)
        if isinstance(credentials, Answer):
            return False
        headers = {"Authorization": credentials, **_JSON}
        answer = request("POST", url, _TIMEOUT, tls, headers, json.dumps(family.trigger_body).encode("ascii"))
    except Unreachable:
        return False
    # Another 404 than that of this DAG would say nothing about the user.
    return (
        answer.status == 404 and nowhere.encode("ascii") in answer.body and not accepts_anybody(family, base_url, tls)
    )


def _credentials(family: VersionFamily, base_url: str, login: tuple[str, str], tls: Tls) -> str | Answer:
    """What the header Authorization has to say, or the answer that refused a token.

    :raises Unreachable: if there is no answer.
    """
    if not family.token_path:
        # In UTF-8, which Airflow expects.
        return "Basic " + base64.b64encode(":".join(login).encode("utf-8")).decode("ascii")
    body = json.dumps({"username": login[0], "password": login[1]}).encode("utf-8")
    answer = request("POST", base_url + family.token_path, _TIMEOUT, tls, _JSON, body)
    token = _token(answer)
    return "Bearer " + token if token else answer


def open_to_everybody(family: VersionFamily, base_url: str, tls: Tls = VERIFIED) -> bool | None:
    """Whether a request without credentials may read DAGs. None if the answer does not tell."""
    return _anonymously(family, base_url, tls)[0]


def _anonymously(family: VersionFamily, base_url: str, tls: Tls) -> tuple[bool | None, str]:
    """The same, with the answer in a few words."""
    try:
        answer = get(base_url + family.login_path, _TIMEOUT, tls)
    except Unreachable as error:
        return None, str(error)
    if answer.status in (401, 403):
        return False, describe(answer)
    return (True if answer.status == 200 and "json" in answer.content_type else None), describe(answer)


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

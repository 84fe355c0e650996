# SPDX-License-Identifier: GPL-3.0-or-later
"""Small GET requests from a managed host to its own Airflow, with the standard library alone.

A host's Python often has no ``requests``, and importing it costs more than the request does.
"""

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

_MOST_BYTES = 1 << 20


class Tls(NamedTuple):
    """How a server's certificate is checked: not at all, against the system's authorities, or against a file's."""

    validate: bool = True
    ca_path: str | None = None


VERIFIED = Tls()


class Answer(NamedTuple):
    status: int
    content_type: str
    body: bytes
    location: str


class Unreachable(AirflowError):
    """There was no whole answer; the message says what came instead."""


class Health(NamedTuple):
    """``state`` is one of healthy, unhealthy (Airflow says so), down (no answer yet) and foreign (not Airflow)."""

    state: str
    detail: str


def check_url(url: str) -> None:
    """:raises AirflowError: if this is no URL that a request can be sent to, or one with a password in it."""
    parts = urlsplit(url)
    try:
        number: int | None = parts.port
    except ValueError:
        number = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or number == -1:
        raise AirflowError("url %r is no http:// or https:// URL with a host." % url)
    if parts.username or parts.password:
        raise AirflowError("url holds a username or a password. Give them as username and password.")


def get(url: str, timeout: float, tls: Tls = VERIFIED, login: tuple[str, str] | None = None) -> Answer:
    """GET ``url`` without following redirects.

    :param timeout: seconds for each wait on the network.
    :param login: username and password, sent as Basic authentication in UTF-8, which Airflow expects.
    :raises Unreachable: if there is no whole HTTP answer.
    """
    import http.client

    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=_context(tls))
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout)
    headers = {"Accept": "application/json", "Connection": "close"}
    if login:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode("utf-8")).decode("ascii")
    try:
        connection.request("GET", parts.path + ("?" + parts.query if parts.query else ""), headers=headers)
        response = connection.getresponse()
        body = response.read(_MOST_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable("%s: %s" % (type(error).__name__, error) if str(error) else type(error).__name__) from None
    finally:
        connection.close()
    return Answer(response.status, response.getheader("Content-Type") or "", body, response.getheader("Location") or "")


def _context(tls: Tls) -> Any:
    import ssl

    try:
        context = ssl.create_default_context(cafile=tls.ca_path)
    except ssl.SSLError as error:
        raise AirflowError("%s holds no certificates that can be used: %s." % (tls.ca_path, error)) from None
    if not tls.validate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def ask_health(url: str, timeout: float, tls: Tls = VERIFIED) -> Health:
    """What Airflow's health endpoint at ``url`` says. Airflow answers 200 whatever its state; the body tells."""
    try:
        answer = get(url, timeout, tls)
    except Unreachable as error:
        return Health("down", str(error))
    if answer.status in (502, 503, 504):
        return Health("down", "HTTP %d" % answer.status)
    status = _metadatabase_status(answer.body)
    if answer.status == 200 and status is not None:
        return Health("healthy" if status == "healthy" else "unhealthy", "metadatabase: %s" % status)
    return Health("foreign", describe(answer))


def refused_login(url: str, login: tuple[str, str], tls: Tls = VERIFIED) -> str | None:
    """Why a login is not good for ``url``, as a sentence. None if it is.

    :raises AirflowError: if the answer says nothing about the login.
    """
    try:
        answer = get(url, 30.0, tls, login)
    except Unreachable as error:
        raise AirflowError("The login of %s cannot be tried at %s: %s." % (login[0], url, error)) from None
    if answer.status in (401, 403):
        return (
            "%s refuses the login of %s (HTTP %d): the user does not exist, the password is wrong, or the user's role "
            "may not read DAGs." % (url, login[0], answer.status)
        )
    if answer.status != 200 or "json" not in answer.content_type:
        raise AirflowError("The login of %s cannot be proved: %s answers %s." % (login[0], url, describe(answer)))
    return None


def describe(answer: Answer) -> str:
    """An answer in a few words, without its body, which may be anybody's."""
    words = ["HTTP %d" % answer.status, answer.content_type.partition(";")[0] or "no content type"]
    if answer.location:
        words.append("redirect to %s" % answer.location.partition("?")[0])
    return ", ".join(words)


def _metadatabase_status(body: bytes) -> Any:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    metadatabase = document.get("metadatabase") if isinstance(document, dict) else None
    return metadatabase.get("status") if isinstance(metadatabase, dict) else None

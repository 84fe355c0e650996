# SPDX-License-Identifier: GPL-3.0-or-later
"""Small requests from a managed host to its own Airflow, with the standard library alone.

A host's Python often has no ``requests``, and importing it costs more than the request does.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Callable, Mapping
from urllib.parse import SplitResult, urlsplit

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

if TYPE_CHECKING:
    import socket

TIMEOUT = 10.0  # seconds for each wait on a server that is asked for its health
_MOST_BYTES = 1 << 20


class Tls(Record):
    """How a server's certificate is checked: not at all, against the system's authorities, or against a file's."""

    validate: bool = True
    ca_path: str | None = None


VERIFIED = Tls()


class Answer(Record):
    status: int
    content_type: str
    body: bytes
    location: str


class Unreachable(AirflowError):
    """There was no whole answer; the message says what came instead."""


class Health(Record):
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


def get(url: str, timeout: float, tls: Tls = VERIFIED, headers: Mapping[str, str] | None = None) -> Answer:
    """GET ``url`` without following redirects; see ``request``."""
    return request("GET", url, timeout, tls, headers)


def request(
    method: str,
    url: str,
    timeout: float,
    tls: Tls = VERIFIED,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Answer:
    """Send one request and read the answer, without following redirects.

    :param timeout: seconds for each wait on the network.
    :raises Unreachable: if there is no whole HTTP answer.
    """
    parts = urlsplit(url)
    if method == "GET" and parts.scheme == "http" and not headers:
        return _plain_get(parts, timeout)
    import http.client

    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=_context(tls))
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout)
    path = parts.path + ("?" + parts.query if parts.query else "")
    try:
        connection.request(method, path, body, {"Accept": "application/json", "Connection": "close", **(headers or {})})
        response = connection.getresponse()
        data = response.read(_MOST_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable("%s: %s" % (type(error).__name__, error) if str(error) else type(error).__name__) from None
    finally:
        connection.close()
    return Answer(response.status, response.getheader("Content-Type") or "", data, response.getheader("Location") or "")


def _plain_get(parts: SplitResult, timeout: float) -> Answer:
    return _plain_answer(_plain_question(parts, timeout))


def _plain_question(parts: SplitResult, timeout: float) -> socket.socket:
    """The question about health, which every run asks: importing http.client would cost more than all the rest of it.

    In HTTP/1.0 the answer ends with the connection and comes in one piece.
    """
    import socket

    path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    request_text = "GET %s HTTP/1.0\r\nHost: %s\r\nAccept: application/json\r\n\r\n" % (path, parts.netloc)
    try:
        connection = socket.create_connection((parts.hostname, parts.port or 80), timeout)
        connection.sendall(request_text.encode("ascii"))
    except OSError as error:
        raise Unreachable("%s: %s" % (type(error).__name__, error)) from None
    return connection


def _plain_answer(connection: socket.socket) -> Answer:
    data = b""
    try:
        with connection:
            while len(data) < _MOST_BYTES:
                part = connection.recv(65536)
                if not part:
                    break
                data += part
    except OSError as error:
        raise Unreachable("%s: %s" % (type(error).__name__, error)) from None
    head, _separator, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(None, 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        raise Unreachable("BadStatusLine: %r" % first[:60])
    fields = {name.strip().lower(): value.strip() for name, _colon, value in (line.partition(":") for line in lines)}
    length = fields.get("content-length") or "0"
    if not length.isdigit() or len(body) < int(length):
        raise Unreachable("the connection was closed before the answer was whole")
    return Answer(int(words[1]), fields.get("content-type", ""), body, fields.get("location", ""))


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
    return begin(url, timeout, tls)()


def begin(url: str, timeout: float, tls: Tls = VERIFIED) -> Callable[[], Health]:
    """Send the question, and return what waits for the answer: there is other work while the server thinks."""
    parts = urlsplit(url)
    if parts.scheme != "http":
        return lambda: _health(lambda: get(url, timeout, tls))
    try:
        connection = _plain_question(parts, timeout)
    except Unreachable as error:
        down = Health("down", str(error))
        return lambda: down
    return lambda: _health(lambda: _plain_answer(connection))


def _health(ask: Callable[[], Answer]) -> Health:
    try:
        answer = ask()
    except Unreachable as error:
        return Health("down", str(error))
    if answer.status in (502, 503, 504):
        return Health("down", "HTTP %d" % answer.status)
    status = _metadatabase_status(answer.body)
    if answer.status == 200 and status is not None:
        return Health("healthy" if status == "healthy" else "unhealthy", "metadatabase: %s" % status)
    return Health("foreign", describe(answer))


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

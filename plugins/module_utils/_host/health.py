# SPDX-License-Identifier: GPL-3.0-or-later
"""Small requests from a managed host to its own Airflow, with the standard library alone.

A host's Python often has no ``requests``, and importing it costs more than the request does.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Callable, Mapping
from urllib.parse import SplitResult, urlsplit

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

if TYPE_CHECKING:
    import socket

TIMEOUT = 10.0  # seconds for a server that is asked for its health
_MOST_BYTES = 1 << 20


class Tls(Record):
    """How a server's certificate is checked: not at all, against the system's authorities, or against a file's."""

    validate: bool = True
    ca_path: str | None = None


VERIFIED = Tls()
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Answer(Record):
    status: int
    content_type: str
    body: bytes
    location: str


class Unreachable(AirflowError):
    """There was no whole answer; the message says what came instead."""


class Unverified(Unreachable):
    """The server's certificate was rejected."""


class Health(Record):
    """``state`` is one of healthy, unhealthy (Airflow says so), down (no answer yet), foreign (not Airflow) and
    unverified (the certificate was rejected, so nobody knows who answers)."""

    state: str
    detail: str


def check_url(url: str) -> None:
    """:raises AirflowError: if this is no URL that a request can be sent to, or one with a password in it."""
    if "@" in url:
        raise AirflowError("url holds a username or a password. Give them as username and password.")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("idna")
    except ValueError:  # of the port, of brackets, of a name that is none
        port, host = 0, b""
    if not host or port == 0 or parts.scheme not in ("http", "https"):
        raise AirflowError("url %s is not an http:// or https:// URL with a host." % url)


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
    for_login: bool = False,
) -> Answer:
    """Send one request and read the answer, without following redirects.

    :param timeout: seconds for all of it.
    :param for_login: whether the certificate is judged as for a request with a password.
    :raises Unreachable: if there is no whole HTTP answer.
    """
    parts = urlsplit(url)
    if method == "GET" and parts.scheme == "http" and not headers:
        return _plain_answer(_plain_question(parts, timeout), timeout)
    import http.client

    from ansible_collections.fleetops.airflow.plugins.module_utils._host.deadline import Timed

    deadline = time.monotonic() + timeout
    host = parts.hostname or ""
    # No authority certifies the name of the loopback. Who gets no password may answer under another name.
    named = for_login or host not in LOOPBACK or bool(headers) or body is not None
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=_context(tls, named))
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout)
    path = _in_ascii(parts.path) + ("?" + parts.query if parts.query else "")
    opened = None
    try:
        connection.connect()
        opened = connection.sock
        connection.sock = Timed(opened, deadline)  # as much of a socket as is used
        connection.request(method, path, body, {"Accept": "application/json", "Connection": "close", **(headers or {})})
        response = connection.getresponse()
        data = response.read(_MOST_BYTES)
    except (OSError, http.client.HTTPException) as error:
        rejected = getattr(error, "verify_message", None)
        if rejected:
            raise Unverified("the certificate is rejected: %s" % rejected) from None
        raise Unreachable("%s: %s" % (type(error).__name__, error) if str(error) else type(error).__name__) from None
    except ValueError:
        raise Unreachable("the URL or a header holds characters that a request cannot have") from None
    finally:
        if opened:
            opened.close()
    return Answer(response.status, response.getheader("Content-Type") or "", data, response.getheader("Location") or "")


def _plain_question(parts: SplitResult, timeout: float) -> socket.socket:
    """The question about health, which every run asks: importing http.client would cost more than all the rest of it.

    In HTTP/1.0 the answer ends with the connection and comes in one piece.
    """
    import socket

    path = _in_ascii(parts.path or "/") + ("?" + parts.query if parts.query else "")
    request_text = "GET %s HTTP/1.0\r\nHost: %s\r\nAccept: application/json\r\n\r\n" % (path, parts.netloc)
    try:
        connection = socket.create_connection((parts.hostname, parts.port or 80), timeout)
        connection.sendall(request_text.encode("ascii"))
    except OSError as error:
        raise Unreachable("%s: %s" % (type(error).__name__, error)) from None
    except UnicodeError:
        raise Unreachable("the URL holds characters that a request cannot have") from None
    return connection


def _in_ascii(path: str) -> str:
    if path.isascii():
        return path
    from urllib.parse import quote

    return quote(path, safe="/%:@!$&'()*+,;=~")


def _plain_answer(connection: socket.socket, timeout: float) -> Answer:
    return receive(connection, time.monotonic() + timeout, _MOST_BYTES)


def receive(connection: socket.socket, deadline: float, limit: int) -> Answer:
    """The answer to a request of HTTP/1.0. It ends with the connection, which is closed then.

    :param deadline: by time.monotonic, for all of it.
    :param limit: in bytes.
    :raises Unreachable: if there is no whole answer by then, or it is longer.
    """
    data = b""
    try:
        with connection:
            while True:
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                part = connection.recv(65536)
                data += part
                if not part or _is_whole(data):
                    break
                if len(data) > limit or time.monotonic() > deadline:
                    raise Unreachable("the answer did not end")
    except OSError as error:
        raise Unreachable("%s: %s" % (type(error).__name__, error)) from None
    first, fields, body = _parsed(data)
    words = first.split(None, 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        raise Unreachable("the answer is not HTTP")
    length = fields.get("content-length") or "0"
    if not length.isdigit() or len(body) < int(length):
        raise Unreachable("the connection was closed before the answer was whole")
    return Answer(int(words[1]), fields.get("content-type", ""), body, fields.get("location", ""))


def _is_whole(data: bytes) -> bool:
    """Whether an answer that says its length is complete: some servers leave the connection open."""
    if b"\r\n\r\n" not in data[:65536]:
        return False
    _first, fields, body = _parsed(data)
    length = fields.get("content-length", "")
    return length.isdigit() and len(body) >= int(length)


def _parsed(data: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _separator, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.strip().lower(): value.strip() for name, _colon, value in (line.partition(":") for line in lines)}
    return first, fields, body


def _context(tls: Tls, named: bool) -> Any:
    import ssl

    try:
        context = ssl.create_default_context(cafile=tls.ca_path)
    except ssl.SSLError as error:
        raise AirflowError("%s holds no certificates that can be used: %s." % (tls.ca_path, error)) from None
    context.check_hostname = named
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
    status_of = _status if parts.path.endswith("/execution/health") else _metadatabase_status
    if parts.scheme != "http":
        return lambda: _health(lambda: get(url, timeout, tls), status_of)
    try:
        connection = _plain_question(parts, timeout)
    except Unreachable as error:
        down = Health("down", str(error))
        return lambda: down
    return lambda: _health(lambda: _plain_answer(connection, timeout), status_of)


def _health(ask: Callable[[], Answer], status_of: Callable[[bytes], Any]) -> Health:
    try:
        answer = ask()
    except Unverified as error:
        return Health("unverified", str(error))
    except Unreachable as error:
        return Health("down", str(error))
    if answer.status in (502, 503, 504):
        return Health("down", "HTTP %d" % answer.status)
    status = status_of(answer.body)
    if answer.status == 200 and status is not None:
        return Health("healthy" if status == "healthy" else "unhealthy", "metadatabase: %s" % status)
    return Health("foreign", describe(answer))


def describe(answer: Answer) -> str:
    """An answer in a few words, without its body, which may be anybody's."""
    words = ["HTTP %d" % answer.status, answer.content_type.partition(";")[0] or "no content type"]
    if answer.location:
        words.append("redirect to %s" % answer.location.partition("?")[0])
    return ", ".join(words)


def _status(body: bytes) -> Any:
    """Of a server that has only the API that tasks report to, and does not say how the database is."""
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document.get("status") if isinstance(document, dict) else None


def _metadatabase_status(body: bytes) -> Any:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    metadatabase = document.get("metadatabase") if isinstance(document, dict) else None
    return metadatabase.get("status") if isinstance(metadatabase, dict) else None

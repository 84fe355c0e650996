# SPDX-License-Identifier: GPL-3.0-or-later
"""A tiny HTTP server whose answers are bytes, so that they can be wrong in every way."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Callable, Mapping, Union


@dataclass(frozen=True)
class Request:
    """A request as it came in. ``target`` is what stood in the request line, ``headers`` have names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def http(
    status: int,
    body: str | bytes,
    content_type: str | None = "application/json",
    headers: Mapping[str, str] | None = None,
    length: bool = True,
) -> bytes:
    """A whole answer."""
    content = body.encode() if isinstance(body, str) else body
    phrase = HTTPStatus(status).phrase if status in list(HTTPStatus) else "Of Somebody's Own"
    lines = [f"HTTP/1.1 {status} {phrase}", "Connection: close"]
    lines += [f"Content-Type: {content_type}"] * (content_type is not None)
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines += [f"Content-Length: {len(content)}"] * length
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + content


def as_json(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    return http(status, json.dumps(document), headers=headers)


def problem(status: int, title: str = "", detail: str | None = None, release: str = "2.11.2", **headers: str) -> bytes:
    """How Airflow 2 refuses."""
    kind = f"https://airflow.apache.org/docs/apache-airflow/{release}/stable-rest-api-ref.html#section/Errors/X"
    document = {"detail": detail, "status": status, "title": title, "type": kind}
    return http(status, json.dumps(document), "application/problem+json", headers)


Reply = Union[bytes, Callable[[Request], bytes]]


class Server:
    """Answers each connection's one request with the next of ``replies``, or with ``otherwise`` after the last one."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.otherwise: Reply = http(404, "", None)
        self.requests: list[Request] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _other = self._socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            words = stream.readline().decode("latin-1").split()
            if len(words) < 3:
                return
            headers = {}
            for line in iter(stream.readline, b"\r\n"):
                name, _other, value = line.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            body = stream.read(int(headers.get("content-length", 0)))
        request = Request(words[0], words[1], headers, body)
        self.requests.append(request)
        reply = self.replies.pop(0) if self.replies else self.otherwise
        connection.sendall(reply(request) if callable(reply) else reply)

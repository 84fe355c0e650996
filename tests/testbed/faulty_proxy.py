# SPDX-License-Identifier: GPL-3.0-or-later
"""A network that fails: a TCP proxy in front of a server, which spoils some of the requests, in one way or another."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Sequence

KINDS = (
    "before the request",
    "inside the request",
    "after the request",
    "inside the headers",
    "inside the body",
    "too late",
    "503",
)


class FaultyProxy:
    """Listens at ``url`` for requests to ``port``; spoils ``share`` of them in one of the ``kinds``.

    ``faults`` counts them. "too late": the answer comes after ``delay`` seconds. Every request has a connection of its
    own.
    """

    def __init__(self, port: int, share: float = 0.4, kinds: Sequence[str] = KINDS, delay: float = 3.0) -> None:
        self._port = port
        self._share = share
        self._kinds = kinds
        self._delay = delay
        self._random = random.Random(7)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests = 0
        self.faults = dict.fromkeys(kinds, 0)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(30)

    def _accept(self) -> None:
        while True:
            try:
                connection, _rest = self._listener.accept()
            except OSError:
                return
            self.requests += 1
            kind = self._random.choice(self._kinds) if self._random.random() < self._share else "none"
            if kind != "none":
                self.faults[kind] += 1
            threading.Thread(target=self._handle, args=(connection, kind), daemon=True).start()

    def _handle(self, connection: socket.socket, kind: str) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(60)
            if kind == "before the request":
                return
            request = read_request(connection)
            if kind == "503":
                connection.sendall(
                    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                return
            with socket.create_connection(("127.0.0.1", self._port), timeout=60) as server:
                if kind == "inside the request":
                    server.sendall(request[: len(request) * 2 // 3])
                    return
                server.sendall(request)
                answer = b"".join(iter(lambda: server.recv(65536), b""))
            if kind == "too late":
                time.sleep(self._delay)
            headers = answer.index(b"\r\n\r\n")
            sent = {"after the request": 0, "inside the headers": headers // 2, "inside the body": headers + 8}
            connection.sendall(answer[: sent.get(kind, len(answer))])


def read_request(connection: socket.socket) -> bytes:
    """A whole request, with the wish for an end of the connection after the answer."""
    request = b""
    while b"\r\n\r\n" not in request:
        part = connection.recv(65536)
        if not part:
            raise OSError("no request")
        request += part
    head, _rest, body = request.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    length = next((int(line[15:]) for line in lines if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n" + body

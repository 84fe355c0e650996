# SPDX-License-Identifier: GPL-3.0-or-later
"""A network that fails: a TCP proxy in front of a server, which spoils some of the requests, in one way or another."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections import Counter
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
# What gateways do besides: they pass a request on when nobody waits for it any more, and answer by themselves.
GATEWAY_KINDS = ("late", "500 instead", "500 and late", "502 afterwards", "drip")
LATEST = 30.0  # seconds


class FaultyProxy:
    """Listens at ``url`` for requests to ``port``; spoils ``share`` of them in one of the ``kinds``.

    ``faults`` counts them, and ``passed_on`` each request that has got to the server, by its method and path and its
    body. "too late": the answer comes after ``delay`` seconds. "late": the request is passed on up to
    LATEST seconds after its connection was closed. Every request has a connection of its own.
    """

    def __init__(
        self, port: int, share: float = 0.4, kinds: Sequence[str] = KINDS, delay: float = 3.0, seed: int = 7
    ) -> None:
        self._port = port
        self._share = share
        self._kinds = kinds
        self._delay = delay
        self._random = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests = 0
        self.faults = dict.fromkeys(kinds, 0)
        self.passed_on: Counter[tuple[str, str]] = Counter()
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
            if kind in ("late", "500 instead", "500 and late"):
                if kind != "late":
                    connection.sendall(own(500))
                connection.close()
                if kind != "500 instead":
                    time.sleep(self._random.uniform(1, LATEST))
                    self._passed_on(request)
                return
            if kind in ("502 afterwards", "drip"):
                answer = self._passed_on(request)
                if kind == "drip":
                    drip(connection, answer)
                else:
                    connection.sendall(own(502))
                return
            with socket.create_connection(("127.0.0.1", self._port), timeout=60) as server:
                if kind == "inside the request":
                    server.sendall(request[: len(request) * 2 // 3])
                    return
                answer = self._exchange(server, request)
            if kind == "too late":
                time.sleep(self._delay)
            headers = answer.index(b"\r\n\r\n")
            sent = {"after the request": 0, "inside the headers": headers // 2, "inside the body": headers + 8}
            connection.sendall(answer[: sent.get(kind, len(answer))])

    def _passed_on(self, request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self._port), timeout=60) as server:
            return self._exchange(server, request)

    def _exchange(self, server: socket.socket, request: bytes) -> bytes:
        head, _rest, body = request.partition(b"\r\n\r\n")
        line = head.split(b"\r\n")[0].rpartition(b" ")[0]
        self.passed_on[line.decode("latin-1"), body.decode("latin-1")] += 1
        server.sendall(request)
        return b"".join(iter(lambda: server.recv(65536), b""))


def own(status: int) -> bytes:
    """A gateway's own answer."""
    page = b"<html><title>Gateway</title></html>"
    head = f"HTTP/1.1 {status} Of The Gateway\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + page


def drip(connection: socket.socket, answer: bytes) -> None:
    """A byte each half second, until the other side has enough of it."""
    for byte in answer:
        connection.sendall(bytes([byte]))
        time.sleep(0.5)


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

# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers that come a byte at a time, and connections that do not come about, end at the timeout all the same."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any, Iterator

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Http, TransportError

HEAD = b"HTTP/1.1 200 OK\r\n"
JSON = b"Content-Type: application/json\r\n"


class Dripping:
    """A server that says ``first`` at once and then ``rest`` for ever, a byte each tenth of a second."""

    def __init__(self, first: bytes, rest: bytes) -> None:
        self.first, self.rest = first, rest
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = "http://127.0.0.1:%d" % self._socket.getsockname()[1]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            connection, _other = self._socket.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(self.first)
                while not self._over.wait(0.1):
                    connection.sendall(self.rest[:1])
                    self.rest = self.rest[1:] + self.rest[:1]

    def close(self) -> None:
        self._over.set()
        self._socket.close()
        self._thread.join(5)


@contextlib.contextmanager
def dripping(first: bytes, rest: bytes) -> Iterator[Dripping]:
    server = Dripping(first, rest)
    try:
        yield server
    finally:
        server.close()


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (b"", b"HTTP/1.1 200 OK"),
        (HEAD, b"X-Endless: yes\r\n"),
        (HEAD + JSON + b"Content-Length: 100000\r\n\r\n", b"x"),
        (HEAD + JSON + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (HEAD + JSON + b"\r\n", b"\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
def test_answer_that_drips_ends_at_the_timeout(first: bytes, rest: bytes) -> None:
    with dripping(first, rest) as server:
        begin = time.monotonic()
        with pytest.raises(TransportError) as caught:
            Http(server.address, lambda request: request, timeout=0.7).send("GET", "/")
        assert time.monotonic() - begin < 2
        assert caught.value.kind == "timeout"


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 Connection established\r\n"])
def test_proxy_that_drips_ends_at_the_timeout(first: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with dripping(first, b"X-Endless: yes\r\n") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.address)
        monkeypatch.setenv("NO_PROXY", "")
        begin = time.monotonic()
        with pytest.raises(TransportError):
            Http("https://airflow.example", lambda request: request, timeout=0.7).send("GET", "/")
        assert time.monotonic() - begin < 2


def refused_in_time(address: str) -> TransportError:
    begin = time.monotonic()
    with pytest.raises(TransportError) as caught:
        Http(address, lambda request: request, timeout=0.5).send("GET", "/")
    assert time.monotonic() - begin < 1.5
    return caught.value


def test_name_resolution_ends_at_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def resolve(*_args: Any, **_options: Any) -> Any:
        over.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    error = refused_in_time("http://airflow.example")
    over.set()
    assert (error.kind, error.nothing_sent) == ("unreachable", True)


def test_name_with_several_addresses_ends_at_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them answers: their queue of connections is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as waiting:
        address = full.getsockname()
        for _number in range(4):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(address)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)] * 6
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: found)
        error = refused_in_time("http://airflow.example")
    assert (error.kind, error.nothing_sent) == ("unreachable", True)


def test_connection_that_comes_too_late_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    resolve = socket.getaddrinfo
    with socket.create_server(("127.0.0.1", 0)) as server:

        def late(_host: str, *args: Any, **options: Any) -> Any:
            over.wait(10)
            return resolve("127.0.0.1", *args, **options)

        monkeypatch.setattr(socket, "getaddrinfo", late)
        refused_in_time("http://airflow.example:%d" % server.getsockname()[1])
        over.set()
        server.settimeout(5)
        connection, _other = server.accept()
        with connection:
            connection.settimeout(5)
            assert connection.recv(1) == b""

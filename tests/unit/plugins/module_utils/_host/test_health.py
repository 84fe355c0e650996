# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to a small real server that answers what the test says."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
import time
from typing import Iterator

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.health import (
    Unreachable,
    ask_health,
    check_url,
    get,
)

HEALTHY = b'{"metadatabase": {"status": "healthy"}, "scheduler": {"status": "unhealthy"}}'
UNHEALTHY = b'{"metadatabase": {"status": "unhealthy"}}'


class Server(http.server.ThreadingHTTPServer):
    answer = (200, "application/json", HEALTHY)

    @property
    def url(self) -> str:
        return "http://127.0.0.1:%d/health" % self.server_port


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        status, content_type, body = self.server.answer
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if status == 302:
            self.send_header("Location", "http://elsewhere.example/login?next=secret")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(
    ("answer", "state", "detail"),
    [
        ((200, "application/json", HEALTHY), "healthy", "metadatabase: healthy"),
        (
            (200, "application/json", HEALTHY.replace(b'"healthy', b'"unhealthy')),
            "unhealthy",
            "metadatabase: unhealthy",
        ),
        ((200, "text/html", b"<h1>Welcome</h1>"), "foreign", "HTTP 200, text/html"),
        ((200, "application/json", b'{"status": "ok"}'), "foreign", "HTTP 200, application/json"),
        ((200, "application/json", b"[1]"), "foreign", "HTTP 200, application/json"),
        ((404, "text/html", b"?"), "foreign", "HTTP 404, text/html"),
        ((302, "text/html", b""), "foreign", "HTTP 302, text/html, redirect to http://elsewhere.example/login"),
        ((502, "text/html", b""), "down", "HTTP 502"),
        ((503, "text/html", b""), "down", "HTTP 503"),
    ],
)
def test_health(server: Server, answer: tuple[int, str, bytes], state: str, detail: str) -> None:
    server.answer = answer
    assert ask_health(server.url, 5) == (state, detail)


def test_nobody_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        health = ask_health("http://127.0.0.1:%d/health" % unused.getsockname()[1], 5)
    assert health.state == "down"
    assert "ConnectionRefusedError" in health.detail


def test_a_silent_server_does_not_hold_us() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(Unreachable):
            get("http://127.0.0.1:%d/" % silent.getsockname()[1], 0.2)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + HEALTHY,
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n" + HEALTHY,
    ],
)
def test_what_is_no_whole_answer(answer: bytes) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            with listener.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        assert ask_health("http://127.0.0.1:%d/health" % listener.getsockname()[1], 5).state == "down"


@pytest.mark.parametrize("url", ["localhost:8080", "/health", "ftp://h/", "http://", "http://u:p@h/", "https://u@h/"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(AirflowError):
        check_url(url)
    check_url("https://airflow.example:8443/base")


def answering(parts: list[bytes], pause: float) -> Iterator[str]:
    """The URL of a server that sends these parts to whoever connects, with a pause before each of them."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _address = listening.accept()
                with connection:
                    connection.recv(65536)
                    for part in parts:
                        time.sleep(pause)
                        connection.sendall(part)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/health"


BEGINNING = b"HTTP/1.1 200 OK\r\n"
SLOW = {
    "a byte at a time": [bytes([byte]) for byte in BEGINNING * 100],
    "headers without end": [BEGINNING, *[b"X-Y: z\r\n"] * 2000],
    "a body without end": [BEGINNING + b"\r\n", *[b"x"] * 2000],
    "a body shorter than it says": [BEGINNING + b"Content-Length: 900\r\n\r\n", *[b"x"] * 800],
}


@pytest.mark.parametrize("headers", [None, {"X": "y"}], ids=["plain", "by http.client"])
@pytest.mark.parametrize("parts", SLOW)
def test_answer_that_drips_is_given_up_in_time(parts: str, headers: dict[str, str] | None) -> None:
    begun = time.monotonic()
    with contextlib.contextmanager(answering)(SLOW[parts], 0.02) as url, pytest.raises(Unreachable):
        get(url, 0.4, headers=headers)
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("headers", [None, {"X": "y"}], ids=["plain", "by http.client"])
def test_answer_that_floods_is_given_up(headers: dict[str, str] | None) -> None:
    flood = [BEGINNING, *[b"X-Y: " + b"z" * 60000 + b"\r\n"] * 10000]
    begun = time.monotonic()
    with contextlib.contextmanager(answering)(flood, 0) as url, pytest.raises(Unreachable):
        get(url, 20, headers=headers)
    assert time.monotonic() - begun < 10

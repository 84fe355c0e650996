# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins at a small server that answers what the test says. The real ones are in the integration tests."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from typing import Any, Iterator

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.login import refused_login
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import family_of

LOGIN = ("ada", "pä$$ wörd-日本")
JSON, HTML = "application/json", "text/html"


class Server(http.server.ThreadingHTTPServer):
    answers: dict[str, tuple[int, str, bytes]] = {}  # noqa: RUF012 - each test sets its own
    anonymous = (401, "application/problem+json", b"{}")
    seen: list[tuple[str, str | None, bytes]] = []  # noqa: RUF012

    @property
    def url(self) -> str:
        return "http://127.0.0.1:%d" % self.server_port


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        self.server.seen.append(("%s %s" % (self.command, path), self.headers.get("Authorization"), body))
        anonymous = self.command == "GET" and not self.headers.get("Authorization")
        status, content_type, body = self.server.anonymous if anonymous else self.server.answers[path]
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.seen = []
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


def test_with_the_password_in_the_request(server: Server) -> None:
    path = "/api/v1/dags"
    server.answers = {path: (200, JSON, b"{}")}
    assert refused_login(family_of("2.11.2"), server.url, LOGIN) is None
    credentials = base64.b64encode(":".join(LOGIN).encode()).decode()
    assert server.seen == [("GET " + path, "Basic " + credentials, b""), ("GET " + path, None, b"")]
    for status in (401, 403):
        server.answers = {path: (status, "application/problem+json", b"{}")}
        said = str(refused_login(family_of("2.11.2"), server.url, LOGIN))
        assert "refuses the login of ada (HTTP %d): the user does not exist, the password is wrong" % status in said
    for answer in ((500, HTML, b""), (200, HTML, b""), (302, HTML, b"")):
        server.answers = {path: answer}
        with pytest.raises(AirflowError, match="cannot be proved") as error:
            refused_login(family_of("2.11.2"), server.url, LOGIN)
        assert LOGIN[1] not in str(error.value)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, JSON, b"{}"), "the server accepts the same request without credentials"),
        ((500, HTML, b""), r"without credentials is not rejected as Airflow rejects it \(HTTP 500, text/html\)"),
        ((302, HTML, b""), r"without credentials is not rejected as Airflow rejects it \(HTTP 302, text/html\)"),
    ],
)
def test_login_is_verified_only_where_a_request_without_it_is_rejected(
    server: Server, answer: tuple[int, str, bytes], said: str
) -> None:
    server.answers = {"/api/v1/dags": (200, JSON, b"{}")}
    server.anonymous = answer
    with pytest.raises(AirflowError, match=said):
        refused_login(family_of("2.11.2"), server.url, LOGIN)


def test_login_is_not_verified_by_a_server_that_gives_tokens_to_anybody(server: Server) -> None:
    given = (201, JSON, b'{"access_token": "t0ken"}')
    server.answers = {"/auth/token": given, "/api/v2/dags": (200, JSON, b"{}")}
    server.anonymous = given
    with pytest.raises(AirflowError, match="the server accepts the same request without credentials"):
        refused_login(family_of("3.3.2"), server.url, LOGIN)


def test_with_a_token_for_the_password(server: Server) -> None:
    given = (201, JSON, b'{"access_token": "t0ken"}')
    server.answers = {"/auth/token": given, "/api/v2/dags": (200, JSON, b"{}")}
    assert refused_login(family_of("3.3.2"), server.url, LOGIN) is None
    assert [(what, login) for what, login, _body in server.seen] == [
        ("POST /auth/token", None),
        ("GET /api/v2/dags", "Bearer t0ken"),
        ("GET /auth/token", None),
    ]
    assert json.loads(server.seen[0][2]) == {"username": LOGIN[0], "password": LOGIN[1]}

    server.answers = {"/auth/token": given, "/api/v2/dags": (403, JSON, b"{}")}
    assert "the user's role may not read DAGs" in str(refused_login(family_of("3.3.2"), server.url, LOGIN))
    server.answers = {"/auth/token": (401, JSON, b'{"detail": "Invalid credentials"}')}
    assert "/auth/token refuses the login of ada (HTTP 401)" in str(
        refused_login(family_of("3.3.2"), server.url, LOGIN)
    )
    for answer in (
        (*given[:2], b"[]"),
        (*given[:2], b"{}"),
        (200, HTML, b"hello"),
        (500, JSON, b"{}"),
        (404, JSON, b""),
    ):
        server.answers = {"/auth/token": answer}
        with pytest.raises(AirflowError, match="cannot be proved"):
            refused_login(family_of("3.3.2"), server.url, LOGIN)

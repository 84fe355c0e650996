# SPDX-License-Identifier: GPL-3.0-or-later
"""What a login looks like on the wire, and what the web interface's login form tells about it."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qs

import pytest
import requests
from ansible_collections.fleetops.airflow.plugins.module_utils._api.auth import (
    BasicLogin,
    BearerLogin,
    NoLogin,
    NoToken,
    TokenLogin,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Http
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from hypothesis import given
from hypothesis import strategies as st
from unit.plugins.scripted_server import Request, Server, as_json, http

PASSWORD = "pä$$wörd-日本"
PAGE = """<form action="" method="post" name="login">
<input id="csrf_token" name="csrf_token" type="hidden" value="IjQ4.aw&amp;NL">
<input name="username" type="text" value=""><input name=password type=password>
<input type="submit" value="Sign In"></form>"""


class FakeRequest:
    def __init__(self) -> None:
        self.headers: dict[str, str] = {}


class TestBasicLogin:
    def test_is_encoded_in_utf_8(self, server: Server) -> None:
        server.otherwise = as_json({})
        Http(server.url, BasicLogin("åsa", PASSWORD)).send("GET", "/x")
        sent = server.requests[0].headers["authorization"].partition(" ")[2]
        assert base64.b64decode(sent).decode() == f"åsa:{PASSWORD}"

    @given(st.text(min_size=1).filter(lambda name: ":" not in name), st.text(min_size=1))
    def test_any_pair_can_be_read_back(self, username: str, password: str) -> None:
        request = FakeRequest()
        BasicLogin(username, password)(request)  # type: ignore[arg-type]
        pair = base64.b64decode(request.headers["Authorization"].partition(" ")[2]).decode()
        assert pair.partition(":") == (username, ":", password)

    def test_a_name_with_a_colon_cannot_be_sent(self) -> None:
        with pytest.raises(AirflowError, match="colon"):
            BasicLogin("a:b", PASSWORD)(requests.Request("GET", "http://h").prepare())

    def test_does_not_show_the_password(self) -> None:
        assert PASSWORD not in repr(BasicLogin("ada", PASSWORD))


class TestBearerLogin:
    def test_is_sent(self, server: Server) -> None:
        server.otherwise = as_json({})
        Http(server.url, BearerLogin("abc.def")).send("GET", "/x")
        assert server.requests[0].headers["authorization"] == "Bearer abc.def"

    @pytest.mark.parametrize("token", ["a b", "abc\n", "abc\r\nX-Other: 1", "tökén"])
    def test_what_cannot_be_sent(self, token: str) -> None:
        with pytest.raises(AirflowError, match="token holds") as caught:
            BearerLogin(token)
        assert token not in str(caught.value)


class TestTokenLogin:
    def login(self, server: Server) -> TokenLogin:
        return TokenLogin(Http(server.url + "/base", NoLogin()), "å:sa", PASSWORD)

    def test_is_asked_for_once(self, server: Server) -> None:
        server.replies = [as_json({"access_token": "t1"}, 201)]
        server.otherwise = as_json({})
        client = Http(server.url, self.login(server))
        client.send("GET", "/x")
        client.send("GET", "/y")
        asked, first, second = server.requests
        assert (asked.method, asked.target) == ("POST", "/base/auth/token")
        assert json.loads(asked.body) == {"username": "å:sa", "password": PASSWORD}
        assert "authorization" not in asked.headers
        assert first.headers["authorization"] == second.headers["authorization"] == "Bearer t1"

    def test_a_forgotten_one_is_asked_for_again(self, server: Server) -> None:
        server.replies = [as_json({"access_token": "t1"}, 201), as_json({}), as_json({"access_token": "t2"}, 201)]
        server.otherwise = as_json({})
        login = self.login(server)
        client = Http(server.url, login)
        client.send("GET", "/x")
        login.forget("t0")  # another one than the newest
        assert login.token == "t1"
        login.forget("t1")
        client.send("GET", "/x")
        assert server.requests[-1].headers["authorization"] == "Bearer t2"

    @pytest.mark.parametrize(
        "reply",
        [as_json({"detail": "Invalid credentials"}, 401), http(200, "<html>", "text/html"), as_json({}, 201), b""],
    )
    def test_none_is_given(self, server: Server, reply: bytes) -> None:
        server.otherwise = reply
        with pytest.raises(NoToken) as caught:
            Http(server.url, self.login(server)).send("GET", "/x")
        assert (caught.value.answer is None) is (reply == b"")
        assert [request.target for request in server.requests] == ["/base/auth/token"]
        assert PASSWORD not in repr(caught.value)


class WebInterface:
    """Airflow's login page: with a session for whoever gives the right password."""

    def __init__(self, page: str = PAGE) -> None:
        self.page = page

    def __call__(self, request: Request) -> bytes:
        if request.method == "POST":
            right = parse_qs(request.body.decode())["password"] == [PASSWORD]
            cookie = "session=in" if right else "session=out"
            return http(302, "", "text/html", {"Set-Cookie": f"{cookie}; Path=/", "Location": "/home"})
        if "session=in" in request.headers.get("cookie", ""):
            return http(302, "", "text/html", {"Location": "/"})
        return http(200, self.page, "text/html", {"Set-Cookie": "session=out; Path=/"})


class TestForm:
    def test_accepts(self, server: Server) -> None:
        server.otherwise = WebInterface()
        client = Http(server.url + "/base", NoLogin())
        login = BasicLogin("ada", PASSWORD).try_form(client)
        assert login.accepted is True
        page, form, again = server.requests
        assert (page.target, form.target, again.target) == ("/base/login/",) * 3
        assert all("authorization" not in request.headers for request in server.requests)
        assert form.headers["cookie"] == "session=out"
        assert form.headers["referer"] == server.url + "/base/login/"
        assert parse_qs(form.body.decode()) == {
            "csrf_token": ["IjQ4.aw&NL"],
            "username": ["ada"],
            "password": [PASSWORD],
        }
        assert login.session is not None
        login.session.send("GET", "/api")
        assert server.requests[-1].headers["cookie"] == "session=in"

    def test_refuses(self, server: Server) -> None:
        server.otherwise = WebInterface()
        assert BasicLogin("ada", "wrong").try_form(Http(server.url, NoLogin())).accepted is False
        assert [request.method for request in server.requests] == ["GET", "POST", "GET"]

    @pytest.mark.parametrize(
        ("replies", "why_not"),
        [
            ([http(200, "<p>Sign in with Example</p>", "text/html")], "no username and password"),
            ([http(302, "", None, {"Location": "https://sso.example/"})], "answers 302"),
            ([http(404, "", None)], "answers 404"),
            ([b""], "did not answer"),
            ([http(200, PAGE, "text/html"), http(429, "", None)], "no more tries"),
            ([http(200, PAGE, "text/html"), http(400, "The CSRF token is missing", "text/html")], "answers 400"),
            ([http(200, PAGE, "text/html"), b""], "did not answer"),
        ],
    )
    def test_cannot_be_tried(self, server: Server, replies: list[bytes], why_not: str) -> None:
        server.replies = list(replies)
        login = BasicLogin("ada", PASSWORD).try_form(Http(server.url, NoLogin()))
        assert login.accepted is None
        assert why_not in login.why_not
        assert len(server.requests) == len(replies)  # one attempt, no more

# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways to log in: what a request is given so that Airflow knows its sender."""

from __future__ import annotations

import base64
import threading
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Answer, TransportError
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

if TYPE_CHECKING:
    import requests
    from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Http, Login

_FORM = "/login/"
TOKEN_PATH = "/auth/token"


class NoLogin:
    """Sends nothing. Without any login object requests would look one up in a netrc file."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class BasicLogin:
    """Username and password with every request, unasked: Airflow's challenge does not tell what it takes.

    In UTF-8, as Airflow reads them; requests itself would encode in Latin-1. A request raises AirflowError where the
    two cannot be sent that way.
    """

    def __init__(self, username: str, password: str) -> None:
        self.username = username
        self._password = password

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if ":" in self.username:
            raise AirflowError(
                "username holds a colon, and a Basic login, which Airflow before 3.0 takes, cannot carry that: the "
                "name would end there. Nothing was sent. Use a user whose name has none."
            )
        pair = f"{self.username}:{self._password}".encode()
        request.headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
        return request

    @property
    def has_blank_at_an_end(self) -> bool:
        """Whether the password begins or ends with a blank: it may be meant, and more often is copied along."""
        return self._password.strip() != self._password

    def try_form(self, http: Http) -> FormLogin:
        """Log in with the same pair by the form of Airflow's web interface, once."""
        return _log_in_by_form(http, self.username, self._password)


class BearerLogin:
    """A ready token with every request. Raises AirflowError where it cannot be sent."""

    def __init__(self, token: str) -> None:
        if not token.isascii() or not token.isprintable() or " " in token:
            raise AirflowError("token holds characters that no token has: give it without blanks and line breaks.")
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = "Bearer " + self._token
        return request


class NoToken(Exception):
    """The server gave no token for a username and a password: its ``answer``, or the ``trouble`` to get one."""

    def __init__(self, answer: Answer | None = None, trouble: TransportError | None = None) -> None:
        super().__init__(f"no token: {trouble if answer is None else answer.status}")
        self.answer = answer
        self.trouble = trouble


class TokenLogin:
    """Username and password against a token, as Airflow 3 gives it, and that token with every request.

    It is asked for by the first request, through ``http``, which logs in nowhere. A request raises NoToken if none is
    given.
    """

    def __init__(self, http: Http, username: str, password: str) -> None:
        self._http = http
        self._pair = {"username": username, "password": password}
        self._token: str | None = None
        self._lock = threading.Lock()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        with self._lock:
            if self._token is None:
                self._token = self._given()
            return BearerLogin(self._token)(request)

    @property
    def token(self) -> str | None:
        """The newest one; None before the first request."""
        return self._token

    def forget(self, token: str) -> None:
        """Ask for another one next time, if this is still the newest."""
        with self._lock:
            if self._token == token:
                self._token = None

    def _given(self) -> str:
        try:
            answer = self._http.send("POST", TOKEN_PATH, document=self._pair)
        except TransportError as trouble:
            raise NoToken(trouble=trouble) from None
        token = (answer.document or {}).get("access_token")
        if answer.status not in (200, 201) or not isinstance(token, str):
            raise NoToken(answer)
        return token


class Logins(NamedTuple):
    """One caller, in each of the ways in which generations of the API know one.

    ``basic`` is what requests to Airflow 1.10 and 2 are given, ``token`` those to Airflow 3. ``form`` is what the web
    interface's login form can be tried with, where there is a password. ``username`` is None for who has no name here.
    ``service`` is what a Kerberos ticket is for.
    """

    basic: Login
    token: Login
    username: str | None = None
    form: BasicLogin | None = None
    service: str | None = None


NOBODY = Logins(NoLogin(), NoLogin())


class FormLogin(NamedTuple):
    """How an attempt to log in by the web form ended.

    ``accepted`` is None where the form could not be tried, and ``why_not`` then says why. ``session`` is the
    server as the user who is logged in sees it.
    """

    accepted: bool | None
    why_not: str = ""
    session: Http | None = None


def _log_in_by_form(http: Http, username: str, password: str) -> FormLogin:
    session = http.with_login(NoLogin(), keep_cookies=True)
    try:
        page = session.send("GET", _FORM, headers={"Accept": "text/html"})
        if page.status != 200:
            return FormLogin(None, f"there is no login form: it answers {page.status}")
        fields = _fields(page.text)
        if not {"username", "password"} <= fields.keys():
            return FormLogin(None, "its login page asks for no username and password: users log in elsewhere")
        fields.update(username=username, password=password)
        # Flask-WTF wants to see over TLS that the form comes from this very page.
        answer = session.send("POST", _FORM, form=fields, headers={"Referer": session.base + _FORM})
        if answer.status == 429:
            return FormLogin(None, "its login form takes no more tries from here for a while")
        if answer.status != 302:
            return FormLogin(None, f"its login form answers {answer.status}")
        # The form leads away who is logged in already, and is shown to everybody else.
        accepted = session.send("GET", _FORM, headers={"Accept": "text/html"}).status == 302
    except TransportError as trouble:
        return FormLogin(None, f"its login form did not answer: {trouble}")
    return FormLogin(accepted, session=session)


def _fields(page: str) -> dict[str, str]:
    """The named input fields of a page and their values."""
    from html.parser import HTMLParser

    found: dict[str, str] = {}

    class Inputs(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            field = dict(attrs)
            name = field.get("name")
            if tag == "input" and name:
                found[name] = field.get("value") or ""

    Inputs().feed(page)
    return found

# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A call of the API: with a login, with retries, and in the words of the API version that the server speaks."""

from __future__ import annotations

import re
import threading
from typing import Any, Callable, Mapping, TypeVar
from urllib.parse import quote

from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import (
    CallFailed,
    Doubt,
    is_token_refused,
    json_object,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._api.auth import (
    NOBODY,
    TOKEN_PATH,
    Logins,
    NoToken,
    TokenLogin,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._api.dialects import DIALECTS, V1, Dialect
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import (
    Answer,
    Http,
    Login,
    RetryPolicy,
    TransportError,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import Server
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

# A webserver needs 5 to 25 seconds to come back from a restart, on a busy machine twice that.
RETRY_SECONDS = 60.0

_Result = TypeVar("_Result")


class Caller:
    """How to call one server's API: with which login, whether with retries, and in which API version's words.

    ``anonymous`` is the server without a login, ``http`` with it. Where ``certain`` is false the server may speak
    another generation than ``dialect``: the first answer that is not the API's has it identified, and the call is made
    again in the words of the generation that is found. ``has_answered``: the API has, in the words of ``dialect``.
    """

    def __init__(
        self,
        anonymous: Http,
        logins: Logins = NOBODY,
        dialect: Dialect = V1,
        certain: bool = True,
        retry_policy: Callable[[], RetryPolicy] = lambda: RetryPolicy(RETRY_SECONDS),
    ) -> None:
        self.anonymous = anonymous
        self.logins = logins
        self.retry_policy = retry_policy
        self._certain = certain
        self.has_answered = False
        self._lock = threading.Lock()
        self._speak(dialect)

    @property
    def base(self) -> str:
        """The address that API paths are appended to."""
        return self.anonymous.base

    def dag_path(self, dag_id: str) -> str:
        """The path of the DAG in this API."""
        return self._path(self.dialect.dag, dag_id)

    def _path(self, path: str, dag_id: str) -> str:
        return self.dialect.prefix + path.format(dag=_segment("dag_id", dag_id))

    def _runs_path(self, dag_id: str) -> str:
        return self._path(self.dialect.runs, dag_id)

    def _run_path(self, dag_id: str, run_id: str) -> str:
        return f"{self._runs_path(dag_id)}/{_segment('run_id', run_id)}"

    def _ask(self, path: Callable[[], str], key: str) -> dict[str, Any]:
        return self._with_retries(lambda: self._call("GET", path(), key))

    def _with_retries(self, call: Callable[[], _Result]) -> _Result:
        """Repeat a call that may safely be repeated."""
        retry_policy = self.retry_policy()
        while True:
            try:
                return self._identifying(call)
            except CallFailed as failure:
                if not failure.try_again(retry_policy):
                    raise

    def _sent_once(self, call: Callable[[], _Result]) -> _Result:
        """Make a call that nothing makes unique: repeat it only where it has certainly not been carried out."""
        retry_policy = self.retry_policy()
        while True:
            try:
                return self._identifying(call)
            except CallFailed as failure:
                if failure.doubt is not Doubt.NONE or not failure.try_again(retry_policy):
                    raise

    def _identifying(self, call: Callable[[], _Result]) -> _Result:
        """Make a call once, and once more if the server turns out to speak another generation."""
        try:
            return call()
        except CallFailed as failure:
            if self._certain or not self._speaks_other_than(failure):
                raise
        return call()

    def _speaks_other_than(self, failure: CallFailed) -> bool:
        """Whether the server speaks another generation than the one whose call failed; then so does this object."""
        answer = failure.answer
        if answer is None or not failure.foreign or answer.passing or 300 <= answer.status < 400:
            return False
        with self._lock:
            if self.dialect is failure.dialect:
                try:
                    server = identify(self.anonymous)
                except TransportError as trouble:
                    raise CallFailed("GET", failure.path, None, trouble, failure.dialect, of=failure) from None
                if server.generation is None:
                    return False
                self._certain = True
                self._speak(DIALECTS[server.generation])
            return self.dialect is not failure.dialect

    def _speak(self, dialect: Dialect) -> None:
        login: Login = getattr(self.logins, dialect.login)
        self.http = self.anonymous if self.logins is NOBODY else self.anonymous.with_login(login)
        self.dialect = dialect

    def _call(self, method: str, path: str, key: str, document: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One call, once. ``key`` is what Airflow's answer to it always holds, and anybody else's hardly.

        Where a token is no longer taken, there is one new login.
        """
        dialect = self.dialect
        login = self.logins.token if dialect.login == "token" else None
        sent = login.token if isinstance(login, TokenLogin) else None
        try:
            answer = self.http.send(method, path, document=document)
            if sent is not None and isinstance(login, TokenLogin) and is_token_refused(answer):
                login.forget(sent)
                answer = self.http.send(method, path, document=document)
        except TransportError as trouble:
            raise CallFailed(method, path, trouble=trouble, dialect=dialect) from None
        except NoToken as none:
            raise CallFailed("POST", TOKEN_PATH, none.answer, none.trouble, dialect) from None
        received = json_object(answer)
        if answer.status != 200 or received is None or key not in received:
            raise CallFailed(method, path, answer=answer, dialect=dialect)
        self._certain = self.has_answered = True
        return received


def _segment(option: str, text: str) -> str:
    """An id as a part of a path. Raises AirflowError for one that would lead to another path: nothing is sent then.

    ``~`` stands for all DAGs, or all runs.
    """
    if text in ("", ".", "..", "~") or "/" in text or any(ord(sign) < 32 or ord(sign) == 127 for sign in text):
        raise AirflowError(
            f"{option} is {text!r}. No such id can be named in the API. Nothing was sent. Correct {option}."
        )
    return quote(text, safe="")


def identify(anonymous: Http) -> Server:
    """Find out what stands at an address from what is answered without a login.

    Raises TransportError, also for an answer that says nothing about the server, because it is not the server's own.
    """
    for generation, major in (("v2", r"(?:[3-9]|\d\d)"), ("v1", "2")):  # others too have a page of that name
        document = _telling(anonymous.send("GET", f"/api/{generation}/version")).document
        version = str((document or {}).get("version"))
        if re.match(rf"{major}\.\d", version):
            return Server(generation, version)
    health = _telling(anonymous.send("GET", "/health")).document
    if health and {"metadatabase", "scheduler"} <= health.keys():
        return Server("experimental", None)
    return Server(None, None)


def _telling(answer: Answer) -> Answer:
    if answer.passing or answer.status >= 500:
        raise TransportError("broken", f"what server it is was answered with {answer.status}", answer=answer)
    return answer

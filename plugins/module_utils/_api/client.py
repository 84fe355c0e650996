# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Airflow's REST API in the collection's words: DAGs, runs and failed tasks.

What the generations of the API call things differently is a row, a Dialect.
"""

from __future__ import annotations

import json
import os
import re
import threading
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Callable, Mapping, NamedTuple, Sequence, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from ansible_collections.fleetops.airflow.plugins.module_utils._api.auth import (
    NOBODY,
    TOKEN_PATH,
    BasicLogin,
    BearerLogin,
    Logins,
    NoLogin,
    NoToken,
    TokenLogin,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import (
    Answer,
    Http,
    Login,
    NoAnswer,
    Patience,
    base_url,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._api.kerberos import KerberosLogin
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

# A webserver needs 5 to 25 seconds to come back from a restart, on a busy machine twice that.
PATIENCE = 60.0

# An error of the server itself may be a database that was locked, but is more often one that stays.
_MOST_PAUSES_AT_500 = 2

_ACTIVE = ("queued", "running")
_ENDED = ("success", "failed")
_MOST_SILENCE = 5.0  # seconds over the interval; longer, and something keeps the lines back
_PAGE = 100  # the most that Airflow lists at once unless it is told otherwise

_LOGS = 3
_LOG_LINES = 20
_LOG_BYTES = 16 * 1024

_Result = TypeVar("_Result")


class Dag(NamedTuple):
    """A DAG as far as triggering it goes. ``has_import_errors`` is None where the release does not tell."""

    dag_id: str
    is_paused: bool
    has_import_errors: bool | None = None


class Run(NamedTuple):
    """A DAG run. Dates are in ISO 8601; ``url`` is its page in the web interface. ``conf`` is None if not told."""

    dag_id: str
    run_id: str | None
    state: str | None
    conf: dict[str, Any] | None
    logical_date: str | None
    start_date: str | None
    end_date: str | None
    note: str | None
    url: str | None

    @property
    def finished(self) -> bool:
        """Whether the state is an end."""
        return self.state in ("success", "failed")


class NewRun(NamedTuple):
    """A run that is to be. What is None is left to Airflow."""

    dag_id: str
    run_id: str
    conf: dict[str, Any] | None = None
    logical_date: str | None = None
    note: str | None = None


class FailedTask(NamedTuple):
    """A task instance that failed. ``log`` holds the last lines of its last try, or None if not fetched."""

    task_id: str
    map_index: int
    state: str
    try_number: int | None
    log: list[str] | None


class Server(NamedTuple):
    """What stands at an address: ``generation`` of the API is "experimental", "v1", "v2" or None (no Airflow)."""

    generation: str | None
    release: str | None


# --- the generations --------------------------------------------------------------------------


class Request(NamedTuple):
    """A request that does something; ``path`` is what follows the prefix of the generation."""

    method: str
    path: str
    document: Mapping[str, Any] | None = None


class Dialect(NamedTuple):
    """What one generation of the API calls things. ``{dag}`` in paths, which follow the prefix, is a DAG's id.

    A run has a path of its own below ``runs`` if ``has_run_path``; else it is looked for in the list of all of them.
    ``always`` is in every order for a run. ``validates_last``: an order with an unknown field is refused, and only
    after login and permission, which shows both without a run. ``said`` is the reason that an answer of the API gives
    for a refusal, None for an answer that is not the API's. ``no_such_path`` is the item by which it says that it has
    no such path, rather than no such DAG or run.
    """

    generation: str
    releases: str
    login: str  # which one of Logins
    prefix: str
    health: str
    proof: tuple[str, str]  # a path that takes a login and no permission on a certain DAG, and the key of its answer
    dag: str
    set_paused: Callable[[bool], Request]
    runs: str
    has_run_path: bool
    run_key: str
    date_key: str  # of a run, in what is sent and in filters
    due_key: str  # when a run is to start at the earliest, in filters and orders
    always: Mapping[str, Any]
    validates_last: bool
    has_notes: bool
    has_tasks: bool
    clear_of: Callable[[Run], Mapping[str, Any]]  # how an order to clear tasks names their run
    has_wait: bool  # a run can be waited for in one request, whose answer is written while it gets on
    log: tuple[str, int | None, Callable[[Answer], list[str]]]  # media type to ask for, bytes to keep, lines of them
    run_page: Callable[[Mapping[str, Any]], str | None]  # the path of its page
    said: Callable[[Answer], str | None]
    no_such_path: tuple[str, str]


def _patch_paused(is_paused: bool) -> Request:
    return Request("PATCH", "/dags/{dag}?update_mask=is_paused", {"is_paused": is_paused})


def _get_paused(is_paused: bool) -> Request:
    return Request("GET", "/dags/{dag}/paused/" + ("true" if is_paused else "false"))


def _page_experimental(run: Mapping[str, Any]) -> str | None:
    found = re.search(r"(/admin/airflow)?/graph\?.*", run.get("dag_run_url", ""))  # there are two web interfaces
    return found and found.group()


def _page_v1(run: Mapping[str, Any]) -> str:
    if "data_interval_start" not in run:  # before 2.4 the page is not told by the run's id
        return "/graph?" + urlencode({"dag_id": run["dag_id"], "execution_date": run["execution_date"]})
    return f"/dags/{quote(str(run['dag_id']), safe='')}/grid?" + urlencode({"dag_run_id": run["dag_run_id"]})


def _page_v2(run: Mapping[str, Any]) -> str:
    return f"/dags/{quote(str(run['dag_id']), safe='')}/runs/{quote(str(run['dag_run_id']), safe='')}"


def _said_v1(answer: Answer) -> str | None:
    problem = answer.document if answer.content_type == "application/problem+json" else None
    return None if problem is None else str(problem.get("detail") or problem.get("title") or "")


def _said_v2(answer: Answer) -> str | None:
    detail = (answer.document or {}).get("detail")
    if answer.status < 400 or not detail or answer.content_type != "application/json":
        return None
    if isinstance(detail, dict):  # such as a constraint of the database
        return str(detail.get("reason") or detail.get("message") or detail)
    if isinstance(detail, list):
        return "; ".join(_complaint(part) for part in detail)
    return str(detail)


def _complaint(part: Any) -> str:
    """What pydantic complains of, without the input, which may be secret."""
    if not isinstance(part, dict):
        return str(part)
    place = ".".join(str(step) for step in part.get("loc", ())[1:])
    return f"{place}: {part.get('msg')}" if place else str(part.get("msg"))


def _said_experimental(answer: Answer) -> str | None:
    said = (answer.document or {}).get("error")
    if answer.status == 404 and not str(said).startswith("Dag id"):
        return None  # Airflow 3 says in this way that it has no such path
    if said is None and answer.status in (401, 403) and answer.text.strip() in ("Forbidden", "Unauthorized"):
        said = answer.text.strip()
    return None if said is None else str(said)


def _lines_v2(answer: Answer) -> list[str]:
    """The lines of a log of events; what an event tells of an exception follows it."""
    lines = []
    for event in (answer.document or {}).get("content") or []:
        if not isinstance(event, dict):
            lines += str(event).splitlines()
            continue
        lines += str(event.get("event", "")).splitlines()
        for exception in event.get("error_detail") or []:
            lines.append(f"{exception.get('exc_type')}: {exception.get('exc_value')}")
    return lines


V1 = Dialect(
    generation="v1",
    releases="Airflow 2",
    login="basic",
    prefix="/api/v1",
    health="/api/v1/health",
    proof=("/dags?limit=1", "dags"),
    dag="/dags/{dag}",
    set_paused=_patch_paused,
    runs="/dags/{dag}/dagRuns",
    has_run_path=True,
    run_key="dag_run_id",
    date_key="execution_date",  # every release from 2.0 to 2.11 takes it; logical_date only those from 2.2 on
    due_key="execution_date",
    always={},
    validates_last=True,
    has_notes=True,
    has_tasks=True,
    # By 2.6 it took the run's id too. A DAG has one run of a date.
    clear_of=lambda run: {"start_date": run.logical_date, "end_date": run.logical_date},
    has_wait=False,
    log=("text/plain", _LOG_BYTES, lambda answer: answer.text.strip().splitlines()),
    run_page=_page_v1,
    said=_said_v1,
    no_such_path=("type", "about:blank"),
)

V2 = V1._replace(
    generation="v2",
    releases="Airflow 3",
    login="token",
    prefix="/api/v2",
    health="/api/v2/monitor/health",
    date_key="logical_date",
    due_key="run_after",
    always={"logical_date": None},  # the key has to be there
    clear_of=lambda run: {"dag_run_id": run.run_id},  # it may have no date
    has_wait=True,  # from 3.1 on
    log=("application/json", None, _lines_v2),  # JSON can only be read whole
    run_page=_page_v2,
    said=_said_v2,
    no_such_path=("detail", "Not Found"),
)

EXPERIMENTAL = V1._replace(
    generation="experimental",
    releases="Airflow 1.10",
    prefix="/api/experimental",
    health="/health",
    proof=("/test", "status"),
    dag="/dags/{dag}/paused",
    set_paused=_get_paused,
    runs="/dags/{dag}/dag_runs",
    has_run_path=False,
    run_key="run_id",
    always={"replace_microseconds": "false"},  # else two orders within one second are for one and the same moment
    validates_last=False,
    has_notes=False,
    has_tasks=False,
    run_page=_page_experimental,
    said=_said_experimental,
    no_such_path=("", ""),  # that is a page
)

DIALECTS = {dialect.generation: dialect for dialect in (EXPERIMENTAL, V1, V2)}


# --- calls ------------------------------------------------------------------------------------


class CallFailed(Exception):
    """A call of the API that did not do what it was to do.

    Either ``answer`` is set or ``trouble``. ``path`` is that of the call, without the base URL, and ``dialect`` what it
    was meant for.
    """

    def __init__(
        self,
        method: str,
        path: str,
        answer: Answer | None = None,
        trouble: NoAnswer | None = None,
        dialect: Dialect = V1,
    ) -> None:
        super().__init__(f"{method} {path}: {trouble if answer is None else answer.status}")
        self.method = method
        self.path = path
        self.answer = answer
        self.trouble = trouble
        self.dialect = dialect

    @property
    def status(self) -> int | None:
        """The HTTP status, or None if there was no answer."""
        return None if self.answer is None else self.answer.status

    @property
    def said(self) -> str | None:
        """The reason that the API itself gives, perhaps an empty one; None if this is no answer of that API."""
        return None if self.answer is None else self.dialect.said(self.answer)

    @property
    def foreign(self) -> bool:
        """Whether there is an answer, and it is none that this API gives on the paths that it has."""
        if self.answer is None:
            return False
        key, value = self.dialect.no_such_path
        return self.said is None or (self.answer.document or {}).get(key) == value

    @property
    def missing(self) -> bool:
        """Whether Airflow itself says that there is no such DAG or run: not a wrong path, not something in front."""
        if self.status == 400 and self.dialect is EXPERIMENTAL:
            return (self.said or "").endswith("not found in DagModel")
        return self.status == 404 and not self.foreign

    @property
    def taken(self) -> bool:
        """Whether there is a run already that has the id or the logical date of the one ordered."""
        return self.status == 409 or (self.status == 400 and "already exists" in (self.said or ""))

    @property
    def at_login(self) -> bool:
        """Whether it was the login that failed, before the call itself was sent."""
        return self.path == TOKEN_PATH

    @property
    def maybe_done(self) -> bool:
        """Whether the server may have carried the call out all the same."""
        if self.at_login:
            return False
        if self.answer is None:
            return self.trouble is None or not self.trouble.nothing_sent
        return self.answer.status >= 500

    def another_try(self, patience: Patience) -> bool:
        """Wait, if trying again in a while makes sense; return whether it does."""
        if self.answer is None:
            return (self.trouble is None or self.trouble.passing) and patience.pause()
        if self.answer.status == 500:
            return patience.pause(most=_MOST_PAUSES_AT_500)
        return self.answer.passing and patience.pause(self.answer.retry_after)


class Api:
    """Calls of one server's API. Every method raises CallFailed, after the patience that the call allows.

    ``stranger`` is the server without a login, ``http`` with it. Where ``certain`` is false the server may speak
    another generation than ``dialect``: the first answer that is not the API's has it identified, and the call is made
    again in the words of the generation that is found.
    """

    def __init__(
        self,
        stranger: Http,
        logins: Logins = NOBODY,
        dialect: Dialect = V1,
        certain: bool = True,
        patience: Callable[[], Patience] = lambda: Patience(PATIENCE),
    ) -> None:
        self.stranger = stranger
        self.logins = logins
        self.patience = patience
        self._certain = certain
        self._lock = threading.Lock()
        self._speak(dialect)

    @property
    def base(self) -> str:
        """The address that API paths are appended to."""
        return self.stranger.base

    def impatient(self, logins: Logins | None = None, http: Http | None = None) -> Api:
        """The same API for calls that are not worth a second try, by others: with their logins, or in their session."""
        return Api(http or self.stranger, logins or self.logins, self.dialect, True, lambda: Patience(0))

    def dag(self, dag_id: str) -> Dag:
        """The DAG; a missing one is a CallFailed that is ``missing``."""
        try:
            document = self._ask(lambda: self.dag_path(dag_id), "is_paused")
        except CallFailed as failure:
            if failure.status == 500 and not self.dialect.has_run_path:
                self._listed(self._runs_path(dag_id))  # which tells if there is no such DAG
            raise
        return _as_dag(dag_id, document)

    def set_paused(self, dag_id: str, is_paused: bool) -> None:
        """Have the scheduler start no more runs of this DAG, or start them."""

        def call() -> dict[str, Any]:
            request = self.dialect.set_paused(is_paused)
            key = "response" if request.document is None else "is_paused"
            return self._call(request.method, self._path(request.path, dag_id), key, request.document)

        self._patiently(call)

    def run(self, dag_id: str, run_id: str) -> Run | None:
        """The run, or None if there is none of that id, or no such DAG."""
        try:
            return self._patiently(lambda: self._look(dag_id, run_id))
        except CallFailed as failure:
            if failure.missing:
                return None
            raise

    def look_at_run(self, dag_id: str, run_id: str) -> Run:
        """The run, asked for once: for who asks again anyway."""
        return self._identifying(lambda: self._look(dag_id, run_id))

    def watch_run(self, dag_id: str, run_id: str, interval: float, until: Callable[[], bool]) -> bool:
        """Have the server itself look at the run each ``interval`` seconds, until it has ended, or ``until`` says so.

        False, perhaps at once, where that does not work here.
        """
        if not self.dialect.has_wait:
            return False
        path = f"{self._run_path(dag_id, run_id)}/wait?" + urlencode({"interval": interval})
        lines = self.http.lines(path, interval + _MOST_SILENCE)
        try:
            for line in lines:
                if line and (json.loads(line)["state"] in _ENDED or until()):
                    return True
        except (NoAnswer, NoToken, ValueError, TypeError, KeyError):
            pass  # no line of such an answer
        finally:
            lines.close()
        return False

    def create_run(self, new: NewRun) -> Run:
        """Create the run, in one try: if it fails, its end may be unknown (see CallFailed.maybe_done)."""

        def call() -> Run:
            words = self.dialect
            self.check_words(new)
            document: dict[str, Any] = {**words.always, words.run_key: new.run_id}
            if new.conf is not None:
                document["conf"] = new.conf
            if new.logical_date is not None:
                document[words.date_key] = new.logical_date
            if new.note is not None:
                document["note"] = new.note
            path = self._runs_path(new.dag_id)
            return self._as_run({"dag_id": new.dag_id, **self._call("POST", path, words.run_key, document)})

        return self._identifying(call)

    def check_words(self, new: NewRun) -> None:
        """Raise AirflowError where this generation of the API has no word for what is ordered. Sends nothing."""
        if new.note is not None and not self.dialect.has_notes:
            raise AirflowError(f"note is given, and {self.dialect.releases} keeps no notes: leave it out.")

    def check_create_run(self, dag_id: str) -> bool:
        """Whether create_run would be allowed, found out without creating anything; False where that cannot be seen.

        Sends what no release accepts. What is wrong with it is told only to who may create runs. Raises CallFailed
        where it would not be allowed.
        """
        if not self.dialect.validates_last:
            return False
        path = self._runs_path(dag_id)
        try:
            self._patiently(lambda: self._call("POST", path, self.dialect.run_key, {"zzz": 1}))
        except CallFailed as failure:
            if failure.status in (400, 422) and "zzz" in (failure.said or ""):
                return True
            raise
        return True

    def run_at(self, dag_id: str, logical_date: str) -> Run | None:
        """The run with that logical date."""

        def call() -> Sequence[Mapping[str, Any]]:
            key = self.dialect.date_key
            query = urlencode({f"{key}_gte": logical_date, f"{key}_lte": logical_date, "limit": 1})
            return self._listed(f"{self._runs_path(dag_id)}?{query}")

        for document in self._patiently(call):
            run = self._as_run(document)
            if run.logical_date and same_moment(run.logical_date, logical_date):
                return run
        return None

    def active_run(self, dag_id: str) -> Run | None:
        """The DAG's oldest run that is queued or running, or None if there is none, or no such DAG."""
        try:
            runs, _total = self.list_runs([dag_id], states=_ACTIVE, limit=1)
            return runs[0] if runs else None
        except CallFailed as failure:
            if not self.dialect.has_run_path:
                return self._active_of_all(dag_id)
            if failure.status != 400:  # before 2.3 the list knows no states
                raise
        offset, total = 0, 1
        while offset < total:
            runs, total = self.list_runs([dag_id], offset=offset)
            active = [run for run in runs if run.state in _ACTIVE]
            if active or not runs:
                return active[0] if active else None
            offset += len(runs)
        return None

    def _active_of_all(self, dag_id: str) -> Run | None:
        """The same where all runs of a DAG are all that can be asked for."""
        try:
            documents = self._patiently(lambda: self._listed(self._runs_path(dag_id)))
        except CallFailed as failure:
            if failure.missing:
                return None
            raise
        active = [document for document in documents if document.get("state") in _ACTIVE]
        return self._as_run(min(active, key=lambda document: int(document["id"]))) if active else None

    def list_runs(
        self,
        dag_ids: Sequence[str],
        states: Sequence[str] = (),
        offset: int = 0,
        limit: int = _PAGE,
    ) -> tuple[list[Run], int]:
        """Runs of these DAGs in the order of their creation, from ``offset`` on, and how many there are in all."""
        asked: dict[str, Any] = {"dag_ids": list(dag_ids), "page_offset": offset, "page_limit": limit}
        if states:
            asked["states"] = list(states)
        return self._patiently(lambda: self._list(asked))

    def newest_runs(
        self, dag_ids: Sequence[str], states: Sequence[str], since: str | None, limit: int
    ) -> tuple[list[Run], int]:
        """The ``limit`` newest runs that fit, the newest first, and how many fit in all. No dag_ids: of every DAG."""
        found: list[Run] = []
        total = 1
        while len(found) < min(limit, total):

            def call(offset: int = len(found)) -> tuple[list[Run], int]:
                due = self.dialect.due_key
                asked: dict[str, Any] = {"order_by": "-" + due, "page_offset": offset}
                asked["page_limit"] = min(limit - offset, _PAGE)
                filters = {"dag_ids": list(dag_ids), "states": list(states), due + "_gte": since}
                return self._list({**asked, **{key: value for key, value in filters.items() if value}})

            runs, total = self._patiently(call)
            if not runs:
                break
            found += runs
        return found, total

    def look_at_ended(self, dag_ids: Sequence[str], since: str, offset: int) -> tuple[list[Run], int]:
        """The runs of these DAGs that ended at ``since`` or later, as list_runs has them, but asked for once."""
        if not self.dialect.has_run_path:  # all runs are all that can be asked for, and without their ends
            listed = [self._as_run(run) for dag_id in dag_ids for run in self._listed(self._runs_path(dag_id))]
            ended = [run for run in listed if run.finished]
            return ended, len(ended)
        asked = {"dag_ids": list(dag_ids), "end_date_gte": since, "page_offset": offset, "page_limit": _PAGE}
        return self._list(asked)

    def look_at_runs(self, asked: Mapping[str, Any]) -> tuple[list[Run], int]:
        """A page of runs of all DAGs by the filters of the API itself, and how many there are; asked for once."""
        return self._list(asked)

    def look_at_health(self) -> tuple[dict[str, str | None], datetime | None]:
        """What health() tells, and what the server's clock shows; asked for once, and without the login."""
        path = self.dialect.health
        try:
            answer = self.stranger.send("GET", path)
        except NoAnswer as trouble:
            raise CallFailed("GET", path, trouble=trouble, dialect=self.dialect) from None
        document = answer.document
        if answer.status != 200 or document is None or "scheduler" not in document:
            raise CallFailed("GET", path, answer=answer, dialect=self.dialect)
        return _parts(document), _clock_of(answer)

    def look_at_import_errors(self) -> tuple[list[tuple[str, str]], int]:
        """The files that Airflow cannot import, each with the last line of the error, and how many there are."""
        path = f"{self.dialect.prefix}/importErrors?limit={_PAGE}"
        received = self._call("GET", path, "import_errors")
        errors = received["import_errors"]
        found = [(str(one.get("filename")), _last_line(str(one.get("stack_trace")))) for one in errors]
        return found, int(received.get("total_entries", len(found)))

    def look_at_tags(self, dag_id: str) -> tuple[Dag, list[str]]:
        """The DAG and its tags, asked for once."""
        document = self._call("GET", self.dag_path(dag_id), "is_paused")
        dag = _as_dag(dag_id, document)
        return dag, [str(tag.get("name")) for tag in document.get("tags") or []]

    def server_time(self) -> datetime:
        """What the server's clock shows, as near as a second; ours, if it does not tell."""
        try:
            shown = _clock_of(self.stranger.send("GET", self.dialect.health))
        except NoAnswer:
            shown = None
        return shown or datetime.now(timezone.utc)

    def set_run_state(self, dag_id: str, run_id: str, state: str) -> Run:
        """Set the run to "success" or "failed", which ends its tasks, or to "queued"; in one try, as create_run."""

        def call() -> Run:
            path = self._run_path(dag_id, run_id)
            return self._as_run(self._call("PATCH", path, self.dialect.run_key, {"state": state}))

        return self._identifying(call)

    def fail_run(self, dag_id: str, run_id: str) -> Run:
        """Set the run to failed, which ends its tasks."""
        return self._patiently(lambda: self.set_run_state(dag_id, run_id, "failed"))

    def clearable_tasks(self, run: Run, only_failed: bool) -> list[str]:
        """The tasks of the run that clear_tasks would clear. Shows as well whether it would be allowed."""
        return self._patiently(lambda: self._clear(run, only_failed, dry_run=True))

    def clear_tasks(self, run: Run, only_failed: bool) -> list[str]:
        """Have the scheduler run the run's tasks again, or those that failed; in one try, as create_run."""
        return self._identifying(lambda: self._clear(run, only_failed, dry_run=False))

    def failed_tasks(self, dag_id: str, run_id: str) -> list[FailedTask] | None:
        """The run's failed tasks, at most 100, the first few of them with the end of their log.

        None where the API of this generation does not know tasks.
        """
        if not self.dialect.has_tasks:
            return None
        path = self._run_path(dag_id, run_id) + "/taskInstances"
        tasks = self._ask(lambda: path + "?state=failed&limit=100", "task_instances")["task_instances"]
        return [self._as_failed_task(path, task, with_log=number < _LOGS) for number, task in enumerate(tasks)]

    def import_errors(self) -> list[str]:
        """The files that Airflow could not import DAGs from, at most 10."""
        path = self.dialect.prefix + "/importErrors?limit=10"
        errors = self._ask(lambda: path, "import_errors")["import_errors"]
        return [str(error.get("filename")) for error in errors]

    def health(self) -> dict[str, str | None]:
        """What Airflow says of its parts, such as the "scheduler": "healthy", "unhealthy", or None if there is none."""
        document = self._ask(lambda: self.dialect.health, "scheduler")
        return _parts(document)

    def scheduler_status(self) -> str | None:
        """What Airflow says of its scheduler: "healthy" or "unhealthy"."""
        return self.health()["scheduler"]

    def prove_login(self) -> None:
        """Make a call that needs a login, and permission to look at DAGs."""
        self._ask(self.proof_path, self.dialect.proof[1])

    def proof_path(self) -> str:
        """The path of that call."""
        return self.dialect.prefix + self.dialect.proof[0]

    def dag_path(self, dag_id: str) -> str:
        """The path of the DAG in this API."""
        return self._path(self.dialect.dag, dag_id)

    def _path(self, path: str, dag_id: str) -> str:
        return self.dialect.prefix + path.format(dag=quote(dag_id, safe=""))

    def _runs_path(self, dag_id: str) -> str:
        return self._path(self.dialect.runs, dag_id)

    def _run_path(self, dag_id: str, run_id: str) -> str:
        return f"{self._runs_path(dag_id)}/{quote(run_id, safe='')}"

    def _clear(self, run: Run, only_failed: bool, dry_run: bool) -> list[str]:
        path = self._path("/dags/{dag}/clearTaskInstances", run.dag_id)
        how = {"only_failed": only_failed, "reset_dag_runs": True, "dry_run": dry_run}
        asked = {**self.dialect.clear_of(run), **how}
        tasks = self._call("POST", path, "task_instances", asked)["task_instances"]
        return sorted({str(task["task_id"]) for task in tasks})

    def _list(self, asked: Mapping[str, Any]) -> tuple[list[Run], int]:
        received = self._call("POST", self.dialect.prefix + "/dags/~/dagRuns/list", "dag_runs", asked)
        return [self._as_run(run) for run in received["dag_runs"]], int(received["total_entries"])

    def _look(self, dag_id: str, run_id: str) -> Run:
        """The run, asked for once; a missing one is a CallFailed that is ``missing``."""
        key = self.dialect.run_key
        if self.dialect.has_run_path:
            return self._as_run(self._call("GET", self._run_path(dag_id, run_id), key))
        path = self._runs_path(dag_id)
        for document in self._listed(path):
            if document.get(key) == run_id:
                return self._as_run(document)
        nothing = Answer(404, {"Content-Type": "application/json"}, b'{"error": "Dag id has no run of that id"}')
        raise CallFailed("GET", path, nothing, dialect=self.dialect)

    def _listed(self, path: str) -> Sequence[Mapping[str, Any]]:
        """Runs, asked for once."""
        received = self._call("GET", path, "dag_runs" if self.dialect.has_run_path else _ITEMS)
        runs: Sequence[Mapping[str, Any]] = received["dag_runs" if self.dialect.has_run_path else _ITEMS]
        return runs

    def _as_run(self, document: Mapping[str, Any]) -> Run:
        page = self.dialect.run_page(document)
        return Run(
            dag_id=document["dag_id"],
            run_id=document[self.dialect.run_key],
            state=document.get("state"),
            conf=document["conf"] or {} if "conf" in document else None,
            logical_date=document.get("logical_date") or document.get("execution_date"),
            start_date=document.get("start_date"),
            end_date=document.get("end_date"),
            note=document.get("note"),
            url=page and self.base + page,
        )

    def _as_failed_task(self, path: str, task: Mapping[str, Any], with_log: bool) -> FailedTask:
        number = task.get("try_number")
        map_index = task.get("map_index", -1)
        log = None
        if with_log and number:
            log_path = f"{path}/{quote(task['task_id'], safe='')}/logs/{number}"
            log = self._end_of_log(log_path + (f"?map_index={map_index}" if map_index >= 0 else ""))
        return FailedTask(task["task_id"], map_index, task["state"], number, log)

    def _end_of_log(self, path: str) -> list[str] | None:
        """The last lines of a log, or None: it adds to what is known already, and must not stand in its way."""
        media_type, only_end, lines_of = self.dialect.log
        try:
            answer = self.http.send("GET", path, headers={"Accept": media_type}, only_end=only_end)
        except (NoAnswer, NoToken):
            return None
        return lines_of(answer)[-_LOG_LINES:] if answer.status == 200 else None

    def _ask(self, path: Callable[[], str], key: str) -> dict[str, Any]:
        return self._patiently(lambda: self._call("GET", path(), key))

    def _patiently(self, call: Callable[[], _Result]) -> _Result:
        """Repeat a call that may safely be repeated."""
        patience = self.patience()
        while True:
            try:
                return self._identifying(call)
            except CallFailed as failure:
                if not failure.another_try(patience):
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
                    server = identify(self.stranger)
                except NoAnswer as trouble:
                    raise CallFailed("GET", failure.path, trouble=trouble, dialect=failure.dialect) from None
                if server.generation is None:
                    return False
                self._certain = True
                self._speak(DIALECTS[server.generation])
            return self.dialect is not failure.dialect

    def _speak(self, dialect: Dialect) -> None:
        login: Login = getattr(self.logins, dialect.login)
        self.http = self.stranger if self.logins is NOBODY else self.stranger.with_login(login)
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
            if sent is not None and isinstance(login, TokenLogin) and _is_token_refused(answer):
                login.forget(sent)
                answer = self.http.send(method, path, document=document)
        except NoAnswer as trouble:
            raise CallFailed(method, path, trouble=trouble, dialect=dialect) from None
        except NoToken as none:
            raise CallFailed("POST", TOKEN_PATH, none.answer, none.trouble, dialect) from None
        received = _object(answer)
        if answer.status != 200 or received is None or key not in received:
            raise CallFailed(method, path, answer=answer, dialect=dialect)
        self._certain = True
        return received


# What a JSON list is called that stands where other generations have an object.
_ITEMS = ""


def _object(answer: Answer) -> dict[str, Any] | None:
    """The JSON object of an answer, and a list as the only item of one."""
    if answer.document is None and answer.content_type == "application/json":
        try:
            items = json.loads(answer.body)
        except ValueError:
            return None
        return {_ITEMS: items} if isinstance(items, list) else None
    return answer.document


def _as_dag(dag_id: str, document: Mapping[str, Any]) -> Dag:
    return Dag(dag_id, bool(document["is_paused"]), document.get("has_import_errors"))


def _parts(document: Mapping[str, Any]) -> dict[str, str | None]:
    """Of a health page: what it says of each part of Airflow."""
    return {name: part.get("status") for name, part in document.items() if isinstance(part, dict)}


def _clock_of(answer: Answer) -> datetime | None:
    """What the clock of the server that answered shows; None if it does not tell."""
    try:
        return parsedate_to_datetime(answer.headers.get("Date", "")).astimezone(timezone.utc)
    except (TypeError, ValueError):
        return None


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip()[:300] if lines else ""


def _is_token_refused(answer: Answer) -> bool:
    """Whether this is how Airflow 3 answers to a token that is over, or that it knows no more."""
    return answer.status == 401 or (answer.status == 403 and "Invalid JWT token" in answer.text)


def same_moment(one: str, other: str) -> bool:
    """Whether two dates in ISO 8601 with a timezone are the same one."""
    return parsed_date(one) == parsed_date(other)


def parsed_date(text: str) -> datetime:
    """ISO 8601 as Python 3.8 reads it, and with Z, which it does not. Raises ValueError."""
    return datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text.strip()))


# --- what stands at an address ----------------------------------------------------------------


def identify(stranger: Http) -> Server:
    """Find out what stands at an address from what is answered without a login. Raises NoAnswer."""
    for generation in ("v2", "v1"):
        document = stranger.send("GET", f"/api/{generation}/version").document
        if document and "version" in document:
            return Server(generation, str(document["version"]))
    health = stranger.send("GET", "/health").document
    if health and {"metadatabase", "scheduler"} <= health.keys():
        return Server("experimental", None)
    return Server(None, None)


def connect(options: Mapping[str, Any]) -> Api:
    """The API as the options of a module (API_ARGUMENTS) describe it. Sends nothing.

    Raises AirflowError for an option that cannot be right.
    """
    timeout = options["timeout"]
    if not 0 < timeout < float("inf"):
        raise AirflowError(f"timeout is {timeout}: it must be a number of seconds above 0.")
    verify: bool | str = options["validate_certs"]
    if verify and options["ca_path"]:
        verify = _existing("ca_path", options["ca_path"])
    stranger = Http(
        base_url(options["url"]),
        NoLogin(),
        timeout,
        verify,
        _client_certificate(options),
        headers=_headers(options["headers"] or {}),
    )
    logins = _logins(options, stranger)
    generation = options["api_version"]
    if generation != "auto":
        return Api(stranger, logins, DIALECTS[generation])
    # Who has a token ready has it from Airflow 3; for anybody else nothing is lost by trying Airflow 2 first, whose
    # requests are dear, while those to Airflow 3 are cheap.
    return Api(stranger, logins, V2 if options["token"] else V1, certain=False)


def _logins(options: Mapping[str, Any], stranger: Http) -> Logins:
    username, password, token = (options[name] or None for name in ("username", "password", "token"))
    if (username is None) != (password is None):
        raise AirflowError("username and password belong together: give both, or none.")
    has_login = token or username or options["kerberos"]
    if has_login and any(name.lower() == "authorization" for name in options["headers"] or {}):
        raise AirflowError("headers holds Authorization, which is where the login has its place: give one of them.")
    if options["kerberos"]:
        if username or token:
            raise AirflowError(
                "kerberos and username, or token, are two logins: give one of them. AIRFLOW_API_USERNAME and "
                "AIRFLOW_API_TOKEN in the environment count as username and token."
            )
        ticket = KerberosLogin(options["kerberos_hostname"] or urlsplit(stranger.base).hostname or "")
        return Logins(ticket, ticket, service=ticket.service)
    if token and username:
        raise AirflowError(
            "There is a token, and a username too: give one of them, and look for the other in the task, in "
            "module_defaults and in the environment variables AIRFLOW_API_TOKEN and AIRFLOW_API_USERNAME."
        )
    if token:
        bearer = BearerLogin(token)
        return Logins(bearer, bearer)
    if username and password:
        basic = BasicLogin(username, password)
        return Logins(basic, TokenLogin(stranger, username, password), username, basic)
    return NOBODY


def _headers(headers: Mapping[str, Any]) -> dict[str, str]:
    """Raises AirflowError, without the value, for what cannot stand in a header."""
    for name, value in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise AirflowError(f"headers holds {name!r}, and that is no name for a header.")
        if isinstance(value, (dict, list)) or not str(value).isascii() or not str(value).isprintable():
            raise AirflowError(f"The value of {name} in headers must be one line of ASCII characters.")
    return {name: str(value) for name, value in headers.items()}


def _client_certificate(options: Mapping[str, Any]) -> str | tuple[str, str] | None:
    if not options["client_cert"]:
        return None
    cert = _existing("client_cert", options["client_cert"])
    key = _existing("client_key", options["client_key"]) if options["client_key"] else cert
    with open(key, errors="replace") as file:
        if "ENCRYPTED" in file.read():  # OpenSSL would ask for the passphrase at the terminal, and wait
            raise AirflowError(f"The private key in {key} has a passphrase: give one without.")
    return cert if key == cert else (cert, key)


def _existing(option: str, path: str) -> str:
    if not os.path.exists(path):
        raise AirflowError(f"{option} is {path}: there is no such file.")
    return path

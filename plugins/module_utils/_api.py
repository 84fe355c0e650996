# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Airflow's REST API in the collection's words: DAGs, runs and failed tasks.

What the generations of the API call things differently is a row, a Dialect.
"""

from __future__ import annotations

import os
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Callable, Mapping, NamedTuple, Sequence
from urllib.parse import quote, urlencode, urlsplit

from ansible_collections.fleetops.airflow.plugins.module_utils._auth import BasicLogin, NoLogin
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._http import Answer, Http, NoAnswer, Patience, base_url
from ansible_collections.fleetops.airflow.plugins.module_utils._kerberos_login import KerberosLogin

# A webserver needs 5 to 25 seconds to come back from a restart, on a busy machine twice that.
PATIENCE = 60.0

# An error of the server itself may be a database that was locked, but is more often one that stays.
_MOST_PAUSES_AT_500 = 2

_RUN_KEY = "dag_run_id"

_ACTIVE = ("queued", "running")
_PAGE = 100  # the most that Airflow lists at once unless it is told otherwise

_LOGS = 3
_LOG_LINES = 20
_LOG_BYTES = 16 * 1024


class Dag(NamedTuple):
    """A DAG as far as triggering it goes."""

    dag_id: str
    is_paused: bool


class Run(NamedTuple):
    """A DAG run. Dates are in ISO 8601; ``url`` is its page in the web interface."""

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


class Dialect(NamedTuple):
    """What one generation of the API calls things. Paths are appended to the base URL."""

    generation: str
    prefix: str
    health: str
    date_key: str  # of a run, in what is sent and in filters
    run_page: Callable[[Mapping[str, Any]], str]  # the path of its page


def _run_page_v1(run: Mapping[str, Any]) -> str:
    dag_id = quote(str(run["dag_id"]), safe="")
    if "data_interval_start" in run:  # 2.4 and later; before, the page is not told by the run's id
        return f"/dags/{dag_id}/grid?" + urlencode({"dag_run_id": run["dag_run_id"]})
    return "/graph?" + urlencode({"dag_id": run["dag_id"], "execution_date": run["execution_date"]})


# Every release from 2.0 to 2.11 takes execution_date; logical_date only those from 2.2 on.
V1 = Dialect("v1", "/api/v1", "/api/v1/health", "execution_date", _run_page_v1)


class CallFailed(Exception):
    """A call of the API that did not do what it was to do.

    Either ``answer`` is set or ``trouble``. ``path`` is that of the call, without the base URL.
    """

    def __init__(self, method: str, path: str, answer: Answer | None = None, trouble: NoAnswer | None = None) -> None:
        super().__init__(f"{method} {path}: {trouble if answer is None else answer.status}")
        self.method = method
        self.path = path
        self.answer = answer
        self.trouble = trouble

    @property
    def status(self) -> int | None:
        """The HTTP status, or None if there was no answer."""
        return None if self.answer is None else self.answer.status

    @property
    def maybe_done(self) -> bool:
        """Whether the server may have carried the call out all the same."""
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
    """Calls of one server's API. Every method raises CallFailed, after the patience that the call allows."""

    def __init__(
        self,
        http: Http,
        login: BasicLogin | KerberosLogin | None,
        dialect: Dialect = V1,
        patience: Callable[[], Patience] = lambda: Patience(PATIENCE),
    ) -> None:
        self.http = http
        self.login = login
        self.patience = patience
        self._dialect = dialect

    def impatient(self, http: Http | None = None) -> Api:
        """The same API for calls that are not worth a second try, with another login's ``http`` if given."""
        return Api(http or self.http, self.login, self._dialect, patience=lambda: Patience(0))

    def dag(self, dag_id: str) -> Dag:
        """The DAG; a missing one is a CallFailed with status 404."""
        document = self._ask(self.dag_path(dag_id), "is_paused")
        return Dag(dag_id, bool(document["is_paused"]))

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler start runs of this DAG."""
        path = self.dag_path(dag_id) + "?update_mask=is_paused"
        self._patiently(lambda: self._call("PATCH", path, "is_paused", {"is_paused": False}))

    def run(self, dag_id: str, run_id: str) -> Run | None:
        """The run, or None if there is none of that id, or no such DAG."""
        try:
            return self._as_run(self._ask(self._run_path(dag_id, run_id), _RUN_KEY))
        except CallFailed as failure:
            if is_missing(failure.answer):
                return None
            raise

    def look_at_run(self, dag_id: str, run_id: str) -> Run:
        """The run, asked for once: for who asks again anyway."""
        return self._as_run(self._call("GET", self._run_path(dag_id, run_id), _RUN_KEY))

    def create_run(self, new: NewRun) -> Run:
        """Create the run, in one try: if it fails, its end may be unknown (see CallFailed.maybe_done)."""
        document: dict[str, Any] = {_RUN_KEY: new.run_id}
        if new.conf is not None:
            document["conf"] = new.conf
        if new.logical_date is not None:
            document[self._dialect.date_key] = new.logical_date
        if new.note is not None:
            document["note"] = new.note
        return self._as_run(self._call("POST", self._runs_path(new.dag_id), _RUN_KEY, document))

    def check_create_run(self, dag_id: str) -> None:
        """Find out whether create_run would be allowed, without creating anything.

        Sends what no release accepts. The body is looked at only after login, permission and DAG.
        """
        path = self._runs_path(dag_id)
        try:
            self._patiently(lambda: self._call("POST", path, _RUN_KEY, {"zzz": 1}))
        except CallFailed as failure:
            if failure.status == 400 and failure.answer is not None and "zzz" in failure.answer.text:
                return
            raise

    def run_at(self, dag_id: str, logical_date: str) -> Run | None:
        """The run with that logical date."""
        key = self._dialect.date_key
        query = urlencode({f"{key}_gte": logical_date, f"{key}_lte": logical_date, "limit": 1})
        runs = self._ask(f"{self._runs_path(dag_id)}?{query}", "dag_runs")["dag_runs"]
        return self._as_run(runs[0]) if runs else None

    def active_run(self, dag_id: str) -> Run | None:
        """The DAG's oldest run that is queued or running, or None if there is none, or no such DAG."""
        try:
            runs, _total = self.list_runs([dag_id], states=_ACTIVE, limit=1)
            return runs[0] if runs else None
        except CallFailed as failure:
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
        return self._as_runs(self._patiently(lambda: self._call("POST", self._list_path(), "dag_runs", asked)))

    def look_at_ended(self, dag_ids: Sequence[str], since: str, offset: int) -> tuple[list[Run], int]:
        """The runs of these DAGs that ended at ``since`` or later, as list_runs has them, but asked for once."""
        asked = {"dag_ids": list(dag_ids), "end_date_gte": since, "page_offset": offset, "page_limit": _PAGE}
        return self._as_runs(self._call("POST", self._list_path(), "dag_runs", asked))

    def server_time(self) -> datetime:
        """What the server's clock shows, as near as a second; ours, if it does not tell."""
        try:
            date = self.http.send("GET", self._dialect.health).headers.get("Date", "")
            return parsedate_to_datetime(date).astimezone(timezone.utc)
        except (NoAnswer, TypeError, ValueError):
            return datetime.now(timezone.utc)

    def fail_run(self, dag_id: str, run_id: str) -> Run:
        """Set the run to failed, which ends its tasks."""
        path = self._run_path(dag_id, run_id)
        return self._as_run(self._patiently(lambda: self._call("PATCH", path, _RUN_KEY, {"state": "failed"})))

    def failed_tasks(self, dag_id: str, run_id: str) -> list[FailedTask]:
        """The run's failed tasks, at most 100, the first few of them with the end of their log."""
        path = self._run_path(dag_id, run_id) + "/taskInstances"
        tasks = self._ask(path + "?state=failed&limit=100", "task_instances")["task_instances"]
        return [self._as_failed_task(path, task, with_log=number < _LOGS) for number, task in enumerate(tasks)]

    def import_errors(self) -> list[str]:
        """The files that Airflow could not import DAGs from, at most 10."""
        errors = self._ask(self._dialect.prefix + "/importErrors?limit=10", "import_errors")["import_errors"]
        return [str(error.get("filename")) for error in errors]

    def scheduler_status(self) -> str | None:
        """What Airflow says of its scheduler: "healthy" or "unhealthy"."""
        status = self._ask(self._dialect.health, "scheduler")["scheduler"].get("status")
        return None if status is None else str(status)

    def dag_path(self, dag_id: str) -> str:
        """The path of the DAG in this API."""
        return f"{self._dialect.prefix}/dags/{quote(dag_id, safe='')}"

    def _runs_path(self, dag_id: str) -> str:
        return self.dag_path(dag_id) + "/dagRuns"

    def _run_path(self, dag_id: str, run_id: str) -> str:
        return f"{self._runs_path(dag_id)}/{quote(run_id, safe='')}"

    def _list_path(self) -> str:
        return self._dialect.prefix + "/dags/~/dagRuns/list"

    def _as_runs(self, received: Mapping[str, Any]) -> tuple[list[Run], int]:
        return [self._as_run(run) for run in received["dag_runs"]], int(received["total_entries"])

    def _as_run(self, document: Mapping[str, Any]) -> Run:
        return Run(
            dag_id=document["dag_id"],
            run_id=document[_RUN_KEY],
            state=document["state"],
            conf=document.get("conf") or {},
            logical_date=document.get("logical_date") or document.get("execution_date"),
            start_date=document.get("start_date"),
            end_date=document.get("end_date"),
            note=document.get("note"),
            url=self.http.base + self._dialect.run_page(document),
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
        try:
            answer = self.http.send("GET", path, headers={"Accept": "text/plain"}, only_end=_LOG_BYTES)
        except NoAnswer:
            return None  # the log adds to what is known already
        return answer.text.strip().splitlines()[-_LOG_LINES:] if answer.status == 200 else None

    def _ask(self, path: str, key: str) -> dict[str, Any]:
        return self._patiently(lambda: self._call("GET", path, key))

    def _patiently(self, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Repeat a call that may safely be repeated."""
        patience = self.patience()
        while True:
            try:
                return call()
            except CallFailed as failure:
                if not failure.another_try(patience):
                    raise

    def _call(self, method: str, path: str, key: str, document: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One call, once. ``key`` is what Airflow's answer to it always holds, and anybody else's hardly."""
        try:
            answer = self.http.send(method, path, document=document)
        except NoAnswer as trouble:
            raise CallFailed(method, path, trouble=trouble) from None
        received = answer.document
        if answer.status != 200 or received is None or key not in received:
            raise CallFailed(method, path, answer=answer)
        return received


def is_missing(answer: Answer | None) -> bool:
    """Whether Airflow itself says that there is no such DAG or run: not a wrong path, not something in front."""
    if answer is None or answer.status != 404:
        return False
    problem = problem_of(answer)
    return problem is not None and problem.get("type") != "about:blank"


def problem_of(answer: Answer) -> dict[str, Any] | None:
    """The problem document (RFC 7807) by which the stable API refuses, or None if the answer is none."""
    return answer.document if answer.content_type == "application/problem+json" else None


def identify(http: Http) -> Server:
    """Find out what stands at ``http.base`` from what is answered without a login.

    Asks the newest generation first: where v1 has been tried already, this is the likely one. Raises NoAnswer.
    """
    stranger = http.with_login(NoLogin())
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
    username, password = options["username"] or None, options["password"] or None
    if (username is None) != (password is None):
        raise AirflowError("username and password belong together: give both, or none.")
    base = base_url(options["url"])
    login: BasicLogin | KerberosLogin | None = BasicLogin(username, password) if username and password else None
    if options["kerberos"]:
        if login:
            raise AirflowError(
                "kerberos and username are two logins: give one of them. AIRFLOW_API_USERNAME in the environment "
                "counts as username."
            )
        login = KerberosLogin(options["kerberos_hostname"] or urlsplit(base).hostname or "")
    verify: bool | str = options["validate_certs"]
    if verify and options["ca_path"]:
        verify = _existing("ca_path", options["ca_path"])
    http = Http(base, login or NoLogin(), timeout, verify, _client_certificate(options))
    return Api(http, login)


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

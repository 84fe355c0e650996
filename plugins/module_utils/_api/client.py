# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Airflow's REST API in the collection's words: DAGs, runs and failed tasks."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any, Callable, Mapping, Sequence
from urllib.parse import quote, urlencode

from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import ITEMS, CallFailed, clock_of, parts_of
from ansible_collections.fleetops.airflow.plugins.module_utils._api.auth import Logins, NoToken
from ansible_collections.fleetops.airflow.plugins.module_utils._api.calls import Caller
from ansible_collections.fleetops.airflow.plugins.module_utils._api.documents import (
    as_dag,
    as_failed_task,
    as_import_failure,
    as_task_instance,
    is_cancelled,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import (
    Answer,
    Http,
    RetryPolicy,
    TransportError,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import (
    Dag,
    FailedTask,
    ImportFailure,
    NewRun,
    Run,
    Selection,
    TaskInstance,
    UnfinishedTask,
    same_time,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

_ACTIVE = ("queued", "running")
_ENDED = ("success", "failed")
_TASK_ENDS = ("success", "failed", "skipped", "upstream_failed", "removed")
_MOST_SILENCE = 5.0  # seconds over the interval; longer, and something keeps the lines back
_PAGE = 100  # the most that Airflow lists at once unless it is told otherwise

_LOGS = 3
_LOG_LINES = 20


class Api(Caller):
    """Calls of one server's API. Every method raises CallFailed, after the retries that the call allows."""

    def without_retries(self, logins: Logins | None = None, http: Http | None = None) -> Api:
        """The same API for calls that are not worth a second try, by others: with their logins, or in their session."""
        return Api(http or self.anonymous, logins or self.logins, self.dialect, True, lambda: RetryPolicy(0))

    def dag(self, dag_id: str) -> Dag:
        """The DAG; a missing one is a CallFailed that is ``missing``."""
        try:
            document = self._ask(lambda: self.dag_path(dag_id), "is_paused")
        except CallFailed as failure:
            if failure.status == 500 and not self.dialect.has_run_path:
                self._listed(self._runs_path(dag_id))  # which tells if there is no such DAG
            raise
        return as_dag(dag_id, document)

    def set_paused(self, dag_id: str, is_paused: bool) -> None:
        """Have the scheduler start no more runs of this DAG, or start them."""

        def call() -> dict[str, Any]:
            request = self.dialect.set_paused(is_paused)
            key = "response" if request.document is None else "is_paused"
            return self._call(request.method, self._path(request.path, dag_id), key, request.document)

        self._with_retries(call)

    def run(self, dag_id: str, run_id: str) -> Run | None:
        """The run, or None if there is none of that id, or no such DAG."""
        try:
            return self._with_retries(lambda: self._find_run(dag_id, run_id))
        except CallFailed as failure:
            if failure.missing:
                return None
            raise

    def inspect_run(self, dag_id: str, run_id: str) -> Run:
        """The run, asked for once: for who asks again anyway."""
        return self._identifying(lambda: self._find_run(dag_id, run_id))

    def watch_run(
        self, dag_id: str, run_id: str, interval: float, until: Callable[[], bool], most: float = 3600.0
    ) -> bool:
        """Have the server itself look at the run each ``interval`` seconds, until it has ended, or ``until`` says so.
        For ``most`` seconds at most.

        False, perhaps at once, where that does not work here.
        """
        if not self.dialect.has_wait:
            return False
        path = f"{self._run_path(dag_id, run_id)}/wait?" + urlencode({"interval": interval})
        lines = self.http.lines(path, interval + _MOST_SILENCE, most)
        try:
            for line in lines:
                if (line and json.loads(line)["state"] in _ENDED) or until():
                    return True
        except (TransportError, NoToken, ValueError, TypeError, KeyError):
            pass  # no line of such an answer
        finally:
            lines.close()
        return False

    def create_run(self, new: NewRun, needs_tasks: bool = False) -> Run:
        """Create the run, in one try: if it fails, its end may be unknown (see CallFailed.doubt).

        Raises AirflowError as check_words does.
        """

        def call() -> Run:
            words = self.dialect
            self.check_words(new, needs_tasks)
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

    def check_words(self, new: NewRun, needs_tasks: bool = False) -> None:
        """Raise AirflowError where this generation of the API has no word for what is requested. Sends nothing.

        ``needs_tasks``: whether the run's tasks will be asked for.
        """
        if needs_tasks and not self.dialect.has_tasks:
            raise AirflowError(
                f"fail_on_failed_tasks is true, and {self.dialect.releases} does not tell which tasks failed: leave it "
                "out. Nothing was triggered."
            )
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
            self._with_retries(lambda: self._call("POST", path, self.dialect.run_key, {"zzz": 1}))
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

        for document in self._with_retries(call):
            run = self._as_run(document)
            if run.logical_date and same_time(run.logical_date, logical_date):
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
            documents = self._with_retries(lambda: self._listed(self._runs_path(dag_id)))
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
        return self._with_retries(lambda: self._list(asked))

    def newest_runs(
        self, dag_ids: Sequence[str], states: Sequence[str], since: str | None, limit: int
    ) -> tuple[list[Run], int]:
        """The ``limit`` newest runs that fit, the newest first, and how many fit in all. No dag_ids: of every DAG."""
        found: dict[tuple[str, str | None], Run] = {}
        read, total = 0, 1
        while len(found) < limit and read < total:

            def call(offset: int = read, left: int = limit - len(found)) -> tuple[list[Run], int]:
                due = self.dialect.due_key
                asked: dict[str, Any] = {"order_by": "-" + due, "page_offset": offset}
                asked["page_limit"] = min(left, _PAGE)
                filters = {"dag_ids": list(dag_ids), "states": list(states), due + "_gte": since}
                return self._list({**asked, **{key: value for key, value in filters.items() if value}})

            runs, total = self._with_retries(call)
            read += len(runs)
            known = len(found)
            for run in runs:  # one that is made meanwhile moves the others to the next page
                found.setdefault((run.dag_id, run.run_id), run)
            if len(found) == known:
                break
        return list(found.values())[:limit], total

    def inspect_ended(self, dag_ids: Sequence[str], since: str, offset: int) -> tuple[list[Run], int]:
        """The runs of these DAGs that ended at ``since`` or later, as list_runs has them, but asked for once."""
        if not self.dialect.has_run_path:  # all runs are all that can be asked for, and without their ends
            listed = [self._as_run(run) for dag_id in dag_ids for run in self._listed(self._runs_path(dag_id))]
            ended = [run for run in listed if run.finished]
            return ended, len(ended)
        asked = {"dag_ids": list(dag_ids), "end_date_gte": since, "page_offset": offset, "page_limit": _PAGE}
        return self._list(asked)

    def inspect_runs(self, asked: Mapping[str, Any]) -> tuple[list[Run], int]:
        """A page of runs of all DAGs by the filters of the API itself, and how many there are; asked for once."""
        return self._list(asked)

    def inspect_health(self) -> tuple[dict[str, str | None], datetime | None]:
        """What health() tells, and what the server's clock shows; asked for once, and without the login."""
        path = self.dialect.health
        try:
            answer = self.anonymous.send("GET", path)
        except TransportError as trouble:
            raise CallFailed("GET", path, trouble=trouble, dialect=self.dialect) from None
        document = answer.document
        if answer.status != 200 or document is None or "scheduler" not in document:
            raise CallFailed("GET", path, answer=answer, dialect=self.dialect)
        return parts_of(document), clock_of(answer)

    def inspect_import_errors(self, offset: int = 0) -> tuple[list[ImportFailure], int]:
        """A page of the files that Airflow cannot import, and how many rows there are; asked for once.

        Airflow 3 counts a row for each DAG of a file, in ``offset`` too, and lists the file once.
        """
        path = f"{self.dialect.prefix}/importErrors?limit={_PAGE}" + (f"&offset={offset}" if offset else "")
        received = self._call("GET", path, "import_errors")
        found = [as_import_failure(one) for one in received["import_errors"]]
        return found, int(received.get("total_entries", len(found)))

    def inspect_tags(self, dag_id: str) -> tuple[Dag, list[str]]:
        """The DAG and its tags, asked for once."""
        document = self._call("GET", self.dag_path(dag_id), "is_paused")
        dag = as_dag(dag_id, document)
        return dag, [str(tag.get("name")) for tag in document.get("tags") or []]

    def server_time(self) -> datetime:
        """What the server's clock shows, as near as a second; ours, if it does not tell."""
        try:
            shown = clock_of(self.anonymous.send("GET", self.dialect.health))
        except TransportError:
            shown = None
        return shown or datetime.now(timezone.utc)

    def set_run_state(self, dag_id: str, run_id: str, state: str) -> Run:
        """Set the run to "success" or "failed", which ends its tasks, or to "queued".

        Sent once: if it fails, its end may be unknown (see CallFailed.doubt).
        """

        def call() -> Run:
            path = self._run_path(dag_id, run_id)
            return self._as_run(self._call("PATCH", path, self.dialect.run_key, {"state": state}))

        return self._sent_once(call)

    def clearable_tasks(self, run: Run, selection: Selection) -> list[str]:
        """The tasks of the run that clear_tasks would clear. Shows as well whether it would be allowed."""
        return self._with_retries(lambda: self._clear(run, selection, dry_run=True))

    def clear_tasks(self, run: Run, selection: Selection) -> list[str]:
        """Have the scheduler run the selected tasks again. Sent once, as set_run_state."""
        return self._sent_once(lambda: self._clear(run, selection, dry_run=False))

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """All task instances of the run."""
        path = f"{self._run_path(dag_id, run_id)}/taskInstances?"
        listed = map(as_task_instance, self._all(path, "task_instances"))
        return list({(one.task_id, one.map_index): one for one in listed}.values())

    def tasks_of_dag(self, dag_id: str) -> list[dict[str, Any]]:
        """The tasks of the DAG as it is now, as the API lists them; asked for once."""
        tasks: list[dict[str, Any]] = self._call("GET", self.dag_path(dag_id) + "/tasks", "tasks")["tasks"]
        return tasks

    def tries_started(self, dag_id: str, run_id: str, task: TaskInstance) -> list[str] | None:
        """When each recorded try of the task instance started; None where the API does not tell, as before 2.10."""
        part = f"/{task.map_index}" if task.map_index >= 0 else ""
        path = f"{self._run_path(dag_id, run_id)}/taskInstances/{quote(task.task_id, safe='')}{part}/tries"
        try:
            tries = self._ask(lambda: path, "task_instances")["task_instances"]
        except CallFailed as failure:
            if failure.status in (403, 404):
                return None
            raise
        return [str(one["start_date"]) for one in tries if one.get("start_date")]

    def cancelled_backfill(self, run: Run) -> bool | None:
        """Whether the backfill of the run was cancelled or paused: then its runs are started no more. None if that
        cannot be determined.
        """
        query = urlencode({"dag_id": run.dag_id})
        return is_cancelled(self._all(f"{self.dialect.prefix}/backfills?{query}", "backfills"), run)

    def failed_tasks(self, dag_id: str, run_id: str) -> list[FailedTask] | None:
        """The run's failed tasks, at most 100, the first few of them with the end of their log.

        None where the API of this generation does not know tasks.
        """
        if not self.dialect.has_tasks:
            return None
        path = self._run_path(dag_id, run_id) + "/taskInstances"
        tasks = self._ask(lambda: path + "?state=failed&limit=100", "task_instances")["task_instances"]
        return [self._failed_task(path, task, with_log=number < _LOGS) for number, task in enumerate(tasks)]

    def unfinished_tasks(self, dag_id: str, run_id: str) -> list[UnfinishedTask]:
        """Those of the run's first 100 task instances that have not ended; none where the API does not know tasks."""
        if not self.dialect.has_tasks:
            return []
        path = self._run_path(dag_id, run_id) + "/taskInstances?limit=100"
        tasks = self._ask(lambda: path, "task_instances")["task_instances"]
        return [
            UnfinishedTask(task["task_id"], task.get("map_index", -1), task.get("state"), task.get("pool"))
            for task in tasks
            if task.get("state") not in _TASK_ENDS
        ]

    def has_tasks(self, dag_id: str, run_id: str) -> bool:
        """Whether the run has any task instance, ended or not; yes where the API does not know tasks."""
        if not self.dialect.has_tasks:
            return True
        path = self._run_path(dag_id, run_id) + "/taskInstances?limit=1"
        return bool(self._ask(lambda: path, "task_instances")["task_instances"])

    def any_task_ran(self, dag_id: str, run_id: str) -> bool:
        """Whether a task of the run, which has ended, has succeeded, or has run to another end."""
        path = self._run_path(dag_id, run_id) + "/taskInstances?state=success&limit=1"
        if self._ask(lambda: path, "task_instances")["task_instances"]:
            return True
        never = (None, "removed", "upstream_failed")
        return any(task.ran is not False and task.state not in never for task in self.task_instances(dag_id, run_id))

    def failed_tasks_since(self, dag_ids: Sequence[str], since: str) -> dict[tuple[str, str], list[FailedTask]] | None:
        """The tasks of these DAGs that failed at ``since`` or later, by DAG and run, without logs.

        None where the API of this generation does not know tasks.
        """
        found: dict[tuple[str, str], list[FailedTask]] = {}
        if not self.dialect.has_tasks:
            return None
        asked: dict[str, Any] = {"dag_ids": list(dag_ids), "state": ["failed"], "end_date_gte": since}
        path = self.dialect.prefix + "/dags/~/dagRuns/~/taskInstances/list"
        read, total = 0, 1
        while read < total:
            if read:
                asked["page_offset"] = read
            received = self._with_retries(lambda: self._call("POST", path, "task_instances", asked))
            tasks = received["task_instances"]
            for task in tasks:
                found.setdefault((task["dag_id"], task["dag_run_id"]), []).append(as_failed_task(task, None))
            read += len(tasks) or total
            total = int(received.get("total_entries", 0))
        return found

    def running_task(self) -> str | None:
        """A task of any DAG that runs at this moment; None if none does, or the API does not know tasks."""
        if not self.dialect.has_tasks:
            return None
        path = self.dialect.prefix + "/dags/~/dagRuns/~/taskInstances?state=running&limit=1"
        tasks = self._ask(lambda: path, "task_instances")["task_instances"]
        return f"{tasks[0]['dag_id']}.{tasks[0]['task_id']}" if tasks else None

    def pool_slots(self, name: str) -> tuple[int, int] | None:
        """How many slots a pool has, and how many of them are free; None if there is no such pool."""
        path = f"{self.dialect.prefix}/pools/{quote(name, safe='')}"
        try:
            pool = self._ask(lambda: path, "slots")
        except CallFailed as failure:
            if failure.missing:
                return None
            raise
        return int(pool["slots"]), int(pool.get("open_slots", 1))

    def max_active_runs(self, dag_id: str) -> int | None:
        """How many runs of the DAG may run at a time; None if the API does not tell."""
        limit = self._ask(lambda: self.dag_path(dag_id) + "/details", "is_paused").get("max_active_runs")
        return limit if isinstance(limit, int) else None

    def import_errors(self) -> list[str]:
        """The files that Airflow could not import DAGs from, at most 10."""
        path = self.dialect.prefix + "/importErrors?limit=10"
        errors = self._ask(lambda: path, "import_errors")["import_errors"]
        return [str(error.get("filename")) for error in errors]

    def health(self) -> dict[str, str | None]:
        """What Airflow says of its parts, such as the "scheduler": "healthy", "unhealthy", or None if there is none."""
        document = self._ask(lambda: self.dialect.health, "scheduler")
        return parts_of(document)

    def scheduler_status(self) -> str | None:
        """What Airflow says of its scheduler: "healthy" or "unhealthy"."""
        return self.health()["scheduler"]

    def verify_login(self) -> None:
        """Make a call that needs a login, and permission to look at DAGs."""
        self._ask(self.login_check_path, self.dialect.login_check[1])

    def login_check_path(self) -> str:
        """The path of that call."""
        return self.dialect.prefix + self.dialect.login_check[0]

    def dag_path(self, dag_id: str) -> str:
        """The path of the DAG in this API."""
        return self._path(self.dialect.dag, dag_id)

    def _path(self, path: str, dag_id: str) -> str:
        return self.dialect.prefix + path.format(dag=_segment("dag_id", dag_id))

    def _runs_path(self, dag_id: str) -> str:
        return self._path(self.dialect.runs, dag_id)

    def _run_path(self, dag_id: str, run_id: str) -> str:
        return f"{self._runs_path(dag_id)}/{_segment('run_id', run_id)}"

    def _clear(self, run: Run, selection: Selection, dry_run: bool) -> list[str]:
        path = self._path("/dags/{dag}/clearTaskInstances", run.dag_id)
        asked: dict[str, Any] = {"only_failed": selection.only_failed, "reset_dag_runs": True, "dry_run": dry_run}
        if selection.tasks is not None:
            asked["task_ids"] = list(selection.tasks)
        tasks = self._call("POST", path, "task_instances", {**self.dialect.clear_of(run), **asked})["task_instances"]
        return sorted({str(task["task_id"]) for task in tasks})

    def _all(self, path: str, key: str) -> list[dict[str, Any]]:
        """All items of a list, page by page. ``path`` ends where more parameters may follow."""
        found: list[dict[str, Any]] = []
        total = 1
        while len(found) < total:
            page = f"{path}&limit={_PAGE}&offset={len(found)}".replace("?&", "?")
            received = self._page(page, key)
            found += received[key]
            total = int(received.get("total_entries", 0)) if received[key] else 0
        return found

    def _page(self, path: str, key: str) -> dict[str, Any]:
        return self._ask(lambda: path, key)

    def _list(self, asked: Mapping[str, Any]) -> tuple[list[Run], int]:
        received = self._call("POST", self.dialect.prefix + "/dags/~/dagRuns/list", "dag_runs", asked)
        return [self._as_run(run) for run in received["dag_runs"]], int(received["total_entries"])

    def _find_run(self, dag_id: str, run_id: str) -> Run:
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
        received = self._call("GET", path, "dag_runs" if self.dialect.has_run_path else ITEMS)
        runs: Sequence[Mapping[str, Any]] = received["dag_runs" if self.dialect.has_run_path else ITEMS]
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
            run_type=document.get("run_type"),
        )

    def _failed_task(self, path: str, task: Mapping[str, Any], with_log: bool) -> FailedTask:
        number = task.get("try_number")
        map_index = task.get("map_index", -1)
        log = None
        if with_log and number:
            log_path = f"{path}/{quote(task['task_id'], safe='')}/logs/{number}"
            log = self._end_of_log(log_path + (f"?map_index={map_index}" if map_index >= 0 else ""))
        return as_failed_task(task, log)

    def _end_of_log(self, path: str) -> list[str] | None:
        """The last lines of a log, or None: it adds to what is known already, and must not stand in its way."""
        media_type, only_end, lines_of = self.dialect.log
        try:
            answer = self.http.send("GET", path, headers={"Accept": media_type}, only_end=only_end)
        except (TransportError, NoToken):
            return None
        return lines_of(answer)[-_LOG_LINES:] if answer.status == 200 else None


def _segment(option: str, text: str) -> str:
    """An id as a part of a path. Raises AirflowError for one that would lead to another path: nothing is sent then."""
    if text in ("", ".", "..") or "/" in text or any(ord(sign) < 32 or ord(sign) == 127 for sign in text):
        raise AirflowError(
            f"{option} is {text!r}. No such id can be named in the API. Nothing was sent. Correct {option}."
        )
    return quote(text, safe="")

# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Airflow's REST API in the collection's words: DAGs, runs and failed tasks."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Callable, Mapping, Sequence
from urllib.parse import urlencode

from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import ITEMS, CallFailed, clock_of, parts_of
from ansible_collections.fleetops.airflow.plugins.module_utils._api.auth import Logins, NoToken
from ansible_collections.fleetops.airflow.plugins.module_utils._api.documents import (
    as_dag,
    as_import_failure,
    is_cancelled,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import (
    Answer,
    Http,
    RetryPolicy,
    TransportError,
    parsed_json,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import (
    Dag,
    ImportFailure,
    NewRun,
    Run,
    Selection,
    known_date,
    same_time,
    whole_number,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._api.tasks import PAGE, TaskCalls
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

_ACTIVE = ("queued", "running")
_ENDED = ("success", "failed")
_MOST_SILENCE = 5.0  # seconds over the interval; longer, and something keeps the lines back


class Api(TaskCalls):
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

    def due_date(self, run: Run) -> str | None:
        """When the run is to start at the earliest, None if the API does not return it. Asked for once."""
        if self.dialect.due_key == self.dialect.date_key:
            return run.logical_date
        path = self._run_path(run.dag_id, str(run.run_id))
        return known_date(self._call("GET", path, self.dialect.run_key).get(self.dialect.due_key))

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
                if (line and parsed_json(line)["state"] in _ENDED) or until():
                    return True
        except (TransportError, NoToken, TypeError, KeyError):
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
        return self._as_run(min(active, key=lambda document: whole_number(document.get("id")) or 0)) if active else None

    def list_runs(
        self,
        dag_ids: Sequence[str],
        states: Sequence[str] = (),
        offset: int = 0,
        limit: int = PAGE,
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
                asked["page_limit"] = min(left, PAGE)
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
        asked = {"dag_ids": list(dag_ids), "end_date_gte": since, "page_offset": offset, "page_limit": PAGE}
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
        path = f"{self.dialect.prefix}/importErrors?limit={PAGE}" + (f"&offset={offset}" if offset else "")
        received = self._call("GET", path, "import_errors")
        found = [as_import_failure(one) for one in received["import_errors"]]
        return found, whole_number(received.get("total_entries", len(found))) or 0

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

    def cancelled_backfill(self, run: Run) -> bool | None:
        """Whether the backfill of the run was cancelled or paused: then its runs are started no more. None if that
        cannot be determined.
        """
        query = urlencode({"dag_id": run.dag_id})
        return is_cancelled(self._all(f"{self.dialect.prefix}/backfills?{query}", "backfills"), run)

    def max_active_runs(self, dag_id: str) -> int | None:
        """How many runs of the DAG may run at a time; None if the API does not tell."""
        limit = self._ask(lambda: self.dag_path(dag_id) + "/details", "is_paused").get("max_active_runs")
        return whole_number(limit)

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

    def _clear(self, run: Run, selection: Selection, dry_run: bool) -> list[str]:
        path = self._path("/dags/{dag}/clearTaskInstances", run.dag_id)
        asked: dict[str, Any] = {"only_failed": selection.only_failed, "reset_dag_runs": True, "dry_run": dry_run}
        if selection.tasks is not None:
            asked["task_ids"] = list(selection.tasks)
        tasks = self._call("POST", path, "task_instances", {**self.dialect.clear_of(run), **asked})["task_instances"]
        return sorted({str(task["task_id"]) for task in tasks})

    def _list(self, asked: Mapping[str, Any]) -> tuple[list[Run], int]:
        try:
            received = self._call("POST", self.dialect.prefix + "/dags/~/dagRuns/list", "dag_runs", asked)
        except CallFailed as failure:
            limit = int(asked.get("page_limit", PAGE))
            if failure.trouble is None or not failure.trouble.too_large or limit == 1:
                raise
            return self._list({**asked, "page_limit": max(1, limit // 4)})  # each run has its conf in it
        return [self._as_run(run) for run in received["dag_runs"]], whole_number(received.get("total_entries")) or 0

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
            logical_date=known_date(document.get("logical_date") or document.get("execution_date")),
            start_date=known_date(document.get("start_date")),
            end_date=known_date(document.get("end_date")),
            note=document.get("note"),
            url=page and self.base + page,
            run_type=document.get("run_type"),
        )

# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API has on tasks: their instances, the ends of their logs, and the pools that they wait for."""

from __future__ import annotations

from typing import Any, Callable, Collection, Iterator, Mapping, Sequence
from urllib.parse import quote

from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.auth import NoToken
from ansible_collections.fleetops.airflow.plugins.module_utils._api.calls import Caller
from ansible_collections.fleetops.airflow.plugins.module_utils._api.documents import as_failed_task, as_task_instance
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import TransportError
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import (
    FailedTask,
    TaskInstance,
    UnfinishedTask,
    whole_number,
)

PAGE = 100  # the most that Airflow lists at once unless it is told otherwise

_TASK_ENDS = ("success", "failed", "skipped", "upstream_failed", "removed")
_NO_SUCH_DAG = "fleetops.airflow.no_such_dag"
_LOGS = 3
_LOG_LINES = 20


class TaskCalls(Caller):
    """Calls about task instances. Every method raises CallFailed, after the retries that the call allows."""

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
        """The run's task instances that have not ended, those first that the scheduler has looked at.

        None of them where the API does not know tasks. Those read so far, if the list cannot be read to its end.
        """
        if not self.dialect.has_tasks:
            return []
        listed: list[dict[str, Any]] = []
        try:
            listed.extend(self._all(f"{self._run_path(dag_id, run_id)}/taskInstances?", "task_instances"))
        except CallFailed:
            if not listed:
                raise
        found = [
            UnfinishedTask(task["task_id"], task.get("map_index", -1), task.get("state"), task.get("pool"))
            for task in listed
            if task.get("state") not in _TASK_ENDS
        ]
        return sorted(found, key=lambda task: task.state is None)

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

        None where the API does not know tasks, or not of which run they are.
        """
        if not self.dialect.has_tasks:
            return None
        found: dict[tuple[str, str], list[FailedTask]] = {}
        for task in self._ended_tasks({"dag_ids": list(dag_ids), "state": ["failed"], "end_date_gte": since}):
            if not task.get("dag_run_id"):
                return None  # early releases name the date of the run instead
            found.setdefault((task["dag_id"], task["dag_run_id"]), []).append(as_failed_task(task, None))
        return found

    def runs_with_tasks(self, runs: Collection[tuple[str, str]], since: str) -> Iterator[tuple[str, str]]:
        """Those of these runs, by DAG and run, of which a task ended at ``since`` or later, as they are found.

        Not all of them where it would be cheaper to ask for the tasks of each run.
        """
        found: set[tuple[str, str]] = set()
        asked = {"dag_ids": sorted({dag_id for dag_id, _run_id in runs}), "end_date_gte": since}
        for number, task in enumerate(self._ended_tasks(asked) if self.dialect.has_tasks else ()):
            if len(found) == len(runs) or number == len(runs) * PAGE:
                break
            key = (str(task["dag_id"]), str(task.get("dag_run_id")))
            if key in runs and key not in found:
                found.add(key)
                yield key

    def _all(self, path: str, key: str) -> Iterator[dict[str, Any]]:
        """All items of a list, page by page. ``path`` ends where more parameters may follow."""

        def page(offset: int) -> dict[str, Any]:
            query = f"&limit={PAGE}" + f"&offset={offset}" * bool(offset)
            return self._ask(lambda: (path + query).replace("?&", "?"), key)

        return _items(page, key)

    def _ended_tasks(self, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The task instances of all DAGs that fit, page by page."""
        path = self.dialect.prefix + "/dags/~/dagRuns/~/taskInstances/list"

        def page(offset: int) -> dict[str, Any]:
            further = {"page_offset": offset} if offset else {}
            return self._with_retries(lambda: self._call("POST", path, "task_instances", {**asked, **further}))

        return _items(page, "task_instances")

    def running_task(self) -> str | None:
        """A task of any DAG that runs at this moment, and "" if none does.

        None if that cannot be determined: the API does not know tasks, or this user sees those of some DAGs only.
        """
        if not self.dialect.has_tasks:
            return None
        path = self.dialect.prefix + "/dags/~/dagRuns/~/taskInstances?state=running&limit=1"
        tasks = self._ask(lambda: path, "task_instances")["task_instances"]
        if tasks:
            return f"{tasks[0]['dag_id']}.{tasks[0]['task_id']}"
        return "" if self._reads_every_dag() else None

    def _reads_every_dag(self) -> bool:
        """Whether nothing is left out of the lists for this user.

        Who may read certain DAGs only is forbidden to read one that does not exist; to others it is missing.
        """
        try:
            self._ask(lambda: self.dag_path(_NO_SUCH_DAG), "is_paused")
        except CallFailed as failure:
            return failure.missing
        return False  # so there is one

    def pool_slots(self, name: str) -> tuple[int, int | None] | None:
        """How many slots a pool has, and how many of them are free; None if there is no such pool.

        Those that are free are None where nothing limits them (-1 slots), or the API does not return them.
        """
        path = f"{self.dialect.prefix}/pools/{quote(name, safe='')}"
        try:
            pool = self._ask(lambda: path, "slots")
        except CallFailed as failure:
            if failure.missing:
                return None
            raise
        slots = whole_number(pool["slots"])
        limited = slots is not None and slots >= 0
        return slots or 0, whole_number(pool.get("open_slots")) if limited else None

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
        for form in self.dialect.logs:
            try:
                answer = self.http.send("GET", path, headers={"Accept": form.media_type}, only_end=form.only_end)
            except NoToken:
                return None
            except TransportError as trouble:
                if trouble.kind == "timeout":  # another form of the same log would take as long
                    return None
                continue
            lines = form.lines(answer) if answer.status == 200 else None
            if lines is not None:
                return lines[-_LOG_LINES:]
            if answer.status not in (200, 400, 406, 415, 422):  # so it is not for its form
                return None
        return None


def _items(page: Callable[[int], dict[str, Any]], key: str) -> Iterator[dict[str, Any]]:
    """The items of all pages, each as it is read. ``page`` asks for the one from an offset on."""
    read, total = 0, 1
    while read < total:
        received = page(read)
        yield from received[key]
        read += len(received[key]) or total  # a page without any is the last one
        total = whole_number(received.get("total_entries")) or 0

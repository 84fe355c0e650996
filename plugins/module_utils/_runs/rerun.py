# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have a run that has ended run again, or set its state, once.

A run that is cleared twice would run twice, and nothing in the request tells Airflow that it has seen it before; it may
also come late. So a request that may have been carried out is never sent again: the run is looked at, for as long as
a server that restarts is waited for, and where it does not change, it is said that nobody knows.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, NamedTuple, Sequence

from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed, Doubt
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.dialects import V2
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import (
    Run,
    Selection,
    TaskInstance,
    same_time,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

_ALL = Selection(None, False)
_FAILED = ("failed", "upstream_failed")
_ENDED = ("success", "skipped", "removed", *_FAILED)
# Of a run that has ended: releases before 2.4 leave these as they are where they end one.
_WAITING = (None, "scheduled", "up_for_retry", "up_for_reschedule")
_MOST_ASKED = 100  # skipped task instances whose tries are read one by one
_NAMED = 5
_BACKFILL = "backfill"


class Wanted(NamedTuple):
    """Either ``state`` is set, or ``rerun`` is "failed_tasks" or "all_tasks".

    A run is rerun only out of ``rerun_states``, and with ``end_date`` only if that is when it ended. ``if_paused``:
    what to do where the DAG is paused, "fail", "unpause", or "rerun" all the same.
    """

    dag_id: str
    run_id: str
    state: str | None = None
    rerun: str | None = None
    rerun_states: Sequence[str] = ("failed",)
    end_date: str | None = None
    if_paused: str = "fail"


class RunChange:
    """One change of one run: ``before`` and ``after`` are the run, ``tasks`` what was cleared.

    ``reason`` says why nothing is done. ``in_doubt``: the change was sent, and whether it was made could not be found
    out. Methods raise CallFailed where the API refuses, and AirflowError with a diagnosis for everything else.
    """

    def __init__(self, api: Api, wanted: Wanted) -> None:
        self._api = api
        self._wanted = wanted
        self.before: Run | None = None
        self.after: Run | None = None
        self.tasks: list[str] = []
        self.reason: str | None = None
        self.changed = False
        self.in_doubt = False
        self.warnings: list[str] = []

    def make(self, check_mode: bool = False) -> None:
        """Make it, or in check mode find out what it would be."""
        before = self.before = self.after = self._found()
        if self._wanted.state is not None:
            self._set_state(before, self._wanted.state, check_mode)
        else:
            self._rerun(before, check_mode)

    def result(self) -> dict[str, Any]:
        """What is known so far, as the module's result has it."""
        known: dict[str, Any] = {"changed": self.changed, "tasks": self.tasks, "reason": self.reason}
        if self.in_doubt:
            known["in_doubt"] = True
        if self.warnings:
            known["warnings"] = list(self.warnings)
        if self.before is not None and self.after is not None:
            known["dag_run"] = self.after._asdict()
            known["diff"] = {"before": _as_text(self.before), "after": _as_text(self.after)}
        return known

    def _found(self) -> Run:
        wanted = self._wanted
        run = self._api.run(wanted.dag_id, wanted.run_id)
        if not self._api.dialect.has_tasks:
            raise AirflowError(
                f"The server speaks the API of {self._api.dialect.releases}, which can neither rerun a run nor set its "
                "state."
            )
        if run is None:
            self._api.dag(wanted.dag_id)  # which tells if it is the DAG that is missing
            from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis import runs as diagnosis

            raise self._failed("does not exist", diagnosis.no_such_run(wanted.run_id))
        return run

    def _set_state(self, before: Run, state: str, check_mode: bool) -> None:
        wanted = self._wanted
        if before.state == state:
            self.reason = f"the run is {state} already"
            return
        unpause = state == "queued" and self._must_unpause(before)
        if check_mode:
            self._planned(before._replace(state=state))
            return
        if unpause:
            self._unpause()
        unfinished = self._unfinished() if before.state in ("queued", "running") else set()
        done_by = ("queued", "running") if state == "queued" else (state,)
        self.after = self._sent(
            lambda: self._api.set_run_state(wanted.dag_id, wanted.run_id, state),
            lambda run: run.state in done_by,
        )
        if self.after.state not in done_by:  # 3.x lets the teardowns end first
            self.changed = unpause or self._unfinished() != unfinished
            self.reason = f"the run is still {self.after.state}: its teardown goes on, and then it ends as {state}"

    def _unfinished(self) -> set[tuple[str, int]]:
        tasks = self._api.task_instances(self._wanted.dag_id, self._wanted.run_id)
        return {(task.task_id, task.map_index) for task in tasks if task.state not in _ENDED}

    def _rerun(self, before: Run, check_mode: bool) -> None:
        wanted = self._wanted
        self.reason = _why_not(before, wanted)
        if self.reason is not None:
            return
        unpause = self._must_unpause(before)
        selections = [_ALL]
        if wanted.rerun == "failed_tasks":
            selections = self._select_failed(before)
        self.tasks = sorted({task for each in selections for task in self._api.clearable_tasks(before, each)})
        if not self.tasks:
            from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis import runs as diagnosis

            raise self._failed("was not rerun", diagnosis.nothing_to_clear())
        if wanted.rerun == "failed_tasks" and self._api.dialect is V2:
            self._warn_of_teardowns()
        if check_mode:
            self._planned(before._replace(state="queued", start_date=None, end_date=None))
            return
        self.reason = _why_not(self._found(), wanted)  # it took a while to find that out
        if self.reason is not None:
            return
        if unpause:
            self._unpause()
        cleared: set[str] = set()

        def is_done(run: Run) -> bool:  # after the first request, the run shows nothing of a second one
            return not cleared and _attempt(run) != _attempt(before)

        for selection in selections:

            def clear(selection: Selection = selection) -> Run:
                tasks = self._api.clear_tasks(before, selection)
                # Some releases look once more before they answer, and find none that is still to be cleared.
                cleared.update(tasks or self.tasks)
                self.changed = True  # whatever becomes of the next look
                return self._api.run(wanted.dag_id, wanted.run_id) or before

            self.after = self._sent(clear, is_done)
        self.tasks = sorted(cleared) or self.tasks

    def _select_failed(self, run: Run) -> list[Selection]:
        listed = self._api.task_instances(self._wanted.dag_id, self._wanted.run_id)
        unsure = [task for task in listed if task.ran is None]
        known = {task: self._with_ran(task) for task in unsure[:_MOST_ASKED]}
        tasks = [known.get(task, task) for task in listed]
        takes_parts = self._api.dialect is V2
        selections = select_failed(tasks, run.state, takes_parts)
        guessed = [task for task in tasks if task.ran is None]
        if guessed and selections:
            self.warnings.append(
                f"{_names(guessed)} ran and then became skipped. Whether this was by itself, or because the run was "
                "ended while it waited for its next try, cannot be determined. It is cleared, and skips itself again "
                "where the DAG has it so."
            )
        left = left_out(tasks, selections)
        if left:
            self.warnings.append(
                f"Of the mapped {_names(left)}, instances that did not run are not cleared, because the API of "
                f"{self._api.dialect.releases} cannot clear them without those that succeeded. Set rerun to all_tasks, "
                "or clear these instances in the web interface."
            )
        return selections

    def _warn_of_teardowns(self) -> None:
        """Airflow 3.2 clears no setups and teardowns along, and no release tells which tasks are setups."""
        try:
            listed = self._api.tasks_of_dag(self._wanted.dag_id)
        except CallFailed:
            return  # the role may not read tasks of the DAG
        left = teardowns_left_out(listed, self.tasks)
        if left:
            self.warnings.append(
                f"Airflow does not clear the teardown {', '.join(left)} along, nor its setups. Airflow 3.2 never does. "
                "Set rerun to all_tasks if the tasks that run again need them."
            )

    def _with_ran(self, task: TaskInstance) -> TaskInstance:
        """The same with ``ran``, where the tries that Airflow has recorded show it."""
        tries = self._api.tries_started(self._wanted.dag_id, self._wanted.run_id, task)
        if tries is None or task.start_date not in tries:
            return task
        # A try is recorded when it fails, or is cleared, and the task instance has its dates until the next one starts.
        if tries.count(task.start_date) > 1:
            return task._replace(ran=False)
        return task if task.may_be_sensor else task._replace(ran=True)

    def _must_unpause(self, run: Run) -> bool:
        """Whether the DAG has to be unpaused. Raises AirflowError where Airflow would start nothing of the run."""
        from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis import runs as diagnosis

        dag = self._api.dag(run.dag_id)
        if dag.has_import_errors:  # nothing starts, or what was there before the file was changed
            raise self._failed("was not changed", diagnosis.import_error(dag.dag_id))
        if dag.is_stale:  # as one whose file cannot be imported may be too
            raise self._failed("was not changed", diagnosis.stale_dag(dag.dag_id))
        if _is_of_backfill(run) and self._is_left_alone(run):
            raise self._failed("was not changed", diagnosis.run_of_backfill(self._api.dialect is V2))
        if dag.is_paused and self._wanted.if_paused == "fail":
            raise self._failed("was not changed", diagnosis.paused_dag_of_run(dag.dag_id))
        return dag.is_paused and self._wanted.if_paused == "unpause"

    def _unpause(self) -> None:
        self._api.set_paused(self._wanted.dag_id, False)
        self.changed = True

    def _is_left_alone(self, run: Run) -> bool:
        """Whether the scheduler starts a run of a backfill no more: never on 2.x, on 3.x where it was cancelled."""
        if self._api.dialect is not V2:
            return True
        why = "several backfills cover its date, and not all of them were"
        try:
            cancelled = self._api.cancelled_backfill(run)
        except CallFailed as failure:
            if failure.status not in (403, 404):
                raise
            cancelled, why = None, f"the API answers {failure.status} to the request for the backfills of the DAG"
        if cancelled is None:
            self.warnings.append(
                f"Run {run.run_id!r} belongs to a backfill. Whether that was cancelled or paused cannot be determined: "
                f"{why if run.logical_date else 'the run has no logical date'}. If it was, the run stays queued. Check "
                "the backfills of the DAG in the web interface."
            )
        return bool(cancelled)

    def _planned(self, run: Run) -> None:
        self.after = run
        self.changed = True

    def _sent(self, send: Callable[[], Run], is_done: Callable[[Run], bool]) -> Run:
        """Send once. Where it may have been carried out, look for that, for the patience that a call has."""
        before = self.changed
        try:
            run = send()
            self.changed = True
            return run
        except CallFailed as failure:
            if (self.changed and not before) or failure.doubt is Doubt.NONE:
                raise
            self.in_doubt = True
            retry_policy = self._api.retry_policy()
            while True:
                there = self._api.run(self._wanted.dag_id, self._wanted.run_id)
                if there is not None and is_done(there):
                    self.changed, self.in_doubt = True, False
                    return there
                if failure.doubt is Doubt.OVER:
                    self.in_doubt = False  # Airflow itself is done with that request, and nothing has changed
                if not self.in_doubt or not retry_policy.pause():
                    raise

    def _failed(self, what: str, why: Any) -> AirflowError:
        from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import error

        subject = f"Run {self._wanted.run_id!r} of DAG {self._wanted.dag_id!r} on {self._api.base}"
        return error(f"{subject} {what}", why, **self.result())


def wanted_change(options: Mapping[str, Any]) -> Wanted:
    """What the options of airflow_dag_run ask for. Raises AirflowError for an end_date that is none."""
    from ansible_collections.fleetops.airflow.plugins.module_utils._runs.request import parse_timestamp

    end_date = options["end_date"]
    return Wanted(
        options["dag_id"],
        options["run_id"],
        options["state"],
        options["rerun"],
        options["rerun_states"],
        parse_timestamp("end_date", end_date) if end_date else None,
        options["if_paused"],
    )


def select_failed(tasks: Sequence[TaskInstance], state: str | None, takes_parts: bool) -> list[Selection]:
    """The tasks that failed, and those that did not run because of it: upstream_failed, skipped by others, or waiting.

    Why others have skipped a task is not known, so Airflow is to decide again. What may have skipped itself counts as
    skipped by others: to run it again does less harm than to leave it out without a word. ``state`` is the run's: a
    success was not ended early unless a task failed. ``takes_parts``: instances of a mapped task can be named. Where
    they cannot, those that failed take a request of their own.
    """
    wanted = _wanted_instances(tasks)
    if state == "success" and not any(task.state in _FAILED for task in wanted):
        return []
    others = {task.task_id for task in tasks if task not in wanted}
    whole = sorted({task.task_id for task in wanted if task.task_id not in others})
    parts = sorted((task.task_id, task.map_index) for task in wanted if task.task_id in others)
    if takes_parts:
        return [Selection([*whole, *parts], False)] if wanted else []
    selections = [Selection(whole, False)] if whole else []
    return [*selections, Selection(sorted({task_id for task_id, _index in parts}), True)] if parts else selections


def left_out(tasks: Sequence[TaskInstance], selections: Sequence[Selection]) -> list[TaskInstance]:
    """The instances that should be cleared and that no selection takes, since it has only the failed ones of a task."""
    only_failed = {name for one in selections if one.only_failed for name in one.tasks or ()}
    return [one for one in _wanted_instances(tasks) if one.task_id in only_failed and one.state not in _FAILED]


def teardowns_left_out(tasks: Sequence[Mapping[str, Any]], cleared: Sequence[str]) -> list[str]:
    """The teardowns behind the tasks that are cleared, and not among them. ``tasks``: those of the DAG."""
    behind = {str(task["task_id"]): task.get("downstream_task_ids") or [] for task in tasks}
    reached: set[str] = set()
    waiting = list(cleared)
    while waiting:
        following = set(behind.get(waiting.pop(), [])) - reached
        reached |= following
        waiting.extend(following)
    # The trigger rule that as_teardown() sets, and that no other task may have.
    teardowns = {str(task["task_id"]) for task in tasks if task.get("trigger_rule") == "all_done_setup_success"}
    return sorted(teardowns & reached - set(cleared))


def _wanted_instances(tasks: Sequence[TaskInstance]) -> list[TaskInstance]:
    return [
        task
        for task in tasks
        if task.state in (*_FAILED, *_WAITING) or (task.state == "skipped" and task.ran is not True)
    ]


def _names(tasks: Sequence[TaskInstance]) -> str:
    names = sorted({task.task_id for task in tasks})
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ("task " if len(names) == 1 else "tasks ") + ", ".join(names[:_NAMED]) + more


def _is_of_backfill(run: Run) -> bool:
    """By its type. Only where the API does not tell it by its id: a run may be given any id."""
    if run.run_type is not None:
        return run.run_type == _BACKFILL
    return str(run.run_id).startswith(_BACKFILL + "__")


def _why_not(run: Run, wanted: Wanted) -> str | None:
    """Why the run is left alone; None if it is to be rerun."""
    if run.state not in wanted.rerun_states:
        return f"the run is {run.state}, and is rerun only out of {' or '.join(wanted.rerun_states)}"
    if wanted.end_date and not (run.end_date and same_time(run.end_date, wanted.end_date)):
        return f"the run ended at {run.end_date}, and the end that is meant is {wanted.end_date}"
    return None


def _attempt(run: Run) -> tuple[str | None, str | None, str | None]:
    return run.state, run.start_date, run.end_date


def _as_text(run: Run) -> str:
    return f"state: {run.state}\nstart_date: {run.start_date}\nend_date: {run.end_date}\n"

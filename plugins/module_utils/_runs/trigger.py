# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trigger a DAG exactly once, and wait for the end of its run.

Exactly once rests on two things: the run's id is chosen here, before anything is sent, and Airflow keeps
at most one run of an id. So whatever became of a request, asking for the id tells, and the same request
can be sent again.

What only a failure needs is imported by a failure: Ansible has each file compiled anew for each task.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Callable, ContextManager, Mapping

from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed, Doubt
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.deadline import all_within
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import (
    Dag,
    FailedTask,
    Run,
    UnfinishedTask,
    parsed_date,
    same_time,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.request import RunRequest
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.waits import SchedulerWatch, pause, watch

if TYPE_CHECKING:
    from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import Diagnosis
    from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.unfinished import HoldUps

_INSTANT = 0.05  # seconds for which it is not worth to wait
LEAST_LOOK = 1.0  # seconds that a look at a run may take, however little is left of wait_timeout
LAST_WORDS = 5.0  # seconds to find out afterwards why a run, or many, have not ended
_MOST_SHOWN = 100  # task instances in a result
# The server is asked for its time where a clock that is wrong by less than a day might mistake what is due. The clock
# of the scheduler, which decides, may be another one still.
_MOST_SKEW = timedelta(days=1)
_MARGIN = 30.0
# One that is refused may be meant for somebody else (a server that restarts behind a proxy); three are an answer.
_REFUSALS = 3


class Dags:
    """DAGs, each looked at once, for all the runs of it that are requested, and the server's clock."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._known: dict[str, Dag] = {}
        self._ahead: timedelta | None = None  # of our clock

    def get(self, dag_id: str) -> Dag:
        """The DAG; a missing one is a CallFailed with status 404."""
        with self._lock:
            if dag_id not in self._known:
                self._known[dag_id] = self._api.dag(dag_id)
            return self._known[dag_id]

    def server_time(self) -> datetime:
        """What the server's clock shows, which decides when a run is due."""
        with self._lock:
            now = datetime.now(timezone.utc)
            if self._ahead is None:
                self._ahead = self._api.server_time() - now
            return now + self._ahead

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler start runs of this DAG."""
        with self._lock:
            self._api.set_paused(dag_id, False)
            self._known[dag_id] = self._known[dag_id]._replace(is_paused=False)


class Trigger:
    """One requested run on its way: ``changed``, ``run`` and ``failed_tasks`` tell how far it has come.

    ``in_doubt``: the run has been asked for, and whether it exists could not be found out.

    ``dags`` and ``lane`` are for many requests together: what they know of DAGs, and what each has to wait for before
    it is sent. The methods raise CallFailed where the API refuses, and AirflowError with a diagnosis for everything
    else.
    """

    def __init__(
        self,
        api: Api,
        request: RunRequest,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        dags: Dags | None = None,
        lane: Callable[[], ContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._api = api
        self._dags = dags or Dags(api)
        self._lane = lane
        self.request = request
        self._new = request.new
        self._clock = clock
        self._sleep = sleep
        self.changed = False
        self.in_doubt = False
        self.out_of_reach = False  # whether there was no answer when the run was to be set to failed
        self.created = False  # whether the run is there because of this task
        self._shows_conf = True  # not that of a run of somebody else's: it may hold secrets
        self.run: Run | None = None
        self.failed_tasks: list[FailedTask] | None = []  # None if they cannot be told
        self.warnings: list[str] = []
        self.unfinished_tasks: list[UnfinishedTask] = []  # of a run that has not ended in time

    def submit(self, check_mode: bool = False) -> Run:
        """Make the run exist, and return it. In check mode only look whether that would go well."""
        new = self._new
        if self.request.named:
            self.run = self._api.run(new.dag_id, new.run_id)
            if self.run is not None:
                self._shows_conf = False
                self._check_same(self.run)
                self._shows_conf = new.conf is not None
        if self.run is None and self.request.unless_running:
            self.run = self._api.active_run(new.dag_id)
            self._shows_conf = self.run is None
        if self.run is not None and (self.run.finished or not self.request.waits):
            return self.run
        self._check_starts_in_time()
        unpause = self._must_unpause(check_mode)
        if check_mode:
            planned = self.run or self._checked_plan()
            self.changed = unpause or planned is not self.run
            self.run = planned
            return planned
        if unpause:
            self._dags.unpause(new.dag_id)
            self.changed = True
        if self.run is None:
            self.run, self.created = self._created()
            self.changed = self.changed or self.created
            if not self.created:
                self._shows_conf = False
                self._check_same(self.run)
                self._shows_conf = new.conf is not None
            self._check_starts_in_time()
        return self.run

    def wait(self, with_tasks: bool = True) -> Run:
        """Wait until the submitted run has ended well, and return it. ``with_tasks``: find out which tasks failed."""
        run = self._waited_for(self._submitted())
        with all_within(self._api.http.timeout):
            return self._judged(run, with_tasks)

    def _judged(self, run: Run, with_tasks: bool) -> Run:
        if run.state == "failed":
            if with_tasks:
                self._fetch_failed_tasks(run)
            from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis import runs as diagnosis

            raise self._failed(
                f"Run {run.run_id!r} of DAG {run.dag_id!r}", "failed", diagnosis.failed_run(run.url, self.failed_tasks)
            )
        if with_tasks:
            self._fetch_failed_tasks(run)
        self.check_success(run)
        return run

    def check_success(self, run: Run, has_tasks: bool = False) -> None:
        """Raise AirflowError for a success that is none: no task has run, or some failed and that is not wanted.

        ``has_tasks``: that the run has any is known already.
        """
        why = None
        if self.failed_tasks is None and self.request.fail_on_failed_tasks:
            from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis import runs as diagnosis

            why = diagnosis.failed_tasks_unknown(run.url)
        elif self.failed_tasks and self.request.fail_on_failed_tasks:
            from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis import runs as diagnosis

            why = diagnosis.tasks_failed(run.url, self.failed_tasks)
        elif not self.failed_tasks and not has_tasks and self._has_tasks(run) is False:
            from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis import runs as diagnosis

            why = diagnosis.no_task_ran(run.logical_date)
        if why:
            raise self._failed(f"Run {run.run_id!r} of DAG {run.dag_id!r}", "did not do its work", why)

    def _has_tasks(self, run: Run) -> bool | None:
        """None if that cannot be determined, as by a user who may not read tasks."""
        try:
            return self._api.has_tasks(run.dag_id, str(run.run_id))
        except (CallFailed, AirflowError):
            self.warnings.append(
                f"Whether any task of run {run.run_id!r} of DAG {run.dag_id!r} has run could not be determined. "
                "Airflow calls a run without tasks a success too."
            )
            return None

    def result(self) -> dict[str, Any]:
        """What is known so far, as the module's result has it."""
        known: dict[str, Any] = {"changed": self.changed}
        run = self._plan() if self.run is None and self.in_doubt else self.run
        if self.in_doubt:
            known["in_doubt"] = True
        if run is not None:
            known["dag_run"] = (run if self._shows_conf else run._replace(conf=None))._asdict()
        if self.request.waits:
            known["failed_tasks"] = [task._asdict() for task in self.failed_tasks or []]
            known["timed_out"] = False
        if self.warnings:
            known["warnings"] = list(self.warnings)
        if self.unfinished_tasks:
            known["unfinished_tasks"] = [task._asdict() for task in self.unfinished_tasks[:_MOST_SHOWN]]
        return known

    def _must_unpause(self, check_mode: bool) -> bool:
        if self.request.if_paused == "trigger" and not check_mode:
            return False  # the request itself shows what else is wrong
        dag = self._dags.get(self._new.dag_id)
        if not dag.is_paused and not dag.has_import_errors and not dag.is_stale and dag.allows_manual_runs:
            return False
        from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis import runs as diagnosis

        if dag.has_import_errors:  # which 2.x and 3.x answer in different ways, and in check mode not at all
            raise self._failed(f"DAG {dag.dag_id!r}", "was not triggered", diagnosis.import_error(dag.dag_id))
        if dag.is_stale:  # as one whose file cannot be imported may be too
            raise self._failed(f"DAG {dag.dag_id!r}", "was not triggered", diagnosis.stale_dag(dag.dag_id))
        if not dag.allows_manual_runs:
            why = diagnosis.no_manual_runs(dag.dag_id)
            raise self._failed(f"DAG {dag.dag_id!r}", "was not triggered", why)
        if dag.is_paused and self.request.if_paused == "fail":
            raise self._failed(f"DAG {dag.dag_id!r}", "was not triggered", diagnosis.paused_dag(self._new.dag_id))
        return dag.is_paused and self.request.if_paused == "unpause"

    def _checked_plan(self) -> Run:
        self._api.check_words(self._new, self.request.fail_on_failed_tasks)
        self._api.check_create_run(self._new.dag_id)
        if self._new.logical_date is not None:
            other = self._other_run_at(self._new.logical_date)
            if other:
                raise self._date_taken(self._new.logical_date, other, None)
        return self._plan() if self.request.named else self._plan()._replace(run_id=None)

    def _plan(self) -> Run:
        new = self._new
        return Run(new.dag_id, new.run_id, None, new.conf or {}, new.logical_date, None, None, new.note, None)

    def _created(self) -> tuple[Run, bool]:
        """The run, and whether it exists because of us."""
        new = self._new
        retry_policy = self._api.retry_policy()
        while True:
            try:
                with self._lane():
                    created = self._api.create_run(new, self.request.fail_on_failed_tasks)
                return self._settled(created, True)
            except CallFailed as failure:
                open_before = self.in_doubt
                self.in_doubt = open_before or failure.taken or failure.doubt is not Doubt.NONE
                if self.in_doubt:
                    run = self._api.run(new.dag_id, new.run_id)
                    if run is not None:
                        maybe_ours = open_before or failure.doubt is not Doubt.NONE
                        return self._settled(run, self._is_ours(run, maybe_ours))
                    self.in_doubt = open_before or failure.doubt is Doubt.OPEN
                if new.logical_date is not None:
                    self._check_date_free(new.logical_date, failure)
                # Taken without a date: Airflow took the moment, and somebody else had the same one.
                if not (retry_policy.pause() if failure.taken else failure.try_again(retry_policy)):
                    raise

    def _is_ours(self, run: Run, maybe: bool) -> bool:
        """Whether a run of the wanted id, found after a request that failed, is there because of that request.

        ``maybe``: the request may have been carried out. Then it is, unless the run shows that somebody was quicker.
        """
        new = self._new
        if not self.request.named:
            return True  # nobody else knows the id
        return maybe and not _differing_keys(run.conf or {}, new.conf or {}) and not self._other_date(run)

    def _other_date(self, run: Run) -> bool:
        date = self._new.logical_date
        return bool(date and not (run.logical_date and same_time(date, run.logical_date)))

    def _settled(self, run: Run, created: bool) -> tuple[Run, bool]:
        self.in_doubt = False
        return run, created

    def _check_starts_in_time(self) -> None:
        """Raise AirflowError for a run, there or to be, that Airflow starts only after the wait."""
        run = self.run
        if not self.request.waits or (run is not None and run.state != "queued"):
            return
        date = self._new.logical_date
        if (run is None or self.created) and (date is None or _is_past(date)):
            return
        if run is not None:
            with contextlib.suppress(CallFailed):
                date = self._api.due_date(run)
        if date is None or _is_past(date):
            return
        seconds = (parsed_date(date) - self._dags.server_time()).total_seconds()
        early = self._api.dialect.due_before.total_seconds() if run is None else 0.0
        if seconds - early <= self.request.wait_timeout + _MARGIN:
            return
        from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis import runs as diagnosis

        why = diagnosis.future_date(date, seconds, self.request.wait_timeout)
        if run is None:
            raise self._failed(f"DAG {self._new.dag_id!r}", "was not triggered", why)
        raise self._failed(f"Run {run.run_id!r} of DAG {run.dag_id!r}", "exists, and was not waited for", why)

    def _check_same(self, run: Run) -> None:
        """Whether a run that was there already is the one that is asked for."""
        new = self._new
        keys = _differing_keys(run.conf, new.conf) if new.conf is not None and run.conf is not None else []
        date = self._other_date(run)
        if keys or date:
            from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis import runs as diagnosis

            raise self._failed(
                f"Run {new.run_id!r} of DAG {new.dag_id!r}",
                "exists already, but is another one than asked for",
                diagnosis.other_run(keys, (run.logical_date or "not set") if date else None),
            )

    def _check_date_free(self, logical_date: str, failure: CallFailed) -> None:
        """Raise AirflowError if another run has the date: Airflow says so by 409, up to 2.0 it fails instead."""
        if not (failure.taken or failure.status == 500):
            return
        other = self._other_run_at(logical_date)
        if other:
            self.in_doubt = False  # a run of this date cannot come any more
        if failure.taken or other:
            raise self._date_taken(logical_date, other, failure.status)

    def _other_run_at(self, logical_date: str) -> Run | None:
        """The run of another id that has the date. None too if that cannot be asked for."""
        try:
            other = self._api.run_at(self._new.dag_id, logical_date)
        except CallFailed:
            return None
        return other if other and other.run_id != self._new.run_id else None

    def _date_taken(self, logical_date: str, other: Run | None, status: int | None) -> AirflowError:
        from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis import runs as diagnosis

        why = diagnosis.date_taken(logical_date, other.run_id if other else None, status)
        return self._failed(f"DAG {self._new.dag_id!r}", "was not triggered", why)

    def _waited_for(self, run: Run) -> Run:
        begin = self._clock()
        scheduler = SchedulerWatch(self._api)
        refusals = 0
        at_least = 1.0
        watching = True
        trouble: CallFailed | None = None
        while not run.finished:
            waited = self._clock() - begin
            left = self.request.wait_timeout - waited
            if left < _INSTANT:
                with all_within(LAST_WORDS):
                    why = self.why_not_ended(trouble)
                    if trouble is not None and trouble.answer is None:
                        return self.out_of_time(why)  # in what is left of that time
                return self.out_of_time(why)
            seconds = max(at_least, pause(waited, self.request.wait_interval))
            watching = watching and trouble is None and self._watched(run, seconds, min(watch(waited), left))
            if not watching:
                self._sleep(min(seconds, left))
            at_least = 1.0
            waited = self._clock() - begin
            bound = max(self.request.wait_timeout - waited, LEAST_LOOK)
            if run.state == "queued" and trouble is None and scheduler.due(waited):
                with all_within(bound):
                    is_dead = scheduler.check(waited)
                if is_dead:
                    raise self.no_scheduler()
                continue
            try:
                with all_within(bound):
                    run = self.run = self._api.inspect_run(run.dag_id, str(run.run_id))
                refusals = 0
                trouble = None
            except CallFailed as failure:
                trouble = failure
                refusals = refusals + 1 if failure.stays_refused else 0
                if refusals == _REFUSALS:
                    raise
                if failure.answer is not None and failure.answer.retry_after:
                    at_least = failure.answer.retry_after
        return run

    def _watched(self, run: Run, interval: float, seconds: float) -> bool:
        """Let the server watch the run for so long, or until its end. False where it does not do that."""
        end = self._clock() + seconds
        return self._api.watch_run(run.dag_id, str(run.run_id), interval / 2, lambda: self._clock() >= end, seconds)

    def no_scheduler(self) -> AirflowError:
        """The error that ends a wait which is in vain."""
        from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis import runs as diagnosis

        run = self._submitted()
        return self._failed(
            f"Run {run.run_id!r} of DAG {run.dag_id!r}",
            "was not waited for any longer",
            diagnosis.no_scheduler(run.state),
        )

    def out_of_time(self, why: Diagnosis, reachable: bool = True) -> Run:
        """The run, if its end came at the last moment; else do with it what was asked for, and raise.

        ``reachable``: whether it makes sense to ask the server for anything.
        """
        run = self._submitted()
        what = f"did not end within {self.request.wait_timeout:g} seconds"
        if self.request.on_timeout == "fail_run" and not self.created:
            what += ", and was not set to failed, because this task has not triggered it"
        elif self.request.on_timeout == "fail_run" and not reachable:
            what += ", and could not be set to failed, because the server does not respond"
        elif self.request.on_timeout == "fail_run":
            try:
                with all_within(self._api.http.timeout):
                    now = self.run = self._api.run(run.dag_id, str(run.run_id)) or run
                    if now.finished:
                        return now
                    self.run = self._set_to_failed(run)
                if self.run.state == "success":  # by itself, just now
                    return self.run
                self.changed = True
                if self.run.state == "failed":
                    what += ", and was set to failed"
                else:  # a teardown goes on
                    what += f", and Airflow was asked to set it to failed: it is still {self.run.state}"
            except CallFailed as failure:
                self.out_of_reach = failure.answer is None
                what += f", and could not be set to failed ({failure})"
        raise self._failed(f"Run {run.run_id!r} of DAG {run.dag_id!r}", what, why, timed_out=True)

    def _set_to_failed(self, run: Run) -> Run:
        try:
            return self._api.set_run_state(run.dag_id, str(run.run_id), "failed")
        except CallFailed as failure:
            there = None if failure.doubt is Doubt.NONE else self._api.run(run.dag_id, str(run.run_id))
            if there is None or not there.finished:
                raise
            return there

    def why_not_ended(self, trouble: CallFailed | None, hold_ups: HoldUps | None = None) -> Diagnosis:
        """Why the run has not ended in time. ``trouble`` is what the last look at it met with.

        ``hold_ups`` is for many runs together: what they have in common is asked for once.
        """
        from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis import unfinished as diagnosis

        run = self._submitted()
        if trouble is not None:
            return diagnosis.timed_out(run.state, run.url, diagnosis.Held(), str(trouble))
        try:
            held = (hold_ups or diagnosis.HoldUps(self._api.without_retries())).of(run)
        except AirflowError:  # an id that no path can have
            held = diagnosis.Held()
        self.unfinished_tasks = list(held.tasks)
        return diagnosis.timed_out(run.state, run.url, held, None)

    def _submitted(self) -> Run:
        return self.run or self.submit()

    def _fetch_failed_tasks(self, run: Run) -> None:
        try:
            self.failed_tasks = self._api.failed_tasks(run.dag_id, str(run.run_id))
        except (CallFailed, AirflowError):  # the latter for an id that no path can have
            self.failed_tasks = None  # that the run failed is known and says more

    def _failed(self, subject: str, what: str, why: Diagnosis, **details: Any) -> AirflowError:
        from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import error

        return error(f"{subject} on {self._api.base} {what}", why, **{**self.result(), **details})


def _is_past(date: str) -> bool:
    """Whether a date is past by any clock that may decide about it."""
    return parsed_date(date) < datetime.now(timezone.utc) - _MOST_SKEW


def _differing_keys(there: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    def written(conf: Mapping[str, Any], key: str) -> str | None:
        return json.dumps(conf[key], sort_keys=True) if key in conf else None  # JSON tells 1 from true

    return [key for key in sorted(set(there) | set(asked)) if written(there, key) != written(asked, key)]

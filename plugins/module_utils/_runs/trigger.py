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

import json
import threading
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Callable, ContextManager, Mapping

from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import Dag, FailedTask, Run, same_time
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.request import RunRequest
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.waits import SchedulerWatch, pause, watch

if TYPE_CHECKING:
    from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import Diagnosis

# One that is refused may be meant for somebody else (a server that restarts behind a proxy); three are an answer.
_REFUSALS = 3


class Dags:
    """DAGs, each looked at once, for all the runs of it that are requested."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._known: dict[str, Dag] = {}

    def get(self, dag_id: str) -> Dag:
        """The DAG; a missing one is a CallFailed with status 404."""
        with self._lock:
            if dag_id not in self._known:
                self._known[dag_id] = self._api.dag(dag_id)
            return self._known[dag_id]

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
        lane: Callable[[], ContextManager[None]] = nullcontext,
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
        self.run: Run | None = None
        self.failed_tasks: list[FailedTask] | None = []  # None if they cannot be told

    def submit(self, check_mode: bool = False) -> Run:
        """Make the run exist, and return it. In check mode only look whether that would go well."""
        new = self._new
        if self.request.named:
            self.run = self._api.run(new.dag_id, new.run_id)
            if self.run is not None:
                self._check_same(self.run)
        if self.run is None and self.request.unless_running:
            self.run = self._api.active_run(new.dag_id)
        if self.run is not None and (self.run.finished or not self.request.waits):
            return self.run
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
            self.run, created = self._created()
            self.changed = self.changed or created
            if not created:
                self._check_same(self.run)
        return self.run

    def wait(self, with_tasks: bool = True) -> Run:
        """Wait until the submitted run has ended well, and return it. ``with_tasks``: find out which tasks failed."""
        run = self._waited_for(self._submitted())
        if run.state == "failed":
            if with_tasks:
                self._fetch_failed_tasks(run)
            from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis import runs as diagnosis

            raise self._failed(
                f"Run {run.run_id!r} of DAG {run.dag_id!r}", "failed", diagnosis.failed_run(run.url, self.failed_tasks)
            )
        return run

    def result(self) -> dict[str, Any]:
        """What is known so far, as the module's result has it."""
        known: dict[str, Any] = {"changed": self.changed}
        run = self._plan() if self.run is None and self.in_doubt else self.run
        if run is not None:
            known["dag_run"] = run._asdict()
        if self.request.waits:
            known["failed_tasks"] = [task._asdict() for task in self.failed_tasks or []]
            known["timed_out"] = False
        return known

    def _must_unpause(self, check_mode: bool) -> bool:
        if self.request.if_paused == "trigger" and not check_mode:
            return False  # the request itself shows what else is wrong
        dag = self._dags.get(self._new.dag_id)
        if not dag.is_paused and not dag.has_import_errors:
            return False
        from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis import runs as diagnosis

        if dag.has_import_errors:  # which 2.x and 3.x answer in different ways, and in check mode not at all
            raise self._failed(f"DAG {dag.dag_id!r}", "was not triggered", diagnosis.import_error(dag.dag_id))
        if self.request.if_paused == "fail":
            raise self._failed(f"DAG {dag.dag_id!r}", "was not triggered", diagnosis.paused_dag(self._new.dag_id))
        return self.request.if_paused == "unpause"

    def _checked_plan(self) -> Run:
        self._api.check_words(self._new)
        self._api.check_create_run(self._new.dag_id)
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
                    created = self._api.create_run(new)
                return self._settled(created, True)
            except CallFailed as failure:
                doubt = self.in_doubt
                self.in_doubt = doubt or failure.maybe_done
                if failure.taken or self.in_doubt:
                    run = self._api.run(new.dag_id, new.run_id)
                    if run is not None:
                        return self._settled(run, self.in_doubt)
                    if failure.status == 500:
                        self.in_doubt = doubt  # Airflow itself is done with that request, and the run is not there
                if new.logical_date is not None:
                    self._check_date_free(new.logical_date, failure)
                # Taken without a date: Airflow took the moment, and somebody else had the same one.
                if not (retry_policy.pause() if failure.taken else failure.try_again(retry_policy)):
                    raise

    def _settled(self, run: Run, created: bool) -> tuple[Run, bool]:
        self.in_doubt = False
        return run, created

    def _check_same(self, run: Run) -> None:
        """Whether a run that was there already is the one that is asked for."""
        new = self._new
        keys = _differing_keys(run.conf, new.conf) if new.conf is not None and run.conf is not None else []
        date = new.logical_date
        if date and run.logical_date and same_time(date, run.logical_date):
            date = None
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
        try:
            other = self._api.run_at(self._new.dag_id, logical_date)
        except CallFailed:
            other = None  # whose date it is helps, but is not the point
        if failure.taken or (other and other.run_id != self._new.run_id):
            from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis import runs as diagnosis

            why = diagnosis.date_taken(logical_date, other.run_id if other else None, failure.status)
            raise self._failed(f"DAG {self._new.dag_id!r}", "was not triggered", why)

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
            if left < 1:
                return self.out_of_time(self.why_not_ended(trouble))
            seconds = max(at_least, pause(waited, self.request.wait_interval))
            watching = watching and trouble is None and self._watched(run, seconds, min(watch(waited), left))
            if not watching:
                self._sleep(min(seconds, left))
            at_least = 1.0
            waited = self._clock() - begin
            if run.state == "queued" and trouble is None and scheduler.due(waited):
                if scheduler.check(waited):
                    raise self.no_scheduler()
                continue
            try:
                run = self.run = self._api.inspect_run(run.dag_id, str(run.run_id))
                refusals = 0
                trouble = None
            except CallFailed as failure:
                trouble = failure
                refusals = refusals + 1 if failure.status in (401, 403, 404) else 0
                if refusals == _REFUSALS:
                    raise
                if failure.answer is not None and failure.answer.retry_after:
                    at_least = failure.answer.retry_after
        return run

    def _watched(self, run: Run, interval: float, seconds: float) -> bool:
        """Let the server watch the run for so long, or until its end. False where it does not do that."""
        end = self._clock() + seconds
        return self._api.watch_run(run.dag_id, str(run.run_id), interval / 2, lambda: self._clock() >= end)

    def no_scheduler(self) -> AirflowError:
        """The error that ends a wait which is in vain."""
        from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis import runs as diagnosis

        run = self._submitted()
        return self._failed(
            f"Run {run.run_id!r} of DAG {run.dag_id!r}",
            "was not waited for any longer",
            diagnosis.no_scheduler(run.state),
        )

    def out_of_time(self, why: Diagnosis) -> Run:
        """The run, if its end came at the last moment; else do with it what was asked for, and raise."""
        run = self._submitted()
        what = f"did not end within {self.request.wait_timeout:g} seconds"
        if self.request.on_timeout == "fail_run":
            try:
                now = self.run = self._api.run(run.dag_id, str(run.run_id)) or run
                if now.finished:
                    return now
                self.run = self._api.fail_run(run.dag_id, str(run.run_id))
                self.changed = True
                what += ", and was set to failed"
            except CallFailed as failure:
                what += f", and could not be set to failed ({failure})"
        raise self._failed(f"Run {run.run_id!r} of DAG {run.dag_id!r}", what, why, timed_out=True)

    def why_not_ended(self, trouble: CallFailed | None) -> Diagnosis:
        """Why the run has not ended in time. ``trouble`` is what the last look at it met with."""
        from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis import runs as diagnosis

        run = self._submitted()
        paused = scheduler = None
        if trouble is None:
            api = self._api.without_retries()
            try:
                paused = api.dag(run.dag_id).is_paused
                scheduler = api.scheduler_status()
            except CallFailed:
                pass  # then the cause stays as wide as it is
        return diagnosis.timed_out(run.state, run.url, paused, scheduler, str(trouble) if trouble else None)

    def _submitted(self) -> Run:
        return self.run or self.submit()

    def _fetch_failed_tasks(self, run: Run) -> None:
        try:
            self.failed_tasks = self._api.failed_tasks(run.dag_id, str(run.run_id))
        except CallFailed:
            self.failed_tasks = None  # that the run failed is known and says more

    def _failed(self, subject: str, what: str, why: Diagnosis, **details: Any) -> AirflowError:
        from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import error

        return error(f"{subject} on {self._api.base} {what}", why, **{**self.result(), **details})


def _differing_keys(there: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    def written(conf: Mapping[str, Any], key: str) -> str | None:
        return json.dumps(conf[key], sort_keys=True) if key in conf else None  # JSON tells 1 from true

    return [key for key in sorted(set(there) | set(asked)) if written(there, key) != written(asked, key)]

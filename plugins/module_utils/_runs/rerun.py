# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have a run that has ended run again, or set its state, once.

A run that is cleared twice would run twice, and nothing in the request tells Airflow that it has seen it before. So
where the end of a request is unknown, the run is looked at before it is sent again: a run that was cleared is no longer
in the state, with the dates, that it was in.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, NamedTuple, Sequence

from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import Run, same_time
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError


class Wanted(NamedTuple):
    """Either ``state`` is set, or ``rerun`` is "failed_tasks" or "all_tasks".

    A run is rerun only out of ``rerun_states``, and with ``end_date`` only if that is when it ended.
    """

    dag_id: str
    run_id: str
    state: str | None = None
    rerun: str | None = None
    rerun_states: Sequence[str] = ("failed",)
    end_date: str | None = None


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
        if before.state == state:
            self.reason = f"the run is {state} already"
        elif check_mode:
            self._planned(before._replace(state=state))
        else:
            wanted = self._wanted
            done_by = ("queued", "running") if state == "queued" else (state,)
            self.after = self._sent(
                lambda: self._api.set_run_state(wanted.dag_id, wanted.run_id, state),
                lambda run: run.state in done_by,
            )

    def _rerun(self, before: Run, check_mode: bool) -> None:
        wanted = self._wanted
        self.reason = _why_not(before, wanted)
        if self.reason is not None:
            return
        only_failed = wanted.rerun == "failed_tasks"
        self.tasks = self._api.clearable_tasks(before, only_failed)
        if not self.tasks:
            from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis import runs as diagnosis

            raise self._failed("was not rerun", diagnosis.nothing_to_clear())
        if check_mode:
            self._planned(before._replace(state="queued", start_date=None, end_date=None))
            return

        def clear() -> Run:
            # Some releases look for the tasks once more before they answer, and find none that is still to be cleared.
            self.tasks = self._api.clear_tasks(before, only_failed) or self.tasks
            self.changed = True  # whatever becomes of the next look
            return self._api.run(wanted.dag_id, wanted.run_id) or before

        self.after = self._sent(clear, lambda run: _attempt(run) != _attempt(before))

    def _planned(self, run: Run) -> None:
        self.after = run
        self.changed = True

    def _sent(self, send: Callable[[], Run], is_done: Callable[[Run], bool]) -> Run:
        """Send until it is known to be done, looking before each further try whether it was done by the one before."""
        retry_policy = self._api.retry_policy()
        while True:
            try:
                run = send()
                self.changed, self.in_doubt = True, False
                return run
            except CallFailed as failure:
                if self.changed:
                    raise
                self.in_doubt = self.in_doubt or failure.maybe_done
                again = failure.try_again(retry_policy)
                if self.in_doubt:
                    there = self._api.run(self._wanted.dag_id, self._wanted.run_id)
                    if there is not None and is_done(there):
                        self.changed, self.in_doubt = True, False
                        return there
                    if failure.status == 500:
                        self.in_doubt = False  # Airflow itself is done with that request, and nothing has changed
                if not again:
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
    )


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

# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnoses of DAGs and runs, which the API says clearly."""

from __future__ import annotations

from typing import Sequence

from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import FailedTask
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import Diagnosis


def paused_dag(dag_id: str) -> Diagnosis:
    """The DAG is paused, and nothing was sent."""
    return Diagnosis(
        "dag_paused",
        "it is paused, and its run would wait until somebody unpauses it",
        f"The API says is_paused of DAG {dag_id!r}.",
        "Unpause it by fleetops.airflow.airflow_dag, or set if_paused to 'unpause' to have the trigger do that, or to "
        "'trigger' to let the run wait.",
    )


def paused_dag_of_run(dag_id: str) -> Diagnosis:
    """The DAG is paused, and a run of it was to run again."""
    return Diagnosis(
        "dag_paused",
        "its DAG is paused, so the scheduler would leave it queued until somebody unpauses the DAG",
        f"The API says is_paused of DAG {dag_id!r}.",
        "Unpause the DAG by fleetops.airflow.airflow_dag, or set if_paused to 'unpause', or to 'rerun' to let it wait.",
    )


def run_of_backfill(cancelled: bool) -> Diagnosis:
    """A run that the scheduler does not start."""
    return Diagnosis(
        "backfill_run",
        "it is a run of a backfill that was cancelled or paused, so the scheduler would leave it queued"
        if cancelled
        else "it is a run of 'airflow dags backfill', which the scheduler leaves alone, so it would stay queued",
        "Its run_type is backfill, or is not given and its run_id begins with backfill__.",
        "Unpause the backfill, or create another one." if cancelled else "Run 'airflow dags backfill' again.",
    )


def import_error(dag_id: str) -> Diagnosis:
    """The DAG is known from before, and its file cannot be imported as it is now."""
    return Diagnosis(
        "dag_import_error",
        "its file cannot be imported at present, so no run of it starts",
        f"The API says has_import_errors of DAG {dag_id!r}.",
        "Mend the file; the web interface shows the error.",
    )


def stale_dag(dag_id: str) -> Diagnosis:
    """The DAG is known from before, and no file has it any more."""
    return Diagnosis(
        "dag_stale",
        "the DAG is known from before, and its file is gone, so Airflow starts no run of it",
        f"The API says that DAG {dag_id!r} is stale (is_active false, or is_stale true).",
        "Deploy its file again, or correct dag_id.",
    )


def no_manual_runs(dag_id: str) -> Diagnosis:
    """The DAG may not be triggered, by whomever."""
    return Diagnosis(
        "manual_runs_not_allowed",
        "the DAG does not allow runs that are triggered by hand or over the API",
        f"The API lists the run types that DAG {dag_id!r} allows (allowed_run_types), without 'manual'.",
        "Correct dag_id, or allow manual runs in the DAG.",
    )


def no_task_ran(logical_date: str | None) -> Diagnosis:
    """The run is a success of nothing."""
    return Diagnosis(
        "no_task_ran",
        "it is a success without any task: Airflow makes no tasks for a run whose logical date is before the start "
        "date of the DAG or of its tasks",
        f"The run has no task instance; its logical date is {logical_date or 'not set'}.",
        "Correct start_date in the DAG, or give a later logical_date.",
    )


def tasks_failed(url: str | None, tasks: Sequence[FailedTask]) -> Diagnosis:
    """The run is a success although tasks failed, and the task wants that to be a failure."""
    names = sorted({task.task_id for task in tasks})
    return Diagnosis(
        "tasks_failed",
        "the run is a success, and tasks of it failed: " + ", ".join(names[:5]),
        "fail_on_failed_tasks is true.",
        f"Look at {url}.",
    )


def failed_tasks_unknown(url: str | None) -> Diagnosis:
    """The run is a success, and the task wants to know of tasks that failed, which could not be found out."""
    return Diagnosis(
        "failed_tasks_unknown",
        "the run is a success, and it could not be found out whether tasks of it failed",
        "fail_on_failed_tasks is true, and the API did not list the task instances.",
        f"Look at {url}, or run the same task with the same run_id again.",
    )


def other_run(keys: Sequence[str], logical_date: str | None) -> Diagnosis:
    """A run of the wanted id is there, with another conf (the keys alone may be told) or another logical date."""
    differences = []
    if keys:
        differences.append("its conf differs in " + ", ".join(repr(key) for key in keys))
    if logical_date:
        differences.append(f"its logical date is {logical_date}")
    return Diagnosis(
        "run_differs",
        " and ".join(differences),
        "The run was read from the API. Values are not shown, since they may be secret.",
        "Choose another run_id for another run, or ask for the one that exists.",
    )


def future_date(due: str, seconds: float, wait_timeout: float) -> Diagnosis:
    """Airflow starts the run only after the wait. ``seconds``: until then."""
    return Diagnosis(
        "logical_date_in_future",
        f"Airflow does not start it before {due}, and the wait would end earlier",
        f"That is {seconds:.0f} s from now by the clock of the server, and wait_timeout is {wait_timeout:g} s.",
        "Correct logical_date, raise wait_timeout, or set wait to false.",
    )


def date_taken(logical_date: str, run_id: str | None, status: int | None) -> Diagnosis:
    """Airflow keeps at most one run of a logical date."""
    other = f"run {run_id!r}" if run_id else "another run"
    named = f" {run_id!r}" if run_id else ""
    return Diagnosis(
        "logical_date_taken",
        f"{other} of this DAG has the logical date {logical_date} already",
        f"Airflow answered {status} and has no run of the wanted id." if status else "The API lists that run.",
        f"Choose another logical_date or leave it out, or ask for that run by run_id{named}.",
        status,
    )


def failed_run(url: str | None, tasks: Sequence[FailedTask] | None) -> Diagnosis:
    """The run ended, and not well. ``tasks`` is None where those that failed could not be asked for."""
    if tasks is None:
        return Diagnosis(
            "run_failed",
            "Airflow says that the run failed, and its tasks could not be asked for",
            "The run's state is 'failed'.",
            f"Look at {url}." if url else "Look at it in the web interface.",
        )
    if tasks and not any(task.start_date for task in tasks):
        return _not_started(url, tasks)
    names = sorted({task.task_id for task in tasks})
    cause = "no task of it failed: it ran out of time, or somebody marked it"
    if names:
        cause = f"task {names[0]!r} failed" if len(names) == 1 else "tasks failed: " + ", ".join(names[:5])
        cause += f" and {len(names) - 5} more" if len(names) > 5 else ""
    return Diagnosis(
        "run_failed",
        cause,
        "The run's state is 'failed'; failed_tasks has the end of the logs.",
        f"Look at {url}.",
    )


def _not_started(url: str | None, tasks: Sequence[FailedTask]) -> Diagnosis:
    return Diagnosis(
        "task_not_started",
        f"task {tasks[0].task_id!r} failed before it started",
        "None of the failed task instances has a start date, so none of their code has run.",
        f"If nobody has set the run to failed, see the scheduler's log, and {url}. On Airflow 3, each task calls the "
        "API server at [core] execution_api_server_url, by default at port 8080 of its own host: set it to the address "
        "of the API server, with the base path if there is one.",
    )


def no_such_run(run_id: str) -> Diagnosis:
    """The DAG is there, and the run is not."""
    return Diagnosis(
        "run_not_found",
        "the DAG has no run of that id",
        f"The API has the DAG, and answers 404 to run {run_id!r}.",
        "Correct run_id; fleetops.airflow.airflow_dag_run_info lists the runs.",
        404,
    )


def nothing_to_clear() -> Diagnosis:
    """The run failed, and none of its tasks did."""
    return Diagnosis(
        "nothing_to_clear",
        "none of its tasks failed, so there is none to clear: it ran out of time, or somebody marked it",
        "Airflow was asked which tasks it would clear, and named none.",
        "Set rerun to all_tasks to have all of them run again.",
    )


def no_scheduler(state: str | None) -> Diagnosis:
    """A run has not ended, and nobody is there who would get it on."""
    return Diagnosis(
        "scheduler_not_running",
        held_up(state, "the scheduler does not run"),
        f"The last state seen is {state!r}. Airflow's health page calls the scheduler 'unhealthy'.",
        "Start the scheduler on the Airflow host; it takes up what waits.",
    )


def held_up(state: str | None, why: str) -> str:
    """Of a run that has been started, a task may well be running; 2.0 calls it running from the first."""
    if state == "queued":
        return f"{why}, so nothing starts it"
    return f"it is still {state or 'not started'}, and {why}, so no further task of it starts"

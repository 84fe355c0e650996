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
        "it is paused, and its run would wait until somebody unpauses it",
        f"The API says is_paused of DAG {dag_id!r}.",
        "Unpause it by fleetops.airflow.airflow_dag, or set if_paused to 'unpause' to have the trigger do that, or to "
        "'trigger' to let the run wait.",
    )


def import_error(dag_id: str) -> Diagnosis:
    """The DAG is known from before, and its file cannot be imported as it is now."""
    return Diagnosis(
        "its file cannot be imported at present, so no run of it starts",
        f"The API says has_import_errors of DAG {dag_id!r}.",
        "Mend the file; the web interface shows the error.",
    )


def other_run(keys: Sequence[str], logical_date: str | None) -> Diagnosis:
    """A run of the wanted id is there, with another conf (the keys alone may be told) or another logical date."""
    differences = []
    if keys:
        differences.append("its conf differs in " + ", ".join(repr(key) for key in keys))
    if logical_date:
        differences.append(f"its logical date is {logical_date}")
    return Diagnosis(
        " and ".join(differences),
        "The run was read from the API. Values are not shown, since they may be secret.",
        "Choose another run_id for another run, or ask for the one that exists.",
    )


def date_taken(logical_date: str, run_id: str | None, status: int | None) -> Diagnosis:
    """Airflow keeps at most one run of a logical date."""
    other = f"run {run_id!r}" if run_id else "another run"
    named = f" {run_id!r}" if run_id else ""
    return Diagnosis(
        f"{other} of this DAG has the logical date {logical_date} already",
        f"Airflow answered {status} and has no run of the wanted id.",
        f"Choose another logical_date or leave it out, or ask for that run by run_id{named}.",
        status,
    )


def failed_run(url: str | None, tasks: Sequence[FailedTask] | None) -> Diagnosis:
    """The run ended, and not well. ``tasks`` is None where those that failed could not be asked for."""
    if tasks is None:
        return Diagnosis(
            "Airflow says that the run failed, and its tasks could not be asked for",
            "The run's state is 'failed'.",
            f"Look at {url}." if url else "Look at it in the web interface.",
        )
    names = sorted({task.task_id for task in tasks})
    cause = "no task of it failed: it ran out of time, or somebody marked it"
    if names:
        cause = f"task {names[0]!r} failed" if len(names) == 1 else "tasks failed: " + ", ".join(names[:5])
        cause += f" and {len(names) - 5} more" if len(names) > 5 else ""
    return Diagnosis(
        cause,
        "The run's state is 'failed'; failed_tasks has the end of the logs.",
        f"Look at {url}.",
    )


def no_such_run(run_id: str) -> Diagnosis:
    """The DAG is there, and the run is not."""
    return Diagnosis(
        "the DAG has no run of that id",
        f"The API has the DAG, and answers 404 to run {run_id!r}.",
        "Correct run_id; fleetops.airflow.airflow_dag_run_info lists the runs.",
        404,
    )


def nothing_to_clear() -> Diagnosis:
    """The run failed, and none of its tasks did."""
    return Diagnosis(
        "none of its tasks failed, so there is none to clear: it ran out of time, or somebody marked it",
        "Airflow was asked which tasks it would clear, and named none.",
        "Set rerun to all_tasks to have all of them run again.",
    )


def no_scheduler(state: str | None) -> Diagnosis:
    """A run has not ended, and nobody is there who would get it on."""
    return Diagnosis(
        _held_up(state, "the scheduler does not run"),
        f"The last state seen is {state!r}. Airflow's health page calls the scheduler 'unhealthy'.",
        "Start the scheduler on the Airflow host; it takes up what waits.",
    )


def _held_up(state: str | None, why: str) -> str:
    """Of a run that has been started, a task may well be running; 2.0 calls it running from the first."""
    if state == "queued":
        return f"{why}, so nothing starts it"
    return f"it is still {state or 'not started'}, and {why}, so no further task of it starts"


def timed_out(
    state: str | None, url: str | None, paused: bool | None, scheduler: str | None, trouble: str | None
) -> Diagnosis:
    """The run had not ended when the time was up."""
    evidence = f"The last state seen is {state!r}."
    remedy = f"Give it a longer wait_timeout; its page is {url}."
    if trouble:
        return Diagnosis(
            "its state could not be asked for at the end",
            f"{evidence} Afterwards: {trouble}.",
            f"See whether the webserver is up, then ask again with the same run_id; the run's page is {url}.",
        )
    if paused:
        return Diagnosis(
            _held_up(state, "its DAG is paused"), evidence, "Unpause the DAG: if_paused 'unpause' does that."
        )
    if scheduler is not None and scheduler != "healthy":
        return no_scheduler(state)
    return Diagnosis(f"it is still {state or 'not started'}", evidence, remedy)

# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a run has not ended in time: what its unfinished tasks wait for."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Mapping, NamedTuple, Sequence, TypeVar

from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import Run, UnfinishedTask
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import Diagnosis
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.runs import held_up, no_scheduler

_MOST_NAMED = 5
_Found = TypeVar("_Found")


class Held(NamedTuple):
    """What was found out about a run that has not ended. None and empty: not found out."""

    paused: bool | None = None
    scheduler: str | None = None  # as the health page has it, "" if there is none, and so the triggerer
    triggerer: str | None = None
    busy: str | None = None  # a task of any DAG that runs, "" if none does
    tasks: Sequence[UnfinishedTask] = ()
    pool: tuple[str, tuple[int, int | None] | None] | None = (
        None  # name, slots and free ones; None if there is no such pool
    )
    max_active_runs: int | None = None  # of the DAG, if so many of its runs are running


class HoldUps:
    """What holds runs up. What runs have in common is asked for once for all of them, and so is what a run alone has.

    What is not allowed to be asked for, or not answered, is left out.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: dict[tuple[str, str], Any] = {}

    def of(self, run: Run) -> Held:
        """What was found out about this run."""
        api, dag_id = self._api, run.dag_id
        paused = self._once("paused", dag_id, lambda: api.dag(dag_id).is_paused)
        health = self._once("health", "", api.health) or {}
        held = Held(
            paused=paused,
            scheduler=_state_of("scheduler", health),
            triggerer=_state_of("triggerer", health),
        )
        with contextlib.suppress(CallFailed):
            held = held._replace(tasks=api.unfinished_tasks(dag_id, str(run.run_id)))
        if held.scheduler != "healthy":
            held = held._replace(busy=self._once("busy", "", api.running_task))
        elif run.state == "queued" and not held.paused:
            held = held._replace(max_active_runs=self._once("reached", dag_id, lambda: _reached(api, dag_id)))
        waiting = next((task.pool for task in held.tasks if task.state in ("scheduled", "queued") and task.pool), None)
        if waiting:
            pool: tuple[str, tuple[int, int | None] | None] | None
            pool = self._once("pool", waiting, lambda: (waiting, api.pool_slots(waiting)))
            held = held._replace(pool=pool)
        return held

    def _once(self, what: str, of: str, ask: Callable[[], _Found]) -> _Found | None:
        if (what, of) not in self._known:
            found = None
            with contextlib.suppress(CallFailed):
                found = ask()
            self._known[what, of] = found
        known: _Found | None = self._known[what, of]
        return known


def _state_of(part: str, health: Mapping[str, str | None]) -> str | None:
    """None where the page does not have that part at all, as the triggerer before 2.6.2."""
    return (health[part] or "") if part in health else None


def _reached(api: Api, dag_id: str) -> int | None:
    limit = api.max_active_runs(dag_id)
    _runs, running = api.list_runs([dag_id], states=["running"], limit=1)
    return limit if limit is not None and running >= limit else None


def timed_out(state: str | None, url: str | None, held: Held, trouble: str | None) -> Diagnosis:
    """The run had not ended when the time was up. ``trouble`` is what the last look at it met with."""
    evidence = f"The last state seen is {state!r}."
    if trouble:
        return Diagnosis(
            "run_state_unknown",
            "its state could not be asked for at the end",
            f"{evidence} Afterwards: {trouble}.",
            f"See whether the webserver is up, then ask again with the same run_id; the run's page is {url}.",
        )
    if held.tasks:
        evidence += f" Unfinished: {_listed(held.tasks)}."
    if held.paused:
        return Diagnosis(
            "dag_paused",
            held_up(state, "its DAG is paused"),
            evidence,
            "Unpause the DAG: if_paused 'unpause' does that.",
        )
    if held.scheduler not in (None, "healthy"):
        return _without_scheduler(state, held, evidence)
    return _waiting(state, url, held, evidence)


def _without_scheduler(state: str | None, held: Held, evidence: str) -> Diagnosis:
    if held.busy == "":
        return no_scheduler(state)
    if held.busy is None:
        return Diagnosis(
            "scheduler_not_running_or_busy",
            held_up(state, "the scheduler shows no sign of life")
            + ": it does not run, or is busy with a task, as with SequentialExecutor",
            f"{evidence} Airflow's health page calls the scheduler {held.scheduler or None!r}. Whether a task runs "
            "could not be determined: this user might not be allowed to read the tasks of all DAGs.",
            "Start the scheduler on the Airflow host, unless it runs a task.",
        )
    return Diagnosis(
        "scheduler_busy",
        held_up(state, f"the scheduler shows no sign of life while task {held.busy} runs")
        + ": it is busy with that task, as with SequentialExecutor, or it has ended meanwhile",
        f"{evidence} Airflow's health page calls the scheduler {held.scheduler!r}.",
        "Wait for that task, or use another executor. If the scheduler's process is gone, start it.",
    )


def _waiting(state: str | None, url: str | None, held: Held, evidence: str) -> Diagnosis:
    deferred = next((task for task in held.tasks if task.state == "deferred"), None)
    if deferred and held.triggerer is not None and held.triggerer != "healthy":
        return Diagnosis(
            "triggerer_not_running",
            f"task {deferred.task_id!r} is deferred, and no triggerer runs",
            f"{evidence} Airflow's health page calls the triggerer {held.triggerer or None!r}.",
            "Start the triggerer on the Airflow host.",
        )
    if held.pool and held.pool[1] is None:
        return Diagnosis(
            "pool_missing",
            f"a task waits for the pool {held.pool[0]!r}, which does not exist",
            evidence,
            "Create the pool, or correct the DAG.",
        )
    if held.pool and held.pool[1] and held.pool[1][1] is not None and held.pool[1][1] <= 0:
        return Diagnosis(
            "pool_full",
            f"a task waits for the pool {held.pool[0]!r}, all of whose {held.pool[1][0]} slots are taken",
            evidence,
            "Wait, or give the pool more slots.",
        )
    if held.max_active_runs is not None:
        return Diagnosis(
            "max_active_runs_reached",
            f"it is still {state}: the DAG runs {held.max_active_runs} at a time (max_active_runs), and as many run",
            evidence,
            "Wait for those runs, or raise max_active_runs of the DAG.",
        )
    remedy = f"Give it a longer wait_timeout; its page is {url}."
    cause = f"it is still {state or 'not started'}"
    return Diagnosis("wait_timeout", f"{cause}: {_listed(held.tasks)}" if held.tasks else cause, evidence, remedy)


def _listed(tasks: Sequence[UnfinishedTask]) -> str:
    named = [f"task {task.task_id!r} is {task.state or 'not scheduled yet'}" for task in tasks[:_MOST_NAMED]]
    more = len(tasks) - _MOST_NAMED
    return ", ".join(named) + (f", and {more} more" if more > 0 else "")

# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the API's documents to the records of ``model``."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import (
    Dag,
    FailedTask,
    ImportFailure,
    Run,
    TaskInstance,
    known_date,
    parsed_date,
)


def as_dag(dag_id: str, document: Mapping[str, Any]) -> Dag:
    """A DAG, from the answer to a request for it."""
    stale = document.get("is_stale") is True or document.get("is_active") is False  # the latter up to 2.11
    allowed = document.get("allowed_run_types")  # from 3.2 on; None for all
    manual = not isinstance(allowed, list) or "manual" in allowed
    return Dag(dag_id, bool(document["is_paused"]), document.get("has_import_errors"), stale, manual)


def as_task_instance(document: Mapping[str, Any]) -> TaskInstance:
    """A task instance, from a list of them."""
    task_id, map_index, state = document["task_id"], document.get("map_index", -1), document.get("state")
    start_date = document.get("start_date")
    if state != "skipped":
        return TaskInstance(task_id, map_index, state, bool(start_date))
    # What did not start is skipped within one moment, or has no dates. What ran before it was skipped has kept its
    # dates, and so has what waited when its run was ended: for its next try, or as a sensor for its next look. Only
    # what has retries, or was cleared before, waits for a next try.
    may_be_sensor = "sensor" in str(document.get("operator") or "sensor").lower()
    ran: bool | None = False
    if document.get("duration"):
        ran = True if document.get("max_tries") == 0 and not may_be_sensor else None
    return TaskInstance(task_id, map_index, state, ran, start_date, may_be_sensor)


def as_failed_task(document: Mapping[str, Any], log: Sequence[str] | None) -> FailedTask:
    """A task instance that failed, with the end of its log."""
    number, start_date = document.get("try_number"), document.get("start_date")
    lines = None if log is None else list(log)
    return FailedTask(document["task_id"], document.get("map_index", -1), "failed", number, start_date, lines)


def as_import_failure(document: Mapping[str, Any]) -> ImportFailure:
    """A file that cannot be imported, from a list of them."""
    bundle = document.get("bundle_name")
    error = _last_line(str(document.get("stack_trace")))
    return ImportFailure(str(document.get("filename")), error, None if bundle is None else str(bundle))


def is_cancelled(backfills: Iterable[Mapping[str, Any]], run: Run) -> bool | None:
    """Whether the backfill of the run was cancelled or paused. Which one it is, Airflow does not tell: any that covers
    the run's date. None if they differ, or if the run has no date.
    """
    if run.logical_date is None:
        return None
    date = parsed_date(run.logical_date)
    states = set()
    for one in backfills:
        begin, end = known_date(one.get("from_date")), known_date(one.get("to_date"))
        if begin and end and parsed_date(begin) <= date <= parsed_date(end):
            states.add(bool(one.get("is_paused")))
    return None if len(states) > 1 else True in states


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip()[:300] if lines else ""

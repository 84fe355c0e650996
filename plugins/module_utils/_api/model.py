# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an Airflow has, as its API shows it: DAGs, runs, failed tasks, and the server itself. Dates are in ISO 8601."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, NamedTuple, Sequence


class Dag(NamedTuple):
    """A DAG as far as triggering it goes. ``has_import_errors`` is None where the release does not tell. ``is_stale``:
    known from before, and no file has it any more. ``allows_manual_runs``: whether it may be triggered at all.
    """

    dag_id: str
    is_paused: bool
    has_import_errors: bool | None = None
    is_stale: bool = False
    allows_manual_runs: bool = True


class Run(NamedTuple):
    """A DAG run. Dates are in ISO 8601; ``url`` is its page in the web interface. ``conf`` is None if not told, as
    is ``run_type`` before 2.2, such as "manual", "scheduled" or "backfill".
    """

    dag_id: str
    run_id: str | None
    state: str | None
    conf: dict[str, Any] | None
    logical_date: str | None
    start_date: str | None
    end_date: str | None
    note: str | None
    url: str | None
    run_type: str | None = None

    @property
    def finished(self) -> bool:
        """Whether the state is an end."""
        return self.state in ("success", "failed")


class NewRun(NamedTuple):
    """A run that is to be. What is None is left to Airflow."""

    dag_id: str
    run_id: str
    conf: dict[str, Any] | None = None
    logical_date: str | None = None
    note: str | None = None


class FailedTask(NamedTuple):
    """A task instance that failed. ``log`` holds the last lines of its last try, or None if not fetched.

    ``start_date`` is None for one that failed before it started.
    """

    task_id: str
    map_index: int
    state: str
    try_number: int | None
    start_date: str | None
    log: list[str] | None


class TaskInstance(NamedTuple):
    """A task instance. ``ran``: its code has run, and decided on its state. None if the list does not show that, of one
    that was skipped: it may have skipped itself, or may have waited for its next try when its run was ended.

    The rest is known of one that was skipped. ``may_be_sensor``: it may also have waited without having failed.
    """

    task_id: str
    map_index: int
    state: str | None
    ran: bool | None
    start_date: str | None = None
    may_be_sensor: bool = False


class Selection(NamedTuple):
    """Which task instances of a run are to be cleared: of these tasks, or of all where ``tasks`` is None, those that
    failed, or all. Airflow adds the setups and teardowns of tasks that are named. A part of a mapped task is a pair.
    """

    tasks: Sequence[str | tuple[str, int]] | None
    only_failed: bool


class ImportFailure(NamedTuple):
    """A file that Airflow cannot import, with the last line of the error. ``bundle``: that of the file, on Airflow 3,
    where two bundles may have files of one name.
    """

    file: str
    error: str
    bundle: str | None = None


class UnfinishedTask(NamedTuple):
    """A task instance that has not ended. ``state`` is None before the scheduler has looked at it."""

    task_id: str
    map_index: int
    state: str | None
    pool: str | None


class Server(NamedTuple):
    """What stands at an address: ``generation`` of the API is "experimental", "v1", "v2" or None (no Airflow)."""

    generation: str | None
    release: str | None


def known_date(value: object) -> str | None:
    """A date of an answer, or None for what is none that can be compared and counted with."""
    try:
        date = parsed_date(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return str(value) if date is not None and date.tzinfo is not None and 1 < date.year < 9999 else None


def whole_number(value: object) -> int | None:
    """A number of an answer, or None for what is not a whole one."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def same_time(one: str, other: str) -> bool:
    """Whether two dates in ISO 8601 with a timezone are the same one."""
    return parsed_date(one) == parsed_date(other)


def parsed_date(text: str) -> datetime:
    """ISO 8601 as Python 3.8 reads it, and with Z, which it does not. Raises ValueError."""
    return datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text.strip()))

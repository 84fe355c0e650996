# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of a task to the runs that it asks for."""

from __future__ import annotations

import json
import re
import uuid
from datetime import datetime, timezone
from typing import Any, Mapping, NamedTuple

from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import NewRun, parsed_date
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

_DAG_ID = re.compile(r"[\w.-]{1,250}")
_RUN_ID = re.compile(r"[A-Za-z0-9_.~:+-]{1,250}")
_MOST_NOTE = 1000


class RunRequest(NamedTuple):
    """What is asked for. ``named``: the run's id comes from the user, who may have triggered it before."""

    new: NewRun
    named: bool
    if_paused: str  # "fail", "unpause" or "trigger"
    waits: bool
    wait_timeout: float
    wait_interval: float
    unless_running: bool = False
    on_timeout: str = "leave"  # or "fail_run"
    fail_on_failed_tasks: bool = False  # though the run is a success


def run_request(options: Mapping[str, Any]) -> RunRequest:
    """What the options of airflow_dag_trigger ask for. Raises AirflowError for what Airflow would refuse."""
    dag_id = options["dag_id"]
    if not _DAG_ID.fullmatch(dag_id) or dag_id in (".", ".."):
        raise AirflowError(
            f"dag_id is {dag_id!r}: the id of a DAG has at most 250 letters, digits, dashes, dots and underscores."
        )
    run_id = options["run_id"] or None
    if run_id is not None and (not _RUN_ID.fullmatch(run_id) or run_id in (".", "..", "~")):
        raise AirflowError(
            f"run_id is {run_id!r}: the id of a run has at most 250 characters, and only letters from A to Z, digits "
            "and _ . ~ : + - among them. It is none of '.', '..' and '~', which mean something else in a path."
        )
    note = options["note"] or None
    if note is not None and len(note) > _MOST_NOTE:
        raise AirflowError(f"note has {len(note)} characters: Airflow keeps at most {_MOST_NOTE}.")
    if not 1 <= options["wait_timeout"] < float("inf"):
        raise AirflowError(f"wait_timeout is {options['wait_timeout']}: it must be a number of seconds, at least 1.")
    if not 1 <= options["wait_interval"] < float("inf"):
        raise AirflowError(f"wait_interval is {options['wait_interval']}: it must be a number of seconds, at least 1.")
    date = options["logical_date"]
    return RunRequest(
        new=NewRun(
            dag_id,
            run_id or _new_run_id(),
            _as_json(options["conf"]),
            parse_timestamp("logical_date", date) if date else None,
            note,
        ),
        named=run_id is not None,
        if_paused=options["if_paused"],
        waits=options["wait"],
        wait_timeout=options["wait_timeout"],
        wait_interval=options["wait_interval"],
        unless_running=options["unless_running"],
        on_timeout=options["on_timeout"],
        fail_on_failed_tasks=options["fail_on_failed_tasks"],
    )


def run_requests(options: Mapping[str, Any]) -> list[RunRequest]:
    """What the option ``runs`` asks for. Raises AirflowError for what Airflow would refuse."""
    wanted: list[RunRequest] = []
    first: dict[tuple[str, str], int] = {}
    for number, one in enumerate(options["runs"]):
        try:
            wanted.append(run_request({**options, **one}))
        except AirflowError as error:
            raise AirflowError(f"runs[{number}]: {error}") from None
        new = wanted[-1].new
        other = first.setdefault((new.dag_id, new.run_id), number)
        if other != number:
            raise AirflowError(f"runs[{other}] and runs[{number}] are both for run {new.run_id!r} of {new.dag_id!r}.")
    if options["unless_running"] and len({one.new.dag_id for one in wanted}) < len(wanted):
        raise AirflowError("With unless_running a DAG can be in runs only once: a second run of it would not be made.")
    return wanted


def _new_run_id() -> str:
    now = datetime.now(timezone.utc).replace(microsecond=0)
    return f"ansible__{now.isoformat()}__{uuid.uuid4().hex[:12]}"


def parse_timestamp(option: str, text: str) -> str:
    """A date with its timezone in the form that every release reads."""
    try:
        date = parsed_date(text)
    except ValueError:
        raise AirflowError(
            f"{option} is {text!r}: write it in ISO 8601 with a timezone, such as 2026-01-31T08:00:00+00:00."
        ) from None
    if date.tzinfo is None:
        raise AirflowError(f"{option} is {text!r}: add the timezone, such as {date.isoformat()}+00:00.")
    return date.isoformat()


def _as_json(conf: dict[str, Any] | None) -> dict[str, Any] | None:
    """``conf`` as it will come back from Airflow."""
    if conf is None:
        return None
    try:
        read: dict[str, Any] = json.loads(json.dumps(conf, allow_nan=False))
    except ValueError:
        raise AirflowError("conf holds a number that JSON does not know, NaN or infinity.") from None
    return read

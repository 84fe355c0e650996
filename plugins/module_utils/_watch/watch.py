# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is seen of one Airflow, look after look, to what is to be told: each problem once, and its end once.

Values in, values out: no clock, no server and no disk. All that is known from one look to the next is in ``state``, a
dict that JSON can hold, so that whoever keeps that keeps everything.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import Run, parsed_date

# A run's end is written down before it is to be seen, by a clock that may be another one.
MARGIN = timedelta(minutes=5)

# A failed run that nobody mends is forgotten after a while, and so is the oldest of too many.
_REMEMBERED = 7 * 86400.0
_NEVER = datetime(1970, 1, 1, tzinfo=timezone.utc)
MOST_OPEN = 1000
MOST_ENDED = 5000  # runs that one look lists

# While something is wrong, or may be, the next look comes sooner. It is a cheap one, without a login.
_SOON = 5.0
# The seconds until a login that was refused is tried again where something has happened since that may have mended it.
_FIRST_PAUSE = 15.0
_LONGEST_PAUSE = 900.0
# A scheduler that is busy at one moment is no broken one.
_LOOKS = 2
_OWN = ("lasted", "looks", "started", "begin", "told", "error")  # what is known of a problem and is not in its event


class Limits(NamedTuple):
    """In seconds: how often to look, and for how long something may be so before it is a problem."""

    interval: float = 30.0
    queued: float = 600.0
    running: float = 21600.0
    unreachable: float = 30.0
    unhealthy: float = 30.0


class Listed(NamedTuple):
    """What was listed, and whether that is all there is."""

    found: Sequence[Any]
    complete: bool = True


class Inspection(NamedTuple):
    """What one look has found. ``at`` is in seconds, as our clock has it, and ``server_time`` as the server's has it.
    Both clocks may jump, so durations are sums of ``passed``, the seconds since the look before in this process.

    ``trouble`` is why it found nothing at all, ``refused`` why the login was not accepted; both are diagnoses. What is
    None was not asked for, or cannot be told.
    """

    at: float
    server_time: datetime | None = None
    passed: float = 0.0
    trouble: Mapping[str, Any] | None = None
    refused: Mapping[str, Any] | None = None
    with_login: bool = False
    health: Mapping[str, str | None] | None = None
    newest: str | None = None  # in the first look, when the run that ended last has ended
    failed: Sequence[Run] | None = None
    succeeded: Sequence[Run] = ()  # of the DAGs with a failure
    without_tasks: Sequence[tuple[str, str | None]] = ()  # DAG and run of those of which no task ran
    undecided: str | None = None  # the first end of a success of which that is not known
    more_failed: str | None = None  # the end from which on there are more, None if these are all
    more_succeeded: str | None = None
    active: Listed | None = None  # runs
    import_errors: Listed | None = None  # ImportFailures
    missing_dags: Sequence[str] | None = None  # of those that are named
    unknown_dags: Sequence[str] = ()  # of which it is not known whether they exist


class Watch:
    """One Airflow. ``login`` stands for the login that is used: another one is tried at once."""

    def __init__(self, name: str, url: str, limits: Limits, state: dict[str, Any]) -> None:
        self.name = name
        self._url = url
        self._limits = limits
        self.state = state
        self._open: dict[str, dict[str, Any]] = state.setdefault("open", {})
        self._reported: dict[str, str] = state.setdefault("told", {})
        self._refusal: dict[str, Any] = state.setdefault("refusal", {})
        self._since_listed: float | None = None  # seconds since all active runs were listed, by this process

    @property
    def since(self) -> datetime | None:
        """From when on ends of runs are asked for. None before the first look."""
        return self._from("since", "more_failed")

    @property
    def since_success(self) -> datetime | None:
        """The same for successes of the DAGs with a failure."""
        since = self._from("since_success", "more_succeeded") or self.since
        undecided = self.state.get("undecided")
        return min(since, parsed_date(undecided)) if since and undecided else since

    def _from(self, name: str, more: str) -> datetime | None:
        """From the latest end that is known, and what may be written down late; or where the look before stopped."""
        if self.state.get(more):
            return parsed_date(self.state[more])
        since = self.state.get(name)
        return parsed_date(since) - MARGIN if since else None

    @property
    def has_more(self) -> bool:
        """Whether there was more than one look lists. The next one goes on there."""
        return bool(self.state.get("more_failed") or self.state.get("more_succeeded"))

    @property
    def failures(self) -> list[tuple[str, str]]:
        """DAG and run of the failures that are not mended."""
        return [(one["dag_id"], one["run_id"]) for one in self._open.values() if one["type"] == "run_failed"]

    @property
    def missing_dags(self) -> list[str]:
        """The named DAGs that have been reported as missing."""
        return [one["dag_id"] for one in self._open.values() if one["type"] == "dag_not_found"]

    @property
    def stuck(self) -> list[tuple[str, str]]:
        """DAG and run of those that have been told to be stuck."""
        reported = [one for one in self._open.values() if one["type"] == "run_stuck" and one["told"]]
        return [(one["dag_id"], one["run_id"]) for one in reported]

    @property
    def refusals(self) -> int:
        """How often in a row this login was refused."""
        return int(self._refusal.get("count", 0))

    def may_log_in(self, now: float, login: str) -> bool:
        """Whether to use the login in the next look: never again and again after it was refused."""
        refusal = self._refusal
        if not refusal or refusal["login"] != login:
            return True
        pause = _LONGEST_PAUSE
        if refusal["hope"]:
            pause = min(pause, _FIRST_PAUSE * 4.0 ** (refusal["count"] - 1))
        return bool(not 0 <= now - refusal["at"] < pause)  # a clock that went back must not lock us out

    def hope(self) -> None:
        """Something has happened that may have mended a login that was refused."""
        if self._refusal:
            self._refusal["hope"] = True

    @property
    def is_waiting(self) -> bool:
        """Whether something is wrong that may not last, and is not told yet."""
        return any(not one["told"] and one["type"] != "run_stuck" for one in self._open.values())

    def pause(self) -> float:
        """The seconds until the next look."""
        soon = self._refusal or self.is_waiting or self.has_more or "api_unreachable" in self._open
        return min(self._limits.interval, _SOON) if soon else self._limits.interval

    def take(self, seen: Inspection, login: str = "") -> list[dict[str, Any]]:
        """What there is to tell after this look."""
        events: list[dict[str, Any]] = []
        for one in self._open.values():
            one["lasted"] += max(0.0, seen.passed)
        if self._since_listed is not None:
            self._since_listed += max(0.0, seen.passed)
        self._take_health(events, seen)
        if seen.trouble is not None:
            self.hope()
            if (seen.health or {}).get("metadatabase", "healthy") == "healthy":  # else it is no matter of the API
                self._is_so(events, seen, "api_unreachable", self._limits.unreachable, diagnosis=dict(seen.trouble))
            elif not self._open.get("api_unreachable", {}).get("told", True):
                del self._open["api_unreachable"]
            return events
        self._is_over(events, seen, "api_unreachable")
        if seen.refused is not None:
            count = self.refusals + 1 if self._refusal.get("login") == login else 1
            self._refusal.update(login=login, at=seen.at, count=count, hope=False)
            self._is_so(events, seen, "credentials_refused", 0.0, diagnosis=dict(seen.refused))
            return events
        if not seen.with_login:
            return events
        self._refusal.clear()
        self._is_over(events, seen, "credentials_refused")
        self._take_failed(events, seen)
        self._take_active(events, seen)
        self._take_import_errors(events, seen)
        self._take_missing_dags(events, seen)
        return events

    def _take_missing_dags(self, events: list[dict[str, Any]], seen: Inspection) -> None:
        if seen.missing_dags is None:
            return
        for dag_id in seen.missing_dags:
            self._is_so(events, seen, "dag_not_found", 0.0, dag_id, dag_id=dag_id)
        for dag_id in set(self.missing_dags) - set(seen.missing_dags) - set(seen.unknown_dags):
            self._is_over(events, seen, "dag_not_found", dag_id)

    def _take_health(self, events: list[dict[str, Any]], seen: Inspection) -> None:
        if seen.health is None:  # what it was meanwhile is not known, so the time begins again
            for key, one in list(self._open.items()):
                if one["type"] == "component_unhealthy" and not one["told"]:
                    del self._open[key]
        for component, status in (seen.health or {}).items():
            if status == "unhealthy":
                limit = self._limits.unhealthy
                self._is_so(events, seen, "component_unhealthy", limit, component, component=component, looks=_LOOKS)
            else:
                self._is_over(events, seen, "component_unhealthy", component)

    def _take_failed(self, events: list[dict[str, Any]], seen: Inspection) -> None:
        """Report each failure that ended after the first look, by the times that Airflow itself wrote down."""
        if seen.failed is None:
            return
        if "since" not in self.state:
            self.state["since"] = seen.newest or _NEVER.isoformat()
            self._reported.update({_failure(run): run.end_date for run in seen.failed if run.end_date})
            if seen.more_failed:  # these have failed before the first look too
                self.state["settled"] = (parsed_date(self.state["since"]) + timedelta(microseconds=1)).isoformat()
        begin = parsed_date(self.state.setdefault("begin", (parsed_date(self.state["since"]) - MARGIN).isoformat()))
        settled = parsed_date(self.state.get("settled") or _NEVER.isoformat())
        for run in seen.failed:
            key = _failure(run)
            if not run.end_date or key in self._reported or parsed_date(run.end_date) < begin:
                continue
            self._reported[key] = run.end_date
            if parsed_date(run.end_date) < settled:
                continue
            self._open.pop(f"run_failed {run.dag_id} {run.run_id}", None)  # it was rerun, and failed again
            name = f"{run.dag_id} {run.run_id}"
            self._is_so(events, seen, "run_failed", 0.0, name, since=run.end_date, **_of(run))
        for run in seen.succeeded:
            if (run.dag_id, run.run_id) in seen.without_tasks:
                continue  # all was skipped, for instance after the run was ended by hand: what failed is not done
            self._is_over(events, seen, "run_failed", f"{run.dag_id} {run.run_id}", **_of(run))
        self.state.update(more_failed=seen.more_failed, more_succeeded=seen.more_succeeded, undecided=seen.undecided)
        if seen.more_failed is None:
            self.state.pop("settled", None)
        self._advance("since", seen.failed, seen.server_time)
        self._advance("since_success", seen.succeeded, seen.server_time)
        self._forget()
        if not self.failures:
            self.state.pop("since_success")
        first = parsed_date(self.state["since"]) - timedelta(seconds=_REMEMBERED)
        for key in [key for key, ended in self._reported.items() if parsed_date(ended) < first]:
            del self._reported[key]

    def _advance(self, name: str, runs: Sequence[Run], server_time: datetime | None) -> None:
        """From when on to ask the next time: from the latest end that is known.

        The server's clock may not be told, and it may jump. It counts only where it shows that what was written down
        before is ahead of the time: then earlier ends count again, from now on.
        """
        before = parsed_date(self.state.get(name) or self.state["since"])
        since = max([before, *(parsed_date(run.end_date) for run in runs if run.end_date)])
        if server_time is not None and since > server_time + MARGIN:
            since = server_time
            if name == "since" and parsed_date(self.state["begin"]) > since - MARGIN:
                self.state["begin"] = (since - MARGIN).isoformat()  # the first look was ahead too
        self.state[name] = since.isoformat()

    def _forget(self) -> None:
        failures = [key for key, one in self._open.items() if one["type"] == "run_failed"]
        for number, key in enumerate(reversed(failures)):
            if number >= MOST_OPEN or self._open[key]["lasted"] > _REMEMBERED:
                del self._open[key]

    def _take_active(self, events: list[dict[str, Any]], seen: Inspection) -> None:
        if seen.active is None:
            return
        still = set()
        for run in seen.active.found:
            if run.state not in ("queued", "running"):
                continue
            limit = self._limits.queued if run.state == "queued" else self._limits.running
            name = f"{run.state} {run.dag_id} {run.run_id}"
            still.add("run_stuck " + name)
            known = self._open.get("run_stuck " + name)
            if known is not None and known.get("started") != run.start_date:  # it was rerun since
                self._is_over(events, seen, "run_stuck", name)
            lasted = self._has_run_for(run, seen)
            self._is_so(events, seen, "run_stuck", limit, name, lasted=lasted, started=run.start_date, **_of(run))
        listed = {f"{run.dag_id} {run.run_id}" for run in seen.active.found}
        for key in sorted({key for key, one in self._open.items() if one["type"] == "run_stuck"} - still):
            _kind, _state, name = key.split(" ", 2)
            if seen.active.complete or name in listed or not self._open[key]["told"]:
                self._is_over(events, seen, "run_stuck", key.partition(" ")[2])
        self._since_listed = 0.0 if seen.active.complete else None

    def _has_run_for(self, run: Run, seen: Inspection) -> float:
        """For how many seconds a run that is seen for the first time surely runs already. The rest is measured.

        A clock may jump, that of the server or ours. So both have to show it, and it is no longer than the time since
        a list did not have it.
        """
        if run.state != "running" or not run.start_date or seen.server_time is None:
            return 0.0
        ours = datetime.fromtimestamp(seen.at, timezone.utc)
        lasted = max(0.0, (min(ours, seen.server_time) - parsed_date(run.start_date)).total_seconds())
        return lasted if self._since_listed is None else min(lasted, self._since_listed)

    def _take_import_errors(self, events: list[dict[str, Any]], seen: Inspection) -> None:
        if seen.import_errors is None:
            return
        still = set()
        for file, error, bundle in seen.import_errors.found:
            name = file if bundle is None else f"{bundle} {file}"
            still.add(f"import_error {name}")
            self._is_so(events, seen, "import_error", 0.0, name, file=file, bundle=bundle, error=error)
        if seen.import_errors.complete:
            gone = {key for key, one in self._open.items() if one["type"] == "import_error"} - still
            for key in sorted(gone):
                self._is_over(events, seen, "import_error", key.partition(" ")[2])

    def _is_so(
        self,
        events: list[dict[str, Any]],
        seen: Inspection,
        kind: str,
        limit: float,
        name: str = "",
        **details: Any,
    ) -> None:
        """Something is so; it is told as soon as it has been so for ``limit`` seconds, and for ``looks`` looks."""
        key = f"{kind} {name}".strip()
        lasted, looks = details.pop("lasted", 0.0), details.pop("looks", 1)
        started = details.pop("started", None)
        if key not in self._open:
            begin = details.get("since") or _iso(seen.at - lasted)
            self._open[key] = {"type": kind, "begin": begin, "lasted": lasted, "told": False}
            if started is not None:
                self._open[key]["started"] = started
        one = self._open[key]
        if one["told"]:
            return
        one["looks"] = one.get("looks", 0) + 1
        if one["lasted"] < limit or one["looks"] < looks:
            return
        one.update(_plain(details), told=True)
        events.append(self._event(seen, key, one, False))

    def _is_over(
        self, events: list[dict[str, Any]], seen: Inspection, kind: str, name: str = "", **details: Any
    ) -> None:
        """It is not so any more, or never was."""
        key = f"{kind} {name}".strip()
        one = self._open.pop(key, None)
        if one is not None and one["told"]:
            events.append(self._event(seen, key, {**one, **_plain(details)}, True))

    def _event(self, seen: Inspection, key: str, one: Mapping[str, Any], recovered: bool) -> dict[str, Any]:
        details = {name: value for name, value in one.items() if name not in _OWN}
        if not recovered and "error" in one:
            details["error"] = one["error"]
        details.pop("since", None)
        begin = one["begin"]
        return {
            "api": self.name,
            "url": self._url,
            "recovered": recovered,
            "since": begin,
            "seen": _iso(seen.at),
            "seconds": round(one["lasted"], 1),
            "id": harmless(f"{self.name} {key} {begin}") + " recovered" * recovered,
            **harmless(details),
        }


def _failure(run: Run) -> str:
    """A failure: a run that was rerun may fail again, at another time."""
    return f"{run.dag_id} {run.run_id} {run.end_date}"


def harmless(value: Any) -> Any:
    """Without what Ansible would take for a template: who writes DAGs must not run things where rules act."""
    if isinstance(value, dict):
        return {name: harmless(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [harmless(one) for one in value]
    return re.sub(r"\{(?=[{%#])", "{ ", value) if isinstance(value, str) else value


def _of(run: Run) -> dict[str, Any]:
    """What is told of a run. Not its conf, which may be secret."""
    return {
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "state": run.state,
        "logical_date": run.logical_date,
        "start_date": run.start_date,
        "end_date": run.end_date,
        "run_url": run.url,
    }


def _plain(details: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in details.items() if value is not None}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")

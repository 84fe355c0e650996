# SPDX-License-Identifier: GPL-3.0-or-later
"""A day of an Airflow, simulated: what is told of it is what has happened, each once, whatever comes between.

The API is a stub in memory and the clock a number. Everything else is as in life, the cursor on disk included.
"""

from __future__ import annotations

import collections
import copy
import gc
import json
import os
import random
import re
import tracemalloc
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Iterable, Mapping, NamedTuple

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.auth import BasicLogin, Logins, NoLogin
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.dialects import V1, V2, Dialect
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import (
    Answer,
    Http,
    RetryPolicy,
    TransportError,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import ImportFailure, Run
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._watch import inspection
from ansible_collections.fleetops.airflow.plugins.module_utils._watch.cursor import Cursor, handled_name
from ansible_collections.fleetops.airflow.plugins.module_utils._watch.inspection import _import_errors, each
from ansible_collections.fleetops.airflow.plugins.module_utils._watch.watch import Inspection, Limits, Listed, Watch
from ansible_collections.fleetops.airflow.plugins.module_utils._watch.watcher import Watcher

BEGIN = datetime(2026, 1, 31, tzinfo=timezone.utc).timestamp()
DAY = 86400.0
LIMITS = Limits(interval=30, queued=600, running=7200, unreachable=30, unhealthy=30)
LOGINS = Logins(BasicLogin("watcher", "x"), NoLogin(), "watcher")
OPTIONS = {"url": "https://airflow.example", "username": "watcher", "password": "hush-hush", "api_version": "auto"}


class Attempt(NamedTuple):
    """One attempt of a run, in seconds of the day. ``end`` may lie after it."""

    dag_id: str
    run_id: str
    queued: float
    start: float
    end: float
    state: str


class Span(NamedTuple):
    """Something that is so for a while."""

    name: str
    begin: float
    end: float

    def covers(self, now: float) -> bool:
        return self.begin <= now < self.end


class Day:
    """What happens on that day, drawn by lot."""

    def __init__(self, seed: int, failures: int = 40) -> None:
        lot = random.Random(seed)
        self.attempts: list[Attempt] = []
        for number in range(failures):  # each fails once or twice, and some of them succeed in the end
            dag_id, run_id = f"dag {number % 7}", f"run {number}"
            begin = lot.uniform(0, DAY - 10000)
            for _time in range(lot.choice([1, 1, 2])):
                self.attempts.append(Attempt(dag_id, run_id, begin, begin + 5, begin + 60, "failed"))
                begin += 60 + lot.uniform(3600, 5000)
            if lot.random() < 0.6:
                self.attempts.append(Attempt(dag_id, run_id, begin, begin + 5, begin + 60, "success"))
        for number in range(60):
            begin = lot.uniform(0, DAY)
            self.attempts.append(Attempt("good", f"good {number}", begin, begin + 5, begin + 100, "success"))
        for number in range(6):
            begin = lot.uniform(0, DAY - 20000)
            self.attempts.append(Attempt("waits", f"q {number}", begin, begin + 4000, begin + 4100, "success"))
            self.attempts.append(Attempt("hangs", f"r {number}", begin, begin + 10, begin + 11000, "success"))
        self.import_errors = [Span(f"/dags/{number}.py", begin, begin + 3000) for number, begin in hours(lot, 5)]
        self.unhealthy = [Span("scheduler", begin, begin + 3000) for _number, begin in hours(lot, 5)]
        self.outages = [Span("", begin, begin + lot.uniform(60, 1200)) for _number, begin in hours(lot, 6)]
        self.refusals = [Span("", begin, begin + 3000) for _number, begin in hours(lot, 3)]

    def truth(self) -> dict[tuple[str, str, bool], int]:
        """Kind, name and whether it is over -> how often that is to be told by the end of the day."""
        expected: collections.Counter[tuple[str, str, bool]] = collections.Counter()
        failed = set()
        for one in sorted(self.attempts, key=lambda attempt: attempt.end):
            name = f"{one.dag_id} {one.run_id}"
            if one.state == "failed":
                failed.add(name)
                expected["run_failed", name, False] += 1
            elif name in failed:
                expected["run_failed", name, True] += 1
            for state, begin, end, limit in (
                ("queued", one.queued, one.start, LIMITS.queued),
                ("running", one.start, one.end, LIMITS.running),
            ):
                if end - begin > limit:
                    expected["run_stuck", f"{state} {name}", False] += 1
                    expected["run_stuck", f"{state} {name}", True] += 1
        for kind, spans in (
            ("import_error", self.import_errors),
            ("component_unhealthy", self.unhealthy),
            ("api_unreachable", self.outages),
            ("credentials_refused", self.refusals),
        ):
            for span in spans:
                expected[kind, span.name, False] += 1
                expected[kind, span.name, True] += 1
        return expected


def hours(lot: random.Random, count: int) -> list[tuple[int, float]]:
    """Beginnings that are far from each other."""
    return [(number, number * DAY / count + lot.uniform(600, DAY / count - 5000)) for number in range(count)]


class Stub(Http):
    """Airflow 2 as the day has it. ``logins`` are the times at which the login was tried while it was wrong."""

    def __init__(self, day: Day, clock: list[float]) -> None:
        super().__init__("https://airflow.example", NoLogin())
        self.day = day
        self.attempts = sorted(day.attempts)
        self.dates = {one: (iso(one.queued), iso(one.start), iso(one.end)) for one in day.attempts}
        self._clock = clock
        self.has_login = False
        self.ahead: float | None = 0.0  # of the clock that answers show; None where they do not
        self.lag = 0.0  # between the end of a run and when it can be seen
        self.sent: collections.Counter[str] = collections.Counter()
        self.logins: list[float] = []
        self.tasks: list[dict[str, Any]] = [{"task_id": "t", "state": "success"}]  # of each run

    @property
    def now(self) -> float:
        return self._clock[0] - BEGIN

    def with_login(self, login: Any, keep_cookies: bool = False) -> Http:  # noqa: ARG002
        known = copy.copy(self)
        known.has_login = True
        return known

    def send(self, method: str, path: str, *, document: Mapping[str, Any] | None = None, **_other: Any) -> Answer:
        self.sent[method] += 1
        if any(span.covers(self.now) for span in self.day.outages):
            raise TransportError("refused", "the connection was refused", nothing_sent=True)
        if path == "/api/v2/version":
            return as_answer(404, {"title": "Not Found"})
        if path == "/api/v1/version":
            return as_answer(200, {"version": "2.11.2"})
        if path == "/api/v1/health":
            state = "unhealthy" if any(span.covers(self.now) for span in self.day.unhealthy) else "healthy"
            parts = {
                "scheduler": {"status": state},
                "metadatabase": {"status": "healthy"},
                "triggerer": {"status": None},
            }
            date = datetime.fromtimestamp(int(self._clock[0] + (self.ahead or 0)), timezone.utc)
            return as_answer(200, parts, **({} if self.ahead is None else {"Date": format_datetime(date)}))
        if any(span.covers(self.now) for span in self.day.refusals):
            if self.has_login:
                self.logins.append(self.now)
            return as_answer(
                401, {"title": "Unauthorized", "type": "https://airflow.apache.org/x"}, kind="problem+json"
            )
        if path.startswith("/api/v1/dags?"):
            return as_answer(200, {"dags": []})
        if path.startswith("/api/v1/importErrors"):
            errors = [span for span in self.day.import_errors if span.covers(self.now)]
            found = [{"filename": span.name, "stack_trace": "Traceback\nValueError: no\n"} for span in errors]
            offset = int((re.findall(r"offset=(\d+)", path) or ["0"])[0])
            return as_answer(200, {"import_errors": found[offset : offset + 100], "total_entries": len(found)})
        if "/taskInstances?" in path:
            self.sent["tasks"] += 1
            found = [one for one in self.tasks if "state=success" not in path or one["state"] == "success"]
            return as_answer(200, {"task_instances": found, "total_entries": len(found)})
        if path == "/api/v1/dags/~/dagRuns/list":
            return self.listed(dict(document or {}))
        assert method == "GET", path
        return as_answer(200, {"is_paused": False, "tags": [{"name": "rerun"}]})

    def listed(self, asked: dict[str, Any]) -> Answer:
        newest: dict[tuple[str, str], Attempt] = {}
        for one in self.attempts:
            if one.queued <= self.now:
                newest[one.dag_id, one.run_id] = one
        runs = [self.as_run(one) for one in newest.values() if self.state(one) in asked["states"]]
        if "dag_ids" in asked:
            runs = [run for run in runs if run["dag_id"] in asked["dag_ids"]]
        if "end_date_gte" in asked:
            runs = [run for run in runs if run["end_date"] and run["end_date"] >= asked["end_date_gte"]]
        runs.sort(key=lambda run: str(run[asked["order_by"].lstrip("-")]), reverse=asked["order_by"].startswith("-"))
        page = runs[asked["page_offset"] : asked["page_offset"] + asked["page_limit"]]
        return as_answer(200, {"dag_runs": page, "total_entries": len(runs)})

    def state(self, one: Attempt) -> str:
        return "queued" if self.now < one.start else "running" if self.now < one.end + self.lag else one.state

    def as_run(self, one: Attempt) -> dict[str, Any]:
        dates = self.dates[one]
        return {
            "dag_id": one.dag_id,
            "dag_run_id": one.run_id,
            "execution_date": dates[0],
            "start_date": dates[1] if self.now >= one.start else None,
            "end_date": dates[2] if self.now >= one.end + self.lag else None,
            "state": self.state(one),
        }


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(BEGIN + round(seconds, 3), timezone.utc).isoformat(timespec="microseconds")


def as_answer(status: int, document: Any, kind: str = "json", **headers: str) -> Answer:
    return Answer(status, {"Content-Type": f"application/{kind}", **headers}, json.dumps(document).encode())


class Site:
    """The stub, and a watcher that may be started anew from what it has on disk."""

    def __init__(self, folder: Path, day: Day, limits: Limits = LIMITS, until_handled: bool = False) -> None:
        self.clock = [BEGIN]
        self.ahead = 0.0  # of the clock of this host; that of the server is its own
        self._limits = limits
        self.stub = Stub(day, self.clock)
        self.options: dict[str, Any] = dict(OPTIONS)
        self._folder = str(folder)
        self._until_handled = until_handled
        self._start()

    def _start(self) -> None:
        self.cursor = Cursor(self._folder, "airflow.example")
        self.watcher = Watcher(
            "airflow.example",
            lambda: self.options,
            self.cursor,
            self._limits,
            clock=lambda: self.clock[0] + self.ahead,
            steady=lambda: self.clock[0],
            connect=lambda _options: Api(
                self.stub, Logins(NoLogin(), NoLogin(), "watcher"), retry_policy=lambda: RetryPolicy(0)
            ),
            until_handled=self._until_handled,
        )

    def restart(self) -> list[dict[str, Any]]:
        """As after a crash; what is handed over then."""
        self.cursor.close()
        self._start()
        events = self.watcher.left_over()
        self.watcher.handed_over()
        return events

    def step(self) -> list[dict[str, Any]]:
        events = self.watcher.step()
        self.watcher.handed_over()
        return events

    def until(self, seconds: float) -> Iterable[dict[str, Any]]:
        while self.clock[0] < BEGIN + seconds:
            yield from self.step()
            self.clock[0] += self.watcher.pause


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _file: None)


def named(event: dict[str, Any]) -> tuple[str, str, bool]:
    kind = event["type"]
    prefix = f"airflow.example {kind}"
    name = str(event["id"])[len(prefix) :].replace(" recovered", "").strip()
    return kind, name[: name.rindex(str(event["since"]))].strip(), event["recovered"]


@pytest.mark.parametrize("seed", [1])
def test_a_day(tmp_path: Path, seed: int) -> None:
    """With crashes at any time, before what was found is handed over too."""
    lot = random.Random(seed)
    day = Day(seed)
    site = Site(tmp_path, day)
    told: collections.Counter[tuple[str, str, bool]] = collections.Counter()
    ids: collections.Counter[str] = collections.Counter()
    while site.clock[0] < BEGIN + DAY:
        events = site.watcher.step()
        chance = lot.random()
        if chance < 0.005:
            events = site.restart()  # what had been found is not handed over but by this
        else:
            site.watcher.handed_over()
            if chance < 0.01:
                assert site.restart() == []
        told.update(map(named, events))
        ids.update(str(event["id"]) for event in events)
        site.clock[0] += site.watcher.pause
    assert dict(told) == {key: count for key, count in day.truth().items() if count}
    assert max(ids.values()) == 1
    assert sum(site.stub.sent.values()) < 7 * DAY / LIMITS.interval
    assert len(site.stub.logins) <= 3 * 6, "a storm of logins"


@pytest.mark.parametrize("seed", [1, 2])
def test_a_day_of_clocks_that_jump(tmp_path: Path, seed: int) -> None:
    """This host's and the server's, back and forward, and answers that show none, with crashes in between."""
    lot = random.Random(seed)
    day = Day(seed)
    day.attempts = [one for one in day.attempts if one.dag_id != "hangs"]  # which the server's clock tells
    site = Site(tmp_path, day)
    told: collections.Counter[tuple[str, str, bool]] = collections.Counter()
    while site.clock[0] < BEGIN + DAY:
        if lot.random() < 0.01:
            site.ahead = lot.choice([0.0, -3600.0, 86400.0, -365 * 86400.0, 365 * 86400.0])
            site.stub.ahead = lot.choice([None, None, 0.0, -365 * 86400.0, 365 * 86400.0])
        events = site.watcher.step()
        if lot.random() < 0.003:
            events = site.restart()
        else:
            site.watcher.handed_over()
        told.update(map(named, events))
        site.clock[0] += site.watcher.pause
    expected = {key: count for key, count in day.truth().items() if count}
    stuck = [key for key in told if key[0] == "run_stuck" and key[1].startswith("running")]
    for key in stuck:  # of others, where the clock was ahead
        del told[key]
    assert dict(told) == expected


class TestStuck:
    """For how long a run runs, whatever clocks show."""

    def day(self, *attempts: Attempt, **spans: list[Span]) -> Day:
        day = quiet_day(**spans)
        day.attempts = list(attempts)
        return day

    @pytest.mark.parametrize("ours", [0.0, 365 * DAY, -365 * DAY])
    @pytest.mark.parametrize("ahead", [0.0, 365 * DAY, -365 * DAY, None])
    def test_clock_that_jumps_while_it_runs(self, tmp_path: Path, ours: float, ahead: float | None) -> None:
        long, short = (
            Attempt("hangs", "long", 5, 10, 9000, "success"),
            Attempt("hangs", "short", 5, 10, 2000, "success"),
        )
        site = Site(tmp_path, self.day(long, short, Attempt("hangs", "new", 1000, 1005, 3000, "success")))
        assert list(site.until(600)) == []
        site.ahead, site.stub.ahead = ours, ahead
        events = []
        for event in site.until(10000):
            events.append((event["run_id"], event["recovered"], round(site.clock[0] - BEGIN)))
        (begin, end) = events
        assert (begin[:2], end[:2]) == (("long", False), ("long", True))
        assert 7200 <= begin[2] <= 7300

    def test_what_ran_before_the_first_look(self, tmp_path: Path) -> None:
        old = Attempt("hangs", "old", -9000, -8000, 9000, "success")
        site = Site(tmp_path, self.day(old))
        assert [event["run_id"] for event in site.until(60)] == ["old"]
        for number, (ours, server) in enumerate([(365 * DAY, 0.0), (0.0, 365 * DAY)]):
            (tmp_path / str(number)).mkdir()
            site = Site(tmp_path / str(number), self.day(old._replace(start=-60.0)))
            site.ahead, site.stub.ahead = ours, server
            assert list(site.until(600)) == []

    def test_run_that_is_rerun_between_two_looks_begins_again(self, tmp_path: Path) -> None:
        first, again = Attempt("load", "r", 5, 10, 7000, "failed"), Attempt("load", "r", 7001, 7002, 9000, "success")
        site = Site(tmp_path, self.day(first, again), LIMITS._replace(interval=30))
        assert [event for event in site.until(9500) if event["type"] == "run_stuck"] == []


def test_health_that_was_seen_is_told_though_the_next_call_fails(tmp_path: Path) -> None:
    """As with a database that is away: Airflow's health page says so, and everything else is an error 500."""
    site = Site(tmp_path, quiet_day())
    send = site.stub.send

    def broken(method: str, path: str, **other: Any) -> Answer:
        if path.endswith("/health"):
            return as_answer(200, {"scheduler": {"status": "healthy"}, "metadatabase": {"status": "unhealthy"}})
        return send(method, path, **other) if path.endswith("/version") else as_answer(500, {"title": "Error"})

    site.stub.send = broken  # type: ignore[method-assign]
    events = list(site.until(300))
    assert [(event["type"], event.get("component")) for event in events] == [("component_unhealthy", "metadatabase")]


class TestUnhealthy:
    def test_time_in_which_health_was_not_seen_does_not_count(self, tmp_path: Path) -> None:
        day = quiet_day(outages=[Span("", 10, 290)], unhealthy=[Span("scheduler", 0, 310)])
        assert [event["type"] for event in Site(tmp_path, day).until(600)] == ["api_unreachable"] * 2

    def test_one_look_is_not_enough_whatever_the_time(self, tmp_path: Path) -> None:
        site = Site(tmp_path, quiet_day(unhealthy=[Span("scheduler", 0, 600)]), LIMITS._replace(unhealthy=0))
        assert site.step() == []
        assert site.watcher.is_waiting
        site.clock[0] += site.watcher.pause
        (event,) = site.step()
        assert (event["type"], event["component"]) == ("component_unhealthy", "scheduler")
        assert "looks" not in event


def test_answer_that_no_release_gives(tmp_path: Path) -> None:
    site = Site(tmp_path, quiet_day())
    send = site.stub.send

    def strange(method: str, path: str, **other: Any) -> Answer:
        return as_answer(200, {"import_errors": 7}) if "importErrors" in path else send(method, path, **other)

    site.stub.send = strange  # type: ignore[method-assign]
    (event,) = site.until(300)
    assert (event["type"], event["diagnosis"]["code"]) == ("api_unreachable", "answer_not_understood")


def test_dag_that_is_named_and_missing(tmp_path: Path) -> None:
    site = Site(tmp_path, quiet_day())
    site.watcher._dag_ids = site.watcher._unsure = ["load", "load_ordrs"]
    send, known = site.stub.send, ["load"]

    def answer(method: str, path: str, **other: Any) -> Answer:
        dag_id = path.rpartition("/")[2]
        if path.startswith("/api/v1/dags/") and method == "GET" and dag_id not in known:
            site.stub.sent[dag_id] += 1
            return as_answer(404, {"title": "DAG not found", "type": "https://airflow.apache.org/x"}, "problem+json")
        return send(method, path, **other)

    site.stub.with_login = lambda *_login: site.stub  # type: ignore[method-assign]
    site.stub.send = answer  # type: ignore[method-assign]
    (missing,) = site.until(300)
    assert (missing["type"], missing["dag_id"], missing["recovered"]) == ("dag_not_found", "load_ordrs", False)
    known.append("load_ordrs")
    (there,) = site.until(400)
    assert (there["type"], there["dag_id"], there["recovered"]) == ("dag_not_found", "load_ordrs", True)


class TestOneThatHangs:
    """A request about one DAG or run that is not answered keeps no other from being looked at."""

    def hang(self, site: Site, *names: str) -> list[str]:
        """No answer to what names one of these; returns what was asked in vain."""
        send, vain = site.stub.send, []

        def answer(method: str, path: str, **other: Any) -> Answer:
            if any(name in path for name in names):
                vain.append(path)
                raise TransportError("timeout", "no answer within the time that it may take")
            return send(method, path, **other)

        site.stub.with_login = lambda *_login: site.stub  # type: ignore[method-assign]
        site.stub.send = answer  # type: ignore[method-assign]
        return vain

    def test_named_dag(self, tmp_path: Path) -> None:
        day = quiet_day()
        day.attempts = [Attempt("load", "r", 5, 10, 100, "failed")]
        site = Site(tmp_path, day)
        site.watcher._dag_ids = site.watcher._unsure = ["hangs", "missing", "load"]
        vain = self.hang(site, "/dags/hangs")
        send = site.stub.send

        def answer(method: str, path: str, **other: Any) -> Answer:
            if path.endswith("/dags/missing"):
                return as_answer(
                    404, {"title": "DAG not found", "type": "https://airflow.apache.org/x"}, "problem+json"
                )
            return send(method, path, **other)

        site.stub.send = answer  # type: ignore[method-assign]
        told = [(event["type"], event["dag_id"]) for event in site.until(300)]
        assert told == [("dag_not_found", "missing"), ("run_failed", "load")]
        assert len(vain) > 2, "it is asked for again"

    def test_dag_of_a_failed_run(self, tmp_path: Path) -> None:
        day = quiet_day()
        day.attempts = [Attempt(name, "r", 5, 10, 100, "failed") for name in ("hangs", "load")]
        site = Site(tmp_path, day)
        self.hang(site, "/dags/hangs")
        told = {event["dag_id"]: event["dag_tags"] for event in site.until(300)}
        assert told == {"hangs": None, "load": ["rerun"]}  # None: they are not known

    def test_tasks_of_a_run_that_recovers_are_asked_for_again(self, tmp_path: Path) -> None:
        day = quiet_day()
        for name in ("hangs", "load"):
            day.attempts += [Attempt(name, "r", 5, 10, 100, "failed"), Attempt(name, "r", 300, 310, 400, "success")]
        day.attempts.append(Attempt("load", "later", 3000, 3010, 3020, "failed"))
        day.attempts.append(Attempt("load", "later", 3100, 3110, 3120, "success"))
        site = Site(tmp_path, day)
        vain = self.hang(site, "/dags/hangs/dagRuns")
        told = [(event["dag_id"], event["run_id"]) for event in site.until(4000) if event["recovered"]]
        assert told == [("load", "r"), ("load", "later")]
        assert vain
        del site.stub.send  # it answers again, long after other runs have ended
        assert [(event["dag_id"], event["recovered"]) for event in site.until(4200)] == [("hangs", True)]

    def test_server_that_hangs_is_not_asked_for_each(self) -> None:
        asked = []

        def ask(name: int) -> int:
            asked.append(name)
            if name > 1:
                raise CallFailed("GET", "/", trouble=TransportError("timeout", "no answer"))
            return name

        answers, unknown = each(range(100), ask)
        assert (answers, asked) == ({0: 0, 1: 1}, [0, 1, 2, 3, 4])
        assert (unknown[0], unknown[-3:], len(unknown)) == (5, [2, 3, 4], 98)


def test_each_dag_is_asked_for_once_in_a_look(tmp_path: Path) -> None:
    day = quiet_day()
    day.attempts = [Attempt("load", f"r {number}", 5, 10, 40, "failed") for number in range(40)]
    site = Site(tmp_path, day)
    assert len(list(site.until(20))) == 0
    before = site.stub.sent["GET"]
    site.clock[0] = BEGIN + 60
    assert len(site.step()) == 40
    assert site.stub.sent["GET"] - before < 6


class TestImportErrors:
    def test_more_than_a_page(self, tmp_path: Path) -> None:
        errors = [Span(f"/dags/{number}.py", 60, 400 if number < 240 else 900) for number in range(250)]
        site = Site(tmp_path, quiet_day(import_errors=errors))
        told = collections.Counter(event["recovered"] for event in site.until(600))
        assert told == {False: 250, True: 240}

    def test_list_that_changes_between_two_pages_ends_nothing(self) -> None:
        """An error that is fixed then moves those behind it to the page that has been read."""
        pages = [([ImportFailure(f"{number}.py", "no") for number in range(100)], 150), ([], 149)]
        api = Listing(pages)
        listed = _import_errors(api)
        assert listed is not None
        assert (len(listed.found), listed.complete) == (100, False)

    def test_airflow_3_counts_a_row_for_each_dag_of_a_file(self) -> None:
        one, other = ImportFailure("many.py", "no", "a"), ImportFailure("last.py", "no", "a")
        api = Listing([([one], 250), ([one], 250), ([one, other], 250)], V2)
        listed = _import_errors(api)
        assert listed is not None
        assert (listed.found, listed.complete, api.offsets) == ([one, other], True, [0, 100, 200])

    def test_same_name_in_two_bundles(self) -> None:
        watch = Watch("a", "http://a", LIMITS, {})
        both = [ImportFailure("load.py", "no", bundle) for bundle in ("sales", "stock")]

        def look(at: float, found: list[ImportFailure]) -> list[tuple[str, str, bool]]:
            seen = Inspection(at, with_login=True, import_errors=Listed(found))
            return [(event["bundle"], event["file"], event["recovered"]) for event in watch.take(seen)]

        assert look(0, both) == [("sales", "load.py", False), ("stock", "load.py", False)]
        assert look(30, both[1:]) == [("sales", "load.py", True)]


class Listing(Api):
    """The pages of one list."""

    def __init__(self, pages: list[tuple[list[ImportFailure], int]], dialect: Dialect = V1) -> None:
        super().__init__(Http("http://airflow.example", NoLogin()), dialect=dialect)
        self.pages = pages
        self.offsets: list[int] = []

    def inspect_import_errors(self, offset: int = 0) -> tuple[list[ImportFailure], int]:
        self.offsets.append(offset)
        return self.pages[len(self.offsets) - 1]


class TestUntilHandled:
    """Events that the engine takes, and that may be lost with it."""

    def site(self, tmp_path: Path) -> Site:
        day = quiet_day()
        day.attempts = [Attempt("load", f"r {number}", 5, 10, 100, "failed") for number in range(3)]
        return Site(tmp_path, day, until_handled=True)

    def test_what_nobody_has_acted_on_comes_again(self, tmp_path: Path) -> None:
        site = self.site(tmp_path)
        told = {event["run_id"]: event for event in site.until(200)}
        assert sorted(told) == ["r 0", "r 1", "r 2"]
        handled = tmp_path / handled_name(told["r 1"]["id"])
        handled.touch()
        for _crash in range(2):
            assert site.restart() == [told["r 0"], told["r 2"]]
            assert not handled.exists()
        for name in ("r 0", "r 2"):
            (tmp_path / handled_name(told[name]["id"])).touch()
        assert site.restart() == []

    def test_not_after_a_day(self, tmp_path: Path) -> None:
        site = self.site(tmp_path)
        assert len(list(site.until(200))) == 3
        site.ahead = 30 * DAY  # a clock that is set is no time that passes
        assert len(site.restart()) == 3
        for _event in site.until(DAY + 400):
            pass
        assert site.restart() == []

    def test_what_nobody_waits_for_is_removed(self, tmp_path: Path) -> None:
        old, new = tmp_path / handled_name("old"), tmp_path / handled_name("new")
        for path in (old, new):
            path.touch()
        os.utime(old, (0, 0))
        self.site(tmp_path)
        assert [path.exists() for path in (old, new)] == [False, True]


def test_memory_stays_as_it_is(tmp_path: Path) -> None:
    site = Site(tmp_path, Day(4), LIMITS._replace(interval=90))

    def run(until: float) -> int:
        for _event in site.until(until):
            pass
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    run(DAY / 8)
    tracemalloc.start()
    try:
        begin = run(DAY / 4)
        end = run(DAY)
    finally:
        tracemalloc.stop()
    assert end - begin < 100_000
    assert os.path.getsize(site.cursor.path) < 200_000


def quiet_day(**spans: list[Span]) -> Day:
    day = Day(0)
    day.attempts = []
    for name in ("import_errors", "unhealthy", "outages", "refusals"):
        setattr(day, name, spans.get(name, []))
    return day


class TestRefused:
    DAY = quiet_day(refusals=[Span("", 0, 7200)])

    def test_few_tries_and_a_restart_makes_no_more(self, tmp_path: Path) -> None:
        site = Site(tmp_path, self.DAY)
        events = list(site.until(3590))
        assert [event["type"] for event in events] == ["credentials_refused"]
        assert "it cannot be told from outside which it is" in events[0]["diagnosis"]["cause"]
        assert len(site.stub.logins) == 4, site.stub.logins  # one each quarter of an hour
        for _time in range(5):
            assert site.restart() == []
            assert site.step() == []
        assert len(site.stub.logins) == 4

    def test_another_login_is_tried_at_once(self, tmp_path: Path) -> None:
        site = Site(tmp_path, self.DAY)
        list(site.until(60))
        site.options["password"] = "another"
        list(site.until(120))
        assert len(site.stub.logins) == 2

    def test_a_restart_of_the_server_is_a_reason_for_another_try(self, tmp_path: Path) -> None:
        """It may have been mended. But a server that restarts all the time is none."""
        site = Site(tmp_path, quiet_day(refusals=[Span("", 0, 90)], outages=[Span("", 80, 100)]))
        events = list(site.until(130))
        assert [(event["type"], event["recovered"]) for event in events] == [
            ("credentials_refused", False),
            ("credentials_refused", True),
        ]
        assert len(site.stub.logins) == 1
        outages = [Span("", begin, begin + 10) for begin in range(20, 3600, 20)]
        (tmp_path / "2").mkdir()
        site = Site(tmp_path / "2", quiet_day(refusals=[Span("", 0, 7200)], outages=outages))
        list(site.until(3600))
        assert len(site.stub.logins) <= 8, site.stub.logins

    def test_somebody_who_mends_it_can_say_so(self, tmp_path: Path) -> None:
        site = Site(tmp_path, quiet_day(refusals=[Span("", 0, 100)]))
        list(site.until(110))
        (tmp_path / "airflow.example.wake").touch()
        events = list(site.until(130))
        assert [(event["type"], event["recovered"]) for event in events] == [("credentials_refused", True)]

    def test_no_secret_is_written_down(self, tmp_path: Path) -> None:
        site = Site(tmp_path, self.DAY)
        list(site.until(60))
        assert "hush" not in Path(site.cursor.path).read_text()
        assert os.stat(site.cursor.path).st_mode & 0o777 == 0o600


def test_nothing_of_an_event_is_a_template(tmp_path: Path) -> None:
    """The engine hands events to Ansible as variables, which it would evaluate."""
    day = quiet_day(import_errors=[Span("{{ lookup('pipe', 'id') }}", 0, 600)])
    day.attempts = [Attempt("load", "{%{#{{{{ evil", 5, 10, 100, "failed")]
    events = list(Site(tmp_path, day).until(700))
    assert len(events) == 3
    assert not re.search(r"\{[{%#]", json.dumps(events))
    assert events[0]["file"] == "{ { lookup('pipe', 'id') }}"


class TestOutage:
    def test_one_event_and_one_recovery_and_nothing_is_lost(self, tmp_path: Path) -> None:
        day = quiet_day(outages=[Span("", 100, 220)])
        day.attempts = [Attempt("load", "r", 90, 95, 150, "failed")]
        site = Site(tmp_path, day)
        told = [(event["type"], event["recovered"]) for event in site.until(400)]
        assert told == [("api_unreachable", False), ("api_unreachable", True), ("run_failed", False)]

    def test_a_short_one_is_none(self, tmp_path: Path) -> None:
        site = Site(tmp_path, quiet_day(outages=[Span("", 100, 120)]))
        assert list(site.until(400)) == []


class TestFailures:
    def test_what_is_told(self, tmp_path: Path) -> None:
        day = quiet_day()
        day.attempts = [Attempt("load", "r", 5, 10, 100, "failed")]
        (event,) = Site(tmp_path, day).until(200)
        assert {name: event[name] for name in ("dag_id", "run_id", "end_date", "dag_tags", "dag_paused")} == {
            "dag_id": "load",
            "run_id": "r",
            "end_date": iso(100),
            "dag_tags": ["rerun"],
            "dag_paused": False,
        }

    @pytest.mark.parametrize(
        ("tasks", "is_over"),
        [
            ([{"task_id": "t", "state": "success"}], True),
            ([{"task_id": "t", "state": "skipped", "start_date": iso(1), "duration": 3.0, "max_tries": 0}], True),
            ([{"task_id": "t", "state": "skipped", "duration": 0.0}, {"task_id": "u", "state": "removed"}], False),
            ([], False),
        ],
    )
    def test_success_without_a_task_that_ran_is_no_recovery(
        self, tmp_path: Path, tasks: list[dict[str, Any]], is_over: bool
    ) -> None:
        day = quiet_day()
        day.attempts = [Attempt("load", "r", 5, 10, 100, "failed"), Attempt("load", "r", 300, 310, 400, "success")]
        site = Site(tmp_path, day)
        site.stub.tasks = tasks
        told = [event["recovered"] for event in site.until(900)]
        assert told == ([False, True] if is_over else [False])

    def test_tasks_that_the_role_may_not_see_keep_nothing_back(self, tmp_path: Path) -> None:
        day = quiet_day()
        day.attempts = [Attempt("load", "r", 5, 10, 100, "failed"), Attempt("load", "r", 300, 310, 400, "success")]
        site = Site(tmp_path, day)
        send = site.stub.send

        def forbidden(method: str, path: str, **other: Any) -> Answer:
            return (
                as_answer(403, {"title": "Forbidden"}, "problem+json")
                if "/task" in path
                else send(method, path, **other)
            )

        site.stub.with_login = lambda *_login: site.stub  # type: ignore[method-assign]
        site.stub.send = forbidden  # type: ignore[method-assign]
        assert [event["recovered"] for event in site.until(900)] == [False, True]

    def test_what_failed_before_the_first_look_is_past(self, tmp_path: Path) -> None:
        day = quiet_day()
        day.attempts = [Attempt("load", "r", -300, -200, -100, "failed")]
        assert list(Site(tmp_path, day).until(600)) == []

    def test_what_is_written_down_late_is_told(self, tmp_path: Path) -> None:
        day = quiet_day()
        day.attempts = [Attempt("load", "r", 5, 10, 100, "failed")]
        site = Site(tmp_path, day)
        site.stub.lag = 200.0
        events = [event["since"] for event in site.until(900)]
        assert events == [iso(100)]

    def test_more_than_a_page_at_one_and_the_same_time(self, tmp_path: Path) -> None:
        day = quiet_day()
        day.attempts = [Attempt("load", f"r {number}", 5, 10, 100, "failed") for number in range(250)]
        assert len(list(Site(tmp_path, day).until(200))) == 250

    @pytest.mark.parametrize("at_once", [1, 30, 700])
    def test_more_than_one_look_lists(self, tmp_path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """All within the time for which ends are asked for again."""
        monkeypatch.setattr(inspection, "MOST_ENDED", 300)
        day = quiet_day()
        ends = [100 + number // at_once / 100 for number in range(1500)]
        day.attempts = [Attempt("load", f"r {number}", 5, 10, end, "failed") for number, end in enumerate(ends)]
        events = [event["run_id"] for event in Site(tmp_path, day).until(900) if event["type"] == "run_failed"]
        assert len(set(events)) == len(events) == 1500

    def test_look_that_fails_has_no_more(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Else who looks until there is no more would never end."""
        monkeypatch.setattr(inspection, "MOST_ENDED", 300)
        day = quiet_day(outages=[Span("", 130, 300)])
        ends = [100 + number / 100 for number in range(1000)]
        day.attempts = [Attempt("load", f"r {number}", 5, 10, end, "failed") for number, end in enumerate(ends)]
        site = Site(tmp_path, day)
        site.step()
        site.clock[0] = BEGIN + 120
        first = len(site.step())
        assert (first < 1000, site.watcher.has_more) == (True, True)
        site.clock[0] = BEGIN + 150
        site.step()
        assert not site.watcher.has_more
        assert len([event for event in site.until(900) if event["type"] == "run_failed"]) == 1000 - first

    def test_more_than_one_look_lists_of_the_past(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inspection, "MOST_ENDED", 300)
        day = quiet_day()
        ends = [-100 + number / 100 for number in range(1500)]
        day.attempts = [Attempt("load", f"r {number}", -300, -200, end, "failed") for number, end in enumerate(ends)]
        day.attempts.append(Attempt("load", "new", 5, 10, 200, "failed"))
        assert [event["run_id"] for event in Site(tmp_path, day).until(900)] == ["new"]

    def test_many_at_many_times(self, tmp_path: Path) -> None:
        day = quiet_day(outages=[Span("", 50, 1000)])
        day.attempts = [Attempt("load", f"r {number}", 5, 10, 60 + number, "failed") for number in range(450)]
        events = [event for event in Site(tmp_path, day).until(1300) if event["type"] == "run_failed"]
        assert len({event["run_id"] for event in events}) == len(events) == 450


def test_failures_while_the_clock_of_the_server_is_set_right() -> None:
    """What was written down while it ran ahead hides nothing that ends later, at an earlier time."""
    begin = datetime(2026, 1, 31, 8, tzinfo=timezone.utc)
    watch = Watch("a", "http://a", Limits(), {})

    def look(at: int, *failed: tuple[str, int]) -> list[str]:
        ends = [(name, (begin + timedelta(seconds=end)).isoformat()) for name, end in failed]
        runs = [Run("load", name, "failed", {}, end, end, end, None, None) for name, end in ends]
        seen = Inspection(1000.0 + at, with_login=True, server_time=begin + timedelta(seconds=at), failed=runs)
        return [event["run_id"] for event in watch.take(seen)]

    assert look(0) == []
    assert look(3600, ("ahead", 3590)) == ["ahead"]  # an hour ahead
    assert look(60, ("soon", 55)) == ["soon"]  # set right
    assert look(90, ("soon", 55), ("later", 80), ("earlier", 50)) == ["later", "earlier"]


def test_login_that_can_no_longer_be_read_blinds_nothing_else(tmp_path: Path) -> None:
    site = Site(tmp_path, quiet_day())
    site.step()
    site.watcher._options = _unreadable
    asked = site.stub.sent.copy()
    site.step()
    assert site.watcher.complaint == "the file cannot be read"
    again = site.stub.sent - asked
    assert again
    assert not [what for what in again if "dagRuns" in what]
    site.watcher._options = lambda: site.options
    site.step()
    assert site.watcher.complaint is None


def _unreadable() -> dict[str, Any]:
    raise AirflowError("the file cannot be read")

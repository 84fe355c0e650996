# SPDX-License-Identifier: GPL-3.0-or-later
"""An Airflow, a network that fails and a clock, all made up: what triggers, batches and waits are simulated against.

Everything follows from a seed, so each schedule can be run again. Real: everything above `Http.send` and `Http.lines`.
Made up: those two, the time, and the four threads of a batch, which run one after the other here.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import random
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any, Callable, Generator, Iterable, Iterator, Mapping, NamedTuple
from unittest import mock
from urllib.parse import parse_qs, unquote, urlsplit

from ansible_collections.fleetops.airflow.plugins.module_utils._api import deadline, http
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Answer, Http, TransportError
from ansible_collections.fleetops.airflow.plugins.module_utils._runs import batch

EPOCH = datetime.now(timezone.utc)  # the clock of this host is right
PASSWORD = "right"
FOREIGN = "conf of somebody else"  # which no result may show
ACTIVE = ("queued", "running")
TAKEN = {"reason": "Unique constraint violation", "statement": "hidden", "orig_error": "hidden"}
DAG = "load"


class Clock:
    """Time that passes by sleeping and by requests, and what is due to happen in it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def __call__(self) -> float:
        return self.now

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Have something happen; later than now in any case."""
        self._count += 1
        heapq.heappush(self._due, (max(when, self.now), self._count, what))

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass, with all that happens in them."""
        end = self.now + max(seconds, 0.0)
        while self._due and self._due[0][0] <= end:
            when, _number, what = heapq.heappop(self._due)
            self.now = max(self.now, when)
            what()
        self.now = end

    def date(self, seconds: float | None = None) -> str:
        """A time of this clock, by default now, as Airflow writes it."""
        return (EPOCH + timedelta(seconds=self.now if seconds is None else seconds)).isoformat()


class SimulatedRun:
    """A run. ``ours``: made by a request of the task under test."""

    def __init__(self, run_id: str, conf: dict[str, Any], date: str | None, ours: bool, clock: Clock) -> None:
        self.run_id = run_id
        self.conf = conf
        self.date = date
        self.ours = ours
        self.state = "queued"
        self.start_date: str | None = None
        self.end_date: str | None = None
        self.task_state: str | None = None
        self.created = clock.now
        self.failed_by_us = False


class Settings(NamedTuple):
    """What an Airflow of a schedule is like."""

    generation: str  # "v1" or "v2"
    is_paused: bool
    password: str  # that the task has
    starts: float  # seconds until a run starts; for ever if infinite
    lasts: float
    ends: str  # "success" or "failed"
    green_with_failed_task: bool


class SimulatedAirflow:
    """Airflow's API as far as triggers and waits use it, in the words of 2.x or of 3.x."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.runs: dict[str, SimulatedRun] = {}
        self.is_paused = settings.is_paused
        self.made_by_us = 0
        self.deleted: set[str] = set()
        self.unpaused_by_us = False

    # --- what happens in it -----------------------------------------------------------------------

    def make(self, run_id: str, conf: dict[str, Any], date: str | None, ours: bool) -> SimulatedRun:
        """A new run, which starts and ends in its time."""
        run = self.runs[run_id] = SimulatedRun(run_id, conf, date, ours, self.clock)
        self.made_by_us += ours
        if not self.is_paused:
            self._plan(run)
        return run

    def _plan(self, run: SimulatedRun) -> None:
        if self.settings.starts == float("inf"):
            return
        self.clock.at(self.clock.now + self.settings.starts, lambda: self._start(run))
        self.clock.at(self.clock.now + self.settings.starts + self.settings.lasts, lambda: self._end(run))

    def _start(self, run: SimulatedRun) -> None:
        if run.state == "queued":
            run.state, run.start_date, run.task_state = "running", self.clock.date(), "running"

    def _end(self, run: SimulatedRun) -> None:
        if run.state == "running":
            self.set_state(run, self.settings.ends)

    def set_state(self, run: SimulatedRun, state: str) -> None:
        """End a run."""
        if run.state not in ACTIVE:
            return
        run.state, run.end_date = state, self.clock.date()
        failed = state == "failed" or self.settings.green_with_failed_task
        run.task_state = "failed" if failed else "success"
        run.start_date = run.start_date or self.clock.date()

    # --- what it answers --------------------------------------------------------------------------

    @property
    def _v2(self) -> bool:
        return self.settings.generation == "v2"

    def answer(self, method: str, path: str, document: Mapping[str, Any] | None, login: str | None) -> Answer:
        """Carry a request out. ``login``: "right", "wrong" or None."""
        parts = urlsplit(path)
        words = [unquote(word) for word in parts.path.split("/")[1:]]
        if words == ["auth", "token"] and self._v2:
            return self._token(document or {})
        if words[:2] != ["api", self.settings.generation]:
            if self._v2 and words[:2] == ["api", "v1"]:
                return _json(404, {"error": "/api/v1 has been removed in Airflow 3"})
            return _page(404)
        words = words[2:]
        if words == ["version"]:
            return _json(200, {"version": "3.3.2" if self._v2 else "2.11.2"})
        if words in (["health"], ["monitor", "health"]):
            return self._health()
        if login != "right":
            return self._refusal(401 if login is None or not self._v2 else 403, "Invalid JWT token")
        return self._allowed(method, words, parse_qs(parts.query), document or {})

    def _token(self, document: Mapping[str, Any]) -> Answer:
        if document.get("password") == PASSWORD:
            return _json(201, {"access_token": PASSWORD})
        return _json(401, {"detail": "Invalid credentials"})

    def _health(self) -> Answer:
        alive = {"status": "healthy"}
        scheduler = {"status": "unhealthy"} if self.settings.starts == float("inf") else alive
        answer = _json(200, {"metadatabase": alive, "scheduler": scheduler, "triggerer": {"status": None}})
        date = (EPOCH + timedelta(seconds=self.clock.now)).strftime("%a, %d %b %Y %H:%M:%S GMT")
        return Answer(200, {**answer.headers, "Date": date}, answer.body)

    def _refusal(self, status: int, detail: str = "no") -> Answer:
        if self._v2:
            return _json(status, {"detail": TAKEN if status == 409 else detail})
        kind = "https://airflow.apache.org/docs/apache-airflow/2.11.2/stable-rest-api-ref.html#section/Errors/X"
        problem = {"detail": detail, "status": status, "title": "T", "type": kind}
        return Answer(status, {"Content-Type": "application/problem+json"}, json.dumps(problem).encode())

    def _allowed(
        self, method: str, words: list[str], query: dict[str, list[str]], document: Mapping[str, Any]
    ) -> Answer:
        if words[:2] == ["dags", "~"]:
            return self._of_all_dags(words[2:], document)
        if words == ["dags"]:
            return _json(200, {"dags": []})
        if words[:2] != ["dags", DAG]:
            return self._refusal(404, "not found")
        words = words[2:]
        if not words:
            return self._dag(method, document)
        if words == ["details"]:
            return _json(200, {"is_paused": self.is_paused, "max_active_runs": 16})
        if words == ["dagRuns"]:
            return self._create(document) if method == "POST" else self._at_date(query)
        return self._of_run(method, words[1:], query, document)

    def _of_all_dags(self, words: list[str], document: Mapping[str, Any]) -> Answer:
        if words == ["dagRuns", "list"]:
            return self._list(document)
        if words[-1] == "list":
            return self._failed_tasks(document)
        return _json(200, {"task_instances": []})  # that are running

    def _at_date(self, query: dict[str, list[str]]) -> Answer:
        date = query["logical_date_gte" if self._v2 else "execution_date_gte"][0]
        found = [run for run in self.runs.values() if run.date == date]
        return _json(200, {"dag_runs": [self._run(run) for run in found], "total_entries": len(found)})

    def _of_run(
        self, method: str, words: list[str], query: dict[str, list[str]], document: Mapping[str, Any]
    ) -> Answer:
        run = self.runs.get(words[0])
        if run is None:
            return self._refusal(404, "DAGRun not found")
        if words[1:] == ["taskInstances"]:
            return self._tasks(run, query)
        if method == "PATCH":
            run.failed_by_us = run.state in ACTIVE
            self.set_state(run, str(document["state"]))
        return _json(200, self._run(run))

    def _dag(self, method: str, document: Mapping[str, Any]) -> Answer:
        if method == "PATCH":
            self.unpaused_by_us = self.is_paused and not document["is_paused"]
            self.is_paused = bool(document["is_paused"])
            for run in self.runs.values():
                if run.state == "queued" and not self.is_paused:
                    self._plan(run)
        return _json(200, {"dag_id": DAG, "is_paused": self.is_paused, "has_import_errors": False})

    def _create(self, document: Mapping[str, Any]) -> Answer:
        if "zzz" in document:
            return self._refusal(422 if self._v2 else 400, "zzz: unknown field")
        run_id = str(document["dag_run_id"])
        date = document.get("logical_date" if self._v2 else "execution_date")
        if run_id in self.runs or (date and any(run.date == date for run in self.runs.values())):
            return self._refusal(409, "already exists")
        return _json(200, self._run(self.make(run_id, dict(document.get("conf") or {}), date, ours=True)))

    def _run(self, run: SimulatedRun) -> dict[str, Any]:
        date = run.date or (None if self._v2 else self.clock.date(run.created))
        return {
            "dag_id": DAG,
            "dag_run_id": run.run_id,
            "state": run.state,
            "conf": run.conf,
            "logical_date": date,
            "execution_date": date,
            "start_date": run.start_date,
            "end_date": run.end_date,
            "note": None,
        }

    def _list(self, document: Mapping[str, Any]) -> Answer:
        runs: Iterable[SimulatedRun] = self.runs.values()
        if "states" in document:
            runs = [run for run in runs if run.state in document["states"]]
        if "end_date_gte" in document:
            since = datetime.fromisoformat(document["end_date_gte"])
            runs = [run for run in runs if run.end_date and datetime.fromisoformat(run.end_date) >= since]
        found = [self._run(run) for run in runs]
        begin = document.get("page_offset", 0)
        page = found[begin : begin + document.get("page_limit", 100)]
        return _json(200, {"dag_runs": page, "total_entries": len(found)})

    def _task(self, run: SimulatedRun) -> dict[str, Any]:
        return {
            "dag_id": DAG,
            "dag_run_id": run.run_id,
            "task_id": "work",
            "state": run.task_state,
            "start_date": run.start_date,
            "try_number": 0,
        }

    def _tasks(self, run: SimulatedRun, query: dict[str, list[str]]) -> Answer:
        there = "state" not in query or query["state"] == [run.task_state]
        return _json(200, {"task_instances": [self._task(run)] * there, "total_entries": int(there)})

    def _failed_tasks(self, document: Mapping[str, Any]) -> Answer:
        since = datetime.fromisoformat(document["end_date_gte"])
        found = [
            self._task(run)
            for run in self.runs.values()
            if run.task_state in document.get("state", [run.task_state])
            and run.end_date
            and datetime.fromisoformat(run.end_date) >= since
        ]
        return _json(200, {"task_instances": found, "total_entries": len(found)})


def _json(status: int, document: Any) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(document).encode())


def _page(status: int) -> Answer:
    return Answer(status, {"Content-Type": "text/html", "Server": "gateway"}, b"<title>Gateway</title>")


# What can become of a request, with weights. See Network.send.
FAULTS = {
    "refused": 3,
    "lost": 3,
    "cut": 3,
    "drips": 1,
    "late and cut": 3,
    "late and gateway": 3,
    "doubled": 2,
    "gateway": 4,
    "gateway afterwards": 2,
    "restart": 1,
}
_REFUSALS = (502, 503, 504, 500, 404, 403, 401, 429)  # a gateway's own, of what it does not pass on
_AFTERWARDS = (502, 504, 500, 200, 408, 409, 499)  # of what it has passed on, or will


class Network(Http):
    """What lies between: each request meets the next of the faults that the seed has for it."""

    def __init__(
        self, airflow: SimulatedAirflow, clock: Clock, rng: random.Random, faulty: float, timeout: float
    ) -> None:
        super().__init__("http://airflow.example", lambda request: request, timeout)
        self.airflow = airflow
        self.clock = clock
        self.rng = rng
        self.faulty = faulty
        self.requests = 0
        self.trace: list[str] = []
        self.rejections = 0  # of the login, by Airflow itself, that came back
        self.down_until = -1.0
        self._root: Network = self

    def with_login(self, login: Any, keep_cookies: bool = False) -> Network:
        """The same network, with another login."""
        assert not keep_cookies
        other = Network(self.airflow, self.clock, self.rng, self.faulty, self.timeout)
        other._login = login
        other._root = self._root
        return other

    def send(self, method: str, path: str, *, document: Mapping[str, Any] | None = None, **_other: Any) -> Answer:
        """As Http.send."""
        login = self._login_of()  # which may ask for a token, and fail
        root = self._root
        root.requests += 1
        if root.requests > 20000:
            raise AssertionError("more requests than anybody would call patience")
        fault = self._fault()
        root.trace.append(f"{self.clock.now:8.2f} {method} {path} {fault}")
        left = deadline.seconds_left()
        if left is not None and left <= 0:
            raise TransportError("timeout", "no time was left to ask", nothing_sent=True)
        limit = self.timeout if left is None else min(self.timeout, left)
        answer = self._carried_out(fault, limit, lambda: self.airflow.answer(method, path, document, login))
        is_login = login == "wrong" or path == "/auth/token"
        root.rejections += is_login and answer.status in (401, 403) and "gateway" not in fault
        return answer

    def lines(self, path: str, silence: float, most: float) -> Generator[bytes, None, None]:
        """As Http.lines, of a server that is asked to wait for a run."""
        run_id = unquote(path.split("/")[6])
        end = self.clock.now + most
        while self.clock.now < end and self._fault() == "ok":
            self.clock.sleep(min(silence / 2, end - self.clock.now))
            run = self.airflow.runs.get(run_id)
            if run is None:
                return
            yield json.dumps({"state": run.state}).encode()
            if run.state not in ACTIVE:
                return

    def _login_of(self) -> str | None:
        request = SimpleNamespace(headers={})
        self._login(request)  # type: ignore[arg-type]
        sent = request.headers.get("Authorization")
        if sent is None:
            return None
        return "right" if sent in (f"Bearer {PASSWORD}", "Basic b3A6cmlnaHQ=") else "wrong"

    def _fault(self) -> str:
        if self.clock.now < self._root.down_until:
            return "refused" if self.rng.random() < 0.7 else "gateway"
        if self.rng.random() >= self.faulty:
            return "ok"
        return self.rng.choices(list(FAULTS), list(FAULTS.values()))[0]

    def _carried_out(self, fault: str, limit: float, carry_out: Callable[[], Answer]) -> Answer:
        if fault == "restart":
            self._root.down_until = self.clock.now + self.rng.uniform(2, 40)
            fault = "refused"
        if fault == "refused":
            raise TransportError("refused", "the connection was refused", nothing_sent=True)
        if fault == "lost":
            self.clock.sleep(limit)
            raise TransportError("timeout", "the answer did not come in time")
        if fault == "gateway":
            self.clock.sleep(0.05)
            return _page(self.rng.choice(_REFUSALS))
        if fault.startswith("late"):
            self.clock.at(self.clock.now + self.rng.uniform(1, 30), lambda: _ignored(carry_out()))
            if fault.endswith("gateway"):
                self.clock.sleep(0.05)
                return _page(self.rng.choice(_AFTERWARDS))
            self.clock.sleep(min(limit, self.rng.uniform(0, 5)))
            raise TransportError("broken", "the connection was dropped")
        self.clock.sleep(self.rng.uniform(0.01, 0.1))
        answer = carry_out()
        if fault == "doubled":
            answer = self.rng.choice([answer, carry_out()])
        if fault == "cut":
            raise TransportError("broken", "the answer was cut off")
        if fault == "drips":
            self.clock.sleep(limit)
            raise TransportError("timeout", "the answer did not come in time")
        return _page(self.rng.choice(_AFTERWARDS)) if fault == "gateway afterwards" else answer


def _ignored(_answer: Answer) -> None:
    """The answer to a request that nobody waits for any more."""


class _OneAfterTheOther:
    """In the place of a thread pool."""

    def __init__(self, _width: int) -> None:
        pass

    def __enter__(self) -> _OneAfterTheOther:
        return self

    def __exit__(self, *_error: Any) -> None:
        pass

    def map(self, call: Callable[[Any], Any], values: Iterable[Any]) -> Iterator[Any]:
        return iter([call(value) for value in values])


@contextlib.contextmanager
def made_up_time(clock: Clock) -> Iterator[None]:
    """Within the block, deadlines and batches run by this clock."""
    time = mock.patch.object(deadline, "time", SimpleNamespace(monotonic=clock))
    threads = mock.patch.object(batch, "ThreadPoolExecutor", _OneAfterTheOther)
    with time, threads:
        yield


def retries(clock: Clock) -> http.RetryPolicy:
    """The patience of the real calls, by this clock."""
    return http.RetryPolicy(60.0, clock, clock.sleep)

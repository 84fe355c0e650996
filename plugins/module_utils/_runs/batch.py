# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many runs at once: each triggered exactly once, all waited for together, and none lost through another.

Every run is a Trigger. What is shared is what costs the server: the look at a DAG, the question what has ended since
the last look, and the number of requests at a time (Lanes).
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Callable, Iterator, Mapping, Sequence

from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.calls import RETRY_SECONDS
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.deadline import all_within
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import RetryPolicy
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import Run, parsed_date
from ansible_collections.fleetops.airflow.plugins.module_utils._api.tasks import PAGE
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.request import RunRequest
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.trigger import (
    LAST_WORDS,
    LEAST_LOOK,
    Dags,
    Trigger,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.waits import SchedulerWatch, pause

CONNECTIONS = 4

# A database of one writer answers others after 5 seconds with an error. Where one connection alone needs no longer for
# what is left, more cannot win.
_LOCKED_FOR = 5.0
_TRIED_FIRST = 3

# A run is marked as ended before that is written down, by the clock of another host.
_MARGIN = timedelta(seconds=30)
# Of the runs of a DAG that go on, those of others included, so many are read in the list at the most, and so many of
# those that the list does not have are asked for one by one at a time.
_MOST_LISTED = 5 * PAGE
_MOST_SINGLE = 10

_REFUSALS = 3
_INSTANT = 0.05  # seconds for which it is not worth to wait
_MOST_WITH_TASKS = 20


class Lanes:
    """How many runs are requested at a time: one at first, CONNECTIONS where that pays, one again after an error 500.

    By that one a database shows that it takes one writer, where there are two.
    """

    def __init__(self, requests: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.width = 1
        self.widest = 1
        self._left = requests
        self._clock = clock
        self._done = 0
        self._seconds = 0.0
        self._used = 0
        self._narrow = False
        self._free = threading.Condition()

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Hold one lane, as soon as one is free."""
        with self._free:
            self._free.wait_for(lambda: self._used < self.width)
            self._used += 1
        begin = self._clock()
        crowded = False
        try:
            yield
        except CallFailed as failure:
            crowded = failure.status == 500
            raise
        finally:
            with self._free:
                self._used -= 1
                self._count(self._clock() - begin, crowded)
                self._free.notify_all()

    def _count(self, seconds: float, crowded: bool) -> None:
        self._left -= 1
        self._done += 1
        self._seconds += seconds
        self._narrow = self._narrow or crowded
        alone = self._left * self._seconds / self._done
        if self._narrow:
            self.width = 1
        elif self.width == 1 and self._done >= _TRIED_FIRST and alone > _LOCKED_FOR:
            self.width = self.widest = CONNECTIONS


class Batch:
    """Orders on their way together.

    ``triggers`` are in the order of ``requests``. ``failures`` has, for the numbers of those that went wrong, the
    CallFailed or AirflowError. ``api`` is the batch's own from then on: the retries for a server that is gone
    are spent once.
    """

    def __init__(
        self,
        api: Api,
        requests: Sequence[RunRequest],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api = api
        self._retry_policy = api.retry_policy
        api.retry_policy = lambda: RetryPolicy(0) if self._gone else self._retry_policy()
        self._clock = clock
        self._sleep = sleep
        self._lanes = Lanes(len(requests))
        self._since = self._begun = datetime.now(timezone.utc)
        self._gone = False  # the server has not come back within the retries of one run
        self._refusals: dict[str, CallFailed] = {}  # of a DAG, or "" of everything
        self._login_lock = threading.Lock()
        self._login_rejected: bool | None = None  # not asked for yet
        self._failed_runs = 0
        self._lists_states = True  # the list of runs can be asked for some states; not before 2.3
        self._misses: dict[
            int, list[CallFailed]
        ] = {}  # where Airflow has said, last and in a row, that there is no such run
        dags = Dags(api)
        self.triggers = [Trigger(api, request, clock, sleep, dags, self._lanes.one) for request in requests]
        self.failures: dict[int, CallFailed | AirflowError] = {}

    @property
    def connections(self) -> int:
        """The most at a time."""
        return self._lanes.widest

    def submit(self, check_mode: bool = False) -> None:
        """Make the runs exist, or look whether that would go well."""
        self._since = self._begun = self._api.server_time() - _MARGIN
        self._submit(0, check_mode)  # by it the API finds out whom it speaks to
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for _done in pool.map(lambda number: self._submit(number, check_mode), range(1, len(self.triggers))):
                pass

    def wait(self) -> None:
        """Wait for the end of all runs that exist."""
        pending = {
            (trigger.run.dag_id, str(trigger.run.run_id)): number
            for number, trigger in enumerate(self.triggers)
            if trigger.run is not None and number not in self.failures
        }
        for run in [trigger.run for trigger in self.triggers if trigger.run is not None and trigger.run.finished]:
            self._end(pending, run)
        if pending:
            self._wait_for(pending, self.triggers[0].request)
        with all_within(RETRY_SECONDS):
            self._check_successes()

    def _check_successes(self) -> None:
        """Find the tasks that failed in runs that are a success, and runs without a task, by lists of all of them."""
        green = {
            (trigger.run.dag_id, str(trigger.run.run_id)): number
            for number, trigger in enumerate(self.triggers)
            if trigger.run is not None and trigger.run.state == "success" and number not in self.failures
        }
        if not green:
            return
        starts = [trigger.run.start_date for trigger in self.triggers if trigger.run is not None]
        # Tasks are dated by the clocks of workers, and runs by that of the scheduler.
        since = min((parsed_date(start) - _MARGIN for start in starts if start), default=self._begun)
        try:
            with all_within(self._api.http.timeout):
                failed = self._api.failed_tasks_since(sorted({dag_id for dag_id, _run_id in green}), since.isoformat())
        except CallFailed:
            failed = None  # that the runs are a success is known
        with_tasks: set[tuple[str, str]] = set()
        with contextlib.suppress(CallFailed), all_within(self._api.http.timeout):
            for found in self._api.runs_with_tasks(green, since.isoformat()):
                with_tasks.add(found)
        for key, number in green.items():
            trigger = self.triggers[number]
            trigger.failed_tasks = None if failed is None else failed.get(key, [])
            try:
                if trigger.run is not None:
                    trigger.check_success(trigger.run, has_tasks=key in with_tasks)
            except AirflowError as error:
                self.failures[number] = error

    def _submit(self, number: int, check_mode: bool) -> None:
        trigger = self.triggers[number]
        dag_id = trigger.request.new.dag_id
        try:
            refusal = self._refusals.get("") or self._refusals.get(dag_id)
            if refusal is not None:
                raise refusal
            trigger.submit(check_mode)
            self._gone = False
        except CallFailed as failure:
            self.failures[number] = failure
            if failure.answer is None or failure.answer.passing or (failure.status or 0) >= 500:
                self._gone = True  # its patience has been spent
            elif failure.status in (401, 403) or failure.missing:  # another 404 says nothing about the DAG
                whole = failure.status == 401 or (failure.status == 403 and self._rejects_login())
                self._refusals.setdefault("" if whole else dag_id, failure)
        except AirflowError as error:
            self.failures[number] = error

    def _rejects_login(self) -> bool:
        """Whether the login is rejected for everything: beside ``session`` Airflow answers 403 to a wrong password too.

        Asked for once: each attempt counts against the user's account.
        """
        with self._login_lock:
            if self._login_rejected is None:
                try:
                    self._api.without_retries().verify_login()
                    self._login_rejected = False
                except CallFailed as failure:
                    self._login_rejected = failure.status in (401, 403)
            return self._login_rejected

    def _wait_for(self, pending: dict[tuple[str, str], int], request: RunRequest) -> None:
        begin = self._clock()
        scheduler = SchedulerWatch(self._api)
        refusals = idle = 0
        at_least = 0.0
        trouble: CallFailed | None = None
        first = len(pending)
        while pending:
            waited = self._clock() - begin
            left = request.wait_timeout - waited
            if left < _INSTANT:
                self._give_up(pending, trouble)
                return
            self._sleep(min(max(at_least, pause(waited, request.wait_interval)), left))
            waited = self._clock() - begin
            bound = max(request.wait_timeout - waited, LEAST_LOOK)
            if len(pending) == first and trouble is None and scheduler.due(waited):
                with all_within(bound):
                    is_dead = scheduler.check(waited) and self._is_queued(pending)
                if is_dead:
                    for number in pending.values():
                        self.failures[number] = self.triggers[number].no_scheduler()
                    return
                continue
            before = len(pending)
            try:
                with all_within(bound):
                    self._inspect(pending, idle)
                refusals, trouble, at_least = 0, None, self._clock() - begin - waited
            except CallFailed as failure:
                trouble = failure
                refusals = refusals + 1 if failure.stays_refused else 0
                if refusals == _REFUSALS:
                    self.failures.update(dict.fromkeys(pending.values(), failure))
                    return
                at_least = (failure.answer.retry_after if failure.answer is not None else None) or 0.0
            idle = idle + 1 if len(pending) == before else 0

    def _inspect(self, pending: dict[tuple[str, str], int], idle: int) -> None:
        """Ask which runs have ended since the last time; where none has, see what has become of those that go on."""
        before = len(pending)
        dag_ids = sorted({dag_id for dag_id, _run_id in pending})
        latest = self._since
        offset, total = 0, 1
        while offset < total:
            runs, total = self._api.inspect_ended(dag_ids, self._since.isoformat(), offset)
            for run in runs:
                self._end(pending, run)
                if run.end_date:
                    latest = max(latest, parsed_date(run.end_date) - _MARGIN)
            offset += len(runs) or total
        self._since = latest
        if len(pending) == before and idle % (1 + before // PAGE) == 0:  # so that many runs do not cost more each time
            self._refresh(pending)

    def _refresh(self, pending: dict[tuple[str, str], int]) -> None:
        """Take over the states of the runs that go on.

        What is not among those has been deleted, or has ended and is not in the list of ended runs, as where the
        clocks of two hosts differ: each such run is asked for by itself.
        """
        listed, whole = self._active(pending)
        unlisted = [key for key in pending if key not in listed]
        for key in unlisted[: _MOST_SINGLE if whole else 1]:
            number = pending[key] = pending.pop(key)  # the next time it is another one's turn
            try:
                self.triggers[number].run = run = self._api.inspect_run(*key)
            except CallFailed as failure:
                if failure.missing:
                    self._misses.setdefault(number, []).append(failure)
                    if len(self._misses[number]) == _REFUSALS:
                        self.failures[pending.pop(key)] = failure
                continue  # whether the server responds is seen in the list
            except AirflowError:
                continue  # an id that no path can have: the list alone tells
            self._misses.pop(number, None)
            self._end(pending, run)

    def _active(self, pending: Mapping[tuple[str, str], int]) -> tuple[set[tuple[str, str]], bool]:
        """Which runs are in the list of those that go on, and whether it could be read to its end."""
        found: set[tuple[str, str]] = set()
        dag_ids = sorted({dag_id for dag_id, _run_id in pending})
        offset, total = 0, 1
        while self._lists_states and self._api.dialect.has_run_path and offset < min(total, _MOST_LISTED):
            asked = {"dag_ids": dag_ids, "states": ["queued", "running"], "page_offset": offset, "page_limit": PAGE}
            try:
                runs, total = self._api.inspect_runs(asked)
            except CallFailed as failure:
                self._lists_states = failure.status != 400
                break
            for run in runs:
                key = (run.dag_id, str(run.run_id))
                if key in pending:
                    self.triggers[pending[key]].run = run
                    self._misses.pop(pending[key], None)
                    found.add(key)
            offset += len(runs) or total
        return found, offset >= total

    def _end(self, pending: dict[tuple[str, str], int], run: Run) -> None:
        number = pending.get((run.dag_id, str(run.run_id)))
        if number is None or not run.finished:
            return
        del pending[run.dag_id, str(run.run_id)]
        self._failed_runs += run.state == "failed"
        trigger = self.triggers[number]
        trigger.run = run
        try:
            if run.state == "failed":
                trigger.wait(with_tasks=self._failed_runs <= _MOST_WITH_TASKS)
        except AirflowError as error:
            self.failures[number] = error

    def _is_there(self) -> bool:
        """Whether the server responds at all, asked for once."""
        try:
            self._api.without_retries().health()
        except CallFailed as failure:
            return failure.answer is not None
        return True

    def _is_queued(self, pending: dict[tuple[str, str], int]) -> bool:
        """Whether a run waits for its start, by a new look at all of them."""
        self._refresh(pending)
        runs = [self.triggers[number].run for number in pending.values()]
        return any(run is not None and run.state == "queued" for run in runs)

    def _give_up(self, pending: dict[tuple[str, str], int], trouble: CallFailed | None) -> None:
        from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.unfinished import HoldUps

        # The patience with a server that is gone is spent.
        with all_within(LAST_WORDS):
            reachable = trouble is None or trouble.answer is not None or self._is_there()
            self._gone = True
            if trouble is None:
                self._refresh(pending)
            hold_ups = HoldUps(self._api.without_retries())
            reasons = {
                number: self.triggers[number].why_not_ended(self._misses.get(number, [trouble])[-1], hold_ups)
                for number in pending.values()
            }
        for number, why in reasons.items():
            trigger = self.triggers[number]
            try:
                if trigger.out_of_time(why, reachable).state == "failed":
                    trigger.wait()
            except AirflowError as error:
                self.failures[number] = error
            reachable = reachable and not trigger.out_of_reach

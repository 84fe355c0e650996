# SPDX-License-Identifier: GPL-3.0-or-later
"""Triggers, batches and waits in simulated schedules: exactly once, every bound kept, every result true.

    SIMULATION_SEEDS=41 python -m pytest tests/unit/plugins/test_simulation.py -s

runs one schedule again and prints its requests; SIMULATION_SCHEDULES=100000 runs as many.
"""

from __future__ import annotations

import concurrent.futures
import functools
import os
import random
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.auth import BasicLogin, Logins, TokenLogin
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.dialects import V1
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.batch import Batch
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.request import run_requests
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.trigger import LAST_WORDS, LEAST_LOOK, Trigger
from unit.plugins.simulation import (
    DAG,
    FOREIGN,
    PASSWORD,
    Clock,
    Network,
    Settings,
    SimulatedAirflow,
    made_up_time,
    retries,
)

SCHEDULES = int(os.environ.get("SIMULATION_SCHEDULES", "1500"))
SEEDS = [int(seed) for seed in os.environ.get("SIMULATION_SEEDS", "").split(",") if seed]

# Schedules that have shown a fault, and what it was.
FOUND = {
    74: "the run was there already, could not be read, and the task said that it was not triggered",
    126: "somebody made a run of the same id while the own request was lost: it was taken for the own one, conf shown",
    250: "the same, and it was set to failed after wait_timeout",
    69500: "which tasks of a batch's runs failed was asked for with a minute of patience for each run",
}

LATEST = 40.0  # seconds after which no request is on its way any more


class Schedule:
    """One seed: an Airflow, a network, others who call, and one task."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        random.seed(seed)  # for the pauses between tries
        self.clock = Clock()
        self.settings = Settings(
            generation=rng.choice(["v1", "v2"]),
            is_paused=rng.random() < 0.15,
            password="wrong" if rng.random() < 0.05 else PASSWORD,
            starts=float("inf") if rng.random() < 0.08 else rng.uniform(0.5, 10),
            lasts=rng.choice([1.0, 5.0, 30.0, 200.0]) * rng.uniform(0.5, 1.5),
            ends=rng.choice(["success", "success", "failed"]),
            green_with_failed_task=rng.random() < 0.2,
        )
        self.airflow = SimulatedAirflow(self.settings, self.clock)
        self.timeout = rng.choice([2.0, 5.0, 30.0])
        faulty = rng.choice([0.0, 0.1, 0.3, 0.6])
        self.network = Network(self.airflow, self.clock, rng, faulty, self.timeout)
        self.options = self._options()
        self._others()
        password = self.settings.password
        basic = BasicLogin("op", password)
        logins = Logins(basic, TokenLogin(self.network, "op", password), "op", basic)
        self.api = Api(self.network, logins, V1, certain=False, retry_policy=lambda: retries(self.clock))
        self.wrong: list[str] = []

    def _options(self) -> dict[str, Any]:
        rng = self.rng
        number = rng.choice([1, 1, 1, 2, 4])
        runs: list[dict[str, Any]] = []
        for each in range(number):
            runs.append(
                {
                    "dag_id": DAG,
                    "run_id": rng.choice([None, None, f"named-{each}"]),
                    "conf": rng.choice([None, {"a": each}]),
                    "logical_date": f"2026-01-01T0{each}:00:00+00:00" if rng.random() < 0.2 else None,
                    "note": None,
                }
            )
        return {
            "runs": runs,
            "if_paused": rng.choice(["fail", "unpause", "trigger"]),
            "wait": rng.random() < 0.7,
            "wait_timeout": rng.choice([1.0, 5.0, 60.0, 300.0]),
            "wait_interval": 10.0,
            "unless_running": number == 1 and rng.random() < 0.15,
            "on_timeout": rng.choice(["leave", "fail_run"]),
            "fail_on_failed_tasks": rng.random() < 0.3,
        }

    def _others(self) -> None:
        """Runs of other callers, some of an id that the task will ask for, and what they do to runs."""
        for number in range(self.rng.choice([0, 0, 1, 3])):
            run_id = self.rng.choice([f"theirs-{number}", "named-0"])
            conf = {"secret": FOREIGN}
            self.clock.at(self.rng.uniform(0, 20), functools.partial(self._make, run_id, conf))

        if self.rng.random() < 0.1:
            self.clock.at(self.rng.uniform(1, 60), self._interfere)

    def _interfere(self) -> None:
        """Somebody ends or deletes whatever is there."""
        for run in list(self.airflow.runs.values()):
            what = self.rng.choice(["failed", "success", "deleted", "nothing"])
            if what == "deleted":
                self.airflow.deleted.add(run.run_id)
                del self.airflow.runs[run.run_id]
            elif what != "nothing":
                self.airflow.set_state(run, what)

    def _make(self, run_id: str, conf: dict[str, Any]) -> None:
        if run_id not in self.airflow.runs:
            self.airflow.make(run_id, conf, None, ours=False)

    def run(self) -> None:
        """Carry the task out as the module does, then see what it says beside what is so."""
        requests = run_requests(self.options)
        single = len(requests) == 1
        with made_up_time(self.clock):
            batch = None if single else Batch(self.api, requests, self.clock, self.clock.sleep)
            triggers = batch.triggers if batch else [Trigger(self.api, requests[0], self.clock, self.clock.sleep)]
            failures: dict[int, CallFailed | AirflowError] = {}
            submitted = None
            try:
                if batch:
                    batch.submit()
                else:
                    triggers[0].submit()
                submitted = self.clock.now
                if self.options["wait"]:
                    if batch:
                        batch.wait()
                    else:
                        triggers[0].wait()
            except (CallFailed, AirflowError) as error:
                failures[0] = error
            failures = batch.failures if batch else failures
            if submitted is not None:
                self._check_wait(self.clock.now - submitted, triggers, list(failures.values()))
            results = [trigger.result() for trigger in triggers]
            said = [trigger.run.state if trigger.run else None for trigger in triggers]
            there = [trigger.run is not None and str(trigger.run.run_id) in self.airflow.runs for trigger in triggers]
            states = [
                self.airflow.runs[str(trigger.run.run_id)].state if trigger.run and exists else None
                for trigger, exists in zip(triggers, there)
            ]
            self.clock.sleep(LATEST)
        self._check_once(triggers)
        for number, trigger in enumerate(triggers):
            self._check(trigger, failures.get(number), results[number], said[number], states[number])

    def _say(self, text: str) -> None:
        self.wrong.append(text)

    def _check_wait(self, waited: float, triggers: list[Trigger], failures: list[CallFailed | AirflowError]) -> None:
        most = self.options["wait_timeout"] + LEAST_LOOK + LAST_WORDS + 1
        most += self.timeout * len(triggers) * (self.options["on_timeout"] == "fail_run")
        timed_out = [isinstance(each, AirflowError) and each.details.get("timed_out") for each in failures]
        if not all(timed_out) or len(failures) < len(triggers):
            most += 61 + self.timeout  # what has become of the tasks of an ended run is asked for with patience
        if waited > most:
            self._say(f"waited {waited:.1f} s, at most {most:.1f} s are allowed")

    def _check_once(self, triggers: list[Trigger]) -> None:
        wanted = {trigger.request.new.run_id for trigger in triggers}
        for run in self.airflow.runs.values():
            if run.ours and run.run_id not in wanted:
                self._say(f"made a run {run.run_id!r} that nobody wanted")
            if run.failed_by_us and not run.ours and run.run_id not in self.airflow.deleted:
                self._say(f"set a run of somebody else's to failed: {run.run_id}")
        if self.airflow.made_by_us > len(triggers) + len(self.airflow.deleted & wanted):
            self._say(f"{self.airflow.made_by_us} runs made, {len(triggers)} wanted")
        if self.network.rejections > 1:
            self._say(f"{self.network.rejections} rejections of the login were seen")

    def _check(
        self,
        trigger: Trigger,
        failure: CallFailed | AirflowError | None,
        result: dict[str, Any],
        said: str | None,
        state: str | None,
    ) -> None:
        run_id = trigger.request.new.run_id
        if {run_id, str(trigger.run and trigger.run.run_id)} & self.airflow.deleted:
            return
        ours = self.airflow.runs.get(run_id)
        made = ours is not None and ours.ours
        if FOREIGN in str(result):
            self._say("showed the conf of somebody else's run")
        if trigger.in_doubt and "dag_run" not in result:
            self._say("is in doubt and does not name the run")
        if failure is None and (trigger.run is None or str(trigger.run.run_id) not in self.airflow.runs):
            self._say("says that all went well, and there is no such run")
        if failure is not None and not trigger.in_doubt and trigger.run is None and made:
            self._say("says that nothing was triggered, and the run is there")
        # Where the network doubles a request, the second one is told that the run exists, as if others had made it.
        doubled = trigger.request.named and "POST" in " ".join(t for t in self.network.trace if t.endswith("doubled"))
        if failure is None and made and not result["changed"] and not doubled:
            self._say("has made the run, and says that nothing was changed")
        if not made and trigger.created and (ours is None or not trigger.request.named):
            self._say("says that it made the run, and did not")
        if self.options["wait"] and failure is None and (said, state) != ("success", "success"):
            self._say(f"waited for a success: said {said}, is {state}")
        code = (getattr(failure, "details", {}).get("diagnosis") or {}).get("code")
        if code in ("run_failed", "task_not_started") and state != "failed":
            self._say(f"says that the run failed, it is {state}")
        hides_failed_task = self.options["fail_on_failed_tasks"] and self.settings.green_with_failed_task
        if hides_failed_task and failure is None and self.options["wait"]:
            self._say("a task failed, and nothing is said")


def faults_of(seeds: range | list[int]) -> list[tuple[int, list[str]]]:
    """What is wrong, by seed."""
    found = []
    for seed in seeds:
        schedule = Schedule(seed)
        try:
            schedule.run()
        except Exception as error:  # noqa: BLE001, which is a fault as well
            schedule.wrong.append(f"broke: {error!r}")
        if schedule.wrong:
            found.append((seed, schedule.wrong))
    return found


def test_every_schedule_ends_well() -> None:
    seeds = SEEDS or range(SCHEDULES)
    workers = os.cpu_count() or 1
    if len(seeds) < 5000:
        found = faults_of(seeds)
    else:
        step = 1000
        parts = [seeds[begin : begin + step] for begin in range(0, len(seeds), step)]
        with concurrent.futures.ProcessPoolExecutor(workers) as pool:
            found = [each for part in pool.map(faults_of, parts) for each in part]
    for seed in SEEDS:
        schedule = Schedule(seed)
        print(schedule.settings, schedule.options)
        schedule.run()
        print("\n".join(schedule.network.trace))
    assert not found, "\n".join(f"seed {seed}: {'; '.join(wrong)}" for seed, wrong in found[:20])


@pytest.mark.parametrize("seed", FOUND)
def test_schedule_that_has_shown_a_fault(seed: int) -> None:
    assert not faults_of([seed]), FOUND[seed]

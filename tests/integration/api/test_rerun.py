# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs again: by what the tasks themselves write down, beside what the module says.

AIRFLOW_VERSIONS names the releases, separated by commas.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from testbed.instance import Airflow
from testbed.runner import Ansible
from testbed.running import running

VERSIONS = os.environ.get("AIRFLOW_VERSIONS", "2.11.2,3.3.2").split(",")

# Each task writes down that it runs. `fails` fails until there is a file `ok`, `holds` waits for the file `go`.
STEPS = """
import os, time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from examples import DAG, RELEASE, PythonOperator

if RELEASE >= (3, 0):
    from airflow.sdk import TaskGroup
    from airflow.sdk.exceptions import AirflowSkipException
else:
    from airflow.exceptions import AirflowSkipException
    from airflow.utils.task_group import TaskGroup

HOME = Path(os.environ["AIRFLOW_HOME"])


def dag(dag_id, **more):
    schedule = {"schedule" if RELEASE >= (2, 4) else "schedule_interval": None}
    start = datetime(2024, 1, 1, tzinfo=timezone.utc)
    return DAG(dag_id, start_date=start, is_paused_upon_creation=False, **schedule, **more)


def step(dag, name, **more):
    def run(**_context):
        with (HOME / "ran.log").open("a") as file:
            file.write(f"{dag.dag_id} {name}\\n")

    return PythonOperator(task_id=name, python_callable=run, dag=dag, **more)


def fails(dag, name, **more):
    def run(**_context):
        with (HOME / "ran.log").open("a") as file:
            file.write(f"{dag.dag_id} {name}\\n")
        if not (HOME / "ok").exists():
            raise RuntimeError("not yet")

    return PythonOperator(task_id=name, python_callable=run, dag=dag, **more)


def skips(dag, name):
    def run(**_context):
        with (HOME / "ran.log").open("a") as file:
            file.write(f"{dag.dag_id} {name}\\n")
        raise AirflowSkipException

    return PythonOperator(task_id=name, python_callable=run, dag=dag)


def holds(dag, name):
    def run(**_context):
        with (HOME / "ran.log").open("a") as file:
            file.write(f"{dag.dag_id} {name}\\n")
        end = time.time() + 120
        while not (HOME / "go").exists() and time.time() < end:
            time.sleep(0.2)

    return PythonOperator(task_id=name, python_callable=run, dag=dag)
"""
DAGS = """
chain = dag("chain")
holds(chain, "a") >> step(chain, "b")

tail = dag("tail")
fails(tail, "load") >> step(tail, "report")

waiting = dag("waiting")
fails(waiting, "load", retries=1, retry_delay=timedelta(hours=1)) >> step(waiting, "report")

# What a rule started because of the failure has run, and what skips itself has too.
grouped = dag("grouped")
with TaskGroup("group", dag=grouped) as group:
    first, second = fails(grouped, "first"), step(grouped, "second")
    first >> second
second >> step(grouped, "end")
skips(grouped, "choose") >> step(grouped, "behind")
group >> step(grouped, "alert", trigger_rule="one_failed")
group >> step(grouped, "clean", trigger_rule="all_done")

filled = DAG(
    "filled",
    start_date=datetime(2023, 1, 1, tzinfo=timezone.utc),
    is_paused_upon_creation=RELEASE < (3, 0),
    catchup=False,
    **{"schedule" if RELEASE >= (2, 4) else "schedule_interval": "@yearly"},
)
(holds if RELEASE >= (3, 0) else fails)(filled, "load")

if RELEASE >= (2, 7):
    cluster = dag("cluster")
    create, work, delete = step(cluster, "create"), fails(cluster, "work"), step(cluster, "delete")
    create >> work >> delete.as_teardown(setups=create)

if RELEASE >= (2, 3):
    mapped = dag("mapped")

    def each_run(number, **_context):
        with (HOME / "ran.log").open("a") as file:
            file.write(f"mapped {number}\\n")
        if number and not (HOME / "ok").exists():
            raise RuntimeError("not yet")

    PythonOperator.partial(task_id="each", python_callable=each_run, dag=mapped).expand(op_args=[[0], [1]])
"""


class Case:
    """An Airflow with these DAGs, all of which have failed once."""

    def __init__(self, airflow: Airflow, ansible: Ansible) -> None:
        self.airflow = airflow
        self._ansible = ansible
        self.minor = tuple(int(part) for part in airflow.version.split(".")[:2])

    def one(self, module: str, **options: Any) -> dict[str, Any]:
        login = {"url": self.airflow.url, "username": "op", "password": self.airflow.users["op"]}
        check = options.pop("check", False)
        task = {"fleetops.airflow." + module: {**login, **options}, "check_mode": check, "ignore_errors": True}
        plays = [{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]
        return self._ansible.playbook(json.dumps(plays) + "\n").tasks[0].result

    def ran(self, dag_id: str) -> list[str]:
        """What has run of a DAG, in its order."""
        log = self.airflow.home / "ran.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line.split()[1] for line in lines if line.split()[0] == dag_id]

    def rerun(self, dag_id: str, **options: Any) -> dict[str, Any]:
        return self.one("airflow_dag_run", dag_id=dag_id, run_id="r", rerun="failed_tasks", **options)

    def sql(self, statement: str) -> list[Any]:
        """What is in no answer of the API, and cannot be made by it."""
        with closing(sqlite3.connect(self.airflow.home / "airflow.db", timeout=30)) as connection:
            rows = [row[0] for row in connection.execute(statement)]
            connection.commit()
        return rows

    def api(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """Of Airflow 3, for what the collection has no module for."""

        def asked(method: str, path: str, headers: dict[str, str], data: bytes | None) -> dict[str, Any]:
            request = urllib.request.Request(self.airflow.url + path, data, headers, method=method)
            with urllib.request.urlopen(request, timeout=30) as answer:
                return dict(json.load(answer))

        token = asked("GET", "/auth/token", {}, None)["access_token"]  # everybody is an admin here
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return asked(method, path, headers, json.dumps(body).encode() if body else None)

    def ends(self, dag_id: str) -> str:
        """The state in which the run ends."""
        state = ""
        end = time.monotonic() + 120
        while state not in ("success", "failed") and time.monotonic() < end:
            time.sleep(1)
            (run,) = self.one("airflow_dag_run_info", dag_ids=[dag_id])["dag_runs"]
            state = run["state"]
        return state


@pytest.fixture(scope="module", params=VERSIONS)
def case(request: pytest.FixtureRequest, ansible: Ansible) -> Iterator[Case]:
    def set_up(airflow: Airflow) -> None:
        (airflow.dags / "rerun.py").write_text(STEPS + DAGS)
        (airflow.dags / "gone.py").write_text(STEPS + 'gone = dag("gone")\nfails(gone, "load")\n')
        if airflow.installation.release.generation == "3":
            text = airflow.cfg.read_text().replace(
                "simple_auth_manager_all_admins = False", "simple_auth_manager_all_admins = True"
            )
            airflow.cfg.write_text(text)
        else:
            airflow.write_backends("airflow.api.auth.backend.basic_auth")

    with running(request.param, before_start=set_up) as airflow:
        case = Case(airflow, ansible)
        dag_ids = [
            "chain",
            "waiting",
            "tail",
            "grouped",
            "gone",
            *["cluster"] * (case.minor >= (2, 7)),
            *["mapped"] * (case.minor >= (2, 3)),
        ]
        airflow.wait_dags([*dag_ids, "filled"])
        runs = [{"dag_id": dag_id, "run_id": "r"} for dag_id in dag_ids[2:]]
        failed = case.one("airflow_dag_trigger", runs=runs, wait=True, wait_timeout=180)
        assert [outcome["dag_run"]["state"] for outcome in failed["outcomes"]] == ["failed"] * len(runs), failed
        # One after the other: SequentialExecutor runs one task at a time.
        case.one("airflow_dag_trigger", dag_id="waiting", run_id="r")
        state = "SELECT state FROM task_instance WHERE dag_id = 'waiting' AND task_id = 'load'"
        airflow.wait_until(lambda: case.sql(state) == ["up_for_retry"], "the task waits for its next try", 120)
        case.one("airflow_dag_trigger", dag_id="chain", run_id="r")
        airflow.wait_until(lambda: case.ran("chain") == ["a"], "the first task runs", 120)
        for dag_id in ("chain", "waiting"):
            ended = case.one("airflow_dag_run", dag_id=dag_id, run_id="r", state="failed")
            assert ended["changed"], ended
            assert ended["dag_run"]["state"] == "failed", ended
        again = case.one("airflow_dag_run", dag_id="chain", run_id="r", state="failed")
        assert not again["changed"], again
        (airflow.home / "ok").write_text("")
        yield case


def test_task_behind_one_that_failed(case: Case) -> None:
    planned, done = case.rerun("tail", check=True), case.rerun("tail")
    assert (planned["changed"], planned["tasks"]) == (True, ["load", "report"])
    assert done["tasks"] == ["load", "report"]
    assert case.ends("tail") == "success"
    assert case.ran("tail") == ["load", "load", "report"]


def test_task_that_waited_for_its_next_try_when_its_run_was_ended(case: Case) -> None:
    """Airflow calls it skipped, as one that did not run, and it has dates, as one that skipped itself."""
    assert case.ran("waiting") == ["load"]
    done = case.rerun("waiting")
    assert done["tasks"] == ["load", "report"], done
    assert case.ends("waiting") == "success"
    assert case.ran("waiting") == ["load", "load", "report"]
    if case.minor >= (2, 10):
        assert not done.get("warnings"), done


def test_group_with_trigger_rules_and_a_task_that_skips_itself(case: Case) -> None:
    once = ["alert", "choose", "clean", "first"]
    assert sorted(case.ran("grouped")) == once
    done = case.rerun("grouped")
    assert done["tasks"] == ["behind", "end", "group.first", "group.second"], done
    assert case.ends("grouped") == "success"
    again = sorted(case.ran("grouped"))
    assert again == sorted([*once, "first", "second", "end"])
    assert not done.get("warnings"), done


def test_dag_whose_file_is_gone(case: Case) -> None:
    (case.airflow.dags / "gone.py").unlink()
    column = "is_stale = 1" if case.minor >= (3, 0) else "is_active = 0"
    refused: dict[str, Any] = {}

    def is_refused() -> bool:
        # Airflow looks for such DAGs seldom, and may just have read the file for the last time.
        case.sql(f"UPDATE dag SET {column} WHERE dag_id = 'gone'")
        refused.update(case.rerun("gone", check=True))
        return bool(refused["diagnosis"]) and refused["diagnosis"]["code"] == "dag_stale"

    case.airflow.wait_until(is_refused, "the DAG is stale", 60)
    refused = case.rerun("gone")
    assert (refused["changed"], refused["diagnosis"]["code"]) == (False, "dag_stale"), refused
    assert case.ran("gone") == ["load"]


def test_run_of_a_backfill_that_nothing_would_start(case: Case) -> None:
    """On Airflow 2 that is each of them, on Airflow 3 those of a backfill that was cancelled."""
    if case.minor >= (3, 0):
        dates = {"from_date": "2023-01-01T00:00:00Z", "to_date": "2023-01-01T00:00:00Z"}
        backfill = case.api("POST", "/api/v2/backfills", dag_id="filled", **dates)
        run = "SELECT run_id FROM dag_run WHERE dag_id = 'filled' AND run_type = 'backfill' AND state = 'running'"
        case.airflow.wait_until(lambda: len(case.sql(run)) == 1, "the run of the backfill runs", 120)
        (run_id,) = case.sql(run)
        case.api("PUT", f"/api/v2/backfills/{backfill['id']}/cancel")
        ended = case.one("airflow_dag_run", dag_id="filled", run_id=run_id, state="failed")
        assert ended["dag_run"]["state"] == "failed", ended
    else:
        (case.airflow.home / "ok").unlink()
        day = "2023-01-01"
        case.airflow.cli("dags", "backfill", "filled", "--start-date", day, "--end-date", day)
        (case.airflow.home / "ok").write_text("")
        (run_id,) = case.sql("SELECT run_id FROM dag_run WHERE dag_id = 'filled' AND run_type = 'backfill'")
    ran = case.ran("filled")
    for check in (True, False):
        refused = case.one("airflow_dag_run", dag_id="filled", run_id=run_id, rerun="failed_tasks", check=check)
        assert (refused["changed"], refused["diagnosis"]["code"]) == (False, "backfill_run"), refused
    assert case.ran("filled") == ran


def test_setup_and_teardown_come_along(case: Case) -> None:
    if case.minor < (2, 7):
        pytest.skip("setups and teardowns came with 2.7")
    assert case.ran("cluster") == ["create", "work", "delete"]
    done = case.rerun("cluster")
    assert done["tasks"] == ["create", "delete", "work"], done
    assert case.ends("cluster") == "success"
    assert case.ran("cluster") == ["create", "work", "delete"] * 2


def test_instance_of_a_mapped_task_that_succeeded_is_left_alone(case: Case) -> None:
    if case.minor < (2, 3):
        pytest.skip("mapped tasks came with 2.3")
    assert sorted(case.ran("mapped")) == ["0", "1"]
    done = case.rerun("mapped")
    assert done["tasks"] == ["each"], done
    assert case.ends("mapped") == "success"
    assert sorted(case.ran("mapped")) == ["0", "1", "1"]


def test_paused_dag(case: Case) -> None:
    case.one("airflow_dag", dag_id="tail", paused=True)
    all_tasks = {"dag_id": "tail", "run_id": "r", "rerun": "all_tasks", "rerun_states": ["success"]}
    refused = case.one("airflow_dag_run", **all_tasks)
    assert (refused["changed"], refused["diagnosis"]["code"]) == (False, "dag_paused"), refused
    done = case.one("airflow_dag_run", **all_tasks, if_paused="unpause")
    assert done["changed"], done
    assert case.ends("tail") == "success"
    assert case.ran("tail")[-2:] == ["load", "report"]


def test_run_that_was_ended_by_hand(case: Case) -> None:
    """The task behind the one that was running did not run, and is no failed one."""
    (case.airflow.home / "go").write_text("")  # the first try was killed meanwhile
    done = case.rerun("chain")
    assert done["changed"], done
    assert done["tasks"] == ["a", "b"] if case.minor >= (2, 4) else "a" in done["tasks"], done
    assert case.ends("chain") == "success"
    assert case.ran("chain") == ["a", "a", "b"]

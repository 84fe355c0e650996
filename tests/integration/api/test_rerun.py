# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs again: by what the tasks themselves write down, beside what the module says.

AIRFLOW_VERSIONS names the releases, separated by commas.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from testbed.instance import Airflow
from testbed.runner import Ansible
from testbed.running import running

VERSIONS = os.environ.get("AIRFLOW_VERSIONS", "2.11.2,3.3.2").split(",")

# Each task writes down that it runs. `fails` fails until there is a file `ok`, `holds` waits for the file `go`.
DAGS = """
import os, time
from datetime import datetime, timezone
from pathlib import Path
from examples import DAG, RELEASE, PythonOperator

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


def fails(dag, name):
    def run(**_context):
        with (HOME / "ran.log").open("a") as file:
            file.write(f"{dag.dag_id} {name}\\n")
        if not (HOME / "ok").exists():
            raise RuntimeError("not yet")

    return PythonOperator(task_id=name, python_callable=run, dag=dag)


def holds(dag, name):
    def run(**_context):
        with (HOME / "ran.log").open("a") as file:
            file.write(f"{dag.dag_id} {name}\\n")
        end = time.time() + 120
        while not (HOME / "go").exists() and time.time() < end:
            time.sleep(0.2)

    return PythonOperator(task_id=name, python_callable=run, dag=dag)


chain = dag("chain")
holds(chain, "a") >> step(chain, "b")

tail = dag("tail")
fails(tail, "load") >> step(tail, "report")

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
        (airflow.dags / "rerun.py").write_text(DAGS)
        if airflow.installation.release.generation == "3":
            text = airflow.cfg.read_text().replace(
                "simple_auth_manager_all_admins = False", "simple_auth_manager_all_admins = True"
            )
            airflow.cfg.write_text(text)
        else:
            airflow.write_backends("airflow.api.auth.backend.basic_auth")

    with running(request.param, before_start=set_up) as airflow:
        case = Case(airflow, ansible)
        dag_ids = ["chain", "tail", *["cluster"] * (case.minor >= (2, 7)), *["mapped"] * (case.minor >= (2, 3))]
        airflow.wait_dags(dag_ids)
        runs = [{"dag_id": dag_id, "run_id": "r"} for dag_id in dag_ids[1:]]
        failed = case.one("airflow_dag_trigger", runs=runs, wait=True, wait_timeout=180)
        assert [outcome["dag_run"]["state"] for outcome in failed["outcomes"]] == ["failed"] * len(runs), failed
        case.one("airflow_dag_trigger", dag_id="chain", run_id="r")
        airflow.wait_until(lambda: case.ran("chain") == ["a"], "the first task runs", 120)
        ended = case.one("airflow_dag_run", dag_id="chain", run_id="r", state="failed")
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

# SPDX-License-Identifier: GPL-3.0-or-later
"""From an API that rejects passwords to a finished DAG run, with what people use: role, modules, playbook.

`make test-cores` runs this file on each supported ansible-core. The tests of one Airflow build on each other, in their
order. AIRFLOW_VERSIONS names the Airflows, separated by commas.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed.instance import Airflow
from testbed.runner import Ansible, PlaybookResult
from testbed.running import running

# The newest of 2.x and 3.x.
VERSIONS = os.environ.get("AIRFLOW_VERSIONS", "2.11.2,3.3.2").split(",")
USER = "deployer"
PASSWORD = "pä$$ wörd-日本 {{ not_a_template }}"
RUN_ID = "end-to-end"


@pytest.fixture(scope="module", params=VERSIONS)
def airflow(request: pytest.FixtureRequest) -> Iterator[Airflow]:
    """An Airflow with all its programs, as installed: its API rejects passwords."""
    with running(request.param) as airflow:
        yield airflow


def play(ansible: Ansible, content: dict[str, Any], check: bool = False, **variables: Any) -> PlaybookResult:
    """Run one play on this machine. The password is in a variable, and must not be in the output."""
    text = json.dumps([{"hosts": "localhost", "gather_facts": False, **content}]) + "\n"
    done = ansible.playbook(
        text, {"password": {"__ansible_unsafe": PASSWORD}, **variables}, check=check, diff=True, verbosity=3
    )
    assert PASSWORD not in done.output
    assert json.dumps(PASSWORD)[1:-1] not in done.output
    return done


def enable(ansible: Ansible, airflow: Airflow, check: bool = False) -> PlaybookResult:
    """Run the role that enables password authentication and creates the user."""
    variables = {
        "api_auth_airflow_home": str(airflow.home),
        "api_auth_manager": "fab",
        "api_auth_health_timeout": 600,  # a machine that does other things at once starts Airflow 3 in minutes
        "api_auth_user": {"username": USER, "password": "{{ password }}", "role": "User"},
    }
    return play(ansible, {"roles": ["fleetops.airflow.api_auth"]}, check, **variables)


def trigger(ansible: Ansible, airflow: Airflow, check: bool = False) -> PlaybookResult:
    """Trigger a DAG run as that user, wait for its end, and list it, with the login given once for all modules."""
    login = {"url": airflow.url, "username": USER, "password": "{{ password }}"}
    run = {"dag_id": "hello", "run_id": RUN_ID, "conf": {"numbers": [1, 2], "text": "täxt"}, "wait": True}
    content = {
        "module_defaults": {"group/fleetops.airflow.api": login},
        "tasks": [
            {"name": "Inspect the API", "fleetops.airflow.airflow_api_info": {}},
            {"name": "Trigger", "fleetops.airflow.airflow_dag_trigger": run},
            {"name": "List", "fleetops.airflow.airflow_dag_run_info": {"dag_id": "hello"}},
        ],
    }
    return play(ansible, content, check)


def test_role_in_check_mode_changes_nothing(ansible: Ansible, airflow: Airflow) -> None:
    before, pid = airflow.cfg.read_bytes(), airflow.webserver_pid()
    done = enable(ansible, airflow, check=True)
    assert (done.rc, done.changed) == (0, 2), done.output
    assert (airflow.cfg.read_bytes(), airflow.webserver_pid()) == (before, pid)


def test_role_enables_password_authentication(ansible: Ansible, airflow: Airflow) -> None:
    done = enable(ansible, airflow)
    assert (done.rc, done.changed) == (0, 2), done.output
    assert done.tasks[-1].result["login_proved"], done.output


@pytest.mark.parametrize("check", [True, False])
def test_role_run_again_changes_nothing(ansible: Ansible, airflow: Airflow, check: bool) -> None:
    before, pid = airflow.cfg.read_bytes(), airflow.webserver_pid()
    done = enable(ansible, airflow, check)
    assert (done.rc, done.changed) == (0, 0), done.output
    assert (airflow.cfg.read_bytes(), airflow.webserver_pid()) == (before, pid)


def test_trigger_in_check_mode_creates_no_run(ansible: Ansible, airflow: Airflow) -> None:
    done = trigger(ansible, airflow, check=True)
    assert (done.rc, done.changed) == (0, 1), done.output
    assert done.tasks[-1].result["dag_runs"] == []


def test_trigger_waits_for_the_run(ansible: Ansible, airflow: Airflow) -> None:
    done = trigger(ansible, airflow)
    assert (done.rc, done.changed) == (0, 1), done.output
    _info, triggered, listed = (task.result for task in done.tasks)
    assert triggered["dag_run"]["state"] == "success"
    assert [run["run_id"] for run in listed["dag_runs"]] == [RUN_ID]


def test_trigger_run_again_creates_no_second_run(ansible: Ansible, airflow: Airflow) -> None:
    done = trigger(ansible, airflow)
    assert (done.rc, done.changed) == (0, 0), done.output
    assert [run["run_id"] for run in done.tasks[-1].result["dag_runs"]] == [RUN_ID]


def test_audit_writes_page_and_file(ansible: Ansible, tmp_path: Path) -> None:
    """What it finds depends on this machine: that a filter and templates work on this ansible-core does not."""
    variables = {"audit_hosts": "localhost", "audit_become": False, "audit_folder": str(tmp_path)}
    done = ansible.playbook("fleetops.airflow.audit", variables)
    assert done.rc == 0, done.output
    (row,) = json.loads((tmp_path / "airflow-audit.json").read_text())["hosts"]
    assert row["host"] == "localhost"
    assert '<th role="rowheader" scope="row">localhost</th>' in (tmp_path / "airflow-audit.html").read_text()

# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a result at the edge to Ansible: a password that is a common word spoils no identifier."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ansible_collections.fleetops.airflow.plugins.module_utils._module import _spared


def module(password: str) -> Any:
    return SimpleNamespace(
        no_log_values={password},
        params={"username": "op", "password": password, "dag_id": "airflow_db_cleanup", "conf": {}, "runs": None},
        argument_spec={"username": {}, "password": {"no_log": True}, "dag_id": {}},
    )


RESULT = {
    "dag_run": {
        "dag_id": "airflow_db_cleanup",
        "run_id": "airflow_2026",
        "url": "http://h/dags/airflow_db_cleanup",
        "state": "success",
        "conf": {"password": "airflow", "text": "airflow_x"},
    },
    "msg": "Run fleetops.airflow.airflow_api_auth. The password is 'airflow', so: airflow.",
    "diagnosis": {"code": "wrong_credentials", "cause": "user airflow"},
}


def test_common_word_spoils_no_identifier() -> None:
    one = module("airflow")
    result = _spared(one, RESULT)
    run = result["dag_run"]
    assert (run["dag_id"], run["run_id"], run["url"]) == (
        "airflow_db_cleanup",
        "airflow_2026",
        "http://h/dags/airflow_db_cleanup",
    )
    assert one.no_log_values == set()
    assert one.params == {**module("x").params, "password": "********"}
    assert run["conf"] == {"password": "********", "text": "airflow_x"}
    assert result["msg"] == "Run fleetops.airflow.airflow_api_auth. The password is '********', so: ********."
    assert result["diagnosis"] == {"code": "wrong_credentials", "cause": "user ********"}


def test_states_of_the_parts_of_airflow_and_dates_stay() -> None:
    result = {
        "health": {"metadatabase": "healthy", "scheduler": "healthy", "triggerer": None},
        "running_task": "load.healthy",
        "unfinished_tasks": [{"task_id": "x", "pool": "healthy", "state": "queued"}],
        "dag_run": {"start_date": "2026-01-31T08:00:01+00:00"},
    }
    for password in ("healthy", "2026"):
        one = module(password)
        assert _spared(one, result) == result
        assert one.no_log_values == set()  # else Ansible would blank them


def test_other_passwords_are_left_to_ansible() -> None:
    for password in ("s3cret-word", "pa ss", "success!", "t0p.secret"):
        one = module(password)
        assert _spared(one, RESULT) == RESULT
        assert one.no_log_values == {password}
        assert one.params["password"] == password  # which Ansible blanks


def test_values_of_conf_are_no_identifiers_whatever_they_are_called() -> None:
    one = module("admin")
    one.params.update(dag_id="admin_x", conf={"type": "admin", "deep": [{"name": "admin"}]})
    result = _spared(one, {"dag_run": {"dag_id": "admin_x", "conf": {"type": "admin"}}, "run_type": "manual"})
    assert one.no_log_values == set()  # the word stands in an identifier
    assert result["dag_run"] == {"dag_id": "admin_x", "conf": {"type": "********"}}
    assert (one.params["dag_id"], one.params["conf"]) == (
        "admin_x",
        {"type": "********", "deep": [{"name": "********"}]},
    )


def test_types_of_runs_and_names_of_tasks_stay() -> None:
    for password, result in (("manual", {"run_type": "manual"}), ("load", {"tasks": ["load", "load_all"]})):
        one = module(password)
        assert _spared(one, result) == result
        assert one.no_log_values == set()

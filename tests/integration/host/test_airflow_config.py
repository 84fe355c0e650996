# SPDX-License-Identifier: GPL-3.0-or-later
"""airflow_config: many options, one restart, and no secret shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from testbed.instance import Airflow
from testbed.runner import Ansible, ModuleResult

MODULE = "fleetops.airflow.airflow_config"


@pytest.fixture
def airflow_as_it_was(server: Airflow) -> Iterator[Airflow]:
    """An Airflow whose file is afterwards what it was, whatever the test did."""
    airflow = server
    pristine = airflow.cfg.read_bytes()
    yield airflow
    if airflow.cfg.read_bytes() != pristine or not airflow.healthy():
        airflow.cfg.write_bytes(pristine)
        airflow.restart_webserver()


def run(ansible: Ansible, airflow: Airflow, settings: dict[str, Any], **options: Any) -> ModuleResult:
    args = {"airflow_home": str(airflow.home), "settings": settings, **options.pop("args", {})}
    return ansible.module(MODULE, args, **options)


@pytest.mark.witness
def test_many_options_in_one_restart(ansible: Ansible, airflow_as_it_was: Airflow) -> None:
    """One of them moves the server to another path, where it has to be found again."""
    airflow = airflow_as_it_was
    before, pid = airflow.cfg.read_text(), airflow.webserver_pid()
    moved = airflow.url + "/here"
    settings = {
        "webserver": {"base_url": moved, "default_ui_timezone": None, "instance_name": "100%% ours"},
        "core": {"parallelism": 17},
        "new_section": {"a": "b", "c": 1},
    }
    would = run(ansible, airflow, settings, check=True, diff=True)
    assert (would.changed, airflow.cfg.read_text()) == (True, before)
    did = run(ansible, airflow, settings, diff=True)
    assert (did.failed, did.result["restarted"]) == (False, True), did.output
    assert would.result["settings"] == did.result["settings"]
    assert would.result["diff"] == did.result["diff"]
    assert [setting for setting in did.result["settings"] if setting["option"] == "parallelism"] == [
        {"section": "core", "option": "parallelism", "before": "32", "after": "17", "changed": True}
    ]
    assert airflow.webserver_pid() != pid
    text = airflow.cfg.read_text()
    assert text.endswith("\n[new_section]\na = b\nc = 1\n")
    assert "\ndefault_ui_timezone =" not in text
    changed = set(text.splitlines()) ^ set(before.splitlines())
    assert len(changed) == 9, changed

    pid = airflow.webserver_pid()
    for check in (True, False):
        again = run(ansible, airflow, settings, check=check)
        assert (again.failed, again.changed) == (False, False), again.output
    assert airflow.webserver_pid() == pid

    back = run(ansible, airflow, {"webserver": {"base_url": "http://localhost:8080"}})
    assert back.result["restarted"], back.output
    assert airflow.healthy()


@pytest.mark.real
def test_a_change_that_the_server_dies_of_is_put_back(ansible: Ansible, airflow_as_it_was: Airflow) -> None:
    airflow = airflow_as_it_was
    before = airflow.cfg.read_bytes()
    url = "sqlite:////nowhere/at/all/s3cret.db"
    done = run(
        ansible,
        airflow,
        {"database": {"sql_alchemy_conn": url}, "core": {"parallelism": 18}},
        args={"health_timeout": 20, "backup": True},
        diff=True,
        verbosity=3,
    )
    assert done.failed
    assert done.result["rolled_back"] is True
    assert "was rolled back. The server runs with it again." in done.msg
    assert url not in done.output
    assert airflow.cfg.read_bytes() == before
    assert airflow.healthy()
    for path in airflow.home.glob("airflow.cfg.*"):
        assert path.read_bytes() == before
        path.unlink()


def test_what_a_variable_beats(ansible: Ansible, airflow_as_it_was: Airflow) -> None:
    """The testbed's server has AIRFLOW__CORE__LOAD_EXAMPLES=False in its environment."""
    airflow = airflow_as_it_was
    before, pid = airflow.cfg.read_bytes(), airflow.webserver_pid()
    for value in ("True", None):
        done = run(ansible, airflow, {"core": {"parallelism": 19, "load_examples": value}})
        assert done.failed
        assert done.result["overridden_by"] == "AIRFLOW__CORE__LOAD_EXAMPLES"
        owner = f"the server (pid {pid}, service {airflow.server_program})"
        assert f"AIRFLOW__CORE__LOAD_EXAMPLES=False in the environment of {owner}" in done.msg
    same = run(ansible, airflow, {"core": {"load_examples": "False"}}, args={"restart": "never"})
    assert not same.failed, same.output
    assert airflow.webserver_pid() == pid
    airflow.cfg.write_bytes(before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "settings is empty"),
        ({"core": {}}, "settings of section core"),
        ({"core": "parallelism"}, "settings of section core"),
        ({"core": {"parallelism": [1]}}, "The value of [core] parallelism is a list"),
        ({"api": {"auth_backends": "no.such.module"}}, "cannot import no.such.module"),
    ],
)
def test_bad_input_changes_nothing(
    ansible: Ansible, airflow_as_it_was: Airflow, settings: dict[str, Any], message: str
) -> None:
    airflow = airflow_as_it_was
    before, pid = airflow.cfg.read_bytes(), airflow.webserver_pid()
    done = run(ansible, airflow, settings)
    assert done.failed, done.output
    assert message in done.msg
    assert (airflow.cfg.read_bytes(), airflow.webserver_pid()) == (before, pid)


def test_a_name_with_a_typing_error_is_warned_of(ansible: Ansible, airflow_as_it_was: Airflow) -> None:
    done = run(ansible, airflow_as_it_was, {"core": {"paralelism": 3}}, check=True)
    assert "describes no option paralelism in [core]. Is parallelism meant?" in " ".join(done.output.split())

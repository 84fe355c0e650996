# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role remediate decides: its variables, evaluated. How it acts: tests/integration/roles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from unit.roles.role_vars import task_of, tasks_of, value_of

ROLE = "remediate"
HEALTHY: Mapping[str, Any] = {"health": {"metadatabase": "healthy", "scheduler": "healthy"}, "running_task": None}
UNHEALTHY: Mapping[str, Any] = {"health": {"metadatabase": "healthy", "scheduler": "unhealthy"}, "running_task": ""}
NOT_ASKED: Mapping[str, Any] = {"changed": False, "skipped": True}


def unit(state: str, enabled: str = "enabled") -> dict[str, Any]:
    status = {"LoadState": "loaded", "Id": "airflow-scheduler", "ActiveState": state, "UnitFileState": enabled}
    return {"results": [{"status": status}]}


class TestSchedulerOnOneHost:
    """Whether a host's scheduler is restarted, by what Airflow reports at that time."""

    def why_not(self, state: str, seen: Mapping[str, Any], first: Mapping[str, Any] | None = None) -> str:
        return str(self.value("{{ remediate_none }}", state, seen, first)).strip()

    def value(self, text: str, state: str, seen: Mapping[str, Any], first: Mapping[str, Any] | None = None) -> Any:
        task = task_of(ROLE, "restart_host", "Decide, and act on it")
        known = {
            "remediate_component": "scheduler",
            "remediate_inspected": unit(state),
            "remediate_asked": NOT_ASKED,
            "remediate_server": NOT_ASKED,
            "remediate_seen": seen,
            "remediate_seen_first": NOT_ASKED if first is None else first,
        }
        return value_of(ROLE, text, task["vars"], known)

    def test_each_host_is_decided_by_what_is_reported_then(self) -> None:
        modules = [
            next((key for key in task if key.startswith("fleetops.")), "") for task in tasks_of(ROLE, "restart_host")
        ]
        assert "fleetops.airflow.airflow_api_info" in modules

    def test_one_that_runs_is_left_alone_after_another_was_restarted(self) -> None:
        assert self.why_not("active", UNHEALTHY, UNHEALTHY) == ""
        assert "healthy again" in self.why_not("active", HEALTHY, UNHEALTHY)

    def test_one_that_is_down_is_restarted_after_another_was(self) -> None:
        assert self.why_not("failed", HEALTHY, UNHEALTHY) == ""

    @pytest.mark.parametrize("first", [NOT_ASKED, HEALTHY])
    def test_nothing_is_restarted_where_airflow_is_healthy_at_once(self, first: Mapping[str, Any]) -> None:
        for state in ("active", "failed"):
            assert "healthy again" in self.why_not(state, HEALTHY, first)

    def test_one_that_runs_is_looked_at_for_a_while(self) -> None:
        decision = task_of(ROLE, "restart_host", "Decide, and act on it")["ansible.builtin.include_tasks"]["file"]
        for state, seen, file in (
            ("active", UNHEALTHY, "restart_confirm.yml"),
            ("failed", UNHEALTHY, "restart_unit.yml"),
            ("active", HEALTHY, "note.yml"),
        ):
            assert self.value(decision, state, seen) == file

    def test_looks_end_with_the_first_that_shows_another_reason(self) -> None:
        looks = next(iter(tasks_of(ROLE, "restart_confirm")))
        until = "{{ " + looks["until"] + " }}"
        assert looks["retries"] >= 1
        assert self.value(until, "active", UNHEALTHY) is False
        for seen in ({**UNHEALTHY, "running_task": "load.sleep"}, {**UNHEALTHY, "running_task": None}, HEALTHY, {}):
            assert self.value(until, "active", seen) is True
        decision = list(tasks_of(ROLE, "restart_confirm"))[-1]["ansible.builtin.include_tasks"]
        assert self.value(decision, "active", UNHEALTHY) == "restart_unit.yml"
        assert self.value(decision, "active", {**UNHEALTHY, "running_task": "load.sleep"}) == "note.yml"


class TestHowAnApiIsReached:
    """As the event source reaches it: test_options.py."""

    PROBLEM: Mapping[str, Any] = {"api": "airflow.example:8443", "url": "https://elsewhere.example"}

    def call(self, apis: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        known = {"remediate_apis": apis, "remediate_target": {}, "remediate_problem": self.PROBLEM, **more}
        return dict(value_of(ROLE, "{{ remediate_call }}", known))

    @pytest.mark.parametrize("name", ["url", "api_url"])
    def test_entry_is_found_by_its_address_and_gives_it(self, name: str) -> None:
        entry = {name: "https://me@airflow.example:8443/base", "timeout": 7}
        other = {"url": "https://other.example", "timeout": 8}
        assert self.call([other, entry]) == {"url": "https://me@airflow.example:8443/base", "timeout": 7}

    def test_address_of_the_problem_where_the_entry_has_none(self) -> None:
        assert self.call([])["url"] == "https://elsewhere.example"
        assert self.call([{"name": "airflow.example:8443", "timeout": 7}]) == {
            "url": "https://elsewhere.example",
            "timeout": 7,
        }

    @pytest.mark.parametrize("name", ["url", "api_url"])
    def test_entry_that_the_playbook_examines(self, name: str) -> None:
        entry = {name: "https://me@airflow.example:8443/base"}
        known = {"remediate_target": entry, "remediate_apis": [entry]}
        assert value_of(ROLE, "{{ remediate_api_name }}", known) == "airflow.example:8443"
        assert value_of(ROLE, "{{ remediate_call }}", known) == {"url": entry[name]}

    def test_url_of_the_environment(self) -> None:
        known = {"remediate_target": {"name": "airflow"}, "remediate_apis": [{"name": "airflow", "timeout": 7}]}
        assert value_of(ROLE, "{{ remediate_call }}", {**known, "remediate_problem": {}}) == {"timeout": 7}

    def test_login_of_the_entry_counts_before_that_for_all(self, tmp_path: Path) -> None:
        for_all, of_one = tmp_path / "all.json", tmp_path / "one.json"
        for_all.write_text('{"username": "all", "password": "p1"}')
        of_one.write_text('{"token": "t1"}')
        entry = {"name": self.PROBLEM["api"], "url": "https://a"}
        nothing = {"username": "", "password": "", "token": ""}
        common = {"remediate_login_file": str(for_all)}
        assert self.call([entry], **common) == {**nothing, "url": "https://a", "username": "all", "password": "p1"}
        own = {**entry, "username": "own", "password": "p2"}
        assert self.call([own], **common) == {**nothing, "url": "https://a", "username": "own", "password": "p2"}
        own = {**entry, "login_file": str(of_one)}
        login = {"remediate_login": {"username": "given", "password": "p3"}}
        assert self.call([own], **common, **login) == {**nothing, "url": "https://a", "token": "t1"}
        assert self.call([entry], **login)["username"] == "given"


class TestDone:
    """What is written down as done has been verified with the login, from wherever that comes."""

    DIAGNOSIS: Mapping[str, Any] = {"diagnosis": {"code": "c", "cause": "why"}}

    @pytest.mark.parametrize("name", ["AIRFLOW_API_USERNAME", "AIRFLOW_API_TOKEN"])
    def test_login_of_the_environment_is_one(self, name: str) -> None:
        known = {"remediate_target": {}, "remediate_problem": {"api": "a", "url": "https://a"}}
        assert value_of(ROLE, "{{ remediate_has_login | bool }}", known) is False
        assert value_of(ROLE, "{{ remediate_has_login | bool }}", known, environment={name: "x"}) is True
        other = {"remediate_apis": [{"name": "a", "token": "t"}]}
        assert value_of(ROLE, "{{ remediate_only_login.username }}", known, other, environment={name: "x"}) == ""

    @pytest.mark.parametrize(
        ("seen", "outcome"),
        [
            (NOT_ASKED, "done"),
            ({"login_accepted": True, "diagnosis": None}, "done"),
            ({"login_accepted": False, **DIAGNOSIS}, "it runs, and does not accept the login: why"),
            ({"login_accepted": None, **DIAGNOSIS}, "it runs, and whether it accepts the login is not known: why"),
            (
                {"login_accepted": None, "diagnosis": None},
                "it runs, and whether it accepts the login is not known: it also accepts requests without a login",
            ),
        ],
    )
    def test_restart(self, seen: dict[str, Any], outcome: str) -> None:
        task = task_of(ROLE, "restart_verify", "Write down how it ended")
        text = task["fleetops.airflow.remediation_journal"]["outcome"]
        known = {"remediate_logged_in": seen, "remediate_after": NOT_ASKED}
        assert value_of(ROLE, text, task["vars"], known) == outcome
        known["remediate_after"] = {"failed": True, "msg": "no file"}
        unseen = "restarted, and Airflow works; that the restarted server does could not be verified on its own host"
        expected = outcome if "does not accept" in outcome else unseen
        assert value_of(ROLE, text, task["vars"], known) == expected

    @pytest.mark.parametrize(
        ("changed", "verified", "outcome"),
        [
            (True, True, "done"),
            (False, True, "nothing to do: it is set, and the server accepts the login on its own host"),
            (True, False, "set, and whether the server accepts the login could not be verified on its own host"),
        ],
    )
    def test_api_auth(self, changed: bool, verified: bool, outcome: str) -> None:
        task = task_of(ROLE, "api_auth_set", "Write down how it ended")["fleetops.airflow.remediation_journal"]
        done = {"changed": changed, "login_verified": verified, "after": ["x"], "restarted": True}
        assert value_of(ROLE, task["outcome"], {"remediate_done": done}).strip() == outcome
        after = value_of(ROLE, task["after"], {"remediate_done": done})
        assert after == {"backends": ["x"], "restarted": True, "login_accepted": True if verified else None}


class TestBackends:
    def lost(self, effective: list[str], keep: list[str]) -> list[str]:
        task = task_of(ROLE, "api_auth_host", "Decide, and act on it")
        known = {
            "remediate_auth": {"section": "api", "effective": effective, "in_force": None},
            "remediate_backends": keep,
        }
        return list(value_of(ROLE, "{{ remediate_lost }}", task["vars"], known))

    def test_whole_names_are_compared(self) -> None:
        own, fab = "airflow.api.auth.backend.", "airflow.providers.fab.auth_manager.api.auth.backend."
        keep = ["basic_auth", "session"]
        assert self.lost([own + "session"], keep) == []
        assert self.lost([fab + "basic_auth", own + "session", own + "deny_all"], keep) == []
        assert self.lost([own + "kerberos_auth"], keep) == ["kerberos_auth"]
        assert self.lost(["company.sso.basic_auth", own + "session"], keep) == ["company.sso.basic_auth"]
        assert self.lost(["company.sso.basic_auth"], [own + "basic_auth", "company.sso.basic_auth"]) == []


@pytest.mark.parametrize(
    ("problem", "checks"),
    [
        ({"type": "run_failed", "dag_id": "load"}, True),
        ({"type": "run_failed", "dag_id": "listed"}, False),
        ({"type": "run_stuck", "dag_id": "load", "state": "queued", "dag_paused": True}, True),
        ({"type": "run_stuck", "dag_id": "unpause", "state": "queued", "dag_paused": True}, False),
        ({"type": "run_stuck", "dag_id": "load", "state": "running", "dag_paused": False}, False),
        ({"type": "component_unhealthy", "component": "scheduler"}, False),
    ],
)
def test_names_are_checked_where_a_rule_for_another_name_would_act(problem: dict[str, Any], checks: bool) -> None:
    task = next(iter(tasks_of(ROLE, "report")))
    assert task["ansible.builtin.include_tasks"] == "check_dags.yml"
    main = task_of(ROLE, "main", "Fix one problem, or write down why it is not fixed")
    given = {"remediate_problem": problem, "remediate_dags": "listed", "remediate_unpause_dags": ["unpause"]}
    assert value_of(ROLE, "{{ " + task["when"] + " }}", main["vars"], given) is checks

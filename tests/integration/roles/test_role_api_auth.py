# SPDX-License-Identifier: GPL-3.0-or-later
"""The role api_auth, and airflow_user beneath it: from "the API refuses me" to "this user can trigger"."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from testbed.instance import Airflow
from testbed.runner import Ansible, PlaybookResult

USER = "fleetops.airflow.airflow_user"
PASSWORD = "pä$$ wörd-日本"
PLAY = """
- hosts: localhost
  gather_facts: false
  roles:
    - role: fleetops.airflow.api_auth
"""


@pytest.fixture
def refusing(airflow: Airflow) -> Iterator[Airflow]:
    """An Airflow as it comes; afterwards its file is so again."""
    pristine = airflow.cfg.read_bytes()
    yield airflow
    if airflow.cfg.read_bytes() != pristine:
        airflow.cfg.write_bytes(pristine)
        airflow.restart_webserver()


def may_trigger(airflow: Airflow, username: str, password: str) -> int:
    """The status of a request that needs the permission to trigger, and creates nothing."""
    token = base64.b64encode(f"{username}:{password}".encode()).decode()
    request = urllib.request.Request(
        airflow.url + "/api/v1/dags/hello/dagRuns",
        data=b'{"zzz": 1}',
        headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.story
def test_from_refused_to_triggering_and_no_further(ansible: Ansible, refusing: Airflow) -> None:
    airflow = refusing
    variables = {
        "api_auth_airflow_home": str(airflow.home),
        "api_auth_user": {"username": "deployer", "password": PASSWORD, "role": "User"},
    }

    def play(check: bool = False, **more: Any) -> PlaybookResult:
        done = ansible.playbook(PLAY, {**variables, **more}, check=check, diff=True, verbosity=3)
        assert PASSWORD not in done.output
        assert json.dumps(PASSWORD)[1:-1] not in done.output
        return done

    before, pid = airflow.cfg.read_bytes(), airflow.webserver_pid()
    would = play(check=True)
    assert (would.rc, would.changed) == (0, 2), would.output
    assert airflow.cfg.read_bytes() == before
    assert airflow.webserver_pid() == pid

    did = play()
    assert (did.rc, did.changed) == (0, 2), did.output
    created = next(task.result for task in did.tasks if task.action == USER)
    assert (created["created"], created["login_proved"]) == (True, True)
    assert may_trigger(airflow, "deployer", PASSWORD) == 400  # refused for its content alone

    pid = airflow.webserver_pid()
    for check in (True, False):
        again = play(check=check)
        assert (again.rc, again.changed) == (0, 0), again.output
    assert airflow.webserver_pid() == pid
    gone = ansible.module(USER, {"airflow_home": str(airflow.home), "username": "deployer", "state": "absent"})
    assert gone.result["removed"], gone.output


@pytest.mark.story
def test_a_user_with_another_password(ansible: Ansible, refusing: Airflow) -> None:
    airflow = refusing
    args = {"airflow_home": str(airflow.home), "username": "viewer", "password": "another one"}
    assert ansible.module(
        "fleetops.airflow.airflow_api_auth", {"airflow_home": str(airflow.home), "backends": ["basic_auth", "session"]}
    ).changed

    kept = ansible.module(USER, {**args, "update_password": "on_create"})
    assert kept.failed
    assert "the user exists, has another password, and update_password is on_create" in kept.msg
    assert may_trigger(airflow, "viewer", airflow.users["viewer"]) == 403

    for check, changed in (True, True), (False, True), (False, False):
        done = ansible.module(USER, args, check=check)
        assert (done.changed, done.result["created"]) == (changed, False), done.output
        assert done.result["password_changed"] is changed
    assert may_trigger(airflow, "viewer", "another one") == 403
    assert ansible.module(USER, {**args, "password": airflow.users["viewer"]}).changed


def test_login_that_a_public_role_hides_is_not_called_proved(ansible: Ansible, refusing: Airflow) -> None:
    """Every caller may do what the public role may, with a wrong password too, so no request proves a login."""
    airflow = refusing
    config = airflow.home / "webserver_config.py"
    pristine = config.read_text()
    variables = {
        "api_auth_airflow_home": str(airflow.home),
        "api_auth_user": {"username": "newcomer", "password": PASSWORD, "role": "User"},
    }
    config.write_text(pristine + '\nAUTH_ROLE_PUBLIC = "Op"\n')
    try:
        airflow.restart_webserver()
        did = ansible.playbook(PLAY, variables)
        user = next(task.result for task in did.tasks if task.action == USER)
        assert did.rc != 0, did.output
        assert (user["created"], user["login_proved"]) == (True, False)
        assert "the server accepts the same request without credentials (anonymous access)" in did.output
    finally:
        config.write_text(pristine)
        airflow.restart_webserver()
    assert may_trigger(airflow, "newcomer", PASSWORD) == 400
    again = ansible.playbook(PLAY, variables)
    assert (again.rc, again.changed) == (0, 0), again.output
    args = {"airflow_home": str(airflow.home), "username": "newcomer", "state": "absent"}
    assert ansible.module(USER, args).result["removed"]


def test_a_password_is_tried_also_where_the_api_takes_none(ansible: Ansible, refusing: Airflow) -> None:
    airflow = refusing
    args = {"airflow_home": str(airflow.home), "username": "viewer", "password": airflow.users["viewer"]}
    right = ansible.module(USER, args)
    assert (right.failed, right.changed, right.result["login_proved"]) == (False, False, False), right.output
    assert ansible.module(USER, {**args, "password": "another"}, check=True).result["password_changed"]


def test_what_cannot_be_done(ansible: Ansible, refusing: Airflow) -> None:
    airflow = refusing
    home = {"airflow_home": str(airflow.home)}
    role = ansible.module(USER, {**home, "username": "deployer", "password": "x", "role": "Pilot"})
    assert role.failed
    assert "there is no role Pilot; there are Admin, Op, Public, User, Viewer. Nothing was changed" in role.msg

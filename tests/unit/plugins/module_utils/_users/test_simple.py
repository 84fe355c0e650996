# SPDX-License-Identifier: GPL-3.0-or-later
"""The two files of Airflow 3's simple auth manager, and plans for them by values."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import edit, validate_overrides
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._users.simple import (
    PasswordStep,
    UserFound,
    passwords_in,
    passwords_path,
    plan_user,
    role_of,
    users_of,
    users_setting,
    with_password,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._users.user import DesiredUser
from unit.plugins.hosts import host


def cfg(text: str) -> Cfg:
    return Cfg.from_bytes(text.encode(), "airflow.cfg")


@pytest.mark.parametrize(
    ("text", "users"),
    [
        ("[core]\n", {"admin": "admin"}),  # Airflow's default
        ("[core]\nsimple_auth_manager_users =\n", {}),
        ("[core]\nsimple_auth_manager_users = bob:admin, peter:viewer\n", {"bob": "admin", "peter": "viewer"}),
        ("[core]\nsimple_auth_manager_users = bob:op:red|blue\n", {"bob": "op:red|blue"}),
    ],
)
def test_users_of_a_file(text: str, users: dict[str, str]) -> None:
    assert users_of(cfg(text), {}) == users
    assert users_of(edit(cfg(text), [users_setting(users)]), {}) == users


def test_users_of_the_environment_count_and_those_of_the_file_do_not() -> None:
    """Else a user whom the variable names would be reported as absent, and could go on logging in."""
    text = cfg("[core]\nsimple_auth_manager_users = bob:admin\n")
    environment = {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "eve:op"}
    assert users_of(text, environment) == {"eve": "op"}
    with pytest.raises(AirflowError, match="SIMPLE_AUTH_MANAGER_USERS=eve:op in the environment of x overrides"):
        validate_overrides([users_setting({})], environment, "x")


def test_users_that_are_written_otherwise_are_the_same() -> None:
    text = cfg("[core]\nsimple_auth_manager_users = bob:admin , peter:viewer\n")
    assert edit(text, [users_setting(users_of(text, {}))]) is text


def test_roles() -> None:
    assert (role_of(["Op"]), role_of(None), role_of([])) == ("op", None, None)
    for wrong in (["Pilot"], ["op", "viewer"]):
        with pytest.raises(AirflowError, match="one role of viewer, user, op, admin"):
            role_of(wrong)


def test_where_the_passwords_are() -> None:
    text = cfg("[core]\nsimple_auth_manager_passwords_file = /srv/passwords\n")
    assert passwords_path(text, {}, "/home") == "/srv/passwords"
    variable = {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": "/srv/others"}
    assert passwords_path(text, variable, "/home") == "/srv/others"
    generated = "/home/simple_auth_manager_passwords.json.generated"
    assert passwords_path(cfg("[core]\n"), {}, "/home") == generated


def test_passwords_of_a_file() -> None:
    assert passwords_in(None, "/p") == passwords_in(b"", "/p") == {}
    content = with_password({"bob": "secret"}, "peter", "日本")
    assert passwords_in(content, "/p") == {"bob": "secret", "peter": "日本"}
    assert json.loads(with_password(passwords_in(content, "/p"), "bob", None)) == {"peter": "日本"}


@pytest.mark.parametrize("text", [b"{", b"[]", b'"x"'])
def test_a_file_that_is_none_of_airflows(text: bytes) -> None:
    with pytest.raises(AirflowError, match="/p holds no JSON of names with passwords"):
        passwords_in(text, "/p")


# --- plans ------------------------------------------------------------------------------------


def found(password: str | None = None, **users: str) -> UserFound:
    return UserFound({"admin": "admin", **users}, password, "/passwords")


def test_a_new_user() -> None:
    plan = plan_user(found(), DesiredUser("bob", "secret", roles=["Op"]))
    assert (plan.users, plan.password, plan.password_changes) == ({"admin": "admin", "bob": "op"}, "secret", True)
    assert plan.change.result() == {
        "created": True,
        "removed": False,
        "password_changed": False,
        "details_changed": [],
        "diff": {
            "before_header": "user bob",
            "after_header": "user bob",
            "before": "",
            "after": "password: ******** (new)\nroles: op\n",
        },
    }


def test_a_user_as_wanted() -> None:
    plan = plan_user(found("secret", bob="Op:red"), DesiredUser("bob", "secret", roles=["op"]))
    assert (plan.users, plan.password_changes) == (plan.found.users, False)
    assert not plan.change.changes


def test_another_role_keeps_the_teams() -> None:
    plan = plan_user(found("secret", bob="op:red|blue"), DesiredUser("bob", roles=["viewer"]))
    assert (plan.users["bob"], plan.password) == ("viewer:red|blue", "secret")
    assert plan.change.details_changed == ["roles"]


def test_another_password() -> None:
    wanted = DesiredUser("bob", "secret")
    assert plan_user(found("other", bob="op"), wanted).change.password_changed
    with pytest.raises(AirflowError, match=r"update_password is on_create\. Nothing was changed"):
        plan_user(found("other", bob="op"), wanted._replace(keep_password=True))


def test_a_user_without_a_password() -> None:
    with pytest.raises(AirflowError, match="has no password yet"):
        plan_user(found(), DesiredUser("bob"))


def test_a_user_who_has_to_go() -> None:
    plan = plan_user(found("secret", bob="op"), DesiredUser("bob", absent=True))
    assert (plan.users, plan.password, plan.password_changes) == ({"admin": "admin"}, None, True)
    result = plan.change.result()
    assert (result["removed"], result["password_changed"], result["diff"]["after"]) == (True, False, "")
    assert not plan_user(found(), DesiredUser("bob", absent=True)).change.changes


@pytest.fixture
def step(tmp_path: Path) -> PasswordStep:
    (tmp_path / "airflow.cfg").touch()
    before = UserFound({"bob": "op"}, None, str(tmp_path / "passwords"))
    return PasswordStep(
        plan_user(before, DesiredUser("bob", "new")), host(real_path=str(tmp_path / "airflow.cfg"), servers=[])
    )


def test_a_password_step_takes_back_what_it_wrote(step: PasswordStep, tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    path.write_bytes(with_password({}, "bob", "old"))
    path.chmod(0o644)  # as Airflow leaves it
    inode = path.stat().st_ino
    step.undo()
    assert path.stat().st_ino == inode  # nothing was done, so nothing is written
    step.do()
    assert json.loads(path.read_text()) == {"bob": "new"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    step.undo()
    assert (path.read_bytes(), path.stat().st_ino) == (with_password({}, "bob", "old"), inode)
    assert sorted(os.listdir(tmp_path)) == ["airflow.cfg", "passwords"]


def test_a_password_step_removes_the_file_that_it_made(step: PasswordStep, tmp_path: Path) -> None:
    step.do()
    assert json.loads((tmp_path / "passwords").read_text()) == {"bob": "new"}
    assert stat.S_IMODE((tmp_path / "passwords").stat().st_mode) == 0o600
    step.undo()
    assert os.listdir(tmp_path) == ["airflow.cfg"]

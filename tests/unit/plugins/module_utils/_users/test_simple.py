# SPDX-License-Identifier: GPL-3.0-or-later
"""The two files of Airflow 3's simple auth manager, and plans for them by values."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import edit
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._users.simple import (
    PasswordStep,
    UserFound,
    passwords_path,
    plan_user,
    read_passwords,
    role_of,
    users_of,
    users_setting,
    write_password,
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
    assert users_of(cfg(text)) == users
    assert users_of(edit(cfg(text), [users_setting(users)])) == users


def test_users_that_are_written_otherwise_are_the_same() -> None:
    text = cfg("[core]\nsimple_auth_manager_users = bob:admin , peter:viewer\n")
    assert edit(text, [users_setting(users_of(text))]) is text


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


def test_a_password_is_written_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    assert read_passwords(str(path)) == {}
    write_password(str(path), "bob", "secret", os.stat(str(tmp_path)))
    path.chmod(0o644)  # as Airflow leaves it
    write_password(str(path), "peter", "日本", os.stat(str(tmp_path)))
    assert json.loads(path.read_text()) == {"bob": "secret", "peter": "日本"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    write_password(str(path), "bob", None, os.stat(str(tmp_path)))
    assert read_passwords(str(path)) == {"peter": "日本"}


@pytest.mark.parametrize("text", ["{", "[]", '"x"'])
def test_a_file_that_is_none_of_airflows(tmp_path: Path, text: str) -> None:
    path = tmp_path / "passwords"
    path.write_text(text)
    with pytest.raises(AirflowError, match="holds no JSON of names with passwords"):
        write_password(str(path), "bob", "secret", os.stat(str(tmp_path)))
    assert path.read_text() == text


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


def test_a_password_step_takes_back_what_it_wrote(tmp_path: Path) -> None:
    (tmp_path / "airflow.cfg").touch()
    path = tmp_path / "passwords"
    write_password(str(path), "bob", "old", os.stat(str(tmp_path)))
    before = UserFound({"bob": "op"}, "old", str(path))
    step = PasswordStep(plan_user(before, DesiredUser("bob", "new")), host(real_path=str(tmp_path / "airflow.cfg")))
    inode = path.stat().st_ino
    step.undo()
    assert path.stat().st_ino == inode  # nothing was done, so nothing is written
    step.do()
    assert read_passwords(str(path)) == {"bob": "new"}
    step.undo()
    assert read_passwords(str(path)) == {"bob": "old"}

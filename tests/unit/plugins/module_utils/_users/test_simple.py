# SPDX-License-Identifier: GPL-3.0-or-later
"""The two files of Airflow 3's simple auth manager."""

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
    passwords_path,
    read_passwords,
    role_of,
    users_of,
    users_setting,
    write_password,
)


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

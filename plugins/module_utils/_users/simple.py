# SPDX-License-Identifier: GPL-3.0-or-later
"""Users of Airflow 3's simple auth manager: names and roles in airflow.cfg, passwords in a file beside it.

The server reads names and roles when it starts, and the passwords at every login. It makes up a password, and writes it
to its log, for each name that has none in the file when it starts: so the file comes first.
"""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Mapping

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import Setting, variable_name
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._change.converge import converge, discovered, plan_for
from ansible_collections.fleetops.airflow.plugins.module_utils._change.current import read_cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import ChangePolicy, Login, Target
from ansible_collections.fleetops.airflow.plugins.module_utils._change.plan import DesiredState
from ansible_collections.fleetops.airflow.plugins.module_utils._change.replacement import Replacement
from ansible_collections.fleetops.airflow.plugins.module_utils._change.transaction import Step
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.command import acting_as, user_of
from ansible_collections.fleetops.airflow.plugins.module_utils._host.files import read_foreign
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host
from ansible_collections.fleetops.airflow.plugins.module_utils._host.installation import expanded
from ansible_collections.fleetops.airflow.plugins.module_utils._host.trust import home_of
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record
from ansible_collections.fleetops.airflow.plugins.module_utils._users.user import DesiredUser, UserChange

ROLES = ("viewer", "user", "op", "admin")
_SECTION = "core"
_USERS = "simple_auth_manager_users"
_PASSWORDS = "simple_auth_manager_passwords_file"
_DEFAULT = "admin:admin"
_MOST_BYTES = 1 << 24  # of the file with the passwords
_GENERATED = "simple_auth_manager_passwords.json.generated"


class UserFound(Record):
    """The two files, as far as they are about one user."""

    users: dict[str, str]  # name -> role, of all users
    password: str | None
    passwords_path: str


class UserPlan(Record):
    """What the two files are going to hold. None: nothing about this user."""

    username: str
    found: UserFound
    role: str | None
    password: str | None

    @property
    def users(self) -> dict[str, str]:
        """Name -> role, of all users."""
        users = {name: role for name, role in self.found.users.items() if name != self.username or self.role}
        if self.role:
            users[self.username] = self.role
        return users

    @property
    def password_changes(self) -> bool:
        return self.password != self.found.password

    @property
    def change(self) -> UserChange:
        old = self.found.users.get(self.username)
        return UserChange(
            username=self.username,
            before=None if old is None else {"roles": old},
            after=None if self.role is None else {"roles": self.role},
            details_changed=["roles"] if old and self.role and old != self.role else [],
            password_differs=self.password_changes,
        )


class PasswordStep(Step):
    """The password in its file, before the restart: for a name without one the server would make one up.

    All of it is done as the server's user, in whose hands the file and the way to it are.
    """

    def __init__(self, plan: UserPlan, host: Host) -> None:
        self._plan, self._host = plan, host
        self._file: Replacement | None = None

    def do(self) -> None:
        path = self._plan.found.passwords_path
        with acting_as(user_of(self._host)):
            old = _read(path)
            new = with_password(passwords_in(old, path), self._plan.username, self._plan.password)
            self._file = Replacement(path, old, new, mode=0o600)  # Airflow makes it 0644
            self._file.do()

    def undo(self) -> None:
        if self._file:
            with acting_as(user_of(self._host)):
                self._file.undo()

    def finish(self) -> None:
        if self._file:
            with acting_as(user_of(self._host)):
                self._file.finish()

    def close(self) -> None:
        if self._file:
            self._file.close()


def converge_user(
    wanted: DesiredUser,
    target: Target,
    policy: ChangePolicy,
    check_mode: bool,
    warn: Callable[[str], None],
) -> dict[str, Any]:
    """Make a user what the task says, with a restart of the server where it needs one.

    :param warn: as for ``converge`` of _change.
    :returns: what airflow_user returns.
    :raises AirflowError: if it cannot be; everything is as it was then.
    """
    with discovered(target, policy, check_mode) as host:
        user = plan_user(find_user(host, wanted.username), wanted)
        settings = [users_setting(user.users)] if user.users != user.found.users else []
        login = Login(wanted.username, wanted.password) if wanted.password and user.role else None
        if check_mode and user.password_changes:
            login = None  # the server does not know it yet
        plan = plan_for(host, DesiredState(settings, for_the_api=True, login=login), target, policy, warn)
        first = [PasswordStep(user, host)] if user.password_changes and not check_mode else []
        outcome = converge(plan, check_mode, warn, first)
    about_the_server = {**plan.result(), **outcome.result()}
    return {
        **{name: value for name, value in about_the_server.items() if name.startswith(("restart", "backup", "rolled"))},
        **user.change.result(),
        "changed": plan.changes or user.password_changes,
        "login_proved": outcome.verified_login,
    }


def find_user(host: Host, username: str) -> UserFound:
    """:raises AirflowError: if one of the files cannot be read."""
    cfg = read_cfg(host)
    user = user_of(host)
    path = passwords_path(cfg, host.environment, host.home, home_of(user.uid if user else os.geteuid()))
    with acting_as(user):
        passwords = passwords_in(_read(path), path)
    return UserFound(users_of(cfg, host.environment), passwords.get(username), path)


def plan_user(found: UserFound, wanted: DesiredUser) -> UserPlan:
    """Pure. :raises AirflowError: if the manager has no such role, or the user cannot be what the task says."""
    if wanted.absent:
        return UserPlan(wanted.username, found, role=None, password=None)
    before = found.users.get(wanted.username)
    old_role, _colon, teams = (before or "").partition(":")
    role = role_of(wanted.roles) or old_role or "user"
    password = wanted.password or found.password
    if not password:
        raise AirflowError(
            "User %s has no password yet, and without one none can be made. Nothing was changed." % wanted.username
        )
    if before is not None and found.password not in (None, password) and wanted.keep_password:
        raise AirflowError(
            "User %s exists, has another password, and update_password is on_create. Nothing was changed."
            % wanted.username
        )
    if before is None or role != old_role.lower():  # Airflow reads a role in any case: another is no reason to restart
        before = role + (":" + teams if teams else "")
    return UserPlan(wanted.username, found, role=before, password=password)


def role_of(roles: list[str] | None) -> str | None:
    """:raises AirflowError: if these are not one role that the manager has."""
    if not roles:
        return None
    role = roles[0].lower()
    if len(roles) > 1 or role not in ROLES:
        raise AirflowError(
            "The simple auth manager gives a user one role of %s, and roles is %s. Nothing was changed."
            % (", ".join(ROLES), ", ".join(roles))
        )
    return role


def users_of(cfg: Cfg, environment: Mapping[str, str]) -> dict[str, str]:
    """Name -> role, with teams behind another colon where they are given. Those of the server's environment, if it
    names any: the file's are not read then.
    """
    value = environment.get(variable_name(_SECTION, _USERS), cfg.get(_SECTION, _USERS))
    words = [word.strip() for word in (_DEFAULT if value is None else value).split(",")]
    return {name: role for name, _colon, role in (word.partition(":") for word in words) if name}


def users_setting(users: Mapping[str, str]) -> Setting:
    value = ",".join("%s:%s" % user for user in users.items())
    return Setting(_SECTION, _USERS, value, same=lambda one, other: _words(one) == _words(other))


def _words(value: str) -> list[str]:
    return [word.strip() for word in value.split(",")]


def passwords_path(cfg: Cfg, environment: Mapping[str, str], home: str, user_home: str = "") -> str:
    """The file that the server keeps the passwords in.

    :param user_home: the home directory of the server's user.
    """
    path = environment.get(variable_name(_SECTION, _PASSWORDS)) or cfg.get(_SECTION, _PASSWORDS) or _GENERATED
    return os.path.normpath(os.path.join(home, expanded(path, {"AIRFLOW_HOME": home, **environment}, user_home)))


def passwords_in(content: bytes | None, path: str) -> dict[str, str]:
    """Name -> password. Empty where there is no file yet, as before the server's first start.

    :raises AirflowError: if that is not what Airflow writes.
    """
    try:
        found = json.loads(content) if content and content.strip() else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise AirflowError("%s holds no JSON of names with passwords. Nothing was changed." % path)
    return found


def with_password(passwords: Mapping[str, str], username: str, password: str | None) -> bytes:
    """The file's content with the user's password, or with None without the user."""
    kept = {name: other for name, other in passwords.items() if name != username}
    if password is not None:
        kept[username] = password
    return (json.dumps(kept) + "\n").encode("ascii")


def _read(path: str) -> bytes | None:
    """None if there is no such file.

    :raises AirflowError: if it cannot be read.
    """
    try:
        return read_foreign(path, _MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AirflowError("%s cannot be read: %s. Nothing was changed." % (path, error.strerror)) from None

# SPDX-License-Identifier: GPL-3.0-or-later
"""Users of Airflow 3's simple auth manager: names and roles in airflow.cfg, passwords in a file beside it.

The server reads names and roles when it starts, and the passwords at every login. It makes up a password, and writes it
to its log, for each name that has none in the file when it starts: so the file comes first.
"""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Mapping

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import HIDDEN, Setting, variable_name
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._change.converge import converge
from ansible_collections.fleetops.airflow.plugins.module_utils._change.lock import locked
from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import ChangePolicy, Target
from ansible_collections.fleetops.airflow.plugins.module_utils._change.plan import DesiredState
from ansible_collections.fleetops.airflow.plugins.module_utils._change.transaction import replace_file
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host
from ansible_collections.fleetops.airflow.plugins.module_utils._host.login import refused_login

ROLES = ("viewer", "user", "op", "admin")
_SECTION = "core"
_USERS = "simple_auth_manager_users"
_PASSWORDS = "simple_auth_manager_passwords_file"
_DEFAULT = "admin:admin"
_GENERATED = "simple_auth_manager_passwords.json.generated"


def converge_user(
    target: Target,
    policy: ChangePolicy,
    parameters: dict[str, Any],
    check_mode: bool,
    backup: Callable[[str], str],
    warn: Callable[[str], None],
) -> dict[str, Any]:
    """Make a user what the task says, with a restart of the server where it needs one.

    :param parameters: the options of airflow_user.
    :param backup: and ``warn``: as for ``converge`` of _change.
    :returns: what airflow_user returns.
    :raises AirflowError: if it cannot be; everything is as it was then.
    """
    plans: list[_Plan] = []

    def desired_for(host: Host) -> DesiredState:
        plans[:] = [_Plan(host, target, parameters)]
        if not check_mode:
            plans[0].write()
        return plans[0].desired(check_mode)

    try:
        change = converge(target, policy, desired_for, check_mode, backup, warn)
    except AirflowError:
        for plan in plans if not check_mode else []:
            with locked(plan.host.real_path, timeout=policy.health_timeout):
                plan.take_back()
        raise
    plan = plans[0]
    return {
        **{name: value for name, value in change.result().items() if name.startswith(("restart", "backup", "rolled"))},
        "changed": change.changed or plan.password_changes,
        "created": plan.role is not None and plan.before is None,
        "removed": plan.role is None and plan.before is not None,
        "password_changed": plan.password_changes and plan.before is not None and plan.role is not None,
        "details_changed": ["roles"] if plan.before and plan.role and plan.before != plan.role else [],
        "login_proved": plan.verified,
        "diff": plan.diff(),
    }


class _Plan:
    """What is to become of one user in the two files."""

    def __init__(self, host: Host, target: Target, parameters: dict[str, Any]) -> None:
        """:raises AirflowError: if the manager has no such role, or the user cannot be what the task says."""
        self.host, self.username = host, parameters["username"]
        with open(host.real_path, "rb") as file:
            cfg = Cfg.from_bytes(file.read(), host.path)
        self.users = users_of(cfg)
        self.path = passwords_path(cfg, host.environment, host.home)
        self.old_password = read_passwords(self.path).get(self.username)
        self.before = self.users.get(self.username)
        self.role: str | None = None
        self.password: str | None = None
        self.verified = False
        self._tls = target.tls
        self._login = parameters["password"]
        if parameters["state"] == "present":
            self._wish(parameters)
        self.password_changes = self.password != self.old_password

    def _wish(self, parameters: dict[str, Any]) -> None:
        role, _colon, teams = (self.before or "").partition(":")
        wanted = role_of(parameters["roles"]) or role or "user"
        # Airflow reads a role in any case, so another one is no reason to restart.
        self.role = self.before if wanted == role.lower() else wanted + (":" + teams if teams else "")
        self.password = self._login or self.old_password
        if not self.password:
            raise AirflowError(
                "User %s has no password yet, and without one none can be made. Nothing was changed." % self.username
            )
        other = self.before is not None and self.old_password not in (None, self.password)
        if other and parameters["update_password"] == "on_create":
            raise AirflowError(
                "User %s exists, has another password, and update_password is on_create. Nothing was changed."
                % self.username
            )

    def write(self) -> None:
        """Before the restart: for a name without a password the server would make one up."""
        if self.password_changes:
            write_password(self.path, self.username, self.password, os.stat(self.host.real_path))

    def take_back(self) -> None:
        if self.password_changes:
            write_password(self.path, self.username, self.old_password, os.stat(self.host.real_path))

    def desired(self, check_mode: bool) -> DesiredState:
        users = {name: role for name, role in self.users.items() if name != self.username or self.role}
        if self.role:
            users[self.username] = self.role
        settings = [users_setting(users)] if users != self.users else []
        verifiable = self._login and self.role and not (check_mode and self.password_changes)
        return DesiredState(settings, lambda _cfg: [], self._verify if verifiable else None, for_the_api=True)

    def _verify(self, url: str) -> None:
        refused = refused_login(self.host.family, url, (self.username, self._login), self._tls)
        if refused:
            raise AirflowError("The server is healthy, but %s" % refused)
        self.verified = True

    def diff(self) -> dict[str, str]:
        password = HIDDEN + " (new)" * self.password_changes
        before = "" if self.before is None else "password: %s\nroles: %s\n" % (HIDDEN, self.before)
        after = "" if self.role is None else "password: %s\nroles: %s\n" % (password, self.role)
        header = "user %s" % self.username
        return {"before_header": header, "after_header": header, "before": before, "after": after}


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


def users_of(cfg: Cfg) -> dict[str, str]:
    """Name -> role, with teams behind another colon where the file has them."""
    value = cfg.get(_SECTION, _USERS)
    words = [word.strip() for word in (_DEFAULT if value is None else value).split(",")]
    return {name: role for name, _colon, role in (word.partition(":") for word in words) if name}


def users_setting(users: Mapping[str, str]) -> Setting:
    value = ",".join("%s:%s" % user for user in users.items())
    return Setting(_SECTION, _USERS, value, same=lambda one, other: _words(one) == _words(other))


def _words(value: str) -> list[str]:
    return [word.strip() for word in value.split(",")]


def passwords_path(cfg: Cfg, environment: Mapping[str, str], home: str) -> str:
    """The file that the server keeps the passwords in."""
    path = environment.get(variable_name(_SECTION, _PASSWORDS)) or cfg.get(_SECTION, _PASSWORDS)
    return os.path.realpath(os.path.join(home, path or _GENERATED))


def read_passwords(path: str) -> dict[str, str]:
    """Name -> password. Empty where there is no file yet, as before the server's first start.

    :raises AirflowError: if the file cannot be read, or is not what Airflow writes.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read().strip()
        found = json.loads(text) if text else {}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise AirflowError("%s cannot be read: %s." % (path, error.strerror)) from None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise AirflowError("%s holds no JSON of names with passwords. Nothing was changed." % path)
    return found


def write_password(path: str, username: str, password: str | None, owner: os.stat_result) -> None:
    """Have the user's password in the file, or with None no longer, and let nobody but the server's user read it.

    :param owner: whose the file is to be if there is none yet.
    :raises AirflowError: if it cannot be written; nothing is changed then.
    """
    passwords = read_passwords(path)
    passwords.pop(username, None)
    if password is not None:
        passwords[username] = password
    if os.path.exists(path):
        os.chmod(path, 0o600)  # Airflow makes it 0644
    else:
        _create(path, owner)
    replace_file(path, (json.dumps(passwords) + "\n").encode("ascii"))


def _create(path: str, owner: os.stat_result) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise AirflowError("%s cannot be written: %s. Nothing was changed." % (path, error.strerror)) from None
    try:
        if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    finally:
        os.close(descriptor)

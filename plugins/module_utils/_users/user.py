# SPDX-License-Identifier: GPL-3.0-or-later
"""One user: what a task wants of it, and what changes about it. Values only."""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import HIDDEN
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

DETAILS = ("roles", "email", "first_name", "last_name")


class DesiredUser(Record):
    """What a task wants of a user. None: not given."""

    username: str
    password: str | None = None
    absent: bool = False
    keep_password: bool = False  # whether an existing user with another password is an error, not a change
    roles: list[str] | None = None
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None

    @property
    def details(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in DETAILS}


class UserChange(Record):
    """What changes about a user, or in check mode would change."""

    username: str
    before: Mapping[str, Any] | None  # the details; None: there is no such user
    after: Mapping[str, Any] | None
    details_changed: list[str]
    password_differs: bool  # from what was there before, which is nothing for a new user
    auth_type: str | None = None  # how people log in, if not by the passwords of Airflow's database

    @property
    def password_changed(self) -> bool:
        """Whether a user who stays gets another password."""
        return self.password_differs and self.before is not None and self.after is not None

    @property
    def comes_or_goes(self) -> bool:
        """Whether the user is created or removed."""
        return (self.before is None) != (self.after is None)

    @property
    def changes(self) -> bool:
        return self.comes_or_goes or self.password_changed or bool(self.details_changed)

    def result(self) -> dict[str, Any]:
        """What airflow_user returns of it."""
        return {
            "created": self.before is None and self.after is not None,
            "removed": self.before is not None and self.after is None,
            "password_changed": self.password_changed,
            "details_changed": self.details_changed,
            "diff": self._diff(),
        }

    def _diff(self) -> dict[str, str]:
        header = "user %s" % self.username
        password = HIDDEN + " (new)" * self.password_differs
        before, after = _lines(self.before, HIDDEN), _lines(self.after, password)
        return {"before_header": header, "after_header": header, "before": before, "after": after}


def desired_user_of(parameters: Mapping[str, Any]) -> DesiredUser:
    """The record of the options of airflow_user."""
    return DesiredUser(
        username=parameters["username"],
        password=parameters["password"],
        absent=parameters["state"] == "absent",
        keep_password=parameters["update_password"] == "on_create",
        **{name: parameters[name] for name in DETAILS},
    )


def _lines(details: Mapping[str, Any] | None, password: str) -> str:
    if details is None:
        return ""
    shown = {**details, "password": password}
    return "".join("%s: %s\n" % (name, _words(shown[name])) for name in sorted(shown))


def _words(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)

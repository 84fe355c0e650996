# SPDX-License-Identifier: GPL-3.0-or-later
"""Users in Airflow's own database, by way of Airflow itself: its interpreter knows where they are and how to hash."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError, secrets
from ansible_collections.fleetops.airflow.plugins.module_utils._host.command import run_python
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host
from ansible_collections.fleetops.airflow.plugins.module_utils._users.user import DesiredUser, UserChange

_MARK = "fleetops.airflow: "

# Airflow's own commands do not do: `users reset-password` fails on 2.11.2 ("The sqlalchemy extension was not registered
# to the current application"), none of them can tell whether a password is right, and each takes seconds to start.
# One run of this looks at a user and changes what is to be changed. It has to be good for Python 3.7.
_PROGRAM = r"""
import contextlib, json, sys

request = json.load(sys.stdin)
wanted, password = request["wanted"], request["password"]


class Refused(Exception):
    pass


class PasswordUsers:
    '''Airflow 1.10: what its backend password_auth knows. They have no roles and no names.'''

    details = ("email",)
    auth_type = None

    def __init__(self):
        from airflow import settings
        from airflow.contrib.auth.backends.password_auth import PasswordUser
        from airflow.models import User

        self.session, self.PasswordUser, self.User = settings.Session(), PasswordUser, User

    def find(self, **what):
        return self.session.query(self.PasswordUser).filter_by(**what).first()

    def seen(self, user):
        return {"email": user.email}

    def is_password(self, user):
        return user.authenticate(password)

    def create(self):
        user = self.PasswordUser(self.User())
        user.username, user.email, user.password = request["username"], wanted["email"], password
        self.session.add(user)
        self.session.commit()

    def update(self, user, details):
        for name in details:
            setattr(user, name, wanted[name])
        self.session.commit()

    def set_password(self, user):
        user.password = password
        self.session.commit()

    def delete(self, user):
        self.session.delete(user)
        self.session.commit()


class SecurityManager:
    '''Airflow 2, and Airflow 3 with the FAB auth manager.'''

    details = ("roles", "email", "first_name", "last_name")

    def __init__(self, manager):
        self.manager = manager
        # People may log in by single sign-on, and the API take the passwords of the database all the same.
        kinds = {0: "AUTH_OID", 2: "AUTH_LDAP", 3: "AUTH_REMOTE_USER", 4: "AUTH_OAUTH"}
        self.auth_type = None if manager.auth_type == 1 else kinds.get(manager.auth_type, str(manager.auth_type))

    def find(self, **what):
        return self.manager.find_user(**what)

    def seen(self, user):
        names = {name: getattr(user, name) for name in self.details[1:]}
        return dict(names, roles=sorted(role.name for role in user.roles))

    def roles(self):
        found = {name: self.manager.find_role(name) for name in wanted["roles"]}
        unknown = [name for name, role in found.items() if not role]
        if unknown:
            known = sorted(role.name for role in self.manager.get_all_roles())
            raise Refused("there is no role %s; there are %s" % (", ".join(unknown), ", ".join(known)))
        return list(found.values())

    def is_password(self, user):
        from werkzeug.security import check_password_hash

        if not user.active:
            raise Refused("the user is deactivated, and an administrator has to decide about that")
        return bool(user.password) and check_password_hash(user.password, password)

    def create(self):
        roles = self.roles()
        user = self.manager.add_user(
            request["username"], wanted["first_name"], wanted["last_name"], wanted["email"], roles[0], password=password
        )
        self.check(user)
        if len(roles) > 1:
            user.roles = roles
            self.check(self.manager.update_user(user) is not False)

    def update(self, user, details):
        for name in details:
            setattr(user, name, self.roles() if name == "roles" else wanted[name])
        self.check(self.manager.update_user(user) is not False)

    def set_password(self, user):
        self.manager.reset_password(user.id, password)

    def delete(self, user):
        user.roles = []
        self.check(self.manager.del_register_user(user))

    def check(self, done):
        if not done:
            raise Refused("its security manager refused, and its log says why")


def need_tables():
    '''Asked for a user, Airflow makes the tables that are missing, and a file where there is no database.'''
    import os

    import sqlalchemy
    from airflow import settings
    from airflow.configuration import conf

    section = "database" if conf.has_option("database", "sql_alchemy_conn") else "core"
    url = sqlalchemy.engine.url.make_url(conf.get(section, "sql_alchemy_conn"))
    advice = "initialize it with `airflow db migrate` (`airflow db init` before 2.7, `airflow initdb` on 1.10)"
    if url.drivername.startswith("sqlite") and url.database and not os.path.exists(url.database):
        raise Refused("the database %s of Airflow does not exist; %s" % (url.database, advice))
    if settings.engine is None:
        settings.initialize()
    tables = sqlalchemy.inspect(settings.engine).get_table_names()
    if not {"ab_user", "users"} & set(tables):
        raise Refused("Airflow's database has no table of users; %s" % advice)


@contextlib.contextmanager
def users():
    import airflow

    need_tables()

    if airflow.__version__.startswith("1."):
        yield PasswordUsers()
    elif airflow.__version__.startswith("2."):
        from airflow.www.app import cached_app

        app = cached_app()
        with app.app_context():
            yield SecurityManager(app.appbuilder.sm)
    else:
        from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
        from airflow.utils.providers_configuration_loader import providers_configuration_loaded

        with providers_configuration_loaded(lambda: get_application_builder())() as appbuilder:
            yield SecurityManager(appbuilder.sm)


def converge(users):
    user = users.find(username=request["username"])
    before = users.seen(user) if user else {}
    reported = {"existed": bool(user), "before": before, "password_changed": False, "changed": []}
    reported["auth_type"] = users.auth_type
    for name in list(wanted):
        if name not in users.details or wanted[name] is None:
            del wanted[name]
    if request["state"] == "absent":
        if user and request["apply"]:
            users.delete(user)
        return dict(reported, after={})
    if not user:
        if password is None:
            raise Refused("there is no such user, and without a password none can be made")
        for name, value in request["for_new"].items():
            if name in users.details:
                wanted.setdefault(name, value)
    reported["after"] = dict(before, **wanted)
    if "roles" in wanted:
        users.roles()  # refuses those that do not exist
    other = users.find(email=wanted["email"]) if "email" in wanted else None
    if other and not (user and other.id == user.id):
        raise Refused("the e-mail address %s belongs to another user" % wanted["email"])
    if not user:
        if request["apply"]:
            users.create()
        return reported
    details = [name for name in wanted if wanted[name] != before[name]]
    wrong = password is not None and not users.is_password(user)
    if wrong and not request["update_password"]:
        raise Refused("the user exists, has another password, and update_password is on_create")
    if request["apply"]:
        if details:
            users.update(user, details)
        if wrong:
            users.set_password(users.find(username=request["username"]))
    return dict(reported, password_changed=wrong, changed=details)


if wanted.get("roles"):
    wanted["roles"] = sorted(set(wanted["roles"]))
try:
    with users() as those:
        answer = converge(those)
except Refused as error:
    answer = {"refused": str(error)}
print("\n" + request["mark"] + json.dumps(answer))
"""


def converge_user(host: Host, wanted: DesiredUser, apply: bool) -> UserChange:
    """Make a user what the task says; without ``apply`` only look.

    Finding and changing are one run: to start Airflow takes seconds.

    :raises AirflowError: if Airflow cannot or will not.
    """
    username = wanted.username
    secrets.append(lambda: [wanted.password or ""])
    request = {
        "mark": _MARK,
        "apply": apply,
        "state": "absent" if wanted.absent else "present",
        "username": username,
        "password": wanted.password,
        "update_password": not wanted.keep_password,
        "wanted": wanted.details,
        "for_new": {
            "roles": ["User"],
            "email": username + "@localhost",
            "first_name": username,
            "last_name": "API",
        },
    }
    done = run_python(host, _PROGRAM, stdin=json.dumps(request))
    answers = [line[len(_MARK) :] for line in done.raw.splitlines() if line.startswith(_MARK)]
    if done.status != 0 or not answers:
        raise AirflowError(
            "Airflow %s could not look after user %s (status %d): %s"
            % (host.version, username, done.status, done.last_line)
        )
    reported: dict[str, Any] = json.loads(answers[-1])
    if "refused" in reported:
        raise AirflowError(
            "User %s of Airflow %s: %s. Nothing was changed." % (username, host.version, reported["refused"])
        )
    return UserChange(
        username=username,
        before=reported["before"] if reported["existed"] else None,
        after=None if wanted.absent else reported["after"],
        details_changed=reported["changed"],
        password_differs=reported["password_changed"] or not reported["existed"],
        auth_type=reported["auth_type"],
    )

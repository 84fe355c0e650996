#!/usr/bin/python
# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_user
short_description: Make sure that a user of Airflow exists and can log in with a password, or does not exist
version_added: 0.1.0
description:
  - Creates, changes and removes users where the installed release keeps them. Up to Airflow 2.11, and on Airflow 3 with
    the FAB auth manager, that is Airflow's database. On Airflow 3 with the simple auth manager it is C(airflow.cfg) and
    a file with passwords beside it. On Airflow 1.10 it is the users of its API backend C(password_auth).
  - A password is tried, and set only if it is wrong. Where the REST API takes passwords, it is tried with a real
    request, else against what the database holds.
  - If the password is good and nothing else is said about the user, no program is started on the host.
  - Beside single sign-on (C(AUTH_TYPE) of C(webserver_config.py) is C(AUTH_OAUTH), C(AUTH_LDAP) and the like) the user
    is kept in Airflow's database, whose passwords the API of most versions accepts too. The real request decides.
  - A password goes to Airflow through a pipe. It never stands on a command line, where C(ps) would show it.
  - The simple auth manager reads its users when the server starts. For a new one, another role or a removal the server
    is restarted as M(fleetops.airflow.airflow_api_auth) does it, and everything is put back if it does not come up
    healthy. Another password needs no restart.
author:
  - fleetops.airflow contributors (@fleetops)
extends_documentation_fragment:
  - fleetops.airflow.attributes
  - fleetops.airflow.host
  - fleetops.airflow.converge
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows roles, e-mail address and names, and that a password is another one.
  idempotent:
    support: full
options:
  username:
    description: The name of the user.
    type: str
    required: true
  state:
    description: Whether the user is to exist.
    type: str
    choices: [present, absent]
    default: present
  password:
    description:
      - The password that the user logs in with.
      - A user who does not exist cannot be made without. Without it an existing user keeps what there is.
    type: str
  update_password:
    description:
      - What to do if the user exists and has another password.
      - V(always) sets it.
      - V(on_create) fails.
    type: str
    choices: [always, on_create]
    default: always
  roles:
    description:
      - The roles that the user has, these and no others. V(User), V(Op) and V(Admin) may trigger DAG runs.
      - If it is not given, a new user gets V(User), and one who exists keeps what there is.
      - The simple auth manager gives a user one role, V(viewer), V(user), V(op) or V(admin), in whatever case it is
        written here. The API users of Airflow 1.10 have no roles, and may all trigger.
    type: list
    elements: str
    aliases: [role]
  email:
    description:
      - The e-mail address, unique in Airflow. A new user gets the O(username) at C(localhost) if it is not given.
      - The simple auth manager knows neither addresses nor names.
    type: str
  first_name:
    description: The first name. A new user gets the O(username) if it is not given.
    type: str
  last_name:
    description: The last name. A new user gets C(API) if it is not given.
    type: str
  trust_login:
    description:
      - Whether O(roles), O(email), O(first_name) and O(last_name) are taken for granted if the password is good and the
        user may trigger DAGs, as a real request for a DAG that does not exist shows.
      - To compare them with the database, Airflow's own Python has to be started, which takes seconds. With V(true) a
        run without a change takes milliseconds.
      - What the simple auth manager knows is always compared, which costs nothing.
    type: bool
    default: false
seealso:
  - module: fleetops.airflow.airflow_api_auth
"""

EXAMPLES = r"""
- name: Have a user who may trigger DAG runs
  fleetops.airflow.airflow_user:
    username: deployer
    password: "{{ deployer_password }}"
    roles: [User]
    email: deployer@example.org
  become: true

- name: Give a user another role, whatever the password is
  fleetops.airflow.airflow_user:
    username: analyst
    roles: [Viewer]
  become: true

- name: Let nobody log in as this one any more
  fleetops.airflow.airflow_user:
    username: contractor
    state: absent
  become: true
"""

RETURN = r"""
created:
  description: Whether the user was created, or in check mode would be.
  returned: success
  type: bool
  sample: true
removed:
  description: Whether the user was removed, or in check mode would be.
  returned: success
  type: bool
  sample: false
password_changed:
  description: Whether the password of a user who existed was set, or in check mode would be.
  returned: success
  type: bool
  sample: false
details_changed:
  description: Which of O(roles), O(email), O(first_name) and O(last_name) of a user who existed were set, or would be.
  returned: success
  type: list
  elements: str
  sample: [roles]
login_proved:
  description:
    - Whether the REST API accepted the login at the end.
    - V(false) in check mode if something would be changed, where no password is given, and where the API does not
      take passwords.
  returned: success
  type: bool
  sample: true
restarted:
  description: Whether the server was restarted, or in check mode would be. Only the simple auth manager needs that.
  returned: success
  type: bool
  sample: false
restart_pending:
  description: Whether the server has yet to be restarted for the change, which O(restart=never) did not do.
  returned: success
  type: bool
  sample: false
rolled_back:
  description: Whether a change was put back because the server was not healthy with it. V(false) on success.
  returned: success, and failure after a change
  type: bool
  sample: false
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.fleetops.airflow.plugins.module_utils import _compile_once  # pylint: disable=unused-import
from ansible_collections.fleetops.airflow.plugins.module_utils._change.current import addresses_of, read_cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._change.discover import discover
from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import (
    CONVERGE_ARGUMENTS,
    CONVERGE_RULES,
    HOST_ARGUMENTS,
    Login,
    Target,
    change_policy_of,
    target_of,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._change.verify import refuse_other_user
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host
from ansible_collections.fleetops.airflow.plugins.module_utils._host.login import may_trigger, refused_login
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import base_url
from ansible_collections.fleetops.airflow.plugins.module_utils._module import run_module
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import backends_read, takes_passwords
from ansible_collections.fleetops.airflow.plugins.module_utils._users.user import DesiredUser, desired_user_of

_UNCHANGED: dict[str, Any] = {
    "changed": False,
    "created": False,
    "removed": False,
    "password_changed": False,
    "details_changed": [],
    "login_proved": False,
    "restarted": False,
    "restart_pending": False,
    "rolled_back": False,
}


def run(module: AnsibleModule) -> dict[str, Any]:
    wanted = desired_user_of(module.params)
    if not wanted.username.strip() or set(wanted.username) & set(",:"):
        raise AirflowError("%r is no name of a user." % wanted.username)
    target = target_of(module.params)
    host = discover(target)
    if host.server and host.server.view:
        raise AirflowError(
            "The server (%s) keeps its users in files that this task does not see as the server does. Nothing was "
            "changed. Run the task where the server runs." % str(host.server)
        )
    if not host.is_environment_known:
        why, remedy = "no service is named", "start the server, or name its service"
        if target.services.names:
            why, remedy = "%s does not show all of it" % host.service.name, "start the server"
        module.warn(
            "The environment of the server is not known: no running server was found, and %s. So this task uses the "
            "database that %s names. If the server's environment names another one, %s." % (why, host.path, remedy)
        )
    cfg = read_cfg(host)
    backends = backends_read(host.family, cfg, host.environment)
    if host.family.token_path and backends == [host.family.backends["simple"]]:
        from ansible_collections.fleetops.airflow.plugins.module_utils._users.simple import converge_user as simple

        policy = change_policy_of(module.params)
        done = simple(wanted, target, policy, module.check_mode, module.warn)
        return {**_UNCHANGED, **done}
    if host.family.token_path and backends != [host.family.backends["fab"]]:
        raise AirflowError(
            "The auth manager of this host is %s, and who its users are is not for Airflow to say." % backends[0]
        )
    login = None
    if wanted.password and not wanted.absent and takes_passwords(host.family, backends):
        login = Login(wanted.username, wanted.password)
    url = (target.url or base_url(host.family, cfg, host.arguments, host.environment)).rstrip("/")
    if login:
        try:
            refuse_other_user(host, addresses_of(host, cfg, target), url, login.username)
        except AirflowError as error:  # the database says whether the user is as the task says, and nothing else does
            module.warn(str(error))
            login = None
    return _in_database(module, wanted, login, host, target, url)


def _in_database(
    module: AnsibleModule, wanted: DesiredUser, login: Login | None, host: Host, target: Target, url: str
) -> dict[str, Any]:
    """Up to 2.11 and with the FAB auth manager.

    :param login: to be verified at ``url``; None if there is no password, or nothing that it could be sent to.
    """
    from ansible_collections.fleetops.airflow.plugins.module_utils._change.lock import locked, uninterrupted
    from ansible_collections.fleetops.airflow.plugins.module_utils._users.database import converge_user

    rejected: str | None = "the login was not tried"
    if login:
        details = any(value is not None for value in wanted.details.values())
        if details and module.params["trust_login"] and may_trigger(host.family, url, login, target.tls):
            return {**_UNCHANGED, "login_proved": True}
        rejected = _rejected(host, url, login, target)
        if not rejected and not details:
            return {**_UNCHANGED, "login_proved": True}

    if module.check_mode:
        change = converge_user(host, wanted, apply=False)
    else:
        with locked(host.real_path, timeout=2 * module.params["health_timeout"]), uninterrupted():
            change = converge_user(host, wanted, apply=True)
    if change.changes and module.check_mode:
        rejected = "check mode"
    elif login and (change.changes or rejected):
        rejected = _rejected(host, url, login, target)
        if rejected:
            module.warn("User %s is as the task says, but %s" % (wanted.username, rejected))
    if change.auth_type and wanted.password and rejected:
        module.warn(
            "webserver_config.py sets AUTH_TYPE to %s, so people do not log in with passwords of Airflow's database. "
            "Whether the API accepts them was not verified." % change.auth_type
        )
    return {
        **_UNCHANGED,
        **change.result(),
        "changed": change.changes,
        "login_proved": not wanted.absent and not rejected,
    }


def _rejected(host: Host, url: str, login: Login, target: Target) -> str | None:
    """Why the API rejects the login, or gives no answer that tells. None if it accepts it."""
    try:
        return refused_login(host.family, url, login, target.tls)
    except AirflowError as error:
        return str(error)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **HOST_ARGUMENTS,
            **CONVERGE_ARGUMENTS,
            "username": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "password": {"type": "str", "no_log": True},
            "update_password": {
                "type": "str",
                "choices": ["always", "on_create"],
                "default": "always",
                "no_log": False,
            },
            "roles": {"type": "list", "elements": "str", "aliases": ["role"]},
            "email": {"type": "str"},
            "first_name": {"type": "str"},
            "last_name": {"type": "str"},
            "trust_login": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
        **CONVERGE_RULES,
    )
    run_module(module, run)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_user
short_description: Make sure that a user of Airflow exists and can log in with a password
version_added: 0.1.0
description:
  - Creates a user in Airflow's own user database with C(airflow users create), if there is none with that name.
  - The login is tried first, as a request to the REST API. Where it is accepted, nothing else is done, and no program
    is started on the host.
  - Airflow gets the password through a pipe. It never stands on a command line, where C(ps) would show it.
  - For Airflow 2.3 to 2.11 with its own user database. The REST API has to accept logins with a password, as
    M(fleetops.airflow.airflow_api_auth) sets it up, or whether a password is right cannot be told.
author:
  - fleetops.airflow contributors (@fleetops)
extends_documentation_fragment:
  - fleetops.airflow.attributes
  - fleetops.airflow.host
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  username:
    description: The name of the user.
    type: str
    required: true
  password:
    description: The password that the user logs in with.
    type: str
    required: true
  update_password:
    description:
      - What to do if the user exists and the login is refused.
      - V(always) sets the password.
      - V(on_create) fails.
    type: str
    choices: [always, on_create]
    default: always
  role:
    description:
      - The role that a new user gets. V(User), V(Op) and V(Admin) may trigger DAG runs.
      - The roles of a user who exists already are left as they are.
    type: str
    default: User
  email:
    description: The e-mail address of a new user, unique in Airflow. By default the O(username) at C(localhost).
    type: str
  first_name:
    description: The first name of a new user. By default the O(username).
    type: str
  last_name:
    description: The last name of a new user.
    type: str
    default: API
seealso:
  - module: fleetops.airflow.airflow_api_auth
"""

EXAMPLES = r"""
- name: Have a user who may trigger DAG runs
  fleetops.airflow.airflow_user:
    username: deployer
    password: "{{ deployer_password }}"
    role: User
    email: deployer@example.org
  become: true
"""

RETURN = r"""
created:
  description: Whether the user was created, or in check mode would be.
  returned: success
  type: bool
  sample: true
password_changed:
  description: Whether the password of a user who existed was set, or in check mode would be.
  returned: success
  type: bool
  sample: false
login_proved:
  description:
    - Whether the REST API accepted the login at the end.
    - V(false) in check mode if a user would be created or changed, and where the API does not take passwords.
  returned: success
  type: bool
  sample: true
"""

import json
import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.fleetops.airflow.plugins.module_utils import _health
from ansible_collections.fleetops.airflow.plugins.module_utils._airflow_command import Done, run_python
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host import HOST_ARGUMENTS, Host, survey
from ansible_collections.fleetops.airflow.plugins.module_utils._login import refused_login
from ansible_collections.fleetops.airflow.plugins.module_utils._module import run_module
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import (
    backends_read,
    takes_passwords,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._server import base_url

# Airflow's own security manager: `airflow users reset-password` came with 2.9, and fails on 2.11.2 with
# "The sqlalchemy extension was not registered to the current application".
_SET_PASSWORD = """
import json, sys
from airflow.www.app import cached_app
username, password = json.load(sys.stdin)
app = cached_app()
with app.app_context():
    manager = app.appbuilder.sm
    manager.reset_password(manager.find_user(username=username).id, password)
"""


def run(module: AnsibleModule) -> dict[str, Any]:
    parameters = module.params
    username, password = parameters["username"], parameters["password"]
    if "\n" in password or "\r" in password:
        raise AirflowError("The password of %s holds a line break, which Airflow's prompt cannot take." % username)
    host = survey(parameters)
    with open(host.real_path, "rb") as file:
        cfg = Cfg.from_bytes(file.read(), host.path)
    base = parameters["url"] or base_url(host.era, cfg, host.arguments, host.environment)
    base = base.rstrip("/")
    tls = _health.Tls(parameters["validate_certs"], parameters["ca_path"])

    refused = refused_login(host.era, base, (username, password), tls)
    if not refused:
        return {"changed": False, "created": False, "password_changed": False, "login_proved": True}
    backends = backends_read(host.era, cfg, host.environment)
    told = takes_passwords(host.era, backends)  # else the refusal says nothing about this user

    exists = _exists(host, username) if module.check_mode else not _create(host, parameters)
    if exists and not told and module.check_mode:
        module.warn(
            "Whether the password of %s is right cannot be told before the REST API takes passwords." % username
        )
        return {"changed": False, "created": False, "password_changed": False, "login_proved": False}
    if exists and not told:
        raise AirflowError(
            "User %s exists, but the REST API of this host takes no passwords (%s), so whether this one is right "
            "cannot be told. Nothing was changed. Run fleetops.airflow.airflow_api_auth with basic_auth first."
            % (username, ", ".join(backends))
        )
    if exists and parameters["update_password"] == "on_create":
        raise AirflowError("User %s exists, and %s Nothing was changed." % (username, refused))
    if not module.check_mode:
        if exists:
            _set_password(host, username, password)
        refused = refused_login(host.era, base, (username, password), tls) if told else refused
        if refused and told:
            raise AirflowError("User %s has been %s, but %s" % (username, "changed" if exists else "created", refused))
    return {
        "changed": True,
        "created": not exists,
        "password_changed": exists,
        "login_proved": not refused,
    }


def _create(host: Host, parameters: dict[str, Any]) -> bool:
    """Whether the user was created; False if there was one."""
    username = parameters["username"]
    arguments = {
        "--username": username,
        "--role": parameters["role"],
        "--email": parameters["email"] or username + "@localhost",
        "--firstname": parameters["first_name"] or username,
        "--lastname": parameters["last_name"],
    }
    words = [word for pair in arguments.items() for word in pair]
    done = run_python(host, ["-m", "airflow", "users", "create", *words], stdin=2 * (parameters["password"] + "\n"))
    if "already exist in the db" in done.output:
        return False
    if done.status != 0 or "created with role" not in done.output:
        raise _failed("create user %s" % username, host, done)
    return True


def _set_password(host: Host, username: str, password: str) -> None:
    done = run_python(host, ["-c", _SET_PASSWORD], stdin=json.dumps([username, password]))
    if done.status != 0:
        raise _failed("set the password of user %s" % username, host, done)


def _exists(host: Host, username: str) -> bool:
    done = run_python(host, ["-m", "airflow", "users", "list", "--output", "json"])
    start = re.search(r"^\[(?=\s*(\{|\]))", done.output, re.MULTILINE)
    if done.status != 0 or not start:
        if done.status == 0 and "No data found" in done.output:
            return False
        raise _failed("list the users", host, done)
    users, _end = json.JSONDecoder().raw_decode(done.output, start.start())
    return any(user["username"] == username for user in users)


def _failed(what: str, host: Host, done: Done) -> AirflowError:
    return AirflowError("Airflow %s could not %s (status %d): %s" % (host.version, what, done.status, done.last_line))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **HOST_ARGUMENTS,
            "username": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "update_password": {
                "type": "str",
                "choices": ["always", "on_create"],
                "default": "always",
                "no_log": False,
            },
            "role": {"type": "str", "default": "User"},
            "email": {"type": "str"},
            "first_name": {"type": "str"},
            "last_name": {"type": "str", "default": "API"},
        },
        supports_check_mode=True,
    )
    run_module(module, run)


if __name__ == "__main__":
    main()

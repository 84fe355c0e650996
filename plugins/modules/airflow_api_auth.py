#!/usr/bin/python
# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_api_auth
short_description: Set how Airflow's REST API authenticates its callers, in airflow.cfg and in the running server
version_added: 0.1.0
description:
  - Sets the authentication backends of the REST API in the C([api]) section of C(airflow.cfg), restarts the server
    when that is needed, waits until it is healthy, and proves the result with a real request if it is given a login.
  - It is one transaction. Where the server does not come up healthy with the change, or refuses the login, the file is
    put back as it was, byte by byte, and the server is restarted with it.
  - What counts is what the running server does. A file that is right is not enough if the server was started before
    the file was changed, or if an environment variable overrides it.
  - A run without a change starts no program on the host.
  - Complete for Airflow 2.3 to 2.11.
author:
  - fleetops.airflow contributors (@fleetops)
extends_documentation_fragment:
  - fleetops.airflow.attributes
  - fleetops.airflow.host
attributes:
  check_mode:
    support: full
    details:
      - Looks, checks the import of new backends, and reports what a run would do, the restart included.
      - Whether the server comes up healthy with the change shows only when it is made.
  diff_mode:
    support: full
    details: Shows the options that this module manages and nothing else of the file, which holds secrets.
  idempotent:
    support: full
options:
  backends:
    description:
      - The backends in the order in which Airflow asks them.
      - Short names are V(basic_auth), V(session), V(kerberos_auth), V(default), V(deny_all) and V(google_openid). Any
        other backend is given by its dotted module path.
      - For callers with a username and a password, V(basic_auth,session) is what you want. With V(session) first
        Airflow challenges browsers for a password as well.
      - Since release 2.3 Airflow itself adds V(session) where it is missing, because its user interface needs it.
    type: list
    elements: str
    required: true
  airflow_version:
    description:
      - The Airflow release. Normally found from the package beside the interpreter that runs Airflow.
      - Give it on hosts that get their C(airflow.cfg) before they get Airflow, together with O(restart=never).
    type: str
  restart:
    description:
      - V(when_needed) restarts the server if the file changes, if the server is older than the file, and if it does not
        run although O(service) or O(restart_command) says how to start it.
      - V(never) leaves that to a handler; RV(restart_pending) then says that one is needed.
      - V(always) restarts in any case.
    type: str
    choices: [when_needed, never, always]
    default: when_needed
  service:
    description:
      - The service that runs the server, for supervisor the program as C(supervisorctl status) names it.
      - Not needed where the running server was started by supervisor itself.
    type: str
  service_manager:
    description:
      - What restarts the server. V(auto) takes O(restart_command) if it is given, else supervisor.
    type: str
    choices: [auto, supervisor, command]
    default: auto
  restart_command:
    description:
      - A shell command that restarts the server and returns when it has been started, for instance
        V(systemctl restart airflow-webserver).
      - It has to stop the server wholly. C(SIGHUP) does not make Airflow 2 read its configuration again.
    type: str
  url:
    description:
      - The base URL of the server, where its health is asked and the login is proved.
      - By default that is worked out from the server's own arguments, its environment and C(airflow.cfg).
      - If it is given, the server has to be healthy there even if there is nothing to change.
    type: str
  health_timeout:
    description: How many seconds the server may take until it is healthy after a restart.
    type: int
    default: 120
  rollback:
    description: Whether to put the file back and restart again where the server is not healthy with the change.
    type: bool
    default: true
  backup:
    description: Whether to keep a copy of the file, with its owner and mode, beside it before it is changed.
    type: bool
    default: false
  username:
    description:
      - A user whose login is tried with the result, as a real request to the REST API.
      - The user has to exist and to have a role that may read DAGs.
    type: str
  password:
    description: The password of O(username).
    type: str
seealso:
  - module: fleetops.airflow.airflow_dag_trigger
"""

EXAMPLES = r"""
- name: Let users call the REST API with their password
  fleetops.airflow.airflow_api_auth:
    backends:
      - basic_auth
      - session
  become: true

- name: The same for a named home and service, proved by a real login
  fleetops.airflow.airflow_api_auth:
    airflow_home: /opt/airflow
    service: airflow-webserver
    backends: [basic_auth, session]
    username: deployer
    password: "{{ deployer_password }}"
  become: true

- name: Under another service manager
  fleetops.airflow.airflow_api_auth:
    path: /etc/airflow/airflow.cfg
    backends: [kerberos_auth, session]
    restart_command: systemctl restart airflow-webserver
    health_timeout: 180
  become: true

- name: Leave the restart to a handler
  fleetops.airflow.airflow_api_auth:
    backends: [basic_auth, session]
    restart: never
  become: true
  register: api_auth
  changed_when: api_auth.changed or api_auth.restart_pending
  notify: Restart airflow-webserver
"""

RETURN = r"""
before:
  description: The backends that the file named before, as dotted paths. Empty if none was set.
  returned: success
  type: list
  elements: str
  sample: [airflow.api.auth.backend.session]
after:
  description: The backends that the file names now, or in check mode would name.
  returned: success
  type: list
  elements: str
  sample: [airflow.api.auth.backend.basic_auth, airflow.api.auth.backend.session]
in_force:
  description:
    - What the running server makes of them, V(session) included where Airflow adds it.
    - V(null) if it cannot be told, as where the server is not running or a restart is pending.
  returned: success
  type: list
  elements: str
  sample: [airflow.api.auth.backend.basic_auth, airflow.api.auth.backend.session]
restarted:
  description: Whether the server was restarted, or in check mode would be.
  returned: success
  type: bool
  sample: true
restart_pending:
  description: Whether the running server still needs a restart, which O(restart=never) did not give it.
  returned: success
  type: bool
  sample: false
restart_reason:
  description: Why the server needed a restart. V(null) if it needed none.
  returned: success
  type: str
  sample: airflow.cfg changes
rolled_back:
  description: Whether a change was put back because the server was not healthy with it. V(false) on success.
  returned: success, and failure after a change
  type: bool
  sample: false
airflow_version:
  description: The Airflow release.
  returned: success
  type: str
  sample: 2.11.2
path:
  description: The file that was looked at.
  returned: success
  type: str
  sample: /opt/airflow/airflow.cfg
section:
  description: The section of the file.
  returned: success
  type: str
  sample: api
option:
  description: The option that this release reads.
  returned: success
  type: str
  sample: auth_backends
overridden_by:
  description:
    - The variable in the server's environment that beats the file. V(null) if there is none.
    - Where it says something else than O(backends), the task fails, because a change would do nothing.
  returned: success
  type: str
  sample: AIRFLOW__API__AUTH_BACKENDS
backup_file:
  description: The copy that O(backup=true) made.
  returned: when the file was changed and O(backup=true)
  type: str
  sample: /opt/airflow/airflow.cfg.4711.2026-01-31@12:00:00~
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.fleetops.airflow.plugins.module_utils import _health
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._convergence import Intent, converge
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host import HOST_ARGUMENTS, Host
from ansible_collections.fleetops.airflow.plugins.module_utils._module import run_module
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import (
    SECTION,
    Era,
    backends_in_file,
    backends_read,
    override,
    resolve_backends,
    same_backends,
    split_backends,
)


def run(module: AnsibleModule) -> dict[str, Any]:
    parameters = module.params
    if parameters["health_timeout"] < 1:
        raise AirflowError("health_timeout is %d. It has to be at least 1 second." % parameters["health_timeout"])
    outcome = converge(
        parameters, lambda host: _intent(host, parameters), module.check_mode, module.backup_local, module.warn
    )
    host, era = outcome.host, outcome.host.era
    overriding = override(era, host.environment)
    result = {
        "changed": outcome.changed,
        "before": backends_in_file(era, outcome.before),
        "after": backends_in_file(era, outcome.after),
        "in_force": backends_read(era, outcome.after, host.environment) if outcome.current else None,
        "restarted": outcome.restarted,
        "restart_pending": outcome.restart_pending,
        "restart_reason": outcome.restart_reason,
        "rolled_back": False,
        "airflow_version": host.version,
        "path": host.path,
        "section": SECTION,
        "option": era.option,
        "overridden_by": overriding[0] if overriding else None,
        "diff": {
            "before_header": host.path,
            "after_header": host.path,
            "before": _shown(outcome.before, era),
            "after": _shown(outcome.after, era),
        },
    }
    if outcome.backup_file:
        result["backup_file"] = outcome.backup_file
    return result


def _intent(host: Host, parameters: dict[str, Any]) -> Intent:
    era = host.era
    wanted = resolve_backends(era, host.version, parameters["backends"])
    _refuse_override(host, wanted)

    def edit(cfg: Cfg) -> Cfg:
        own = cfg.own(SECTION, str(era.option))
        if not own or not same_backends(split_backends(own.value), wanted):
            cfg = cfg.with_option(SECTION, str(era.option), ",".join(wanted))
        for name in era.superseded:
            cfg = cfg.without_option(SECTION, name)
        return cfg

    def new_backends(cfg: Cfg) -> list[str]:
        return [path for path in wanted if path not in backends_in_file(era, cfg)]

    def prove(url: str) -> None:
        if not parameters["username"]:
            return
        tls = _health.Tls(parameters["validate_certs"], parameters["ca_path"])
        login = (parameters["username"], parameters["password"])
        refused = _health.refused_login(url + era.login_path, login, tls)
        if refused:
            raise AirflowError("The server is healthy, but %s" % refused)

    return Intent(edit, new_backends, prove)


def _refuse_override(host: Host, wanted: list[str]) -> None:
    """:raises AirflowError: if a variable in the server's environment beats the file, and names other backends."""
    overriding = override(host.era, host.environment)
    if not overriding or not host.server or same_backends(split_backends(overriding[1]), wanted):
        return
    raise AirflowError(
        "%s=%s in the environment of the server (pid %d) beats airflow.cfg: a change there would do nothing. "
        "Nothing was changed. Take the variable out of the server's service, restart it, then run this again."
        % (*overriding, host.server.process.pid),
        overridden_by=overriding[0],
    )


def _shown(cfg: Cfg, era: Era) -> str:
    own = [cfg.own(SECTION, name) for name in (str(era.option), *era.superseded)]
    lines = ["%s = %s\n" % (option.name, option.value) for option in own if option]
    return "[%s]\n%s" % (SECTION, "".join(lines))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "backends": {"type": "list", "elements": "str", "required": True},
            **HOST_ARGUMENTS,
            "restart": {"type": "str", "choices": ["when_needed", "never", "always"], "default": "when_needed"},
            "service": {"type": "str"},
            "service_manager": {"type": "str", "choices": ["auto", "supervisor", "command"], "default": "auto"},
            "restart_command": {"type": "str"},
            "health_timeout": {"type": "int", "default": 120},
            "rollback": {"type": "bool", "default": True},
            "backup": {"type": "bool", "default": False},
            "username": {"type": "str"},
            "password": {"type": "str", "no_log": True},
        },
        required_together=[("username", "password")],
        required_if=[
            ("service_manager", "supervisor", ["service"]),
            ("service_manager", "command", ["restart_command"]),
        ],
        supports_check_mode=True,
    )
    run_module(module, run)


if __name__ == "__main__":
    main()

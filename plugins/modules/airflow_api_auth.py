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
  - Sets who may call Airflow's REST API in C(airflow.cfg), restarts the server when that is needed, waits until it is
    healthy, and proves the result with a real request if it is given a login.
  - Up to Airflow 2.11 that is the authentication backends in the C([api]) section. Airflow 3 has an auth manager
    instead, which gives tokens for passwords. One task can say both, for hosts of either kind.
  - It is one transaction. Where the server does not come up healthy with the change, or refuses the login, the file is
    put back with its times, and the server is restarted with it.
  - What counts is what the running server does. A file that is right is not enough if the server was started before
    the file was changed, or if an environment variable overrides it.
  - A run without a change starts no program on the host.
author:
  - fleetops.airflow contributors (@fleetops)
extends_documentation_fragment:
  - fleetops.airflow.attributes
  - fleetops.airflow.host
  - fleetops.airflow.converge
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
      - For Airflow up to 2.11, the backends in the order in which Airflow asks them. Up to 2.2 it takes one.
      - Short names are V(basic_auth), V(session) (from 2.3 on), V(kerberos_auth), V(default), V(deny_all) and
        V(google_openid) (from 2.0 on). Any other backend is given by its dotted module path.
      - For callers with a username and a password, V(basic_auth,session) is what you want. With V(session) first
        Airflow challenges browsers for a password as well.
      - Since release 2.3 Airflow itself adds V(session) where it is missing, because its user interface needs it.
    type: list
    elements: str
  auth_manager:
    description:
      - For Airflow 3, what knows the users and gives them tokens. V(simple), V(fab), or the dotted path of a class.
      - V(fab) needs the package C(apache-airflow-providers-fab), and its tables in Airflow's database
        (C(airflow db migrate)).
    type: str
  jwt_secret:
    description:
      - For Airflow 3, the secret that its tokens are signed with. It is never shown.
      - The scheduler and the DAG processor read it too, and have to be restarted with the server.
    type: str
  jwt_expiration_time:
    description: For Airflow 3, the life of a token in seconds.
    type: int
  options:
    description:
      - Other options of the section C([api]), with values as they shall stand in the file, for instance
        C(maximum_page_limit) with V(500). An option with the value V(null) is taken out of the file.
      - A name that the installed release does not describe is an error.
    type: dict
  kerberos:
    description:
      - For V(kerberos_auth), options of the section C([kerberos]), with values as they shall stand in the file. The API
        needs C(keytab), an absolute path. The others (C(principal), C(ccache), ...) are those of C(airflow kerberos),
        which keeps a ticket for tasks. An option with the value V(null) is taken out of the file.
      - A name that the installed release does not describe is an error.
      - Where V(kerberos_auth) is or will be among the backends, the keytab is looked at before anything is written. The
        server's user has to be able to read it, and it has to hold a key of C(airflow/HOST), where C(HOST) is what the
        server takes for its own name. Airflow would start without, and refuse everybody.
      - That Airflow's Kerberos packages (C(apache-airflow[kerberos])) are installed, shows when V(kerberos_auth) is
        imported, before anything is written as well.
    type: dict
  unsupported:
    description:
      - What to do where the host's release has no place for O(backends), O(kerberos), O(auth_manager), O(jwt_secret) or
        O(jwt_expiration_time).
      - V(fail) changes nothing and says why.
      - V(skip) sets what the release has a place for. Where that is nothing, the host is skipped. Of several
        O(backends) those are left out that only other releases have, as V(session) before 2.3.
    type: str
    choices: [fail, skip]
    default: fail
  airflow_version:
    description:
      - The Airflow release. Normally found from the package beside the interpreter that runs Airflow.
      - Give it on hosts that get their C(airflow.cfg) before they get Airflow, together with O(restart=never).
    type: str
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

- name: Hosts of all releases, with a token's life of an hour where there are tokens
  fleetops.airflow.airflow_api_auth:
    backends: [basic_auth, session]
    auth_manager: fab
    jwt_expiration_time: 3600
    unsupported: skip
    service: [airflow-webserver, airflow-scheduler]
  become: true

- name: Let a page ask the API from a browser, and return more rows at once
  fleetops.airflow.airflow_api_auth:
    path: /etc/airflow/airflow.cfg
    backends: [basic_auth, session]
    options:
      access_control_allow_origins: https://dashboard.example.org
      maximum_page_limit: 500
    restart_command: /opt/airflow/bin/restart-webserver
    health_timeout: 180
  become: true

- name: Take Kerberos tickets
  fleetops.airflow.airflow_api_auth:
    backends: [kerberos_auth, session]
    kerberos:
      keytab: /etc/airflow/airflow.keytab
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
  description: The backends, on Airflow 3 the auth manager, that the file named before, as dotted paths.
  returned: success
  type: list
  elements: str
  sample: [airflow.api.auth.backend.session]
after:
  description: What the file names now, or in check mode would name.
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
login_verified:
  description:
    - Whether O(username) and O(password) were accepted by the server with the result. V(false) without them, in check
      mode before a change, with O(restart=never), and if no server of the API is found that could be asked.
  returned: success
  type: bool
  sample: true
restarted:
  description:
    - Whether the server was restarted, or in check mode would be. Null if the services were restarted, and no new
      server that reads the file was seen; a warning says so.
  returned: success
  type: bool
  sample: true
restart_pending:
  description:
    - Whether the running server still needs a restart, which O(restart=never) did not give it. Null if that cannot be
      determined; a warning says why.
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
  description: The section that holds what authenticates callers, C(api), or C(core) on Airflow 3.
  returned: success
  type: str
  sample: api
option:
  description: The option that this release reads, C(auth_manager) on Airflow 3.
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

from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.fleetops.airflow.plugins.module_utils import _compile_once  # pylint: disable=unused-import
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import Setting, ignored_variables
from ansible_collections.fleetops.airflow.plugins.module_utils._change.converge import converge, discovered, plan_for
from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import (
    CONVERGE_ARGUMENTS,
    CONVERGE_RULES,
    HOST_ARGUMENTS,
    Login,
    change_policy_of,
    target_of,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._change.plan import DesiredState, Plan
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host
from ansible_collections.fleetops.airflow.plugins.module_utils._host.warnings import warnings_of
from ansible_collections.fleetops.airflow.plugins.module_utils._module import run_module, take_options
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import (
    KERBEROS,
    SECTION,
    backends_in_file,
    backends_override,
    backends_read,
    backends_setting,
    validate_supported,
    without_lacking,
)


class AuthOptions(Record):
    """What a task says about the API's authentication. A version has a place for some of it."""

    backends: list[str] | None = None
    auth_manager: str | None = None
    jwt_secret: str | None = None
    jwt_expiration_time: int | None = None
    options: dict[str, Any] | None = None
    kerberos: dict[str, Any] | None = None


def run(module: AnsibleModule) -> dict[str, Any]:
    taken = take_options(module, {name: module.params[name] or {} for name in ("options", "kerberos")})
    parameters = {**module.params, **taken}
    wanted = AuthOptions(*(parameters[name] for name in AuthOptions._fields))
    login = Login(parameters["username"], parameters["password"]) if parameters["username"] else None
    policy, target = change_policy_of(parameters), target_of(parameters)
    skip = parameters["unsupported"] == "skip"

    with discovered(target, policy, module.check_mode) as host:
        names = supported(host, wanted, skip)
        if not names:
            return _skipped(host, wanted)
        settings = settings_of(host, wanted, names, skip, module.warn)
        plan = plan_for(host, DesiredState(settings, for_the_api=True, login=login), target, policy, module.warn)
        outcome = converge(plan, module.check_mode, module.warn)
    for warning in [*warnings_of(host, plan.after), *warnings_after(plan)]:
        module.warn(warning)
    verified = {"login_verified": outcome.verified_login}
    return {**plan.result(), **outcome.result(), **verified, **_backends(plan, outcome.seen), "diff": plan.diff()}


def given(wanted: AuthOptions) -> list[str]:
    return [name for name, value in zip(wanted._fields, wanted) if value not in (None, "", {})]


def supported(host: Host, wanted: AuthOptions, skip: bool) -> list[str]:
    """Those of the given options that this host's version has a place for. Empty only with ``skip``.

    :raises AirflowError: if none is given, or without ``skip`` one that the version has no place for.
    """
    names = given(wanted)
    if not names:
        raise AirflowError(
            "Nothing to set: give backends, auth_manager or another of %s." % ", ".join(AuthOptions._fields[2:])
        )
    if not skip:
        validate_supported(host.family, host.version, names)
    return [name for name in names if name not in host.family.lacks]


def _skipped(host: Host, wanted: AuthOptions) -> dict[str, Any]:
    names = given(wanted)
    reason = "%s: %s. This host was passed over." % (", ".join(names), host.family.lacks[names[0]] % host.version)
    return {"changed": False, "skipped": True, "skip_reason": reason, "msg": reason}


def settings_of(
    host: Host, wanted: AuthOptions, names: list[str], skip: bool, warn: Callable[[str], None]
) -> list[Setting]:
    """What the task wants of this host's file.

    :param names: the options that count.
    :raises AirflowError: if it wants what this version does not know.
    """
    family, version = host.family, host.version
    settings = []
    if "backends" in names:
        backends = wanted.backends or []
        settings.append(backends_setting(family, version, without_lacking(family, backends) if skip else backends))
    if "auth_manager" in names:
        settings.append(backends_setting(family, version, [str(wanted.auth_manager)]))
    if "jwt_secret" in names:
        settings.append(Setting("api_auth", "jwt_secret", wanted.jwt_secret, secret=True))
    if "jwt_expiration_time" in names:
        settings.append(Setting("api_auth", "jwt_expiration_time", str(wanted.jwt_expiration_time)))
    if "options" in names or "kerberos" in names:
        from ansible_collections.fleetops.airflow.plugins.module_utils._host.options import (
            options_known_to,
            section_options,
        )

        known = options_known_to(host)
        if "options" in names:
            settings += section_options(host, known, SECTION, wanted.options or {}, warn)
        if "kerberos" in names:
            from ansible_collections.fleetops.airflow.plugins.module_utils._host.kerberos import (
                validate_keytab_variable,
            )

            validate_keytab_variable(host, wanted.kerberos or {})
            settings += section_options(host, known, KERBEROS, wanted.kerberos or {}, warn)
    return settings


def warnings_after(plan: Plan) -> list[str]:
    """What the user has to know about the options that were set."""
    found = []
    for setting in plan.settings:
        for variable in ignored_variables(setting, plan.host.environment):
            found.append(
                "%s in the environment of %s does nothing: Airflow reads such a variable for secret options only."
                % (variable, plan.host.environment_of)
            )
        if setting.option == "jwt_secret" and plan.changes and len(plan.target.services.names) < 2:
            found.append(
                "The scheduler, the DAG processor and the triggerer read jwt_secret too. Restart them as well: service "
                "takes several names."
            )
    return found


def _backends(plan: Plan, seen: bool) -> dict[str, Any]:
    """:param seen: whether the server that reads the file was seen after a restart."""
    family, environment = plan.host.family, plan.environment
    beats = backends_override(family, environment)
    return {
        "before": backends_in_file(family, plan.before),
        "after": backends_in_file(family, plan.after),
        "in_force": backends_read(family, plan.after, environment) if plan.ends_current and seen else None,
        "section": family.section,
        "option": family.option,
        "overridden_by": beats.variable if beats else None,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "backends": {"type": "list", "elements": "str"},
            "auth_manager": {"type": "str"},
            "jwt_secret": {"type": "str", "no_log": True},
            "jwt_expiration_time": {"type": "int"},
            "options": {"type": "dict"},
            "kerberos": {"type": "dict"},
            "unsupported": {"type": "str", "choices": ["fail", "skip"], "default": "fail"},
            **HOST_ARGUMENTS,
            **CONVERGE_ARGUMENTS,
            "username": {"type": "str"},
            "password": {"type": "str", "no_log": True},
        },
        required_together=[("username", "password")],
        supports_check_mode=True,
        no_log=True,  # else the host's system log gets the options before we have seen which ones are secret
        **CONVERGE_RULES,
    )
    run_module(module, run)


if __name__ == "__main__":
    main()

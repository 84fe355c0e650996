#!/usr/bin/python
# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_api_auth_info
short_description: Tell how Airflow's REST API authenticates its callers, in airflow.cfg and in the running server
version_added: 0.1.0
description:
  - Reads only. Looks into C(airflow.cfg), the server's process and its environment, and asks the running server two
    requests without credentials.
  - It is what C(airflow config get-value) should say and does not, in milliseconds, since no program is started.
author:
  - fleetops.airflow contributors (@fleetops)
extends_documentation_fragment:
  - fleetops.airflow.attributes
  - fleetops.airflow.host
options:
  service:
    description:
      - The service of the server that is meant, where several servers read one C(airflow.cfg). A unit of systemd, or a
        program or group as C(supervisorctl status) names it.
      - If several servers read one C(airflow.cfg) and none is named, RV(server) is the first that has the whole API.
    type: list
    elements: str
  service_manager:
    description: Which service manager knows O(service), if several know the name.
    type: str
    choices: [auto, systemd, supervisor, sysvinit]
    default: auto
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
  idempotent:
    support: N/A
seealso:
  - module: fleetops.airflow.airflow_api_auth
"""

EXAMPLES = r"""
- name: Look how the API authenticates its callers
  fleetops.airflow.airflow_api_auth_info:
  become: true
  register: api_auth

- name: Show what is not as it should be
  ansible.builtin.debug:
    msg: "{{ api_auth.warnings_found }}"
  when: api_auth.restart_pending or api_auth.warnings_found
"""

RETURN = r"""
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
  description: The option that this release reads.
  returned: success
  type: str
  sample: auth_backends
configured:
  description:
    - What the source given by RV(source) names, as dotted paths. Empty if nothing is set.
  returned: success
  type: list
  elements: str
  sample: [airflow.api.auth.backend.basic_auth]
source:
  description: Where that comes from, V(file), V(environment) or V(default).
  returned: success
  type: str
  sample: file
overridden_by:
  description: The variable in the server's environment that beats the file. V(null) if there is none.
  returned: success
  type: str
  sample: AIRFLOW__API__AUTH_BACKENDS
effective:
  description:
    - What a server of this release makes of it when it starts, with V(session) where Airflow adds it or puts it in the
      place of V(deny_all).
  returned: success
  type: list
  elements: str
  sample: [airflow.api.auth.backend.basic_auth, airflow.api.auth.backend.session]
in_force:
  description:
    - What the running server does. V(null) if that cannot be told, as where it does not run or a restart is pending.
  returned: success
  type: list
  elements: str
  sample: [airflow.api.auth.backend.basic_auth, airflow.api.auth.backend.session]
restart_pending:
  description: Whether no server runs that has read the file as it is. V(null) if that cannot be told.
  returned: success
  type: bool
  sample: false
restart_reason:
  description: Why a restart is needed. V(null) if none is.
  returned: success
  type: str
  sample: the server (pid 4711, started 2026-01-31T12:00:00Z) is older than airflow.cfg (2026-01-31T13:00:00Z)
takes_passwords:
  description:
    - Whether a caller gets in with a username and a password, on Airflow 3 by way of a token. V(null) if it cannot be
      determined what is in force, or if a backend or an auth manager does not come with Airflow.
  returned: success
  type: bool
  sample: true
open_to_everybody:
  description:
    - Whether a request without credentials may read DAGs, as it was answered just now. V(null) if the server gave no
      answer that tells.
  returned: success
  type: bool
  sample: false
public_role:
  description:
    - The role of callers whom nobody has logged in, C([fab] auth_role_public) or AUTH_ROLE_PUBLIC of
      C(webserver_config.py). Empty if it is not set, V(null) if it cannot be determined without running that file, as
      where it imports everything from another one.
  returned: success
  type: str
  sample: ""
server:
  description: The server that reads the file. V(null) if none was found.
  returned: success
  type: dict
  contains:
    pid:
      description: Its process.
      type: int
    started:
      description: When it was started, UTC.
      type: str
    url:
      description: The base URL at which it was asked.
      type: str
    health:
      description:
        - V(healthy), V(unhealthy), V(down), V(waiting) (it answers, but for its health, which needs the database),
          V(unverified) (its certificate is rejected), or V(foreign), which is an answer that is not Airflow's.
      type: str
  sample:
    pid: 4711
    started: "2026-01-31T12:00:00Z"
    url: http://127.0.0.1:8080
    health: healthy
kerberos:
  description: The keytab of C(kerberos_auth). V(null) where that is not among the backends.
  returned: success
  type: dict
  contains:
    keytab:
      description: The keytab, as it is configured.
      type: str
    source:
      description: V(environment), V(file) or V(default).
      type: str
    principals:
      description: Whose keys are in it. V(null) if they cannot be told.
      type: list
      elements: str
    problem:
      description: Why the server cannot read it. V(null) if it can.
      type: str
  sample:
    keytab: /etc/airflow/airflow.keytab
    source: file
    principals: [airflow/web1.example.com@EXAMPLE.COM]
    problem: null
several_servers:
  description: The task failed because several servers of Airflow run on the host and no option selects one.
  returned: failure for this reason
  type: bool
  sample: true
warnings_found:
  description: Settings that are dangerous or not what they seem, as sentences.
  returned: success
  type: list
  elements: str
  sample: []
"""

from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.fleetops.airflow.plugins.module_utils import _compile_once  # pylint: disable=unused-import
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._change.current import CurrentState, inspect
from ansible_collections.fleetops.airflow.plugins.module_utils._change.discover import discover
from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import HOST_ARGUMENTS, Target, target_of
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.health import TIMEOUT, Health, Unreachable, get
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host
from ansible_collections.fleetops.airflow.plugins.module_utils._host.login import open_to_everybody
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import to_iso_utc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.warnings import (
    of_public_role,
    public_role,
    warnings_of,
    webserver_config_is_newer,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._module import run_module
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import (
    VersionFamily,
    backends_in_file,
    backends_override,
    backends_read,
    kerberos_backend,
    refuses_passwords,
    split_backends,
    takes_passwords,
)


def run(module: AnsibleModule) -> dict[str, Any]:
    target = target_of(module.params)
    current = inspect(discover(target, changes=False), target)
    for warning in current.unknown:
        module.warn(warning)
    host, cfg, family = current.host, current.cfg, current.host.family
    beats = backends_override(family, host.environment)
    configured = split_backends(beats.value) if beats else backends_in_file(family, cfg)
    effective = backends_read(family, cfg, host.environment)
    in_force = effective if current.is_current else None
    if any(backends_read(family, cfg, server.environment) != effective for server in host.servers):
        in_force = None
        module.warn(
            "The servers of %s have different variables in their environments, so they do not accept the same callers: "
            "%s." % (host.path, "; ".join(server.title for server in host.servers))
        )
    role = _public_role(current, module.warn)
    health = current.healths[0]() if current.healths else None
    return {
        "changed": False,
        "airflow_version": host.version,
        "path": host.path,
        "section": family.section,
        "option": family.option,
        "configured": configured,
        "source": "environment" if beats else "file" if configured else "default",
        "overridden_by": beats.variable if beats else None,
        "effective": effective,
        "in_force": in_force,
        "restart_pending": current.restart_reason is not None if current.is_known else None,
        "restart_reason": current.restart_reason,
        "takes_passwords": _takes_passwords(family, in_force),
        "open_to_everybody": open_to_everybody(family, current.url, target.tls)
        if health and health.state == "healthy"
        else None,
        "public_role": role,
        "server": {
            "pid": host.server.process.pid,
            "started": to_iso_utc(host.server.process.started),
            "url": current.url,
            "health": _state(health, family, current, target) if health else None,
        }
        if host.server
        else None,
        "kerberos": _kerberos(host, cfg) if kerberos_backend(family, effective) else None,
        "warnings_found": [*warnings_of(host, cfg), *of_public_role(family, role)],
    }


def _state(health: Health, family: VersionFamily, current: CurrentState, target: Target) -> str:
    """The health; "waiting" for a server whose health page gets no answer in time, and whose version page does."""
    if health.state != "down" or "timeout" not in health.detail.lower() or family.name.startswith("1.10"):
        return health.state
    version = "/api/%s/version" % ("v2" if family.token_path else "v1")
    try:
        answer = get(current.addresses[0].base_url + version, TIMEOUT, target.tls)
    except Unreachable:
        return health.state
    return "waiting" if answer.status < 500 else health.state


def _public_role(current: CurrentState, warn: Callable[[str], None]) -> str | None:
    """That of the running server, if there is one; None if it cannot be determined."""
    host, cfg = current.host, current.cfg
    newer = host.server is not None and webserver_config_is_newer(host, cfg)
    if newer:
        warn("webserver_config.py was changed after the server was started, so the public role is not known.")
    if newer or (host.server and host.family.token_path and not current.is_current):
        return None
    return public_role(host, cfg)


def _takes_passwords(family: VersionFamily, in_force: list[str] | None) -> bool | None:
    """None where it is not known: of backends that do not come with Airflow nobody knows."""
    if in_force and takes_passwords(family, in_force):
        return True
    return False if in_force and refuses_passwords(family, in_force) else None


def _kerberos(host: Host, cfg: Cfg) -> dict[str, Any]:
    from ansible_collections.fleetops.airflow.plugins.module_utils._host.kerberos import (
        keytab_of,
        path_of,
        principals_in,
    )

    keytab = keytab_of(host, cfg)
    path, principals, problem = path_of(keytab), None, None
    try:
        principals = principals_in(host, path) if path else None
    except AirflowError as error:
        problem = str(error)
    return {"keytab": keytab.name, "source": keytab.source, "principals": principals, "problem": problem}


def main() -> None:
    arguments = {
        **HOST_ARGUMENTS,
        "service": {"type": "list", "elements": "str"},
        "service_manager": {
            "type": "str",
            "choices": ["auto", "systemd", "supervisor", "sysvinit"],
            "default": "auto",
        },
    }
    module = AnsibleModule(argument_spec=arguments, supports_check_mode=True)
    run_module(module, run)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_config
short_description: Set and remove options of airflow.cfg, and have the running server read them
version_added: 0.1.0
description:
  - Sets and removes any options in any sections of C(airflow.cfg), many at once, and restarts what reads them once.
  - It is one transaction, like M(fleetops.airflow.airflow_api_auth). Where the server does not come up healthy with the
    change, the file is put back with its times, and the services are restarted with it.
  - Every byte outside the options that the task names stays as it is, comments included.
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
    details: Whether the server comes up healthy with the change shows only when it is made.
  diff_mode:
    support: full
    details:
      - Shows the options that the task names and nothing else of the file.
      - The value of an option that Airflow treats as a secret, or whose name says so, is never shown.
  idempotent:
    support: full
options:
  settings:
    description:
      - The options as a dictionary of sections, each a dictionary of options with their values.
      - A value stands in the file as it is given, so a percent sign that is meant is written twice, as Airflow wants
        it. V(null) takes the option out of the file.
      - An option that the installed release does not describe in a section of its own is warned of, because a name with
        a typing error does nothing.
    type: dict
    required: true
seealso:
  - module: fleetops.airflow.airflow_api_auth
"""

EXAMPLES = r"""
- name: Let more tasks run at once, and hide the configuration
  fleetops.airflow.airflow_config:
    settings:
      core:
        parallelism: 64
      webserver:
        expose_config: "False"
  become: true

- name: Mail over another relay, without a login
  fleetops.airflow.airflow_config:
    airflow_home: /opt/airflow
    settings:
      smtp:
        smtp_host: relay.example.org
        smtp_user: null
        smtp_password: null
    service: airflow-webserver
  become: true

- name: Prepare the file of a host whose Airflow is started later
  fleetops.airflow.airflow_config:
    path: /opt/airflow/airflow.cfg
    airflow_version: 2.11.2
    settings:
      database:
        sql_alchemy_conn: "{{ airflow_database_url }}"
    restart: never
  become: true
"""

RETURN = r"""
settings:
  description: What became of each option of the task, in its order.
  returned: success
  type: list
  elements: dict
  contains:
    section:
      description: The section.
      type: str
    option:
      description: The option.
      type: str
    before:
      description: The value before. V(null) if it was not in the file, or is a secret.
      type: str
    after:
      description: The value now. V(null) if it is not in the file, or is a secret.
      type: str
    changed:
      description: Whether it changed, or in check mode would.
      type: bool
  sample:
    - section: core
      option: parallelism
      before: "32"
      after: "64"
      changed: true
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
overridden_by:
  description: The variable in the server's environment that beats an option of the task. The task fails then.
  returned: failure because of it
  type: str
  sample: AIRFLOW__CORE__PARALLELISM
backup_file:
  description: The copy that O(backup=true) made.
  returned: when the file was changed and O(backup=true)
  type: str
  sample: /opt/airflow/airflow.cfg.4711.2026-01-31@12:00:00~
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.fleetops.airflow.plugins.module_utils import _compile_once  # pylint: disable=unused-import
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import Setting
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._change.converge import converge, discovered, plan_for
from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import (
    CONVERGE_ARGUMENTS,
    CONVERGE_RULES,
    HOST_ARGUMENTS,
    change_policy_of,
    target_of,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._change.plan import DesiredState
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.options import all_options, options_known_to
from ansible_collections.fleetops.airflow.plugins.module_utils._module import run_module, take_options


def run(module: AnsibleModule) -> dict[str, Any]:
    sections = take_options(module, module.params["settings"])
    if not sections:
        raise AirflowError("settings is empty. Name at least one section with an option.")
    policy, target = change_policy_of(module.params), target_of(module.params)

    with discovered(target, policy, module.check_mode) as host:
        settings = all_options(host, options_known_to(host), sections, module.warn)
        plan = plan_for(host, DesiredState(settings, for_the_api=False), target, policy, module.warn)
        outcome = converge(plan, module.check_mode, module.warn)
    reported = [_reported(setting, plan.before, plan.after) for setting in settings]
    return {**plan.result(), **outcome.result(), "settings": reported, "diff": plan.diff()}


def _reported(setting: Setting, before: Cfg, after: Cfg) -> dict[str, Any]:
    was, now = (cfg.own(setting.section, setting.option) for cfg in (before, after))
    return {
        "section": setting.section,
        "option": setting.option,
        "before": was.value if was and not setting.secret else None,
        "after": now.value if now and not setting.secret else None,
        "changed": (was.value if was else None) != (now.value if now else None),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "required": True},
            **HOST_ARGUMENTS,
            **CONVERGE_ARGUMENTS,
        },
        supports_check_mode=True,
        no_log=True,  # else the host's system log gets the values before we have seen which ones are secret
        **CONVERGE_RULES,
    )
    run_module(module, run)


if __name__ == "__main__":
    main()

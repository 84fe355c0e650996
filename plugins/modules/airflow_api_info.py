#!/usr/bin/python
# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_api_info
short_description: Tell whether an Airflow can be called over its REST API, with this login and for this DAG
version_added: 0.1.0
description:
  - Looks at the server, the login and a DAG as M(fleetops.airflow.airflow_dag_trigger) would meet them, and triggers
    nothing. What does not work is explained in RV(diagnosis), and is no failure of the task.
  - To be run before a deployment, or when a trigger is refused.
  - To find out whether the user may trigger the DAG it sends a request that Airflow refuses for its content, and only
    after it has looked at login and permission. Since release 2.10 Airflow notes the request in its audit log.
author:
  - fleetops.airflow contributors (@fleetops)
extends_documentation_fragment:
  - fleetops.airflow.attributes
  - fleetops.airflow.api
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
  idempotent:
    support: N/A
options:
  dag_id:
    description: A DAG to look at as well.
    type: str
seealso:
  - module: fleetops.airflow.airflow_dag_trigger
  - module: fleetops.airflow.airflow_api_auth_info
"""

EXAMPLES = r"""
- name: Look whether load_orders could be triggered
  fleetops.airflow.airflow_api_info:
    url: https://airflow.example.com
    username: deploy
    password: "{{ airflow_password }}"
    dag_id: load_orders
  register: api

- name: Say why not
  ansible.builtin.fail:
    msg: "{{ api.diagnosis.cause }}. {{ api.diagnosis.remedy }}"
  when: api.diagnosis
"""

RETURN = r"""
reachable:
  description: Whether Airflow answers at the address.
  returned: success
  type: bool
  sample: true
release:
  description: The Airflow release. V(null) if it is not told, as by Airflow 1.10.
  returned: success
  type: str
  sample: 2.11.2
generation:
  description: The generation of its API, as in O(api_version). V(null) if it is not Airflow that answers.
  returned: success
  type: str
  sample: v1
health:
  description:
    - What Airflow says of its parts, V(healthy), V(unhealthy), or V(null) for one that there is none of. Which parts
      there are depends on the release; the metadatabase and the scheduler always.
  returned: success
  type: dict
  sample: {metadatabase: healthy, scheduler: healthy, triggerer: null}
running_task:
  description:
    - If RV(health) reports an unhealthy scheduler, a task that runs at this moment. Empty if no task runs.
    - The scheduler might be busy with that task, as with SequentialExecutor. A restart would run the task twice.
    - V(null) if the scheduler is healthy, if this user may not read the tasks of all DAGs, and on Airflow 1.10.
  returned: success
  type: str
  sample: load_orders.load
anonymous:
  description: Whether DAGs can be read without any login. V(null) if that cannot be told.
  returned: success
  type: bool
  sample: false
login_accepted:
  description:
    - Whether the API accepts the login of this task. V(null) if there is none, if everybody is let in, or if it cannot
      be told; RV(diagnosis) then has more.
  returned: success
  type: bool
  sample: true
dag:
  description: The DAG. V(null) without O(dag_id), and where the login did not come so far.
  returned: success
  type: dict
  contains:
    dag_id:
      description: The DAG.
      type: str
      sample: load_orders
    exists:
      description: Whether Airflow has it. V(null) if this user is not told.
      type: bool
      sample: true
    is_paused:
      description: Whether it is paused.
      type: bool
      sample: false
    has_import_errors:
      description: Whether its file cannot be imported at present. V(null) where the release does not tell.
      type: bool
      sample: false
    is_stale:
      description: Whether it is known from before and no file has it any more, so that no run of it starts.
      type: bool
      sample: false
    allows_manual_runs:
      description: Whether the DAG allows runs that are triggered. V(true) before Airflow 3.2, where all do.
      type: bool
      sample: true
    may_trigger:
      description:
        - Whether this user may trigger it. V(null) if that cannot be told, as on Airflow 1.10, where whoever may log in
          to the API may trigger.
      type: bool
      sample: true
diagnosis:
  description: Why a trigger would be refused. V(null) if there is no reason to be seen.
  returned: success
  type: dict
  contains:
    code:
      description: The cause for programs, one of the list in C(docs/diagnoses.md). Its meaning never changes.
      type: str
      sample: basic_auth_not_in_force
    cause:
      description: The cause. If it cannot be known from outside, it says so and lists the candidates in order.
      type: str
      sample: the login is right, but the API takes no passwords, since basic_auth is not in force (or ...)
    evidence:
      description: What this is concluded from.
      type: str
    remedy:
      description: What to do.
      type: str
    http_status:
      description: The HTTP status of the answer that refused. V(null) if there was none.
      type: int
      sample: 401
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.fleetops.airflow.plugins.module_utils import _compile_once  # pylint: disable=unused-import
from ansible_collections.fleetops.airflow.plugins.module_utils._api.arguments import API_ARGUMENTS, API_RULES
from ansible_collections.fleetops.airflow.plugins.module_utils._api.connect import connect
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.examination import examine
from ansible_collections.fleetops.airflow.plugins.module_utils._module import api_options, need_requests, run_module


def run(module: AnsibleModule) -> dict[str, Any]:
    """Examine, and change nothing."""
    options = api_options(module)
    return {"changed": False, **examine(connect(options), options["dag_id"] or None)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={**API_ARGUMENTS, "dag_id": {"type": "str"}},
        supports_check_mode=True,
        **API_RULES,
    )
    need_requests(module)
    run_module(module, run)


if __name__ == "__main__":
    main()

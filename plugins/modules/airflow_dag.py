#!/usr/bin/python
# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_dag
short_description: Pause or unpause an Airflow DAG over the REST API
version_added: 0.1.0
description:
  - Makes a DAG be paused, so that the scheduler starts no runs of it, or not.
author:
  - fleetops.airflow contributors (@fleetops)
extends_documentation_fragment:
  - fleetops.airflow.attributes
  - fleetops.airflow.api
attributes:
  check_mode:
    support: full
    details: Whether the user may change the DAG shows only when it is changed.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  dag_id:
    description: The DAG.
    type: str
    required: true
  paused:
    description:
      - Whether the DAG shall be paused.
      - A DAG with a schedule may start runs of its own once it is unpaused.
    type: bool
    required: true
seealso:
  - module: fleetops.airflow.airflow_dag_trigger
"""

EXAMPLES = r"""
- name: Keep a DAG from running while its database is migrated
  fleetops.airflow.airflow_dag:
    url: https://airflow.example.com
    username: deploy
    password: "{{ airflow_password }}"
    dag_id: load_orders
    paused: true

- name: Let it run again
  fleetops.airflow.airflow_dag:
    url: https://airflow.example.com
    username: deploy
    password: "{{ airflow_password }}"
    dag_id: load_orders
    paused: false
"""

RETURN = r"""
dag:
  description: The DAG as it is now, in check mode as it would be.
  returned: success
  type: dict
  contains:
    dag_id:
      description: The DAG.
      type: str
      sample: load_orders
    is_paused:
      description: Whether it is paused.
      type: bool
      sample: true
    has_import_errors:
      description: Whether its file cannot be imported at present. V(null) where the release does not tell.
      type: bool
      sample: false
diagnosis:
  description: Why it did not work.
  returned: failure, except for an option that cannot be right
  type: dict
  contains:
    code:
      description: The cause for programs, one of the list in C(docs/diagnoses.md). Its meaning never changes.
      type: str
      sample: basic_auth_not_in_force
    cause:
      description: The cause. If it cannot be known from outside, it says so and lists the candidates in order.
      type: str
    evidence:
      description: What this is concluded from.
      type: str
    remedy:
      description: What to do.
      type: str
    http_status:
      description: The HTTP status of the answer that refused. V(null) if there was none.
      type: int
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.fleetops.airflow.plugins.module_utils import _compile_once  # pylint: disable=unused-import
from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.arguments import API_ARGUMENTS, API_RULES
from ansible_collections.fleetops.airflow.plugins.module_utils._api.connect import connect
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.findings import failed
from ansible_collections.fleetops.airflow.plugins.module_utils._module import api_options, need_requests, run_module


def run(module: AnsibleModule) -> dict[str, Any]:
    """Look at the DAG, and change it if need be."""
    options = api_options(module)
    dag_id, paused = options["dag_id"], options["paused"]
    api = connect(options)
    try:
        before = api.dag(dag_id)
        changed = before.is_paused != paused
        if changed and not module.check_mode:
            api.set_paused(dag_id, paused)
    except CallFailed as failure:
        raise failed(api, dag_id, failure, f"DAG {dag_id!r} was not {'paused' if paused else 'unpaused'}") from None
    after = before._replace(is_paused=paused)
    difference = {
        "before": f"is_paused: {str(before.is_paused).lower()}\n",
        "after": f"is_paused: {str(after.is_paused).lower()}\n",
    }
    return {"changed": changed, "dag": after._asdict(), "diff": difference}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **API_ARGUMENTS,
            "dag_id": {"type": "str", "required": True},
            "paused": {"type": "bool", "required": True},
        },
        supports_check_mode=True,
        **API_RULES,
    )
    need_requests(module)
    run_module(module, run)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_dag_run_info
short_description: List runs of Airflow DAGs over the REST API
version_added: 0.1.0
description:
  - Lists runs, the newest first, of all DAGs or of some, in all states or in some. Nothing is changed.
  - For Airflow 2.3 and later; without O(states) for 2.1 and 2.2 as well.
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
  dag_ids:
    description:
      - The DAGs to list runs of. If not given, all that the user may read.
      - The module fails if Airflow has no DAG of a name. Only DAGs without a listed run are looked up.
    type: list
    elements: str
    aliases: [dag_id]
  states:
    description: The states to list runs in. If not given, all.
    type: list
    elements: str
    choices: [queued, running, success, failed]
    aliases: [state]
  since:
    description:
      - List only runs that are due since then, in ISO 8601 with a timezone.
      - That is the logical date on Airflow 2, and C(run_after) on Airflow 3. A run that was triggered without a date is
        due when it was triggered.
    type: str
  limit:
    description: How many runs to list at most, at least V(1).
    type: int
    default: 100
seealso:
  - module: fleetops.airflow.airflow_dag_trigger
"""

EXAMPLES = r"""
- name: List the runs that have failed since yesterday
  fleetops.airflow.airflow_dag_run_info:
    url: https://airflow.example.com
    username: deploy
    password: "{{ airflow_password }}"
    states: [failed]
    since: "{{ '%Y-%m-%dT%H:%M:%S+00:00' | ansible.builtin.strftime(now(utc=true).timestamp() - 86400, utc=true) }}"
  register: failures

- name: Look whether a DAG is running
  fleetops.airflow.airflow_dag_run_info:
    url: https://airflow.example.com
    username: deploy
    password: "{{ airflow_password }}"
    dag_ids: [load_orders]
    states: [queued, running]
    limit: 1
  register: active
"""

RETURN = r"""
dag_runs:
  description: The runs, the newest first.
  returned: success
  type: list
  elements: dict
  contains:
    dag_id:
      description: The DAG.
      type: str
      sample: load_orders
    run_id:
      description: The id of the run.
      type: str
      sample: ansible__2026-01-31T08:00:00+00:00__1f0c5f6ad3b2
    state:
      description: V(queued), V(running), V(success) or V(failed).
      type: str
      sample: success
    conf:
      description: Its configuration.
      type: dict
      sample: {country: SE}
    logical_date:
      description: Its logical date. V(null) if it has none.
      type: str
      sample: "2026-01-31T08:00:00.123456+00:00"
    start_date:
      description: When it started to run. V(null) before.
      type: str
      sample: "2026-01-31T08:00:01.234567+00:00"
    end_date:
      description: When it ended. V(null) before.
      type: str
      sample: "2026-01-31T08:00:31.345678+00:00"
    note:
      description: Its note. V(null) if it has none.
      type: str
      sample: Ordered by the release play
    url:
      description: Its page in Airflow's web interface.
      type: str
      sample: https://airflow.example.com/dags/load_orders/grid?dag_run_id=ansible__2026-01-31T08%3A00%3A00
    run_type:
      description: V(manual), V(scheduled), V(backfill) and others. V(null) before Airflow 2.2.
      type: str
      sample: manual
total:
  description: How many runs there are that fit, listed or not.
  returned: success
  type: int
  sample: 1
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
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._module import api_options, need_requests, run_module
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.request import parse_timestamp


def run(module: AnsibleModule) -> dict[str, Any]:
    """Ask page by page."""
    options = api_options(module)
    if options["limit"] < 1:
        raise AirflowError(f"limit is {options['limit']}: it must be at least 1.")
    since = parse_timestamp("since", options["since"]) if options["since"] else None
    dag_ids = options["dag_ids"] or []
    api = connect(options)
    dag_id = dag_ids[0] if dag_ids else None
    try:
        runs, total = api.newest_runs(dag_ids, options["states"] or [], since, options["limit"])
        for dag_id in sorted(set(dag_ids) - {one.dag_id for one in runs}):
            api.dag(dag_id)  # a name with a typing error would have no runs, for ever
    except CallFailed as failure:
        whose = "all DAGs" if dag_id is None else f"DAG {dag_id!r}"
        raise failed(api, dag_id, failure, f"Runs of {whose} could not be listed") from None
    return {"changed": False, "dag_runs": [one._asdict() for one in runs], "total": total}


def main() -> None:
    states = ["queued", "running", "success", "failed"]
    module = AnsibleModule(
        argument_spec={
            **API_ARGUMENTS,
            "dag_ids": {"type": "list", "elements": "str", "aliases": ["dag_id"]},
            "states": {"type": "list", "elements": "str", "choices": states, "aliases": ["state"]},
            "since": {"type": "str"},
            "limit": {"type": "int", "default": 100},
        },
        supports_check_mode=True,
        **API_RULES,
    )
    need_requests(module)
    run_module(module, run)


if __name__ == "__main__":
    main()

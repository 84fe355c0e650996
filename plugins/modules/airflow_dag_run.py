#!/usr/bin/python
# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_dag_run
short_description: Rerun a run of an Airflow DAG or set its state over the REST API
version_added: 0.1.0
description:
  - Has a run that has ended run again, all of it or the tasks that failed, or sets its state.
  - A request that Airflow may have carried out is never sent again, so a run is not rerun twice. If the network drops
    the answer, the run is looked at for a minute. If it does not change by then, the task fails and says that it is not
    known.
  - Fails where Airflow would accept the request and never start the run. That is so if the DAG is paused (see
    O(if_paused)), has no file any more or has one that cannot be imported, and for a run of C(airflow dags backfill) on
    Airflow 2 or of a cancelled backfill on Airflow 3.
  - For Airflow 2.2 and later. The API of Airflow 1.10 can do neither.
author:
  - fleetops.airflow contributors (@fleetops)
extends_documentation_fragment:
  - fleetops.airflow.attributes
  - fleetops.airflow.api
attributes:
  check_mode:
    support: full
    details: Whether the user may set a state shows only when it is set. Whether one may rerun shows in check mode too.
  diff_mode:
    support: full
  idempotent:
    support: full
    details: With O(end_date) one failure is rerun once, however often the task is repeated.
options:
  dag_id:
    description: The DAG.
    type: str
    required: true
  run_id:
    description: The id of the run.
    type: str
    required: true
    aliases: [dag_run_id]
  rerun:
    description:
      - Clear tasks of the run, so that the scheduler runs them again.
      - V(failed_tasks) clears those that failed and those that did not run because of it, also where the run was set to
        failed by hand. Airflow adds their setups and teardowns (2.7 and later, but not 3.2, where a warning names the
        teardowns). What succeeded is not run again. Tasks that were skipped are cleared too. The DAG skips them again
        where it has it so.
      - A task that skipped itself is not run again. Before Airflow 2.10, and for sensors, it can look like one that
        waited for its next try when its run was set to failed. Then it is cleared, and a warning names it.
      - On Airflow 2, a warning names each mapped task that succeeded in part and has instances that did not run, since
        the API cannot clear these alone.
      - V(all_tasks) clears all.
      - Exactly one of O(rerun) and O(state) is needed.
    type: str
    choices: [failed_tasks, all_tasks]
  rerun_states:
    description:
      - With O(rerun), the states out of which the run is rerun. In another one it is left as it is, so that a run that
        is on its way already is not disturbed.
    type: list
    elements: str
    choices: [failed, success]
    default: [failed]
  end_date:
    description:
      - With O(rerun), rerun only the attempt that ended then, in ISO 8601 with a timezone.
      - That is RV(fleetops.airflow.airflow_dag_run_info#module:dag_runs[].end_date) of the run that is known to have
        failed. If the run has been rerun since, by whomever, it is left as it is.
    type: str
  if_paused:
    description:
      - What to do if the DAG is paused, with O(rerun) and with O(state=queued).
      - V(fail) fails, V(unpause) unpauses it, V(rerun) lets the run wait until somebody unpauses it.
    type: str
    choices: [fail, unpause, rerun]
    default: fail
  state:
    description:
      - Set the run to this state.
      - V(success) and V(failed) end it, and those of its tasks that have not ended. On Airflow 3, a teardown that has
        not ended goes on, and RV(reason) says so.
      - V(queued) has the scheduler look at it again. It clears no task, for which there is O(rerun).
    type: str
    choices: [success, failed, queued]
seealso:
  - module: fleetops.airflow.airflow_dag_run_info
  - module: fleetops.airflow.airflow_dag_trigger
"""

EXAMPLES = r"""
- name: Run again what failed
  fleetops.airflow.airflow_dag_run:
    url: https://airflow.example.com
    username: deploy
    password: "{{ airflow_password }}"
    dag_id: load_orders
    run_id: scheduled__2026-01-31T08:00:00+00:00
    rerun: failed_tasks

- name: End a run that hangs
  fleetops.airflow.airflow_dag_run:
    url: https://airflow.example.com
    username: deploy
    password: "{{ airflow_password }}"
    dag_id: load_orders
    run_id: scheduled__2026-01-31T08:00:00+00:00
    state: failed

- name: List what has failed
  fleetops.airflow.airflow_dag_run_info:
    url: https://airflow.example.com
    username: deploy
    password: "{{ airflow_password }}"
    dag_ids: [load_orders]
    states: [failed]
  register: failures

- name: Rerun each of these failures once
  fleetops.airflow.airflow_dag_run:
    url: https://airflow.example.com
    username: deploy
    password: "{{ airflow_password }}"
    dag_id: "{{ item.dag_id }}"
    run_id: "{{ item.run_id }}"
    rerun: failed_tasks
    end_date: "{{ item.end_date }}"
  loop: "{{ failures.dag_runs }}"
"""

RETURN = r"""
dag_run:
  description: The run as it is now, in check mode as it would be.
  returned: when the run exists
  type: dict
  contains:
    dag_id:
      description: The DAG.
      type: str
      sample: load_orders
    run_id:
      description: The id of the run.
      type: str
      sample: scheduled__2026-01-31T08:00:00+00:00
    state:
      description: V(queued), V(running), V(success) or V(failed).
      type: str
      sample: queued
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
      sample: https://airflow.example.com/dags/load_orders/grid?dag_run_id=scheduled__2026-01-31T08%3A00%3A00
    run_type:
      description: V(manual), V(scheduled), V(backfill) and others. V(null) before Airflow 2.2.
      type: str
      sample: manual
tasks:
  description: With O(rerun), the tasks that were cleared, in check mode those that would be.
  returned: success
  type: list
  elements: str
  sample: [load, report]
reason:
  description: Why nothing was done, or why the run is not in that state yet. V(null) otherwise.
  returned: success
  type: str
  sample: the run is running, and is rerun only out of failed
in_doubt:
  description: Whether it is not known if the run was changed, or still will be.
  returned: failure, where it is so
  type: bool
  sample: true
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
from ansible_collections.fleetops.airflow.plugins.module_utils._module import api_options, need_requests, run_module
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.rerun import RunChange, wanted_change


def run(module: AnsibleModule) -> dict[str, Any]:
    """Look at the run, and change it if need be."""
    options = api_options(module)
    wanted = wanted_change(options)
    api = connect(options)
    change = RunChange(api, wanted)
    try:
        change.make(module.check_mode)
    except CallFailed as failure:
        from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.findings import explain
        from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import error

        what = "could not be looked at afterwards" if change.changed else "was not changed"
        if change.in_doubt:
            what = "may have been changed, or may still be: look at it before it is changed again"
        subject = f"Run {wanted.run_id!r} of DAG {wanted.dag_id!r} at {api.base}"
        raise error(f"{subject} {what}", explain(api, wanted.dag_id, failure), **change.result()) from None
    return change.result()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **API_ARGUMENTS,
            "dag_id": {"type": "str", "required": True},
            "run_id": {"type": "str", "required": True, "aliases": ["dag_run_id"]},
            "rerun": {"type": "str", "choices": ["failed_tasks", "all_tasks"]},
            "rerun_states": {
                "type": "list",
                "elements": "str",
                "choices": ["failed", "success"],
                "default": ["failed"],
            },
            "end_date": {"type": "str"},
            "if_paused": {"type": "str", "choices": ["fail", "unpause", "rerun"], "default": "fail"},
            "state": {"type": "str", "choices": ["success", "failed", "queued"]},
        },
        supports_check_mode=True,
        required_one_of=[("rerun", "state")],
        mutually_exclusive=[("rerun", "state"), ("end_date", "state")],
        **API_RULES,
    )
    need_requests(module)
    run_module(module, run)


if __name__ == "__main__":
    main()

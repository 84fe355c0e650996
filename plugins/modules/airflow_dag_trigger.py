#!/usr/bin/python
# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_dag_trigger
short_description: Trigger an Airflow DAG over the REST API, exactly once
version_added: 0.1.0
description:
  - Triggers a DAG with a username and a password, and waits for the end of the run if asked.
  - Whatever the network or the server does in between, one task makes at most one run. The id of the run is chosen
    before anything is sent, and after every answer that did not come back whole the module asks for that id before it
    sends again.
  - A call that is refused fails with a RV(ignore:diagnosis) that tells the cause and the remedy.
  - Everything that can be checked is checked before anything is sent.
  - This version speaks the stable REST API of Airflow 2.
author:
  - fleetops.airflow contributors (@fleetops)
extends_documentation_fragment:
  - fleetops.airflow.attributes
  - fleetops.airflow.api
attributes:
  check_mode:
    support: full
    details:
      - Logs in, and fails as a real run would if the DAG is missing or paused, or if the user may not trigger it.
      - To find out about the permission it sends a request that Airflow refuses for its content, and only after it has
        looked at login, permission and DAG. Nothing is created; since release 2.10 Airflow notes the request in its
        audit log.
      - It does not wait.
  diff_mode:
    support: none
    details: A run is not a state to compare.
  idempotent:
    support: partial
    details: With O(run_id). Without it every task triggers another run, which is what a trigger is for.
options:
  dag_id:
    description: The DAG to trigger.
    type: str
    required: true
  run_id:
    description:
      - The id of the run. If the DAG has a run of this id already, that is the run, and nothing is changed.
      - At most 250 of the characters V(A-Z), V(a-z), V(0-9), V(_), V(.), V(~), V(:), V(+) and V(-).
      - If not given, a unique one is made.
    type: str
    aliases: [dag_run_id]
  conf:
    description:
      - The configuration of the run, which its tasks read as C(dag_run.conf).
      - If O(run_id) exists already with another configuration, the module fails, and names the keys that differ, but no
        values. Without O(conf) it takes the existing run as it is.
      - It comes back in RV(dag_run.conf). If it holds secrets, set C(no_log) on the task.
    type: dict
  logical_date:
    description:
      - The logical date of the run in ISO 8601, with a timezone. Airflow keeps at most one run of a DAG for each.
      - If not given, Airflow takes the moment.
    type: str
    aliases: [execution_date]
  note:
    description:
      - A note to keep with the run, of at most 1000 characters. Airflow 2.5 or later.
      - A run that exists already keeps the note it has.
    type: str
  if_paused:
    description:
      - What to do if the DAG is paused. Airflow accepts a run of such a DAG, and never starts it.
      - V(fail) triggers nothing and fails.
      - V(unpause) unpauses the DAG, then triggers it. A DAG with a schedule may then start runs of its own.
      - V(trigger) triggers it all the same. The run waits until somebody unpauses the DAG.
    type: str
    choices: [fail, unpause, trigger]
    default: fail
  wait:
    description:
      - Whether to wait for the end of the run. If the run fails, so does the task.
      - A state that cannot be asked for, as while the webserver restarts, does not end the wait.
    type: bool
    default: false
  wait_timeout:
    description: How many seconds to wait, at least V(1). The run goes on all the same.
    type: float
    default: 3600
  wait_interval:
    description:
      - The longest pause in seconds between two looks at the run, at least V(1).
      - The first pause is one second, and they grow to a tenth of the time waited so far.
    type: float
    default: 10
seealso:
  - module: fleetops.airflow.airflow_api_auth
  - name: The REST API of Airflow
    description: Airflow's own documentation of the calls that this module makes.
    link: https://airflow.apache.org/docs/apache-airflow/2.11.2/stable-rest-api-ref.html
"""

EXAMPLES = r"""
- name: Trigger a DAG
  fleetops.airflow.airflow_dag_trigger:
    url: https://airflow.example.com
    username: deploy
    password: "{{ airflow_password }}"
    dag_id: load_orders
    conf:
      country: SE
      full: true

- name: Trigger one run for this release, however often the play runs, and wait for it
  fleetops.airflow.airflow_dag_trigger:
    url: https://airflow.example.com
    username: deploy
    password: "{{ airflow_password }}"
    dag_id: migrate_orders
    run_id: "migrate_orders__{{ release }}"
    wait: true
    wait_timeout: 600
  register: migration

- name: Several DAGs, with url and login once
  module_defaults:
    group/fleetops.airflow.api:
      url: https://airflow.example.com
      username: deploy
      password: "{{ airflow_password }}"
  block:
    - name: Trigger the first DAG, unpaused if need be
      fleetops.airflow.airflow_dag_trigger:
        dag_id: load_orders
        if_paused: unpause

    - name: Trigger the second one for a past day
      fleetops.airflow.airflow_dag_trigger:
        dag_id: report_orders
        logical_date: "2026-01-31T00:00:00+00:00"
        note: Ordered by the release play
"""

RETURN = r"""
dag_run:
  description:
    - The run. With O(wait=true) as it was at the end.
    - In check mode what is known of the run that would be.
  returned: success, and failure once the run is known
  type: dict
  contains:
    dag_id:
      description: The DAG.
      type: str
      sample: migrate_orders
    run_id:
      description: The id of the run. V(null) in check mode if O(run_id) is not given.
      type: str
      sample: ansible__2026-01-31T08:00:00+00:00__1f0c5f6ad3b2
    state:
      description: V(queued), V(running), V(success) or V(failed). V(null) in check mode for a run that would be made.
      type: str
      sample: success
    conf:
      description: Its configuration.
      type: dict
      sample: {country: SE, full: true}
    logical_date:
      description: Its logical date.
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
      description: Its page in Airflow's web interface. V(null) in check mode for a run that would be made.
      type: str
      sample: https://airflow.example.com/dags/migrate_orders/grid?dag_run_id=ansible__2026-01-31T08%3A00%3A00
failed_tasks:
  description: The task instances that failed, at most 100. Empty if none did.
  returned: O(wait=true)
  type: list
  elements: dict
  contains:
    task_id:
      description: The task.
      type: str
      sample: load
    map_index:
      description: Its index if it is a mapped task, else V(-1).
      type: int
      sample: -1
    state:
      description: Its state.
      type: str
      sample: failed
    try_number:
      description: The number of its last try.
      type: int
      sample: 1
    log:
      description: The last 20 lines of the log of that try, for the first three tasks. V(null) if not fetched.
      type: list
      elements: str
      sample: ["RuntimeError: the disk is full: /data"]
timed_out:
  description: Whether O(wait_timeout) was over before the run.
  returned: O(wait=true)
  type: bool
  sample: false
diagnosis:
  description: Why it did not work.
  returned: failure, except for an option that cannot be right
  type: dict
  contains:
    cause:
      description: The cause. If it cannot be known from outside, it says so and lists the candidates in order.
      type: str
      sample: the login is right, but the API takes no passwords, since basic_auth is not in force (or ...)
    evidence:
      description: What this is concluded from.
      type: str
      sample: GET https://airflow.example.com/api/v1/dags/load_orders answered 401; the web interface accepts the login.
    remedy:
      description: What to do.
      type: str
      sample: Run fleetops.airflow.airflow_api_auth on the Airflow host with backends [basic_auth, session].
    http_status:
      description: The HTTP status of the answer that refused. V(null) if there was none.
      type: int
      sample: 401
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.fleetops.airflow.plugins.module_utils._api import CallFailed, connect
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis import error, private_values
from ansible_collections.fleetops.airflow.plugins.module_utils._findings import explain
from ansible_collections.fleetops.airflow.plugins.module_utils._module import (
    API_ARGUMENTS,
    API_RULES,
    hide_login_in_url,
    need_requests,
    run_module,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._runs import Trigger, order


def run(module: AnsibleModule) -> dict[str, Any]:
    """Place the order, wait if asked, and explain what fails on the way."""
    options = dict(module.params)
    hide_login_in_url(module)
    wanted = order(options)
    api = connect(options)
    trigger = Trigger(api, wanted)
    try:
        trigger.place(check_mode=module.check_mode)
        if wanted.waits and not module.check_mode:
            trigger.wait()
    except CallFailed as failure:
        why = explain(api, wanted.new.dag_id, failure, private_values(options["conf"]))
        raise error(f"{_what_failed(trigger)} at {api.http.base}", why, **trigger.result()) from None
    return trigger.result()


def _what_failed(trigger: Trigger) -> str:
    """What a call that failed means for the order."""
    new = trigger.order.new
    if trigger.run is not None:
        return f"Run {trigger.run.run_id!r} of DAG {new.dag_id!r} exists, but could not be waited for"
    if trigger.in_doubt:
        return (
            f"It is not known whether DAG {new.dag_id!r} was triggered (if so, as run_id {new.run_id!r}: "
            "the same task with that run_id will find out, and trigger it only if it was not)"
        )
    return f"DAG {new.dag_id!r} was not triggered"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **API_ARGUMENTS,
            "dag_id": {"type": "str", "required": True},
            "run_id": {"type": "str", "aliases": ["dag_run_id"]},
            "conf": {"type": "dict"},
            "logical_date": {"type": "str", "aliases": ["execution_date"]},
            "note": {"type": "str"},
            "if_paused": {"type": "str", "choices": ["fail", "unpause", "trigger"], "default": "fail"},
            "wait": {"type": "bool", "default": False},
            "wait_timeout": {"type": "float", "default": 3600},
            "wait_interval": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
        **API_RULES,
    )
    need_requests(module)
    run_module(module, run)


if __name__ == "__main__":
    main()

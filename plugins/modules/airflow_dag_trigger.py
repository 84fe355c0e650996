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
  - Speaks the stable REST API of Airflow 2 and of Airflow 3, and the experimental one of Airflow 1.10, which can do
    less. What it cannot do is said at the option.
author:
  - fleetops.airflow contributors (@fleetops)
extends_documentation_fragment:
  - fleetops.airflow.attributes
  - fleetops.airflow.api
attributes:
  check_mode:
    support: full
    details:
      - Logs in, and fails as a real run would if the DAG is missing, paused or stale, if it cannot be imported or
        allows no manual runs, if the user may not trigger it, or if another run has O(logical_date).
      - What Airflow validates only in a real request is not seen. That is O(conf) against the params of the DAG, and
        the pattern that a server may demand of O(run_id).
      - To find out about the permission it sends a request that Airflow refuses for its content, and only after it has
        looked at login and permission. Nothing is created; since release 2.10 Airflow notes the request in its audit
        log. Airflow 1.10 would create a run, so there it is not sent; whoever may log in to that API may trigger.
      - It does not wait.
  diff_mode:
    support: none
    details: A run is not a state to compare.
  idempotent:
    support: partial
    details: With O(run_id). Without it every task triggers another run, which is what a trigger is for.
options:
  dag_id:
    description: The DAG to trigger. Either this or O(runs) is needed.
    type: str
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
        values. Without O(conf) it takes the existing run as it is. Airflow 1.10 does not tell the configuration of a
        run, so there it is not compared.
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
      - A note to keep with the run, of at most 1000 characters. Airflow 2.5 or later; an error before that.
      - A run that exists already keeps the note it has.
    type: str
  runs:
    description:
      - Many runs, triggered by one task over a few connections, and waited for together.
      - Each is triggered exactly once, and one that goes wrong does not keep the others from being triggered and waited
        for. The task fails at the end if any of them did, with all of them in RV(outcomes).
      - The options O(if_paused), O(unless_running), O(wait), O(wait_timeout) and O(on_timeout) are for each of them.
        The time of O(wait_timeout) begins once all are triggered.
      - They are sent one after the other at first, and four at a time where that pays. After an error 500, by which a
        server shows that its database does not take parallel writes, they are sent one after the other to the end.
    type: list
    elements: dict
    suboptions:
      dag_id:
        description: The DAG to trigger.
        type: str
        required: true
      run_id:
        description: As O(run_id).
        type: str
        aliases: [dag_run_id]
      conf:
        description: As O(conf).
        type: dict
      logical_date:
        description: As O(logical_date).
        type: str
        aliases: [execution_date]
      note:
        description: As O(note).
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
  unless_running:
    description:
      - Trigger nothing while a run of the DAG is queued or running, whoever triggered it. Then nothing is changed, and
        RV(dag_run) is the oldest run of those.
      - With O(wait) the end of that run is waited for, so after the task one has run in any case.
      - Two tasks at the very same moment may both find none, and both trigger.
    type: bool
    default: false
  wait:
    description:
      - Whether to wait for the end of the run. If the run fails, so does the task.
      - A state that cannot be asked for, as while the webserver restarts, does not end the wait.
    type: bool
    default: false
  wait_timeout:
    description:
      - How many seconds to wait, at least V(1).
      - Afterwards, five seconds at most are spent to find out why a run has not ended, and with
        O(on_timeout=fail_run) at most O(timeout) seconds for each run that is set to failed.
    type: float
    default: 3600
  on_timeout:
    description:
      - What to do with a run that has not ended after O(wait_timeout). The task fails in any case.
      - V(leave) leaves it alone, and it goes on.
      - V(fail_run) sets it to failed, which ends its tasks, if this very task has triggered it. Airflow 2.2 or later.
    type: str
    choices: [leave, fail_run]
    default: leave
  fail_on_failed_tasks:
    description:
      - Whether to fail if tasks of the run failed although the run is a success, as with a trigger rule C(all_done) or
        with a teardown. RV(failed_tasks) lists them in any case.
      - Fails as well if it cannot be found out whether tasks failed, on Airflow 1.10 before anything is triggered.
    type: bool
    default: false
  wait_interval:
    description:
      - The longest pause in seconds between two looks at the run, at least V(1).
      - The first pause is one second. They stay below two in the first minute, and then grow by a fifth of the time
        beyond that minute.
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

- name: Have the disk cleaned up, unless that is going on already
  fleetops.airflow.airflow_dag_trigger:
    url: https://airflow.example.com
    username: deploy
    password: "{{ airflow_password }}"
    dag_id: clean_disk
    unless_running: true

- name: Trigger a DAG that must not take more than ten minutes
  fleetops.airflow.airflow_dag_trigger:
    url: https://airflow.example.com
    username: deploy
    password: "{{ airflow_password }}"
    dag_id: rotate_keys
    wait: true
    wait_timeout: 600
    on_timeout: fail_run

- name: Load all countries, each in a run of its own, and wait for the last one
  fleetops.airflow.airflow_dag_trigger:
    url: https://airflow.example.com
    username: deploy
    password: "{{ airflow_password }}"
    wait: true
    runs:
      - dag_id: load_orders
        conf: {country: SE}
      - dag_id: load_orders
        conf: {country: JP}
      - dag_id: report_orders
        run_id: "report_orders__{{ release }}"
  register: loaded

- name: Show those that went wrong
  ansible.builtin.debug:
    msg: "{{ loaded.outcomes | selectattr('failed') | map(attribute='msg') }}"

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
  returned: success, and failure once the run is known; not with O(runs)
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
      description:
        - V(queued), V(running), V(success) or V(failed). V(null) in check mode for a run that would be made, and on
          Airflow 1.10 for one that was made and not waited for.
      type: str
      sample: success
    conf:
      description: Its configuration. V(null) where it is not told, on Airflow 1.10.
      type: dict
      sample: {country: SE, full: true}
    logical_date:
      description: Its logical date. V(null) if it has none, as Airflow 3 allows.
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
      description:
        - Its page in Airflow's web interface. V(null) in check mode for a run that would be made, and where it is not
          told.
      type: str
      sample: https://airflow.example.com/dags/migrate_orders/grid?dag_run_id=ansible__2026-01-31T08%3A00%3A00
    run_type:
      description: V(manual), V(scheduled), V(backfill) and others. V(null) in check mode for a run that would be made.
      type: str
      sample: manual
failed_tasks:
  description: The task instances that failed, at most 100. Empty if none did, or if Airflow does not tell, as 1.10.
  returned: O(wait=true) without O(runs)
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
    start_date:
      description: When that try started. V(null) if it failed before, as where a task cannot reach the API server.
      type: str
      sample: "2026-01-31T08:00:01.234567+00:00"
    log:
      description: The last 20 lines of the log of that try, for the first three tasks. V(null) if not fetched.
      type: list
      elements: str
      sample: ["RuntimeError: the disk is full: /data"]
unfinished_tasks:
  description:
    - The task instances that had not ended after O(wait_timeout), at most 100. RV(diagnosis) says what they wait for.
  returned: if O(wait_timeout) was over before the run, and they could be asked for
  type: list
  elements: dict
  sample:
    - task_id: wait_for_file
      map_index: -1
      state: deferred
      pool: default_pool
timed_out:
  description: Whether O(wait_timeout) was over before the run.
  returned: O(wait=true) without O(runs)
  type: bool
  sample: false
in_doubt:
  description:
    - Whether it is not known if the run was made, or still will be. RV(dag_run) has its id then, and the same task with
      that O(run_id) finds out, and triggers it only if it was not.
  returned: where it is so, without O(runs)
  type: bool
  sample: true
outcomes:
  description:
    - What became of each of O(runs), in their order.
    - Each has C(changed), C(failed), C(dag_id), and what a task for that run alone would return, as RV(dag_run),
      RV(in_doubt), RV(failed_tasks) (of the first 20 runs that fail), RV(timed_out), RV(diagnosis) and C(msg).
  returned: with O(runs)
  type: list
  elements: dict
  sample:
    - changed: true
      failed: false
      dag_id: load_orders
      dag_run: {dag_id: load_orders, run_id: "ansible__2026-01-31T08:00:00+00:00__1f0c5f6ad3b2", state: success}
      failed_tasks: []
      timed_out: false
connections:
  description: How many runs were triggered at a time, at most.
  returned: with O(runs)
  type: int
  sample: 4
diagnosis:
  description: Why it did not work. With O(runs), why the first of those that went wrong did not.
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

from typing import TYPE_CHECKING, Any, Mapping

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.fleetops.airflow.plugins.module_utils import _compile_once  # pylint: disable=unused-import
from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.arguments import API_ARGUMENTS, API_RULES
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.connect import connect
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._module import api_options, need_requests, run_module
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.request import run_request, run_requests
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.trigger import Trigger

if TYPE_CHECKING:
    from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import Diagnosis


def run(module: AnsibleModule) -> dict[str, Any]:
    """Submit the run or the runs, wait if asked, and explain what fails on the way."""
    options = api_options(module)
    if options["runs"] is not None:
        return many(options, module.check_mode)
    wanted = run_request(options)
    api = connect(options)
    trigger = Trigger(api, wanted)
    try:
        trigger.submit(check_mode=module.check_mode)
        if wanted.waits and not module.check_mode:
            trigger.wait()
    except CallFailed as failure:
        raise _call_failed(api, trigger, _why(api, trigger, failure)) from None
    return trigger.result()


def many(options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The same for each of ``runs``; every one of them is in the result, whatever becomes of the others."""
    from ansible_collections.fleetops.airflow.plugins.module_utils._runs.batch import Batch

    wanted = run_requests(options)
    api = connect(options)
    batch = Batch(api, wanted)
    if wanted:
        batch.submit(check_mode)
    if options["wait"] and not check_mode:
        batch.wait()
    # By what failed and how: one rejection may have ended all runs, and is looked into once.
    reasons: dict[tuple[str, str, str | None] | int, Diagnosis] = {}
    outcomes = []
    failed = []
    for number, trigger in enumerate(batch.triggers):
        error = batch.failures.get(number)
        if isinstance(error, CallFailed):
            new = trigger.request.new
            key = (new.dag_id, str(error), error.said)
            if id(error) not in reasons:
                if key not in reasons:  # finding out may take requests, and one login more
                    reasons[key] = _why(api, trigger, error)
                reasons[id(error)] = reasons[key]
            error = _call_failed(api, trigger, reasons[id(error)])
        outcome = {"failed": error is not None, "dag_id": trigger.request.new.dag_id, **trigger.result()}
        if error is not None:
            outcome.update(error.details, msg=str(error))
            failed.append(outcome)
        outcomes.append(outcome)
    result = {"changed": any(outcome["changed"] for outcome in outcomes), "outcomes": outcomes}
    result["connections"] = batch.connections
    if failed:
        msg = f"{len(failed)} of {len(outcomes)} runs went wrong, which outcomes tells one by one. The first: "
        raise AirflowError(msg + failed[0]["msg"], diagnosis=failed[0].get("diagnosis"), **result)
    return result


def _why(api: Api, trigger: Trigger, failure: CallFailed) -> Diagnosis:
    from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.findings import explain
    from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import private_values

    new = trigger.request.new
    return explain(api, new.dag_id, failure, private_values(new.conf))


def _call_failed(api: Api, trigger: Trigger, why: Diagnosis) -> AirflowError:
    from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import error

    return error(f"{_what_failed(trigger, why)} at {api.base}", why, **trigger.result())


def _what_failed(trigger: Trigger, why: Diagnosis) -> str:
    """What a call that failed means for the requested run."""
    new = trigger.request.new
    if trigger.run is not None and why.code == "run_not_found":
        return f"Run {trigger.run.run_id!r} of DAG {new.dag_id!r} was there, and was deleted while it was waited for,"
    if trigger.run is not None:
        return f"Run {trigger.run.run_id!r} of DAG {new.dag_id!r} exists, but could not be waited for"
    if trigger.in_doubt:
        return (
            f"It is not known whether DAG {new.dag_id!r} was triggered (if so, as run_id {new.run_id!r}: "
            "the same task with that run_id will find out, and trigger it only if it was not)"
        )
    return f"DAG {new.dag_id!r} was not triggered"


_ONE_RUN: dict[str, Any] = {
    "run_id": {"type": "str", "aliases": ["dag_run_id"]},
    "conf": {"type": "dict"},
    "logical_date": {"type": "str", "aliases": ["execution_date"]},
    "note": {"type": "str"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **API_ARGUMENTS,
            "dag_id": {"type": "str"},
            **_ONE_RUN,
            "runs": {
                "type": "list",
                "elements": "dict",
                "options": {"dag_id": {"type": "str", "required": True}, **_ONE_RUN},
            },
            "if_paused": {"type": "str", "choices": ["fail", "unpause", "trigger"], "default": "fail"},
            "unless_running": {"type": "bool", "default": False},
            "wait": {"type": "bool", "default": False},
            "wait_timeout": {"type": "float", "default": 3600},
            "on_timeout": {"type": "str", "choices": ["leave", "fail_run"], "default": "leave"},
            "fail_on_failed_tasks": {"type": "bool", "default": False},
            "wait_interval": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
        required_one_of=[("dag_id", "runs")],
        mutually_exclusive=[(option, "runs") for option in ("dag_id", *_ONE_RUN)],
        **API_RULES,
    )
    need_requests(module)
    run_module(module, run)


if __name__ == "__main__":
    main()

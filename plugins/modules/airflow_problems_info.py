#!/usr/bin/python
# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_problems_info
short_description: List what is wrong with an Airflow over the REST API
version_added: 0.1.0
description:
  - Looks once at what the event source C(fleetops.airflow.airflow_events) watches, and lists what it would tell.
    Nothing is changed.
  - An API that does not answer, or a component that calls itself unhealthy, is looked at again for half a minute before
    it is listed, since it may be about to start.
  - The login is tried once. If it is refused on Airflow 2, it is tried once in the form of the web interface.
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
  name:
    description: What to call the API in RV(problems). If not given, O(url).
    type: str
  dag_ids:
    description:
      - The DAGs whose runs to look at. If not given, all that the user may read.
      - One that Airflow does not have is listed as a problem of the type C(dag_not_found).
    type: list
    elements: str
  failed_within:
    description: List runs that failed within so many seconds, and have not been rerun.
    type: float
    default: 3600
  running_after:
    description: After how many seconds a running run is stuck.
    type: float
    default: 21600
seealso:
  - module: fleetops.airflow.airflow_api_info
"""

EXAMPLES = r"""
- name: Find out what is wrong
  fleetops.airflow.airflow_problems_info:
    url: https://airflow.example.com
    username: watcher
    password: "{{ watcher_password }}"
  register: found
"""

RETURN = r"""
problems:
  description:
    - What is wrong, as the events of C(fleetops.airflow.airflow_events). C(type) is one of C(run_failed), C(run_stuck),
      C(import_error), C(component_unhealthy), C(api_unreachable) and C(credentials_refused).
    - Queued runs are listed only where their DAG is paused.
  returned: success
  type: list
  elements: dict
  sample:
    - api: production
      url: https://airflow.example.com
      type: component_unhealthy
      component: scheduler
      recovered: false
      since: "2026-01-31T08:00:00.000+00:00"
"""

import time
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.fleetops.airflow.plugins.module_utils import _compile_once  # pylint: disable=unused-import
from ansible_collections.fleetops.airflow.plugins.module_utils._api.arguments import API_ARGUMENTS, API_RULES
from ansible_collections.fleetops.airflow.plugins.module_utils._api.connect import connect
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._module import api_options, need_requests, run_module
from ansible_collections.fleetops.airflow.plugins.module_utils._watch.cursor import Memory
from ansible_collections.fleetops.airflow.plugins.module_utils._watch.watch import MARGIN, Limits
from ansible_collections.fleetops.airflow.plugins.module_utils._watch.watcher import Watcher

_PATIENCE = 120  # seconds
_LONGEST = 10 * 366 * 86400  # seconds


def run(module: AnsibleModule) -> dict[str, Any]:
    """Look, and again where something may be about to mend itself."""
    options = api_options(module)
    connect(options)  # or say what cannot be right
    for name in ("failed_within", "running_after"):
        if not 0 <= options[name] <= _LONGEST:
            raise AirflowError(f"{name} is {options[name]}: it must be a number of seconds from 0 to {_LONGEST}.")
    begin = datetime.now(timezone.utc) - timedelta(seconds=options["failed_within"])
    known = Memory({"since": (begin + MARGIN).isoformat()})
    limits = Limits(queued=0, running=options["running_after"])
    name = options["name"] or options["url"].rstrip("/")
    watcher = Watcher(name, lambda: options, known, limits, options["dag_ids"] or [])
    problems = watcher.step()
    # What begins and ends all the time is never told. Longer than anything else takes, it is not waited for.
    end = time.monotonic() + 2 * max(limits.unreachable, limits.unhealthy) + _PATIENCE
    while watcher.has_more or (watcher.is_waiting and time.monotonic() < end):
        if not watcher.has_more:
            time.sleep(watcher.pause)
        problems = watcher.step()
    over = {one["id"] for one in problems if one["recovered"]}
    return {
        "changed": False,
        "problems": [one for one in problems if _counts(one) and one["id"] + " recovered" not in over],
    }


def _counts(problem: dict[str, Any]) -> bool:
    """Whether it is one: a run that is queued may be about to start, unless nothing starts it."""
    if problem["recovered"]:
        return False
    return problem["type"] != "run_stuck" or problem["state"] == "running" or bool(problem["dag_paused"])


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **API_ARGUMENTS,
            "name": {"type": "str"},
            "dag_ids": {"type": "list", "elements": "str"},
            "failed_within": {"type": "float", "default": 3600},
            "running_after": {"type": "float", "default": 21600},
        },
        supports_check_mode=True,
        **API_RULES,
    )
    need_requests(module)
    run_module(module, run)


if __name__ == "__main__":
    main()

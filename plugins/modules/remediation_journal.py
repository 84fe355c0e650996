#!/usr/bin/python
# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: remediation_journal
short_description: Write down what is done to mend an Airflow, and stop a rule that acts too often
version_added: 0.1.0
description:
  - Adds a line to C(journal.jsonl) in a folder, a JSON object with who did what to what, why, and what was before and
    after. The role P(fleetops.airflow.remediate#role) writes one before each thing that it does, and one after it.
  - Counts how often a rule has acted, in C(limits.json) beside it, so that the limit holds across restarts.
  - Both files are for their owner alone. Do not give it anything secret.
author:
  - fleetops.airflow contributors (@fleetops)
extends_documentation_fragment:
  - fleetops.airflow.attributes
attributes:
  check_mode:
    support: full
    details: Nothing is written down or counted, and RV(allowed) is as it would be.
  diff_mode:
    support: none
  idempotent:
    support: none
    details: Each task is one more line.
options:
  folder:
    description: The folder of the journal. It is made if it is not there.
    type: path
    required: true
  step:
    description:
      - V(begin) is before something is done, and asks whether it may be done.
      - V(end) is after it, and V(note) is anything else.
    type: str
    choices: [begin, end, note]
    default: note
  rule:
    description: The rule that acts.
    type: str
    required: true
  subject:
    description: What it acts on. A limit is for a rule and a subject.
    type: str
    required: true
  action:
    description: What is done, in a few words.
    type: str
  who:
    description: Who does it.
    type: str
  why:
    description: The reason.
    type: str
  before:
    description: What was before.
    type: raw
  after:
    description: What is afterwards.
    type: raw
  outcome:
    description: How it ended.
    type: str
  limit:
    description:
      - With O(step=begin), how often the rule may act on the subject within O(window). No limit if not given.
      - V(0) switches the rule off.
    type: int
  window:
    description:
      - The seconds for which O(limit) is, above 0 and at most 604800 (a week).
      - If the clock was set back, what lies in the future counts as done now. So a rule stops for O(window) at most.
    type: float
    default: 3600
seealso:
  - name: Remediation
    description: What the rules do, what they never do, and how to stop them.
    link: https://github.com/fleetops/ansible-airflow/tree/main/docs/remediation.md
"""

EXAMPLES = r"""
- name: Ask whether the run may be rerun
  fleetops.airflow.remediation_journal:
    folder: /var/lib/airflow-remediation
    step: begin
    rule: rerun
    subject: production load_orders
    action: rerun the failed tasks of scheduled__2026-01-31
    who: the night shift
    limit: 3
  register: begun
"""

RETURN = r"""
allowed:
  description: Whether it may be done. V(false) if that was done O(limit) times already, or O(limit) is V(0).
  returned: success
  type: bool
  sample: true
count:
  description: How often the rule had acted on the subject within O(window), before this.
  returned: O(step=begin)
  type: int
  sample: 1
reason:
  description: Why it may not be done. V(null) if it may.
  returned: success
  type: str
  sample: rerun has acted on production load_orders 3 times within 3600 seconds, and stops there
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.fleetops.airflow.plugins.module_utils import _compile_once  # pylint: disable=unused-import
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._module import run_module
from ansible_collections.fleetops.airflow.plugins.module_utils._watch.journal import LONGEST_WINDOW, Journal

_ENTRY = ("rule", "subject", "action", "who", "why", "before", "after", "outcome")


def run(module: AnsibleModule) -> dict[str, Any]:
    """Write a line, and count."""
    options = module.params
    journal = Journal(options["folder"])
    entry = {name: options[name] for name in _ENTRY if options[name] is not None}
    if options["step"] != "begin":
        if not module.check_mode:
            journal.write({**entry, "step": options["step"]})
        return {"changed": True, "allowed": True, "reason": None}
    limit, window = options["limit"], options["window"]
    if not 0 < window <= LONGEST_WINDOW:
        raise AirflowError(f"window is {window:g}: it must be above 0 and at most {LONGEST_WINDOW:g} seconds (a week).")
    if limit is not None and limit < 0:
        raise AirflowError(f"limit is {limit}: it must be 0, which switches the rule off, or more.")
    if module.check_mode:
        count = journal.count(entry["rule"], entry["subject"], window)
        allowed = limit is None or count < limit
    else:
        allowed, count = journal.begin(entry, limit, window)
    reason = None
    if limit == 0:
        reason = f"{entry['rule']} is switched off (its limit is 0), and did nothing to {entry['subject']}"
    elif not allowed:
        reason = f"{entry['rule']} has acted on {entry['subject']} {count} times within {window:g} seconds"
        reason += ", and stops there"
    return {"changed": True, "allowed": allowed, "count": count, "reason": reason}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "step": {"type": "str", "choices": ["begin", "end", "note"], "default": "note"},
            "rule": {"type": "str", "required": True},
            "subject": {"type": "str", "required": True},
            "action": {"type": "str"},
            "who": {"type": "str"},
            "why": {"type": "str"},
            "before": {"type": "raw"},
            "after": {"type": "raw"},
            "outcome": {"type": "str"},
            "limit": {"type": "int"},
            "window": {"type": "float", "default": 3600},
        },
        supports_check_mode=True,
    )
    run_module(module, run)


if __name__ == "__main__":
    main()

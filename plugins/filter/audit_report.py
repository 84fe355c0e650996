# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a report of what airflow_api_auth_info returned of many hosts, with what has changed since the last one."""

from __future__ import annotations

from typing import Any, Callable, Collection, Mapping

from ansible_collections.fleetops.airflow.plugins.plugin_utils._audit.changes import report_of

DOCUMENTATION = r"""
name: audit_report
short_description: Report what airflow_api_auth_info returned of many hosts, and what changed since the last report
version_added: 0.1.0
author:
  - fleetops.airflow contributors (@fleetops)
description:
  - Returns what the role P(fleetops.airflow.audit#role) writes into C(airflow-audit.json).
positional: _input
options:
  _input:
    description:
      - Host names with what M(fleetops.airflow.airflow_api_auth_info) returned there, failures included.
    type: dict
    required: true
  written:
    description: The time of the report, as it is shown.
    type: str
    required: true
  previous:
    description: The text of an earlier report. Without it nothing is compared.
    type: str
  inventory:
    description: The names of all hosts. Hosts of the earlier report that are not among them are reported as removed.
    type: list
    elements: str
seealso:
  - plugin: fleetops.airflow.audit
    plugin_type: filter
  - plugin: fleetops.airflow.audit_page
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show the hosts that are worse than in the last report
  ansible.builtin.debug:
    msg: "{{ report.hosts | selectattr('change.kind', 'equalto', 'worse') | map(attribute='host') }}"
  vars:
    last: "{{ lookup('ansible.builtin.file', 'airflow-audit.json') }}"
    report: "{{ results | fleetops.airflow.audit_report(written='today', previous=last) }}"
"""

RETURN = r"""
_value:
  description:
    - C(format) is the version of this form, C(written) the time of the report, and C(compared_with) that of the earlier
      one. C(not_compared) is why there is no comparison, V(null) if there is one, or if no earlier report was given.
      C(summary) are sentences with the number of hosts of each level and of each change.
    - C(hosts) are as P(fleetops.airflow.audit#filter) returns them, with C(audited), the time, and C(change), V(null)
      without a comparison.
    - C(change) has C(kind), which is V(worse), V(better), V(changed), V(new) or V(same), the earlier C(level), and
      C(since), the time of the earlier result. C(new), C(resolved) and C(not_checked) are findings. The last ones were
      there before, and this time it could not be determined whether they still are. C(facts) are other values that
      changed.
    - C(not_asked) are hosts of earlier reports that this one does not have, such as those that C(--limit) left out.
      C(removed) are those that the inventory no longer has.
  type: dict
"""


def audit_report(
    results: Mapping[str, Any], written: str, previous: str | None = None, inventory: Collection[str] | None = None
) -> dict[str, Any]:
    """The report, as it is written for programs."""
    return report_of(results, written, previous, inventory)


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by their names."""
        return {"audit_report": audit_report}

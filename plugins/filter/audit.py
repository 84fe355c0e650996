# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges what airflow_api_auth_info returned of many hosts."""

from __future__ import annotations

from typing import Any, Callable, Mapping

from ansible_collections.fleetops.airflow.plugins.plugin_utils._audit.findings import rows_of

DOCUMENTATION = r"""
name: audit
short_description: Sort what airflow_api_auth_info returned of many hosts by danger
version_added: 0.1.0
author:
  - fleetops.airflow contributors (@fleetops)
description:
  - Returns a level and the findings of each host, the most dangerous host first.
  - V(danger) is a host that accepts requests without credentials. V(unknown) is one of which that could not be
    determined, so it may be dangerous as well. V(warning) is one with dangerous settings, V(attention) one where what
    is configured is not what is in force. V(fine) is all the rest.
  - Of one level, hosts with more or worse findings come first, then hosts with the same findings together.
  - A result that is not one of the module makes the host V(unknown). Control characters and symbols in texts are
    replaced by their numbers, and long texts are cut off.
positional: _input
options:
  _input:
    description:
      - Host names with what M(fleetops.airflow.airflow_api_auth_info) returned there, failures included.
    type: dict
    required: true
seealso:
  - plugin: fleetops.airflow.audit_report
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show the host that needs attention first
  ansible.builtin.debug:
    msg: "{{ {'host1': result1, 'host2': result2} | fleetops.airflow.audit | first }}"
"""

RETURN = r"""
_value:
  description:
    - A dictionary for each host. Besides what M(fleetops.airflow.airflow_api_auth_info) returns it has C(host),
      C(level), C(findings) and C(reasons).
    - C(findings) are dictionaries with C(code), C(severity), which is one of the levels, and C(text), the worst first.
      C(reasons) has their texts alone.
  type: list
  elements: dict
"""


def audit(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The hosts, the most dangerous first."""
    return rows_of(results)


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by their names."""
        return {"audit": audit}

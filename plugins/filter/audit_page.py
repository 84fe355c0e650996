# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lays out a report for the page of the role audit."""

from __future__ import annotations

from typing import Any, Callable, Mapping

from ansible_collections.fleetops.airflow.plugins.plugin_utils._audit.page import page_of

DOCUMENTATION = r"""
name: audit_page
short_description: Lay out a report of audit_report for an HTML page
version_added: 0.1.0
author:
  - fleetops.airflow contributors (@fleetops)
description:
  - Made for the template of the role P(fleetops.airflow.audit#role). What it returns may change in any release.
positional: _input
options:
  _input:
    description:
      - What P(fleetops.airflow.audit_report#filter) returns.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show which columns are the same on all hosts, so that the page does not show them
  ansible.builtin.debug:
    msg: "{{ (report | fleetops.airflow.audit_page).folded }}"
"""

RETURN = r"""
_value:
  description:
    - The filters of the page with the number of hosts of each, its columns, and the hosts. Values whose name is C(html)
      are escaped, all others are not.
  type: dict
"""


def audit_page(report: Mapping[str, Any]) -> dict[str, Any]:
    """The page, as its template lays it out."""
    return page_of(report)


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by their names."""
        return {"audit_page": audit_page}

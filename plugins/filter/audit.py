# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges what airflow_api_auth_info told of many hosts, for the playbook fleetops.airflow.audit."""

from __future__ import annotations

from typing import Any, Callable, Mapping

DOCUMENTATION = r"""
name: audit
short_description: Sort what airflow_api_auth_info told of many hosts by danger
version_added: 0.1.0
author:
  - fleetops.airflow contributors (@fleetops)
description:
  - Gives each host a level and the reasons for it, the most dangerous first.
  - V(danger) is a host that answers requests without a password. V(unknown) is one of which nothing could be told,
    so it may be anything. V(warning) is one with settings that are dangerous, V(attention) one where what is configured
    is not what is in force. V(fine) is all the rest.
positional: _input
options:
  _input:
    description:
      - Host names with what M(fleetops.airflow.airflow_api_auth_info) returned there, failures included.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the host that needs somebody first
  ansible.builtin.debug:
    msg: "{{ {'host1': result1, 'host2': result2} | fleetops.airflow.audit | first }}"
"""

RETURN = r"""
_value:
  description:
    - A dictionary for each host. Besides what M(fleetops.airflow.airflow_api_auth_info) returns it has C(host),
      C(level) and C(reasons), a list of sentences.
  type: list
  elements: dict
"""

LEVELS = ("danger", "unknown", "warning", "attention", "fine")
# What of a result is shown; none of it is secret.
_SHOWN = (
    *("airflow_version", "path", "section", "option", "configured", "source", "overridden_by", "effective", "in_force"),
    *("restart_pending", "restart_reason", "takes_passwords", "open_to_everybody", "public_role", "server"),
    "warnings_found",
)


def audit(results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The hosts, the most dangerous first, hosts of one level by their names."""
    rows = [_row(host, result) for host, result in results.items()]
    return sorted(rows, key=lambda row: (LEVELS.index(row["level"]), row["host"]))


def _row(host: str, result: Mapping[str, Any]) -> dict[str, Any]:
    if result.get("failed") or result.get("unreachable") or "airflow_version" not in result:
        said = str(result.get("msg") or "it was not asked").strip()
        kind = "The host cannot be reached" if result.get("unreachable") else "Nothing could be told of it"
        return {"host": host, "level": "unknown", "reasons": ["%s: %s" % (kind, said)], **dict.fromkeys(_SHOWN)}
    danger = ["Whoever reaches the server may read its DAGs without a password."] if result["open_to_everybody"] else []
    warnings = list(result["warnings_found"])
    attention = list(_attention(result))
    level = "danger" if danger else "warning" if warnings else "attention" if attention else "fine"
    shown = {name: result.get(name) for name in _SHOWN}
    return {"host": host, "level": level, "reasons": [*danger, *warnings, *attention], **shown}


def _attention(result: Mapping[str, Any]) -> list[str]:
    found = []
    server = result["server"]
    if not server:
        found.append("No running server was found.")
    elif server["health"] != "healthy":
        found.append("The server is %s." % server["health"])
    if result["restart_pending"]:
        found.append("A restart is pending: %s." % result["restart_reason"])
    if result["overridden_by"]:
        found.append("%s in the server's environment beats the file." % result["overridden_by"])
    return found


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by their names."""
        return {"audit": audit}

# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names auth backends of any Airflow version alike, so that lists of them can be compared."""

from __future__ import annotations

from typing import Any, Callable, Iterable

from ansible_collections.fleetops.airflow.plugins.module_utils._releases import backend_name

DOCUMENTATION = r"""
name: auth_backend_names
short_description: Name auth backends of any Airflow version alike
version_added: 0.1.0
author:
  - fleetops.airflow contributors (@fleetops)
description:
  - Returns the short name of each auth backend of Airflow, whichever of its paths is given. It is that of
    O(fleetops.airflow.airflow_api_auth#module:backends).
  - Returns any other backend by its path, also if the last word of that is a short name.
positional: _input
options:
  _input:
    description: Short names or dotted paths, such as RV(fleetops.airflow.airflow_api_auth_info#module:effective).
    type: list
    elements: str
    required: true
seealso:
  - module: fleetops.airflow.airflow_api_auth_info
"""

EXAMPLES = r"""
- name: Check that the server takes Kerberos tickets
  ansible.builtin.assert:
    that: "'kerberos_auth' in found.effective | fleetops.airflow.auth_backend_names"
"""

RETURN = r"""
_value:
  description: The names, in the same order.
  type: list
  elements: str
  sample: [basic_auth, session, company.auth.basic_auth]
"""


def auth_backend_names(paths: Iterable[str]) -> list[str]:
    """The names."""
    return [backend_name(str(path)) for path in paths]


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by their names."""
        return {"auth_backend_names": auth_backend_names}

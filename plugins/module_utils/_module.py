# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge between Ansible and the collection: shared options, and where errors become results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def run_module(module: AnsibleModule, story: Callable[[AnsibleModule], dict[str, Any]]) -> None:
    """Run ``story`` and end the module with its result, or with the error it raised.

    Only AirflowError is caught: anything else is a defect, and its traceback belongs in the report.
    """
    try:
        result = story(module)
    except AirflowError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(**result)

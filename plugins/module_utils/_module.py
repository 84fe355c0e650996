# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge between Ansible and the collection: what is taken from a module, and where errors become results."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any, Callable

from ansible.module_utils.basic import missing_required_lib
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


def need_requests(module: AnsibleModule) -> None:
    """Go on only where requests can be imported: here, or started again by an interpreter that has it."""
    if importlib.util.find_spec("requests"):
        return
    from ansible.module_utils.common.respawn import (
        has_respawned,
        probe_interpreters_for_module,
        respawn_module,
    )

    if not has_respawned():
        interpreter = probe_interpreters_for_module(_interpreters(), "requests")
        if interpreter:
            respawn_module(interpreter)  # ends this process
    module.fail_json(msg=missing_required_lib("requests"))


def _interpreters() -> list[str]:
    """Interpreters likely to have requests, the one that runs Airflow among them."""
    from ansible_collections.fleetops.airflow.plugins.module_utils._host.installation import (
        find_executable,
        interpreter_of,
    )

    found = ["/usr/bin/python3", "/usr/libexec/platform-python", "/usr/local/bin/python3"]
    airflow = find_executable(None, os.environ)
    airflow_python = interpreter_of(airflow) if airflow else None
    return [airflow_python, *found] if airflow_python else found


def take_options(module: AnsibleModule, sections: dict[str, Any]) -> dict[str, Any]:
    """Options of airflow.cfg out of a parameter, which then no longer shows those whose names say that they are secret.

    :param sections: section -> option -> value, a part of ``module.params``; changed.
    :returns: a copy as it was.
    """
    from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import HIDDEN, is_secret_name

    taken = {section: dict(options) if isinstance(options, dict) else options for section, options in sections.items()}
    for options in sections.values():
        secret = [option for option in options if is_secret_name(str(option))] if isinstance(options, dict) else []
        for option in secret:
            value = str(options[option])
            if options[option] is not None:
                options[option] = HIDDEN
            if len(value) >= 4:  # a shorter one would spoil every text
                module.no_log_values.add(value)
    return taken


def api_options(module: AnsibleModule) -> dict[str, Any]:
    """The parameters of a module with API_ARGUMENTS, which then no longer shows what nobody is to read.

    That is the values of ``headers``, and a login that somebody wrote into ``url``.
    """
    options = dict(module.params)
    headers = options["headers"] or {}
    with_login = [name for name in ("url", "api_url") if "@" in (module.params.get(name) or "")]
    if not headers and not with_login:
        return options
    from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import HIDDEN

    module.params.update(dict.fromkeys(with_login, HIDDEN))
    module.params["headers"] = dict.fromkeys(headers, HIDDEN)
    # Ansible blanks them wherever they stand, and one such as "1" would spoil every text.
    secrets = {options["password"], options["token"]}
    module.no_log_values -= {str(value) for value in headers.values() if len(str(value)) < 4} - secrets
    return options

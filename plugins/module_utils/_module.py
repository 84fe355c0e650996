# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge between Ansible and the collection: what is taken from a module, and where errors become results."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any, Callable, Iterator

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError, options, secrets

if TYPE_CHECKING:
    import re

    from ansible.module_utils.basic import AnsibleModule


def run_module(module: AnsibleModule, story: Callable[[AnsibleModule], dict[str, Any]]) -> None:
    """Run ``story`` and end the module with its result, or with the error it raised.

    Only AirflowError is caught: anything else is a defect, and its traceback belongs in the report.
    """
    secrets.append(lambda: module.no_log_values)
    options.update(module.argument_spec)
    try:
        result = story(module)
    except AirflowError as error:
        module.fail_json(**_spared(module, {**error.details, "msg": str(error)}))
    module.exit_json(**_spared(module, result))


# What other tasks, rules and roles use of a result.
_IDENTIFIERS = (
    *("api", "api_version", "code", "dag_id", "generation", "id", "logical_date", "name", "path", "release", "run_id"),
    *("run_type", "state", "task_id", "tasks", "type", "url", "start_date", "end_date", "pool", "running_task"),
    *("metadatabase", "scheduler", "triggerer", "dag_processor"),  # whose states a health page has
)
_COMMON_WORD = r"[A-Za-z0-9_.-]{1,20}\Z"


def _spared(module: AnsibleModule, result: dict[str, Any]) -> dict[str, Any]:
    """The result, in which a password that is a common word, such as airflow or admin, spoils no identifier.

    Ansible blanks such a word wherever it stands. Where it stands in an identifier, that would break what uses the
    result. So Ansible does not do it then, and the word is blanked here where it stands by itself.
    """
    import re

    values = {value for value in module.no_log_values if re.match(_COMMON_WORD, value)}
    common = {value for value in values if any(value in text for text in _identifiers(result))}
    if not common:
        return result
    module.no_log_values -= common
    for name, value in module.params.items():
        if isinstance(value, str) and value in common and module.argument_spec.get(name, {}).get("no_log"):
            module.params[name] = "********"
    word = re.compile(
        r"(?<![\w./-])(?:%s)(?![\w/-]|\.\w)" % "|".join(sorted(map(re.escape, common), key=len, reverse=True))
    )
    module.params.update(_blanked(module.params, word, ""))  # which Ansible shows with -vvv
    return {name: _blanked(value, word, name) for name, value in result.items()}


def _identifiers(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key != "conf":
                yield from _identifiers(inner, key)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _identifiers(inner, name)
    elif isinstance(value, str) and name in _IDENTIFIERS:
        yield value


def _blanked(value: Any, word: re.Pattern[str], name: str) -> Any:
    if isinstance(value, dict):
        # What stands in conf is the user's, whatever it is called.
        return {key: _blanked(inner, word, "conf" if "conf" in (key, name) else key) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_blanked(inner, word, name) for inner in value]
    return word.sub("********", value) if isinstance(value, str) and name not in _IDENTIFIERS else value


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
    from ansible_collections.fleetops.airflow.plugins.module_utils._host.trust import writable_by_others

    found = ["/usr/bin/python3", "/usr/libexec/platform-python", "/usr/local/bin/python3"]
    airflow = find_executable(None, os.environ)
    airflow_python = interpreter_of(airflow) if airflow else None
    if airflow_python and (os.geteuid() != 0 or not writable_by_others(airflow_python)):
        found.insert(0, airflow_python)  # as root, only where nobody else can change what is run
    return found


def take_options(module: AnsibleModule, sections: dict[str, Any]) -> dict[str, Any]:
    """Options of airflow.cfg out of a parameter, which then no longer shows those whose names say that they are secret,
    nor what is not an option with a value: a section may have been forgotten, or a level be too many.

    :param sections: section -> option -> value, a part of ``module.params``; changed.
    :returns: a copy as it was.
    """
    from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import is_secret_name

    taken = {section: dict(values) if isinstance(values, dict) else values for section, values in sections.items()}
    hidden: list[str] = []
    secrets.append(lambda: hidden)
    for section, values in sections.items():
        if not isinstance(values, dict):
            sections[section] = _hide(values, hidden)
            continue
        for option, value in values.items():
            if is_secret_name(str(option)) or isinstance(value, (dict, list)):
                values[option] = _hide(value, hidden)
    # Ansible blanks these wherever they stand, and a shorter one would spoil every text.
    module.no_log_values |= {value for value in hidden if len(value) >= 4}
    return taken


def _hide(value: Any, hidden: list[str]) -> Any:
    """The same in its shape, without what it holds.

    :param hidden: gets that.
    """
    if isinstance(value, dict):
        return {name: _hide(inner, hidden) for name, inner in value.items()}
    if isinstance(value, list):
        return [_hide(inner, hidden) for inner in value]
    if value is None or isinstance(value, bool):
        return value
    hidden.append(str(value))
    return "********"


def api_options(module: AnsibleModule) -> dict[str, Any]:
    """The parameters of a module with API_ARGUMENTS, which then no longer shows what nobody is to read.

    That is the values of ``headers``, and a login that somebody wrote into ``url``.
    """
    given = dict(module.params)
    headers = given["headers"] or {}
    with_login = [name for name in ("url", "api_url") if "@" in (module.params.get(name) or "")]
    if not headers and not with_login:
        return given
    from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import HIDDEN

    module.params.update(dict.fromkeys(with_login, HIDDEN))
    module.params["headers"] = dict.fromkeys(headers, HIDDEN)
    # Ansible blanks them wherever they stand, and one such as "1" would spoil every text.
    secrets = {given["password"], given["token"]}
    module.no_log_values -= {str(value) for value in headers.values() if len(str(value)) < 4} - secrets
    return given

# SPDX-License-Identifier: GPL-3.0-or-later
"""Values with which Airflow would not start, or could not be reached, found before they are written. Pure."""

from __future__ import annotations

import re
from typing import Callable
from urllib.parse import urlsplit

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import Setting, is_host, is_port
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

_HOSTS = ("web_server_host", "host")


def validate_values(settings: list[Setting], after: Cfg) -> None:
    """
    :param after: the file with the settings.
    :raises AirflowError: if a value is one that Airflow cannot read. The value is not quoted: it may be a secret.
    """
    for setting in settings:
        if setting.value:
            problem = _problem(setting, setting.value, after)
            if problem:
                raise AirflowError("%s: %s Nothing was changed." % (setting.name, problem))


def _problem(setting: Setting, value: str, after: Cfg) -> str | None:
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]", value):
        return "The value holds a control character, which the file cannot hold. Remove it."
    return _of_percent_signs(setting, value, after) or _of_the_kind(setting.option, value)


def _of_percent_signs(setting: Setting, value: str, after: Cfg) -> str | None:
    """What configparser, with which Airflow reads the file, would refuse."""
    rest = value.replace("%%", "")
    for position in (match.start() for match in re.finditer("%", rest)):
        reference = re.match(r"%\(([^)]+)\)s", rest[position:])
        if not reference:
            return (
                "The value holds a percent sign by itself, with which Airflow does not start. Write %% for each "
                "percent sign that is meant."
            )
        name = reference.group(1).lower()
        if after.get(setting.section, name) is None:
            return (
                "The value refers to the option %s, which [%s] does not have. Write %%%% for a percent sign that is "
                "meant." % (name, setting.section)
            )
    return None


def _of_the_kind(option: str, value: str) -> str | None:
    check: Callable[[str], bool]
    if "%(" in value or value.startswith("$"):
        return None  # known only when it is read
    if option == "port" or option.endswith("_port"):
        check, kind = is_port, "a port: a number from 1 to 65535"
    elif option == "base_url":
        check, kind = is_url, "an http:// or https:// URL with a host, in ASCII"
    elif option in _HOSTS:
        check, kind = is_host, "the name or the address of a host"
    else:
        return None
    return None if check(value) else "The value is not %s." % kind


def is_url(value: str) -> bool:
    """One that a request can be sent to."""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return False
    in_ascii = bool(re.match(r"[!-~]+\Z", value))
    return in_ascii and parts.scheme in ("http", "https") and is_host(parts.hostname or "") and port != 0

# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the modules that run on an Airflow host, as records: which host, how to change it."""

from __future__ import annotations

import os
from typing import Any, Mapping

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.health import Tls, check_url
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record
from ansible_collections.fleetops.airflow.plugins.module_utils._services.names import ServiceChoice

# What doc_fragments/host.py documents.
HOST_ARGUMENTS: dict[str, dict[str, Any]] = {
    "path": {"type": "path", "aliases": ["config_file"]},
    "airflow_home": {"type": "path"},
    "airflow_version": {"type": "str"},
    "airflow_executable": {"type": "path"},
    "url": {"type": "str"},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
}
# What doc_fragments/converge.py documents.
CONVERGE_ARGUMENTS: dict[str, dict[str, Any]] = {
    "restart": {"type": "str", "choices": ["when_needed", "never", "always"], "default": "when_needed"},
    "service": {"type": "list", "elements": "str"},
    "service_manager": {
        "type": "str",
        "choices": ["auto", "systemd", "supervisor", "sysvinit", "command"],
        "default": "auto",
    },
    "restart_command": {"type": "str"},
    "health_timeout": {"type": "int", "default": 120},
    "rollback": {"type": "bool", "default": True},
    "backup": {"type": "bool", "default": False},
}
# Passed to AnsibleModule with them.
CONVERGE_RULES: dict[str, Any] = {
    "required_if": [
        ("service_manager", "sysvinit", ["service"]),
        ("service_manager", "command", ["restart_command"]),
    ],
}


class Target(Record):
    """Which airflow.cfg, server and version of this host a task means. None: not given."""

    path: str | None = None
    airflow_home: str | None = None
    airflow_version: str | None = None
    airflow_executable: str | None = None
    url: str | None = None  # of the server
    tls: Tls = Tls()
    services: ServiceChoice = ServiceChoice()


class ChangePolicy(Record):
    """How a task restarts the server, and what happens to its change if the server does not become healthy."""

    restart: str = "when_needed"  # or never, always
    health_timeout: int = 120  # seconds
    rollback: bool = True
    backup: bool = False  # whether to keep a copy of the file


class Login(Record):
    """A username and a password that the server has to accept."""

    username: str
    password: str


def target_of(parameters: Mapping[str, Any]) -> Target:
    """The record of HOST_ARGUMENTS, and of the options about services if the module has them.

    :raises AirflowError: if one of them is wrong by itself, or two of them contradict each other.
    """
    if parameters["url"]:
        check_url(parameters["url"])
    if parameters["ca_path"] and not os.path.isfile(parameters["ca_path"]):
        raise AirflowError("ca_path %s is no file on this host." % parameters["ca_path"])
    # Not by mutually_exclusive, for which an explicit null counts as given.
    for one, other in (("path", "airflow_home"), ("service", "restart_command")):
        if parameters.get(one) and parameters.get(other):
            raise AirflowError("%s and %s are both given. Leave one out." % (one, other))
    return Target(
        path=parameters["path"] or None,
        airflow_home=parameters["airflow_home"] or None,
        airflow_version=parameters["airflow_version"] or None,
        airflow_executable=parameters["airflow_executable"] or None,
        url=parameters["url"] or None,
        tls=Tls(parameters["validate_certs"], parameters["ca_path"]),
        services=ServiceChoice(
            names=tuple(parameters.get("service") or ()),
            manager=parameters.get("service_manager") or "auto",
            restart_command=parameters.get("restart_command") or None,
        ),
    )


def change_policy_of(parameters: Mapping[str, Any]) -> ChangePolicy:
    """The record of those CONVERGE_ARGUMENTS that do not say which services are meant.

    :raises AirflowError: if one of them is wrong by itself.
    """
    if parameters["health_timeout"] < 1:
        raise AirflowError("health_timeout is %d. It has to be at least 1 second." % parameters["health_timeout"])
    return ChangePolicy(*(parameters[name] for name in ChangePolicy._fields))

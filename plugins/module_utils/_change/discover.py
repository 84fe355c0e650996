# SPDX-License-Identifier: GPL-3.0-or-later
"""Find out which airflow.cfg, which server and which release of a host a task means."""

from __future__ import annotations

import os

from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import Target
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host, ServiceDefinition
from ansible_collections.fleetops.airflow.plugins.module_utils._host.installation import (
    airflow_home,
    config_path,
    find_executable,
    interpreter_of,
    version_beside,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import Server, running_servers
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import SERVER_COMMANDS, family_of
from ansible_collections.fleetops.airflow.plugins.module_utils._services.names import names_of

_NO_SERVICE = ServiceDefinition("the service", [], {}, None)


def discover(target: Target) -> Host:
    """Look at this host, without starting a program.

    :raises AirflowError: if it cannot be told which file, which server or which release is meant.
    """
    servers = running_servers()
    given, services = _given_path(target), target.services.names
    chosen = _pick(servers, given, services)
    server = chosen[0] if chosen else None
    service = _NO_SERVICE
    if services and not server:
        from ansible_collections.fleetops.airflow.plugins.module_utils._services.services import (
            definition_of,
            service_named,
            validate_file_of,
        )

        kind, real_path = target.services.manager, os.path.realpath(given or "")
        named = [service_named(name, kind, real_path) for name in services]
        for known in named:
            validate_file_of(known, servers, given)
        definitions = [definition_of(known) for known in named]
        service = next((one for one in definitions if set(one.arguments) & set(SERVER_COMMANDS)), definitions[0])
    path = given or (server.cfg_path if server else _path_of(service))
    if not os.path.isfile(path):
        raise AirflowError(
            "%s is no file on this host. Name Airflow's configuration file with path, or its folder with "
            "airflow_home.%s" % (path, _list(servers))
        )
    interpreter = _interpreter(target.airflow_executable, server, service.arguments)
    version = target.airflow_version or (version_beside(interpreter) if interpreter else None)
    if not version:
        raise AirflowError(
            "Cannot tell which Airflow release reads %s: its server does not run, and no airflow program with its "
            "package beside it is on PATH. Name the program with airflow_executable, the service that runs it with "
            "service, or the release with airflow_version." % path
        )
    return Host(
        path=path,
        real_path=os.path.realpath(path),
        home=server.home if server else _home(target.airflow_home, path, service),
        version=version,
        family=family_of(version),
        interpreter=interpreter,
        servers=chosen,
        bystanders=[one for one in servers if one not in chosen and one.cfg_path == os.path.realpath(path)],
        others=[one for one in servers if one.cfg_path != os.path.realpath(path)],
        service_names=names_of(server) if server else set(),
        service=service,
    )


def _path_of(service: ServiceDefinition) -> str:
    """The file that a service reads by its own environment, else the one that Airflow would read in ours."""
    if "AIRFLOW_HOME" in service.environment or "AIRFLOW_CONFIG" in service.environment:
        return config_path(service.environment, os.path.expanduser("~" + (service.user or "")))
    return config_path(os.environ, os.path.expanduser("~"))


def _given_path(target: Target) -> str | None:
    if target.path:
        return os.path.abspath(os.path.expanduser(target.path))
    if target.airflow_home:
        return os.path.join(os.path.abspath(os.path.expanduser(target.airflow_home)), "airflow.cfg")
    return None


def _pick(servers: list[Server], path: str | None, services: tuple[str, ...]) -> list[Server]:
    """The servers that the task means: by their services, by the file they read, or because there is only one.

    :raises AirflowError: if that may be several and no service says that all are meant, or if they read several files.
    """
    chosen = servers
    if services:
        chosen = [server for server in servers if names_of(server) & set(services)]
    by_service = bool(services and chosen)
    if path and not chosen:  # started by something that does not know the name
        chosen = servers
    if path:
        chosen = [server for server in chosen if server.cfg_path == os.path.realpath(path)]
    if len({server.cfg_path for server in chosen}) > 1 or (len(chosen) > 1 and not by_service):
        raise AirflowError(
            "Several servers of Airflow run on this host. Say with path, airflow_home or service which one is "
            "meant.%s" % _list(chosen)
        )
    return chosen


def _interpreter(executable: str | None, server: Server | None, arguments: list[str]) -> str | None:
    if server and not executable:
        return server.interpreter
    in_service = next((word for word in arguments[:3] if os.path.basename(word) == "airflow"), None)
    program = find_executable(executable or in_service, os.environ)
    return interpreter_of(program) if program else None


def _home(given: str | None, path: str, service: ServiceDefinition) -> str:
    if given:
        return os.path.abspath(os.path.expanduser(given))
    for environment in (service.environment, os.environ):
        if config_path(environment, os.path.expanduser("~")) == path:
            return airflow_home(environment, os.path.expanduser("~"))
    return os.path.dirname(path)


def _list(servers: list[Server]) -> str:
    return " Running here: %s." % "; ".join(map(str, servers)) if servers else ""

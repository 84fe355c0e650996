# SPDX-License-Identifier: GPL-3.0-or-later
"""One host as a task meets it: its airflow.cfg, its release, its server, and how that is restarted."""

from __future__ import annotations

import os
from typing import Any, Mapping, NamedTuple

from ansible_collections.fleetops.airflow.plugins.module_utils import _health, _managers, _proc
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._installation import (
    airflow_home,
    config_path,
    find_executable,
    interpreter_of,
    version_beside,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import Era, era_of
from ansible_collections.fleetops.airflow.plugins.module_utils._server import (
    Server,
    running_servers,
)

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


class Host(NamedTuple):
    path: str  # airflow.cfg as the user knows it
    real_path: str  # the same without symbolic links: what is replaced
    home: str
    version: str
    era: Era
    interpreter: str | None
    server: Server | None  # the running server that reads this file, if we can see one
    arguments: list[str]  # what the server was started with, or will be as far as its service tells
    others: list[Server]  # the other servers of this host

    @property
    def environment(self) -> dict[str, str]:
        """The server's environment; empty where there is none to be seen."""
        return self.server.environment if self.server else {}


def survey(parameters: Mapping[str, Any]) -> Host:
    """Look at this host, without starting a program.

    :param parameters: those of HOST_ARGUMENTS, and ``service`` where the task has it; None where not given.
    :raises AirflowError: if it cannot be told which file, which server or which release is meant, or if parameters
        are wrong by themselves.
    """
    if parameters["url"]:
        _health.check_url(parameters["url"])
    if parameters["ca_path"] and not os.path.isfile(parameters["ca_path"]):
        raise AirflowError("ca_path %s is no file on this host." % parameters["ca_path"])
    # Not by mutually_exclusive, for which an explicit null counts as given.
    for one, other in (("path", "airflow_home"), ("service", "restart_command")):
        if parameters.get(one) and parameters.get(other):
            raise AirflowError("%s and %s are both given. Leave one out." % (one, other))
    servers = running_servers()
    given, service = _given_path(parameters), parameters.get("service")
    server = _pick(servers, given, service)
    path = given or (server.cfg_path if server else config_path(os.environ, os.path.expanduser("~")))
    if not os.path.isfile(path):
        raise AirflowError(
            "%s is no file on this host. Name Airflow's configuration file with path, or its folder with "
            "airflow_home.%s" % (path, _list(servers))
        )
    arguments = server.process.arguments if server else []
    if service and not server:
        program = _find_program(service, os.path.realpath(path))
        _refuse_other_file(program, servers, path)
        arguments = program.arguments()
    interpreter = _interpreter(parameters["airflow_executable"], server, arguments)
    version = parameters["airflow_version"] or (version_beside(interpreter) if interpreter else None)
    if not version:
        raise AirflowError(
            "Cannot tell which Airflow release reads %s: its server does not run, and no airflow program with its "
            "package beside it is on PATH. Name the program with airflow_executable, the service that runs it with "
            "service, or the release with airflow_version." % path
        )
    return Host(
        path=path,
        real_path=os.path.realpath(path),
        home=server.home if server else _home(parameters["airflow_home"], path),
        version=version,
        era=era_of(version),
        interpreter=interpreter,
        server=server,
        arguments=arguments,
        others=[other for other in servers if other is not server],
    )


def find_manager(parameters: Mapping[str, Any], host: Host) -> _managers.Manager | None:
    """What restarts the server: the task's command, or the supervisor that runs it. None if there is neither.

    :raises AirflowError: if a service is named that no supervisor of this host knows.
    """
    if parameters["restart_command"]:
        return _managers.Command(parameters["restart_command"])
    service, server = parameters["service"], host.server
    actual = supervised_as(server)
    daemon = _managers.supervisord_of(server.process) if server else None
    if daemon and actual and service in (None, actual):
        return _managers.Supervisor(daemon, actual)
    if not service:
        return None
    manager = _find_program(service, host.real_path)
    if server and actual:
        raise AirflowError(
            "The server that reads %s (pid %d) is the supervisor program %s, not %s. Nothing was changed. Correct "
            "service, path or airflow_home." % (server.cfg_path, server.process.pid, actual, service)
        )
    return manager


def _find_program(service: str, cfg_path: str) -> _managers.Supervisor:
    """The program in the only supervisord that has it, or that has it and AIRFLOW_HOME for this file."""
    daemons = _managers.supervisords()
    candidates, unreachable = [], []
    for daemon in daemons:
        candidate = _managers.Supervisor(daemon, service)
        try:
            candidates.append((candidate, candidate.exists()))
        except AirflowError as error:
            unreachable.append(error)
    known = [candidate for candidate, exists in candidates if exists]
    if len(known) > 1:
        homes = {daemon.pid for daemon in daemons if _is_for(daemon.pid, cfg_path)}
        known = [candidate for candidate in known if candidate.daemon.pid in homes] or known
    if len(known) == 1:
        return known[0]
    if known:
        raise AirflowError("Several supervisords of this host have a program %s. Use restart_command." % service)
    if unreachable:
        raise unreachable[0]
    if not candidates:
        raise AirflowError(
            "Service %s cannot be restarted: no supervisord runs on this host, or none that this user may see. "
            "For another service manager use restart_command." % service
        )
    programs = sorted({program for candidate, _exists in candidates for program in candidate.programs()})
    raise AirflowError(
        "supervisord has no program %s. It has: %s. Correct service." % (service, ", ".join(programs) or "none")
    )


def _refuse_other_file(program: _managers.Supervisor, servers: list[Server], path: str) -> None:
    for server in servers:
        daemon = _managers.supervisord_of(server.process)
        if daemon and daemon.pid == program.daemon.pid and supervised_as(server) == program.name:
            raise AirflowError(
                "Service %s (pid %d) reads %s, not %s: a change there would do nothing. Nothing was changed. Correct "
                "path, airflow_home or service." % (program.name, server.process.pid, server.cfg_path, path)
            )


def _is_for(pid: int, cfg_path: str) -> bool:
    environment = _proc.environment(pid) or {}
    return os.path.realpath(config_path(environment, environment.get("HOME", "/"))) == cfg_path


def supervised_as(server: Server | None) -> str | None:
    """The program of supervisor that this server is. None if supervisor did not start it itself: what a program
    starts inherits its environment.
    """
    if server and _managers.supervisord_of(server.process):
        return _managers.supervisor_program(server.environment)
    return None


def _given_path(parameters: Mapping[str, Any]) -> str | None:
    if parameters["path"]:
        return os.path.abspath(os.path.expanduser(str(parameters["path"])))
    if parameters["airflow_home"]:
        return os.path.join(os.path.abspath(os.path.expanduser(parameters["airflow_home"])), "airflow.cfg")
    return None


def _pick(servers: list[Server], path: str | None, service: str | None) -> Server | None:
    """The server that the task means: by its service, by the file it reads, or because it is the only one."""
    chosen = servers
    if service:
        chosen = [server for server in servers if _managers.supervisor_program(server.environment) == service]
    if path and not chosen:  # not started by supervisor itself, or without its environment
        chosen = servers
    if path:
        chosen = [server for server in chosen if server.cfg_path == os.path.realpath(path)]
    if len(chosen) > 1:
        raise AirflowError(
            "Several servers of Airflow run on this host. Say with path, airflow_home or service which one is "
            "meant.%s" % _list(chosen)
        )
    return chosen[0] if chosen else None


def _interpreter(executable: str | None, server: Server | None, arguments: list[str]) -> str | None:
    if server and not executable:
        return server.interpreter
    in_service = next((word for word in arguments[:3] if os.path.basename(word) == "airflow"), None)
    program = find_executable(executable or in_service, os.environ)
    return interpreter_of(program) if program else None


def _home(given: str | None, path: str) -> str:
    if given:
        return os.path.abspath(os.path.expanduser(given))
    home = airflow_home(os.environ, os.path.expanduser("~"))
    return home if config_path(os.environ, os.path.expanduser("~")) == path else os.path.dirname(path)


def _list(servers: list[Server]) -> str:
    return " Running here: %s." % "; ".join(map(str, servers)) if servers else ""

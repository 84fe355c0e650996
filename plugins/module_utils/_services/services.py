# SPDX-License-Identifier: GPL-3.0-or-later
"""Which service manager runs a server, and under which name."""

from __future__ import annotations

import os
from typing import Union

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host import proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host, ServiceDefinition
from ansible_collections.fleetops.airflow.plugins.module_utils._host.installation import config_path
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import Server
from ansible_collections.fleetops.airflow.plugins.module_utils._services import supervisor, systemd, sysvinit
from ansible_collections.fleetops.airflow.plugins.module_utils._services.managers import Command, Manager
from ansible_collections.fleetops.airflow.plugins.module_utils._services.names import (
    ServiceChoice,
    program_of,
    supervisord_of,
    unit_of,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._services.supervisor import Supervisor
from ansible_collections.fleetops.airflow.plugins.module_utils._services.systemd import Systemd
from ansible_collections.fleetops.airflow.plugins.module_utils._services.sysvinit import Sysvinit

Service = Union[Supervisor, Systemd, Sysvinit]

# What may stand between a service manager and the server: it ends when the server does, and has nothing else to do.
_WRAPPERS = ("bash", "dash", "dumb-init", "env", "ksh", "runuser", "setpriv", "sh", "su", "sudo", "tini", "zsh")


def managers_of(choice: ServiceChoice, host: Host) -> list[Manager]:
    """What restarts the server: the task's command, the services that it names, or what runs the server. Empty if
    there is none of them.

    :raises AirflowError: if a service is named that no service manager of this host knows, or that is another one.
    """
    if choice.restart_command:
        return [Command(choice.restart_command)]
    kind, services, server = choice.manager, choice.names, host.server
    if not services:
        found = service_of(server, kind) if server else None
        return [found] if found else []
    managers: list[Manager] = [service_named(name, kind, host.real_path) for name in services]
    if server and kind != "sysvinit" and not host.service_names & set(services):
        actual = service_of(server, "auto")
        if actual:  # else it was started by hand, and will be in the way of the service that is meant
            raise _is_another(server, actual, services)
    return managers


def bystander_error(choice: ServiceChoice, host: Host) -> AirflowError:
    """For servers that read this file, and a task that names only services that are none of them."""
    first = host.bystanders[0]
    return _is_another(first, service_of(first, "auto"), choice.names)


def _is_another(server: Server, actual: Service | None, services: tuple[str, ...]) -> AirflowError:
    return AirflowError(
        "The server that reads %s (pid %d) is %s, not %s. Nothing was changed. Correct service, path or airflow_home."
        % (server.cfg_path, server.process.pid, actual or "no service", " or ".join(services))
    )


def validate_file_of(service: Service, servers: list[Server], path: str | None) -> None:
    for server in servers:
        if path and is_server_of(server, service):
            raise AirflowError(
                "%s (pid %d) reads %s, not %s: a change there would do nothing. Nothing was changed. Correct "
                "path, airflow_home or service."
                % (str(service).capitalize(), server.process.pid, server.cfg_path, path)
            )


def service_of(server: Server, kind: str) -> Service | None:
    """What runs this server. None if it was started by hand, or ``kind`` (service_manager) does not allow it."""
    daemon, program = supervisord_of(server.process), program_of(server)
    if daemon and program:
        return Supervisor(daemon, program) if kind in ("auto", "supervisor") else None
    name = unit_of(server.process) if kind in ("auto", "systemd") and systemd.is_running() else None
    unit = Systemd(name) if name else None
    return unit if unit and _is_of(server, unit) else None


def service_named(name: str, kind: str, cfg_path: str) -> Service:
    """The service of this name, whether it runs or not.

    :param kind: the service_manager that the task names, or auto.
    :param cfg_path: tells programs of several supervisords apart.
    :raises AirflowError: if no service manager of this host knows the name, or several do.
    """
    found: list[Service] = []
    unreachable: list[AirflowError] = []
    if kind in ("auto", "supervisor"):
        found += _programs(name, cfg_path, unreachable)
    if kind in ("auto", "systemd") and systemd.is_running():
        unit = Systemd(name)
        found += [unit] if unit.exists() else []
    if kind == "sysvinit" or (kind == "auto" and not systemd.is_running()):
        script = Sysvinit(name)
        found += [script] if script.exists() else []
    if len(found) == 1:
        return found[0]
    if found:
        raise AirflowError(
            "Service %s could be %s. Say with service_manager which is meant, or use restart_command."
            % (name, " or ".join(map(str, found)))
        )
    if unreachable:
        raise unreachable[0]
    raise AirflowError("No service %s is known on this host. %s Correct service." % (name, _known(kind)))


def definition_of(service: Service) -> ServiceDefinition:
    if isinstance(service, Systemd):
        return ServiceDefinition(str(service), service.arguments(), service.environment(), service.user())
    arguments = service.arguments() if isinstance(service, Supervisor) else []
    return ServiceDefinition(str(service), arguments, {}, None)


def is_server_of(server: Server, service: Service) -> bool:
    """Whether this running server is that very service."""
    if isinstance(service, Supervisor):
        daemon = supervisord_of(server.process)
        return bool(daemon and daemon.pid == service.daemon.pid and program_of(server) == service.name)
    return isinstance(service, Systemd) and unit_of(server.process) == service.unit


def _is_of(server: Server, unit: Systemd) -> bool:
    """Whether the unit is there for this server, and not for what let somebody in who started it by hand."""
    main = proc.read_process(unit.main_pid())
    if main is None or not proc.is_within(server.process.pid, main.pid):
        return False
    if main.pid == server.process.pid:
        return True
    program = os.path.basename(main.arguments[0]) if main.arguments else ""
    return program in _WRAPPERS or any(os.path.basename(part) == "airflow" for part in main.arguments[:3])


def _programs(name: str, cfg_path: str, unreachable: list[AirflowError]) -> list[Supervisor]:
    """The program in the only supervisord that has it, or that has it and AIRFLOW_HOME for this file."""
    known = []
    for daemon in supervisor.supervisords():
        candidate = Supervisor(daemon, name)
        try:
            known += [candidate] if candidate.exists() else []
        except AirflowError as error:
            unreachable.append(error)
    if len(known) > 1:
        known = [candidate for candidate in known if _is_for(candidate.daemon.pid, cfg_path)] or known
    return known


def _is_for(pid: int, cfg_path: str) -> bool:
    environment = proc.environment(pid) or {}
    return os.path.realpath(config_path(environment, environment.get("HOME", "/"))) == cfg_path


def _known(kind: str) -> str:
    """What there is instead, in sentences."""
    sentences = []
    if kind in ("auto", "supervisor"):
        daemons = supervisor.supervisords()
        programs = sorted({program for daemon in daemons for program in Supervisor(daemon, "").programs()})
        sentences.append("supervisord has: %s." % _list(programs) if daemons else "No supervisord runs here.")
    if kind in ("auto", "systemd"):
        running = systemd.is_running()
        units = systemd.units_like("airflow") if running else []
        sentences.append("Of airflow, systemd has: %s." % _list(units) if running else "systemd does not run here.")
    if kind == "sysvinit" or (kind == "auto" and not systemd.is_running()):
        sentences.append("%s has: %s." % (sysvinit.FOLDER, _list(sysvinit.scripts())))
    return " ".join(sentences)


def _list(names: list[str]) -> str:
    return ", ".join(names) or "none"

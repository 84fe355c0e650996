# SPDX-License-Identifier: GPL-3.0-or-later
"""Which service manager runs a server, and under which name."""

from __future__ import annotations

import os
from typing import Union

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError, with_option
from ansible_collections.fleetops.airflow.plugins.module_utils._host import proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host
from ansible_collections.fleetops.airflow.plugins.module_utils._host.installation import config_path
from ansible_collections.fleetops.airflow.plugins.module_utils._host.launchers import is_launcher
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import Server
from ansible_collections.fleetops.airflow.plugins.module_utils._host.trust import supervised, unit_of
from ansible_collections.fleetops.airflow.plugins.module_utils._services import supervisor, systemd, sysvinit
from ansible_collections.fleetops.airflow.plugins.module_utils._services.managers import Command, Manager
from ansible_collections.fleetops.airflow.plugins.module_utils._services.names import ServiceChoice
from ansible_collections.fleetops.airflow.plugins.module_utils._services.supervisor import Supervisor
from ansible_collections.fleetops.airflow.plugins.module_utils._services.systemd import Systemd
from ansible_collections.fleetops.airflow.plugins.module_utils._services.sysvinit import Sysvinit

Service = Union[Supervisor, Systemd, Sysvinit]


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
        if server and isinstance(found, Supervisor):
            _confirm(server, found)
        return [found] if found else []
    managers: list[Manager] = []
    running = [*host.servers, *host.bystanders, *host.others]
    for service in services_named(services, kind, host.real_path, running):
        if isinstance(service, Supervisor):
            for one in host.servers:
                if is_server_of(one, service):
                    _confirm(one, service)
        managers.append(service)
    if server and kind != "sysvinit" and not host.service_names & set(services):
        actual = service_of(server, "auto")
        if actual:  # else it was started by hand, and will be in the way of the service that is meant
            raise _is_another(server, actual, services)
    return managers


def _confirm(server: Server, service: Supervisor) -> None:
    """That a server is a program of supervisor stands in its environment, which is its own claim.

    :raises AirflowError: if supervisord knows better.
    """
    found, pid = supervised(server.process), service.main_pid()
    if found is None or pid != found.top.pid:
        raise AirflowError(
            "Process %d of user %s, which reads %s, claims to be %s, and supervisord says that this is process %d. "
            "Nothing was changed. Name the file that is meant with path."
            % (server.process.pid, server.user, server.cfg_path, service, pid)
        )


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
    found = supervised(server.process)
    if found:
        return Supervisor(found.daemon, found.program) if kind in ("auto", "supervisor") else None
    name = unit_of(server.process) if kind in ("auto", "systemd") and systemd.is_running() else None
    unit = Systemd(name) if name else None
    return unit if unit and _is_of(server, unit) else None


def services_named(names: tuple[str, ...], kind: str, cfg_path: str, running: list[Server]) -> list[Service]:
    """The services of these names, whether they run or not. The name of a group of supervisor stands for all of it.

    :param kind: the service_manager that the task names, or auto.
    :param cfg_path: tells programs of several supervisords apart, and so do the ``running`` servers.
    :raises AirflowError: if no service manager of this host knows a name, or several do.
    """
    return [service for name in names for service in _named(name, kind, cfg_path, running)]


def _named(name: str, kind: str, cfg_path: str, running: list[Server]) -> list[Service]:
    found: list[list[Service]] = []
    unreachable: list[AirflowError] = []
    if kind in ("auto", "supervisor"):
        found += _programs(name, cfg_path, running, unreachable)
    if kind in ("auto", "systemd") and systemd.is_running():
        unit = Systemd(name)
        found += [[unit]] if unit.exists() else []
    if kind == "sysvinit" or (kind == "auto" and not systemd.is_running()):
        script = Sysvinit(name)
        found += [[script]] if script.exists() else []
    if len(found) == 1:
        return found[0]
    if found:
        several_managers = len({type(services[0]) for services in found}) > 1
        raise AirflowError(
            "Service %s could be %s. %s%s."
            % (
                name,
                " or ".join(str(services[0]) for services in found),
                "Set service_manager to the one that is meant"
                if several_managers
                else "Which of them is meant is seen from its server: start it before this task",
                with_option("restart_command", ", or use restart_command"),
            )
        )
    if unreachable:
        raise unreachable[0]
    raise AirflowError("No service %s is known on this host. %s Correct service." % (name, _known(kind, cfg_path)))


def next_environment(server: Server) -> tuple[dict[str, str] | None, str]:
    """What the service of a running server would give it at its next start; None if that is not known, as behind a
    script. And a sentence on how the manager is made to read its files, if it may have to.

    supervisord gives a program what the files said when it last read them, which a running program has already.
    """
    try:
        service = service_of(server, "auto")
        if isinstance(service, Supervisor):
            return None, service.reload_hint
        definition = service.definition() if service else None
        stale = isinstance(service, Systemd) and service.needs_reload()
    except AirflowError:
        return None, ""
    note = " systemd has not read the files of %s since they changed: run systemctl daemon-reload." % service
    known = definition is not None and definition.tells_environment
    return definition.environment if definition and known else None, note if stale else ""


def is_server_of(server: Server, service: Service) -> bool:
    """Whether this running server is that very service."""
    if isinstance(service, Supervisor):
        found = supervised(server.process)
        return bool(found and found.daemon.pid == service.daemon.pid and found.program == service.name)
    return isinstance(service, Systemd) and service.unit in server.voucher.names


def _is_of(server: Server, unit: Systemd) -> bool:
    """Whether the unit is there for this server, and not for what let somebody in who started it by hand."""
    main = proc.read_process(unit.main_pid())
    if main is None or not proc.is_within(server.process.pid, main.pid):
        return False
    return main.pid == server.process.pid or is_launcher(main)


def _programs(name: str, cfg_path: str, running: list[Server], unreachable: list[AirflowError]) -> list[list[Service]]:
    """The program, or those of the group, in each supervisord that has it. Of several supervisords the one whose child
    the server is, else the one that gives the program an environment for this file.
    """
    known: list[list[Supervisor]] = []
    for daemon in supervisor.supervisords(cfg_path):
        try:
            one = Supervisor(daemon, name)
            programs = [one] if one.exists() else [Supervisor(daemon, member) for member in one.members()]
        except AirflowError as error:
            unreachable.append(error)
            continue
        known += [programs] if programs else []
    for is_meant in (lambda one: _runs(one, running, cfg_path), lambda one: _is_for(one, cfg_path)):
        if len(known) > 1:
            known = [programs for programs in known if any(map(is_meant, programs))] or known
    return [list(programs) for programs in known]


def _runs(service: Supervisor, running: list[Server], cfg_path: str) -> bool:
    return any(server.cfg_path == cfg_path and is_server_of(server, service) for server in running)


def _is_for(service: Supervisor, cfg_path: str) -> bool:
    definition = service.definition()
    return os.path.realpath(config_path(definition.environment, definition.home)) == cfg_path


def _known(kind: str, cfg_path: str) -> str:
    """What there is instead, in sentences."""
    sentences = []
    if kind in ("auto", "supervisor"):
        daemons = supervisor.supervisords(cfg_path)
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

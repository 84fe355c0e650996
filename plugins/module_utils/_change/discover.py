# SPDX-License-Identifier: GPL-3.0-or-later
"""Find out which airflow.cfg, which server and which release of a host a task means."""

from __future__ import annotations

import os

from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import Target
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError, with_option
from ansible_collections.fleetops.airflow.plugins.module_utils._host import proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import (
    Host,
    ServiceDefinition,
    Sources,
    airflow_in,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._host.installation import (
    Package,
    airflow_home,
    config_path,
    directories_beside,
    directories_in,
    directories_mapped,
    find_executable,
    interpreter_of,
    is_closed_environment,
    packages_in,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import (
    Server,
    running_servers,
    serves_execution_only,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._host.trust import home_of
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import SERVER_COMMANDS, family_of

_NO_SERVICE = ServiceDefinition("the service", [], {}, None)


def discover(target: Target, changes: bool = True) -> Host:
    """Look at this host, without starting a program.

    :param changes: whether the task may change it. Who only reads the configuration need not say which of several
        servers of one file is meant.
    :raises AirflowError: if it cannot be told which file, which server or which release is meant.
    """
    given, services = _given_path(target), target.services.names
    running = [server.with_path_here(given) for server in running_servers()]
    servers = [server for server in running if server.is_credible(given)]
    in_containers = [server for server in running if server.view and server.view.by_root]
    isolated = [server for server in running if server.reads_other_files and server in [*servers, *in_containers]]
    servers = [server for server in servers if server not in isolated]
    claims = [server for server in running if server not in [*servers, *isolated]]
    aliases: dict[str, str] = {}
    running_as = {name for server in servers for name in server.voucher.names}
    if servers and not running_as.issuperset(services):
        aliases = _aliases(tuple(name for name in services if name not in running_as))
    names = tuple(aliases.get(name, name) for name in services)
    chosen = _pick(servers, given, names, changes)
    if not chosen:
        _refuse_isolated([one for one in isolated if _may_mean(one, given, names)], given)
    server = chosen[0] if chosen else None
    service = _NO_SERVICE
    if services and not server:
        from ansible_collections.fleetops.airflow.plugins.module_utils._services.services import (
            services_named,
            validate_file_of,
        )

        kind, real_path = target.services.manager, os.path.realpath(given or "")
        named = services_named(services, kind, real_path, servers)
        for known in named:
            validate_file_of(known, servers, given)
        definitions = [known.definition() for known in named]
        service = next((one for one in definitions if _serves(one)), definitions[0])
    path, path_from = _path(target, given, server, service)
    if not os.path.isfile(path):
        raise AirflowError(
            "%s is no file on this host. It is known from %s. Name Airflow's configuration file with path, or its "
            "directory with airflow_home.%s%s" % (path, path_from, _list(servers), _claims(claims))
        )
    interpreter = _interpreter(target.airflow_executable, server, service)
    package = _package(interpreter, server, service, path, ask=not target.airflow_version)
    version, version_from = target.airflow_version, "airflow_version"
    if not version and package:
        version, version_from = package.version, "the package in %s" % package.directory
    if not version:
        raise AirflowError(
            "Cannot tell which Airflow version reads %s: %s. Nothing was changed. Name the airflow program with "
            "airflow_executable, or the version with airflow_version."
            % (
                path,
                "%s has no Airflow package" % interpreter
                if interpreter
                else "its server was not found, and no airflow program is on PATH",
            )
        )
    return Host(
        path=path,
        real_path=os.path.realpath(path),
        home=_home_of(server) if server else _home(target.airflow_home, path, service),
        version=version,
        family=family_of(version),
        interpreter=interpreter,
        servers=chosen,
        bystanders=[one for one in servers if one not in chosen and one.cfg_path == os.path.realpath(path)],
        others=[*(one for one in servers if one.cfg_path != os.path.realpath(path)), *isolated],
        service_names=_names(server, aliases) if server else frozenset(),
        sources=Sources(path=path_from, version=version_from),
        service=service,
        packages=package.directory if package else None,
    )


def _may_mean(server: Server, given: str | None, names: tuple[str, ...]) -> bool:
    """Whether the task may mean a server that reads another file of the same name."""
    if names:
        return bool(server.voucher.names & set(names))
    return not given or os.path.normpath(server.path) == given


def _refuse_isolated(servers: list[Server], given: str | None) -> None:
    """:raises AirflowError: if there are servers, all of which read files that the task cannot name as they do."""
    for server in servers:
        raise AirflowError(
            "The server that is meant (pid %d) runs in %s, and what it reads there as %s is not %s of this host. "
            "Nothing was changed. Run the task where the server runs, or name with path the file of this host that is "
            "mounted there%s. If another server is meant, name its service."
            % (
                server.process.pid,
                server.view.where if server.view else "",
                server.path,
                given or server.path,
                with_option("restart_command", ", and a restart_command"),
            )
        )


def _path(target: Target, given: str | None, server: Server | None, service: ServiceDefinition) -> tuple[str, str]:
    """The file that is meant, and where that is known from: the task, the running server, the service by its own
    environment, else what Airflow would read in the environment of this task.
    """
    if given:
        return given, "path" if target.path else "airflow_home"
    if server:
        return server.path or server.cfg_path, "the server (pid %d), for which %s vouches" % (
            server.process.pid,
            server.voucher.by,
        )
    if service.tells_path:
        return os.path.join(service.directory, config_path(service.environment, service.home)), service.name
    named = "AIRFLOW_HOME" in os.environ or "AIRFLOW_CONFIG" in os.environ
    if service is not _NO_SERVICE and not named:
        raise AirflowError(
            "Which airflow.cfg %s reads cannot be determined: it does not run, and its definition does not say. "
            "Nothing was changed. Name Airflow's directory with airflow_home." % service.name
        )
    source = "the environment of this task" if named else "the home directory of the user of this task"
    return config_path(os.environ, os.path.expanduser("~")), source


def _given_path(target: Target) -> str | None:
    if target.path:
        return os.path.abspath(os.path.expanduser(target.path))
    if target.airflow_home:
        return os.path.join(os.path.abspath(os.path.expanduser(target.airflow_home)), "airflow.cfg")
    return None


def _pick(servers: list[Server], path: str | None, services: tuple[str, ...], changes: bool) -> list[Server]:
    """The servers that the task means: by their services, by the file they read, or because there is only one.

    :raises AirflowError: if that may be several and no service says that all are meant, or if they read several files.
    """
    chosen = servers
    if services:
        chosen = [server for server in servers if server.voucher.names & set(services)]
    by_service = bool(services and chosen)
    if path and not chosen:  # started by something that does not know the name
        chosen = [server for server in servers if not server.voucher.names]
    if path:
        chosen = [server for server in chosen if server.cfg_path == os.path.realpath(path)]
    several = len(chosen) > 1 and changes and not by_service
    if len({server.cfg_path for server in chosen}) > 1 or several:
        raise AirflowError(
            "Several servers of Airflow run on this host. Say with path, airflow_home or service which one is "
            "meant.%s" % _list(chosen),
            several_servers=True,
        )
    # First those that have the whole API.
    return sorted(chosen, key=lambda server: serves_execution_only(server.process.arguments, server.environment))


def _aliases(services: tuple[str, ...]) -> dict[str, str]:
    """Those of the names that are aliases of units, with the names by which systemd itself knows these."""
    from ansible_collections.fleetops.airflow.plugins.module_utils._services import systemd

    if not systemd.is_running():
        return {}
    found = {name: systemd.Systemd(name).own_name() for name in services if systemd.may_be_alias(name)}
    return {name: own for name, own in found.items() if own}


def _names(server: Server, aliases: dict[str, str]) -> frozenset[str]:
    names = server.voucher.names
    return names | {alias for alias, own in aliases.items() if own in names}


def _interpreter(executable: str | None, server: Server | None, service: ServiceDefinition) -> str | None:
    if server and not executable:
        return server.interpreter
    in_service = airflow_in(service.arguments)
    program = executable
    if not program and in_service:
        by_name = not os.path.isabs(in_service[0])
        program = find_executable(None, service.environment) if by_name else in_service[0]
    program = find_executable(program, os.environ)
    return interpreter_of(program) if program else None


def _package(
    interpreter: str | None, server: Server | None, service: ServiceDefinition, path: str, ask: bool
) -> Package | None:
    """The Airflow package that runs: the only one where its interpreter imports from, or where the server has loaded
    modules from; else what the interpreter itself says.

    :param ask: whether it is worth starting the interpreter.
    """
    if not interpreter:
        return None
    environment = server.environment if server else service.environment
    user_home = environment.get("HOME") or (home_of(server.process.uid) if server else service.home)
    root = server.view.root if server and server.view else ""
    directories = directories_beside(interpreter)
    if root or not is_closed_environment(interpreter):
        directories += [root + directory for directory in directories_in(environment, user_home)]
    else:
        directories += directories_in({**environment, "PYTHONNOUSERSITE": "1"}, user_home)
    found = packages_in(directories)
    if len(found) != 1 and server:
        mapped = directories_mapped(proc.mapped_files(server.process.pid))
        found = packages_in([root + directory for directory in mapped]) or found
    if len(found) == 1 or not ask:
        return found[0] if found else None
    if root:
        return None
    from ansible_collections.fleetops.airflow.plugins.module_utils._host.command import find_package

    return find_package(interpreter, server, service, path)


def _home_of(server: Server) -> str:
    """Its AIRFLOW_HOME, as a path of this host."""
    return server.view.path(server.home) if server.view else server.home


def _home(given: str | None, path: str, service: ServiceDefinition) -> str:
    if given:
        return os.path.abspath(os.path.expanduser(given))
    for environment, user_home in ((service.environment, service.home), (os.environ, os.path.expanduser("~"))):
        if config_path(environment, user_home) == path:
            return airflow_home(environment, user_home)
    return os.path.dirname(path)


def _serves(service: ServiceDefinition) -> bool:
    found = airflow_in(service.arguments)
    return found is not None and found[1] in SERVER_COMMANDS


def _claims(claims: list[Server]) -> str:
    """A sentence about processes that decide nothing, for a task that has found nothing else."""
    return "".join(
        " Process %d of user %s claims to be a server that reads %s, but no service manager of root's confirms that."
        % (server.process.pid, server.user, server.cfg_path)
        for server in claims[:3]
    )


def _list(servers: list[Server]) -> str:
    return " Running here: %s." % "; ".join(map(str, servers)) if servers else ""

# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring airflow.cfg and the running server to what a task says, or leave both as they were."""

from __future__ import annotations

import os
import time
from typing import Any, Callable, Mapping, NamedTuple

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import Setting, edit, refuse_overrides
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._change.lock import locked, uninterrupted
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host import health, proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host, survey
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import (
    Address,
    await_healthy,
    base_url,
    is_older_than,
    loopback_port,
    moment,
    orphan_of,
    strangers_on,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._services.names import names_of

# What only a change needs is imported where there is one: a run without one is to cost little.

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
# To be handed to AnsibleModule beside them.
CONVERGE_RULES: dict[str, Any] = {
    "required_if": [
        ("service_manager", "sysvinit", ["service"]),
        ("service_manager", "command", ["restart_command"]),
    ],
}


class Intent(NamedTuple):
    """What a task wants of the file and of the server.

    ``imports`` are backends that Airflow has to be able to load before it is told to. ``prove`` is asked of the healthy
    server, with its base URL, if there is something to prove; it raises AirflowError. ``for_the_api``: whether the
    change is for the servers of the API, and of no use to other services alone. ``check`` is asked, in every run and
    before anything is written, about the file as it shall be, and told whether anything is to be done; it raises
    AirflowError.
    """

    settings: list[Setting]
    imports: Callable[[Cfg], list[str]]
    prove: Callable[[str], None] | None
    for_the_api: bool
    check: Callable[[Cfg, bool], None] = lambda _after, _to_do: None


class Found(NamedTuple):
    """The file and the running server, before anything is done."""

    host: Host
    data: bytes
    cfg: Cfg
    addresses: list[Address]  # of the servers of the API that belong to the task
    healths: list[Callable[[], health.Health]]  # their answers to a question that has been sent already
    url: str  # base URL, without a slash at its end
    restart_reason: str | None  # why the running server does not do what the file says
    told: bool  # whether that could be told

    @property
    def current(self) -> bool:
        """Whether a running server is known to have read the file as it is."""
        return self.told and self.restart_reason is None and self.host.server is not None


class Outcome(NamedTuple):
    host: Host
    before: Cfg
    after: Cfg
    changed: bool
    restarted: bool
    restart_pending: bool
    restart_reason: str | None
    current: bool  # whether the running server has read ``after``
    backup_file: str | None

    def result(self) -> dict[str, Any]:
        """What every module on this engine returns."""
        result: dict[str, Any] = {
            "changed": self.changed,
            "restarted": self.restarted,
            "restart_pending": self.restart_pending,
            "restart_reason": self.restart_reason,
            "rolled_back": False,
            "airflow_version": self.host.version,
            "path": self.host.path,
        }
        if self.backup_file:
            result["backup_file"] = self.backup_file
        return result


def converge(
    parameters: Mapping[str, Any],
    intent_for: Callable[[Host], Intent],
    check_mode: bool,
    backup: Callable[[str], str],
    warn: Callable[[str], None],
) -> Outcome:
    """Edit, restart, wait for health and prove, as far as each is needed; in check mode only say what would be.

    :param parameters: the task's, of which those of HOST_ARGUMENTS and CONVERGE_ARGUMENTS are used.
    :param intent_for: what the task wants of this host; raises AirflowError if it wants what cannot be.
    :param backup: copies the file at a path and returns the copy's path.
    :raises AirflowError: if something is in the way, in which case nothing is changed or everything is put back.
    """
    if parameters["health_timeout"] < 1:
        raise AirflowError("health_timeout is %d. It has to be at least 1 second." % parameters["health_timeout"])
    host = survey(parameters)
    if check_mode:
        return _converge(host, intent_for(host), parameters, True, backup, warn)
    with locked(host.real_path, timeout=2 * parameters["health_timeout"]) as waited, uninterrupted():
        if waited:
            host = survey(parameters)
        return _converge(host, intent_for(host), parameters, False, backup, warn)


def look(parameters: Mapping[str, Any], warn: Callable[[str], None]) -> Found:
    """Look at this host, without starting a program.

    :param parameters: the task's, of which those of HOST_ARGUMENTS are used.
    :raises AirflowError: if it cannot be told which file, server or release is meant, or the file cannot be read.
    """
    return _found(survey(parameters), parameters, warn)


def _found(host: Host, parameters: Mapping[str, Any], warn: Callable[[str], None]) -> Found:
    data = _read(host)
    cfg = Cfg.from_bytes(data, host.path)
    addresses = addresses_of(host, cfg, parameters)
    tls = tls_of(parameters)
    healths = [health.begin(address.health_url, health.PATIENCE, tls) for address in addresses]
    url = _url(host, cfg, parameters)
    untold: list[str] = []
    reason = _restart_reason(host, url, untold.append)
    for why in untold:
        warn(why)
    return Found(host, data, cfg, addresses, healths, url, reason, not untold)


def _url(host: Host, cfg: Cfg, parameters: Mapping[str, Any]) -> str:
    return str(parameters["url"] or base_url(host.era, cfg, host.arguments, host.environment)).rstrip("/")


def tls_of(parameters: Mapping[str, Any]) -> health.Tls:
    return health.Tls(parameters["validate_certs"], parameters["ca_path"])


def _converge(
    host: Host,
    intent: Intent,
    parameters: Mapping[str, Any],
    check_mode: bool,
    backup: Callable[[str], str],
    warn: Callable[[str], None],
) -> Outcome:
    found = _found(host, parameters, warn)
    before = found.cfg
    refuse_overrides(
        intent.settings,
        host.environment,
        host.environment_of,
    )
    after = edit(before, intent.settings)
    edited = after is not before
    reason = "airflow.cfg changes" if edited else found.restart_reason
    if parameters["restart"] == "always":
        reason = reason or "restart is always"
    restart = reason is not None and parameters["restart"] != "never"
    if intent.for_the_api and host.bystanders:
        from ansible_collections.fleetops.airflow.plugins.module_utils._services.services import refuse_bystanders

        refuse_bystanders(parameters, host)
    for server in host.bystanders if restart else []:
        warn("%s keeps its old configuration: it is not among the services that are restarted." % str(server))
    intent.check(after, edited or restart)
    if edited or restart:
        from ansible_collections.fleetops.airflow.plugins.module_utils._change.prepare import check_imports

        check_imports(host, intent, before, warn)
    restarter = None
    if restart:
        from ansible_collections.fleetops.airflow.plugins.module_utils._change.prepare import restarter_of

        restarter = restarter_of(found, after, intent, parameters, str(reason))
    elif host.server and parameters["service"] and not names_of(host.server) & set(parameters["service"]):
        from ansible_collections.fleetops.airflow.plugins.module_utils._services.services import managers_of

        managers_of(parameters, host)  # tells of a service that does not exist, or is another one

    backups: list[str] = []
    if not check_mode and (edited or restart):
        from ansible_collections.fleetops.airflow.plugins.module_utils._change.transaction import change

        change(
            host.real_path,
            old=found.data,
            new=after.text.encode("utf-8"),
            take_effect=restarter or _nothing,
            rollback=parameters["rollback"],
            backup=lambda: backups.append(backup(host.real_path)) if parameters["backup"] else None,
        )
    elif not edited and not restart and parameters["restart"] != "never":
        _prove(found, intent, parameters)
    return Outcome(
        host=host,
        before=before,
        after=after,
        changed=edited or restart,
        restarted=restart,
        restart_pending=reason is not None and not restart,
        restart_reason=reason,
        current=restart or (found.current and not edited),
        backup_file=backups[0] if backups else None,
    )


def _prove(found: Found, intent: Intent, parameters: Mapping[str, Any]) -> None:
    """That nothing has to be changed is not enough: a run that was killed may have left a server that cannot start.

    :raises AirflowError: if the server does not become healthy, or what the task wants proved is not so.
    """
    if parameters["url"] or found.host.servers:
        for address, answer in zip(found.addresses, found.healths):
            if answer().state != "healthy":
                await_healthy(address.health_url, parameters["health_timeout"], tls_of(parameters))
    if intent.prove:
        intent.prove(found.url)


def _nothing() -> None:
    """The change takes effect when somebody else restarts the server."""


def _read(host: Host) -> bytes:
    try:
        with open(host.real_path, "rb") as file:
            return file.read()
    except OSError as error:
        raise AirflowError("%s cannot be read: %s." % (host.path, error.strerror)) from None


def _restart_reason(host: Host, url: str, untold: Callable[[str], None]) -> str | None:
    """Why the running server does not do what the file says. None if it does.

    :param untold: told why, if that cannot be told.
    :raises AirflowError: if the server at ``url`` reads another file.
    """
    if not host.serves:
        return None
    port = loopback_port(url)
    strangers = strangers_on(port, host.server) if port else []
    for other in host.others:
        if any(proc.is_within(stranger.pid, other.process.pid) for stranger in strangers):
            raise AirflowError(
                "The server at %s (%s) does not read %s: a change there would do nothing. Nothing was changed. "
                "Correct path or airflow_home." % (url, other, host.path)
            )
    orphan = orphan_of(host.home, strangers)
    if orphan and host.server and orphan.started >= host.server.process.started:
        orphan = None  # with `airflow webserver -D` gunicorn is no child of the server that started it
    if orphan:
        return "gunicorn (pid %d) outlived its webserver and serves the configuration of %s" % (
            orphan.pid,
            moment(orphan.started),
        )
    if host.server:
        changed = os.stat(host.real_path).st_mtime
        if changed > time.time():
            untold(
                "%s was last changed in the future (%s), so whether the server has read it as it is now cannot be told."
                % (host.path, moment(changed))
            )
        elif is_older_than(host.server, changed):
            return "the server (pid %d, started %s) is older than airflow.cfg (%s)" % (
                host.server.process.pid,
                moment(host.server.process.started),
                moment(changed),
            )
    elif not port:
        untold("The server at %s is not on this host: whether it has read %s cannot be told." % (url, host.path))
    elif proc.is_listened_on(port):
        untold(
            "What listens on port %d (%s) could not be seen to be the server that reads %s, so whether it has read it "
            "as it is now cannot be told. Run the task with become: true if you do not."
            % (port, ", ".join("pid %d" % stranger.pid for stranger in strangers) or "another user's", host.path)
        )
    else:
        return "the server is not running"
    return None


def addresses_of(host: Host, cfg: Cfg, parameters: Mapping[str, Any]) -> list[Address]:
    """Where the servers of the API are that belong to the task."""
    if parameters["url"] or len(host.servers) < 2:
        urls = [_url(host, cfg, parameters)] if host.serves else []
    else:
        urls = [base_url(host.era, cfg, server.process.arguments, server.environment) for server in host.servers]
    return [Address(url.rstrip("/"), url.rstrip("/") + host.era.health_path) for url in urls]

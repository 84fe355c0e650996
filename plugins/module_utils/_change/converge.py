# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring airflow.cfg and the running server to what a task says, or leave both as they were."""

from __future__ import annotations

from typing import Any, Callable, Mapping, NamedTuple

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import edit, validate_overrides
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._change.current import CurrentState, inspect, tls_of
from ansible_collections.fleetops.airflow.plugins.module_utils._change.discover import discover
from ansible_collections.fleetops.airflow.plugins.module_utils._change.lock import locked, uninterrupted
from ansible_collections.fleetops.airflow.plugins.module_utils._change.plan import DesiredState
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import await_healthy

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


class ChangeResult(NamedTuple):
    host: Host
    before: Cfg
    after: Cfg
    changed: bool
    restarted: bool
    restart_pending: bool
    restart_reason: str | None
    is_current: bool  # whether the running server has read ``after``
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
    desired_for: Callable[[Host], DesiredState],
    check_mode: bool,
    backup: Callable[[str], str],
    warn: Callable[[str], None],
) -> ChangeResult:
    """Edit, restart, wait for health and verify, as far as each is needed; in check mode only say what would be.

    :param parameters: the task's, of which those of HOST_ARGUMENTS and CONVERGE_ARGUMENTS are used.
    :param desired_for: what the task wants of this host; raises AirflowError if it wants what cannot be.
    :param backup: copies the file at a path and returns the copy's path.
    :raises AirflowError: if something is in the way, in which case nothing is changed or everything is put back.
    """
    if parameters["health_timeout"] < 1:
        raise AirflowError("health_timeout is %d. It has to be at least 1 second." % parameters["health_timeout"])
    host = discover(parameters)
    if check_mode:
        return _converge(host, desired_for(host), parameters, True, backup, warn)
    with locked(host.real_path, timeout=2 * parameters["health_timeout"]) as waited, uninterrupted():
        if waited:
            host = discover(parameters)
        return _converge(host, desired_for(host), parameters, False, backup, warn)


def _converge(
    host: Host,
    desired: DesiredState,
    parameters: Mapping[str, Any],
    check_mode: bool,
    backup: Callable[[str], str],
    warn: Callable[[str], None],
) -> ChangeResult:
    current = inspect(host, parameters, warn)
    before = current.cfg
    validate_overrides(
        desired.settings,
        host.environment,
        host.environment_of,
    )
    after = edit(before, desired.settings)
    edited = after is not before
    reason = "airflow.cfg changes" if edited else current.restart_reason
    if parameters["restart"] == "always":
        reason = reason or "restart is always"
    restart = reason is not None and parameters["restart"] != "never"
    if desired.for_the_api and host.bystanders:
        from ansible_collections.fleetops.airflow.plugins.module_utils._services.services import validate_bystanders

        validate_bystanders(parameters, host)
    for server in host.bystanders if restart else []:
        warn("%s keeps its old configuration: it is not among the services that are restarted." % str(server))
    desired.check(after, edited or restart)
    if edited or restart:
        from ansible_collections.fleetops.airflow.plugins.module_utils._change.prepare import check_imports

        check_imports(host, desired, before, warn)
    restarter = None
    if restart:
        from ansible_collections.fleetops.airflow.plugins.module_utils._change.prepare import restarter_of

        restarter = restarter_of(current, after, desired, parameters, str(reason))
    elif host.server and parameters["service"] and not host.service_names & set(parameters["service"]):
        from ansible_collections.fleetops.airflow.plugins.module_utils._services.services import managers_of

        managers_of(parameters, host)  # tells of a service that does not exist, or is another one

    backups: list[str] = []
    if not check_mode and (edited or restart):
        from ansible_collections.fleetops.airflow.plugins.module_utils._change.transaction import change

        change(
            host.real_path,
            old=current.data,
            new=after.text.encode("utf-8"),
            take_effect=restarter or _nothing,
            rollback=parameters["rollback"],
            backup=lambda: backups.append(backup(host.real_path)) if parameters["backup"] else None,
        )
    elif not edited and not restart and parameters["restart"] != "never":
        _verify(current, desired, parameters)
    return ChangeResult(
        host=host,
        before=before,
        after=after,
        changed=edited or restart,
        restarted=restart,
        restart_pending=reason is not None and not restart,
        restart_reason=reason,
        is_current=restart or (current.is_current and not edited),
        backup_file=backups[0] if backups else None,
    )


def _verify(current: CurrentState, desired: DesiredState, parameters: Mapping[str, Any]) -> None:
    """That nothing has to be changed is not enough: a run that was killed may have left a server that cannot start.

    :raises AirflowError: if the server does not become healthy, or what the task wants verified is not so.
    """
    if parameters["url"] or current.host.servers:
        for address, answer in zip(current.addresses, current.healths):
            if answer().state != "healthy":
                await_healthy(address.health_url, parameters["health_timeout"], tls_of(parameters))
    if desired.verify:
        desired.verify(current.url)


def _nothing() -> None:
    """The change takes effect when somebody else restarts the server."""

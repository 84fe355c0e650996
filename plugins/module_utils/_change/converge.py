# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring airflow.cfg and the running server to what a task says, or leave both as they were."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import edit, validate_overrides
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._change.current import CurrentState, inspect
from ansible_collections.fleetops.airflow.plugins.module_utils._change.discover import discover
from ansible_collections.fleetops.airflow.plugins.module_utils._change.lock import locked, uninterrupted
from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import ChangePolicy, Target
from ansible_collections.fleetops.airflow.plugins.module_utils._change.plan import DesiredState
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import await_healthy

# What only a change needs is imported where there is one: a run without one is to cost little.


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
    target: Target,
    policy: ChangePolicy,
    desired_for: Callable[[Host], DesiredState],
    check_mode: bool,
    backup: Callable[[str], str],
    warn: Callable[[str], None],
) -> ChangeResult:
    """Edit, restart, wait for health and verify, as far as each is needed; in check mode only say what would be.

    :param desired_for: what the task wants of this host; raises AirflowError if it wants what cannot be.
    :param backup: copies the file at a path and returns the copy's path.
    :raises AirflowError: if something is in the way, in which case nothing is changed or everything is put back.
    """
    host = discover(target)
    if check_mode:
        return _converge(host, desired_for(host), target, policy, True, backup, warn)
    with locked(host.real_path, timeout=2 * policy.health_timeout) as waited, uninterrupted():
        if waited:
            host = discover(target)
        return _converge(host, desired_for(host), target, policy, False, backup, warn)


def _converge(
    host: Host,
    desired: DesiredState,
    target: Target,
    policy: ChangePolicy,
    check_mode: bool,
    backup: Callable[[str], str],
    warn: Callable[[str], None],
) -> ChangeResult:
    current = inspect(host, target, warn)
    before = current.cfg
    validate_overrides(
        desired.settings,
        host.environment,
        host.environment_of,
    )
    after = edit(before, desired.settings)
    edited = after is not before
    reason = "airflow.cfg changes" if edited else current.restart_reason
    if policy.restart == "always":
        reason = reason or "restart is always"
    restart = reason is not None and policy.restart != "never"
    if desired.for_the_api and host.bystanders:
        from ansible_collections.fleetops.airflow.plugins.module_utils._services.services import validate_bystanders

        validate_bystanders(target.services, host)
    for server in host.bystanders if restart else []:
        warn("%s keeps its old configuration: it is not among the services that are restarted." % str(server))
    desired.check(after, edited or restart)
    if edited or restart:
        from ansible_collections.fleetops.airflow.plugins.module_utils._change.prepare import check_imports

        check_imports(host, desired, before, warn)
    restarter = None
    if restart:
        from ansible_collections.fleetops.airflow.plugins.module_utils._change.prepare import restarter_of

        restarter = restarter_of(current, after, desired, target, policy, str(reason))
    elif host.server and target.services.names and not host.service_names & set(target.services.names):
        from ansible_collections.fleetops.airflow.plugins.module_utils._services.services import managers_of

        managers_of(target.services, host)  # tells of a service that does not exist, or is another one

    backups: list[str] = []
    if not check_mode and (edited or restart):
        from ansible_collections.fleetops.airflow.plugins.module_utils._change.transaction import change

        change(
            host.real_path,
            old=current.data,
            new=after.text.encode("utf-8"),
            take_effect=restarter or _nothing,
            rollback=policy.rollback,
            backup=lambda: backups.append(backup(host.real_path)) if policy.backup else None,
        )
    elif not edited and not restart and policy.restart != "never":
        _verify(current, desired, target, policy)
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


def _verify(current: CurrentState, desired: DesiredState, target: Target, policy: ChangePolicy) -> None:
    """That nothing has to be changed is not enough: a run that was killed may have left a server that cannot start.

    :raises AirflowError: if the server does not become healthy, or what the task wants verified is not so.
    """
    if target.url or current.host.servers:
        for address, answer in zip(current.addresses, current.healths):
            if answer().state != "healthy":
                await_healthy(address.health_url, policy.health_timeout, target.tls)
    if desired.verify:
        desired.verify(current.url)


def _nothing() -> None:
    """The change takes effect when somebody else restarts the server."""

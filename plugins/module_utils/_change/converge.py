# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring airflow.cfg and the running server to what a task says, or leave both as they were."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import override
from ansible_collections.fleetops.airflow.plugins.module_utils._change.current import inspect
from ansible_collections.fleetops.airflow.plugins.module_utils._change.discover import discover
from ansible_collections.fleetops.airflow.plugins.module_utils._change.lock import locked, uninterrupted
from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import ChangePolicy, Target
from ansible_collections.fleetops.airflow.plugins.module_utils._change.plan import (
    DesiredState,
    NextEnvironment,
    Plan,
    plan,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._change.verify import verify
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import secrets
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import Server
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

if TYPE_CHECKING:
    from ansible_collections.fleetops.airflow.plugins.module_utils._change.transaction import Step

# What only a change needs is imported where there is one: a run without one is to cost little.


class Outcome(Record):
    """What carrying out a plan did beside what the plan says."""

    backup_file: str | None = None
    verified_login: bool = False
    seen: bool = True  # whether a restarted server was seen that reads the file

    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = {"backup_file": self.backup_file} if self.backup_file else {}
        return result if self.seen else {**result, "restarted": None, "restart_pending": None}


@contextlib.contextmanager
def discovered(target: Target, policy: ChangePolicy, check_mode: bool) -> Iterator[Host]:
    """The host that a task means, for this task alone unless it only looks.

    :raises AirflowError: if that cannot be determined, or another task does not end.
    """
    host = discover(target)
    if check_mode:
        yield host
        return
    with locked(host.real_path, timeout=2 * policy.health_timeout) as waited, uninterrupted():
        yield discover(target) if waited else host


def plan_for(
    host: Host, desired: DesiredState, target: Target, policy: ChangePolicy, warn: Callable[[str], None]
) -> Plan:
    """Inspect the host and plan what is to be done there.

    :raises AirflowError: if something is in the way. Nothing is changed.
    """
    login = desired.login
    secrets.append(lambda: [setting.value or "" for setting in desired.settings if setting.secret])
    secrets.append(lambda: [login.password, "%s:%s" % login] if login else [])
    current = inspect(host, target)
    for warning in current.unknown:
        warn(warning)
    found = plan(current, desired, target, policy, [_next_environment(server, desired) for server in host.servers])
    for warning in found.warnings:
        warn(warning)
    return found


def _next_environment(server: Server, desired: DesiredState) -> NextEnvironment:
    """The one that it has now, unless a variable in it overrides the file and its service is known to set another."""
    environment, note = None, ""
    if any(override(setting, server.environment) for setting in desired.settings):
        from ansible_collections.fleetops.airflow.plugins.module_utils._services.services import next_environment

        environment, note = next_environment(server)
    return NextEnvironment(server.title, server.environment if environment is None else environment, note)


def converge(
    change: Plan,
    check_mode: bool,
    warn: Callable[[str], None],
    first: Sequence[Step] = (),
) -> Outcome:
    """Make the checks of a plan, apply it and verify the result; in check mode only the checks.

    :param first: steps before those of the plan; none in check mode.
    :raises AirflowError: if something is in the way, in which case nothing is changed or everything is rolled back.
    """
    restart = None
    if change.changes or any(change.checks):
        from ansible_collections.fleetops.airflow.plugins.module_utils._change.prepare import prepare

        restart = prepare(change, warn)
    if check_mode and change.changes:
        return Outcome()
    backup_file = None
    if first or change.changes:
        from ansible_collections.fleetops.airflow.plugins.module_utils._change.apply import apply

        backup_file = apply(change, restart, first)
    else:
        verify(change)
    seen = restart is None or restart.seen
    if not seen:
        warn(
            "Whether what was restarted has read %s could not be determined: after the restart no new process "
            "that reads it was found on this host." % change.host.path
        )
    return Outcome(backup_file, change.verification.login is not None, seen)

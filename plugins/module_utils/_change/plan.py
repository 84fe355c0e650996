# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done so that a host is as a task wants it. Pure: from what was found to a value, without the host."""

from __future__ import annotations

from typing import Any, Sequence

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import (
    Setting,
    edit,
    shown,
    validate_overrides,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._change.current import CurrentState, addresses_of
from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import ChangePolicy, Login, Target
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import Address
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import (
    KERBEROS,
    backends_in_file,
    backends_read,
    kerberos_backend,
    refuses_passwords,
)


class DesiredState(Record):
    """What a task wants of airflow.cfg and of the server."""

    settings: list[Setting]
    for_the_api: bool  # whether the change is for the servers of the API, and of no use to other services alone
    login: Login | None = None  # has to be accepted by the server in the end


class Checks(Record):
    """What must hold before anything is written, in check mode too. ``prepare`` makes the checks, in this order."""

    bystanders: bool = False  # fails: servers read the file, and the task names only services that are not theirs
    keytab: bool = False  # the server can use its keytab
    keytab_backend: str | None = None  # the Kerberos backend that reports the name which the keytab needs
    imports: tuple[str, ...] = ()  # backends that Airflow can import
    services: bool = False  # the named services exist, and run the server


class Verification(Record):
    """What the server has to show in the end, or if there is nothing to do."""

    health: bool = False  # a restart waits for health by itself
    login: Login | None = None
    url: str = ""  # where the login is tried


class NextEnvironment(Record):
    """What a server gets at its next start. ``source``: whose it is, for a sentence; ``note``: a sentence on it."""

    source: str
    environment: dict[str, str]
    note: str = ""


class Plan(Record):
    """What a task is going to do, or in check mode would do."""

    target: Target
    policy: ChangePolicy
    current: CurrentState
    settings: list[Setting]
    after: Cfg
    restart: bool
    restart_reason: str | None
    addresses: list[Address]  # where the servers of the API are with the changed file
    checks: Checks
    verification: Verification
    environment: dict[str, str]  # of the server in the end
    warnings: list[str]

    @property
    def host(self) -> Host:
        return self.current.host

    @property
    def before(self) -> Cfg:
        return self.current.cfg

    @property
    def edits(self) -> bool:
        """Whether airflow.cfg changes."""
        return self.after is not self.before

    @property
    def changes(self) -> bool:
        return self.edits or self.restart

    @property
    def ends_current(self) -> bool:
        """Whether the running server has read ``after`` in the end."""
        return self.restart or (self.current.is_current and self.restart_reason is None)

    def result(self) -> dict[str, Any]:
        """What every module that changes airflow.cfg returns."""
        unknown = not self.current.is_known and self.restart_reason is None
        return {
            "changed": self.changes,
            "restarted": self.restart,
            "restart_pending": None if unknown else self.restart_reason is not None and not self.restart,
            "restart_reason": self.restart_reason,
            "rolled_back": False,
            "airflow_version": self.host.version,
            "path": self.host.path,
        }

    def diff(self) -> dict[str, str]:
        """The managed options before and after, for ``--diff``."""
        before, after = shown(self.before, self.after, self.settings)
        path = self.host.path
        return {"before_header": path, "after_header": path, "before": before, "after": after}


def plan(
    current: CurrentState,
    desired: DesiredState,
    target: Target,
    policy: ChangePolicy,
    next_environments: Sequence[NextEnvironment] = (),
) -> Plan:
    """
    :param next_environments: of each of the host's servers; none if they are those of the running servers.
    :raises AirflowError: if what the task wants cannot be: a variable overrides the file, or nobody can log in.
    """
    host, before = current.host, current.cfg
    following = next_environments or [NextEnvironment(one.title, one.environment) for one in host.servers]
    for source, environment, note in following or [NextEnvironment(host.environment_of, host.environment)]:
        validate_overrides(desired.settings, environment, source, " Nothing was changed.%s" % note)
    variables = [variable for setting in desired.settings for variable in setting.variables]
    gone = [
        variable
        for server, after_restart in zip(host.servers, following)
        for variable in variables
        if variable in server.environment and variable not in after_restart.environment
    ]
    environment = following[0].environment if following else host.environment
    after = edit(before, desired.settings)
    if after is not before:
        from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.values import validate_values

        validate_values(desired.settings, after)
    edits = after is not before
    reason = "airflow.cfg changes" if edits else current.restart_reason
    if gone and not reason:
        reason = "%s is still in the environment of the running server, and its service no longer sets it" % gone[0]
    if policy.restart == "always":
        reason = reason or "restart is always"
    restart = reason is not None and policy.restart != "never"
    backends = backends_read(host.family, after, environment)
    if desired.login and refuses_passwords(host.family, backends):
        raise AirflowError(
            "username and password are given to prove the result, and with %s the API takes no passwords. Nothing "
            "was changed. Add basic_auth to backends, or leave username and password out." % ", ".join(backends)
        )
    addresses = addresses_of(host, after, target)
    checks = _checks(current, desired, target, after, backends, restart)
    return Plan(
        target=target,
        policy=policy,
        current=current,
        settings=desired.settings,
        after=after,
        restart=restart,
        restart_reason=reason,
        addresses=addresses,
        checks=checks,
        verification=_verification(current, desired, target, policy, addresses, restart),
        environment=environment,
        warnings=[
            "%s keeps its old configuration: it is not among the services that are restarted." % str(server)
            for server in (host.bystanders if restart and not checks.bystanders else [])
        ],
    )


def _checks(
    current: CurrentState, desired: DesiredState, target: Target, after: Cfg, backends: list[str], restart: bool
) -> Checks:
    host, named = current.host, target.services.names
    changes = restart or after is not current.cfg
    kerberos = kerberos_backend(host.family, backends)
    keytab = kerberos is not None or any(setting.section == KERBEROS for setting in desired.settings)
    keytab = keytab and desired.for_the_api
    old = backends_in_file(host.family, current.cfg)
    return Checks(
        bystanders=desired.for_the_api
        and bool(host.bystanders)
        and not host.servers
        and not target.services.restart_command,
        keytab=keytab,
        keytab_backend=kerberos if keytab and changes else None,
        imports=tuple(path for path in backends_in_file(host.family, after) if path not in old) if changes else (),
        services=not restart and host.server is not None and bool(named) and not host.service_names & set(named),
    )


def _verification(
    current: CurrentState,
    desired: DesiredState,
    target: Target,
    policy: ChangePolicy,
    addresses: list[Address],
    restart: bool,
) -> Verification:
    """That nothing has to be changed is not enough: a run that was killed may have left a server that cannot start."""
    if restart:
        return Verification(login=desired.login, url=addresses[0].base_url) if addresses else Verification()
    if policy.restart == "never":
        return Verification()
    return Verification(
        health=bool(target.url or current.host.servers),
        login=desired.login,
        url=current.url,
    )

# SPDX-License-Identifier: GPL-3.0-or-later
"""The file and the running server as they are before anything is done, and whether the one has read the other."""

from __future__ import annotations

import time
from typing import Callable

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import secret_values
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import Target
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError, become_advice, secrets
from ansible_collections.fleetops.airflow.plugins.module_utils._host import health, proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.endpoint import (
    Endpoint,
    endpoint_of,
    listens,
    orphans_of,
    unrelated_listeners,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._host.file_times import last_changed
from ansible_collections.fleetops.airflow.plugins.module_utils._host.files import read_foreign
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host
from ansible_collections.fleetops.airflow.plugins.module_utils._host.isolation import shares_network
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import (
    Address,
    Server,
    base_url,
    is_before,
    serves_execution_only,
    to_iso_utc,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._host.trust import described, voucher_of
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

_MOST_BYTES = 1 << 24  # of airflow.cfg, which has some 100 kB


class CurrentState(Record):
    """The file and the running server, before anything is done."""

    host: Host
    data: bytes
    cfg: Cfg
    addresses: list[Address]  # of the servers of the API that belong to the task
    healths: list[Callable[[], health.Health]]  # their answers to a question that has been sent already
    url: str  # base URL, without a slash at its end
    restart_reason: str | None  # why the running server does not do what the file says
    unknown: tuple[str, ...] = ()  # why that could not be determined, if so

    @property
    def is_known(self) -> bool:
        """Whether it could be determined that the running server does what the file says, or does not."""
        return not self.unknown

    @property
    def is_current(self) -> bool:
        """Whether a running server is known to have read the file as it is."""
        return self.is_known and self.restart_reason is None and self.host.server is not None


def inspect(host: Host, target: Target) -> CurrentState:
    """Look at the file and at the running server, without starting a program.

    :raises AirflowError: if the file cannot be read, or another server answers where this host's should.
    """
    data = read_data(host)
    cfg = Cfg.from_bytes(data, host.path)
    secrets.append(lambda: secret_values(cfg, host.environment))
    addresses = addresses_of(host, cfg, target)
    healths = [health.begin(address.health_url, health.TIMEOUT, target.tls) for address in addresses]
    url = _url(host, cfg, target)
    unknown: list[str] = []
    reason = _restart_reason(host, addresses, unknown.append)
    reason = reason or _reason_of_components(host, target.services.names, unknown.append)
    return CurrentState(host, data, cfg, addresses, healths, url, reason, tuple(unknown))


def _url(host: Host, cfg: Cfg, target: Target) -> str:
    return (target.url or base_url(host.family, cfg, host.arguments, host.environment)).rstrip("/")


def read_cfg(host: Host) -> Cfg:
    """:raises AirflowError: if airflow.cfg cannot be read."""
    cfg = Cfg.from_bytes(read_data(host), host.path)
    secrets.append(lambda: secret_values(cfg, host.environment))
    return cfg


def read_data(host: Host) -> bytes:
    """:raises AirflowError: if airflow.cfg cannot be read."""
    try:
        return read_foreign(host.path, _MOST_BYTES)
    except OSError as error:
        raise AirflowError("%s cannot be read: %s. Nothing was changed." % (host.path, error.strerror)) from None


def _restart_reason(host: Host, addresses: list[Address], report_unknown: Callable[[str], None]) -> str | None:
    """Why the running servers do not do what the file says. None if they do.

    :param addresses: of the servers; one if none runs.
    :param report_unknown: called with why, if that cannot be determined.
    :raises AirflowError: if a server at one of the addresses reads another file.
    """
    servers: list[Server | None] = [*host.servers] or [None]
    for server, address in zip(servers, addresses):
        unrelated = _unrelated(host, server, address)
        for orphan in orphans_of(host.home, host.real_path, host.uids, unrelated):
            if server is None or orphan.started < server.process.started:
                return "%s (pid %d) outlived its server and serves the configuration of %s" % (
                    "gunicorn" if "gunicorn" in orphan.arguments[0] else "a worker",
                    orphan.pid,
                    to_iso_utc(orphan.started),
                )
            unrelated.remove(orphan)  # with `airflow webserver -D` gunicorn is no child of the server that started it
        if server is None:
            return _reason_without_server(host, address, unrelated, report_unknown)
        if unrelated:
            report_unknown(
                "Process %d (%s) listens at %s beside the server (pid %d), so what answers there cannot be determined."
                % (unrelated[0].pid, described(unrelated[0]), address.base_url, server.process.pid)
            )
    if host.servers:
        oldest = min(host.servers, key=lambda server: server.process.started)
        return _older(host, oldest.process, "the server", report_unknown)
    return None


def _reason_of_components(host: Host, services: tuple[str, ...], report_unknown: Callable[[str], None]) -> str | None:
    """Why components of Airflow that the task names beside the servers of the API, or without them, need a restart."""
    names = set(services) - host.service_names
    if not names:
        return None
    for process in sorted(proc.processes(b"airflow"), key=lambda process: process.started):
        found = names & voucher_of(process).names
        if found:
            reason = _older(host, process, "the service %s" % sorted(found)[0], report_unknown)
            if reason:
                return reason
    return None


def _unrelated(host: Host, server: Server | None, address: Address) -> list[proc.Process]:
    """Who listens at the address, and does not belong to the server.

    :raises AirflowError: if one is a server that reads another file.
    """
    if not address.endpoint:
        return []
    unrelated = unrelated_listeners(address.endpoint, server.process.pid if server else None)
    for other in host.others if unrelated else ():
        if any(proc.is_within(process.pid, other.process.pid) for process in unrelated):
            raise AirflowError(
                "The server at %s (%s) does not read %s: a change there would do nothing. Nothing was changed. "
                "Correct path or airflow_home." % (address.base_url, other, host.path)
            )
    return unrelated


def _older(host: Host, process: proc.Process, what: str, report_unknown: Callable[[str], None]) -> str | None:
    """Whether the file has changed since the process has read it."""
    changed, renewed = last_changed(host.path)
    if changed > time.time():
        report_unknown(
            "%s was last changed in the future (%s), so whether %s has read it as it is now cannot be told."
            % (host.path, to_iso_utc(changed), what)
        )
    elif is_before(process, changed):
        return "%s (pid %d, started %s) is older than airflow.cfg (%s)" % (
            what,
            process.pid,
            to_iso_utc(process.started),
            to_iso_utc(changed),
        )
    elif is_before(process, renewed):
        return (
            "airflow.cfg, or a link to it, was replaced or got another owner or mode at %s, after %s (pid %d) "
            "was started: it may have read another file" % (to_iso_utc(renewed), what, process.pid)
        )
    return None


def _reason_without_server(
    host: Host, address: Address, unrelated: list[proc.Process], report_unknown: Callable[[str], None]
) -> str | None:
    if not address.endpoint:
        report_unknown(
            "The server at %s is not on this host: whether it has read %s cannot be told."
            % (address.base_url, host.path)
        )
    elif proc.is_listened_on(*address.endpoint):
        report_unknown(
            "What listens on port %d (%s) could not be seen to be the server that reads %s, so whether it has read it "
            "as it is now cannot be told.%s"
            % (
                address.endpoint.port,
                ", ".join("pid %d" % process.pid for process in unrelated) or "another user's",
                host.path,
                become_advice(),
            )
        )
    else:
        return "the server is not running"
    return None


def addresses_of(host: Host, cfg: Cfg, target: Target) -> list[Address]:
    """Where the servers of the API are that belong to the task."""
    if not host.serves:
        return []
    if not target.url:
        _check_network(host)
    if len(host.servers) < 2:
        own = base_url(host.family, cfg, host.arguments, host.environment)
        return [_address(host, host.server, target.url or own, own)]
    owns = [base_url(host.family, cfg, server.process.arguments, server.environment) for server in host.servers]
    if target.url:
        return [_address(host, host.server, target.url, owns[0])]
    return [_address(host, server, own, own) for server, own in zip(host.servers, owns)]


def _check_network(host: Host) -> None:
    """Raise AirflowError where the address that a server names is not one of this host's network.

    At the same port of this host another server may listen, whose answers would be taken for its own.
    """
    for server in host.servers:
        if not shares_network(server.process.pid):
            raise AirflowError(
                "The server (%s) listens in a network namespace of its own, so from here its address is not known. "
                "Nothing was changed. Set url to an address that reaches it from this host." % (server,)
            )


def _address(host: Host, server: Server | None, url: str, own: str) -> Address:
    """:param own: the server's address by its own arguments, environment and file."""
    base, family = url.rstrip("/"), host.family
    arguments, environment = host.arguments, host.environment
    if server:
        arguments, environment = server.process.arguments, server.environment
    path = family.health_path
    if family.execution_health_path and serves_execution_only(arguments, environment):
        path = family.execution_health_path
    if server and not shares_network(server.process.pid):
        return Address(base, base + path, None)
    endpoint = endpoint_of(base)
    if url != own and _leads_elsewhere(host, server, endpoint):
        endpoint = endpoint_of(own)
    return Address(base, base + path, endpoint, is_given=url != own)


def _leads_elsewhere(host: Host, server: Server | None, endpoint: Endpoint | None) -> bool:
    """Whether a URL leads to what stands before the server: it does where another program listens at its port. Where
    nothing listens while the server is stopped, it may be the server's own port.
    """
    if endpoint is None:
        return True
    return not listens(server.process.pid, endpoint) if server else _is_taken(host, endpoint)


def _is_taken(host: Host, endpoint: Endpoint) -> bool:
    """Whether a process listens there that this Airflow has not left behind."""
    unrelated = unrelated_listeners(endpoint, None)
    if not unrelated:
        return proc.is_listened_on(*endpoint)  # another user's, whom this task cannot see
    return not orphans_of(host.home, host.real_path, host.uids, unrelated)

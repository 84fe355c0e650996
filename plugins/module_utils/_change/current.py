# SPDX-License-Identifier: GPL-3.0-or-later
"""The file and the running server as they are before anything is done, and whether the one has read the other."""

from __future__ import annotations

import os
import time
from typing import Callable

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import Target
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host import health, proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import (
    Address,
    base_url,
    is_older_than,
    loopback_port,
    orphan_of,
    to_iso_utc,
    unrelated_listeners,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record


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
    data = _read(host)
    cfg = Cfg.from_bytes(data, host.path)
    addresses = addresses_of(host, cfg, target)
    healths = [health.begin(address.health_url, health.TIMEOUT, target.tls) for address in addresses]
    url = _url(host, cfg, target)
    unknown: list[str] = []
    reason = _restart_reason(host, url, unknown.append)
    return CurrentState(host, data, cfg, addresses, healths, url, reason, tuple(unknown))


def _url(host: Host, cfg: Cfg, target: Target) -> str:
    return (target.url or base_url(host.family, cfg, host.arguments, host.environment)).rstrip("/")


def _read(host: Host) -> bytes:
    try:
        with open(host.real_path, "rb") as file:
            return file.read()
    except OSError as error:
        raise AirflowError("%s cannot be read: %s." % (host.path, error.strerror)) from None


def _restart_reason(host: Host, url: str, report_unknown: Callable[[str], None]) -> str | None:
    """Why the running server does not do what the file says. None if it does.

    :param report_unknown: called with why, if that cannot be determined.
    :raises AirflowError: if the server at ``url`` reads another file.
    """
    if not host.serves:
        return None
    port = loopback_port(url)
    unrelated = unrelated_listeners(port, host.server) if port else []
    for other in host.others:
        if any(proc.is_within(process.pid, other.process.pid) for process in unrelated):
            raise AirflowError(
                "The server at %s (%s) does not read %s: a change there would do nothing. Nothing was changed. "
                "Correct path or airflow_home." % (url, other, host.path)
            )
    orphan = orphan_of(host.home, unrelated)
    if orphan and host.server and orphan.started >= host.server.process.started:
        orphan = None  # with `airflow webserver -D` gunicorn is no child of the server that started it
    if orphan:
        return "gunicorn (pid %d) outlived its webserver and serves the configuration of %s" % (
            orphan.pid,
            to_iso_utc(orphan.started),
        )
    if host.server:
        changed = os.stat(host.real_path).st_mtime
        if changed > time.time():
            report_unknown(
                "%s was last changed in the future (%s), so whether the server has read it as it is now cannot be told."
                % (host.path, to_iso_utc(changed))
            )
        elif is_older_than(host.server, changed):
            return "the server (pid %d, started %s) is older than airflow.cfg (%s)" % (
                host.server.process.pid,
                to_iso_utc(host.server.process.started),
                to_iso_utc(changed),
            )
    elif not port:
        report_unknown(
            "The server at %s is not on this host: whether it has read %s cannot be told." % (url, host.path)
        )
    elif proc.is_listened_on(port):
        report_unknown(
            "What listens on port %d (%s) could not be seen to be the server that reads %s, so whether it has read it "
            "as it is now cannot be told. Run the task with become: true if you do not."
            % (port, ", ".join("pid %d" % process.pid for process in unrelated) or "another user's", host.path)
        )
    else:
        return "the server is not running"
    return None


def addresses_of(host: Host, cfg: Cfg, target: Target) -> list[Address]:
    """Where the servers of the API are that belong to the task."""
    if target.url or len(host.servers) < 2:
        urls = [_url(host, cfg, target)] if host.serves else []
    else:
        urls = [base_url(host.family, cfg, server.process.arguments, server.environment) for server in host.servers]
    return [Address(url.rstrip("/"), url.rstrip("/") + host.family.health_path) for url in urls]

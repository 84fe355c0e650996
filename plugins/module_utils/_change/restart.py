# SPDX-License-Identifier: GPL-3.0-or-later
"""The restart of services, up to the healthy server. Imported only where something is restarted."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import HIDDEN, Setting, validate_overrides
from ansible_collections.fleetops.airflow.plugins.module_utils._change.transaction import Step
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host import health, proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import (
    CLOCK_TICK,
    Address,
    Server,
    await_healthy,
    is_older_than,
    orphan_of,
    running_servers,
    unrelated_listeners,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._services.managers import Manager

_RECOVERY = 120  # seconds, at least, that a server gets after a rollback
_STEADY = 5  # seconds after which a service that nobody can ask counts as started
_LOG_EXCERPT = 3000  # characters of its log that a failed server is quoted with


class Restart(Step):
    """One restart of some services, and the wait until new, healthy servers answer.

    To do it is for the changed file, to undo it is the same again for the old file.

    :param managers: the services, restarted in their order.
    :param new: where the servers of the API are with the changed file, and ``old`` where they were: the change may move
        them. Both empty where none of the services is one.
    :param settings: what the new server has to read in the file: its environment may be another one than before.
    :param secrets: values that must not appear when the server's log is quoted.
    """

    restarts = True

    def __init__(
        self,
        managers: list[Manager],
        servers: list[Server],
        home: str,
        cfg_path: str,
        new: list[Address],
        old: list[Address],
        timeout: float,
        tls: health.Tls,
        settings: list[Setting],
        secrets: list[str],
    ) -> None:
        self._managers = managers
        self._home = home
        self._cfg_path = cfg_path
        self._addresses, self._others = new, old
        self._timeout = timeout
        self._tls = tls
        self._settings = settings
        self._secrets = secrets
        self._outputs = {path for server in servers for path in proc.regular_outputs(server.process.pid)}

    def do(self) -> None:
        """:raises AirflowError: with the end of the server's log, if there is no new and healthy server in time."""
        self._validate_overrides(self._restart(self._timeout))

    def undo(self) -> None:
        """:raises AirflowError: as ``do``. What overrides the old file did so before."""
        self._addresses, self._others = self._others, self._addresses
        # A server that has to come back with the old file gets the time it needs: nobody gains from giving up.
        self._restart(max(self._timeout, _RECOVERY))

    def _restart(self, timeout: float) -> float:
        """Restart, and wait for health for so many seconds. When it began."""
        for manager in self._managers:
            self._outputs.update(manager.outputs())
        for name in ("out", "err", "log"):  # where `airflow webserver -D` writes
            self._outputs.add(os.path.join(self._home, "airflow-webserver." + name))
        sizes = {path: os.path.getsize(path) if os.path.isfile(path) else 0 for path in self._outputs}
        begun = time.time()
        try:
            self._stop_and_start()
            for address in self._addresses:
                self._await_health(address, begun, timeout)
            if len(self._managers) > len(self._addresses):
                self._await_steadiness(begun)
        except AirflowError as error:
            raise AirflowError("%s %s" % (error, self._log_excerpt(sizes))) from None
        return begun

    def _stop_and_start(self) -> None:
        old = self._serving()
        stopped = []
        try:
            for manager in self._managers:
                stopped.append(manager)
                manager.stop(self._timeout)
            if all(manager.interposes for manager in self._managers):
                self._end_leftovers(old)
        except AirflowError:
            for manager in stopped:  # nothing may stay down because its neighbour does not stop
                with contextlib.suppress(AirflowError):
                    manager.start(self._timeout)
            raise
        for manager in self._managers:
            manager.start(self._timeout)

    def _serving(self) -> list[proc.Process]:
        """The processes that belong to the servers now: whatever of them is left when they are down, is an orphan."""
        ports = {address.port for address in (*self._addresses, *self._others)}
        servers = [server for server in running_servers() if server.cfg_path == self._cfg_path]
        if len(servers) > 1:  # others may read the same file, and are not ours to touch
            listeners = {pid for port in ports if port for pid in proc.listeners(port)}
            servers = [one for one in servers if any(proc.is_within(pid, one.process.pid) for pid in listeners)]
        family = [process for server in servers for process in proc.descendants(server.process.pid)]
        unrelated = [process for port in ports if port for process in unrelated_listeners(port, None)]
        orphan = orphan_of(self._home, unrelated)
        return family + ([orphan, *proc.descendants(orphan.pid)] if orphan else [])

    def _end_leftovers(self, old: list[proc.Process]) -> None:
        """End what outlived its server: it would go on answering with the old configuration."""
        deadline = time.monotonic() + 3
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            left = [process for process in old if proc.is_alive(process)]
            for process in left:
                if number is not None:
                    proc.send_signal(process, number)
            while any(proc.is_alive(process) for process in left) and time.monotonic() < deadline:
                time.sleep(0.05)
            deadline = time.monotonic() + 5
        for port in {address.port or 0 for address in self._addresses}:
            unrelated = unrelated_listeners(port, None) if port else []
            if unrelated:
                raise AirflowError(
                    "Port %d is taken by pid %d (%s), which does not belong to this Airflow."
                    % (port, unrelated[0].pid, " ".join(unrelated[0].arguments[:2]))
                )

    def _await_health(self, address: Address, begun: float, timeout: float) -> None:
        def objection() -> str | None:
            old = _older_than(address.port, begun)
            return "still served by pid %d, which is older than the restart" % old.pid if old else None

        await_healthy(address.health_url, timeout, self._tls, objection, self._validate_running)

    def _validate_overrides(self, begun: float) -> None:
        for server in running_servers():
            if server.cfg_path == self._cfg_path and not is_older_than(server, begun):
                source = "the restarted server (pid %d)" % server.process.pid
                validate_overrides(self._settings, server.environment, source, outcome="")

    def _await_steadiness(self, begun: float) -> None:
        """Services without an address show only by staying that they could read the file."""
        while time.time() < begun + _STEADY:
            self._validate_running()
            time.sleep(0.2)

    def _validate_running(self) -> None:
        for manager in self._managers:
            given_up = manager.failure()
            if given_up:
                raise AirflowError("After the restart %s did not come up: %s." % (manager, given_up))

    def _log_excerpt(self, sizes: dict[str, int]) -> str:
        """What the server wrote since, from its log files and from its manager."""
        words = ""
        for path in sorted(sizes):
            try:
                with open(path, "rb") as file:
                    end = file.seek(0, os.SEEK_END)
                    file.seek(max(sizes[path] if sizes[path] <= end else 0, end - _LOG_EXCERPT))
                    text = file.read().decode("utf-8", "replace").strip()
            except OSError:
                continue
            if text:
                words += "\n--- %s:\n%s" % (path, text)
        for manager in self._managers:
            said = manager.words()
            words += "\n--- %s:\n%s" % (manager, said[-_LOG_EXCERPT:]) if said else ""
        for secret in self._secrets:
            words = words.replace(secret, HIDDEN)
        return "The server's last words:%s\n---" % words if words else "No log of the server was found to quote."


def _older_than(port: int | None, begun: float) -> proc.Process | None:
    """A process that answers on the port and was there before the restart. Unknown behind a proxy."""
    processes = [proc.read_process(pid) for pid in proc.listeners(port)] if port else []
    return next((process for process in processes if process and process.started + CLOCK_TICK < begun), None)

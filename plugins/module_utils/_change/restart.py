# SPDX-License-Identifier: GPL-3.0-or-later
"""One restart of the services that a task means: stop, end what they left, start, and wait until they are healthy."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Callable, Sequence

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import Setting, validate_overrides
from ansible_collections.fleetops.airflow.plugins.module_utils._change.transaction import Step
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host import health, proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.endpoint import (
    Endpoint,
    listens,
    orphans_of,
    unrelated_listeners,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._host.files import place_of, read_end
from ansible_collections.fleetops.airflow.plugins.module_utils._host.isolation import shares_network
from ansible_collections.fleetops.airflow.plugins.module_utils._host.launchers import components_of
from ansible_collections.fleetops.airflow.plugins.module_utils._host.masking import masked, whole_lines
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import (
    CLOCK_TICK,
    Address,
    Server,
    await_healthy,
    is_older_than,
    running_servers,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._host.trust import described
from ansible_collections.fleetops.airflow.plugins.module_utils._services.managers import Manager

_RECOVERY = 300  # seconds, at least, that a server gets after a rollback
_TERMINATION = 10  # seconds between SIGTERM and SIGKILL, as supervisor has it
_STEADY = 5  # seconds after which a service that nobody can ask counts as started
_MOST_OF_LOG = 1 << 18  # bytes of a log that are looked at
_LOG_EXCERPT = 3000  # characters of its log that a failed server is quoted with


class Restart(Step):
    """One restart of some services, and the wait until new, healthy servers answer.

    To do it is for the changed file, to undo it is the same again for the old file.

    :param managers: the services, restarted in their order.
    :param servers: the running servers of the API that these services are. No other process is ended.
    :param new: where the servers of the API are with the changed file, and ``old`` where they were: the change may move
        them. Both empty where none of the services is one.
    :param timeout: seconds for the health of a server that has been started. What a service manager takes to stop or
        start it has limits of its own.
    :param settings: what the new server has to read in the file: its environment may be another one than before.
    :param unhealthy: why the server was not healthy before this task; None if it was.
    :param uids: the users as whom the server is known to run.
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
        unhealthy: str | None = None,
        uids: set[int] | None = None,
    ) -> None:
        self._managers = managers
        self._servers = servers
        self._home = home
        self._cfg_path = cfg_path
        self._new, self._old = new, old
        self._timeout = timeout
        self._tls = tls
        self._settings = settings
        self._unhealthy = unhealthy
        self._uids = uids or set()
        self.seen = False  # whether a new server was seen that reads the file
        self._touched = False  # whether a service may have been stopped or started
        self._begun = 0.0
        self._pids: list[int | None] = []  # of the services, before
        self._outcome = ""
        self._outputs = {path for server in servers for path in proc.regular_outputs(server.process.pid)}

    def do(self) -> None:
        """:raises AirflowError: with the end of the server's log, if there is no new and healthy server in time."""
        try:
            self._restart(self._new, self._servers)
            self._await(self._new, self._timeout)
            self._inspect_new_servers()
        except AirflowError as error:
            if not self._unhealthy:
                raise
            raise error.followed_by(
                "The server was not healthy before this task either: %s." % self._unhealthy
            ) from None

    def undo(self) -> None:
        """:raises AirflowError: as ``do``, if the server was healthy before this task."""
        if not self._touched:
            self._outcome = "The server was not touched."
            return
        try:
            self._restart(self._old, [*self._servers, *self._started_since()])
            # A server that has to come back with the old file gets the time it needs: nobody gains from giving up.
            timeout = self._timeout if self._unhealthy else max(self._timeout, _RECOVERY)
            self._await(self._old, timeout, known=self._servers)
            survives = any(proc.is_alive(server.process) for server in self._servers)
            self._outcome = "The server was not restarted." if survives else "The server runs with it again."
        except AirflowError:
            if not self._unhealthy:
                raise
            self._outcome = "The server is not healthy, as before."

    def outcome(self) -> str:
        return self._outcome

    def _started_since(self) -> list[Server]:
        """The servers that the restart has brought up."""
        names = {name for server in self._servers for name in server.voucher.names}
        return [
            server
            for server in self._running()
            if server.cfg_path == self._cfg_path
            and not is_older_than(server, self._begun)
            and server.is_credible(self._cfg_path)
            and (not names or server.voucher.names & names)
        ]

    def _running(self) -> list[Server]:
        return [server.with_path_here(self._cfg_path) for server in running_servers()]

    def _restart(self, addresses: list[Address], servers: list[Server]) -> None:
        """Stop and start the services. Whatever fails, none stays down that had been stopped for this."""
        for manager in self._managers:
            self._outputs.update(manager.outputs())
        for name in ("out", "err", "log"):  # where `airflow webserver -D` writes
            self._outputs.add(os.path.join(self._home, "airflow-webserver." + name))
        self._sizes = {path: _size(path) for path in self._outputs}
        self._pids = [manager.main_pid() for manager in self._managers]
        old = self._processes(addresses, servers)
        self._begun = time.time()
        to_start: list[Manager] = list(self._managers)
        try:
            for manager in self._managers:
                self._attempt(manager, manager.stop)
            if all(manager.interposes for manager in self._managers):
                self._end_leftovers(old, addresses)
            while to_start:
                self._attempt(to_start[0], to_start[0].start)
                del to_start[0]
            for manager in self._managers:
                manager.start_dependents()
        except BaseException as error:
            if self._touched:
                self._start_again(to_start)
            if isinstance(error, AirflowError):
                raise error.followed_by(self._log_excerpt()) from None
            raise

    def _attempt(self, manager: Manager, act: Callable[[], None]) -> None:
        """Have a manager act. Where it refuses, and its process is the same as before, nothing has to be undone."""
        before = manager.main_pid()
        try:
            act()
        except BaseException:
            now = None
            with contextlib.suppress(AirflowError):
                now = manager.main_pid()
            self._touched = self._touched or before is None or now != before
            raise
        self._touched = True

    def _start_again(self, managers: list[Manager]) -> None:
        for manager in managers:
            with contextlib.suppress(AirflowError, OSError):
                manager.start()
        for manager in self._managers:
            with contextlib.suppress(AirflowError, OSError):
                manager.start_dependents()

    def _processes(self, addresses: list[Address], servers: list[Server]) -> list[proc.Process]:
        """The processes that belong to these servers now: whatever of them is left when they are down, is an orphan."""
        family = [process for server in servers for process in proc.descendants(server.process.pid)]
        # A manager that ends a launcher may leave what it has started.
        family += [process for manager in self._managers for process in components_of(manager.main_pid() or 0)]
        for address in addresses:
            unrelated = unrelated_listeners(address.endpoint, None) if address.endpoint else []
            for orphan in orphans_of(self._home, self._cfg_path, self._uids, unrelated):
                family += [orphan, *proc.descendants(orphan.pid)]
        return family

    def _end_leftovers(self, old: list[proc.Process], addresses: list[Address]) -> None:
        """End what outlived its server: it would go on answering with the old configuration."""
        deadline = time.monotonic() + 3
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            left = [process for process in old if proc.is_alive(process)]
            for process in left:
                if number is not None:
                    proc.send_signal(process, number)
            while any(proc.is_alive(process) for process in left) and time.monotonic() < deadline:
                time.sleep(0.05)
            deadline = time.monotonic() + _TERMINATION
        for address in addresses:
            unrelated = unrelated_listeners(address.endpoint, None) if address.endpoint else []
            if unrelated and address.endpoint:
                raise AirflowError(
                    "Port %d is taken by pid %d (%s), which does not belong to this Airflow."
                    % (address.endpoint.port, unrelated[0].pid, described(unrelated[0]))
                )

    def _await(self, addresses: list[Address], timeout: float, known: Sequence[Server] = ()) -> None:
        """Wait for health, for so many seconds.

        :param known: servers that may answer although they are older than the restart.
        """
        try:
            for address in addresses:
                self._await_health(address, timeout, known)
            if len(self._managers) > len(addresses):
                self._await_steadiness()
        except AirflowError as error:
            raise error.followed_by(self._log_excerpt()) from None

    def _await_health(self, address: Address, timeout: float, known: Sequence[Server]) -> None:
        def objection() -> str | None:
            old = _older_than(address.endpoint, self._begun)
            if old is None or any(
                proc.is_alive(server.process) and proc.is_within(old.pid, server.process.pid) for server in known
            ):
                return None
            return "still served by pid %d, which is older than the restart" % old.pid

        await_healthy(address.health_url, timeout, self._tls, objection, self._validate_running)

    def _inspect_new_servers(self) -> None:
        """:raises AirflowError: if what came up reads another file, or has a variable that overrides it, or if another
        process listens where it should.
        """
        new = [server for server in self._running() if not is_older_than(server, self._begun)]
        claims = [one for one in new if one.cfg_path == self._cfg_path and not one.is_credible(self._cfg_path)]
        new = [server for server in new if server not in claims]
        reading = [server for server in new if server.cfg_path == self._cfg_path]
        hints = "".join(sorted({manager.reload_hint for manager in self._managers}))
        for server in reading:
            source = "the restarted server (pid %d)" % server.process.pid
            validate_overrides(self._settings, server.environment, source, outcome=hints)
        for address in self._new:
            self._inspect_address(address, new, reading)
        self.seen = bool(reading) if self._new else self._has_new_processes()

    def _has_new_processes(self) -> bool:
        """Whether each of the services has another main process than before."""
        now = [manager.main_pid() for manager in self._managers]
        return all(pid and pid != before for pid, before in zip(now, self._pids))

    def _inspect_address(self, address: Address, new: list[Server], reading: list[Server]) -> None:
        """:param reading: those of the new servers that read the file."""
        names = {name for server in self._servers for name in server.voucher.names}
        views = {server.view.where for server in self._servers if server.view}
        answering = [
            server
            for server in new
            if (address.endpoint and listens(server.process.pid, address.endpoint))
            or (server.view and server.view.where in views and not reading)
            or server.voucher.names & names
        ]
        if answering and not any(server in reading for server in answering):
            raise AirflowError(
                "After the restart the server at %s (%s) does not read %s. Correct path, airflow_home or service."
                % (address.base_url, answering[0], self._cfg_path)
            )
        self._inspect_listeners(address, [server for server in reading if shares_network(server.process.pid)])

    def _inspect_listeners(self, address: Address, reading: list[Server]) -> None:
        """:param reading: the new servers that read the file, and have the network of this host."""
        listening = unrelated_listeners(address.endpoint, None) if address.endpoint and reading else []
        # Of `airflow webserver -D`, gunicorn is no child of the server.
        uids = self._uids.union(server.process.uid for server in reading)
        left = orphans_of(self._home, self._cfg_path, uids, listening)
        family = [one.pid for server in reading for one in (server.process, *proc.descendants(server.process.pid))]
        if not listening or any(process in left or process.pid in family for process in listening):
            return
        if address.is_given and any(map(proc.listening_at, family)):
            return  # a proxy, which was started with the server
        raise AirflowError(
            "After the restart process %d (%s) listens at %s, and not the server that reads %s (pid %d). End that "
            "process, or correct the port."
            % (listening[0].pid, described(listening[0]), address.base_url, self._cfg_path, reading[0].process.pid)
        )

    def _await_steadiness(self) -> None:
        """Services without an address show only by staying that they could read the file."""
        while time.time() < self._begun + _STEADY:
            self._validate_running()
            time.sleep(0.2)

    def _validate_running(self) -> None:
        for manager in self._managers:
            given_up = manager.failure()
            if given_up:
                raise AirflowError("After the restart %s did not come up: %s." % (manager, given_up))

    def _log_excerpt(self) -> str:
        """What the server wrote since, from its log files and from its manager."""
        words = ""
        for path in sorted(self._sizes):
            try:
                data, cut = read_end(path, self._sizes[path], _MOST_OF_LOG)
            except OSError:
                continue
            text = data.decode("utf-8", "replace")
            text = masked((whole_lines(text) if cut else text).strip())[-_LOG_EXCERPT:]
            if text:
                words += "\n--- %s:\n%s" % (path, text)
        for manager in self._managers:
            said = manager.words()
            words += "\n--- %s:\n%s" % (manager, said[-_LOG_EXCERPT:]) if said else ""
        return "Log excerpt:%s\n---" % words if words else "No log of the server was found to quote."


def _size(path: str) -> int:
    """0 where there is no such file."""
    try:
        with place_of(path) as place:
            status = place.status()
    except OSError:
        return 0
    return status.st_size if status else 0


def _older_than(endpoint: Endpoint | None, begun: float) -> proc.Process | None:
    """A process that listens there and was there before the restart. Unknown behind a proxy."""
    processes = unrelated_listeners(endpoint, None) if endpoint else []
    return next((process for process in processes if process.started + CLOCK_TICK < begun), None)

# SPDX-License-Identifier: GPL-3.0-or-later
"""The running server of the API on this host: which process it is, what it was started with, how it is restarted."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from typing import Callable, Mapping, NamedTuple
from urllib.parse import urlsplit

from ansible_collections.fleetops.airflow.plugins.module_utils import _health, _managers, _proc
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._installation import (
    airflow_home,
    config_path,
    interpreter_behind,
    interpreter_of,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import SERVER_COMMANDS, Era

_TITLE = re.compile(r"airflow api_server -- host:(\S*) port:(\d+)\s*$")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_CLOCK_TICK = 0.02  # a process's start time is known to the tick below it
_RECOVERY = 120  # seconds, at least, that a server gets after a rollback
_STEADY = 5  # seconds after which a service that nobody can ask counts as started
_LAST_WORDS = 3000  # characters of its log that a failed server is quoted with


class Server(NamedTuple):
    """A running ``airflow webserver`` or ``airflow api-server``: the parent, not its workers.

    ``process.arguments`` are those of its command line. Airflow 3 overwrites them with a title that has host and port.
    Airflow's other processes cannot be told apart: they overwrite what they were started with.
    """

    process: _proc.Process
    environment: dict[str, str]
    home: str
    cfg_path: str  # resolved

    @property
    def interpreter(self) -> str | None:
        script = next((part for part in self.process.arguments[1:2] if os.path.isabs(part)), None)
        python = self.process.arguments[0]
        return (
            (interpreter_of(script) if script else None)
            or (python if os.path.isabs(python) else None)
            or interpreter_behind(_proc.mapped_files(self.process.pid))
        )

    def __str__(self) -> str:
        return "pid %d, started %s, reads %s" % (self.process.pid, moment(self.process.started), self.cfg_path)


def running_servers() -> list[Server]:
    """The servers of this host whose environment we may read (as root: all)."""
    found = []
    for process in map(_untitled, _proc.processes(mentioning=b"airflow")):
        environment = _proc.environment(process.pid) if _is_server(process.arguments) else None
        if environment is None:
            continue
        user_home = environment.get("HOME") or _home_of(process.uid)
        folder = _proc.working_directory(process.pid) or "/"
        home = os.path.join(folder, airflow_home(environment, user_home))
        path = os.path.realpath(os.path.join(folder, config_path(environment, user_home)))
        found.append(Server(process, environment, home, path))
    return found


def _untitled(process: _proc.Process) -> _proc.Process:
    """The process with the arguments that stand in the title of Airflow 3's server."""
    title = _TITLE.match(process.arguments[0]) if process.arguments else None
    if not title:
        return process
    host, port = title.groups()
    return process._replace(arguments=["python", "airflow", "api-server", "--host", host, "--port", port])


def _is_server(arguments: list[str]) -> bool:
    """``python /somewhere/airflow COMMAND ...`` or ``python -m airflow COMMAND ...``."""
    for position, argument in enumerate(arguments[1:3], start=1):
        if os.path.basename(argument) == "airflow":
            return arguments[position + 1 : position + 2] != [] and arguments[position + 1] in SERVER_COMMANDS
    return False


def _home_of(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return "/"


def base_url(era: Era, cfg: Cfg, arguments: list[str], environment: Mapping[str, str]) -> str:
    """Where the server should be reached on this host: its own arguments, its environment, the file, the default."""

    def setting(name: str, *flags: str) -> str:
        for flag, value in zip(arguments, arguments[1:]):
            if flag in flags:
                return value
        for argument in arguments:
            flag, equals, value = argument.partition("=")
            if equals and flag in flags:
                return value
        section, option = era.address[name]
        variable = "AIRFLOW__%s__%s" % (section.upper(), option.upper())
        return environment.get(variable) or cfg.get(section, option) or ""

    host = setting("host", "-H", "--hostname", "--host")
    if host in ("", "0.0.0.0", "::"):
        host = "127.0.0.1"
    port = setting("port", "-p", "--port")
    scheme = "https" if setting("ssl_cert", "--ssl-cert") else "http"
    path = urlsplit(setting("base_url")).path.rstrip("/")
    return "%s://%s:%s%s" % (scheme, "[%s]" % host if ":" in host else host, port if port.isdigit() else "8080", path)


def loopback_port(url: str) -> int | None:
    """The port of a URL that leads to this very host, else None: behind a proxy nobody knows who answers."""
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80) if parts.hostname in _LOOPBACK else None


def is_older_than(server: Server, changed: float) -> bool:
    return server.process.started + _CLOCK_TICK < changed


def strangers_on(port: int, server: Server | None) -> list[_proc.Process]:
    """Processes that listen on the server's port and do not belong to it."""
    pids = _proc.listeners(port)
    found = [_proc.read_process(pid) for pid in pids if not server or not _proc.is_within(pid, server.process.pid)]
    return [process for process in found if process]


def orphan_of(home: str, strangers: list[_proc.Process]) -> _proc.Process | None:
    """The gunicorn master among them that once belonged to this home: its pid is in the home's pid file."""
    try:
        with open(os.path.join(home, "airflow-webserver.pid"), encoding="ascii") as file:
            pid = int(file.read().strip())
    except (OSError, ValueError):
        return None
    masters = [process for process in strangers if process.pid == pid]
    return masters[0] if masters and any("gunicorn" in part for part in masters[0].arguments[:3]) else None


def await_healthy(
    health_url: str,
    timeout: float,
    tls: _health.Tls,
    objection: Callable[[], str | None] = lambda: None,
    failure: Callable[[], None] = lambda: None,
) -> None:
    """Ask until the server says that it is healthy.

    :param timeout: seconds.
    :param objection: why a healthy answer does not count yet.
    :param failure: asked after each other answer; raises AirflowError if there is no hope left.
    :raises AirflowError: if the time is over.
    """
    deadline = time.monotonic() + timeout
    pause = 0.1
    while True:
        state, detail = _health.ask_health(health_url, 10.0, tls)
        if state == "healthy":
            objected = objection()
            if objected is None:
                return
            detail = objected
        failure()
        if time.monotonic() > deadline:
            raise AirflowError("The server at %s was not healthy within %d s: %s." % (health_url, timeout, detail))
        time.sleep(pause)
        pause = min(0.5, pause * 1.5)


class Address(NamedTuple):
    """Where a server of the API is asked."""

    base_url: str
    health_url: str

    @property
    def port(self) -> int | None:
        """The port on this host; None if it is somewhere else."""
        return loopback_port(self.base_url)


class Restart:
    """One restart of some services, and the wait until new, healthy servers answer.

    The first call is for the changed file, a second one for the old file that has been put back.

    :param managers: the services, restarted in their order.
    :param new: where the servers of the API are with the changed file, and ``old`` where they were: the change may move
        them. Both empty where none of the services is one.
    :param prove: a last check with the healthy server; raises AirflowError if it fails.
    :param secrets: values that must not appear when the server's log is quoted.
    """

    def __init__(
        self,
        managers: list[_managers.Manager],
        servers: list[Server],
        home: str,
        cfg_path: str,
        new: list[Address],
        old: list[Address],
        timeout: float,
        tls: _health.Tls,
        prove: Callable[[], None] | None,
        secrets: list[str],
    ) -> None:
        self._managers = managers
        self._home = home
        self._cfg_path = cfg_path
        self._addresses, self._others = new, old
        self._timeout = timeout
        self._tls = tls
        self._prove = prove
        self._secrets = secrets
        self._calls = 0
        self._outputs = {path for server in servers for path in _proc.regular_outputs(server.process.pid)}

    def __call__(self) -> None:
        """:raises AirflowError: with the server's last words, if there is no new and healthy server in time."""
        for manager in self._managers:
            self._outputs.update(manager.outputs())
        for name in ("out", "err", "log"):  # where `airflow webserver -D` writes
            self._outputs.add(os.path.join(self._home, "airflow-webserver." + name))
        sizes = {path: os.path.getsize(path) if os.path.isfile(path) else 0 for path in self._outputs}
        self._calls += 1
        if self._calls == 2:
            self._addresses, self._others = self._others, self._addresses
        begun = time.time()
        try:
            self._stop_and_start()
            for address in self._addresses:
                self._await_health(address, begun)
            if len(self._managers) > len(self._addresses):
                self._await_steadiness(begun)
        except AirflowError as error:
            raise AirflowError("%s %s" % (error, self._last_words(sizes))) from None
        if self._prove and self._calls == 1:  # nobody said that the login is good for the old file as well
            self._prove()

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

    def _serving(self) -> list[_proc.Process]:
        """The processes that belong to the servers now: whatever of them is left when they are down, is an orphan."""
        ports = {address.port for address in (*self._addresses, *self._others)}
        servers = [server for server in running_servers() if server.cfg_path == self._cfg_path]
        if len(servers) > 1:  # others may read the same file, and are not ours to touch
            listeners = {pid for port in ports if port for pid in _proc.listeners(port)}
            servers = [one for one in servers if any(_proc.is_within(pid, one.process.pid) for pid in listeners)]
        family = [process for server in servers for process in _proc.descendants(server.process.pid)]
        strangers = [stranger for port in ports if port for stranger in strangers_on(port, None)]
        orphan = orphan_of(self._home, strangers)
        return family + ([orphan, *_proc.descendants(orphan.pid)] if orphan else [])

    def _end_leftovers(self, old: list[_proc.Process]) -> None:
        """End what outlived its server: it would go on answering with the old configuration."""
        patience = time.monotonic() + 3
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            left = [process for process in old if _proc.is_alive(process)]
            for process in left:
                if number is not None:
                    _proc.send_signal(process, number)
            while any(_proc.is_alive(process) for process in left) and time.monotonic() < patience:
                time.sleep(0.05)
            patience = time.monotonic() + 5
        for port in {address.port or 0 for address in self._addresses}:
            strangers = strangers_on(port, None) if port else []
            if strangers:
                raise AirflowError(
                    "Port %d is taken by pid %d (%s), which does not belong to this Airflow."
                    % (port, strangers[0].pid, " ".join(strangers[0].arguments[:2]))
                )

    def _await_health(self, address: Address, begun: float) -> None:
        def objection() -> str | None:
            old = _older_than(address.port, begun)
            return "still served by pid %d, which is older than the restart" % old.pid if old else None

        # A server that has to come back with the old file gets the time it needs: nobody gains from giving up.
        timeout = self._timeout if self._calls == 1 else max(self._timeout, _RECOVERY)
        await_healthy(address.health_url, timeout, self._tls, objection, self._refuse_failure)

    def _await_steadiness(self, begun: float) -> None:
        """Services without an address show only by staying that they could read the file."""
        while time.time() < begun + _STEADY:
            self._refuse_failure()
            time.sleep(0.2)

    def _refuse_failure(self) -> None:
        for manager in self._managers:
            given_up = manager.failure()
            if given_up:
                raise AirflowError("After the restart %s did not come up: %s." % (manager, given_up))

    def _last_words(self, sizes: dict[str, int]) -> str:
        """What the server wrote since, from its log files and from its manager."""
        words = ""
        for path in sorted(sizes):
            try:
                with open(path, "rb") as file:
                    end = file.seek(0, os.SEEK_END)
                    file.seek(max(sizes[path] if sizes[path] <= end else 0, end - _LAST_WORDS))
                    text = file.read().decode("utf-8", "replace").strip()
            except OSError:
                continue
            if text:
                words += "\n--- %s:\n%s" % (path, text)
        for manager in self._managers:
            said = manager.words()
            words += "\n--- %s:\n%s" % (manager, said[-_LAST_WORDS:]) if said else ""
        for secret in self._secrets:
            words = words.replace(secret, "********")
        return "The server's last words:%s\n---" % words if words else "No log of the server was found to quote."


def _older_than(port: int | None, begun: float) -> _proc.Process | None:
    """A process that answers on the port and was there before the restart. Unknown behind a proxy."""
    processes = [_proc.read_process(pid) for pid in _proc.listeners(port)] if port else []
    return next((process for process in processes if process and process.started + _CLOCK_TICK < begun), None)


def moment(seconds: float) -> str:
    """A time for a sentence, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))

# SPDX-License-Identifier: GPL-3.0-or-later
"""The running server of the API on this host: which process it is, what it was started with, how it is restarted."""

from __future__ import annotations

import os
import re
import time
from typing import Callable, Mapping
from urllib.parse import urlsplit

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host import health, proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.installation import (
    airflow_home,
    config_path,
    interpreter_behind,
    interpreter_of,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import SERVER_COMMANDS, VersionFamily

_TITLE = re.compile(r"airflow api_server -- host:(\S*) port:(\d+)\s*$")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
CLOCK_TICK = 0.02  # a process's start time is known to the tick below it


class Server(Record):
    """A running ``airflow webserver`` or ``airflow api-server``: the parent, not its workers.

    ``process.arguments`` are those of its command line. Airflow 3 overwrites them with a title that has host and port.
    Airflow's other processes cannot be told apart: they overwrite what they were started with.
    """

    process: proc.Process
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
            or interpreter_behind(proc.mapped_files(self.process.pid))
        )

    def __str__(self) -> str:
        return "pid %d, started %s, reads %s" % (self.process.pid, to_iso_utc(self.process.started), self.cfg_path)


def running_servers() -> list[Server]:
    """The servers of this host whose environment we may read (as root: all)."""
    found = []
    for process in map(_untitled, proc.processes(mentioning=b"airflow")):
        environment = proc.environment(process.pid) if _is_server(process.arguments) else None
        if environment is None:
            continue
        user_home = environment.get("HOME") or _home_of(process.uid)
        folder = proc.working_directory(process.pid) or "/"
        home = os.path.join(folder, airflow_home(environment, user_home))
        path = os.path.realpath(os.path.join(folder, config_path(environment, user_home)))
        found.append(Server(process, environment, home, path))
    return found


def _untitled(process: proc.Process) -> proc.Process:
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


def base_url(family: VersionFamily, cfg: Cfg, arguments: list[str], environment: Mapping[str, str]) -> str:
    """Where the server should be reached on this host: its own arguments, its environment, the file, the default."""

    def setting(name: str, *flags: str) -> str:
        for flag, value in zip(arguments, arguments[1:]):
            if flag in flags:
                return value
        for argument in arguments:
            flag, equals, value = argument.partition("=")
            if equals and flag in flags:
                return value
        section, option = family.address[name]
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
    return server.process.started + CLOCK_TICK < changed


def unrelated_listeners(port: int, server: Server | None) -> list[proc.Process]:
    """Processes that listen on the server's port and do not belong to it."""
    pids = proc.listeners_outside(port, server.process.pid) if server else proc.listeners(port)
    return [process for process in map(proc.read_process, pids) if process]


def orphan_of(home: str, unrelated: list[proc.Process]) -> proc.Process | None:
    """The gunicorn master among them that once belonged to this home: its pid is in the home's pid file."""
    try:
        with open(os.path.join(home, "airflow-webserver.pid"), encoding="ascii") as file:
            pid = int(file.read().strip())
    except (OSError, ValueError):
        return None
    masters = [process for process in unrelated if process.pid == pid]
    return masters[0] if masters and any("gunicorn" in part for part in masters[0].arguments[:3]) else None


def await_healthy(
    health_url: str,
    timeout: float,
    tls: health.Tls,
    objection: Callable[[], str | None] = lambda: None,
    failure: Callable[[], None] = lambda: None,
) -> None:
    """Ask until the server says that it is healthy.

    :param timeout: seconds.
    :param objection: why a healthy answer does not count yet.
    :param failure: asked twice a second meanwhile, since that is dearer; raises AirflowError if there is no hope left.
    :raises AirflowError: if the time is over.
    """
    deadline = time.monotonic() + timeout
    next_failure = 0.0
    while True:
        state, detail = health.ask_health(health_url, health.TIMEOUT, tls)
        if state == "healthy":
            objected = objection()
            if objected is None:
                return
            detail = objected
        now = time.monotonic()
        if now >= next_failure:
            failure()
            next_failure = now + 0.5
        if now > deadline:
            raise AirflowError("The server at %s was not healthy within %d s: %s." % (health_url, timeout, detail))
        time.sleep(0.1 if state == "down" else 0.3)  # to be refused a connection costs the host next to nothing


class Address(Record):
    """Where a server of the API is asked."""

    base_url: str
    health_url: str

    @property
    def port(self) -> int | None:
        """The port on this host; None if it is somewhere else."""
        return loopback_port(self.base_url)


def to_iso_utc(seconds: float) -> str:
    """A time for a sentence, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))

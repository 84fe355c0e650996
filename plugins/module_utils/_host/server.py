# SPDX-License-Identifier: GPL-3.0-or-later
"""The running server of the API on this host: which process it is, what it was started with, how it is restarted."""

from __future__ import annotations

import os
import re
import time
from typing import Callable, Mapping
from urllib.parse import urlsplit

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import is_host, is_port, variable_name
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host import health, proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.endpoint import API_APPS, Endpoint, config_read_by
from ansible_collections.fleetops.airflow.plugins.module_utils._host.installation import (
    airflow_home,
    expanded,
    interpreter_behind,
    interpreter_of,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._host.isolation import View, is_same_file, view_of
from ansible_collections.fleetops.airflow.plugins.module_utils._host.launchers import airflow_command
from ansible_collections.fleetops.airflow.plugins.module_utils._host.trust import (
    NOBODY,
    User,
    Voucher,
    by_user,
    home_of,
    is_python,
    shares_root,
    voucher_of,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import SERVER_COMMANDS, VersionFamily

_TITLE = re.compile(r"airflow api_server -- host:(\S*) port:(\d+)\s*$")
CLOCK_TICK = 0.02  # a process's start time is known to the tick below it


class Server(Record):
    """A running ``airflow webserver`` or ``airflow api-server``: the parent, not its workers. Its arguments, its
    environment and so its files are claims of its user's; ``is_credible`` says when they count.

    ``process.arguments`` are those of its command line. Airflow 3 overwrites them with a title that has host and port.
    Airflow's other processes cannot be told apart: they overwrite what they were started with.
    """

    process: proc.Process
    environment: dict[str, str]
    home: str
    cfg_path: str  # resolved
    voucher: Voucher = NOBODY  # who says so, beside the process itself
    path: str = ""  # of airflow.cfg, as the process knows it
    view: View | None = None  # if it sees other files than this host at the same paths

    @property
    def interpreter(self) -> str | None:
        """Its Python. In a view of its own it is only good for looking at what lies beside it."""
        python, *words = self.process.arguments
        script = next((word for word in words if not word.startswith("-")), "")
        inside = self.view.path if self.view else str
        found = (interpreter_of(inside(script)) if os.path.isabs(script) else None) or python
        root = self.view.root if self.view else ""
        if os.path.isabs(found):
            return root + found
        mapped = interpreter_behind([root + path for path in proc.mapped_files(self.process.pid)])
        executable = proc.executable(self.process.pid) or ""
        return mapped or (root + executable if os.path.isfile(root + executable) else None)

    @property
    def title(self) -> str:
        """For a sentence: its pid, and the name of its service."""
        names = sorted(self.voucher.names, key=len)
        return "the server (pid %d%s)" % (self.process.pid, ", service %s" % names[0] if names else "")

    @property
    def user(self) -> str:
        """The name of its user."""
        return User(self.process.uid, 0, ()).name

    def is_credible(self, path: str | None) -> bool:
        """Whether this process may decide anything: root vouches for it, or the user of this task, or the task itself
        names the file that it claims to read, and the file is its user's, or mounted in a container of root's.

        :param path: the file, if the task names it.
        """
        if self.voucher.by_root:
            return True
        if not path or os.path.realpath(path) != self.cfg_path:
            return False
        if self.view and self.view.by_root:  # users within a container have other numbers than those of this host
            return True
        try:
            return os.stat(self.cfg_path).st_uid == self.process.uid
        except OSError:
            return False

    def with_path_here(self, given: str | None) -> Server:
        """The same with the path of its file on this host, if this is that file by a path of this host."""
        if given and self.view and is_same_file(self.cfg_path, given):
            return self._replace(cfg_path=os.path.realpath(given))
        return self

    @property
    def reads_other_files(self) -> bool:
        """Whether its airflow.cfg is no file that this task can name."""
        return bool(self.view) and self.cfg_path.startswith("/proc/")

    def __str__(self) -> str:
        words = "pid %d, started %s" % (self.process.pid, to_iso_utc(self.process.started))
        if self.view:
            return "%s, in %s, reads %s there" % (words, self.view.where, self.path)
        return "%s, reads %s" % (words, self.cfg_path)


def running_servers() -> list[Server]:
    """The servers of this host whose environment we may read (as root: all)."""
    found = []
    for process in map(_untitled, proc.processes(b"airflow", b"gunicorn: master [")):
        is_server = airflow_command(process.arguments) in SERVER_COMMANDS and is_python(process.pid)
        view = view_of(process.pid) if is_server else None
        if not is_server or not (view or shares_root(process.pid)):
            continue
        environment = proc.environment(process.pid)
        if environment is None:
            continue
        user_home = environment.get("HOME") or home_of(process.uid)
        folder = proc.working_directory(process.pid) or "/"
        home = os.path.join(folder, airflow_home(environment, user_home))
        path = config_read_by(process, environment)
        cfg_path = os.path.realpath(path)
        if view:
            inside = view.path(path)
            if not is_same_file(inside, path):
                cfg_path = inside
            elif not view.is_container and is_same_file(view.path(home), home):
                view = None  # what else it sees otherwise, such as a /tmp of its own, does not matter
        # What stands in its control group may be a unit of the container's own systemd.
        voucher = by_user(process) if view and view.is_container else voucher_of(process)
        found.append(Server(process, environment, home, cfg_path, voucher, path, view))
    return _without_relatives(found)


def _untitled(process: proc.Process) -> proc.Process:
    """The process with the arguments that its title hides: Airflow 3's server writes host and port there, and gunicorn
    below it nothing. What it serves stands in its environment.
    """
    first = process.arguments[0] if process.arguments else ""
    title = _TITLE.match(first)
    if title:
        host, port = title.groups()
        return process._replace(arguments=["python", "airflow", "api-server", "--host", host, "--port", port])
    if first.startswith("gunicorn: master [") and API_APPS in (proc.environment(process.pid) or {}):
        listening = proc.listening_at(process.pid)[:1]
        options = [word for host, port in listening for word in ("--host", host, "--port", str(port))]
        return process._replace(arguments=["python", "airflow", "api-server", *options])
    return process


def _without_relatives(servers: list[Server]) -> list[Server]:
    """One server where some are in truth the same: of a program called airflow that has only started another one the
    inner is the server, and of a process that has copied itself the outer.
    """
    left = list(servers)
    for outer in servers:
        for inner in servers:
            if outer is inner or outer.cfg_path != inner.cfg_path:
                continue
            if proc.is_within(inner.process.pid, outer.process.pid):
                same = outer.process.arguments == inner.process.arguments
                left = [server for server in left if server is not (inner if same else outer)]
    return left


def serves_execution_only(arguments: list[str], environment: Mapping[str, str]) -> bool:
    """Whether a server of Airflow 3 has nothing but the API that tasks report to (``--apps execution``)."""
    apps = environment.get(API_APPS) or next(
        (value for flag, value in zip(arguments, arguments[1:]) if flag == "--apps"), ""
    )
    apps = apps or next((word.partition("=")[2] for word in arguments if word.startswith("--apps=")), "")
    return apps.strip() == "execution"


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
        places = [family.address[name], *([family.former_address[name]] if name in family.former_address else [])]
        found = [environment.get(variable_name(*place)) for place in places] + [cfg.get(*place) for place in places]
        return next((expanded(value, environment) for value in found if value), "")

    host = setting("host", "-H", "--hostname", "--host")
    if host in ("", "0.0.0.0", "::"):
        host = "127.0.0.1"
    port = setting("port", "-p", "--port")
    scheme = "https" if setting("ssl_cert", "--ssl-cert") else "http"
    path = _path_of(setting("base_url"))
    # A value that is none is for ``_cfg.values`` to refuse. What stands in the file already must not keep a task from
    # repairing it.
    return "%s://%s:%s%s" % (scheme, _in_url(host), port if is_port(port) else "8080", path)


def _in_url(host: str) -> str:
    if ":" in host:
        return "[%s]" % host
    return host if is_host(host) else "127.0.0.1"


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path.rstrip("/")
    except ValueError:
        return ""


def is_older_than(server: Server, changed: float) -> bool:
    return is_before(server.process, changed)


def is_before(process: proc.Process, moment: float) -> bool:
    """Whether a process was started before that moment, by the clock of this host."""
    return process.started + CLOCK_TICK < moment


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
    """Where a server of the API is asked, and where on this host it listens; None if that is not known. ``is_given``:
    whether the task names another URL than the server's own, such as that of a proxy.
    """

    base_url: str
    health_url: str
    endpoint: Endpoint | None
    is_given: bool = False


def to_iso_utc(seconds: float) -> str:
    """A time for a sentence, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))

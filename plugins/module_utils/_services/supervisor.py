# SPDX-License-Identifier: GPL-3.0-or-later
"""supervisor as a service manager."""

from __future__ import annotations

import os
import time
from typing import Any

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host import proc
from ansible_collections.fleetops.airflow.plugins.module_utils._services.names import is_supervisord

_TIMEOUT = 10  # seconds that a supervisord may take to answer what it has in its memory

# supervisor.xmlrpc.Faults and supervisor.states.ProcessStates, which supervisor documents as its API.
_SHUTDOWN_STATE, _BAD_NAME, _ALREADY_STARTED, _NOT_RUNNING = 6, 10, 60, 70
_GIVEN_UP = {0: "STOPPED", 100: "EXITED", 200: "FATAL"}
_DOWN = (*_GIVEN_UP, 1000)  # and UNKNOWN


class Supervisor:
    """A program of supervisord, spoken to over supervisord's own XML-RPC interface.

    Starting ``supervisorctl``, a Python program, would cost more than the conversation.
    """

    interposes = True

    def __init__(self, daemon: proc.Process, program: str) -> None:
        self.name = program
        self.daemon = daemon
        self._url, self._login = _supervisor_address(daemon)
        self._started = 0.0

    def __str__(self) -> str:
        return "the supervisor program %s" % self.name

    def programs(self) -> list[str]:
        """All programs, as ``supervisorctl status`` names them; none of a supervisord that is shutting down."""
        import xmlrpc.client

        try:
            infos = self._call("getAllProcessInfo")
        except xmlrpc.client.Fault:
            return []
        pairs = [(info["group"], info["name"]) for info in infos]
        return sorted(name if group == name else "%s:%s" % (group, name) for group, name in pairs)

    def exists(self) -> bool:
        import xmlrpc.client

        try:
            self._call("getProcessInfo", self.name)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode in (_BAD_NAME, _SHUTDOWN_STATE):
                return False
            raise self._refused("getProcessInfo", fault) from None
        return True

    def arguments(self) -> list[str]:
        """The command of the program in words. Empty for an old supervisor, which does not tell."""
        import shlex
        import xmlrpc.client

        try:
            configs = self._call("getAllConfigInfo")
        except xmlrpc.client.Fault:
            return []
        mine = self.name.rpartition(":")[2]
        return next((shlex.split(config["command"]) for config in configs if config["name"] == mine), [])

    def stop(self, timeout: float) -> None:
        import xmlrpc.client

        deadline = time.monotonic() + max(timeout, _TIMEOUT)
        try:
            self._call("stopProcess", self.name, False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != _NOT_RUNNING:
                raise self._refused("stopProcess", fault) from None
        # Told to wait, supervisord answers with its next look around, once a second. Each question makes it look.
        while self._call("getProcessInfo", self.name)["state"] not in _DOWN:
            if time.monotonic() > deadline:
                raise AirflowError("%s did not stop within %d s." % (self, timeout))
            time.sleep(0.05)

    def start(self, timeout: float) -> None:
        import xmlrpc.client

        self._started = time.monotonic()
        try:
            self._call("startProcess", self.name, False, timeout=max(timeout, _TIMEOUT))
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != _ALREADY_STARTED:
                raise self._refused("startProcess", fault) from None

    def failure(self) -> str | None:
        info = self._call("getProcessInfo", self.name)
        state = _GIVEN_UP.get(info["state"])
        if state is None or time.monotonic() - self._started < 0.5:
            return None
        reason = info["spawnerr"] or "exit status %s" % info["exitstatus"]
        return "supervisor says %s (%s)" % (state, reason)

    def outputs(self) -> list[str]:
        info = self._call("getProcessInfo", self.name)
        return sorted({path for path in (info["stdout_logfile"], info["stderr_logfile"]) if os.path.isfile(path)})

    def words(self) -> str:
        return ""  # they are in the files

    def _call(self, method: str, *arguments: Any, timeout: float = _TIMEOUT) -> Any:
        import http.client
        import xmlrpc.client

        try:
            with _supervisor_rpc(self._url, self._login, timeout) as rpc:
                return getattr(rpc.supervisor, method)(*arguments)
        except xmlrpc.client.ProtocolError as error:
            raise AirflowError(
                "supervisord (pid %d) refused the request: HTTP %d %s." % (self.daemon.pid, error.errcode, error.errmsg)
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise AirflowError("supervisord (pid %d) cannot be reached: %s." % (self.daemon.pid, error)) from None

    def _refused(self, method: str, fault: Any) -> AirflowError:
        return AirflowError("supervisord refused %s of %s: %s." % (method, self.name, fault.faultString))


def supervisords() -> list[proc.Process]:
    """All supervisord processes of this host."""
    return [process for process in proc.processes(mentioning=b"supervisord") if is_supervisord(process)]


def _supervisor_rpc(url: str, login: tuple[str, str] | None, timeout: float) -> Any:
    """A client for the interface that a supervisord opens, with a limit in seconds for each wait on it."""
    import base64
    import http.client
    import socket
    import xmlrpc.client

    class UnixConnection(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(timeout)
            self.sock.connect(url[len("unix://") :])

    class Transport(xmlrpc.client.Transport):
        def make_connection(self, host: Any) -> http.client.HTTPConnection:
            unix = url.startswith("unix://")
            connection = UnixConnection("localhost") if unix else http.client.HTTPConnection(host, timeout=timeout)
            self._connection = host, connection  # where close() looks for it
            return connection

    headers = []
    if login:
        headers.append(("Authorization", "Basic " + base64.b64encode(":".join(login).encode()).decode("ascii")))
    base = "http://localhost" if url.startswith("unix://") else url.rstrip("/")
    return xmlrpc.client.ServerProxy(base + "/RPC2", transport=Transport(headers=headers))


def _supervisor_address(daemon: proc.Process) -> tuple[str, tuple[str, str] | None]:
    """The URL of supervisord's interface, and its login where it wants one."""
    import configparser

    path = _supervisor_config(daemon)
    parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(";", "#"))
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise AirflowError(
            "The configuration of supervisord (pid %d) cannot be read: %s" % (daemon.pid, error)
        ) from None
    variables = {"here": os.path.dirname(path)}
    variables.update(("ENV_" + name, value) for name, value in (proc.environment(daemon.pid) or {}).items())

    def option(section: str, name: str) -> str:
        value = parser.get(section, name, fallback="").strip().strip("\"'")
        for variable, content in variables.items():
            value = value.replace("%%(%s)s" % variable, content)
        return value

    if option("unix_http_server", "file"):
        section, url = "unix_http_server", "unix://" + option("unix_http_server", "file")
    elif option("inet_http_server", "port"):
        host, _colon, port = option("inet_http_server", "port").rpartition(":")
        section, url = "inet_http_server", "http://%s:%s" % (host if host not in ("", "*") else "127.0.0.1", port)
    else:
        raise AirflowError(
            "%s opens no interface ([unix_http_server] or [inet_http_server]), so supervisord cannot be asked to "
            "restart anything. Add one, or use restart_command." % path
        )
    for source in ("supervisorctl", section):
        username, password = option(source, "username"), option(source, "password")
        if username and not password.startswith("{SHA}"):
            return url, (username, password)
    return url, None


def _supervisor_config(daemon: proc.Process) -> str:
    """The file this supervisord reads: its -c option, else the places that supervisor documents."""
    folder = proc.working_directory(daemon.pid) or "/"
    arguments = daemon.arguments
    for position, argument in enumerate(arguments):
        if argument in ("-c", "--configuration") and position + 1 < len(arguments):
            return os.path.join(folder, arguments[position + 1])
        if argument.startswith("--configuration="):
            return os.path.join(folder, argument.partition("=")[2])
    prefix = os.path.dirname(os.path.dirname(next((part for part in arguments if part.endswith("/supervisord")), "//")))
    candidates = [
        os.path.join(prefix, "etc/supervisord.conf"),
        os.path.join(prefix, "supervisord.conf"),
        os.path.join(folder, "supervisord.conf"),
        os.path.join(folder, "etc/supervisord.conf"),
        "/etc/supervisord.conf",
        "/etc/supervisor/supervisord.conf",
    ]
    return next((path for path in candidates if os.path.isfile(path)), candidates[-1])

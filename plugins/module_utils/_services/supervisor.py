# SPDX-License-Identifier: GPL-3.0-or-later
"""supervisor as a service manager."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host import proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.health import Answer, Unreachable, receive
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import ServiceDefinition
from ansible_collections.fleetops.airflow.plugins.module_utils._host.masking import masked
from ansible_collections.fleetops.airflow.plugins.module_utils._host.trust import is_python_of_ours, is_supervisord
from ansible_collections.fleetops.airflow.plugins.module_utils._services.managers import COMMAND_LIMIT
from ansible_collections.fleetops.airflow.plugins.module_utils._services.supervisor_config import SupervisorConfig

_TIMEOUT = 10  # seconds that a supervisord may take to answer what it has in its memory

_MOST_BYTES = 1 << 22  # of an answer

# supervisor.xmlrpc.Faults and supervisor.states.ProcessStates, which supervisor documents as its API.
_SHUTDOWN_STATE, _BAD_NAME, _ALREADY_STARTED, _NOT_RUNNING = 6, 10, 60, 70
_GIVEN_UP = {0: "STOPPED", 100: "EXITED", 200: "FATAL"}
_DOWN = (*_GIVEN_UP, 1000)  # and UNKNOWN
_INFO = frozenset(("pid", "state", "spawnerr", "exitstatus", "stdout_logfile", "stderr_logfile"))


class Supervisor:
    """A program of supervisord, spoken to over supervisord's own XML-RPC interface.

    Starting ``supervisorctl``, a Python program, would cost more than the conversation.
    """

    interposes = True
    reload_hint = " If the files of supervisor have changed, run supervisorctl reread, and supervisorctl update."

    def __init__(self, daemon: proc.Process, program: str) -> None:
        self.name = program
        self.daemon = daemon
        self.config = SupervisorConfig(daemon)
        self._url, self._login = self.config.address()
        self._started = 0.0

    def __str__(self) -> str:
        return "the supervisor program %s" % self.name

    def programs(self) -> list[str]:
        """All programs, as ``supervisorctl status`` names them; none of a supervisord that is shutting down."""
        try:
            infos = self._call("getAllProcessInfo")
        except Refusal:
            return []
        pairs = [(info["group"], info["name"]) for info in infos]
        return sorted(name if group == name else "%s:%s" % (group, name) for group, name in pairs)

    def exists(self) -> bool:
        try:
            self._info()
        except Refusal as refusal:
            if refusal.code in (_BAD_NAME, _SHUTDOWN_STATE):
                return False
            raise
        return True

    def members(self) -> list[str]:
        """The programs of the group of this name, ``GROUP`` or ``GROUP:*``. Empty if there is no such group."""
        group = self.name[:-2] if self.name.endswith(":*") else self.name
        return [program for program in self.programs() if program.startswith(group + ":")]

    def definition(self) -> ServiceDefinition:
        """What the program is given, as the configuration of supervisord is now."""
        program = self.config.program(self.name)
        if program is None:
            return ServiceDefinition(str(self), [], {}, None)
        return ServiceDefinition(
            name=str(self),
            arguments=program.arguments,
            environment=program.environment,
            user=program.user,
            directory=program.directory or "/",
            is_known=True,
        )

    def main_pid(self) -> int:
        pid: int = self._info()["pid"]
        return pid

    def is_down(self) -> bool:
        return self._info()["state"] in _DOWN

    def stop(self) -> None:
        deadline = time.monotonic() + COMMAND_LIMIT  # supervisord itself kills a program after its stopwaitsecs
        try:
            self._call("stopProcess", self.name, False)
        except Refusal as refusal:
            if refusal.code != _NOT_RUNNING:
                raise
        # Told to wait, supervisord answers with its next look around, once a second. Each question makes it look.
        while not self.is_down():
            if time.monotonic() > deadline:
                raise AirflowError("%s did not stop within %d s." % (self, COMMAND_LIMIT))
            time.sleep(0.05)

    def start(self) -> None:
        self._started = time.monotonic()
        try:
            self._call("startProcess", self.name, False)
        except Refusal as refusal:
            if refusal.code != _ALREADY_STARTED:
                raise

    def start_dependents(self) -> None:
        """supervisor has no dependencies."""

    def failure(self) -> str | None:
        info = self._info()
        state = _GIVEN_UP.get(info["state"])
        if state is None or time.monotonic() - self._started < 0.5:
            return None
        reason = masked(str(info["spawnerr"])) or "exit status %s" % info["exitstatus"]
        return "supervisor says %s (%s)" % (state, reason)

    def outputs(self) -> list[str]:
        info = self._info()
        return sorted({path for path in (info["stdout_logfile"], info["stderr_logfile"]) if os.path.isfile(path)})

    def words(self) -> str:
        return ""  # they are in the files

    def _info(self) -> dict[str, Any]:
        """What supervisord says of the program.

        :raises AirflowError: if it does not say what is used here.
        """
        info = self._call("getProcessInfo", self.name)
        if not isinstance(info, dict) or not _INFO.issubset(info):
            raise AirflowError("supervisord (pid %d) does not answer as supervisor does." % self.daemon.pid)
        return info

    def _call(self, method: str, *arguments: Any) -> Any:
        """
        :raises Refusal: if supervisord refuses it.
        :raises AirflowError: if it cannot be reached, or does not answer in its protocol.
        """
        import xml.parsers.expat
        import xmlrpc.client

        try:
            body = xmlrpc.client.dumps(arguments, "supervisor." + method).encode("utf-8")
            answer = _ask(self._url, self._login, body)
            if answer.status != 200:
                raise AirflowError(
                    "supervisord (pid %d) refused the request: HTTP %d." % (self.daemon.pid, answer.status)
                )
            return xmlrpc.client.loads(answer.body)[0][0]
        except xmlrpc.client.Fault as fault:
            text = "supervisord (pid %d) refused %s of %s: %s."
            raise Refusal(
                text % (self.daemon.pid, method, self.name, masked(str(fault.faultString))), fault.faultCode
            ) from None
        except Unreachable as error:
            raise AirflowError("supervisord (pid %d) cannot be reached: %s." % (self.daemon.pid, error)) from None
        except (xmlrpc.client.Error, xml.parsers.expat.ExpatError, ValueError, TypeError, LookupError):
            raise AirflowError("supervisord (pid %d) does not answer as supervisor does." % self.daemon.pid) from None


class Refusal(AirflowError):
    """A fault that supervisord reports; ``code`` is one of supervisor.xmlrpc.Faults."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def supervisords(cfg_path: str) -> list[proc.Process]:
    """The supervisord processes that may be asked: root's, those of the user who runs this task, and those of the
    owner of airflow.cfg.

    Any user can start one, with any file as its configuration.
    """
    owners = {0, os.geteuid()}
    with contextlib.suppress(OSError):
        owners.add(os.stat(cfg_path).st_uid)
    found = [process for process in proc.processes(b"supervisord") if is_supervisord(process)]
    return [process for process in found if process.uid in owners and is_python_of_ours(process.pid)]


def _ask(url: str, login: tuple[str, str] | None, body: bytes) -> Answer:
    """Send a request to the interface that a supervisord opens.

    :raises Unreachable: if there is no whole answer within _TIMEOUT.
    """
    import base64
    import socket

    deadline = time.monotonic() + _TIMEOUT
    head = "POST /RPC2 HTTP/1.0\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n" % len(body)
    if login:
        token = base64.b64encode(":".join(login).encode("utf-8")).decode("ascii")
        head += "Authorization: Basic %s\r\n" % token
    try:
        if url.startswith("unix://"):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(_TIMEOUT)
            connection.connect(url[len("unix://") :])
        else:
            host, _colon, port = url[len("http://") :].rstrip("/").rpartition(":")
            connection = socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT)
        connection.sendall(head.encode("ascii") + b"\r\n" + body)
    except (OSError, ValueError) as error:
        raise Unreachable(str(error)) from None
    return receive(connection, deadline, _MOST_BYTES)

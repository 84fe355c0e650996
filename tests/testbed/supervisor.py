# SPDX-License-Identifier: GPL-3.0-or-later
"""A supervisord, spoken to over its own XML-RPC: to start supervisorctl takes longer than most of its answers."""

from __future__ import annotations

import http.client
import socket
import time
import xmlrpc.client
from pathlib import Path
from typing import Any

NOT_RUNNING = 70  # supervisor.xmlrpc.Faults
ROUND = 1.5  # seconds in which supervisord has looked after its programs


class Supervisor:
    """The supervisord that listens on a socket in the file system. Its methods raise xmlrpc.client.Fault."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pid(self, program: str) -> int:
        """0 where the program does not run."""
        return int(self._call("getProcessInfo", program)["pid"])

    def start(self, program: str) -> None:
        """Start a program without waiting for it to stay up for a second, as supervisorctl does."""
        self._call("startProcess", program, False)

    def stop(self, program: str) -> None:
        """End a program, and wait until it has ended. One that does not run stays as it is."""
        while not self._stopped(program):
            pass

    def _stopped(self, program: str) -> bool:
        """Whether it is ended for good: one that has just died is started again in supervisord's next round."""
        try:
            return bool(self._call("stopProcess", program))
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != NOT_RUNNING:
                raise
        if self._state(program) == "EXITED":
            time.sleep(ROUND)
        return self._state(program) in ("EXITED", "STOPPED", "FATAL")

    def _state(self, program: str) -> str:
        return str(self._call("getProcessInfo", program)["statename"])

    def update(self) -> None:
        """Read the configuration again, and restart the programs whose part of it has changed."""
        ((added, changed, removed),) = self._call("reloadConfig")
        for group in [*changed, *removed]:
            self._call("stopProcessGroup", group)
            self._call("removeProcessGroup", group)
        for group in [*changed, *added]:
            self._call("addProcessGroup", group)

    def _call(self, method: str, *args: Any) -> Any:
        with xmlrpc.client.ServerProxy("http://supervisor", _Transport(self._path)) as proxy:
            return getattr(proxy.supervisor, method)(*args)


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        self._connection = host, _Connection(str(host), self._path)  # which is what `close` closes
        return self._connection[1]


class _Connection(http.client.HTTPConnection):
    def __init__(self, host: str, path: Path) -> None:
        super().__init__(host)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))

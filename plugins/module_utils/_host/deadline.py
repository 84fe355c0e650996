# SPDX-License-Identifier: GPL-3.0-or-later
"""A socket with one deadline for all that is read from it, for http.client, whose timeout is for each byte."""

from __future__ import annotations

import io
import socket
import time
from typing import Any


class Timed:
    """As much of a socket as http.client uses.

    :param deadline: by time.monotonic.
    """

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def sendall(self, data: Any) -> None:
        self._set_timeout()
        self._connection.sendall(data)

    def makefile(self, *_mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reading(self))

    def close(self) -> None:
        """http.client closes it before it reads the body. Whoever has opened it closes it."""

    def receive_into(self, buffer: Any) -> int:
        """:raises OSError: if the deadline is over."""
        self._set_timeout()
        return self._connection.recv_into(buffer)

    def _set_timeout(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")
        self._connection.settimeout(left)


class _Reading(io.RawIOBase):
    def __init__(self, connection: Timed) -> None:
        super().__init__()
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._connection.receive_into(buffer)

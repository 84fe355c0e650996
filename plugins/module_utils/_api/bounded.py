# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections that come about, and whose answers end, in time.

The timeout of requests is for each address of a name and for each part of an answer, and bounds no whole.
"""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from typing import TYPE_CHECKING, Any, Callable

from ansible_collections.fleetops.airflow.plugins.module_utils._api.deadline import seconds_left

if TYPE_CHECKING:
    import requests


class _Reader(io.RawIOBase):
    """What a socket receives, until the time of its thread is over."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Raises socket.timeout when the time is over."""
        left, each = seconds_left(), self._sock.gettimeout()
        if left is None:
            return int(self._raw.readinto(buffer))
        if left <= 0:
            raise socket.timeout("timed out")
        self._sock.settimeout(left if each is None else min(left, each))
        try:
            return int(self._raw.readinto(buffer))
        finally:
            self._sock.settimeout(each)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedSocket:
    """A socket that http.client reads answers from."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def makefile(self, *_args: Any, **_kwargs: Any) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock))


def _bounded(sock: Any) -> _BoundedSocket:
    return sock if isinstance(sock, _BoundedSocket) else _BoundedSocket(sock)


class _Connecting(threading.Thread):
    """Makes a connection beside who waits for it: nothing ends a name resolution that has begun."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._connect = connect
        self._lock = threading.Lock()
        self._is_given_up = False
        self._sock: Any = None
        self._error: Exception | None = None

    def run(self) -> None:
        """Connect, and close what nobody waits for any more."""
        try:
            sock = self._connect()
        except Exception as error:  # noqa: BLE001  # pylint: disable=broad-except  # who waits raises it
            self._error = error
            return
        with self._lock:
            self._sock = sock
            if self._is_given_up:
                with contextlib.suppress(OSError):
                    sock.close()

    def within(self, seconds: float) -> Any:
        """The socket; None if there is none after so many seconds. Raises what connecting raised."""
        self.start()
        self.join(max(0.0, seconds))
        with self._lock:
            self._is_given_up = self._sock is None
            if self._error is not None:
                raise self._error
            return self._sock


def _connected(connection: Any, connect: Callable[[], Any]) -> _BoundedSocket:
    """What ``connect`` makes, in the time that is left for all addresses of the name and its resolution."""
    import urllib3.exceptions

    left = seconds_left()
    if left is None:
        return _bounded(connect())
    sock = _Connecting(connect).within(left)
    if sock is None:
        raise urllib3.exceptions.ConnectTimeoutError(connection, "timed out")
    return _bounded(sock)


def bounded_adapter() -> requests.adapters.HTTPAdapter:
    """An adapter of requests with such connections, also through a proxy."""
    import requests.adapters
    import urllib3.connection
    import urllib3.connectionpool

    class Bounded:
        """What both kinds of connections have in common."""

        sock: Any

        def _new_conn(self) -> Any:
            return _connected(self, super()._new_conn)  # type: ignore[misc]  # bounded, for what a proxy says before TLS

        def connect(self) -> None:
            super().connect()  # type: ignore[misc]
            self.sock = _bounded(self.sock)

    class HttpConnection(Bounded, urllib3.connection.HTTPConnection):
        pass

    class HttpsConnection(Bounded, urllib3.connection.HTTPSConnection):
        pass

    class HttpPool(urllib3.connectionpool.HTTPConnectionPool):
        ConnectionCls = HttpConnection

    class HttpsPool(urllib3.connectionpool.HTTPSConnectionPool):
        ConnectionCls = HttpsConnection

    pools = {"http": HttpPool, "https": HttpsPool}

    class Adapter(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
            manager = super().proxy_manager_for(proxy, **kwargs)
            if not proxy.lower().startswith("socks"):  # which has connections of its own
                manager.pool_classes_by_scheme = pools
            return manager

    return Adapter()

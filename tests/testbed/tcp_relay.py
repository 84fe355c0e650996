# SPDX-License-Identifier: GPL-3.0-or-later
"""What may stand between a client and Airflow: something that ends TLS, or a proxy that a client asks by CONNECT."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_CHUNK = 65536
_PATIENCE = 60.0  # seconds for an answer of Airflow


@dataclass
class Relay:
    """A relay that runs: its ``port`` on loopback, and where it was to lead to, ``host:port`` for each connection.

    A connection whose TLS did not come about is not among them.
    """

    port: int
    asked: list[str] = field(default_factory=list)


@contextmanager
def relay(target: int | None, tls: ssl.SSLContext | None = None) -> Iterator[Relay]:
    """Lead connections to a port of loopback, or with None wherever the client's CONNECT says.

    With ``tls`` the client speaks TLS; the target never does.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = Relay(listener.getsockname()[1])

        def accept() -> None:
            while True:
                try:
                    client, _address = listener.accept()
                except OSError:
                    return
                threading.Thread(target=_serve, args=(client, found, target, tls), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def _serve(client: socket.socket, found: Relay, target: int | None, tls: ssl.SSLContext | None) -> None:
    with client, contextlib.suppress(OSError):
        client.settimeout(_PATIENCE)
        near = _with_tls(client, tls) if tls else client
        if near is None:
            return
        with near:
            host, port = ("127.0.0.1", target) if target else _connect_line(near)
            found.asked.append(f"{host}:{port}")
            with socket.create_connection((host, port), _PATIENCE) as far:
                if not target:
                    near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                _pass_on(near, far)


def _with_tls(client: socket.socket, tls: ssl.SSLContext) -> ssl.SSLSocket | None:
    """The client in TLS; None where it does not come about, which the client has then been told."""
    secured = tls.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
    try:
        secured.do_handshake()
    except ssl.SSLError:
        # What was not read when a connection is closed makes it a reset, which may overtake the alert.
        raw = socket.socket(fileno=secured.detach())
        with raw:
            raw.shutdown(socket.SHUT_WR)
            raw.settimeout(2)
            while raw.recv(_CHUNK):
                pass
        return None
    return secured


def _connect_line(client: socket.socket) -> tuple[str, int]:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        more = client.recv(1)
        if not more:
            raise OSError("no whole request")
        head += more
    method, target, _version = head.split(b"\r\n")[0].decode().split(" ")
    host, _colon, port = target.rpartition(":")
    if method != "CONNECT":
        raise OSError(f"no CONNECT: {method}")
    return host, int(port)


def _pass_on(near: socket.socket, far: socket.socket) -> None:
    """Pass bytes on both ways until one side ends. In one thread: a TLS socket is not for two."""
    other = {near: far, far: near}
    while True:
        pending = isinstance(near, ssl.SSLSocket) and near.pending() > 0
        ready = [near] if pending else select.select([near, far], [], [], _PATIENCE)[0]
        if not ready:
            return
        for side in ready:
            data = side.recv(_CHUNK)
            if not data:
                return
            other[side].sendall(data)

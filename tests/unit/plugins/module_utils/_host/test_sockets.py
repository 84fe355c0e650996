# SPDX-License-Identifier: GPL-3.0-or-later
"""Real listening sockets, told by the kernel in either of its two ways."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._host import sockets


@pytest.fixture(params=["netlink", "proc"])
def listening(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., set[str]]:
    if request.param == "proc":
        monkeypatch.setattr(sockets, "_NETLINK_SOCK_DIAG", 31)  # no such protocol: the kernel refuses the socket
    else:
        monkeypatch.setattr(sockets, "_read", None)  # not callable: nothing else may be asked
    return sockets.listening


def name_of(server: socket.socket) -> str:
    return os.readlink(f"/proc/self/fd/{server.fileno()}")


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1")]
)
def test_a_socket_that_listens(listening: Callable[..., set[str]], family: int, address: str) -> None:
    with socket.socket(family) as server:
        server.bind((address, 0))
        port = server.getsockname()[1]
        assert listening(port) == set()
        server.listen()
        assert listening(port) == {name_of(server)}
        with socket.create_connection((address, port)):
            assert listening(port) == {name_of(server)}  # a connection is no listener
    assert listening(port) == set()


def test_several_on_one_port(listening: Callable[..., set[str]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
        with socket.create_server(("127.0.0.2", port)) as other:
            assert listening(port) == {name_of(one), name_of(other)}
            assert listening(port, "127.0.0.1") == {name_of(one)}
            assert listening(port, "127.0.0.2") == {name_of(other)}
            assert listening(port, "::1") == set()


@pytest.mark.parametrize(
    ("family", "bound", "address"),
    [
        (socket.AF_INET, "0.0.0.0", "127.0.0.3"),
        (socket.AF_INET6, "::", "127.0.0.3"),
        (socket.AF_INET6, "::", "::1"),
        (socket.AF_INET6, "::ffff:127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
    ],
)
def test_address_on_which_connections_are_taken(
    listening: Callable[..., set[str]], family: int, bound: str, address: str
) -> None:
    with socket.socket(family) as server:
        server.bind((bound, 0))
        server.listen()
        port = server.getsockname()[1]
        assert listening(port, address) == {name_of(server)}

# SPDX-License-Identifier: GPL-3.0-or-later
"""Which sockets listen on a TCP port of this network namespace."""

from __future__ import annotations

import socket
import struct
from typing import Iterator

# linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_REQUEST_DUMP = 0x301
_ERROR, _DONE = 2, 3
_HEADER = "=IHHII"  # length, type, flags, sequence, pid
_QUESTION = "=BBBBI2s46x"  # family, protocol, extensions, padding, states, port
_ANSWER = "=BBBB48xIIIII"  # family, state, timer, retransmissions, the addresses, four numbers, inode
_LISTEN = 10


def listening(port: int) -> set[str]:
    """The sockets, as they stand in /proc/PID/fd.

    The kernel is asked over netlink. To write the lines of /proc/net/tcp it walks through all the connections that
    the host could have, which takes it 5 ms on a large host without any.
    """
    try:
        return {"socket:[%d]" % inode for family in (2, 10) for inode in _asked(family, port)}  # AF_INET and AF_INET6
    except OSError:  # a kernel that was built without it, or a sandbox
        return {"socket:[%s]" % inode for inode in _read(port)}


def _asked(family: int, port: int) -> Iterator[int]:
    """:raises OSError: if the kernel does not answer."""
    question = struct.pack(_QUESTION, family, socket.IPPROTO_TCP, 0, 0, 1 << _LISTEN, struct.pack(">H", port))
    size = struct.calcsize(_HEADER)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(5)
        kernel.send(struct.pack(_HEADER, size + len(question), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 0, 0) + question)
        while True:
            data = kernel.recv(1 << 16)
            while data:
                length, kind, _flags, _sequence, _pid = struct.unpack_from(_HEADER, data)
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    raise OSError("the kernel refuses to tell about sockets")
                yield struct.unpack_from(_ANSWER, data, size)[-1]
                data = data[(length + 3) & ~3 :]


def _read(port: int) -> Iterator[str]:
    ending = ":%04X" % port
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                lines = file.read().splitlines()[1:]
        except OSError:  # without IPv6
            continue
        for line in lines:
            fields = line.split(None, 10)
            if fields[3] == "0A" and fields[1].endswith(ending):
                yield fields[9]

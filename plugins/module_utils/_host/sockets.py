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
# family, state, timer, retransmissions, both ports, the own address, the other one and more, three numbers, user, inode
_ANSWER = "=BBBB4x16s28xIIIII"
_LISTEN = 10


def listening(port: int, address: str = "") -> set[str]:
    """The sockets, as they stand in /proc/PID/fd.

    :param address: the IP address on which they take connections; "" for any.

    The kernel is asked over netlink. To write the lines of /proc/net/tcp it walks through all the connections that
    the host could have, which takes it 5 ms on a large host without any.
    """
    return {"socket:[%d]" % inode for _uid, inode in _found(port, address)}


def owners(port: int, address: str = "") -> set[int]:
    """The users whose sockets these are: everybody may see that, of processes of other users too."""
    return {uid for uid, _inode in _found(port, address)}


def _found(port: int, address: str) -> list[tuple[int, int]]:
    """Users and inodes."""
    try:
        found = [one for family in (socket.AF_INET, socket.AF_INET6) for one in _asked(family, port)]
    except OSError:  # a kernel that was built without it, or a sandbox
        found = list(_read(port))
    return [(uid, inode) for bound, uid, inode in found if not address or _takes(bound, address)]


def addresses_of(sockets: set[str]) -> list[tuple[str, int]]:
    """IP addresses and ports of those of the sockets that listen. ``sockets`` as they stand in /proc/PID/fd."""
    found = []
    for port, bound, _uid, inode in _lines():
        if "socket:[%d]" % inode in sockets:
            found.append((socket.inet_ntop(socket.AF_INET if len(bound) == 4 else socket.AF_INET6, bound), port))
    return sorted(set(found))


def _takes(bound: bytes, address: str) -> bool:
    """Whether a socket that is bound to an address (4 or 16 bytes) takes connections to another one."""
    if not any(bound):
        return True
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    wanted = socket.inet_pton(family, address.partition("%")[0])
    mapped = b"\0" * 10 + b"\xff\xff"
    return wanted in (bound, bound[len(mapped) :] if bound.startswith(mapped) else b"")


def _asked(family: int, port: int) -> Iterator[tuple[bytes, int, int]]:
    """Addresses, users and inodes.

    :raises OSError: if the kernel does not answer."""
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
                answer = struct.unpack_from(_ANSWER, data, size)
                yield answer[4][: 4 if family == socket.AF_INET else 16], answer[-2], answer[-1]
                data = data[(length + 3) & ~3 :]


def _read(port: int) -> Iterator[tuple[bytes, int, int]]:
    return ((bound, uid, inode) for number, bound, uid, inode in _lines() if number == port)


def _lines() -> Iterator[tuple[int, bytes, int, int]]:
    """Port, address, user and inode of each socket that listens."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                lines = file.read().splitlines()[1:]
        except OSError:  # without IPv6
            continue
        for line in lines:
            fields = line.split(None, 10)
            if fields[3] == "0A":
                address, _colon, port = fields[1].partition(":")
                words = bytes.fromhex(address)
                # Each word of 4 bytes is printed as the number that it is on this machine.
                numbers = struct.unpack(">%dI" % (len(words) // 4), words)
                yield int(port, 16), struct.pack("=%dI" % len(numbers), *numbers), int(fields[7]), int(fields[9])

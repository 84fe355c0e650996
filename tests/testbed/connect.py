# SPDX-License-Identifier: GPL-3.0-or-later
"""Connect to a host and hand the connection over to the ssh that started this (its ProxyUseFdpass)."""

from __future__ import annotations

import socket
import sys


def main() -> None:
    address, port = sys.argv[1:]
    with socket.create_connection((address, int(port)), 10) as connection, socket.socket(fileno=1) as ssh:
        connection.setblocking(True)  # a timeout makes it non-blocking, which ssh would inherit
        socket.send_fds(ssh, [b"\0"], [connection.fileno()])


main()

# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-playbook again and again, each run a fork of one process that has imported Ansible once.

`ansible_server.py FD` reads requests from the socket with that number until its other end is closed, in the
environment that all runs have in common. A request is a JSON object, `arguments` of ansible-playbook and `environment`
to add, and two descriptors: one for the output, one for the exit code. Every run is Ansible's own command line in a
process of its own; only the imports, half the cost of a short playbook, are shared.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from typing import Any

# What a run of ansible-playbook imports sooner or later.
from ansible.cli.playbook import PlaybookCLI


def run(request: dict[str, Any], output: int, answer: int) -> None:
    """Be one ansible-playbook, and write its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.update(request["environment"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    code = -1
    sys.argv = ["ansible-playbook", *request["arguments"]]
    try:
        PlaybookCLI.cli_executor(sys.argv)
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(answer, b"%d" % code)
        os._exit(0)  # what the parent has registered for its own exit is not for its children


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no run leaves a zombie
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        while True:
            message, descriptors, _flags, _address = socket.recv_fds(requests, 1 << 16, 2, socket.MSG_CMSG_CLOEXEC)
            if not message:
                return
            if os.fork() == 0:
                requests.close()
                run(json.loads(message), *descriptors)
            for descriptor in descriptors:
                os.close(descriptor)


if __name__ == "__main__":
    main()

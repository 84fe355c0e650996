# SPDX-License-Identifier: GPL-3.0-or-later
"""/proc, read on real processes and sockets."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

from ansible_collections.fleetops.airflow.plugins.module_utils._host import proc

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)", "a (strange) name"]


def test_a_process_and_its_family() -> None:
    before = time.time()
    with subprocess.Popen(SLEEP, env={"COLOUR": "green=blue"}) as child:
        process = proc.read_process(child.pid)
        assert process is not None
        assert (process.pid, process.parent, process.uid) == (child.pid, os.getpid(), os.getuid())
        assert before - 0.05 <= process.started <= time.time()
        wanted = time.monotonic() + 5
        while proc.environment(child.pid) != {"COLOUR": "green=blue"} and time.monotonic() < wanted:
            time.sleep(0.01)  # until the child is itself, and no longer a copy of us
        assert proc.environment(child.pid) == {"COLOUR": "green=blue"}
        process = proc.read_process(child.pid)
        assert process is not None
        assert process.arguments == SLEEP
        assert proc.is_alive(process)
        assert not proc.is_alive(process._replace(started=process.started - 60))
        assert proc.is_within(child.pid, os.getpid())
        assert not proc.is_within(os.getpid(), child.pid)
        assert child.pid in [found.pid for found in proc.descendants(os.getpid())]
        assert child.pid in [found.pid for found in proc.processes(b"a (strange) name")]
        proc.send_signal(process._replace(started=0.0), signal.SIGKILL)  # another process with that pid: not this one
        assert child.poll() is None
        proc.send_signal(process, signal.SIGTERM)
        assert child.wait() == -signal.SIGTERM
    assert proc.read_process(child.pid) is None
    assert not proc.is_alive(process)
    assert proc.environment(child.pid) is None
    proc.send_signal(process, signal.SIGTERM)


def test_a_zombie_is_no_process() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert proc.read_process(child.pid) is None


def test_listeners() -> None:
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as server:
            server.bind((address, 0))
            port = server.getsockname()[1]
            assert not proc.is_listened_on(port)
            server.listen()
            assert proc.is_listened_on(port)
            assert proc.listeners(port) == [os.getpid()]
            with socket.create_connection((address, port)):
                assert proc.listeners(port) == [os.getpid()]  # a connection is no listener
        assert proc.listeners(port) == []


def test_listeners_outside_a_family() -> None:
    listen = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)"
    command = [sys.executable, "-c", listen + "; time.sleep(60)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child, subprocess.Popen(SLEEP) as other:
        assert child.stdout
        port = int(child.stdout.readline())
        assert proc.listeners_outside(port, child.pid) == []
        assert proc.listeners_outside(port, os.getpid()) == []  # a child's
        assert proc.listeners_outside(port, other.pid) == [child.pid]
        assert proc.listeners_outside(port + 1 if port < 65535 else 1, other.pid) == []
        child.kill()
        other.kill()


def test_outputs() -> None:
    with open(os.devnull, "rb") as nothing, subprocess.Popen(SLEEP, stdout=nothing, stderr=nothing) as child:
        assert proc.regular_outputs(child.pid) == []
        child.kill()

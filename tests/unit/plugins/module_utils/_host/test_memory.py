# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment out of the memory of real processes. That one which has overwritten it is read as well is shown on a
real Airflow 3, by the integration tests.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._host import memory

ENVIRONMENT = {"AIRFLOW_HOME": "/opt/air flow", "EMPTY": "", "LONG": "x" * 9000, "EQUALS": "a=b", "NAME": "Müller"}
WAIT = "import sys; print('ready', flush=True); sys.stdin.read()"


@pytest.mark.parametrize(
    "command", [[sys.executable, "-c", WAIT], ["/bin/sh", "-c", "echo ready; read x"]], ids=["python", "shell"]
)
def test_reads_what_the_process_was_started_with(command: list[str]) -> None:
    child = subprocess.Popen(command, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        child.stdout.readline()  # type: ignore[union-attr]
        found = memory.environment(child.pid) or {}
    finally:
        child.communicate()
    assert {name: found.get(name) for name in ENVIRONMENT} == ENVIRONMENT


def test_reads_what_the_process_has_set_since() -> None:
    program = "import os; os.environ['AIRFLOW_HOME'] = '/new'; del os.environ['EMPTY']; " + WAIT
    child = subprocess.Popen(
        [sys.executable, "-c", program], env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        child.stdout.readline()  # type: ignore[union-attr]
        found = memory.environment(child.pid) or {}
    finally:
        child.communicate()
    assert found["AIRFLOW_HOME"] == "/new"
    assert "EMPTY" not in found


def test_a_process_that_is_gone_tells_nothing() -> None:
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    assert memory.environment(child.pid) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_process_of_somebody_else_tells_nothing() -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setuid(65534)
        os.write(writer, repr(memory.environment(1)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reader, 100) == b"None"

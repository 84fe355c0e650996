# SPDX-License-Identifier: GPL-3.0-or-later
"""One task at a time, which a signal does not stop half-way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._change.lock import locked, uninterrupted
from ansible_collections.fleetops.airflow.plugins.module_utils._change.replacement import Replacement
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError


def test_one_task_at_a_time(tmp_path: Path) -> None:
    cfg = tmp_path / "airflow.cfg"
    cfg.write_bytes(b"old")
    with locked(str(cfg), timeout=1):
        Replacement(str(cfg), b"old", b"new").do()  # a new file: the lock has to hold all the same
        with pytest.raises(AirflowError, match="Another task has been changing"), locked(str(cfg), timeout=0):
            pass
    assert cfg.read_bytes() == b"new"
    with locked(str(cfg), timeout=0):
        pass  # what the change kept to undo it, without an end, is removed
    assert os.listdir(cfg.parent) == ["airflow.cfg"]


AS_MALLORY = """
import fcntl, os, sys, time
os.setgroups([]); os.setgid(1234); os.setuid(1234)
directory = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(directory, fcntl.LOCK_EX)
if os.fork():
    os._exit(0)  # the lock is the child's then, and the pid that the kernel has noted is gone
os.write(1, b"held\\n")
time.sleep(60)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_user_who_may_only_read_does_not_keep_root_away() -> None:
    directory = Path(tempfile.mkdtemp())  # pytest's own cannot be entered by another user
    directory.chmod(0o755)
    cfg = directory / "airflow.cfg"
    cfg.write_bytes(b"old")
    command = ["/usr/bin/python3", "-c", AS_MALLORY, str(directory)]
    denied = pytest.raises(AirflowError, match="Another task has been changing")
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as mallory:
        try:
            assert mallory.stdout
            assert mallory.stdout.readline() == b"held\n"
            with locked(str(cfg), timeout=0), denied, locked(str(cfg), timeout=0):
                pass  # the second is another task of root's
            os.chown(cfg, 1234, 1234)  # the owner's tasks are waited for
            with denied, locked(str(cfg), timeout=0):
                pass
        finally:
            os.killpg(mallory.pid, signal.SIGKILL)
            shutil.rmtree(directory)


def test_signals_wait_until_the_end_and_do_not_reach_programs() -> None:
    with uninterrupted():
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        program = "import signal; print([signal.getsignal(n) == signal.SIG_IGN for n in (1, 15)])"
        done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert done.stdout.strip() == b"[False, False]"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

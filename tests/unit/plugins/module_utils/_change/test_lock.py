# SPDX-License-Identifier: GPL-3.0-or-later
"""One task at a time, which a signal does not stop half-way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._change.lock import locked, uninterrupted
from ansible_collections.fleetops.airflow.plugins.module_utils._change.transaction import replace_file
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError


def test_one_task_at_a_time(tmp_path: Path) -> None:
    cfg = tmp_path / "airflow.cfg"
    cfg.write_bytes(b"old")
    with locked(str(cfg), timeout=1):
        replace_file(str(cfg), b"new")  # a new file: the lock has to hold all the same
        with pytest.raises(AirflowError, match="Another task has been changing"), locked(str(cfg), timeout=0):
            pass
    with locked(str(cfg), timeout=0):
        pass
    assert os.listdir(cfg.parent) == ["airflow.cfg"]


def test_signals_wait_until_the_end_and_do_not_reach_programs() -> None:
    with uninterrupted():
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        program = "import signal; print([signal.getsignal(n) == signal.SIG_IGN for n in (1, 15)])"
        done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert done.stdout.strip() == b"[False, False]"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

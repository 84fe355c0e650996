# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends an Airflow and removes its home as soon as the process that wanted it is gone.

`subreaper.py HOME` waits for the end of its stdin, a pipe whose other end only that process holds: the kernel
closes it however the process ends, by SIGKILL too.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from testbed import processes
from testbed.errors import TestbedError


@contextlib.contextmanager
def reaped(home: Path) -> Iterator[None]:
    """Have everything that runs in ``home`` ended, and ``home`` removed, at the end of the block or of this process.

    Raises TestbedError when something could not be ended.
    """
    command = [sys.executable, __file__, str(home)]
    # A session of its own: Ctrl-C at the terminal must not end the one who cleans up.
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as reaper:
        try:
            yield
        finally:
            reaper.communicate()
    if reaper.returncode != 0:
        raise TestbedError(f"{home} could not be cleaned up: see the traceback of subreaper.py.")


if __name__ == "__main__":
    sys.stdin.buffer.read()
    processes.end(Path(sys.argv[1]))
    shutil.rmtree(sys.argv[1])

# SPDX-License-Identifier: GPL-3.0-or-later
"""Find and end the processes that belong to one AIRFLOW_HOME, orphaned ones included, or to another process."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from testbed.errors import TestbedError


def of_home(home: Path) -> list[int]:
    """Return the pids of supervisord and of everything it started in ``home``.

    Told by the working folder or the environment, since gunicorn overwrites its title and its environment,
    and an orphan has no parent to go by. A shell or an editor that stands in the folder is left alone, and
    so are this process and those above it.
    """
    spared = _ancestry(os.getpid())
    return [
        pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if pid not in spared and _is_of(pid, home)
    ]


def end(home: Path, patience: float = 40.0) -> None:
    """End the processes of ``home``: supervisord first and in order, then what is left of them.

    Raises TestbedError when some are still there ``patience`` seconds after they were told to end.
    """
    # supervisord ends its programs in order, so it alone is asked first.
    supervisord = running_supervisord(home)
    if supervisord is not None:
        _signal([supervisord], signal.SIGTERM)
        _wait_gone([supervisord], patience)
    _signal(of_home(home), signal.SIGTERM)
    if not _wait_none_left(home, 10.0):
        _signal(of_home(home), signal.SIGKILL)
        if not _wait_none_left(home, 10.0):
            raise TestbedError(f"processes of {home} do not end: {of_home(home)}")


def running_supervisord(home: Path) -> int | None:
    """The pid of the supervisord of ``home``, or None. A pid file left by a dead one does not count."""
    try:
        pid = int((home / "supervisord.pid").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return pid if _is_of(pid, home) else None


def alive(pid: int) -> bool:
    """Whether ``pid`` runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def tree(pid: int) -> list[int]:
    """The processes below ``pid``, children before their parents, and ``pid`` itself at the end."""
    children = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            children += path.read_text().split()
    return [below for child in children for below in tree(int(child))] + [pid]


def _is_of(pid: int, home: Path) -> bool:
    proc = Path(f"/proc/{pid}")
    try:
        folder = Path(os.readlink(proc / "cwd").removesuffix(" (deleted)"))
        program = os.path.basename(os.readlink(proc / "exe"))
        environment = (proc / "environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # gone, a zombie, or somebody else's
        return False
    stands_in_it = folder == home or home in folder.parents
    if stands_in_it and program.startswith("python"):
        return True
    started_by_it = os.fsencode(f"AIRFLOW_HOME={home}") in environment and b"SUPERVISOR_ENABLED=1" in environment
    return started_by_it


def _ancestry(pid: int) -> set[int]:
    found = set()
    while pid > 0:
        found.add(pid)
        stat = Path(f"/proc/{pid}/stat").read_text()
        pid = int(stat.rpartition(")")[2].split()[1])
    return found


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def _wait_gone(pids: list[int], patience: float) -> None:
    deadline = time.monotonic() + patience
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)


def _wait_none_left(home: Path, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while of_home(home):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True

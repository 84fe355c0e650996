# SPDX-License-Identifier: GPL-3.0-or-later
"""One task at a time, which finishes what it has begun."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from typing import Any, Iterator

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host import proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.files import place_of, remove_leftovers


@contextlib.contextmanager
def locked(path: str, timeout: float) -> Iterator[bool]:
    """Keep other tasks of this collection away from ``path`` meanwhile, and remove what a killed one left beside it.

    The lock is on the directory: the file itself is another one after each replacement. Any user who may read the
    directory can take it too. So tasks of root have a second one, which only root can take, and do not wait for a user
    who may not change the file.

    Gives whether another task had it first: what was seen before may have changed since.

    :raises AirflowError: if another task still holds it after ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    descriptors = []
    try:
        with place_of(path) as place:
            directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place.directory)
            descriptors.append(directory)
            waited = False
            if os.geteuid() == 0:
                with contextlib.suppress(OSError):  # without /run the lock on the directory has to do
                    descriptors.append(_open_lock_of_root(directory))
                    waited = _take(descriptors[-1], deadline)
            status = place.status() or os.fstat(directory)
            owners = {0, status.st_uid, os.fstat(directory).st_uid}
            waited |= _take(directory, deadline, owners)
            remove_leftovers(place)
        yield waited
    except _Held:
        raise AirflowError(
            "Another task has been changing %s for more than %d s. Nothing was changed. Run this task again when the "
            "other one is done." % (path, timeout)
        ) from None
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


class _Held(Exception):
    """Another task holds the lock, and the time is over."""


def _open_lock_of_root(directory: int) -> int:
    status = os.fstat(directory)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open("/run/fleetops.airflow-%d-%d.lock" % (status.st_dev, status.st_ino), flags, 0o600)


def _take(descriptor: int, deadline: float, owners: set[int] | None = None) -> bool:
    """Take a lock, or as root go on without it if only users hold it who are none of the owners.

    :returns: whether another task had it first.
    :raises _Held: if it is not free by the deadline.
    """
    waited = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return waited
        except BlockingIOError:
            if owners and os.geteuid() == 0:
                holders = proc.lock_holders(os.fstat(descriptor).st_ino)
                if holders and not any(uids <= owners for uids in holders):
                    return waited
            if time.monotonic() > deadline:
                raise _Held from None
            waited = True
            time.sleep(0.1)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Do not die half-way of a lost connection, a closed terminal or an impatient controller.

    The signals get a handler instead of being ignored, because ignored ones stay ignored in every program that is
    started meanwhile, the restarted server among them.
    """

    def carry_on(number: int, frame: Any) -> None:
        """What was begun is finished first; it has its own time limits."""

    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
    before = [(number, signal.signal(number, carry_on)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)

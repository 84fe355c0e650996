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


@contextlib.contextmanager
def locked(path: str, timeout: float) -> Iterator[bool]:
    """Keep other tasks of this collection away from ``path`` meanwhile.

    The lock is on the folder: the file itself is another one after each replacement. It leaves nothing behind.
    Gives whether another task had it first: what was seen before may have changed since.

    :raises AirflowError: if another task still holds it after ``timeout`` seconds.
    """
    folder = os.path.dirname(path)
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise AirflowError("%s cannot be opened: %s." % (folder, error.strerror)) from None
    try:
        deadline = time.monotonic() + timeout
        waited = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise AirflowError(
                        "Another task has been changing %s for more than %d s. Nothing was changed. "
                        "Run this again when it is done." % (path, timeout)
                    ) from None
                waited = True
                time.sleep(0.1)
        yield waited
    finally:
        os.close(descriptor)


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

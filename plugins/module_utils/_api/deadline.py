# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When answers have to be there, for the thread that waits for them."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Iterator

_here = threading.local()


@contextlib.contextmanager
def whole_within(seconds: float) -> Iterator[None]:
    """Within the block an answer has to be whole after so many seconds, however its parts come.

    A block inside another one, as for a login, takes nothing of the other's time.
    """
    before, begin = getattr(_here, "end", None), time.monotonic()
    _here.end = begin + seconds
    try:
        yield
    finally:
        _here.end = None if before is None else before + time.monotonic() - begin


@contextlib.contextmanager
def all_within(seconds: float) -> Iterator[None]:
    """Within the block everything has to be over after so many seconds: all requests, their repetitions, the pauses."""
    before = getattr(_here, "last", None)
    last = time.monotonic() + seconds
    _here.last = last if before is None else min(before, last)
    try:
        yield
    finally:
        _here.last = before


def seconds_left() -> float | None:
    """Until the answer has to be whole; None where there is no such time."""
    ends = [end for end in (getattr(_here, "end", None), getattr(_here, "last", None)) if end is not None]
    return min(ends) - time.monotonic() if ends else None


def time_is_up_in(seconds: float) -> bool:
    """Whether so many seconds from now everything has to be over."""
    last = getattr(_here, "last", None)
    return last is not None and time.monotonic() + seconds >= last

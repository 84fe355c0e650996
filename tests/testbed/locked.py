# SPDX-License-Identifier: GPL-3.0-or-later
"""Take turns with other test runs, and other workers of this one, in the same checkout."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold ``path`` locked, waiting for whoever holds it. Its folder is made where it is not there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

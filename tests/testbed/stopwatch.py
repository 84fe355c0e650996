# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the tests' time goes: with TESTBED_TIMES=DIR, what was waited for, and in which test, is written there.

`python tests/tools/times.py DIR` makes tables of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_own = threading.local()


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Count the block's seconds as spent on ``what``, without those that a ``timed`` block inside it counts itself."""
    if "TESTBED_TIMES" not in os.environ:
        yield
        return
    outer, _own.inside = getattr(_own, "inside", 0.0), 0.0
    begun = time.monotonic()
    try:
        yield
    finally:
        whole = time.monotonic() - begun
        note(what, whole - _own.inside)
        _own.inside = outer + whole


def note(what: str, seconds: float, test: str | None = None) -> None:
    """Write down that ``test``, by default the current one, has spent ``seconds`` on ``what``."""
    directory = os.environ.get("TESTBED_TIMES")
    if directory:
        test = test or os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
        line = json.dumps({"test": test, "what": what, "seconds": seconds})
        with (Path(directory) / f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps before the story, with the seconds that are probably left."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path


class Progress:
    """Says before each step about how long it and those after it take: as long as last time, else as was measured once.

    ``plan`` has the steps in their order, with the seconds that each took where it was measured; 0 for a step that has
    nothing left to do. What a step takes here is kept in the file ``durations``. ``say`` prints a line.
    """

    def __init__(self, plan: Mapping[str, float], durations: Path, say: Callable[[str], None]) -> None:
        self._durations = durations
        self._known: dict[str, float] = json.loads(durations.read_text()) if durations.exists() else {}
        self._plan = {name: seconds and self._known.get(name, seconds) for name, seconds in plan.items()}
        self._say = say
        unknown = [name for name, seconds in plan.items() if seconds and name not in self._known]
        self.source = "an estimate: as measured on a machine of 2 cores" if unknown else "as last time"

    @property
    def left(self) -> float:
        """The seconds that the steps not yet done are expected to take."""
        return sum(self._plan.values())

    @contextlib.contextmanager
    def step(self, name: str, what: str) -> Iterator[None]:
        """Around what is done in a step."""
        began = time.monotonic()
        if sys.stdout.isatty():
            with self._counting(what, self._plan[name]):
                yield
            self._say(f"done: {what}")
        else:
            self._say(f"{what} (about {self.left:.0f} s left)")
            yield
        if self._plan.pop(name):
            self._known[name] = round(time.monotonic() - began, 1)
            self._durations.write_text(json.dumps(self._known))

    @contextlib.contextmanager
    def _counting(self, what: str, expected: float) -> Iterator[None]:
        """Count down in one line of the terminal."""
        began = time.monotonic()
        ended = threading.Event()

        def count() -> None:
            while True:
                passed = time.monotonic() - began
                hint = f"about {self.left - passed:.0f} s left"
                if passed > expected:
                    hint = f"takes longer than expected; about {self.left - expected:.0f} s after it"
                print(f"\r\033[K{what} ({hint})", end="", flush=True)
                if ended.wait(1):
                    return

        counter = threading.Thread(target=count, daemon=True)
        counter.start()
        try:
            yield
        finally:
            ended.set()
            counter.join()
            print("\r\033[K", end="", flush=True)

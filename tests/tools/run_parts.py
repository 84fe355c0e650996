# SPDX-License-Identifier: GPL-3.0-or-later
"""Make targets in lanes that run beside each other, and end with what was skipped and what passed.

`run_parts.py TITLE simulation -- unit,lint story`: simulation alone, and then two lanes; in the first one, lint
follows unit whatever unit came to. The output of a target is shown as a whole when it has ended, and lies in
.build/log/ before.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOGS = ROOT / ".build/log"
# How pytest -ra, the project's tools and ansible-test begin the line of something that did not run.
SKIPPED = ("SKIPPED", "WARNING: Skipping")
PROGRESS = 30  # seconds between two lines that say what is running


@dataclass
class Part:
    """One make target, and variables for make. ``code`` is None until it has ended."""

    target: str
    variables: Sequence[str] = ()
    code: int | None = None
    begun: float | None = None
    seconds: float = 0.0

    @property
    def log(self) -> Path:
        return LOGS / f"{self.target}.log"

    @property
    def verdict(self) -> str:
        return "FAILED" if self.code else "passed"

    def make(self, printing: threading.Lock) -> None:
        self.begun = time.monotonic()
        LOGS.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            command = ["make", "--no-print-directory", *self.variables, self.target]
            done = subprocess.run(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False
            )
        self.seconds = time.monotonic() - self.begun
        self.code = done.returncode
        with printing:
            print(f"\n=== make {self.target}: {self.verdict} after {self.seconds:.0f} s", flush=True)
            sys.stdout.buffer.write(self.log.read_bytes())
            sys.stdout.buffer.flush()

    def skipped(self) -> list[str]:
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if line.startswith(SKIPPED)]


def run_lane(parts: list[Part], printing: threading.Lock) -> None:
    for part in parts:
        part.make(printing)


def run_stage(lanes: list[list[Part]], begun: float, printing: threading.Lock) -> None:
    """Run lanes beside each other, until all have ended."""
    threads = [threading.Thread(target=run_lane, args=(lane, printing)) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(PROGRESS)
            parts = [part for lane in lanes for part in lane]
            running = [part.target for part in parts if part.begun is not None and part.code is None]
            if running:
                with printing:
                    print(f"[{time.monotonic() - begun:4.0f} s] running: {', '.join(running)}", flush=True)


def main(title: str, *lanes: str) -> int:
    """Return 0 when every part passed."""
    begun = time.monotonic()
    stages: list[list[list[Part]]] = [[]]
    for lane in lanes:
        if lane == "--":
            stages.append([])
        else:
            stages[-1].append([Part(target) for target in lane.split(",")])
    parts = [part for stage in stages for lane in stage for part in lane]
    printing = threading.Lock()
    for stage in stages:
        run_stage(stage, begun, printing)
    skipped = dict.fromkeys(line for part in parts for line in part.skipped())
    print("\n=== what was skipped, and why", *(skipped or ["  nothing"]), sep="\n")
    print(f"\n=== {title}: {time.monotonic() - begun:.0f} s")
    for part in parts:
        print(f"  {part.target:<12} {part.verdict:<8} {part.seconds:5.0f} s")
    failed = any(part.code for part in parts)
    print("FAILED" if failed else "all parts passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

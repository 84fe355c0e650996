# SPDX-License-Identifier: GPL-3.0-or-later
"""Run unit tests, sanity and the end-to-end test on each supported ansible-core, and end with a table.

Each part is what ``make PART CORE=2.17 PYTHON=...`` does by itself. A core is skipped if this machine has no
Python on which it runs.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from pathlib import Path

from interpreters import find
from run_parts import Part, run_lane

# The Pythons on which a controller of that core runs, without those that are too old for the tests themselves. The
# first one found is taken: the oldest, because the newest is what `make test` has.
CORES = {
    "2.17": ("3.11", "3.12"),
    "2.18": ("3.11", "3.12", "3.13"),
    "2.19": ("3.11", "3.12", "3.13"),
    "2.21": ("3.12", "3.13", "3.14"),
}
PARTS = ("unit", "sanity", "end-to-end")


def find_python(core: str) -> tuple[str, Path] | None:
    """Return version and path of a Python for ``core``, None if this machine has none."""
    for version in CORES[core]:
        if interpreter := find(version):
            return version, interpreter
    return None


def line(core: str, python: str, results: Iterable[str]) -> str:
    """Return one line of the table."""
    return f"  {core:<6} {python:<7} {'  '.join(f'{result:<13}' for result in results)}".rstrip()


def run(core: str, python: Path) -> list[Part]:
    """Make every part with ``core``: the end-to-end test, which waits for Airflow often, beside the others."""
    variables = (f"CORE={core}", f"PYTHON={python}")
    printing = threading.Lock()
    print(f"\n=== ansible-core {core}", flush=True)
    Part("venv", variables).make(printing)
    unit, sanity, end_to_end = parts = [Part(name, variables) for name in PARTS]
    beside = threading.Thread(target=run_lane, args=([end_to_end], printing))
    beside.start()
    run_lane([unit, sanity], printing)
    beside.join()
    return parts


def main() -> int:
    """Return 0 if every part passed on every core that this machine can run, and it can run one."""
    table = [line("core", "python", PARTS)]
    codes: list[int | None] = []
    skipped: dict[str, None] = {}
    for core, versions in CORES.items():
        python = find_python(core)
        if not python:
            table.append(line(core, "-", ["skipped"]))
            skipped[f"ansible-core {core}: this machine has no Python {' or '.join(versions)}"] = None
            continue
        version, interpreter = python
        parts = run(core, interpreter)
        table.append(line(core, version, [f"{part.verdict} {part.seconds:4.0f} s" for part in parts]))
        codes += [part.code for part in parts]
        skipped.update((f"ansible-core {core}: {reason}", None) for part in parts for reason in part.skipped())
    good = bool(codes) and not any(codes)
    print("\n=== what was skipped, and why", *(skipped or ["  nothing"]), sep="\n")
    print("\n=== make test-cores", *table, "all parts passed" if good else "FAILED", sep="\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

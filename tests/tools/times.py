# SPDX-License-Identifier: GPL-3.0-or-later
"""Print where the time of the tests went: `python tests/tools/times.py DIR`, after a run with TESTBED_TIMES=DIR."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

PHASES = ("setup", "call", "teardown")


def read(directory: Path) -> dict[str, dict[str, float]]:
    """Test -> what -> seconds; the whole of a test stands under its phases."""
    spent: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for path in sorted(directory.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            spent[entry["test"]][entry["what"]] += entry["seconds"]
    return spent


def table(rows: dict[str, dict[str, float]], first: str, columns: list[str]) -> str:
    lines = [f"| {first} | s | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
    for name, row in sorted(rows.items(), key=lambda item: -total(item[1])):
        cells = [f"{row[column]:.0f}" if row[column] >= 0.5 else "" for column in columns]
        lines.append(f"| {name} | {total(row):.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def total(row: dict[str, float]) -> float:
    return sum(row[phase] for phase in PHASES)


def main() -> None:
    tests = read(Path(sys.argv[1]))
    files: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for test, row in tests.items():
        for what, seconds in row.items():
            files[test.partition("::")[0].rpartition("/")[2]][what] += seconds
            files["all"][what] += seconds
    columns = sorted(set(files["all"]) - set(PHASES), key=lambda what: -files["all"][what])
    print(table(files, "file", columns))
    print()
    slowest = dict(sorted(tests.items(), key=lambda item: -total(item[1]))[:40])
    print(table({name.rpartition("/")[2]: row for name, row in slowest.items()}, "test", columns))


if __name__ == "__main__":
    main()

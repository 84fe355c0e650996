# SPDX-License-Identifier: GPL-3.0-or-later
"""Make each target that is named, whatever the ones before it said, and end with what was skipped and what passed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# How pytest -ra, the project's tools and ansible-test begin the line of something that did not run.
SKIPPED = ("SKIPPED", "WARNING: Skipping")


def make(target: str) -> tuple[int, list[str]]:
    """Make ``target`` in the reader's sight; return the exit code and the lines about what was skipped."""
    output = b""
    command = ["make", "--no-print-directory", target]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
    ) as process:
        assert process.stdout
        # As it comes, not line by line: a long line of dots is how pytest shows that it lives.
        while chunk := process.stdout.read(4096):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            output += chunk
    lines = output.decode(errors="replace").splitlines()
    return process.returncode, [line for line in lines if line.startswith(SKIPPED)]


def main(parts: list[str]) -> int:
    """Return 0 when every part passed."""
    table = []
    all_skipped: dict[str, None] = {}
    failed = False
    for part in parts:
        print(f"\n=== make {part}", flush=True)
        start = time.monotonic()
        code, skipped = make(part)
        failed = failed or code != 0
        all_skipped.update(dict.fromkeys(skipped))
        table.append(f"  {part:<12} {'FAILED' if code else 'passed':<8} {time.monotonic() - start:5.0f} s")
    print("\n=== what was skipped, and why", *(all_skipped or ["  nothing"]), sep="\n")
    print("\n=== make test", *table, "FAILED" if failed else "all parts passed", sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

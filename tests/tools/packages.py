# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the Debian packages of tests/testbed/packages.txt that are missing, where that can be done.

Where it cannot, it says so and succeeds: the tests that need them are skipped with the same reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

LIST = Path(__file__).resolve().parents[1] / "testbed/packages.txt"


def main() -> int:
    wanted = [line for line in LIST.read_text().splitlines() if line and not line.startswith("#")]
    dpkg = shutil.which("dpkg-query")
    missing = [package for package in wanted if not dpkg or not is_installed(dpkg, package)]
    if not missing:
        return 0
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(f"Not installed, so tests that need them are skipped: {', '.join(missing)}")
        return 0
    print(f"--- installing the Debian packages {', '.join(missing)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
        done = subprocess.run(["apt-get", "--quiet=2", *command], env=environment, check=False)
        if done.returncode != 0:
            return done.returncode
    return 0


def is_installed(dpkg: str, package: str) -> bool:
    done = subprocess.run(
        [dpkg, "--show", "--showformat=${db:Status-Status}", package], capture_output=True, text=True, check=False
    )
    return done.stdout == "installed"


if __name__ == "__main__":
    sys.exit(main())

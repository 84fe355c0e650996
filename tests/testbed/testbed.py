# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Airflow for people: `python tests/testbed/testbed.py up|status|down --home DIR [--version 2.11.2]`."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tests"))

from testbed import processes, releases  # noqa: E402  (the path has to be set first)
from testbed.errors import TestbedError  # noqa: E402
from testbed.installation import Installer, find_uv  # noqa: E402
from testbed.instance import Airflow, free_port  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a real Airflow under supervisord.")
    parser.add_argument("command", choices=["up", "status", "down"])
    parser.add_argument("--home", type=Path, required=True, help="AIRFLOW_HOME; made by up, removed by down")
    parser.add_argument("--version", default=releases.DEFAULT, help="Airflow release (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port if free, else any free one (default: %(default)s)")
    parser.add_argument("--uv", type=Path, help="the uv to install with")
    options = parser.parse_args()
    home = options.home.resolve()
    try:
        if options.command == "up":
            up(home, options.version, options.port, options.uv)
        elif options.command == "status":
            return status(home)
        else:
            processes.end(home)
            shutil.rmtree(home, ignore_errors=True)
    except TestbedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def up(home: Path, version: str, port: int, uv: Path | None) -> None:
    start = time.monotonic()

    def say(what: str) -> None:
        print(f"[{time.monotonic() - start:5.1f} s] {what}", flush=True)

    if home.exists():
        raise TestbedError(f"{home} is there already: run down first, or name another folder.")
    installer = Installer(CHECKOUT / ".build/airflow", uv or find_uv(CHECKOUT), say)
    airflow = Airflow(installer.airflow(releases.release(version)), home, free_port(port))
    say(f"starting Airflow {version} in {home}")
    airflow.prepare()
    airflow.start()
    say(f"healthy at {airflow.url}")
    for name, password in airflow.users.items():
        print(f"  {name}: {password}")
    print(f"  supervisorctl: {airflow.installation.supervisor_bin}/supervisorctl -c {airflow.supervisord_conf}")


def status(home: Path) -> int:
    pid = processes.running_supervisord(home)
    print(f"supervisord runs with pid {pid}" if pid else "not running")
    return 0 if pid else 3


if __name__ == "__main__":
    sys.exit(main())

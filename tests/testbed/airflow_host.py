# SPDX-License-Identifier: GPL-3.0-or-later
"""Airflow as a service of a test host (hosts.py), as an administrator would set it up."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from pathlib import Path

from testbed import home as homes
from testbed.errors import TestbedError
from testbed.hosts import AIRFLOW_UID, Bed, Host
from testbed.installation import Installation

HOME = Path("/opt/airflow")
PORT = 8080
# Run in the hosts' network: prints the status of a GET with an optional Authorization header.
GET = """
import sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Authorization": sys.argv[2]} if sys.argv[2:] else {})
try:
    print(urllib.request.urlopen(request, timeout=30).status)
except urllib.error.HTTPError as error:
    print(error.code)
except OSError:
    print(0)
"""


class AirflowHost:
    """Airflow with its home in /opt/airflow and its webserver and scheduler as units, run by the user airflow."""

    def __init__(self, bed: Bed, host: Host, installation: Installation) -> None:
        self.bed = bed
        self.host = host
        self.installation = installation
        self.cfg = host.root / HOME.relative_to("/") / "airflow.cfg"
        self.url = f"http://{host.address}:{PORT}"

    @property
    def users(self) -> dict[str, str]:
        return homes.passwords(self.cfg.parent)

    def prepare(self) -> None:
        """Make home and units; nothing is started."""
        homes.prepare(self.installation, self.cfg.parent, known_as=HOME)
        airflow = self.installation.executable
        for name, arguments in (
            ("webserver", f"webserver --hostname 0.0.0.0 --port {PORT} --workers 1"),
            ("scheduler", "scheduler --skip-serve-logs"),
        ):
            self.write(
                f"/etc/systemd/system/airflow-{name}.service",
                f"""\
[Unit]
Description=Airflow {name}
[Service]
User=airflow
Environment=AIRFLOW_HOME={HOME} AIRFLOW__CORE__LOAD_EXAMPLES=False PATH={airflow.parent}:/usr/bin:/bin
EnvironmentFile=-/etc/default/airflow
ExecStart={airflow} {arguments}
Restart=on-failure
RestartSec=1
""",
            )
        self.run(f"chown -R {AIRFLOW_UID}:{AIRFLOW_UID} {HOME} && systemctl daemon-reload")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the host, its folder included."""
        file = self.host.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def run(self, command: str, check: bool = True) -> str:
        """What a shell command of root prints on the host."""
        return self.bed.ssh(self.host, command, check).stdout

    def main_pid(self, unit: str = "airflow-webserver") -> int:
        return int(self.run(f"systemctl show --property MainPID --value {unit}"))

    def status(self, path: str, user: str | None = None) -> int:
        """The status of a GET, with the password of ``user``; 0 where nobody answers."""
        words = [f"Basic {base64.b64encode(f'{user}:{self.users[user]}'.encode()).decode()}"] if user else []
        command = self.bed.inside(sys.executable, "-c", GET, self.url + path, *words)
        return int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)

    def wait_healthy(self, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while self.status("/health") != 200:
            if time.monotonic() > deadline:
                raise TestbedError(f"{self.url} is not healthy after {timeout:.0f} s:\n{self.journal()}")
            time.sleep(0.3)

    def journal(self, unit: str = "airflow-webserver") -> str:
        return self.run(f"journalctl --unit {unit} --lines 30 --output cat --no-pager")

    def pid_file(self) -> int:
        """The pid of gunicorn's master."""
        return int(json.loads((self.cfg.parent / "airflow-webserver.pid").read_text()))

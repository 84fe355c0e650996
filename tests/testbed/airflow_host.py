# SPDX-License-Identifier: GPL-3.0-or-later
"""Airflow as a service of a test host (hosts.py), as an administrator would set it up."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from testbed import home as homes
from testbed.errors import TestbedError
from testbed.hosts import AIRFLOW_UID, Bed, Host
from testbed.installation import Installation
from testbed.stopwatch import timed

HOME = Path("/opt/airflow")
PORT = 8080
ENVIRONMENT_FILE = "/etc/default/airflow"
# Run in the hosts' network: makes requests until one is refused, and prints the status of the last one, 0 where nobody
# answers. On stdin each one as [method, url, headers, body]; a token that is answered goes into the next one.
REQUESTS = """
import json, sys, urllib.error, urllib.request
token = None
try:
    for method, url, headers, body in json.load(sys.stdin):
        if token:
            headers["Authorization"] = "Bearer " + token
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=30) as answer:
            status, text = answer.status, answer.read()
            token = json.loads(text)["access_token"] if status == 201 else None
    print(status)
except urllib.error.HTTPError as error:
    print(error.code)
except OSError:
    print(0)
"""
# Where the simple auth manager of 3.x keeps them, made at the server's first start.
SIMPLE_PASSWORDS = "simple_auth_manager_passwords.json.generated"
JSON = {"Content-Type": "application/json"}
# Asked to run a DAG that does not exist: 404 says that the caller might have triggered it.
TRIGGER = {
    "1.10": ("/api/experimental/dags/nowhere/dag_runs", {}),
    "2": ("/api/v1/dags/nowhere/dagRuns", {}),
    "3": ("/api/v2/dags/nowhere/dagRuns", {"logical_date": None}),
}


class AirflowHost:
    """Airflow with its home in /opt/airflow and its programs as units, run by the user airflow.

    The units are named as packagers name them (``airflow-webserver.service``, from 3.0 on
    ``airflow-api-server.service``, ...) and take their environment from /etc/default/airflow. ``auth_manager`` is
    written into airflow.cfg, where a release has such a thing. With ``fake`` the server is a stand-in.
    """

    def __init__(
        self, bed: Bed, host: Host, installation: Installation, auth_manager: str | None = None, fake: bool = False
    ) -> None:
        self.bed = bed
        self.host = host
        self.installation = installation
        self.cfg = host.root / HOME.relative_to("/") / "airflow.cfg"
        self.url = f"http://{host.address}:{PORT}"
        self.units = [f"{program}.service" for program in installation.release.programs]
        self.unit = self.units[0].removesuffix(".service")  # serves the API
        self._auth_manager = auth_manager
        self.executable = HOME / "bin/airflow" if fake else installation.executable
        self._fake = fake

    @property
    def users(self) -> dict[str, str]:
        """User name -> password, for the manager in force when the host was prepared."""
        if self.installation.release.generation == "3" and self._auth_manager is None:
            generated: dict[str, str] = json.loads((self.cfg.parent / SIMPLE_PASSWORDS).read_text())
            return generated
        return homes.passwords(self.cfg.parent)

    def prepare(self) -> None:
        """Make home and units; nothing is started."""
        homes.prepare(self.installation, self.cfg.parent, known_as=HOME)
        if self._fake:
            homes.write_fake(self.installation, self.cfg.parent / "bin/airflow")
        if self._auth_manager:
            text, number = re.subn(
                r"(?m)^(# *)?auth_manager = .*", f"auth_manager = {self._auth_manager}", self.cfg.read_text(), count=1
            )
            if not number:
                raise TestbedError(f"{self.cfg} has no auth_manager.")
            self.cfg.write_text(text)
        self.write_environment()
        for program, arguments in self.installation.release.programs.items():
            command = arguments.format(port=PORT).replace("127.0.0.1", "0.0.0.0")
            self.write(
                f"/etc/systemd/system/{program}.service",
                f"""\
[Unit]
Description={program.replace("airflow-", "Airflow ")}
After=network.target
[Service]
User=airflow
EnvironmentFile={ENVIRONMENT_FILE}
ExecStart={self.executable} {command}
Restart=on-failure
RestartSec=1
[Install]
WantedBy=multi-user.target
""",
            )
        self.run(f"chown -R {AIRFLOW_UID}:{AIRFLOW_UID} {HOME} && systemctl daemon-reload")

    def write_environment(self, *lines: str) -> None:
        """Write the units' EnvironmentFile, with these lines more."""
        variables = {
            "AIRFLOW_HOME": HOME,
            "PATH": f"{self.executable.parent}:/usr/bin:/bin",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        text = "\n".join([*(f"{name}={value}" for name, value in variables.items()), *lines])
        self.write(ENVIRONMENT_FILE, text + "\n", 0o640)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the host, its folder included."""
        file = self.host.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def drop_in(self, line: str | None) -> None:
        """Have a line more in the section [Service] of the server's unit; None takes it out again."""
        folder = f"/etc/systemd/system/{self.unit}.service.d"
        if line is None:
            self.run(f"rm -rf {folder}")
        else:
            self.write(f"{folder}/test.conf", f"[Service]\n{line}\n")
        self.run("systemctl daemon-reload")

    def run(self, command: str, check: bool = True) -> str:
        """What a shell command of root prints on the host."""
        return self.bed.ssh(self.host, command, check).stdout

    def main_pid(self, unit: str = "") -> int:
        """The main process of a unit, by default of the server's; 0 where it does not run."""
        return int(self.run(f"systemctl show --property MainPID --value {unit or self.unit}"))

    def status(self, path: str, user: str | None = None) -> int:
        """The status of a GET, with the password of ``user``; 0 where nobody answers."""
        headers = basic(user, self.users[user]) if user else {}
        return self._request(("GET", path, headers, None))

    def may_trigger(self, username: str, password: str) -> bool:
        """Whether this login is good for triggering DAGs. No run is made."""
        generation = self.installation.release.generation
        path, body = TRIGGER[generation]
        if generation == "3":
            login = ("POST", "/auth/token", JSON, {"username": username, "password": password})
            return self._request(login, ("POST", path, JSON, body)) == 404
        return self._request(("POST", path, {**JSON, **basic(username, password)}, body)) == 404

    def settles(self, username: str, password: str, may_trigger: bool) -> bool:
        """Whether this login soon may trigger DAGs, or no longer may: FAB caches a user's roles for 30 s."""
        deadline = time.monotonic() + 45
        while self.may_trigger(username, password) is not may_trigger:
            if time.monotonic() > deadline:
                return False
            time.sleep(2)
        return True

    def _request(self, *requests: tuple[str, str, dict[str, str], object]) -> int:
        words = [(method, self.url + path, headers, body) for method, path, headers, body in requests]
        command = self.bed.inside(sys.executable, "-c", REQUESTS)
        done = subprocess.run(command, input=json.dumps(words), stdout=subprocess.PIPE, text=True, check=True)
        return int(done.stdout)

    def healthy(self) -> bool:
        return self.status(self.installation.release.health_path) == 200

    def wait_healthy(self, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        with timed("waiting for Airflow"):
            while not self.healthy():
                if time.monotonic() > deadline:
                    raise TestbedError(f"{self.url} is not healthy after {timeout:.0f} s:\n{self.journal()}")
                time.sleep(0.3)

    def journal(self, unit: str = "") -> str:
        return self.run(f"journalctl --unit {unit or self.unit} --lines 30 --output cat --no-pager")

    def pid_file(self) -> int:
        """The pid of gunicorn's master."""
        return int(json.loads((self.cfg.parent / "airflow-webserver.pid").read_text()))


def basic(username: str, password: str) -> dict[str, str]:
    """The header of a login in UTF-8."""
    return {"Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}

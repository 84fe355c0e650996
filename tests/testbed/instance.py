# SPDX-License-Identifier: GPL-3.0-or-later
"""One Airflow that runs under its own supervisord, and what tests do with it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shlex
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from testbed import home as homes
from testbed import processes
from testbed.errors import TestbedError
from testbed.installation import Installation
from testbed.stopwatch import timed
from testbed.supervisor import Supervisor


class Airflow:
    """Airflow in its own home below a supervisord, listening on a loopback port.

    With ``server_only`` nothing but the API server is started: no DAG is parsed, and no run proceeds. With ``fake``
    that server is a stand-in (fake_webserver.py).
    ``environment`` is added to that of its processes. With ``base_path`` ("/airflow") it is below that.
    ``home`` must be missing or empty for ``prepare``; ``stop`` leaves it, for a look at its logs (``<program>.log``,
    ``supervisord.log``). Every method that waits raises TestbedError with the server's last words when it waited in
    vain.
    """

    def __init__(
        self,
        installation: Installation,
        home: Path,
        port: int,
        server_only: bool = False,
        environment: Mapping[str, str] | None = None,
        base_path: str = "",
        fake: bool = False,
    ) -> None:
        self.installation = installation
        self.url = f"http://127.0.0.1:{port}{base_path}"
        self._base_path = base_path
        self._environment = dict(environment or {})
        if base_path:
            self._environment["AIRFLOW__WEBSERVER__BASE_URL"] = self.url
        programs = dict(installation.release.programs)
        self.programs = dict([next(iter(programs.items()))]) if server_only or fake else programs
        self.version = installation.release.version
        self.python = installation.python
        self.fake = fake
        self.executable = home / "bin/airflow" if fake else installation.executable
        self.home = home
        self.port = port
        self.cfg = home / "airflow.cfg"
        self.dags = home / "dags"
        self.pid_file = home / "airflow-webserver.pid"  # of gunicorn's master
        self.supervisord_conf = home / "supervisord.conf"
        self.server_program = next(iter(self.programs))

    @property
    def users(self) -> dict[str, str]:
        """User name -> password: ``admin`` (role Admin), ``op`` (Op), ``viewer`` (Viewer)."""
        return homes.passwords(self.home)

    @property
    def admin(self) -> tuple[str, str]:
        """Who may do everything at the API, and the password: with the simple auth manager of 3.x the one it made."""
        made = self.home / "simple_auth_manager_passwords.json.generated"
        users = json.loads(made.read_text()) if made.exists() else self.users
        return "admin", str(users["admin"])

    def prepare(self) -> None:
        """Make the home, with airflow.cfg, database, users, DAGs and supervisord.conf."""
        homes.prepare(self.installation, self.home)
        if self.fake:
            homes.write_fake(self.installation, self.executable)
        self._write_supervisord_conf()

    def start(self) -> None:
        """Start supervisord with all programs in a prepared home, and wait until the testbed's DAGs can be run."""
        with timed("starts of Airflow by the test"):
            self._run([self.installation.supervisor_bin / "supervisord", "-c", self.supervisord_conf], check=True)
            self.wait_healthy()
        if len(self.programs) > 1:
            self.wait_dags(["hello", "fails", "slow", "paused"])

    def stop(self) -> None:
        """End supervisord and everything that was started in the home."""
        with timed("end of Airflow"):
            processes.end(self.home)

    @property
    def supervisor(self) -> Supervisor:
        """The supervisord that runs the programs."""
        return Supervisor(self.home / "supervisor.sock")

    def cli(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run the ``airflow`` command in this home's environment (takes seconds); see ``returncode``."""
        with timed("airflow command"):
            return self._run([self.executable, *args])

    def set_backends(self, value: str | None) -> None:
        """Write [api] auth_backends as plain text (None: take the line out), restart, wait until healthy."""
        self.write_backends(value)
        self.restart_webserver()

    def write_backends(self, value: str | None) -> None:
        """Only the edit of ``set_backends``, without the restart. The file keeps its inode, owner and mode."""
        option = self.installation.release.backends_option
        head, section, body = self.cfg.read_text(encoding="utf-8").partition("\n[api]\n")
        body, end, tail = body.partition("\n[")
        body = re.sub(rf"(?m)^{option} *=.*\n", "", body)
        line = "" if value is None else f"{option} = {value}\n"
        self.cfg.write_text(head + section + line + body + end + tail, encoding="utf-8")

    def restart_webserver(self) -> None:
        """Restart the API server through supervisord and wait until it is healthy."""
        with timed("starts of Airflow by the test"):
            self.supervisor.stop(self.server_program)
            self.supervisor.start(self.server_program)
            self.wait_healthy()

    def webserver_pid(self) -> int:
        """The pid of the API server as supervisord knows it (gunicorn's parent), 0 if it is down."""
        return self.supervisor.pid(self.server_program)

    def wait_healthy(self, timeout: float = 180.0) -> None:
        """Wait up to ``timeout`` seconds until the health endpoint says that the database is healthy."""
        self.wait_until(self.healthy, f"{self.url} is healthy", timeout)

    def wait_dags(self, dag_ids: Collection[str], timeout: float = 180.0) -> None:
        """Wait up to ``timeout`` seconds until the scheduler has put these DAGs into the database."""
        self.wait_until(lambda: self._known_dags().issuperset(dag_ids), f"DAGs {', '.join(dag_ids)} are there", timeout)

    def wait_until(self, condition: Callable[[], bool], what: str, timeout: float = 60.0) -> None:
        """Wait up to ``timeout`` seconds for ``condition``; ``what`` says it in the error."""
        deadline = time.monotonic() + timeout
        with timed("waiting for Airflow"):
            while not condition():
                if time.monotonic() > deadline:
                    logs = "\n".join(self.last_words(program) for program in self.programs)
                    raise TestbedError(f"Not so after {timeout:.0f} s: {what}.\n{logs}")
                time.sleep(0.2)

    def healthy(self) -> bool:
        """Ask the health endpoint once."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", self._base_path + self.installation.release.health_path)
            answer = json.load(connection.getresponse())
        except (OSError, http.client.HTTPException, ValueError):
            return False
        finally:
            connection.close()
        return bool(answer["metadatabase"]["status"] == "healthy")

    def last_words(self, program: str) -> str:
        """The end of a program's log, for an error message."""
        log = self.home / f"{program}.log"
        lines = log.read_text(errors="replace").splitlines()[-15:] if log.is_file() else ["(no log)"]
        return "\n".join([f"The end of {log}:", *lines])

    def _known_dags(self) -> set[str]:
        database = f"file:{self.home}/airflow.db?mode=ro"
        table = "dag" if self.installation.release.generation == "1.10" else "serialized_dag"
        with contextlib.closing(sqlite3.connect(database, uri=True, timeout=10)) as connection:
            return {row[0] for row in connection.execute(f"SELECT dag_id FROM {table}")}

    def _whole_environment(self) -> dict[str, str]:
        return {**homes.environment(self.installation, self.home), **self._environment}

    def _run(self, command: list[str | os.PathLike[str]], check: bool = False) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [os.fspath(part) for part in command],
            env=self._whole_environment(),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode != 0:
            raise TestbedError(f"{command[0]} failed (rc {done.returncode}): {done.stdout}{done.stderr}")
        return done

    def _write_supervisord_conf(self) -> None:
        socket_path = self.home / "supervisor.sock"
        if len(os.fsencode(socket_path)) > 95:  # 107 is the kernel's limit; supervisord appends a dot and its pid
            raise TestbedError(f"{socket_path} is too long a path for a socket: use a folder nearer to the root.")
        environment = _as_environment(self._whole_environment())
        text = f"""\
[unix_http_server]
file={socket_path}
chmod=0700

[supervisord]
directory={self.home}
logfile={self.home}/supervisord.log
pidfile={self.home}/supervisord.pid
childlogdir={self.home}
environment={environment}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{socket_path}
"""
        for program, arguments in self.programs.items():
            text += f"""
[program:{program}]
command={shlex.quote(str(self.executable))} {arguments.format(port=self.port)}
directory={self.home}
environment={self._environment_of(program)}
redirect_stderr=true
stdout_logfile={self.home}/{program}.log
killasgroup=true
"""
        self.supervisord_conf.write_text(text.replace("%", "%%"))
        self.supervisord_conf.chmod(0o600)

    def _environment_of(self, program: str) -> str:
        if program != "airflow-scheduler" or self.installation.release.generation != "3":
            return ""
        # A process for each of the 32 tasks that could run at once takes half a minute to start.
        # And tasks report to the server, by default at port 8080, with 5 s of patience, too few for a busy machine.
        environment = {
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        }
        return _as_environment(environment)


def _as_environment(variables: Mapping[str, str]) -> str:
    """As supervisord's configuration has them."""
    return ",".join(f'{name}="{value}"' for name, value in variables.items())


def free_port(preferred: int | None = None) -> int:
    """A loopback port that nothing listens on; ``preferred`` if that is free."""
    for port in [preferred, 0] if preferred else [0]:
        with socket.socket() as probe:
            # As a server does it: connections that have ended a moment ago do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise TestbedError("no free loopback port")

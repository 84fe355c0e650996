# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for `airflow webserver` of Airflow 2.11 that starts in a tenth of a second: for many restarts.

Run by Airflow's own interpreter under the name `airflow`, as `airflow webserver --hostname HOST --port PORT`, perhaps
with `--pid FILE`, in AIRFLOW_HOME. It does what a restart is about, and the integration test test_fake_webserver.py
holds it against the real one: the processes with their titles and pid file, what signals do to them, when the
configuration is read, which variables override it, a backend that breaks the start, /health, and who may read
/api/v1/dags. Every other command of `airflow` is the real one's.
"""

from __future__ import annotations

import base64
import configparser
import contextlib
import http.server
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from setproctitle import setproctitle

HOME = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
PID_FILE = HOME / "airflow-webserver.pid"
BACKEND = "airflow.api.auth.backend."
DEFAULT = BACKEND + "default"
FAB_BACKEND = "airflow.providers.fab.auth_manager.api.auth.backend."


def setting(section: str, option: str) -> str | None:
    """What Airflow takes for an option: the variable, else the file."""
    parser = configparser.RawConfigParser()
    parser.read(HOME / "airflow.cfg", encoding="utf-8")
    variable = os.environ.get(f"AIRFLOW__{section.upper()}__{option.upper()}")
    return variable if variable is not None else parser.get(section, option, fallback=None)


def backends() -> list[str]:
    """The variable of either name, then the file's plural, then its singular; session is added where it is absent."""
    value = os.environ.get("AIRFLOW__API__AUTH_BACKENDS") or os.environ.get("AIRFLOW__API__AUTH_BACKEND")
    value = value or setting("api", "auth_backends") or setting("api", "auth_backend") or ""
    names = [name.strip() for name in value.split(",") if name.strip()]
    complete = {DEFAULT, BACKEND + "session"} & set(names)
    return names if complete else [*names, BACKEND + "session"]


def load(names: list[str]) -> None:
    """Start those that are not Airflow's own."""
    sys.path.append(str(HOME / "plugins"))
    for name in names:
        if not name.startswith((BACKEND, FAB_BACKEND)):
            importlib.import_module(name).init_app(None)


class Handler(http.server.BaseHTTPRequestHandler):
    """What one worker answers; ``backends``, ``users`` and ``base_path`` are what it has read at its start."""

    backends: tuple[str, ...] = ()
    users: dict[str, str] = {}  # noqa: RUF012  (set once, before the first request)
    base_path = ""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path.removeprefix(self.base_path)
        if path == "/health":
            component = {"status": "healthy"}
            self._answer(200, {"metadatabase": component, "scheduler": component})
        elif path == "/api/v1/dags":
            if self._is_logged_in():
                self._answer(200, {"dags": [], "total_entries": 0})
            else:
                self._answer(403, {"status": 403, "title": "Forbidden", "detail": None})
        else:
            self._answer(404, {"status": 404, "title": "Not Found", "detail": None})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the name is http.server's)
        """Say nothing: of an orphan, nobody reads the log."""

    def _is_logged_in(self) -> bool:
        scheme, _blank, credentials = (self.headers.get("Authorization") or "").partition(" ")
        # `default` is content with anybody, so that none after it is asked who the caller is.
        asked = self.backends[: self.backends.index(DEFAULT)] if DEFAULT in self.backends else self.backends
        takes_passwords = {BACKEND + "basic_auth", FAB_BACKEND + "basic_auth"} & set(asked)
        if scheme != "Basic" or not takes_passwords:
            return False
        name, _colon, password = base64.b64decode(credentials).decode().partition(":")
        return self.users.get(name) == password

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status == 200 else "application/problem+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    """Bound by gunicorn, served by its worker, which ends with it."""

    def service_actions(self) -> None:
        if os.getppid() != self.master:
            os._exit(0)

    master = 0


def work(server: Server) -> None:
    """Be the one worker."""
    setproctitle("[ready] gunicorn: worker [airflow-webserver]")
    server.master = os.getppid()
    on_sigterm(signal.SIG_DFL)
    Handler.backends = tuple(backends())
    Handler.base_path = urlsplit(setting("webserver", "base_url") or "").path.rstrip("/")
    Handler.users = json.loads((HOME / "users.json").read_text())
    load(backends())
    server.serve_forever()


def be_master(host: str, port: int, pid_file: Path) -> None:
    """Be gunicorn: have the pid file and a worker, and end with it, by itself or at SIGTERM."""
    setproctitle("gunicorn: master [airflow-webserver]")
    if pid_file.exists() and Path(f"/proc/{pid_file.read_text().strip()}").exists():
        print(f"Error: Already running on PID {pid_file.read_text().strip()}", flush=True)
        os._exit(1)
    server = Server((host, port), Handler)
    worker = os.fork()
    if worker == 0:
        work(server)
    pid_file.write_text(f"{os.getpid()}\n")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the real one takes another worker, with the old configuration

    def end(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGTERM)

    on_sigterm(end)
    os.waitpid(worker, 0)
    pid_file.unlink(missing_ok=True)
    os._exit(0)


def be_monitor(host: str, port: int, pid_file: Path) -> NoReturn:
    """Be `airflow webserver`: have gunicorn, and end it at SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # until each of the three knows what to do then
    master = os.fork()
    if master == 0:
        be_master(host, port, pid_file)

    def end(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(master, signal.SIGTERM)
        os.waitpid(master, 0)
        os._exit(0)

    on_sigterm(end)
    while True:  # the real one notices after two minutes that gunicorn is gone
        signal.pause()


def on_sigterm(handler: signal.Handlers | Callable[..., None]) -> None:
    signal.signal(signal.SIGTERM, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def be_standalone(options: list[str]) -> NoReturn:
    """Be `airflow standalone`: start the components, and leave them behind at SIGTERM, as the real one does."""
    for words in (["webserver", *options], ["triggerer", "pause"]):
        subprocess.Popen([sys.executable, __file__, *words])
    while True:
        signal.pause()


def main() -> None:
    command, *options = sys.argv[1:]
    if command == "standalone":
        be_standalone(options)
    if options == ["pause"]:
        signal.pause()
    if command != "webserver":
        real = os.path.join(os.path.dirname(sys.executable), "airflow")
        os.execv(real, [real, command, *options])
    values = dict(zip(options[::2], options[1::2], strict=True))
    be_monitor(values["--hostname"], int(values["--port"]), Path(values.get("--pid", PID_FILE)))


if __name__ == "__main__":
    main()

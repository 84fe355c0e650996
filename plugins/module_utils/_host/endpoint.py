# SPDX-License-Identifier: GPL-3.0-or-later
"""Where on this host a server listens, and who listens there."""

from __future__ import annotations

import os
from typing import Mapping
from urllib.parse import urlsplit

from ansible_collections.fleetops.airflow.plugins.module_utils._host import health, proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.files import read_foreign
from ansible_collections.fleetops.airflow.plugins.module_utils._host.installation import config_path
from ansible_collections.fleetops.airflow.plugins.module_utils._host.trust import (
    User,
    described,
    home_of,
    is_python,
    is_supervisord,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

_TITLE = "gunicorn: master [airflow-webserver]"
API_APPS = "AIRFLOW_API_APPS"  # what Airflow 3's server itself sets to the value of its option --apps
_WORKER = "multiprocessing.spawn"  # in the command that uvicorn starts its workers with


class Endpoint(Record):
    """A TCP port of this host. ``address``: one of the host's own IP addresses; "" for all of them."""

    port: int
    address: str = ""


def endpoint_of(url: str) -> Endpoint | None:
    """The endpoint that a URL leads to. None if it does not lead to this host: nobody here knows who answers there."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if host in health.LOOPBACK:
        return Endpoint(port, "" if host == "localhost" else host)
    return _own(host, port)


def _own(host: str, port: int) -> Endpoint | None:
    import socket

    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return None
    for family, _kind, _protocol, _name, address in found:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.bind((address[0], 0, *address[2:]))  # only an address of this host can be bound
        except OSError:
            continue
        numeric = str(address[0])
        return Endpoint(port, numeric if numeric == host else "")  # a name may have several
    return None


def unrelated_listeners(endpoint: Endpoint, pid: int | None) -> list[proc.Process]:
    """Processes that listen there, and are neither this process nor were started by it."""
    port, address = endpoint
    pids = proc.listeners_outside(port, pid, address) if pid else proc.listeners(port, address)
    return [process for process in map(proc.read_process, pids) if process]


def listens(pid: int, endpoint: Endpoint) -> bool:
    """Whether the process, or one that it has started, listens there."""
    return any(proc.is_within(one, pid) for one in proc.listeners(*endpoint))


def other_user_at(endpoint: Endpoint, home: str, cfg_path: str, uids: set[int]) -> str | None:
    """A user whose process listens there, and as whom the server is not known to run. It gets no password.

    :param uids: the users as whom the server is known to run.
    """
    others = sorted(proc.listening_users(*endpoint) - {0, os.geteuid(), *_users(home, cfg_path, uids)})
    return User(others[0], 0, ()).name if others else None


def orphans_of(home: str, cfg_path: str, uids: set[int], unrelated: list[proc.Process]) -> list[proc.Process]:
    """The processes among them that outlived a server of the API that had read this airflow.cfg: masters of gunicorn,
    and workers of uvicorn. Their own environment says so, or the pid file of this home does.

    Anybody may say so of a process. So only those of users count who own the file or the home, or as whom the server
    is known to run: ``uids``.
    """
    users = _users(home, cfg_path, uids)
    pid_file = _pid_file(home)
    named, by = _pid_in(pid_file), _owner(pid_file)
    found = []
    for process in unrelated:
        is_master = any("gunicorn" in part for part in process.arguments[:3])
        if process.uid not in users or not (is_master or _is_left_worker(process)):
            continue
        if (process.pid == named and process.uid == by) or _served(process, cfg_path):
            found.append(process)
    return found


def _is_left_worker(process: proc.Process) -> bool:
    """Whether it is a worker of uvicorn whose server is gone. A supervisord may be process 1 of a container."""
    if not any(_WORKER in part for part in process.arguments):
        return False
    parent = proc.read_process(process.parent)
    return parent is None or parent.pid == 1 or is_supervisord(parent) or not is_python(parent.pid)


def _users(home: str, cfg_path: str, uids: set[int]) -> set[int | None]:
    """As whom the server is known to run, and who own its file and its home; None for what is not there."""
    return {*uids, _owner(home), _owner(cfg_path)}


def _owner(path: str) -> int | None:
    try:
        return os.stat(path).st_uid
    except OSError:
        return None


def _served(process: proc.Process, cfg_path: str) -> bool:
    """Whether by its own title and environment a process is a server of the API with this file."""
    environment = proc.environment(process.pid)
    if not environment or not (process.arguments[0].startswith(_TITLE) or API_APPS in environment):
        return False
    return os.path.realpath(config_read_by(process, environment)) == cfg_path


def config_read_by(process: proc.Process, environment: Mapping[str, str]) -> str:
    """The airflow.cfg that a process reads in its environment, as it knows it."""
    path = config_path(environment, environment.get("HOME") or home_of(process.uid))
    return os.path.join(proc.working_directory(process.pid) or "/", path)


def pid_file_problem(home: str) -> str | None:
    """Why gunicorn would refuse to start because of its pid file: after a reboot the pid may be another process's."""
    path = _pid_file(home)
    process = proc.read_process(_pid_in(path) or 0)
    if process is None or any("gunicorn" in part for part in process.arguments[:3]):
        return None
    return "the pid file %s names pid %d (%s), which is not gunicorn" % (
        path,
        process.pid,
        described(process),
    )


def _pid_file(home: str) -> str:
    return os.path.join(home, "airflow-webserver.pid")


def _pid_in(path: str) -> int | None:
    try:
        return int(read_foreign(path, 100))
    except (OSError, ValueError):
        return None

# SPDX-License-Identifier: GPL-3.0-or-later
"""Where on this host a URL leads to."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._host import endpoint as endpoints
from ansible_collections.fleetops.airflow.plugins.module_utils._host import proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.endpoint import (
    Endpoint,
    endpoint_of,
    orphans_of,
    other_user_at,
    pid_file_problem,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._host.proc import Process


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("http://127.0.0.1:8080/x", Endpoint(8080, "127.0.0.1")),
        ("https://localhost", Endpoint(443)),
        ("http://[::1]", Endpoint(80, "::1")),
        ("http://127.0.0.2:8080", Endpoint(8080, "127.0.0.2")),
        ("http://[0:0:0:0:0:0:0:1]:8080", Endpoint(8080)),
        ("https://192.0.2.1:8080", None),
        ("https://nowhere.invalid:8080", None),
    ],
)
def test_endpoint_of_url(url: str, endpoint: Endpoint | None) -> None:
    assert endpoint_of(url) == endpoint


def test_name_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, 2, 17, "", ("192.0.2.1", 80)), (socket.AF_INET, 2, 17, "", ("127.0.0.1", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_named: found)
    assert endpoint_of("http://web1:80") == Endpoint(80)


def orphans(cfg: Path, *processes: Process, uids: set[int] | None = None) -> list[int]:
    return [one.pid for one in orphans_of(str(cfg.parent), str(cfg), uids or set(), list(processes))]


@pytest.fixture
def cfg(tmp_path: Path) -> Path:
    path = tmp_path / "airflow.cfg"
    path.touch()
    return path


MASTER = ["gunicorn: master [airflow-webserver]"]
WORKER = ["python", "-c", "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5, pipe_handle=7)"]


def test_orphans_by_title_and_environment(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = cfg.stat().st_uid
    home = {"AIRFLOW_HOME": str(cfg.parent)}
    environments = {7: {"AIRFLOW_HOME": "/srv/other"}, 8: home, 9: {**home, "AIRFLOW_API_APPS": "all"}, 10: home}
    monkeypatch.setattr(proc, "environment", environments.get)
    masters = [Process(pid, 1, 0.0, uid, MASTER) for pid in (7, 8)]
    of_airflow_3 = Process(9, 1, 0.0, uid, ["gunicorn: master [airflow.api_fastapi.main:app]"])
    other = Process(10, 1, 0.0, uid, ["gunicorn: master [mlflow.server:app]"])
    assert orphans(cfg, *masters, of_airflow_3, other, Process(8, 1, 0.0, uid, ["nginx: master"])) == [8, 9]


def test_orphan_by_its_pid_file(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts for the user who has written it: whoever may write there could name any process."""
    monkeypatch.setattr(proc, "environment", lambda _pid: {})
    (cfg.parent / "airflow-webserver.pid").write_text("9")
    uid = cfg.stat().st_uid
    assert orphans(cfg, Process(9, 1, 0.0, uid, MASTER), Process(8, 1, 0.0, uid, MASTER)) == [9]
    assert orphans(cfg, Process(9, 1, 0.0, uid + 1, MASTER), uids={uid + 1}) == []


def test_process_of_another_user_is_no_orphan(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever gets hold of the port while the server is down must not have root act on what he claims."""
    monkeypatch.setattr(proc, "environment", lambda _pid: {"AIRFLOW_HOME": str(cfg.parent)})
    owner = cfg.stat().st_uid
    assert orphans(cfg, Process(9, 1, 0.0, owner + 4711, MASTER)) == []
    # The service's user need not own the file.
    assert orphans(cfg, Process(9, 1, 0.0, owner + 4711, MASTER), uids={owner + 4711}) == [9]


@pytest.mark.parametrize(
    ("parent", "is_left"),
    [
        (None, True),
        (Process(1, 0, 0.0, 0, ["/sbin/init"]), True),
        (Process(1, 0, 0.0, 0, ["/usr/bin/python3", "/usr/bin/supervisord", "-n"]), True),
        (Process(50, 1, 0.0, 0, ["/usr/bin/python3", "/usr/bin/supervisord"]), True),
        (Process(50, 1, 0.0, 0, ["airflow api_server -- host:0.0.0.0 port:8080"]), False),
    ],
)
def test_worker_whose_server_is_gone_is_an_orphan(
    cfg: Path, monkeypatch: pytest.MonkeyPatch, parent: Process | None, is_left: bool
) -> None:
    environment = {"AIRFLOW_HOME": str(cfg.parent), "AIRFLOW_API_APPS": "all"}
    monkeypatch.setattr(proc, "environment", lambda _pid: environment)
    monkeypatch.setattr(proc, "read_process", lambda _pid: parent)
    monkeypatch.setattr(endpoints, "is_python", lambda _pid: True)
    worker = Process(7, 50, 0.0, cfg.stat().st_uid, WORKER)
    assert orphans(cfg, worker) == ([7] if is_left else [])
    environment.pop("AIRFLOW_API_APPS")  # then it is another program's
    assert orphans(cfg, worker) == []


def test_other_user_at_the_port(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = cfg.stat().st_uid
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        endpoint = Endpoint(listener.getsockname()[1], "127.0.0.1")
        assert proc.listening_users(*endpoint) == {os.geteuid()}
        assert other_user_at(endpoint, str(cfg.parent), str(cfg), set()) is None
        monkeypatch.setattr(proc, "listening_users", lambda *_endpoint: {owner, owner + 4711})
        assert other_user_at(endpoint, str(cfg.parent), str(cfg), set()) == f"with uid {owner + 4711}"
        assert other_user_at(endpoint, str(cfg.parent), str(cfg), {owner + 4711}) is None
    assert proc.listening_users(endpoint.port, "127.0.0.1") != {os.geteuid()}


def test_pid_file_that_names_another_process(tmp_path: Path) -> None:
    assert pid_file_problem(str(tmp_path)) is None
    for content, problem in ((str(os.getpid()), True), ("99999999", False), ("x", False), ("", False)):
        (tmp_path / "airflow-webserver.pid").write_text(content)
        assert bool(pid_file_problem(str(tmp_path))) is problem, content

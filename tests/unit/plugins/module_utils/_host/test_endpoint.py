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


def test_orphans_by_title_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    environments = {7: {"AIRFLOW_HOME": "/srv/other"}, 8: {"HOME": "/srv"}, 9: {}}
    monkeypatch.setattr(proc, "environment", environments.get)
    monkeypatch.setattr(endpoints, "read_foreign", lambda _path, _limit: b"9")
    masters = [Process(pid, 1, 0.0, 0, ["gunicorn: master [airflow-webserver]"]) for pid in environments]
    assert orphans_of("/srv/airflow", "/srv/airflow/airflow.cfg", masters) == masters[1:]
    assert orphans_of("/srv/x", "/srv/x/airflow.cfg", masters) == masters[2:]
    assert orphans_of("/srv/x", "/srv/x/airflow.cfg", [Process(9, 1, 0.0, 0, ["nginx: master"])]) == []


def test_process_of_another_user_is_no_orphan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever gets hold of the port while the server is down must not have root act on what he claims."""
    monkeypatch.setattr(proc, "environment", lambda _pid: {"AIRFLOW_HOME": str(tmp_path)})
    cfg = tmp_path / "airflow.cfg"
    cfg.touch()
    owner = cfg.stat().st_uid
    found = {
        uid: bool(
            orphans_of(str(tmp_path), str(cfg), [Process(9, 1, 0.0, uid, ["gunicorn: master [airflow-webserver]"])])
        )
        for uid in (0, owner, owner + 4711)
    }
    assert found == {0: True, owner: True, owner + 4711: False}


def test_worker_whose_server_is_gone_is_an_orphan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proc, "environment", lambda _pid: {"AIRFLOW_HOME": "/srv/airflow"})
    monkeypatch.setattr(endpoints, "is_python", lambda pid: pid == 50)
    words = ["python", "-c", "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5, pipe_handle=7)"]
    left, of_a_server = Process(7, 1, 0.0, 0, words), Process(8, 50, 0.0, 0, words)
    assert orphans_of("/srv/airflow", "/srv/airflow/airflow.cfg", [left, of_a_server]) == [left]
    assert orphans_of("/srv/x", "/srv/x/airflow.cfg", [left, of_a_server]) == []


def test_pid_file_that_names_another_process(tmp_path: Path) -> None:
    assert pid_file_problem(str(tmp_path)) is None
    for content, problem in ((str(os.getpid()), True), ("99999999", False), ("x", False), ("", False)):
        (tmp_path / "airflow-webserver.pid").write_text(content)
        assert bool(pid_file_problem(str(tmp_path))) is problem, content

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
    orphan_of,
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


def test_orphan_by_title_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    environments = {7: {"AIRFLOW_HOME": "/srv/other"}, 8: {"AIRFLOW_HOME": "/srv/airflow"}, 9: {}}
    monkeypatch.setattr(proc, "environment", environments.get)
    monkeypatch.setattr(endpoints, "read_foreign", lambda _path, _limit: b"9")
    masters = [Process(pid, 1, 0.0, 0, ["gunicorn: master [airflow-webserver]"]) for pid in environments]
    assert orphan_of("/srv/airflow", "/srv/airflow/airflow.cfg", masters) == masters[1]
    assert orphan_of("/srv/x", "/srv/x/airflow.cfg", masters) == masters[2]
    assert orphan_of("/srv/x", "/srv/x/airflow.cfg", [Process(9, 1, 0.0, 0, ["nginx: master"])]) is None


def test_pid_file_that_names_another_process(tmp_path: Path) -> None:
    assert pid_file_problem(str(tmp_path)) is None
    for content, problem in ((str(os.getpid()), True), ("99999999", False), ("x", False), ("", False)):
        (tmp_path / "airflow-webserver.pid").write_text(content)
        assert bool(pid_file_problem(str(tmp_path))) is problem, content

# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts as values, for what takes values."""

from __future__ import annotations

from typing import Any

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._change.current import CurrentState, addresses_of
from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import Target
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host, ServiceDefinition, Sources
from ansible_collections.fleetops.airflow.plugins.module_utils._host.proc import Process
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import Server
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import family_of


def server(pid: int = 7, environment: dict[str, str] | None = None, arguments: tuple[str, ...] = ()) -> Server:
    words = ["python", "/bin/airflow", "webserver", *arguments]
    process = Process(pid=pid, parent=1, uid=50000, started=1000.0, arguments=words)
    return Server(process, environment or {}, "/home/airflow", "/home/airflow/airflow.cfg")


def host(version: str = "2.11.2", **fields: Any) -> Host:
    """A host with one running server."""
    one = Host(
        path="/home/airflow/airflow.cfg",
        real_path="/home/airflow/airflow.cfg",
        home="/home/airflow",
        version=version,
        family=family_of(version),
        interpreter="/venv/bin/python",
        servers=[server()],
        bystanders=[],
        others=[],
        service_names=frozenset(),
        sources=Sources("path", "airflow_version"),
        service=ServiceDefinition("the service", [], {}, None),
    )
    return one._replace(**fields)


def current(text: str, on: Host | None = None, target: Target | None = None, **fields: Any) -> CurrentState:
    """What was found on a host whose airflow.cfg has this text; its server has read it."""
    on = on or host()
    cfg = Cfg.from_bytes(text.encode(), on.path)
    addresses = addresses_of(on, cfg, target or Target())
    url = addresses[0].base_url if addresses else "http://127.0.0.1:8080"
    state = CurrentState(on, text.encode(), cfg, addresses, healths=[], url=url, restart_reason=None)
    return state._replace(**fields)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the server of a task is looked for, with real sockets."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._change import current
from ansible_collections.fleetops.airflow.plugins.module_utils._change.current import addresses_of
from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import Target
from ansible_collections.fleetops.airflow.plugins.module_utils._host import proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.endpoint import Endpoint
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import ServiceDefinition
from ansible_collections.fleetops.airflow.plugins.module_utils._host.proc import Process
from ansible_collections.fleetops.airflow.plugins.module_utils._host.trust import Voucher
from ansible_collections.fleetops.airflow.plugins.module_utils._services.names import ServiceChoice
from unit.plugins import hosts

FILE = Cfg("[webserver]\nweb_server_port = 18080\n")


def test_proxy_at_the_url_is_not_taken_for_the_stopped_server() -> None:
    """Else its process would be in the way of the server that is to be started, or be ended."""
    stopped = hosts.host(servers=[])
    with socket.socket() as proxy:
        proxy.bind(("127.0.0.1", 0))
        url = "http://127.0.0.1:%d" % proxy.getsockname()[1]
        # Nobody listens yet: this may be the port that a script gives to the server.
        (free,) = addresses_of(stopped, FILE, Target(url=url))
        proxy.listen()
        (taken,) = addresses_of(stopped, FILE, Target(url=url))
    assert free.endpoint == Endpoint(proxy_port(url), "127.0.0.1")
    assert (taken.endpoint, taken.base_url) == (Endpoint(18080, "127.0.0.1"), url)


def proxy_port(url: str) -> int:
    return int(url.rpartition(":")[2])


@pytest.mark.parametrize(
    ("services", "name", "started", "said"),
    [
        (("airflow-scheduler",), "airflow-scheduler", -60, "the service airflow-scheduler (pid 7, started"),
        (("airflow-scheduler",), "airflow-scheduler", 60, None),
        (("airflow-scheduler",), "airflow-triggerer", -60, None),
        ((), "airflow-scheduler", -60, None),
    ],
)
def test_component_that_is_older_than_the_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    services: tuple[str, ...],
    name: str,
    started: int,
    said: str | None,
) -> None:
    """It has no address, and its process shows when it has read the file."""
    cfg = tmp_path / "airflow.cfg"
    cfg.write_bytes(b"[core]\n")
    process = Process(7, 1, cfg.stat().st_ctime + started, 0, ["airflow scheduler"])
    monkeypatch.setattr(proc, "processes", lambda *_mentioning: [process])
    monkeypatch.setattr(current, "voucher_of", lambda _process: Voucher("the unit", frozenset([name]), True))
    definition = ServiceDefinition("the unit", ["/bin/airflow", "scheduler"], {}, None)
    on = hosts.host(servers=[], path=str(cfg), real_path=str(cfg), service=definition)
    state = current.inspect(on, Target(services=ServiceChoice(names=services)))
    assert (state.restart_reason or "").startswith(said or "")
    assert bool(state.restart_reason) is bool(said)

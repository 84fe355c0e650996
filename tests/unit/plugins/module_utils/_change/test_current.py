# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the server of a task is looked for, with real sockets."""

from __future__ import annotations

import socket

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._change.current import addresses_of
from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import Target
from ansible_collections.fleetops.airflow.plugins.module_utils._host.endpoint import Endpoint
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

# SPDX-License-Identifier: GPL-3.0-or-later
"""To whom a password is sent."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._change.verify import refuse_other_user
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host import proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.endpoint import Endpoint
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import Address
from unit.plugins import hosts


def test_password_is_not_sent_to_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any user may listen at the port while the server is down."""
    cfg = tmp_path / "airflow.cfg"
    cfg.touch()
    stopped = hosts.host(servers=[], home=str(tmp_path), real_path=str(cfg))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        own = Address(url, url + "/health", Endpoint(port, "127.0.0.1"))
        refuse_other_user(stopped, [own], url, "ada")
        monkeypatch.setattr(proc, "listening_users", lambda *_endpoint: {os.geteuid() + 4711})
        with pytest.raises(AirflowError, match=r"login of ada was not sent to .*: user with uid \d+ listens there"):
            refuse_other_user(stopped, [own], url, "ada")
        server = hosts.server()
        known = server._replace(process=server.process._replace(uid=os.geteuid() + 4711))
        refuse_other_user(stopped._replace(servers=[known]), [own], url, "ada")
        refuse_other_user(stopped, [own._replace(is_given=True)], url, "ada")
        refuse_other_user(stopped, [own._replace(endpoint=None)], url, "ada")

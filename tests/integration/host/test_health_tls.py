# SPDX-License-Identifier: GPL-3.0-or-later
"""The health of a server with TLS, from its own host: its certificate has the host's public name."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._host.health import Tls, Unverified, ask_health, get
from testbed.ca import Authority

BODY = b'{"metadatabase": {"status": "healthy"}}'


class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def port(authority: Authority) -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as server:
        server.socket = authority.server_context("airflow.example.com").wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_name_need_not_match_on_the_loopback(authority: Authority, port: int) -> None:
    tls = Tls(True, str(authority.certificate))
    assert ask_health(f"https://127.0.0.1:{port}/health", 5, tls).state == "healthy"


def test_credentials_go_only_to_the_name_in_the_certificate(authority: Authority, port: int) -> None:
    tls = Tls(True, str(authority.certificate))
    with pytest.raises(Unverified, match="certificate is rejected: IP address mismatch"):
        get(f"https://127.0.0.1:{port}/health", 5, tls, {"Authorization": "Basic x"})


def test_authority_has_to_be_known(port: int) -> None:
    health = ask_health(f"https://127.0.0.1:{port}/health", 5)
    assert health.state == "unverified"
    assert "certificate is rejected" in health.detail
    assert ask_health(f"https://127.0.0.1:{port}/health", 5, Tls(False)).state == "healthy"

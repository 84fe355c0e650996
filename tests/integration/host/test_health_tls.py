# SPDX-License-Identifier: GPL-3.0-or-later
"""The health of a server with TLS, from its own host: its certificate has the host's public name."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import ChangePolicy, Login, Target
from ansible_collections.fleetops.airflow.plugins.module_utils._change.plan import DesiredState, plan
from ansible_collections.fleetops.airflow.plugins.module_utils._change.prepare import prepare
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.health import (
    Health,
    Tls,
    Unverified,
    ask_health,
    request,
)
from testbed.ca import Authority
from unit.plugins.hosts import current

BASIC = "[api]\nauth_backends = airflow.api.auth.backend.basic_auth\n"
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
    for options in ({"headers": {"Authorization": "Basic x"}}, {"for_login": True}):
        with pytest.raises(Unverified, match="certificate is rejected: IP address mismatch"):
            request("GET", f"https://127.0.0.1:{port}/health", 5, tls, **options)


def test_certificate_that_is_not_good_for_the_login_is_reported_before_the_change(
    authority: Authority, port: int
) -> None:
    url = f"https://127.0.0.1:{port}"
    change = plan(
        current(BASIC, healths=[lambda: Health("healthy", "")]),
        DesiredState([], for_the_api=True, login=Login("ada", "s3cret")),
        Target(tls=Tls(True, str(authority.certificate))),
        ChangePolicy(restart="always"),
    )
    change = change._replace(verification=change.verification._replace(url=url))
    with pytest.raises(AirflowError, match=r"login of ada cannot be verified.*Nothing was changed\. Give as url"):
        prepare(change, pytest.fail)


def test_authority_has_to_be_known(port: int) -> None:
    health = ask_health(f"https://127.0.0.1:{port}/health", 5)
    assert health.state == "unverified"
    assert "certificate is rejected" in health.detail
    assert ask_health(f"https://127.0.0.1:{port}/health", 5, Tls(False)).state == "healthy"

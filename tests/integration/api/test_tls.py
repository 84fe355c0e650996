# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS with an authority of our own, proxies and redirects, in front of a real Airflow behind a base path."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api.auth import BasicLogin
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Http
from testbed import releases
from testbed.ca import Authority
from testbed.instance import Airflow
from testbed.runner import Ansible, ModuleResult
from testbed.running import running
from testbed.tcp_relay import Relay, relay
from unit.plugins.scripted_server import Server, http

MODULE = "fleetops.airflow.airflow_dag_trigger"
BACKEND = "airflow.api.auth.backend."
BASE_PATH = "/team/airflow"
SECRET = "pr0xy-word"


@pytest.fixture(scope="module")
def airflow() -> Iterator[Airflow]:
    """The newest 2.x behind a base path, which takes passwords and has the testbed's DAGs."""

    def accept_passwords(airflow: Airflow) -> None:
        airflow.write_backends(f"{BACKEND}basic_auth,{BACKEND}session")

    with running(releases.DEFAULT, server_only=True, base_path=BASE_PATH, before_start=accept_passwords) as airflow:
        assert airflow.cli("dags", "reserialize").returncode == 0  # no scheduler runs, which would parse them
        yield airflow


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def front(airflow: Airflow, authority: Authority) -> Iterator[Relay]:
    """What ends TLS in front of Airflow."""
    with relay(airflow.port, authority.server_context("localhost", "127.0.0.1")) as found:
        yield found


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


class Caller:
    """The module against an address, in check mode unless told otherwise: it logs in, and asks for the DAG."""

    def __init__(self, ansible: Ansible, airflow: Airflow) -> None:
        self._ansible = ansible
        self._login = {"username": "op", "password": airflow.users["op"]}
        self.secret = airflow.users["op"]

    def __call__(
        self,
        url: str,
        options: dict[str, str | bool] | None = None,
        check: bool = True,
        env: dict[str, str] | None = None,
    ) -> ModuleResult:
        args = {**self._login, "url": url, "dag_id": "hello", "if_paused": "trigger", **(options or {})}
        done = self._ansible.module(MODULE, args, check=check, env=env, verbosity=3)
        assert self.secret not in done.output
        return done


@pytest.fixture(scope="module")
def call(ansible: Ansible, airflow: Airflow) -> Caller:
    return Caller(ansible, airflow)


def address(front: Relay, host: str = "localhost") -> str:
    return f"https://{host}:{front.port}{BASE_PATH}"


# --- the authority -----------------------------------------------------------------------------


def test_an_unknown_authority_is_refused_before_the_password_is_sent(call: Caller, front: Relay) -> None:
    asked = len(front.asked)
    done = call(address(front))
    assert done.failed
    assert "its certificate was not accepted" in done.msg, done.output
    assert done.result["diagnosis"]["code"] == "certificate_not_trusted", done.output
    assert "Set ca_path" in done.result["diagnosis"]["remedy"]
    assert len(front.asked) == asked


@pytest.mark.parametrize("given", ["ca_path", "folder", "REQUESTS_CA_BUNDLE", "nothing checked"])
def test_a_private_authority(call: Caller, front: Relay, authority: Authority, tmp_path: Path, given: str) -> None:
    if given == "folder":
        if not shutil.which("openssl"):
            pytest.skip("this machine has no openssl to make a folder of authorities with")
        shutil.copy(authority.certificate, tmp_path)
        subprocess.run(["openssl", "rehash", tmp_path], check=True, capture_output=True)
    cases: dict[str, tuple[dict[str, str | bool], dict[str, str]]] = {
        "ca_path": ({"ca_path": str(authority.certificate)}, {}),
        "folder": ({"ca_path": str(tmp_path)}, {}),
        "REQUESTS_CA_BUNDLE": ({}, {"REQUESTS_CA_BUNDLE": str(authority.certificate)}),
        "nothing checked": ({"validate_certs": False}, {}),
    }
    options, env = cases[given]
    done = call(address(front), options, check=False, env=env)
    assert done.changed, done.output
    assert done.result["dag_run"]["url"].startswith(address(front) + "/dags/hello/")


def test_a_certificate_that_is_over_is_refused(call: Caller, airflow: Airflow, authority: Authority) -> None:
    with relay(airflow.port, authority.server_context("localhost", days=-1)) as late:
        done = call(address(late), {"ca_path": str(authority.certificate)})
        assert "its certificate was not accepted (certificate has expired)" in done.msg, done.output
        assert "Renew the server's certificate" in done.result["diagnosis"]["remedy"]
        assert late.asked == []


def test_a_certificate_for_another_host_is_refused(call: Caller, airflow: Airflow, authority: Authority) -> None:
    with relay(airflow.port, authority.server_context("airflow.example.com")) as elsewhere:
        done = call(address(elsewhere), {"ca_path": str(authority.certificate)})
        assert "its certificate was not accepted (Hostname mismatch" in done.msg, done.output
        assert "Set url to a name that is in the certificate" in done.result["diagnosis"]["remedy"]
        assert elsewhere.asked == []


# --- client certificates -----------------------------------------------------------------------


def test_a_server_that_wants_a_certificate_of_the_client(call: Caller, airflow: Airflow, authority: Authority) -> None:
    certificate, key = authority.issue("deployer")
    both = certificate.with_name("both.pem")
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    trusted: dict[str, str | bool] = {"ca_path": str(authority.certificate)}
    with relay(airflow.port, authority.server_context("localhost", wants_client=True)) as strict:
        for files in ({"client_cert": str(certificate), "client_key": str(key)}, {"client_cert": str(both)}):
            done = call(address(strict), {**trusted, **files})
            assert not done.failed, done.output
        asked = len(strict.asked)
        none = call(address(strict), trusted)
        assert "the server wants a certificate of the client" in none.msg, none.output
        assert "client_cert" in none.result["diagnosis"]["remedy"]
        assert len(strict.asked) == asked


# --- proxies -----------------------------------------------------------------------------------


def test_the_environments_proxy_is_asked(call: Caller, front: Relay, authority: Authority) -> None:
    options: dict[str, str | bool] = {"ca_path": str(authority.certificate)}
    with relay(None) as proxy:
        env = {"HTTPS_PROXY": f"http://ada:{SECRET}@127.0.0.1:{proxy.port}"}
        through = call(address(front), options, check=False, env=env)
        assert through.changed, through.output
        assert set(proxy.asked) == {f"localhost:{front.port}"}
        assert SECRET not in through.output

        asked = len(proxy.asked)
        past = call(address(front), options, env={**env, "NO_PROXY": "localhost"})
        assert not past.failed, past.output
        assert len(proxy.asked) == asked

        # The certificate is Airflow's also through a proxy.
        unknown = call(address(front), env=env)
        assert "its certificate was not accepted" in unknown.msg, unknown.output
        assert SECRET not in unknown.output


# --- redirects ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_redirect_is_not_followed(
    airflow: Airflow, authority: Authority, server: Server, method: str, status: int
) -> None:
    """From https to http and to another port, by a front of our own, since Airflow does not redirect these calls."""
    login = BasicLogin("op", airflow.users["op"])
    with relay(airflow.port) as target, relay(server.port, authority.server_context("localhost")) as leading:
        there = f"http://127.0.0.1:{target.port}{BASE_PATH}"
        server.otherwise = lambda request: http(status, "", None, {"Location": there + request.target})
        client = Http(f"https://localhost:{leading.port}", login, verify=str(authority.certificate))
        assert client.send(method, "/api/v1/dags").status == status
        assert [request.method for request in server.requests] == [method]
        assert target.asked == []
        # The same place answers this very login where it is asked itself.
        assert Http(there, login).send("GET", "/api/v1/dags").status == 200


def test_what_is_said_of_a_redirect(call: Caller, airflow: Airflow, authority: Authority, server: Server) -> None:
    server.otherwise = lambda request: http(302, "", None, {"Location": airflow.url + request.target})
    with relay(server.port, authority.server_context("localhost")) as leading:
        done = call(f"https://localhost:{leading.port}", {"ca_path": str(authority.certificate)})
    assert "redirects are not followed, since the login would travel along" in done.msg, done.output
    assert done.result["diagnosis"]["remedy"] == f"Set url to {airflow.url} if that is your Airflow."

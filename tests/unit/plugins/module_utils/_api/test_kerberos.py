# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of the two libraries' logins. Real tickets are in integration/host/test_kerberos.py."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Http, TransportError
from ansible_collections.fleetops.airflow.plugins.module_utils._api.kerberos import KerberosLogin
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from unit.plugins.scripted_server import Server, http

TEXT_OF_NO_TICKET = "ctx step failed: No Kerberos credentials available"


class Negotiation:
    """A stub that behaves as both libraries do: a token in advance, and another request after a 401."""

    has_ticket = True
    raises = True  # where there is no ticket; requests-gssapi 1.4 sends the request without one

    def __init__(self, **options: Any) -> None:
        self.options = options

    def __call__(self, request: Any) -> Any:
        if not self.has_ticket and not self.raises:
            return request
        if not self.has_ticket:
            raise OSError(TEXT_OF_NO_TICKET)
        request.headers["Authorization"] = "Negotiate dG9rZW4="
        request.register_hook("response", self.handle_response)
        return request

    def handle_response(self, response: Any, **_options: Any) -> Any:
        return response.connection.send(response.request) if response.status_code == 401 else response


@pytest.fixture(params=["requests_gssapi", "requests_kerberos"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[Negotiation]:
    """Only this one of the two can be imported."""

    class Own(Negotiation):
        pass

    for name, cls in (("requests_gssapi", "HTTPSPNEGOAuth"), ("requests_kerberos", "HTTPKerberosAuth")):
        module = SimpleNamespace(DISABLED=3, **{cls: Own}) if name == request.param else None
        monkeypatch.setitem(sys.modules, name, module)
    return Own


@pytest.mark.usefixtures("library")
def test_the_token_goes_along_unasked_and_once(server: Server) -> None:
    server.otherwise = http(401, "", headers={"WWW-Authenticate": "Negotiate"})
    login = KerberosLogin("web1.example.com")
    assert login.service == "airflow/web1.example.com"
    assert Http(server.url, login).send("POST", "/x", document={}).status == 401
    assert [request.headers["authorization"] for request in server.requests] == ["Negotiate dG9rZW4="]


def test_without_a_ticket_nothing_is_sent(server: Server, library: type[Negotiation]) -> None:
    library.has_ticket = False
    with pytest.raises(TransportError, match=f"no ticket for airflow/h could be had .{TEXT_OF_NO_TICKET}") as caught:
        Http(server.url, KerberosLogin("h")).send("GET", "/x")
    assert (caught.value.kind, caught.value.nothing_sent, caught.value.passing) == ("kerberos", True, False)
    assert server.requests == []


def test_without_a_library_it_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("requests_gssapi", "requests_kerberos"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(AirflowError, match="requests-gssapi or requests-kerberos"):
        KerberosLogin("h")


def test_library_that_goes_on_without_a_ticket_sends_nothing(server: Server, library: type[Negotiation]) -> None:
    library.has_ticket = library.raises = False
    with pytest.raises(TransportError, match="no ticket for airflow/h could be had") as caught:
        Http(server.url, KerberosLogin("h")).send("GET", "/x")
    assert (caught.value.kind, caught.value.nothing_sent) == ("kerberos", True)
    assert server.requests == []

# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A login by Kerberos ticket, with requests-gssapi or requests-kerberos: whichever is installed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol

from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import TransportError
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

if TYPE_CHECKING:
    import requests

SERVICE = "airflow"  # what Airflow's backend takes tickets for, whatever the URL says


class _Negotiation(Protocol):
    """What the two libraries have in common."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the ticket to ``request``."""
        raise NotImplementedError

    def handle_response(self, response: requests.Response, **kwargs: Any) -> requests.Response:
        """Return the response to the same request with a ticket, if ``response`` asks for one."""
        raise NotImplementedError


class KerberosLogin:
    """A fresh token of a ticket with every request, unasked: a server with ``session`` asks for none.

    The ticket is that of the environment's credential cache, or is got with the client keytab that
    ``KRB5_CLIENT_KTNAME`` names. ``host`` is the one in the server's principal. Raises AirflowError where neither
    library is installed.

    The server is not asked to prove itself by its ticket: whoever stands between could leave that proof out, as Airflow
    itself does at times. TLS is for that.
    """

    def __init__(self, host: str) -> None:
        self.service = f"{SERVICE}/{host}"
        negotiation = _with_gssapi(host) or _with_kerberos(host)
        if negotiation is None:
            raise AirflowError(
                "kerberos needs the Python library requests-gssapi or requests-kerberos: install one of them for the "
                f"interpreter that runs the task ({sys.executable})."
            )
        self._negotiation = negotiation

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        try:
            request = self._negotiation(request)
        except OSError as error:  # both libraries' exceptions are those of requests
            raise TransportError(
                "kerberos", f"no ticket for {self.service} could be had ({error})", nothing_sent=True, passing=False
            ) from None
        if "Authorization" not in request.headers:  # requests-gssapi 1.4 goes on without a ticket
            raise TransportError(
                "kerberos", f"no ticket for {self.service} could be had", nothing_sent=True, passing=False
            )
        # Both would send the request again after a 401, which is not theirs to decide.
        hooks = request.hooks["response"]
        if self._negotiation.handle_response in hooks:
            hooks.remove(self._negotiation.handle_response)
        return request


def _with_gssapi(host: str) -> _Negotiation | None:
    try:
        from requests_gssapi import DISABLED, HTTPSPNEGOAuth
    except ImportError:
        return None
    negotiation: _Negotiation = HTTPSPNEGOAuth(
        mutual_authentication=DISABLED, target_name=f"{SERVICE}@{host}", opportunistic_auth=True
    )
    return negotiation


def _with_kerberos(host: str) -> _Negotiation | None:
    try:
        from requests_kerberos import DISABLED, HTTPKerberosAuth
    except ImportError:
        return None
    negotiation: _Negotiation = HTTPKerberosAuth(
        mutual_authentication=DISABLED, service=SERVICE, hostname_override=host, force_preemptive=True
    )
    return negotiation

# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnoses of calls that no Airflow has answered: no answer, one that leads elsewhere, one of something else."""

from __future__ import annotations

from urllib.parse import urlsplit

from ansible_collections.fleetops.airflow.plugins.module_utils._api.dialects import DIALECTS
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Answer, TransportError
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import Server
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import (
    Diagnosis,
    Observed,
    call_of,
    received,
)

_NO_ANSWER_REMEDIES = {
    "name": "Correct url, or the name resolution of the host that runs this task.",
    "refused": "Start the webserver, or correct host and port of url. If its process runs all the same, one of its "
    "auth backends cannot be imported: fleetops.airflow.airflow_api_auth on that host tells.",
    "unreachable": "Correct host and port of url, or the network and firewall between the host that runs this task "
    "and that one.",
    "proxy": "Correct http_proxy or https_proxy in the environment of the task, or name the host in no_proxy.",
    "tls": "Name the authority's certificate in ca_path if it is a private one; if the server does not speak TLS, url "
    "begins with http://.",
    "tls_name": "Set url to a name that is in the certificate, or have the server given one for this name.",
    "tls_time": "Renew the server's certificate, or set the clock of the host that runs this task.",
    "client_cert": "Give client_cert, a certificate that the server trusts, and client_key if the key is in another "
    "file.",
    "timeout": "See whether the server is overloaded or hangs, or give it a longer timeout.",
    "broken": "See the logs of the webserver and of what stands in front of it.",
    "foreign": "Correct url: host, port, and the base path if Airflow's web interface has one.",
    "settings": "Correct these settings.",
    "kerberos": "Run kinit, or name a credential cache (KRB5CCNAME) or a client keytab (KRB5_CLIENT_KTNAME) in "
    "the task's environment. If there is a ticket, correct kerberos_hostname: it is the host in the server's own "
    "principal.",
}


def no_answer(seen: Observed, trouble: TransportError | None) -> Diagnosis:
    kind = trouble.kind if trouble else "broken"
    tried = f", and it stayed so for {seen.tried:g} seconds" if trouble and trouble.passing and seen.tried else ""
    return Diagnosis(
        f"{urlsplit(seen.base).netloc} gave no answer: {trouble}",
        f"{call_of(seen)}: {trouble}{tried}.",
        _NO_ANSWER_REMEDIES[kind],
    )


def redirect(seen: Observed, answer: Answer) -> Diagnosis:
    target = urlsplit(answer.headers.get("Location", ""))
    here = urlsplit(seen.base)
    host = target.netloc.rpartition("@")[2] or here.netloc
    place = f"{target.scheme or here.scheme}://{host}{target.path}"
    path = seen.failure.path.split("?")[0]
    remedy = "Set url to where Airflow itself answers."
    if place.endswith(path):
        remedy = f"Set url to {place[: -len(path)]} if that is your Airflow."
    elif "log" in target.path.lower() or host != here.netloc:
        remedy = "A login proxy seems to stand in front: set url to an address that reaches Airflow without it."
    return Diagnosis(
        f"the server leads to {place}, and redirects are not followed, since the login would travel along",
        f"{call_of(seen)} answered {answer.status} with that Location.",
        remedy,
        answer.status,
    )


def not_from_the_api(seen: Observed, answer: Answer) -> Diagnosis:
    """What refused is not that API: another generation, something in front, or no Airflow at all."""
    server = seen.server or Server(None, None)
    spoken = seen.failure.dialect
    evidence = f"{call_of(seen)} answered {received(answer)}."
    if answer.passing:
        return Diagnosis(
            "the server asks for fewer requests" if answer.status == 429 else "the webserver is not up, or overloaded",
            evidence
            + f" It stayed so for {seen.tried:g} seconds, or the server asked for a longer pause." * bool(seen.tried),
            "See whether the webserver runs, and the logs of what stands in front of it.",
            answer.status,
        )
    if server.generation and server.generation != spoken.generation:
        there = f"Airflow {server.release}" if server.release else f"an {DIALECTS[server.generation].releases}"
        return Diagnosis(
            f"the server is {there}, and has no API of the generation {spoken.generation}",
            evidence,
            f"Set api_version to {server.generation}, or to auto.",
            answer.status,
        )
    if server.generation == "experimental" and answer.status in (404, 405):
        return Diagnosis(
            "the API of Airflow 1.10 has no such call", evidence, "Leave out what asks for it.", answer.status
        )
    if server.generation and seen.failure.at_login:
        return Diagnosis(
            "the server gives no token for a username and a password: its auth manager has no such login",
            f"{evidence} Airflow {server.release} is there.",
            "Give a token that you have from elsewhere as token; or run fleetops.airflow.airflow_api_auth with "
            "auth_manager fab on the Airflow host.",
            answer.status,
        )
    name = f"Airflow {server.release}" if server.release else spoken.releases
    if server.generation and answer.status >= 500:
        return Diagnosis(
            "the webserver failed while it handled the request",
            f"{evidence} {name} is there.",
            "The webserver's log has the exception.",
            answer.status,
        )
    if server.generation:
        return Diagnosis(
            "something in front of Airflow refuses the request",
            f"{evidence} {name} is there, but never answers in this way.",
            "Let that proxy or gateway pass the API's paths with their Authorization header.",
            answer.status,
        )
    if answer.status in (401, 403):
        return Diagnosis(
            "what refuses is not Airflow: another server, or a proxy in front that wants a login of its own",
            evidence,
            "Correct url, or let the proxy pass the API's paths with their Authorization header.",
            answer.status,
        )
    return Diagnosis(
        "what answers there is not Airflow",
        evidence,
        "Correct url: host, port, and the base path if Airflow's web interface has one.",
        answer.status,
    )

# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnoses of calls that no Airflow has answered: no answer, one that leads elsewhere, one of something else."""

from __future__ import annotations

from urllib.parse import urlsplit

from ansible_collections.fleetops.airflow.plugins.module_utils._api.dialects import DIALECTS
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Answer, TransportError, split_url
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import Server
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import (
    Diagnosis,
    Observed,
    call_of,
    clean,
    received,
    server_failed,
)

_NO_ANSWER_REMEDIES = {
    "name": "Correct url, or the name resolution of the host that runs this task.",
    "refused": "Nothing listens there. Correct host and port of url, or start the API server ('airflow webserver' up "
    "to 2.x, 'airflow api-server' on 3.x). If its process runs all the same, its log says why it does not listen: on "
    "2.x, an auth backend that cannot be imported is one cause.",
    "unreachable": "Correct host and port of url, or the network and firewall between the host that runs this task "
    "and that one.",
    "proxy": "Correct http_proxy or https_proxy in the environment of the task, or name the host in no_proxy.",
    "tls": "See whether the port speaks TLS (else let url begin with http://), and which versions and ciphers.",
    "tls_untrusted": "Set ca_path to the certificate of the authority that signed the server's certificate.",
    "not_tls": "Let url begin with http://, or give the port that speaks TLS.",
    "tls_name": "Set url to a name that is in the certificate, or have the server given one for this name.",
    "tls_time": "Renew the server's certificate, or set the clock of the host that runs this task.",
    "client_cert": "Give client_cert, a certificate that the server trusts, and client_key if the key is in another "
    "file.",
    "timeout": "See whether the server is overloaded or hangs, or give it a longer timeout.",
    "broken": "See the logs of the API server and of what stands in front of it.",
    "foreign": "Correct url: host, port, and the base path if Airflow's web interface has one.",
    "settings": "Correct these settings.",
    "kerberos": "Run kinit, or name a credential cache (KRB5CCNAME) or a client keytab (KRB5_CLIENT_KTNAME) in "
    "the task's environment. If there is a ticket, correct kerberos_hostname: it is the host in the server's own "
    "principal.",
}


_NO_ANSWER_CODES = {
    "name": "name_not_resolved",
    "refused": "connection_refused",
    "unreachable": "host_unreachable",
    "proxy": "proxy_refused",
    "tls": "tls_failed",
    "tls_untrusted": "certificate_not_trusted",
    "not_tls": "not_tls",
    "tls_name": "certificate_name",
    "tls_time": "certificate_time",
    "client_cert": "client_certificate_required",
    "timeout": "timeout",
    "broken": "connection_dropped",
    "foreign": "not_http",
    "settings": "settings_unusable",
    "kerberos": "no_ticket",
}


def no_answer(seen: Observed, trouble: TransportError | None) -> Diagnosis:
    kind = trouble.kind if trouble else "broken"
    tried = f", and it stayed so for {seen.tried:g} seconds" if trouble and trouble.passing and seen.tried else ""
    return Diagnosis(
        _NO_ANSWER_CODES[kind],
        f"{urlsplit(seen.base).netloc} gave no answer: {trouble}",
        f"{call_of(seen)}: {trouble}{tried}.",
        _NO_ANSWER_REMEDIES[kind],
    )


def _from(answer: Answer) -> str:
    server = answer.headers.get("Server")
    return f" ({clean(server, ())})" if server else ""


def _with_path(base: str, path: str) -> str:
    parts = urlsplit(base)
    return f"{parts.scheme}://{parts.netloc}{path}"


def redirect(seen: Observed, answer: Answer) -> Diagnosis:
    target = split_url(answer.headers.get("Location", ""))
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
        "redirected",
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
        return _not_up(seen, answer, evidence)
    if server.generation and server.generation != spoken.generation:
        there = f"Airflow {server.release}" if server.release else f"an {DIALECTS[server.generation].releases}"
        return Diagnosis(
            "wrong_api_version",
            f"the server is {there}, and has no API of the generation {spoken.generation}",
            evidence,
            f"Set api_version to {server.generation}, or to auto.",
            answer.status,
        )
    if server.generation == "experimental" and answer.status in (404, 405):
        return Diagnosis(
            "call_not_supported",
            "the API of Airflow 1.10 has no such call",
            evidence,
            "Leave out what asks for it.",
            answer.status,
        )
    if server.generation and seen.failure.at_login and seen.base_path is not None:
        return Diagnosis(
            "base_path_missing",
            f"url lacks the base path of this Airflow, {seen.base_path}",
            f"{evidence} Its web interface says that everything is below {seen.base_path}.",
            f"Set url to {_with_path(seen.base, seen.base_path)}.",
            answer.status,
        )
    if server.generation and seen.failure.at_login and seen.failure.no_route:
        return Diagnosis(
            "no_password_login",
            "the server gives no token for a username and a password: its auth manager has no such login",
            f"{evidence} Airflow {server.release} is there.",
            "Give a token that you have from elsewhere as token; or run fleetops.airflow.airflow_api_auth with "
            "auth_manager fab on the Airflow host.",
            answer.status,
        )
    name = f"Airflow {server.release}" if server.release else spoken.releases
    if answer.status == 413:
        return too_large(seen, answer)
    if server.generation and answer.status >= 500:
        remedy = "The API server's log has the exception."
        if seen.failure.method == "POST" and seen.failure.path.endswith("/dagRuns"):  # as 2.6 to 2.11 answer
            remedy += (
                " If that is 'does not match the configured pattern', give a run_id that matches "
                "allowed_run_id_pattern in [scheduler] of the server's airflow.cfg."
            )
        return server_failed(seen, "", f"{evidence} {name} is there.", remedy)
    if server.generation:
        return Diagnosis(
            "rejected_by_gateway",
            f"something in front of Airflow{_from(answer)} rejects the request with {answer.status}",
            f"{evidence} {name} is there, and does not answer in this way.",
            "See its log. Usual causes: a login proxy (SSO), a firewall for web applications, a rule for paths. It has "
            "to pass the paths of the API with their Authorization header.",
            answer.status,
        )
    if answer.status in (401, 403):
        return Diagnosis(
            "rejected_by_other_server",
            f"{answer.status}{_from(answer)}, not from Airflow: another server, or a proxy in front with its own login",
            evidence,
            "Correct url, or let the proxy pass the paths of the API with their Authorization header.",
            answer.status,
        )
    return Diagnosis(
        "not_airflow",
        "what answers there is not Airflow",
        evidence,
        "Correct url: host, port, and the base path if Airflow's web interface has one.",
        answer.status,
    )


def unidentified(seen: Observed, answer: Answer) -> Diagnosis:
    """What server it is could not be determined: its version page was answered by something in front, or not at all."""
    evidence = f"GET {seen.base}/api/v2/version answered {received(answer)}."
    if answer.passing:
        return _not_up(seen, answer, evidence)
    found = server_failed(seen, "", evidence, "See the logs of the API server, and of what stands in front of it.")
    return found._replace(http_status=answer.status)


def _not_up(seen: Observed, answer: Answer, evidence: str) -> Diagnosis:
    return Diagnosis(
        "too_many_requests" if answer.status == 429 else "server_unavailable",
        "the server asks for fewer requests" if answer.status == 429 else "the API server is not up, or overloaded",
        evidence
        + f" It stayed so for {seen.tried:g} seconds, or the server asked for a longer pause." * bool(seen.tried),
        "See whether the API server runs, and the logs of what stands in front of it.",
        answer.status,
    )


def too_large(seen: Observed, answer: Answer) -> Diagnosis:
    """The request is larger than Airflow, or something in front of it, accepts."""
    if seen.failure.own_limit or not seen.failure.foreign:
        who, remedy = (
            "Airflow itself accepts",
            "Raise [webserver] allowed_payload_size in its airflow.cfg (2.9 to 2.11)",
        )
    else:
        who = "what stands in front of Airflow passes on"
        remedy = "Raise that limit (client_max_body_size of nginx)"
    return Diagnosis(
        "request_too_large",
        f"the request is larger than {who}, so its conf is too large",
        f"{call_of(seen)} answered {received(answer)}.",
        f"{remedy}, or pass a reference in conf instead of the data.",
        answer.status,
    )

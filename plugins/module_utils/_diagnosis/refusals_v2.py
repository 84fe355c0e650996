# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why the API of Airflow 3 refuses a login."""

from __future__ import annotations

from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Answer
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import (
    Diagnosis,
    Observed,
    call_of,
    clean,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.refusals import role_too_low


def refused_v2(seen: Observed, answer: Answer) -> Diagnosis:
    """Airflow 3: wrong login, no login, a token that is over or not of this server, or a role that is too low."""
    status, said = answer.status, seen.failure.said or ""
    evidence = f"{call_of(seen)} answered {status}: {clean(said, seen.private)}."
    if seen.server and seen.server.release:
        evidence += f" The server is Airflow {seen.server.release}."
    if seen.failure.at_login:
        return Diagnosis(
            "wrong_credentials",
            f"the password is not that of {seen.username!r}, or there is no such active user",
            evidence,
            "Correct username and password. The simple auth manager makes its passwords itself and keeps them in "
            "simple_auth_manager_passwords.json.generated on the Airflow host; with that of FAB, the role "
            "fleetops.airflow.api_auth or 'airflow users create' makes a user.",
            status,
        )
    if "expired" in said.lower():
        return Diagnosis(
            "token_expired", "the token has expired", evidence, "Give a new one, or username and password.", status
        )
    if seen.username is None and not seen.has_token:
        return Diagnosis(
            "credentials_missing",
            "the API wants a token, and no login was given",
            evidence,
            "Give username and password, or a token.",
            status,
        )
    if said == "Invalid JWT token" and seen.has_token:
        return Diagnosis(
            "token_not_of_server",
            "the token is none that this server has signed, or its secret has changed since",
            evidence,
            "Give a new one from this very server, or username and password.",
            status,
        )
    if said == "Invalid JWT token":
        return Diagnosis(
            "secrets_differ",
            "the server refuses a token that it has given a moment ago: several servers sign with different secrets",
            evidence,
            "Run fleetops.airflow.airflow_api_auth with one and the same jwt_secret on all hosts of this Airflow.",
            status,
        )
    if status == 401:
        return Diagnosis(
            "authorization_header_lost",
            "the login does not reach Airflow: something in front of it removes the Authorization header",
            evidence,
            "Let the proxy in front of Airflow pass the Authorization header.",
            status,
        )
    return role_too_low(seen, evidence)

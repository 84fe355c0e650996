# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why the API of Airflow 1.10 refuses a login."""

from __future__ import annotations

from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Answer
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import Diagnosis, Observed, call_of
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.refusals import API_AUTH


def refused_experimental(seen: Observed, answer: Answer) -> Diagnosis:
    """Airflow 1.10: which backend is in force shows in what an anonymous client is answered."""
    status = answer.status
    evidence = f"{call_of(seen)} answered {status}; without a login it is answered {seen.anonymous}."
    api_auth = API_AUTH.format(backends="[basic_auth]")
    if seen.anonymous == 403:
        return Diagnosis(
            "deny_all_in_force", "the API is closed to everybody (deny_all is in force)", evidence, api_auth, status
        )
    if seen.username is None:
        return Diagnosis(
            "credentials_missing",
            "the API wants a login, and none was given",
            evidence,
            "Give username and password.",
            status,
        )
    if seen.anonymous == 401 and status == 403:
        return Diagnosis(
            "wrong_credentials",
            f"the password is not that of {seen.username!r}, or the API has no such user",
            evidence,
            "Correct username and password. The API of Airflow 1.10 has users of its own (PasswordUser): those of the "
            "web interface with roles are others.",
            status,
        )
    if seen.anonymous == 401:
        return Diagnosis(
            "authorization_header_lost",
            "the login does not reach Airflow: something in front of it removes the Authorization header",
            evidence,
            "Let the proxy in front of Airflow pass the Authorization header.",
            status,
        )
    return Diagnosis(
        "rejected_unknown", "it cannot be told from outside why the API refuses this call", evidence, api_auth, status
    )

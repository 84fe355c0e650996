# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the refusals of all generations of the API have in common."""

from __future__ import annotations

from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import Diagnosis, Observed

API_AUTH = (
    "Run fleetops.airflow.airflow_api_auth with backends {backends} on the Airflow host, or the role "
    "fleetops.airflow.api_auth: it also tells if an environment variable beats the file, and restarts what has not "
    "read it."
)
SERVICE_USER = "Correct username and password, or let the role fleetops.airflow.api_auth create a user for the API."
HEADER_LOST = "a proxy in front removes the Authorization header"


def role_too_low(seen: Observed, evidence: str) -> Diagnosis:
    """The login is right, and the user may not do what was asked."""
    reads = seen.failure.method == "GET" or seen.failure.path.endswith("/list")  # which is asked for by POST
    what = "read" if reads else "trigger"
    who = repr(seen.username) if seen.username else "whom the token is for"
    return Diagnosis(
        "role_too_low",
        f"the login is right, but the role of {who} does not allow to {what} this DAG",
        evidence,
        f"Give {who} the role User or Op, or one that can read and edit the DAG and create DAG runs. For a user with a "
        "role for certain DAGs only, Airflow says the same of a DAG that does not exist: see that dag_id is right.",
        seen.failure.status,
    )

# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a Kerberos ticket is refused."""

from __future__ import annotations

from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import Diagnosis, Observed, call_of
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.refusals import HEADER_LOST


def refused_ticket(seen: Observed, service: str) -> Diagnosis | None:
    """Why a call with a Kerberos ticket for ``service`` was refused; None where that has nothing to do with it."""
    answer = seen.failure.answer
    if answer is None or answer.status not in (401, 403, 500):
        return None
    evidence = f"{call_of(seen)} answered {answer.status} to a ticket for {service}."
    if answer.status == 401:
        return Diagnosis(
            "ticket_rejected",
            "it cannot be told from outside which it is: (1) kerberos_auth is not in force, (2) the server takes "
            f"itself for another host, and has no key of {service}, (3) {HEADER_LOST}",
            evidence,
            "Run fleetops.airflow.airflow_api_auth with backends [kerberos_auth, session] on the Airflow host, and see "
            "by fleetops.airflow.airflow_api_auth_info whose keys it has: kerberos_hostname has to be that host.",
            401,
        )
    if answer.status == 403:
        return Diagnosis(
            "ticket_forbidden",
            "it cannot be told from outside which it is: (1) the role of the principal's user is too low, or "
            "(2) on Airflow 2.8 and later, nobody looked at the ticket, because a public role is set",
            evidence,
            "Give the user the role User or Op; see public_role of fleetops.airflow.airflow_api_auth_info.",
            403,
        )
    if not seen.failure.foreign:
        return None
    return Diagnosis(
        "no_user_for_principal",
        "the webserver failed while it handled the ticket: it does so where no user of Airflow is called like the "
        "whole principal, realm included",
        evidence,
        "Create that user (user@REALM); else the webserver's log has the exception.",
        500,
    )

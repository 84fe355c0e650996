# SPDX-License-Identifier: GPL-3.0-or-later
"""What a refused Kerberos ticket may mean."""

from __future__ import annotations

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Answer
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.refusals_kerberos import refused_ticket
from unit.plugins.module_utils._diagnosis.test_calls import page, problem, seen

SERVICE = "airflow/web1.example.com"


@pytest.mark.parametrize(
    ("answer", "code", "cause"),
    [
        (problem(401), "ticket_rejected", f"(2) the server takes itself for another host, and has no key of {SERVICE}"),
        (problem(403), "ticket_forbidden", "(1) the role of the principal's user is too low"),
        (
            page(500, "Internal Server Error"),
            "no_user_for_principal",
            "no user of Airflow is called like the whole principal",
        ),
    ],
)
def test_what_a_refused_one_may_mean(answer: Answer, code: str, cause: str) -> None:
    why = refused_ticket(seen(answer, "POST"), SERVICE)
    assert why is not None
    assert why.code == code
    assert cause in why.cause
    assert why.http_status == answer.status
    assert SERVICE in why.evidence


@pytest.mark.parametrize("answer", [None, problem(404), page(502), problem(500, detail="OperationalError")])
def test_what_has_to_do_with_something_else(answer: Answer | None) -> None:
    assert refused_ticket(seen(answer), SERVICE) is None

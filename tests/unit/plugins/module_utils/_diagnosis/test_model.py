# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of a diagnosis, and what must not be among them."""

from __future__ import annotations

from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import error, private_values
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.runs import paused_dag


def test_private_values() -> None:
    found = private_values({"a": "it's", "b": [{"c": "deep"}, 12345, True, "x"], "d": None})
    assert {"it's", "deep", "12345"} <= set(found)
    assert "x" not in found
    assert private_values(None) == []


def test_the_error_says_cause_and_remedy() -> None:
    found = error("DAG 'x' was not triggered", paused_dag("x"), changed=False)
    assert str(found).startswith("DAG 'x' was not triggered: it is paused")
    assert "if_paused" in str(found)
    assert found.details["changed"] is False
    assert found.details["diagnosis"].keys() == {"code", "cause", "evidence", "remedy", "http_status"}

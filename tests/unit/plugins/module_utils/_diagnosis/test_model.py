# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of a diagnosis, and what must not be among them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import clean, error, private_values
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


@pytest.mark.parametrize(
    ("conf", "said", "shown"),
    [
        (
            {"mode": "for"},
            "Invalid input for param mode: 'for' is not one of ['a']",
            "for param mode: '***' is not one",
        ),
        ({"mode": "one"}, "'one' is not one of ['a']", "'***' is not one of ['a']"),
        ({"mode": "Not"}, "'Not' is not of type 'integer'", "'***' is not of type 'integer'"),
        ({"key": "put"}, "Invalid input, put that", "Invalid input, *** that"),
        ({"key": "hush"}, "the hush of hush-1 is no hushed one", "the *** of ***-1 is no hushed one"),
        ({"key": "s3cret-word"}, "prefix_s3cret-word", "prefix_***"),
        ({"key": "longerthanthat"}, "xlongerthanthatx", "x***x"),
        ({"count": 123}, "123 is not of type 'string', 1234 is", "*** is not of type 'string', 1234 is"),
        ({"a": {"b": ["it's"]}}, "{'b': [\"it's\"]} is not", "{'b': [\"***\"]} is not"),
    ],
)
def test_values_are_hidden_and_words_are_not(conf: dict[str, Any], said: str, shown: str) -> None:
    assert shown in clean(said, private_values(conf))

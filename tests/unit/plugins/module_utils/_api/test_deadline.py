# SPDX-License-Identifier: GPL-3.0-or-later
"""The time for a whole answer."""

from __future__ import annotations

import time

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api.deadline import (
    all_within,
    seconds_left,
    whole_within,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Http, RetryPolicy, TransportError


def test_block_inside_another_takes_nothing_of_its_time() -> None:
    assert seconds_left() is None
    with whole_within(5):
        with whole_within(1):
            time.sleep(0.3)
            inner = seconds_left()
            assert inner is not None
            assert inner < 0.8
        outer = seconds_left()
        assert outer is not None
        assert outer > 4.9
    assert seconds_left() is None


def test_end_of_everything_holds_for_each_answer_and_each_pause() -> None:
    with all_within(1), whole_within(30):
        left = seconds_left()
        assert left is not None
        assert left <= 1
        with all_within(60), whole_within(30):  # one inside it cannot be longer
            left = seconds_left()
            assert left is not None
            assert left <= 1
        assert not RetryPolicy(60).pause(at_least=2)
        assert RetryPolicy(60).pause()
    assert seconds_left() is None


def test_nothing_is_sent_when_the_time_is_up() -> None:
    with all_within(0), pytest.raises(TransportError) as caught:
        Http("http://127.0.0.1:9", lambda request: request).send("GET", "/")
    assert (caught.value.kind, caught.value.nothing_sent) == ("timeout", True)

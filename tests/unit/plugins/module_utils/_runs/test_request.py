# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options of a task ask for, and what is refused before anything is sent."""

from __future__ import annotations

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.request import run_request
from unit.plugins.module_utils._runs.test_trigger import OPTIONS


@pytest.mark.parametrize("run_id", ["a b", "a/b", "ä", "x" * 251, ".", "..", "~", "a\n", "?"])
def test_run_id(run_id: str) -> None:
    with pytest.raises(AirflowError, match="run_id"):
        run_request({**OPTIONS, "run_id": run_id})


@pytest.mark.parametrize("run_id", ["x" * 250, "a_.~:+-9", "manual__2026-01-31T08:00:00+00:00"])
def test_valid_run_id(run_id: str) -> None:
    assert run_request({**OPTIONS, "run_id": run_id}).new.run_id == run_id


@pytest.mark.parametrize("dag_id", ["", "a/b", ".", "..", "~", "a b", "a?b", "x" * 251])
def test_dag_id(dag_id: str) -> None:
    with pytest.raises(AirflowError, match="dag_id"):
        run_request({**OPTIONS, "dag_id": dag_id})


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("2026-01-31T08:00:00Z", "2026-01-31T08:00:00+00:00"),
        ("2026-01-31 08:00:00+00:00", "2026-01-31T08:00:00+00:00"),
        ("2026-01-31T08:00:00.123456-05:30", "2026-01-31T08:00:00.123456-05:30"),
    ],
)
def test_logical_date(typed: str, sent: str) -> None:
    assert run_request({**OPTIONS, "logical_date": typed}).new.logical_date == sent


@pytest.mark.parametrize("typed", ["tomorrow", "2026-01-31", "2026-01-31T08:00:00", "2026-13-01T00:00:00Z"])
def test_a_date_needs_a_timezone(typed: str) -> None:
    with pytest.raises(AirflowError, match="timezone"):
        run_request({**OPTIONS, "logical_date": typed})


@pytest.mark.parametrize("option", ["wait_timeout", "wait_interval"])
@pytest.mark.parametrize("value", [0.0, -1.0, 0.5, float("nan"), float("inf")])
def test_seconds(option: str, value: float) -> None:
    with pytest.raises(AirflowError, match=option):
        run_request({**OPTIONS, option: value})


def test_conf_and_note() -> None:
    assert run_request({**OPTIONS, "conf": {}}).new.conf == {}
    with pytest.raises(AirflowError, match="NaN"):
        run_request({**OPTIONS, "conf": {"a": [float("nan")]}})
    with pytest.raises(AirflowError, match="1001"):
        run_request({**OPTIONS, "note": "x" * 1001})


def test_empty_means_unset() -> None:
    wanted = run_request({**OPTIONS, "run_id": "", "logical_date": "", "note": ""})
    assert not wanted.named
    assert (wanted.new.logical_date, wanted.new.note) == (None, None)

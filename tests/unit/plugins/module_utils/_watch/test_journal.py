# SPDX-License-Identifier: GPL-3.0-or-later
"""What was done is written down, and a rule that acts too often stops, whoever starts it anew."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._watch.journal import Journal

ENTRY = {"rule": "rerun", "subject": "production load", "action": "rerun it"}


class Clock:
    def __init__(self) -> None:
        self.now = 1769846400.0

    def __call__(self) -> float:
        return self.now


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


def test_an_entry_is_a_line(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "new"), Clock())
    assert journal.begin({**ENTRY, "before": {"state": "failed"}}, None, 3600) == (True, 0)
    journal.write({**ENTRY, "step": "end", "outcome": "done"})
    assert lines(tmp_path / "new") == [
        {"time": "2026-01-31T08:00:00.000+00:00", **ENTRY, "before": {"state": "failed"}, "step": "begin"},
        {"time": "2026-01-31T08:00:00.000+00:00", **ENTRY, "step": "end", "outcome": "done"},
    ]
    for name in ("journal.jsonl", "limits.json"):
        assert os.stat(tmp_path / "new" / name).st_mode & 0o777 == 0o600


def test_the_limit_holds_across_restarts_and_is_for_a_time(tmp_path: Path) -> None:
    clock = Clock()
    allowed = []
    for _time in range(4):
        allowed.append(Journal(str(tmp_path), clock).begin(ENTRY, 2, 3600))
        clock.now += 1000
    assert allowed == [(True, 0), (True, 1), (False, 2), (False, 2)]
    assert [line["step"] for line in lines(tmp_path)] == ["begin", "begin", "stopped", "stopped"]
    assert Journal(str(tmp_path), clock).begin({**ENTRY, "subject": "production other"}, 2, 3600) == (True, 0)
    assert Journal(str(tmp_path), clock).count("rerun", "production load", 3600) == 1  # the first is an hour ago
    assert Journal(str(tmp_path), clock).begin(ENTRY, 2, 3600) == (True, 1)


def test_counting_writes_nothing(tmp_path: Path) -> None:
    assert Journal(str(tmp_path / "new")).count("rerun", "production load", 3600) == 0
    assert not (tmp_path / "new").exists()


def test_old_ones_are_forgotten(tmp_path: Path) -> None:
    clock = Clock()
    for number in range(50):
        Journal(str(tmp_path), clock).begin({**ENTRY, "subject": f"production {number}"}, 2, 3600)
        clock.now += 86400
    assert len(json.loads((tmp_path / "limits.json").read_text())) <= 8


def test_many_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _number: Journal(str(tmp_path)).begin(ENTRY, 5, 3600)[0], range(40)))
    assert sum(done) == 5
    assert len(lines(tmp_path)) == 40


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": ["b"]}'])
def test_where_it_is_not_known_how_often_none_may_act(tmp_path: Path, text: str) -> None:
    (tmp_path / "limits.json").write_text(text)
    with pytest.raises(AirflowError, match="none may act"):
        Journal(str(tmp_path)).begin(ENTRY, 2, 3600)
    assert not (tmp_path / "journal.jsonl").exists()


def test_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AirflowError, match=r"cannot be written in .*/file/x: Not a directory. Nothing was done"):
        Journal(str(tmp_path / "file/x")).write({"rule": "r"})


def test_clock_that_was_set_back_stops_a_rule_for_one_window(tmp_path: Path) -> None:
    clock = Clock()
    clock.now += 86400 * 365  # it was a year ahead
    assert [Journal(str(tmp_path), clock).begin(ENTRY, 2, 3600)[0] for dummy in range(2)] == [True, True]
    clock.now -= 86400 * 365
    assert Journal(str(tmp_path), clock).begin(ENTRY, 2, 3600) == (False, 2)
    clock.now += 3601
    assert Journal(str(tmp_path), clock).begin(ENTRY, 2, 3600) == (True, 0)


def test_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    journal.write({"rule": "one"})
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write('{"rule": "tw')
    journal.write({"rule": "three"})
    text = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["rule"] for line in (text[0], text[2])] == ["one", "three"]


@pytest.mark.parametrize("name", ["journal.jsonl", "limits.json", "limits.json.new"])
def test_file_that_cannot_be_written_is_reported(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(AirflowError, match="Is a directory"):
        Journal(str(tmp_path)).begin(ENTRY, 2, 3600)

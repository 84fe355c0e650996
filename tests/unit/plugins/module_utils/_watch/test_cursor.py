# SPDX-License-Identifier: GPL-3.0-or-later
"""What a watcher knows, on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._watch.cursor import Cursor
from unit.plugins.module_utils._watch.test_watcher import Site, quiet_day


def test_one_at_a_time(tmp_path: Path) -> None:
    site = Site(tmp_path, quiet_day())
    with pytest.raises(AirflowError, match="is in use"):
        Cursor(str(tmp_path), "airflow.example")
    site.cursor.close()
    Cursor(str(tmp_path), "airflow.example").close()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', '{"format": 1}'])
def test_one_that_is_broken_is_not_begun_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    for _time in range(2):
        with pytest.raises(AirflowError, match="is not what was written there"):
            Cursor(str(tmp_path), "a")


def test_a_name_is_no_path(tmp_path: Path) -> None:
    cursor = Cursor(str(tmp_path), "../../etc/x")
    assert os.path.dirname(cursor.path) == str(tmp_path)
    cursor.close()

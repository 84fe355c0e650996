# SPDX-License-Identifier: GPL-3.0-or-later
"""When a file may have become another one, with real files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._host import file_times
from ansible_collections.fleetops.airflow.plugins.module_utils._host.file_times import last_changed, note_restored


@pytest.fixture(autouse=True)
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_times, "_NOTES", (f"{tmp_path}/run-%d-%d", f"{tmp_path}/tmp-%d-%d"))


def test_times_that_are_set_back_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "airflow.cfg"
    path.touch()
    begun = time.time() - 1
    os.utime(path, (1000, 2000))
    written, renewed = last_changed(str(path))
    assert written == 2000
    assert renewed > begun


def test_link_that_is_turned_counts(tmp_path: Path) -> None:
    path, link = tmp_path / "airflow.cfg", tmp_path / "link"
    path.touch()
    time.sleep(0.05)
    link.symlink_to(path)
    assert last_changed(str(link))[1] == link.lstat().st_ctime > path.stat().st_ctime


@pytest.mark.parametrize("uid", [0, 1000])
def test_file_that_was_put_back_is_as_old_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    path = tmp_path / "airflow.cfg"
    path.touch()
    before = path.stat()
    time.sleep(0.05)
    os.link(path, tmp_path / "kept")
    os.replace(tmp_path / "kept", path)
    assert last_changed(str(path))[1] > before.st_ctime
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    note_restored(path.stat(), before)
    assert last_changed(str(path))[1] == before.st_ctime
    time.sleep(0.05)
    path.chmod(0o600)
    assert last_changed(str(path))[1] > before.st_ctime


@pytest.mark.parametrize("text", ["", "x", "1 2 3", "%d nan", "%d -1", "%d 1e999", "%d x", "\xff"])
def test_note_that_is_none_does_not_count(tmp_path: Path, text: str) -> None:
    path = tmp_path / "airflow.cfg"
    path.touch()
    status = path.stat()
    note = Path(f"{tmp_path}/run-{status.st_dev}-{status.st_ino}")
    note.write_bytes((text % status.st_ctime_ns if "%d" in text else text).encode("latin-1"))
    assert last_changed(str(path))[1] == status.st_ctime


def test_note_of_somebody_else_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "airflow.cfg"
    path.touch()
    before = path.stat()
    path.chmod(0o600)
    note_restored(path.stat(), before)
    other = os.stat_result([*before[:4], 4711, *before[5:10]])
    fstat = os.fstat
    monkeypatch.setattr(os, "fstat", lambda descriptor: other if descriptor > 2 else fstat(descriptor))
    assert last_changed(str(path))[1] == path.stat().st_ctime

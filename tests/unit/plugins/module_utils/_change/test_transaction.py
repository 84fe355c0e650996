# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that change wholly or not at all, on a real file system."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import NoReturn

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._change.transaction import change, replace_file
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError


@pytest.fixture
def cfg(tmp_path: Path) -> Path:
    path = tmp_path / "airflow.cfg"
    path.write_bytes(b"old")
    path.chmod(0o640)
    return path


def nothing() -> None:
    pass


def test_a_replaced_file_keeps_its_mode_and_leaves_nothing(cfg: Path) -> None:
    (cfg.parent / ".airflow.cfg.fleetops-killed").write_bytes(b"left by a run that was killed")
    inode = cfg.stat().st_ino
    replace_file(str(cfg), b"new")
    assert cfg.read_bytes() == b"new"
    assert stat.S_IMODE(cfg.stat().st_mode) == 0o640
    assert cfg.stat().st_ino != inode
    assert os.listdir(cfg.parent) == ["airflow.cfg"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_replaced_file_keeps_its_owner(cfg: Path) -> None:
    os.chown(cfg, 1234, 4321)
    replace_file(str(cfg), b"new")
    assert (cfg.stat().st_uid, cfg.stat().st_gid) == (1234, 4321)
    assert stat.S_IMODE(cfg.stat().st_mode) == 0o640


@pytest.mark.parametrize("call", ["fsync", "replace", "fchown"])
def test_a_failing_disk_changes_nothing(cfg: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """A stub: a full disk cannot be had without one of one's own."""

    def fail(*_arguments: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    if call == "fchown":
        monkeypatch.setattr(os, "geteuid", lambda: -1)
    with pytest.raises(AirflowError, match=r"cannot be replaced: No space left on device. It is as it was. Make room"):
        replace_file(str(cfg), b"new")
    assert cfg.read_bytes() == b"old"
    assert os.listdir(cfg.parent) == ["airflow.cfg"]


def test_a_change_that_takes_effect(cfg: Path) -> None:
    seen = []
    change(str(cfg), b"old", b"new", lambda: seen.append(cfg.read_bytes()), rollback=True, backup=nothing)
    assert seen == [b"new"]
    assert cfg.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("rollback", "recovers", "content", "rolled_back", "message"),
    [
        (True, True, b"old", True, "no. .* has been put back as it was, and the server runs with it again"),
        (
            True,
            False,
            b"old",
            False,
            "no. .* put back as it was, but the server did not recover .* SOMEBODY HAS TO",
        ),
        (False, True, b"new", False, "no. .* keeps the change, because rollback is off"),
    ],
)
def test_a_change_that_does_not(
    cfg: Path, rollback: bool, recovers: bool, content: bytes, rolled_back: bool, message: str
) -> None:
    def take_effect() -> None:
        if cfg.read_bytes() == b"new" or not recovers:
            raise AirflowError("no.", clue=1)

    with pytest.raises(AirflowError, match=message) as error:
        change(str(cfg), b"old", b"new", take_effect, rollback=rollback, backup=nothing)
    assert error.value.details == {"rolled_back": rolled_back, "clue": 1}
    assert cfg.read_bytes() == content


def test_a_restart_without_a_change_is_tried_once(cfg: Path) -> None:
    tried = []

    def fail() -> None:
        tried.append(1)
        raise AirflowError("no.")

    with pytest.raises(AirflowError, match=r"^no\.$") as error:
        change(str(cfg), b"old", b"old", fail, rollback=True, backup=fail)
    assert tried == [1]
    assert error.value.details == {"rolled_back": False}

# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that is replaced and put back, on a real file system."""

from __future__ import annotations

import errno
import os
import stat
import struct
from pathlib import Path
from typing import Any, NoReturn

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._change import replacement
from ansible_collections.fleetops.airflow.plugins.module_utils._change.replacement import (
    Replacement,
    validate_replaceable,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host import files

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def cfg(tmp_path: Path) -> Path:
    path = tmp_path / "airflow.cfg"
    path.write_bytes(b"old")
    path.chmod(0o640)
    os.utime(path, (1000, 2000))
    return path


def changed(cfg: Path, new: bytes = b"new", **options: bool) -> Replacement:
    step = Replacement(str(cfg), cfg.read_bytes(), new, **options)
    step.do()
    return step


def fail(*_arguments: object, **_named: object) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_replaced_file_keeps_its_mode_and_leaves_nothing(cfg: Path) -> None:
    (cfg.parent / ".airflow.cfg.fleetops-killed").write_bytes(b"left by a run that was killed")
    (cfg.parent / ".airflow.cfg.fleetops-directory").mkdir()
    inode = cfg.stat().st_ino
    step = changed(cfg)
    step.finish()
    assert cfg.read_bytes() == b"new"
    assert stat.S_IMODE(cfg.stat().st_mode) == 0o640
    assert cfg.stat().st_ino != inode
    assert sorted(os.listdir(cfg.parent)) == [".airflow.cfg.fleetops-directory", "airflow.cfg"]


def test_undo_gives_the_old_file_itself_with_its_times(cfg: Path) -> None:
    before = cfg.stat()
    step = changed(cfg)
    step.undo()
    after = cfg.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_nlink) == (before.st_ino, before.st_mtime_ns, 1)
    assert os.listdir(cfg.parent) == ["airflow.cfg"]
    assert step.changed is None


def test_undo_needs_no_room(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = changed(cfg)
    for name in ("write", "link"):
        monkeypatch.setattr(os, name, fail)
    step.undo()
    assert cfg.read_bytes() == b"old"


def test_undo_without_hard_links(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stub for a file system that has none."""
    monkeypatch.setattr(os, "link", fail)
    step = changed(cfg)
    assert cfg.read_bytes() == b"new"
    step.undo()
    assert (cfg.read_bytes(), cfg.stat().st_mtime, stat.S_IMODE(cfg.stat().st_mode)) == (b"old", 2000, 0o640)
    assert os.listdir(cfg.parent) == ["airflow.cfg"]


@AS_ROOT
def test_replaced_file_keeps_its_owner(cfg: Path) -> None:
    os.chown(cfg, 1234, 4321)
    changed(cfg)
    assert (cfg.stat().st_uid, cfg.stat().st_gid) == (1234, 4321)
    assert stat.S_IMODE(cfg.stat().st_mode) == 0o640


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "fchmod", "link"])
def test_full_disk_changes_nothing(cfg: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """A stub: a full disk cannot be had without one of one's own."""
    if call == "link":  # then the copy fails too
        monkeypatch.setattr(os, "link", fail)
        monkeypatch.setattr(os, "utime", fail)
    else:
        monkeypatch.setattr(os, call, fail)
    with pytest.raises(
        AirflowError, match=r"cannot be replaced: No space left on device\. It is as it was\. Make room"
    ):
        changed(cfg)
    monkeypatch.undo()
    assert cfg.read_bytes() == b"old"
    assert os.listdir(cfg.parent) == ["airflow.cfg"]


def test_sync_that_fails_after_the_rename_is_undone(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.Place, "sync", fail)
    with pytest.raises(AirflowError, match="No space left"):
        changed(cfg)
    assert cfg.read_bytes() == b"old"


def test_edit_by_another_program_is_not_overwritten(cfg: Path) -> None:
    step = Replacement(str(cfg), b"what the task has read", b"new")
    with pytest.raises(AirflowError, match=r"was changed by another program .* Nothing was changed\. Run the task"):
        step.do()
    assert cfg.read_bytes() == b"old"
    assert os.listdir(cfg.parent) == ["airflow.cfg"]


@pytest.mark.parametrize("in_place", [True, False])
def test_edit_by_another_program_while_the_new_file_is_written(
    cfg: Path, monkeypatch: pytest.MonkeyPatch, in_place: bool
) -> None:
    real = files.copy_attributes

    def edited(source: int, target: int) -> None:
        real(source, target)
        if not in_place:
            cfg.unlink()
        cfg.write_bytes(b"theirs")

    monkeypatch.setattr(replacement, "copy_attributes", edited)
    with pytest.raises(AirflowError, match=r"was changed by another program .* Nothing was changed"):
        changed(cfg)
    assert cfg.read_bytes() == b"theirs"
    assert os.listdir(cfg.parent) == ["airflow.cfg"]


def test_edit_through_a_descriptor_in_the_last_moment_is_kept(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.replace
    with open(cfg, "ab") as theirs:

        def late(*arguments: Any, **named: Any) -> None:
            real(*arguments, **named)
            theirs.write(b"theirs")
            theirs.flush()
            monkeypatch.undo()

        monkeypatch.setattr(os, "replace", late)
        with pytest.raises(AirflowError, match=r"at the same moment\. That change is kept"):
            changed(cfg)
    assert cfg.read_bytes() == b"oldtheirs"


@pytest.mark.parametrize("in_place", [True, False])
def test_undo_does_not_overwrite_a_later_edit(cfg: Path, in_place: bool) -> None:
    step = changed(cfg)
    if not in_place:
        cfg.unlink()
    cfg.write_bytes(b"repaired by hand")
    with pytest.raises(
        AirflowError, match=r"so it was not put back\. What it held before this task is in (\S+~)\.$"
    ) as error:
        step.undo()
    assert cfg.read_bytes() == b"repaired by hand"
    kept = Path(str(error.value).rpartition(" in ")[2].rstrip("."))
    assert kept.read_bytes() == b"old"


def test_backup_is_the_old_file(cfg: Path) -> None:
    inode = cfg.stat().st_ino
    step = changed(cfg, backup=True)
    step.finish()
    backup = Path(str(step.backup_file))
    assert (backup.read_bytes(), backup.stat().st_ino) == (b"old", inode)
    assert sorted(os.listdir(cfg.parent)) == sorted(["airflow.cfg", backup.name])


def test_backup_goes_with_the_change(cfg: Path) -> None:
    step = changed(cfg, backup=True)
    step.undo()
    assert step.backup_file is None
    assert (cfg.read_bytes(), os.listdir(cfg.parent)) == (b"old", ["airflow.cfg"])


def test_link_of_another_user_to_a_file_that_is_not_that_users(cfg: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    link = cfg.parent / "link.cfg"
    link.symlink_to(cfg)
    os.lchown(link, 1234, 1234)
    with pytest.raises(AirflowError, match="A symbolic link of another user leads to a file that is not that user's"):
        changed(link)
    os.chown(cfg, 1234, 1234)
    changed(link)  # what belongs to both is that user's own business
    assert (link.is_symlink(), cfg.read_bytes()) == (True, b"new")


@AS_ROOT
def test_acl_of_the_directory_does_not_open_the_file(cfg: Path) -> None:
    # u::rw, u:1234:rwx, g::r, m::rwx, o::- as linux/posix_acl_xattr.h has it
    entries = [(1, 6, -1), (2, 7, 1234), (4, 4, -1), (0x10, 7, -1), (0x20, 0, -1)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    try:
        os.setxattr(cfg.parent, "system.posix_acl_default", acl)
    except OSError:
        pytest.skip("the file system has no ACLs")
    changed(cfg)
    assert "system.posix_acl_access" not in os.listxattr(cfg)
    assert stat.S_IMODE(cfg.stat().st_mode) == 0o640


@AS_ROOT
def test_acl_of_the_file_is_kept(cfg: Path) -> None:
    entries = [(1, 6, -1), (2, 4, 1234), (4, 4, -1), (0x10, 4, -1), (0x20, 0, -1)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    try:
        os.setxattr(cfg, "system.posix_acl_access", acl)
    except OSError:
        pytest.skip("the file system has no ACLs")
    before = os.getxattr(cfg, "system.posix_acl_access")
    changed(cfg)
    assert os.getxattr(cfg, "system.posix_acl_access") == before


def test_file_that_is_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    step = Replacement(str(path), None, b"new", mode=0o600)
    step.do()
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o600)
    step.undo()
    assert os.listdir(tmp_path) == []


def test_file_that_another_program_makes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "passwords"
    step = Replacement(str(path), None, b"new")
    real = os.fsync

    def late(descriptor: int) -> None:
        path.write_bytes(b"theirs")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", late)
    with pytest.raises(AirflowError, match="was changed by another program"):
        step.do()
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"theirs", ["passwords"])


def test_fifo_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "airflow.cfg"
    os.mkfifo(path)
    with pytest.raises(AirflowError, match="cannot be replaced: Not a regular file"):
        Replacement(str(path), b"old", b"new").do()


@AS_ROOT
def test_immutable_file_is_found_before_anything_is_done(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stub: containers may not set the attribute."""
    validate_replaceable(str(cfg))
    monkeypatch.setattr(replacement, "_flags", lambda _descriptor: 0x80010)
    with pytest.raises(AirflowError, match=r"it is immutable\. Nothing was changed\. Take the attribute away"):
        validate_replaceable(str(cfg))

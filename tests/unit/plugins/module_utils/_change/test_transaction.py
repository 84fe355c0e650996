# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps that are done completely or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._change.replacement import Replacement
from ansible_collections.fleetops.airflow.plugins.module_utils._change.transaction import Step, transact
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError


@pytest.fixture
def cfg(tmp_path: Path) -> Path:
    path = tmp_path / "airflow.cfg"
    path.write_bytes(b"old")
    path.chmod(0o640)
    return path


class Reading(Step):
    """What lets a server read the file; it fails as it is told to."""

    restarts = True

    def __init__(self, cfg: Path, fails_with: tuple[bytes, ...] = ()) -> None:
        self.cfg, self.fails_with = cfg, fails_with
        self.read: list[bytes] = []

    def do(self) -> None:
        self.read.append(self.cfg.read_bytes())
        if self.read[-1] in self.fails_with:
            raise AirflowError("no.", clue=1)

    undo = do

    def outcome(self) -> str:
        return "Answered."


def replacement(cfg: Path) -> Replacement:
    return Replacement(str(cfg), b"old", b"new")


def test_a_change_that_takes_effect(cfg: Path) -> None:
    reading = Reading(cfg)
    transact([replacement(cfg), reading], rollback=True)
    assert reading.read == [b"new"]
    assert cfg.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("rollback", "fails_with", "content", "rolled_back", "message"),
    [
        (True, (b"new",), b"old", True, r"no\. .*/airflow\.cfg was rolled back\. Answered\."),
        (
            True,
            (b"new", b"old"),
            b"old",
            False,
            r"no\. .* was rolled back, but the server did not recover: no\. Check this host\.",
        ),
        (False, (b"new",), b"new", False, "no. .* keeps the change, because rollback is off"),
    ],
)
def test_a_change_that_does_not(
    cfg: Path, rollback: bool, fails_with: tuple[bytes, ...], content: bytes, rolled_back: bool, message: str
) -> None:
    with pytest.raises(AirflowError, match=message) as error:
        transact([replacement(cfg), Reading(cfg, fails_with)], rollback)
    assert error.value.details == {"rolled_back": rolled_back, "clue": 1}
    assert cfg.read_bytes() == content


def test_a_restart_without_a_change_is_tried_once(cfg: Path) -> None:
    reading = Reading(cfg, fails_with=(b"old",))
    with pytest.raises(AirflowError, match=r"^no\.$") as error:
        transact([reading], rollback=True)
    assert reading.read == [b"old"]
    assert error.value.details == {"rolled_back": False, "clue": 1}


class Noted(Step):
    """A step that only says when it is done and undone."""

    def __init__(self, notes: list[str], name: str, fails: bool = False) -> None:
        self.notes, self.name, self.fails = notes, name, fails

    def do(self) -> None:
        self.notes.append("do " + self.name)
        if self.fails:
            raise AirflowError(self.name + " failed.")

    def undo(self) -> None:
        self.notes.append("undo " + self.name)


def test_files_are_as_before_when_the_server_reads_them_again(cfg: Path) -> None:
    notes: list[str] = []
    reading = Reading(cfg)
    steps: list[Step] = [Noted(notes, "password"), replacement(cfg), reading, Noted(notes, "check", fails=True)]
    with pytest.raises(AirflowError, match=r"^check failed\. .* was rolled back\. Answered\.$") as error:
        transact(steps, rollback=True)
    assert notes == ["do password", "do check", "undo check", "undo password"]
    assert reading.read == [b"new", b"old"]
    assert error.value.details == {"rolled_back": True}


@pytest.mark.parametrize("rollback", [True, False])
def test_steps_before_a_file_that_cannot_be_replaced_are_undone(tmp_path: Path, rollback: bool) -> None:
    notes: list[str] = []
    steps: list[Step] = [Noted(notes, "password"), replacement(tmp_path / "missing"), Noted(notes, "never")]
    with pytest.raises(AirflowError, match="cannot be replaced") as error:
        transact(steps, rollback)
    assert notes == ["do password", "undo password"]
    assert error.value.details == {}


def test_without_rollback_all_steps_of_a_change_stay(cfg: Path) -> None:
    notes: list[str] = []
    with pytest.raises(AirflowError, match="keeps the change"):
        transact([Noted(notes, "password"), replacement(cfg), Reading(cfg, (b"new",))], rollback=False)
    assert notes == ["do password"]
    assert cfg.read_bytes() == b"new"

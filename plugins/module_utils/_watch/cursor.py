# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a watcher knows, on disk: replaced as a whole, for its owner alone, and used by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import time
from typing import Any

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

_FORMAT = 1
_HANDLED = ".handled"
_OLD = 7 * 86400  # seconds


def file_name(name: str) -> str:
    """The name of an API as that of a file. Names that differ in the signs that a file name lacks differ here too."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    if plain == name and not name.startswith("."):
        return plain
    return f"{plain.lstrip('.')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def handled_name(event_id: str) -> str:
    """The name of the file by which who acts on events says that one has been acted on."""
    return hashlib.sha256(event_id.encode()).hexdigest()[:32] + _HANDLED


class Memory:
    """The same for one process, which forgets it."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.state: dict[str, Any] = state or {}
        self.outbox: list[dict[str, Any]] = []

    def save(self) -> None:
        """There is nowhere to save it."""

    def woken(self) -> bool:
        """Nobody does that."""
        return False

    def is_handled(self, event_id: str) -> bool:  # noqa: ARG002  (as Cursor has it)
        """Nobody says so."""
        return False


class Cursor(Memory):
    """``state`` is what is known; ``outbox`` has the events that are told by it and have not been handed over yet.

    ``name`` becomes the name of the file. Raises AirflowError where the file cannot be read, or is in use.
    """

    def __init__(self, folder: str, name: str) -> None:
        super().__init__()
        base = os.path.join(folder, file_name(name))
        self.path = base + ".json"
        self._wake = base + ".wake"
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            self._lock = os.open(base + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise AirflowError(
                f"What is known of {name!r} cannot be written to {folder}: {error.strerror}. Set state_folder to a "
                "directory that the user of this process may write to."
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise AirflowError(f"{self.path} is in use: another process watches {name!r} already.") from None
        self.state, self.outbox = self._read()
        self._remove_old(folder)

    def close(self) -> None:
        """Let others use it."""
        os.close(self._lock)

    def save(self) -> None:
        """Write it down, so that it is there after a crash too."""
        text = json.dumps({"format": _FORMAT, "state": self.state, "outbox": self.outbox})
        new = self.path + ".new"
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with open(file, "w", encoding="utf-8", closefd=False) as stream:
                stream.write(text)
            os.fsync(file)
        finally:
            os.close(file)
        os.replace(new, self.path)
        folder = os.open(os.path.dirname(self.path), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def woken(self) -> bool:
        """Whether somebody has made the file NAME.wake beside it, which is then taken away."""
        try:
            os.unlink(self._wake)
        except FileNotFoundError:
            return False
        return True

    def is_handled(self, event_id: str) -> bool:
        """Whether who acts on events has made the file for this one, which is then taken away."""
        try:
            os.unlink(os.path.join(os.path.dirname(self.path), handled_name(event_id)))
        except OSError:
            return False
        return True

    @staticmethod
    def _remove_old(folder: str) -> None:
        """What was said of events that nobody waits for."""
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError):
                if name.endswith(_HANDLED) and os.stat(path).st_mtime < time.time() - _OLD:
                    os.unlink(path)

    def _read(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        try:
            with open(self.path, encoding="utf-8") as stream:
                known = json.load(stream)
            if known["format"] != _FORMAT:
                raise ValueError
            return dict(known["state"]), list(known["outbox"])
        except FileNotFoundError:
            return {}, []
        except (ValueError, TypeError, KeyError):
            os.close(self._lock)
            raise AirflowError(
                f"{self.path} is not what was written there. Put it back, or remove it: then what has happened "
                "since it was last right is not told."
            ) from None

# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was done to mend something, line by line, and whether it may be done once more."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, Callable, Iterator, Mapping

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

LONGEST_WINDOW = 7 * 86400.0  # the longest time over which anything is limited


class Journal:
    """``journal.jsonl`` in a folder has an entry a line, and ``limits.json`` when each rule did what to what."""

    def __init__(self, folder: str, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock

    def count(self, rule: str, subject: str, window: float) -> int:
        """How often the rule has acted on the subject in the last ``window`` seconds. Writes nothing, no lock."""
        return len(self._recent(self._times().get(f"{rule} {subject}", []), window))

    def begin(self, entry: Mapping[str, Any], limit: int | None, window: float) -> tuple[bool, int]:
        """Write down that something is about to be done, unless that was done ``limit`` times already.

        Returns whether it may be done, and how often it was done before.
        """
        key = f"{entry['rule']} {entry['subject']}"
        with self._locked():
            times = self._times()
            before = len(self._recent(times.get(key, []), window))
            allowed = limit is None or before < limit
            if allowed:
                times[key] = [*times.get(key, []), self._clock()]
            kept = {name: self._recent(those, LONGEST_WINDOW) for name, those in times.items()}
            self._replace({name: those for name, those in kept.items() if those})
            self._append({**entry, "step": "begin" if allowed else "stopped"})
            return allowed, before

    def write(self, entry: Mapping[str, Any]) -> None:
        """Write down how it ended, or anything else."""
        with self._locked():
            self._append(entry)

    def _recent(self, times: list[float], window: float) -> list[float]:
        """Those within the window. After a clock was set back, what lies in the future counts as done just now."""
        now = self._clock()
        return [min(when, now) for when in times if when > now - window]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            lock = os.open(self._path("journal.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._not_written(error) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        except OSError as error:  # a disk that is full, a file that belongs to another user
            raise self._not_written(error) from None
        finally:
            os.close(lock)

    def _not_written(self, error: OSError) -> AirflowError:
        return AirflowError(
            f"The journal cannot be written in {self._folder}: {error.strerror}. Nothing was done. Name another folder."
        )

    def _times(self) -> dict[str, list[float]]:
        path = self._path("limits.json")
        try:
            with open(path, encoding="utf-8") as file:
                return {str(key): [float(when) for when in times] for key, times in json.load(file).items()}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise AirflowError(
                f"{path} cannot be read: {error.strerror}. How often rules have acted is not known, and none may act. "
                "Run as the user to whom it belongs."
            ) from None
        except (AttributeError, TypeError, ValueError):
            raise AirflowError(
                f"{path} is not what was written there, so how often rules have acted is not known, and none may act. "
                "Put it back, or remove it."
            ) from None

    def _replace(self, times: Mapping[str, list[float]]) -> None:
        path = self._path("limits.json")
        with open(os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(times, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".new", path)

    def _append(self, entry: Mapping[str, Any]) -> None:
        when = datetime.fromtimestamp(self._clock(), timezone.utc).isoformat(timespec="milliseconds")
        line = json.dumps({"time": when, **entry}, sort_keys=False) + "\n"
        file = os.open(self._path("journal.jsonl"), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with open(file, "a+b") as stream:
            if stream.tell() and os.pread(file, 1, stream.tell() - 1) != b"\n":
                stream.write(b"\n")  # the last line was cut off: it spoils no other
            stream.write(line.encode())
            stream.flush()
            os.fsync(file)

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)

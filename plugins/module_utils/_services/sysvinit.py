# SPDX-License-Identifier: GPL-3.0-or-later
"""A script in /etc/init.d as a service manager."""

from __future__ import annotations

import os

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._services.managers import run

FOLDER = "/etc/init.d"


class Sysvinit:
    """An init script, asked to ``stop`` and to ``start``, which LSB wants to succeed where it is so already."""

    interposes = True

    def __init__(self, name: str, folder: str = FOLDER) -> None:
        self._path = os.path.join(folder, name)

    def __str__(self) -> str:
        return "the init script %s" % self._path

    def exists(self) -> bool:
        return os.path.isfile(self._path) and os.access(self._path, os.X_OK)

    def stop(self, timeout: float) -> None:
        self._run("stop", timeout)

    def start(self, timeout: float) -> None:
        self._run("start", timeout)

    def failure(self) -> str | None:
        return None  # a script does not watch what it has started

    def outputs(self) -> list[str]:
        return []

    def words(self) -> str:
        return ""

    def _run(self, verb: str, timeout: float) -> None:
        done = run("%s %s" % (self._path, verb), [self._path, verb], timeout)
        if done.status != 0:
            raise AirflowError(
                "%s %s ended with status %d: %s" % (self._path, verb, done.status, done.output or "no output")
            )


def scripts() -> list[str]:
    """The names of the scripts that this host has."""
    return sorted(name for name in os.listdir(FOLDER) if Sysvinit(name).exists()) if os.path.isdir(FOLDER) else []

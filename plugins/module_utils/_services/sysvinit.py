# SPDX-License-Identifier: GPL-3.0-or-later
"""A script in /etc/init.d as a service manager."""

from __future__ import annotations

import os

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import ServiceDefinition
from ansible_collections.fleetops.airflow.plugins.module_utils._host.trust import writable_by_others
from ansible_collections.fleetops.airflow.plugins.module_utils._services.managers import COMMAND_LIMIT, run

FOLDER = "/etc/init.d"


class Sysvinit:
    """An init script, asked to ``stop`` and to ``start``, which LSB wants to succeed where it is so already."""

    interposes = True
    reload_hint = ""

    def __init__(self, name: str, folder: str = FOLDER) -> None:
        self._path = os.path.join(folder, name)

    def __str__(self) -> str:
        return "the init script %s" % self._path

    def exists(self) -> bool:
        return os.path.isfile(self._path) and os.access(self._path, os.X_OK)

    def definition(self) -> ServiceDefinition:
        """A script does not tell what it starts."""
        return ServiceDefinition(str(self), [], {}, None)

    def main_pid(self) -> int | None:
        return None

    def stop(self) -> None:
        self._run("stop")

    def start(self) -> None:
        self._run("start")

    def start_dependents(self) -> None:
        """A script knows of none."""

    def failure(self) -> str | None:
        return None  # a script does not watch what it has started

    def outputs(self) -> list[str]:
        return []

    def words(self) -> str:
        return ""

    def _run(self, verb: str) -> None:
        found = writable_by_others(self._path) if os.geteuid() == 0 else None
        if found:
            raise AirflowError(
                "%s is not run as root: users other than root can change %s. Give it to root alone."
                % (self._path, found)
            )
        done = run("%s %s" % (self._path, verb), [self._path, verb], COMMAND_LIMIT)
        if done.status != 0:
            raise AirflowError(
                "%s %s ended with status %d: %s" % (self._path, verb, done.status, done.output or "no output")
            )


def scripts() -> list[str]:
    """The names of the scripts that this host has."""
    return sorted(name for name in os.listdir(FOLDER) if Sysvinit(name).exists()) if os.path.isdir(FOLDER) else []

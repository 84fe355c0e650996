# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd as a service manager.

Which unit a process belongs to stands in /proc. ``systemctl``, a small C program, is started only where a unit has to
be restarted, or is asked for by its name.
"""

from __future__ import annotations

import os
import shlex
import time

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._services.managers import Ended, run

_TIMEOUT = 30  # seconds that systemd may take to answer what it has in its memory
_SUFFIX = ".service"
_ABSENT = ("not-found", "masked", "error", "bad-setting")


class Systemd:
    """A service unit of the system's own systemd."""

    interposes = True

    def __init__(self, unit: str) -> None:
        self.unit = unit_name(unit)
        self._started = 0.0
        self._restarts = "0"

    def __str__(self) -> str:
        return "the unit %s" % self.unit

    def exists(self) -> bool:
        """:raises AirflowError: if there is such a unit, and it cannot be started."""
        state = self.show("LoadState").get("LoadState", "")
        if state in _ABSENT[1:]:
            raise AirflowError("%s cannot be used: systemd says %s." % (str(self).capitalize(), state))
        return state not in _ABSENT

    def main_pid(self) -> int:
        """The unit's main process; 0 if it does not run."""
        return int(self.show("MainPID").get("MainPID", "0"))

    def arguments(self) -> list[str]:
        """The command of the unit in words."""
        _before, _found, rest = self.show("ExecStart").get("ExecStart", "").partition("argv[]=")
        return _split(rest.partition(" ; ")[0])

    def environment(self) -> dict[str, str]:
        """What the unit itself gives its processes: its environment files, over its own settings."""
        shown = self.show("Environment", "EnvironmentFiles")
        found = dict(_pairs(_split(shown.get("Environment", ""))))
        for path in shown.get("EnvironmentFiles", "").split("\n"):
            try:
                with open(path.partition(" (ignore_errors=")[0], encoding="utf-8") as file:
                    lines = [line.strip() for line in file]
            except (OSError, UnicodeDecodeError):
                continue
            for line in lines:
                if line and not line.startswith(("#", ";")):
                    name, _equals, value = line.partition("=")
                    found[name.strip()] = " ".join(_split(value))
        return found

    def user(self) -> str | None:
        """The user that its processes run as. None for root."""
        return self.show("User").get("User") or None

    def stop(self, timeout: float) -> None:
        self._checked("stop", self._systemctl("stop", max(timeout, _TIMEOUT)))

    def start(self, timeout: float) -> None:
        self._started = time.time()
        # A unit that failed too often a moment ago would be refused.
        self._systemctl("reset-failed", _TIMEOUT)
        self._checked("start", self._systemctl("start", max(timeout, _TIMEOUT)))
        self._restarts = self.show("NRestarts").get("NRestarts", "0")

    def failure(self) -> str | None:
        shown = self.show("ActiveState", "Result", "NRestarts", "ExecMainStatus")
        state, result = shown.get("ActiveState", ""), shown.get("Result", "")
        if state in ("failed", "inactive"):
            return "systemd says that %s is %s (%s, exit status %s)" % (
                self.unit,
                state,
                result,
                shown.get("ExecMainStatus", "unknown"),
            )
        if shown.get("NRestarts", "0") != self._restarts:
            return "systemd had to start %s again (%s)" % (self.unit, result)
        return None

    def outputs(self) -> list[str]:
        return []

    def words(self) -> str:
        since = "@%d" % self._started
        options = ["--unit", self.unit, "--since", since, "--output", "cat", "--no-pager"]
        try:
            return run("journalctl", ["journalctl", *options], _TIMEOUT).output
        except AirflowError:
            return ""

    def show(self, *properties: str) -> dict[str, str]:
        """Properties of the unit as ``systemctl show`` prints them; a repeated one has a line for each."""
        options = [word for name in properties for word in ("--property", name)]
        done = self._systemctl("show", _TIMEOUT, *options)
        found: dict[str, str] = {}
        for line in self._checked("show", done).output.splitlines():
            name, equals, value = line.partition("=")
            if equals:
                found[name] = found[name] + "\n" + value if name in found else value
        return found

    def _systemctl(self, verb: str, timeout: float, *options: str) -> Ended:
        arguments = ["systemctl", verb, "--no-pager", *options, "--", self.unit]
        return run("systemctl %s %s" % (verb, self.unit), arguments, timeout)

    def _checked(self, verb: str, done: Ended) -> Ended:
        if done.status != 0:
            raise AirflowError(
                "systemctl %s %s ended with status %d: %s" % (verb, self.unit, done.status, done.output or "no output")
            )
        return done


def is_running() -> bool:
    """Whether systemd is this host's service manager, by the test that systemd documents (sd_booted)."""
    return os.path.isdir("/run/systemd/system")


def unit_name(service: str) -> str:
    return service if service.endswith(_SUFFIX) else service + _SUFFIX


def units_like(word: str) -> list[str]:
    """Names of the units that have ``word`` in them, for an error that helps."""
    arguments = ["systemctl", "list-unit-files", "--no-pager", "--no-legend", "--type", "service", "*%s*" % word]
    lines = run("systemctl", arguments, _TIMEOUT).output.splitlines()
    return sorted(line.split()[0] for line in lines if line.strip())


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, equals, value in (word.partition("=") for word in words) if equals]

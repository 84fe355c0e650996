# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd as a service manager.

Which unit a process belongs to stands in /proc. ``systemctl``, a small C program, is started only where a unit has to
be restarted, or is asked for by its name.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
import time

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError, Incomplete
from ansible_collections.fleetops.airflow.plugins.module_utils._host.files import read_foreign
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import ServiceDefinition
from ansible_collections.fleetops.airflow.plugins.module_utils._host.trust import in_chroot
from ansible_collections.fleetops.airflow.plugins.module_utils._services.managers import (
    COMMAND_LIMIT,
    Ended,
    TimedOut,
    run,
)

_MOST_BYTES = 1 << 20  # of an EnvironmentFile
_TIMEOUT = 30  # seconds that systemd may take to answer what it has in its memory
_START_LIMIT = 3600  # seconds for a unit to start, of those that set no limit of their own
_SUFFIX = ".service"
# Other kinds of units may depend on a service too.
_SUFFIXES = (_SUFFIX, ".socket", ".target", ".timer", ".path", ".mount", ".automount", ".swap", ".slice", ".scope")
_OPTIONS = ("--no-pager", "--no-ask-password")
_DOWN = ("inactive", "failed")
# By which properties a unit names those that systemd stops with it.
_PROPAGATE_STOP = ("RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo")
_NAME = re.compile(r"[A-Za-z0-9:_.\\@-]+\Z")  # all that the name of a unit may consist of
_UNIT_DIRECTORIES = tuple(base + "/systemd/system" for base in ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"))
_ABSENT = ("not-found", "masked", "error", "bad-setting")


class Systemd:
    """A service unit of the system's own systemd."""

    interposes = True
    reload_hint = " If the unit's files have changed, run systemctl daemon-reload."

    def __init__(self, unit: str) -> None:
        self.unit = unit_name(unit)
        self._started = 0.0
        self._restarts = "0"
        self._dependents: list[str] = []

    def __str__(self) -> str:
        return "the unit %s" % self.unit

    def exists(self) -> bool:
        """:raises AirflowError: if there is such a unit, and it cannot be started."""
        state = self.show("LoadState").get("LoadState", "")
        if state in _ABSENT[1:]:
            raise AirflowError("%s cannot be used: systemd says %s." % (str(self).capitalize(), state))
        return state not in ("", *_ABSENT)

    def own_name(self) -> str | None:
        """The unit's name if this is an alias of it. None if it is not, or there is no such unit."""
        shown = self.show("Id", "LoadState")
        name = shown.get("Id", self.unit)
        return name if name != self.unit and shown.get("LoadState") == "loaded" else None

    def main_pid(self) -> int:
        """The unit's main process; 0 if it does not run."""
        return int(self.show("MainPID").get("MainPID", "0"))

    def definition(self) -> ServiceDefinition:
        """What the unit gives its processes, as systemd has read it."""
        given = ("Environment", "EnvironmentFiles", "UnsetEnvironment")
        shown = self.show("ExecStart", "User", "WorkingDirectory", "PassEnvironment", *given)
        environment = _environment(*(shown.get(name, "") for name in given))
        _before, _found, rest = shown.get("ExecStart", "").partition("argv[]=")
        user = shown.get("User") or None
        directory = shown.get("WorkingDirectory", "").lstrip("!-")
        if directory == "~":
            directory = os.path.expanduser("~" + (user or "root"))
        return ServiceDefinition(
            name=str(self),
            arguments=_split(rest.partition(" ; ")[0]),
            environment=environment or {},
            user=user,
            directory=directory or "/",
            is_known=environment is not None and not shown.get("PassEnvironment"),
        )

    def needs_reload(self) -> bool:
        """Whether the unit's files have changed since systemd has read them."""
        return self.show("NeedDaemonReload").get("NeedDaemonReload") == "yes"

    def is_down(self) -> bool:
        return self.show("ActiveState").get("ActiveState") in _DOWN

    def stop(self) -> None:
        self._dependents = self._active_dependents()
        self._checked("stop", self._systemctl("stop", COMMAND_LIMIT))

    def start(self) -> None:
        self._started = time.time()
        # A unit that failed too often a moment ago would be refused.
        self._systemctl("reset-failed", _TIMEOUT)
        try:
            done = self._systemctl("start", _START_LIMIT)
        except TimedOut:
            # The job goes on without the command. What it does must not be interrupted: it may be a migration.
            raise Incomplete("systemd is still starting %s after %d s." % (self.unit, _START_LIMIT)) from None
        self._checked("start", done)
        self._restarts = self.show("NRestarts").get("NRestarts", "0")

    def start_dependents(self) -> None:
        missing = [unit for unit in self._dependents if Systemd(unit).is_down()]
        if missing:
            done = run("systemctl", ["systemctl", "start", *_OPTIONS, "--", *missing], _START_LIMIT)
            if done.status != 0:
                raise AirflowError(
                    "Units that were stopped with %s could not be started again: %s. systemctl start ended with status "
                    "%d: %s" % (self.unit, ", ".join(missing), done.status, done.output or "no output")
                )

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
        """Properties of the unit as ``systemctl show`` prints them; a repeated one has a line for each. None of a name
        that no unit can have: systemctl would take it for a pattern, and mean every unit that fits.
        """
        if not _NAME.match(self.unit):
            return {}
        options = [word for name in properties for word in ("--property", name)]
        done = self._systemctl("show", _TIMEOUT, *options)
        found: dict[str, str] = {}
        for line in self._checked("show", done).raw.splitlines():
            name, equals, value = line.partition("=")
            if equals:
                found[name] = found[name] + "\n" + value if name in found else value
        return found

    def _active_dependents(self) -> list[str]:
        """The units that run and that systemd stops when it stops this one: its dependents, theirs, and so on."""
        seen, found, units = {self.unit}, [], [self.unit]
        while units:
            shown = Systemd(units.pop()).show(*_PROPAGATE_STOP)
            for unit in {word for words in shown.values() for word in words.split()} - seen:
                seen.add(unit)
                units.append(unit)
                if not Systemd(unit).is_down():
                    found.append(unit)
        return sorted(found)

    def _systemctl(self, verb: str, timeout: float, *options: str) -> Ended:
        arguments = ["systemctl", verb, *_OPTIONS, *options, "--", self.unit]
        return run("systemctl %s %s" % (verb, self.unit), arguments, timeout)

    def _checked(self, verb: str, done: Ended) -> Ended:
        if done.status != 0:
            raise AirflowError(
                "systemctl %s %s ended with status %d: %s" % (verb, self.unit, done.status, done.output or "no output")
            )
        return done


def is_running() -> bool:
    """Whether systemd is this host's service manager, by the test that systemd documents (sd_booted), and in reach."""
    return os.path.isdir("/run/systemd/system") and not in_chroot()


def may_be_alias(service: str) -> bool:
    """Whether a link has the name, without which it is none. To ask systemd takes longer."""
    paths = (os.path.join(directory, unit_name(service)) for directory in _UNIT_DIRECTORIES)
    return any(map(os.path.islink, paths))


def unit_name(service: str) -> str:
    return service if service.endswith(_SUFFIXES) else service + _SUFFIX


def units_like(word: str) -> list[str]:
    """Names of the units that have ``word`` in them, for an error that helps."""
    arguments = ["systemctl", "list-unit-files", "--no-pager", "--no-legend", "--type", "service", "*%s*" % word]
    lines = run("systemctl", arguments, _TIMEOUT).raw.splitlines()
    return sorted(line.split()[0] for line in lines if line.strip())


def _environment(own: str, files: str, unset: str) -> dict[str, str] | None:
    """What a unit gives its processes: its environment files, over its own settings, without what it unsets. None if
    one of the files cannot be read.
    """
    found = dict(_pairs(_split(own)))
    for line in filter(None, files.split("\n")):
        pattern, _separator, ignores = line.partition(" (ignore_errors=")
        for path in sorted(glob.glob(pattern)) or ([] if ignores.startswith("yes") else [pattern]):
            try:
                found.update(_variables(read_foreign(path, _MOST_BYTES).decode("utf-8")))
            except (OSError, UnicodeDecodeError):
                return None
    unwanted = set(_split(unset))
    return {name: value for name, value in found.items() if not {name, "%s=%s" % (name, value)} & unwanted}


def _variables(content: str) -> dict[str, str]:
    """Those of an environment file."""
    found = {}
    for line in map(str.strip, content.replace("\\\n", "").splitlines()):
        if line and not line.startswith(("#", ";")):
            name, _equals, value = line.partition("=")
            found[name.strip()] = " ".join(_split(value))
    return found


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, equals, value in (word.partition("=") for word in words) if equals]

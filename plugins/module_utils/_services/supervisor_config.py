# SPDX-License-Identifier: GPL-3.0-or-later
"""What the configuration of a supervisord says: where the daemon is reached, and what it gives to its programs."""

from __future__ import annotations

import configparser
import glob
import os
import re
import shlex
from types import MappingProxyType
from typing import Mapping

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError, with_option
from ansible_collections.fleetops.airflow.plugins.module_utils._host import proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.files import read_foreign
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

_MOST_BYTES = 1 << 22  # of one file
_MOST_FILES = 1000


class Program(Record):
    """A section ``[program:...]``. ``environment`` is all that its processes get; the rest is None where the section
    does not say it.
    """

    arguments: list[str]
    environment: dict[str, str]
    user: str | None
    directory: str | None


class SupervisorConfig:
    """The files that one supervisord reads: the one that it was started with, and what that includes.

    :raises AirflowError: if one cannot be read.
    """

    def __init__(self, daemon: proc.Process) -> None:
        self.path = _path_of(daemon)
        self._daemon = daemon
        self._environment = proc.environment(daemon.pid) or {}
        self._sections: dict[str, dict[str, str]] = {}
        self._read(self.path)
        for path in self._included():
            self._read(path)

    def address(self) -> tuple[str, tuple[str, str] | None]:
        """The URL of supervisord's interface, and its login where it wants one.

        :raises AirflowError: if it has none.
        """
        if self._option("unix_http_server", "file"):
            section, url = "unix_http_server", "unix://" + self._option("unix_http_server", "file")
        elif self._option("inet_http_server", "port"):
            host, _colon, port = self._option("inet_http_server", "port").rpartition(":")
            section, url = "inet_http_server", "http://%s:%s" % (host if host not in ("", "*") else "127.0.0.1", port)
        else:
            raise AirflowError(
                "%s opens no interface ([unix_http_server] or [inet_http_server]), so supervisord cannot be asked to "
                "restart anything. Add one%s." % (self.path, with_option("restart_command", ", or use restart_command"))
            )
        for source in ("supervisorctl", section):
            username, password = self._option(source, "username"), self._option(source, "password")
            if username and not password.startswith("{SHA}"):
                return url, (username, password)
        return url, None

    def program(self, name: str) -> Program | None:
        """What a program is given, as the files are now: supervisord may have read them when they were others.

        :param name: as ``supervisorctl status`` lists it, with its group if that has another name.
        """
        group, _colon, process = name.rpartition(":")
        for section in self._sections:
            kind, _colon, program = section.partition(":")
            if kind != "program":
                continue
            numbers = self._numbers(section)
            for number in numbers:
                variables = {
                    "program_name": program,
                    "group_name": group or program,
                    "process_num": number,
                    "numprocs": len(numbers),
                }
                pattern = self._option(section, "process_name", variables) or program
                if pattern == process:
                    return self._program(section, variables)
        return None

    def _program(self, section: str, variables: Mapping[str, object]) -> Program:
        given = _pairs(self._option("supervisord", "environment", variables))
        given.update(_pairs(self._option(section, "environment", variables)))
        variables = {**variables, **{"ENV_" + name: value for name, value in given.items()}}
        return Program(
            arguments=_words(self._option(section, "command", variables)),
            environment={**self._environment, **given},
            user=self._option(section, "user", variables) or None,
            directory=self._option(section, "directory", variables) or None,
        )

    def _numbers(self, section: str) -> range:
        count, start = self._option(section, "numprocs"), self._option(section, "numprocs_start")
        first = int(start) if start.isdigit() else 0
        return range(first, first + min(int(count), _MOST_FILES) if count.isdigit() else first + 1)

    def _read(self, path: str) -> None:
        """Take up what one file says. A later file overrides an earlier one, option by option."""
        parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(";", "#"))
        try:
            parser.read_string(read_foreign(path, _MOST_BYTES).decode("utf-8"))
        except OSError as error:
            raise AirflowError(
                "%s, the configuration of supervisord (pid %d), cannot be read: %s."
                % (path, self._daemon.pid, error.strerror)
            ) from None
        except (ValueError, configparser.Error) as error:
            # What the file holds is not quoted: it may be anything.
            number = getattr(error, "lineno", None) or next(
                (line for line, _text in getattr(error, "errors", ())), None
            )
            raise AirflowError(
                "%s%s is not a configuration that supervisord (pid %d) can read."
                % (path, ", line %d," % number if number else "", self._daemon.pid)
            ) from None
        here = os.path.dirname(os.path.abspath(path))
        for section in parser.sections():
            options = {name: value.replace("%(here)s", here) for name, value in parser.items(section)}
            self._sections.setdefault(section, {}).update(options)

    def _included(self) -> list[str]:
        found: list[str] = []
        for pattern in self._option("include", "files").split():
            found += sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(self.path)), pattern)))
        return found[:_MOST_FILES]

    def _option(self, section: str, name: str, variables: Mapping[str, object] = MappingProxyType({})) -> str:
        value = self._sections.get(section, {}).get(name, "").strip()
        if name not in ("environment", "command"):
            value = value.strip("\"'")
        known = {"ENV_" + name: value for name, value in self._environment.items()}
        return _expanded(value, {"host_node_name": os.uname().nodename, **known, **variables})


def _expanded(value: str, variables: Mapping[str, object]) -> str:
    """The value with ``%(name)s``, ``%(name)02d`` and ``%%`` filled in, as far as the names are known."""

    def one(match: re.Match[str]) -> str:
        if match.group(0) != "%%" and match.group(1) not in variables:
            return match.group(0)
        try:
            return match.group(0) % variables
        except (TypeError, ValueError):
            return match.group(0)

    return re.sub(r"%%|%\(([^)]+)\)0?\d{0,3}[sd]", one, value)


def _pairs(text: str) -> dict[str, str]:
    """``A=1,B="two, three"``, as supervisor reads it."""
    lexer = shlex.shlex(text)
    lexer.wordchars += "/.+-():"
    try:
        tokens = list(lexer)
    except ValueError:
        return {}
    found = {}
    for position in range(0, len(tokens) - 2, 4):
        name, equals, value = tokens[position : position + 3]
        if equals == "=":
            found[name] = value.strip("'\"")
    return found


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def _given_file(arguments: list[str]) -> str | None:
    """The file that the options of a supervisord name, as getopt reads them: ``-c F``, ``-cF``, ``-nc F``, ``-ncF``,
    ``--configuration F``, ``--configuration=F``, and any part of that long name from ``--c`` on.
    """
    for position, argument in enumerate(arguments):
        following = arguments[position + 1] if position + 1 < len(arguments) else None
        name, equals, value = argument.partition("=")
        if len(name) > 2 and "--configuration".startswith(name):
            return value if equals else following
        found = re.match(r"-[nst]*c(.*)", argument, re.DOTALL)  # those options of one letter that take no value
        if found:
            return found.group(1) or following
    return None


def _path_of(daemon: proc.Process) -> str:
    """The file this supervisord reads: its -c option, else the places that supervisor documents."""
    folder = proc.working_directory(daemon.pid) or "/"
    arguments = daemon.arguments
    given = _given_file(arguments)
    if given:
        return os.path.join(folder, given)
    prefix = os.path.dirname(os.path.dirname(next((part for part in arguments if part.endswith("/supervisord")), "//")))
    candidates = [
        os.path.join(prefix, "etc/supervisord.conf"),
        os.path.join(prefix, "supervisord.conf"),
        os.path.join(folder, "supervisord.conf"),
        os.path.join(folder, "etc/supervisord.conf"),
        "/etc/supervisord.conf",
        "/etc/supervisor/supervisord.conf",
    ]
    return next((path for path in candidates if os.path.isfile(path)), candidates[-1])

# SPDX-License-Identifier: GPL-3.0-or-later
"""One host as a task meets it: its airflow.cfg, its release, its server, and what its service says."""

from __future__ import annotations

import os
import re

from ansible_collections.fleetops.airflow.plugins.module_utils._host.launchers import PYTHON, airflow_command
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import Server
from ansible_collections.fleetops.airflow.plugins.module_utils._host.trust import home_of, user_named
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import SERVER_COMMANDS, VersionFamily

# What starts another program and leaves the environment as it is, unless its own words say otherwise.
_TRANSPARENT = ("bash", "dash", "dumb-init", "ionice", "nice", "nohup", "sh", "stdbuf", "timeout", "tini")
# What a service may run beside a server of the API.
_COMPONENTS = ("celery", "dag-processor", "flower", "kerberos", "scheduler", "standalone", "triggerer", "worker")


def airflow_in(arguments: list[str]) -> tuple[str, str] | None:
    """The program ``airflow`` and its command (``webserver``, ``scheduler``, ...) in the command of a service, also
    through a shell or a wrapper. None if they do not stand there.
    """
    words = _words(arguments)
    for program, command in zip(words, words[1:]):
        if os.path.basename(program) == "airflow" and command in (*SERVER_COMMANDS, *_COMPONENTS):
            return program, command
    return None


def _words(arguments: list[str]) -> list[str]:
    """Those of a command, with those of a command for a shell in it."""
    return [word.strip("'\";&()") for argument in arguments for word in argument.split()]


def _starts_airflow_itself(arguments: list[str]) -> bool:
    """Whether all that stands between a service manager and Airflow is known to leave the environment as it is."""
    found = airflow_in(arguments)
    if found is None:
        return False
    words = _words(arguments)
    first, *between = words[: words.index(found[0]) + 1]
    program = os.path.basename(first)
    if program == "airflow":
        return not between
    if re.match(PYTHON, program):
        return airflow_command(arguments) is not None
    if program not in _TRANSPARENT:
        return False
    return not any("=" in word or word in ("source", ".", "export") or re.match(r"-\w*[li]", word) for word in between)


class ServiceDefinition(Record):
    """What a service says of itself, for when it does not run. Empty where that is not known."""

    name: str  # for a sentence
    arguments: list[str]
    environment: dict[str, str]
    user: str | None
    directory: str = "/"
    is_known: bool = False  # whether its manager tells the environment of what it starts

    @property
    def home(self) -> str:
        """What ``~`` stands for in its processes."""
        user = self.user or "root"
        if user.isdigit():  # User=1000 of a unit
            return self.environment.get("HOME") or home_of(int(user))
        return self.environment.get("HOME") or os.path.expanduser("~" + user)

    @property
    def tells_path(self) -> bool:
        """Whether it is known which airflow.cfg its server reads: a script that it starts may name another one."""
        return "AIRFLOW_HOME" in self.environment or "AIRFLOW_CONFIG" in self.environment or self.tells_environment

    @property
    def tells_environment(self) -> bool:
        """Whether all of its server's environment is known: it starts Airflow itself, and no script that sets more."""
        return self.is_known and _starts_airflow_itself(self.arguments)


class Sources(Record):
    """Where it is known from, each for a sentence."""

    path: str
    version: str


class Host(Record):
    path: str  # airflow.cfg as the user knows it
    real_path: str  # the same without symbolic links: what is replaced
    home: str
    version: str
    family: VersionFamily
    interpreter: str | None
    servers: list[Server]  # the running servers that the task means; all read this file
    bystanders: list[Server]  # running servers that read this file too, and that the task does not mean
    others: list[Server]  # those that read other files
    service_names: frozenset[str]  # under which service managers know the server
    sources: Sources  # of the path and the version
    service: ServiceDefinition  # what the service says of itself, if it is named and its server does not run
    packages: str | None = None  # the directory that has the Airflow package

    @property
    def server(self) -> Server | None:
        """The first of the servers; None where none is to be seen."""
        return self.servers[0] if self.servers else None

    @property
    def arguments(self) -> list[str]:
        """What the server was started with, or will be as far as its service tells."""
        return self.server.process.arguments if self.server else self.service.arguments

    @property
    def environment(self) -> dict[str, str]:
        """The server's environment, or what is known of the one that its service gives it."""
        return self.server.environment if self.server else self.service.environment

    @property
    def user_home(self) -> str:
        """What ``~`` stands for in the server's processes."""
        if self.server:
            return self.environment.get("HOME") or home_of(self.server.process.uid)
        return self.service.home

    @property
    def uids(self) -> set[int]:
        """The users as whom the server is known to run, or to be started."""
        found = {server.process.uid for server in self.servers}
        if self.service.is_known:
            found |= {user.uid for user in [user_named(self.service.user or "root")] if user}
        return found

    def in_view(self, path: str) -> str:
        """Where on this host a file is that the server knows by this path."""
        return self.server.view.path(path) if self.server and self.server.view else path

    @property
    def is_environment_known(self) -> bool:
        """Whether that environment is all that the server has, or will have: a script may set more."""
        return self.server is not None or self.service.tells_environment

    @property
    def environment_of(self) -> str:
        """Whose environment that is, for a sentence."""
        return self.server.title if self.server else self.service.name

    @property
    def serves(self) -> bool:
        """Whether a server of the API belongs to the task; a named service may be another program of Airflow.

        Where its command does not tell, as a script's does not, it is so unless another server reads the file.
        """
        if self.servers:
            return True
        found = airflow_in(self.service.arguments)
        if found is None:
            return not self.service.arguments or not self.bystanders
        return found[1] in SERVER_COMMANDS

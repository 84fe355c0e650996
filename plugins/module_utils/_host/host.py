# SPDX-License-Identifier: GPL-3.0-or-later
"""One host as a task meets it: its airflow.cfg, its release, its server, and what its service says."""

from __future__ import annotations

import os

from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import Server
from ansible_collections.fleetops.airflow.plugins.module_utils._host.trust import home_of
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import SERVER_COMMANDS, VersionFamily

# What a service may run beside a server of the API.
_COMPONENTS = ("celery", "dag-processor", "flower", "kerberos", "scheduler", "standalone", "triggerer", "worker")


def airflow_in(arguments: list[str]) -> tuple[str, str] | None:
    """The program ``airflow`` and its command (``webserver``, ``scheduler``, ...) in the command of a service, also
    through a shell or a wrapper. None if they do not stand there.
    """
    words = [word.strip("'\";&()") for argument in arguments for word in argument.split()]
    for program, command in zip(words, words[1:]):
        if os.path.basename(program) == "airflow" and command in (*SERVER_COMMANDS, *_COMPONENTS):
            return program, command
    return None


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
        found = airflow_in(self.arguments) if self.is_known else None
        return found is not None and found[0] in self.arguments[:2]


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
        if not self.server:
            return self.service.name
        names = sorted(self.service_names, key=len)
        return "the server (pid %d%s)" % (self.server.process.pid, ", service %s" % names[0] if names else "")

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

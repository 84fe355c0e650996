# SPDX-License-Identifier: GPL-3.0-or-later
"""One host as a task meets it: its airflow.cfg, its release, its server, and what its service says."""

from __future__ import annotations

from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import Server
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import VersionFamily


class ServiceDefinition(Record):
    """What a service says of itself, for when it does not run. Empty where that is not known."""

    name: str  # for a sentence
    arguments: list[str]
    environment: dict[str, str]
    user: str | None


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
    service_names: set[str]  # under which service managers know the server
    service: ServiceDefinition  # what the service says of itself, if it is named and its server does not run

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
    def environment_of(self) -> str:
        """Whose environment that is, for a sentence."""
        if not self.server:
            return self.service.name
        names = sorted(self.service_names, key=len)
        return "the server (pid %d%s)" % (self.server.process.pid, ", service %s" % names[0] if names else "")

    @property
    def serves(self) -> bool:
        """Whether a server of the API belongs to the task; a named service may be another program of Airflow."""
        commands = {word for word in self.service.arguments[1:4] if not word.startswith("-")}
        return bool(self.servers) or not commands or self.family.server_command in commands

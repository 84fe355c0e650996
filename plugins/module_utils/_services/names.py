# SPDX-License-Identifier: GPL-3.0-or-later
"""Under which names service managers know a server, as /proc tells. Asking the managers themselves is dearer."""

from __future__ import annotations

import os
from typing import Mapping

from ansible_collections.fleetops.airflow.plugins.module_utils._host import proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import Server
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

_UNIT = ".service"


class ServiceChoice(Record):
    """What a task says of the services that run Airflow."""

    names: tuple[str, ...] = ()
    manager: str = "auto"
    restart_command: str | None = None  # restarts them in place of a manager


def names_of(server: Server) -> set[str]:
    """The names under which ``service`` may mean this server."""
    program = program_of(server)
    if program:
        return {program}
    unit = unit_of(server.process)
    return {unit, unit[: -len(_UNIT)]} if unit else set()


def program_of(server: Server) -> str | None:
    """The program of supervisor that this server is. None if supervisor did not start it itself: what a program
    starts inherits its environment.
    """
    if supervisord_of(server.process):
        return supervisor_program(server.environment)
    return None


def unit_of(process: proc.Process) -> str | None:
    """The system's service unit whose control group the process is in.

    What somebody starts by hand may be in the group of the service that let him in: the unit's main process tells.
    """
    path = proc.control_group(process.pid)
    parts = [part for part in path.split("/") if part]
    if "user.slice" in parts:
        return None
    for part in parts:
        if part.endswith(_UNIT):
            return part
    return None


def supervisord_of(process: proc.Process) -> proc.Process | None:
    """The supervisord that started this process itself."""
    parent = proc.read_process(process.parent)
    return parent if parent and is_supervisord(parent) else None


def supervisor_program(environment: Mapping[str, str]) -> str | None:
    """The program name that supervisord put into the environment of what it started."""
    name, group = environment.get("SUPERVISOR_PROCESS_NAME"), environment.get("SUPERVISOR_GROUP_NAME")
    if not name:
        return None
    return name if not group or group == name else "%s:%s" % (group, name)


def is_supervisord(process: proc.Process) -> bool:
    arguments = process.arguments
    return any(os.path.basename(part) == "supervisord" for part in arguments[:2]) or arguments[1:3] == [
        "-m",
        "supervisor.supervisord",
    ]

# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process runs by its own words: a command of Airflow, or something that only starts another program."""

from __future__ import annotations

import os
import re

from ansible_collections.fleetops.airflow.plugins.module_utils._host import proc
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import SERVER_COMMANDS

PYTHON = r"(?:python|pypy)[\d.]*(?:-\w+)?(?: \(deleted\))?$"  # an upgrade replaces the file of a running process
# What may stand between a service manager and Airflow: it ends when Airflow does, and has nothing else to do. Nothing
# is here that lets users in, or that starts what users have asked for.
_PROGRAMS = frozenset(
    (
        *("bash", "busybox", "catatonit", "chpst", "chrt", "dash", "doas", "dumb-init", "env", "flock", "ionice"),
        *("ksh", "micromamba", "nice", "nohup", "numactl", "pixi", "prlimit", "runuser", "setpriv", "setsid", "sh"),
        *("stdbuf", "su", "sudo", "taskset", "time", "timeout", "tini", "tini-static", "uv", "zsh"),
    )
)
# The same, written in Python.
_PYTHON_TOOLS = frozenset(("conda", "hatch", "mamba", "pdm", "pipenv", "pipx", "poetry"))
_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")  # options of Python that take the next word
# A worker is none of them: it ends in its own time, when its tasks have ended.
_COMPONENTS = ("dag-processor", "flower", "kerberos", "scheduler", "standalone", "triggerer")


def airflow_command(arguments: list[str]) -> str | None:
    """The command in ``python [options] /somewhere/airflow COMMAND`` or ``python [options] -m airflow COMMAND``.

    None if the Python runs anything else, whatever stands behind it.
    """
    words = iter(arguments[1:])
    for word in words:
        if word == "-m" or re.match(r"-[A-Za-z]*m$", word):
            return next(words, None) if next(words, "") == "airflow" else None
        if word in _WITH_VALUE:
            next(words, None)
        elif word == "-c" or not word.startswith("-"):
            return next(words, None) if os.path.basename(word) == "airflow" else None
    return None


def is_launcher(process: proc.Process) -> bool:
    """Whether all that a process is there for is what it has started: a shell, a wrapper, ``airflow standalone``."""
    program = os.path.basename(proc.executable(process.pid) or "")
    if program in _PROGRAMS:
        return True
    if not re.match(PYTHON, program):
        return False
    script = next((word for word in process.arguments[1:] if not word.startswith("-")), "")
    return os.path.basename(script) in _PYTHON_TOOLS or airflow_command(process.arguments) in (
        "standalone",
        *SERVER_COMMANDS,
    )


def components_of(pid: int) -> list[proc.Process]:
    """What a service consists of: its main process, and the commands of Airflow that launchers there have started.

    Not what these have started in turn, such as the tasks of a scheduler, which end in their own time.
    """
    main = proc.read_process(pid)
    if main is None:
        return []
    everything = proc.descendants(pid)
    found, launchers = [main], {pid} if is_launcher(main) else set()
    for process in everything:
        if process.parent in launchers:
            found.append(process)
            if is_launcher(process):
                launchers.add(process.pid)
    return [process for process in found if process.pid in launchers or _is_component(process)]


def _is_component(process: proc.Process) -> bool:
    return airflow_command(process.arguments) in (*SERVER_COMMANDS, *_COMPONENTS) or any(
        word.startswith(("airflow ", "gunicorn: ")) for word in process.arguments[:1]
    )

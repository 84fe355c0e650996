# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Airflow lives on a host: its interpreter, its release and its airflow.cfg, without starting it."""

from __future__ import annotations

import glob
import os
import re
from typing import Mapping

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

_METADATA = re.compile(r"apache_airflow-(?P<version>[^-]+)\.(?:dist|egg)-info$")
_TRAMPOLINE = r"""'''exec' (?:"([^"]+)"|'([^']+)'|(\S+)) """


def interpreter_of(executable: str) -> str | None:
    """The Python in the first lines of an ``airflow`` script. None if it is no Python script (a wrapper, say)."""
    try:
        with open(executable, "rb") as file:
            first, second = file.readline(4096), file.readline(4096)
    except OSError:
        return None
    if not first.startswith(b"#!"):
        return None
    words = first[2:].decode("utf-8", "replace").split()
    if words and os.path.basename(words[0]).startswith("python"):
        return words[0]
    # For a path that is too long or holds spaces, installers write a shell line that starts Python.
    trampoline = re.match(_TRAMPOLINE, second.decode("utf-8", "replace"))
    if trampoline:
        return next(group for group in trampoline.groups() if group)
    return None


def interpreter_behind(mapped_files: list[str]) -> str | None:
    """The Python of the environment whose compiled modules a process has loaded.

    A process that has overwritten its arguments tells no more than this: its program is the base interpreter of the
    environment.
    """
    for path in mapped_files:
        prefix, separator, _rest = path.partition("/site-packages/")
        if separator:
            for name in ("python3", "python"):
                python = os.path.join(os.path.dirname(os.path.dirname(prefix)), "bin", name)
                if os.access(python, os.X_OK):
                    return python
    return None


def version_beside(interpreter: str) -> str | None:
    """The release whose package metadata lies where this interpreter imports from.

    :raises AirflowError: if there are several, as a half-finished upgrade leaves them.
    """
    versions = {version for version, _folder in _packages(interpreter)}
    if len(versions) > 1:
        raise AirflowError(
            "Below %s lie several Airflow releases: %s. Say which one runs with airflow_version."
            % (os.path.dirname(os.path.dirname(interpreter)), ", ".join(sorted(versions)))
        )
    return versions.pop() if versions else None


def folder_beside(interpreter: str) -> str | None:
    """The site-packages folder with that metadata, and so with the package."""
    return next((folder for _version, folder in _packages(interpreter)), None)


def _packages(interpreter: str) -> list[tuple[str, str]]:
    prefix = os.path.dirname(os.path.dirname(interpreter))
    folders: dict[str, str] = {}
    for pattern in ("lib*/python3*/site-packages", "lib*/python3*/dist-packages", "local/lib/python3*/dist-packages"):
        for folder in glob.glob(os.path.join(glob.escape(prefix), pattern)):
            folders.setdefault(os.path.realpath(folder), folder)  # lib64 is a link to lib in most environments
    found = []
    for folder in folders.values():
        for path in glob.glob(os.path.join(glob.escape(folder), "apache_airflow-*-info")):
            match = _METADATA.search(path)
            if match:
                found.append((match.group("version"), folder))
    return found


def find_executable(given: str | None, environment: Mapping[str, str]) -> str | None:
    """The ``airflow`` program: the one given, else the first on PATH.

    :raises AirflowError: if the one given is no file.
    """
    if given:
        path = os.path.expanduser(given)
        if not os.path.isfile(path):
            raise AirflowError("airflow_executable %s is no file on this host." % path)
        return path
    for folder in environment.get("PATH", "").split(os.pathsep):
        path = os.path.join(folder, "airflow")
        if folder and os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return None


def airflow_home(environment: Mapping[str, str], user_home: str) -> str:
    """AIRFLOW_HOME as Airflow finds it in this environment; ``user_home`` is what ``~`` stands for there."""
    return _expanded(environment.get("AIRFLOW_HOME") or "~/airflow", user_home)


def config_path(environment: Mapping[str, str], user_home: str) -> str:
    """The airflow.cfg that Airflow reads in this environment (AIRFLOW_CONFIG, else the one in its home)."""
    if environment.get("AIRFLOW_CONFIG"):
        return _expanded(environment["AIRFLOW_CONFIG"], user_home)
    return os.path.join(airflow_home(environment, user_home), "airflow.cfg")


def _expanded(path: str, user_home: str) -> str:
    return user_home + path[1:] if path == "~" or path.startswith("~/") else path

# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Airflow lives on a host: its interpreter, its release and its airflow.cfg, without starting it."""

from __future__ import annotations

import glob
import os
import re
from typing import Iterable, Mapping

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.files import place_of, read_foreign
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

_MOST_BYTES = 1 << 20
_METADATA = re.compile(r"apache_airflow-(?P<version>[^-]+)\.(?:dist|egg)-info$")
_TRAMPOLINE = r"""'''exec' (?:"([^"]+)"|'([^']+)'|(\S+)) """


def interpreter_of(executable: str) -> str | None:
    """The Python in the first lines of an ``airflow`` script. None if it is no Python script (a wrapper, say)."""
    try:
        with place_of(os.path.abspath(executable)) as place:
            descriptor = place.open()
        with os.fdopen(descriptor, "rb") as file:
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


class Package(Record):
    """An Airflow package: its version, and the directory that it lies in (site-packages)."""

    version: str
    directory: str


def packages_in(directories: Iterable[str]) -> list[Package]:
    """The Airflow packages in these directories, each once, as the package itself says. Metadata that a removed or
    half-upgraded package has left does not count.
    """
    found: dict[tuple[int, int], Package] = {}
    for directory in directories:
        try:
            status = os.stat(directory)
        except OSError:
            continue
        same = (status.st_dev, status.st_ino)  # lib64 is a link to lib in most environments
        if same in found:
            continue
        names = [_METADATA.search(path) for path in glob.glob(os.path.join(glob.escape(directory), "apache_airflow-*"))]
        versions = {name.group("version") for name in names if name}
        own = _version_of_package(os.path.join(directory, "airflow")) if len(versions) != 1 else None
        if own or (len(versions) == 1 and os.path.isdir(os.path.join(directory, "airflow"))):
            found[same] = Package(own or versions.pop(), directory)
    return list(found.values())


def _version_of_package(package: str) -> str | None:
    """None if there is no package, or it does not say."""
    for name in ("version.py", "__init__.py"):  # version.py up to 2.5
        try:
            text = read_foreign(os.path.join(package, name), _MOST_BYTES).decode("utf-8", "replace")
        except OSError:
            continue
        match = re.search(r"""(?m)^(?:__version__|version)(?:: str)? = ["']([^"']+)["']""", text)
        if match:
            return match.group(1)
    return None


def directories_beside(interpreter: str) -> list[str]:
    """The directories of an interpreter's own prefix that it imports packages from."""
    prefix = glob.escape(os.path.dirname(os.path.dirname(interpreter)))
    patterns = ("lib*/python3*/site-packages", "lib*/python3*/dist-packages", "local/lib*/python3*/*-packages")
    return [path for pattern in patterns for path in sorted(glob.glob(os.path.join(prefix, pattern)))]


def is_closed_environment(interpreter: str) -> bool:
    """Whether an interpreter is that of a virtual environment without the packages of the system and of its user."""
    path = os.path.join(os.path.dirname(os.path.dirname(interpreter)), "pyvenv.cfg")
    try:
        text = read_foreign(path, _MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return False
    return not re.search(r"(?im)^include-system-site-packages\s*=\s*true\s*$", text)


def directories_in(environment: Mapping[str, str], user_home: str) -> list[str]:
    """Those that the environment of a process adds: of PYTHONPATH, and of its user (``pip install --user``)."""
    own = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(path)]
    if not environment.get("PYTHONNOUSERSITE"):
        base = environment.get("PYTHONUSERBASE") or os.path.join(user_home, ".local")
        own += sorted(glob.glob(os.path.join(glob.escape(base), "lib/python3*/site-packages")))
    return own


def directories_mapped(mapped_files: list[str]) -> list[str]:
    """Those that a running process has loaded compiled modules from."""
    found = []
    for path in mapped_files:
        match = re.match(r"(.*/(?:site|dist)-packages)/", path)
        if match and match.group(1) not in found:
            found.append(match.group(1))
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
    return expanded(environment.get("AIRFLOW_HOME") or "~/airflow", environment, user_home)


def config_path(environment: Mapping[str, str], user_home: str) -> str:
    """The airflow.cfg that Airflow reads in this environment (AIRFLOW_CONFIG, else the one in its home)."""
    if environment.get("AIRFLOW_CONFIG"):
        return expanded(environment["AIRFLOW_CONFIG"], environment, user_home)
    return os.path.join(airflow_home(environment, user_home), "airflow.cfg")


def expanded(value: str, environment: Mapping[str, str], user_home: str = "") -> str:
    """A value as Airflow expands it: variables of its environment, and a user's home directory at the beginning, until
    nothing changes any more.

    :param user_home: what ``~`` stands for.
    """
    for _round in range(20):  # a variable may name itself
        now = re.sub(r"\$(?:(\w+)|\{([^}]*)\})", lambda match: _variable(match, environment), value, flags=re.ASCII)
        if user_home and (now == "~" or now.startswith("~/")):
            now = user_home + now[1:]
        elif user_home and now.startswith("~"):
            now = os.path.expanduser(now)
        if now == value:
            break
        value = now
    return value


def _variable(match: re.Match[str], environment: Mapping[str, str]) -> str:
    return environment.get(match.group(1) or match.group(2) or "", match.group(0))

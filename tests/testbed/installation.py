# SPDX-License-Identifier: GPL-3.0-or-later
"""Install an Airflow release and supervisor from pinned requirements, each into its own venv."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from testbed import pythons
from testbed.errors import TestbedError
from testbed.locked import locked
from testbed.releases import Release
from testbed.stopwatch import timed

REQUIREMENTS = Path(__file__).parent / "requirements"


@dataclass(frozen=True)
class Installation:
    """An installed release: its venv's ``python`` and ``executable`` (airflow), and supervisor's bin folder."""

    release: Release
    folder: Path
    supervisor_bin: Path

    @property
    def python(self) -> Path:
        return self.folder / "venv/bin/python"

    @property
    def executable(self) -> Path:
        return self.folder / "venv/bin/airflow"


class Installer:
    """Makes virtual environments with uv. ``say`` is told, in a sentence, of everything that takes time."""

    def __init__(self, root: Path, uv: Path, say: Callable[[str], None]) -> None:
        self.root = root.resolve()  # what is installed has the path in it
        self._uv = uv
        self._say = say

    def airflow(self, release: Release) -> Installation:
        """Return the installation of ``release`` below ``root``, installing what is not there yet."""
        python = pythons.find(release.pythons)
        self.root.mkdir(parents=True, exist_ok=True)
        with locked(self.root / "lock"):
            supervisor = self.root / "supervisor"
            self.venv(supervisor, pythons.find(("3.11", "3.12", "3.13", "3.10")), REQUIREMENTS / "supervisor.txt")
            # The folder's name has the interpreter's version, so that another one makes another venv.
            folder = self.root / f"{release.name}-{_name(python)}"
            self.venv(folder / "venv", python, REQUIREMENTS / f"airflow-{release.name}.txt")
        return Installation(release, folder, supervisor / "bin")

    def venv(self, folder: Path, python: Path, requirements: Path) -> None:
        """Make ``folder`` a venv with exactly ``requirements``; a whole one is kept, a half-made one made again.

        Raises TestbedError with uv's own words when it cannot.
        """
        marker = folder / ".complete"
        wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
        if marker.is_file() and marker.read_text() == wanted:
            return
        self._say(f"installing {requirements.stem} with {_name(python)} into {folder}")
        shutil.rmtree(folder, ignore_errors=True)
        self._run("venv", "--python", str(python), str(folder))
        # The file is the whole resolved set: resolving again could only add to it. Compiled as pip would do it, because
        # on the hosts this is read-only, and each start of a server would compile for ten seconds.
        pip_install = ["pip", "install", "--no-deps", "--compile-bytecode", "--python", str(folder / "bin/python")]
        pip_install += ["-r", str(requirements)]
        build = requirements.with_suffix(".build.txt")
        if build.is_file():  # what today's build tools would not build any more
            pip_install += ["--build-constraints", str(build)]
        with timed("installs"):
            self._run(*pip_install)
        marker.write_text(wanted)

    def _run(self, *args: str) -> None:
        temporary = self.root / "tmp"
        temporary.mkdir(exist_ok=True)
        environment = {
            "UV_CACHE_DIR": str(self.root / "uv-cache"),
            **os.environ,
            "TMPDIR": str(temporary),  # uv leaves lock files there when it builds a package
            "UV_PYTHON_DOWNLOADS": "never",
            "SLUGIFY_USES_TEXT_UNIDECODE": "yes",  # python-slugify of old releases asks for this choice
        }
        done = subprocess.run(
            [str(self._uv), "--quiet", *args], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise TestbedError(f"uv {' '.join(args)} failed (rc {done.returncode}):\n{done.stderr.strip()}")


def _name(python: Path) -> str:
    return f"py{pythons.version_of(python)}"


def find_uv(checkout: Path) -> Path:
    """Return uv beside this Python, else of the checkout, else of PATH. Raises TestbedError if there is none."""
    nearest = os.pathsep.join([str(Path(sys.executable).parent), str(checkout / ".build/venv/bin")])
    found = shutil.which("uv", path=nearest) or shutil.which("uv")
    if not found:
        raise TestbedError("uv is neither in .build/venv nor on PATH: `make test` installs it there.")
    return Path(found)

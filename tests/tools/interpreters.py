# SPDX-License-Identifier: GPL-3.0-or-later
"""The Pythons of managed hosts that this machine has, and a PATH on which ansible-test finds them.

As a script: one line for each version, with its interpreter or the reason why there is none.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

HOST_VERSIONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13")


def search_path() -> list[Path]:
    """Return the folders to look in: PATH, then those where pyenv and uv keep interpreters."""
    home = Path.home()
    kept = [
        *Path(os.environ.get("PYENV_ROOT", home / ".pyenv")).glob("versions/*/bin"),
        *Path(os.environ.get("UV_PYTHON_INSTALL_DIR", home / ".local/share/uv/python")).glob("cpython-*/bin"),
    ]
    return [Path(folder) for folder in os.get_exec_path()] + sorted(kept)


def ask(candidate: Path, version: str) -> Path | None:
    """Return where the interpreter behind ``candidate`` really is, or None if it is not that ``version``.

    A version manager's shim has the right name and yet may answer with an error, so only a run tells.
    """
    code = "import sys; print('%d.%d' % sys.version_info[:2], getattr(sys, '_base_executable', sys.executable))"
    try:
        done = subprocess.run([candidate, "-I", "-c", code], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode or not done.stdout.startswith(version + " "):
        return None
    return Path(done.stdout.split(" ", 1)[1].strip())


def find(version: str) -> Path | None:
    """Return the first interpreter of ``version`` (such as "3.8"), or None."""
    for folder in search_path():
        candidate = folder / f"python{version}"
        if candidate.exists() and (interpreter := ask(candidate, version)):
            return interpreter
    return None


def find_all() -> dict[str, Path | None]:
    """Return version -> interpreter, or None where the machine has none."""
    return {version: find(version) for version in HOST_VERSIONS}


def path_without_shims(first: list[Path]) -> str:
    """Return a PATH with the folders ``first``, then the usual ones, but none whose Python is only a shim."""
    usual = [Path(folder) for folder in os.get_exec_path() if Path(folder).name != "shims"]
    return os.pathsep.join(dict.fromkeys(map(str, first + usual)))


if __name__ == "__main__":
    for wanted, interpreter in find_all().items():
        print(wanted, interpreter or "none on this machine")

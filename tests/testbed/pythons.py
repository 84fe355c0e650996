# SPDX-License-Identifier: GPL-3.0-or-later
"""Find an interpreter of a given Python version on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from testbed.errors import MissingPython


def find(versions: Sequence[str]) -> Path:
    """Return the first interpreter found, trying ``versions`` ("3.11", ...) in their order.

    Looked at: the interpreter that runs this, then PATH, then pyenv's versions.
    Raises MissingPython when there is none.
    """
    for version in versions:
        for candidate in _candidates(version):
            if version_of(candidate) == version:
                return candidate
    wanted = " or ".join(versions)
    raise MissingPython(
        f"Python {wanted} is needed, and there is none on PATH or among pyenv's versions "
        f"(this is Python {sys.version_info.major}.{sys.version_info.minor}). Install one, for instance "
        f"`apt-get install python{versions[0]} python{versions[0]}-venv` or `pyenv install {versions[0]}`."
    )


def _candidates(version: str) -> Iterator[Path]:
    # The base interpreter, not this virtual environment's: a venv on a venv breaks when the first goes.
    yield Path(getattr(sys, "_base_executable", sys.executable))
    for name in (f"python{version}", "python3"):
        found = shutil.which(name)
        if found:
            yield Path(found)
    # pyenv's shims on PATH refuse versions that are installed but not switched on: look behind them.
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    if os.access(pyenv, os.R_OK | os.X_OK):  # it may be another user's
        yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)


def version_of(python: Path) -> str | None:
    """Return "3.11" and the like, or None for something that does not run."""
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run([str(python), "-c", program], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None

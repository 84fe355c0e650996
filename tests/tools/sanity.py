# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ``ansible-test sanity`` on a copy of the checkout, on every Python that it knows and this machine has.

ansible-test wants the collection as a real folder (no link) in its own git repository below
``ansible_collections``, keeps its caches in HOME, and hands its pip neither the user's settings
nor any PIP_* variable. So it gets a copy, a HOME and a pip.conf below .build/sanity-*, one for each ansible-core.
"""

from __future__ import annotations

import ast
import configparser
import os
import shutil
import subprocess
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from types import SimpleNamespace

from ansible_test._internal.python_requirements import get_venv_packages
from ansible_test._util.target.common.constants import CONTROLLER_PYTHON_VERSIONS, REMOTE_ONLY_PYTHON_VERSIONS
from interpreters import find_all, path_without_shims

ROOT = Path(__file__).resolve().parents[2]
CORE_VERSION = installed_version("ansible-core")
WORK = ROOT / ".build" / f"sanity-{CORE_VERSION}"
COPY = WORK / "ansible_collections/fleetops/airflow"
HOME = WORK / "home"
BIN = Path(sys.executable).parent


def copy_checkout() -> None:
    """Make COPY what git would see in the checkout now."""
    shutil.rmtree(COPY, ignore_errors=True)
    COPY.mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", COPY], check=True)
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listing.split("\0")):
        source, target = ROOT / name, COPY / name
        if source.exists():  # else it is deleted, and that is not committed yet
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def place_get_pip() -> None:
    """Put the stand-in for the get-pip script, and the pip that it runs, where ansible-test looks."""
    cache = HOME / ".ansible/test/cache"
    pip = cache / "pip-to-install-with"
    shutil.rmtree(pip, ignore_errors=True)
    # Each ansible-core pins the pip of its virtual environments. It can do so for each Python, and does not.
    version = get_venv_packages(SimpleNamespace(version="any"))["pip"]
    subprocess.run(
        [BIN / "uv", "pip", "install", "--quiet", "--python", sys.executable, "--target", pip, f"pip=={version}"],
        check=True,
    )
    shutil.copy2(ROOT / "tests/tools/get_pip.py", cache / f"get_pip_{version.replace('.', '_')}.py")


def write_pip_settings() -> None:
    """Write the settings that pip has here, from files and environment, to the pip.conf of the other HOME."""
    settings = configparser.RawConfigParser()
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    for line in listing.splitlines():
        name, value = line.split("=", 1)
        section, option = name.rsplit(".", 1)
        section = section.replace(":env:", "global")
        if not settings.has_section(section):
            settings.add_section(section)
        settings.set(section, option, ast.literal_eval(value))
    settings.read_dict({"global": {"quiet": "2"}})
    path = HOME / ".config/pip/pip.conf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)  # an address of an index may hold a password
    with path.open("w") as file:
        settings.write(file)


def main() -> int:
    """Return the exit code of ansible-test."""
    copy_checkout()
    place_get_pip()
    write_pip_settings()
    interpreters = find_all()
    folders = [BIN] + [found.parent for found in interpreters.values() if found]
    environment = {**os.environ, "HOME": str(HOME), "PATH": path_without_shims(folders)}
    for name in ("ANSIBLE_CONFIG", "ANSIBLE_COLLECTIONS_PATH", "PYTHONPATH"):
        environment.pop(name, None)
    print(f"ansible-test of ansible-core {CORE_VERSION}", flush=True)
    done = subprocess.run(
        [BIN / "ansible-test", "sanity", "--venv", "--color", "no", "--truncate", "0", *sys.argv[1:]],
        cwd=COPY,
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    # Of the versions that it does know, ansible-test itself says which it did not find.
    for version in interpreters:
        if version not in CONTROLLER_PYTHON_VERSIONS + REMOTE_ONLY_PYTHON_VERSIONS:
            print(
                f"SKIPPED: sanity on Python {version}: ansible-core {CORE_VERSION} does not support it; "
                "`make sanity CORE=2.19` runs it"
            )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the plugins' unit tests on each Python that a managed host may have, as far as this machine has it.

Only what runs on managed hosts is tested here. The tests see ansible's module_utils; the
controller's libraries (Jinja2, PyYAML, ...) are absent, so that an import of them fails here
rather than on a host.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from interpreters import find_all

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / ".build"
CORE = BUILD / "hosts/ansible-core"
REQUIREMENTS = ROOT / "tests/requirements"
UV = Path(sys.executable).with_name("uv")
TESTS = ("tests/unit/plugins/modules", "tests/unit/plugins/module_utils")


def is_older(stamp: Path, requirements: Path) -> bool:
    """Return whether ``stamp`` is missing or was made before ``requirements`` changed."""
    return not stamp.exists() or stamp.stat().st_mtime < requirements.stat().st_mtime


def install_core() -> None:
    """Unpack ansible-core alone, without what it needs on a controller, into CORE."""
    requirements = REQUIREMENTS / "hosts-core.txt"
    stamp = CORE / ".ready"
    if is_older(stamp, requirements):
        subprocess.run(
            [
                UV,
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--python",
                sys.executable,
                "--target",
                CORE,
                "-r",
                requirements,
            ],
            check=True,
        )
        stamp.touch()


def environment(version: str, interpreter: Path) -> Path:
    """Return the Python of the virtual environment for ``version``, made when missing or outdated."""
    folder = BUILD / "hosts" / version
    python = folder / "bin/python"
    requirements = REQUIREMENTS / "hosts.txt"
    stamp = folder / ".ready"
    if is_older(stamp, requirements):
        subprocess.run([UV, "venv", "--quiet", "--clear", "--python", interpreter, folder], check=True)
        subprocess.run([UV, "pip", "install", "--quiet", "--python", python, "-r", requirements], check=True)
        stamp.touch()
    return python


def run_tests(version: str, interpreter: Path, tests: list[str]) -> tuple[int, str]:
    """Return pytest's exit code and output."""
    paths = os.pathsep.join([str(BUILD / "collections"), str(CORE)])
    done = subprocess.run(
        [environment(version, interpreter), "-m", "pytest", "-p", "no:cacheprovider", *sys.argv[1:], *tests],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "CFG_EXAMPLES": "300"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def main() -> int:
    """Return 0 when the tests passed on every interpreter found."""
    tests = [folder for folder in TESTS if (ROOT / folder).is_dir()]
    interpreters = find_all()
    found = {version: interpreter for version, interpreter in interpreters.items() if interpreter}
    install_core()
    failed = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        runs = {version: pool.submit(run_tests, version, interpreter, tests) for version, interpreter in found.items()}
        for version, run in runs.items():
            code, output = run.result()
            print(f"--- unit tests of the plugins on Python {version}\n{output}", flush=True)
            if code:
                failed.append(version)
    for version in interpreters:
        if version not in found:
            print(f"SKIPPED: unit tests on Python {version}: this machine has no python{version}")
    if failed:
        print("unit tests FAILED on Python", ", ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

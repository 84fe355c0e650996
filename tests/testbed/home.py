# SPDX-License-Identifier: GPL-3.0-or-later
"""Make an AIRFLOW_HOME as the release itself makes it: its own airflow.cfg, a SQLite database, users, DAGs."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from pathlib import Path

from testbed.errors import TestbedError
from testbed.installation import Installation
from testbed.locked import locked
from testbed.stopwatch import timed

DAGS = Path(__file__).parent / "dags"
USERS = {"admin": "Admin", "op": "Op", "viewer": "Viewer"}


def environment(installation: Installation, home: Path) -> dict[str, str]:
    """The whole environment of Airflow's processes.

    What the testbed wants different from the defaults is said here, so that airflow.cfg stays as the
    release wrote it. Nothing of [api] may ever be set here: it would win over the file.
    """
    return {
        **_bare_environment(installation, home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "10",  # tests add DAGs, and 300 s is long
        "AIRFLOW__SCHEDULER__PARSING_PROCESSES": "1",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def prepare(installation: Installation, home: Path, known_as: Path | None = None) -> None:
    """Make ``home`` (missing or empty) a copy of the release's initialised template, made on the first call.

    ``known_as`` is the path by which Airflow will know it, if that is another one.

    The template is made once, since that takes half a minute and the copy a fraction of a second.
    """
    template = installation.folder / "template"
    marker = template / ".complete"
    with locked(installation.folder / "template.lock"):
        if not marker.is_file():
            shutil.rmtree(template, ignore_errors=True)
            with timed("making a home"):
                _initialise(installation, template)
            marker.touch()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(home.iterdir()):
        raise TestbedError(f"{home} is not empty.")
    shutil.copytree(template, home, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".complete", "logs", "tmp"))
    for folder in ("logs", "tmp"):
        (home / folder).mkdir()
    shutil.copytree(DAGS, home / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    # The paths in airflow.cfg are absolute; the database holds none before a scheduler has run.
    cfg = home / "airflow.cfg"
    cfg.write_bytes(cfg.read_bytes().replace(os.fsencode(template), os.fsencode(known_as or home)))


def write_fake(installation: Installation, executable: Path) -> None:
    """Write the stand-in for the server, to be run by the release's own Python."""
    executable.parent.mkdir()
    source = Path(__file__).with_name("fake_webserver.py").read_text()
    executable.write_text(f"#!{installation.python}\n{source}")
    executable.chmod(0o755)


def passwords(home: Path) -> dict[str, str]:
    """The password of each user of ``home``, made at random with the template."""
    users: dict[str, str] = json.loads((home / "users.json").read_text())
    return users


def _bare_environment(installation: Installation, home: Path) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(home),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": os.pathsep.join([str(installation.executable.parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        "TMPDIR": str(home / "tmp"),  # Flask's caches stay there for ever
    }


def _initialise(installation: Installation, home: Path) -> None:
    home.mkdir(mode=0o700)
    (home / "tmp").mkdir()
    # Any command writes airflow.cfg when there is none, and writes AIRFLOW__* variables into it: have none.
    generation = installation.release.generation
    write_cfg = ("version",) if generation == "1.10" else ("config", "get-value", "core", "executor")
    _run([str(installation.executable), *write_cfg], home, _bare_environment(installation, home))
    users = {name: secrets.token_urlsafe(12) for name in USERS}
    order = {
        "migrate": installation.release.migrate,
        "users": [{"username": name, "password": users[name], "role": role} for name, role in USERS.items()],
    }
    program = Path(__file__).with_name("initialise_110.py" if generation == "1.10" else "initialise.py")
    env = {**environment(installation, home), **installation.release.initialise}
    _run([str(installation.python), str(program)], home, env, json.dumps(order))
    with open(os.open(home / "users.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(users, file)


def _run(command: list[str], home: Path, env: dict[str, str], stdin: str = "") -> None:
    done = subprocess.run(
        command,
        input=stdin,
        env=env,
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise TestbedError(f"{home} could not be initialised: {' '.join(command)}:\n{done.stdout[-3000:]}")

# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole story of fleetops.airflow on a real Airflow: `demo.py up` tells it, `demo.py down` ends it.

Everything lies in .demo/ of the checkout: virtual environments, caches, Airflow's home, Ansible's settings.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CHECKOUT / "tests"), str(CHECKOUT / "demo")]

from progress import Progress  # noqa: E402  (the path has to be set first)
from testbed import processes, pythons, releases  # noqa: E402
from testbed.errors import MissingPython, TestbedError  # noqa: E402
from testbed.installation import REQUIREMENTS, Installer  # noqa: E402
from testbed.instance import Airflow, free_port  # noqa: E402
from testbed.releases import Release  # noqa: E402
from testbed.rulebook import Rulebook  # noqa: E402
from testbed.runner import PlaybookResult, read_results  # noqa: E402

# The first one for which there is an interpreter: 2.11 does not run on Python 3.13.
VERSIONS = ("2.11.2", "3.3.2")
PLACE = CHECKOUT / ".demo"
HOME = PLACE / "airflow"  # AIRFLOW_HOME
ANSIBLE = PLACE / "ansible"  # its configuration and everything it writes
START = time.monotonic()
# The user of the story: one of those that the testbed makes, with the role Op.
USER = "op"
WRONG_PASSWORD = "the password is not that of"  # the first words of that diagnosis


@dataclass(frozen=True)
class Story:
    """What is different in the story between Airflow 2 and 3."""

    problem: str
    cause: str  # the first words of the diagnosis
    cure: str


STORIES = {
    "2": Story(
        """
        op is a user of this Airflow, and the password is right. But [api] auth_backends is as Airflow ships it, so
        the REST API does not accept passwords. The API's own answer is "403 Forbidden" and gives no reason. The
        module reports the cause, the evidence and the fix.
        """,
        "the login is right, but the API takes no passwords",
        """
        The role sets [api] auth_backends in airflow.cfg (nothing else in the file changes), restarts the API server,
        waits until it is healthy, finds that op exists, and verifies the login with a real request.
        """,
    ),
    "3": Story(
        """
        op is a user in this Airflow's database, and the password is right. But [core] auth_manager is as Airflow ships
        it: the simple auth manager, which does not know the users in the database. The module reports the cause, the
        evidence and the fix.
        """,
        WRONG_PASSWORD,
        """
        The role sets [core] auth_manager in airflow.cfg to that of FAB (nothing else in the file changes), restarts the
        API server, waits until it is healthy, finds that op exists, and verifies the login with a real request.
        """,
    ),
}


class DemoError(Exception):
    """Something is not as the story has it; the message says what."""


def main() -> int:
    """Do what the command line says and return the exit status."""
    parser = argparse.ArgumentParser(description="Show fleetops.airflow on a real Airflow.")
    parser.add_argument("command", choices=["up", "down"])
    command = parser.parse_args().command
    if not sys.platform.startswith("linux"):
        return complain("The demo needs Linux: it finds Airflow's processes through /proc.")
    try:
        up() if command == "up" else down()
    except (DemoError, TestbedError, OSError) as error:
        return complain(str(error))
    except KeyboardInterrupt:
        return complain("It was interrupted.")
    return 0


def complain(what: str) -> int:
    """Print the last words of a demo that stops early; returns the exit status."""
    print(f"\nThe demo stops here. {what}", file=sys.stderr)
    if processes.running_supervisord(HOME):
        print(f"Airflow still runs, its logs are in {HOME}; `make demo-down` ends it.", file=sys.stderr)
    return 1


def down() -> None:
    """End Airflow; what was installed stays for the next time."""
    processes.end(HOME)
    print("Nothing of the demo runs any more. What was installed stays, for the next `make demo`.")
    print(f"To remove that too: rm -rf {PLACE}")


def up() -> None:
    """Install, start, and tell the story."""
    release = choose_release()
    print(f"""\
This demo shows the collection on a real Airflow {release.version}, which it installs into .demo/ and starts on this
machine. It needs Linux, git, make, Python 3.11 to 3.13, 0.5 GB of disk space and packages from PyPI, and no root.
With Java 17 on PATH there is one more part, with ansible-rulebook. The whole demo takes about 6 minutes the
first time, on two cores. `make demo-down` ends what was started.""")
    airflow = prepare(release)
    story = STORIES[release.generation]

    heading("1. The problem: the right password, and the API rejects it")
    tell(story.problem)
    expect(
        "the call is rejected, with a diagnosis",
        playbook("trigger.yml"),
        lambda done: done.rc == 2 and cause_of(done).startswith(story.cause),
    )

    heading("2. The cure: the role fleetops.airflow.api_auth")
    tell(story.cure)
    expect(
        "the role changes the host and ends well",
        playbook("enable.yml", "--diff"),
        lambda done: done.rc == 0 and done.changed > 0,
    )

    heading("3. The same call again")
    tell("Now the API accepts it, and the module waits until the DAG run has ended.")
    expect(
        "the DAG run ends in success",
        playbook("trigger.yml"),
        lambda done: done.rc == 0 and returned(done, "airflow_dag_trigger")["dag_run"]["state"] == "success",
    )

    heading("4. The role again")
    tell("There is nothing left to do, so nothing is changed and nothing is restarted.")
    expect("nothing is changed", playbook("enable.yml", "--diff"), lambda done: done.rc == 0 and done.changed == 0)

    heading("5. A wrong password")
    tell("The API rejects the call too, and the diagnosis says so.")
    expect(
        "the call is rejected, with a diagnosis that names the password",
        playbook("trigger.yml", "-e", f"{USER}_password=wrong"),
        lambda done: done.rc == 2 and cause_of(done).startswith(WRONG_PASSWORD),
    )

    heading("6. At night: somebody sets auth_backends back")
    if shows_rulebook(release):
        remediation(airflow)
    elif release.generation != "2":
        say("left out: what the rulebook repairs in this demo is a setting of Airflow 2, for which no Python is here")
    else:
        say("left out: ansible-rulebook needs Java 17, and there is no java on PATH")

    heading("That is all")
    program = (PLACE / "ansible-venv/bin/ansible-playbook").relative_to(CHECKOUT)
    settings = (ANSIBLE / "ansible.cfg").relative_to(CHECKOUT)
    print(f"Airflow {release.version}:  {airflow.url}")
    print(f"Login:           {USER}, with the password {airflow.users[USER]}")
    print(f"Play on:         ANSIBLE_CONFIG={settings} {program} demo/trigger.yml")
    print("End it:          make demo-down")


# --- remediation ------------------------------------------------------------------------------------


def remediation(airflow: Airflow) -> None:
    """Break the configuration as somebody may do it at night, and have the rulebook repair it."""
    tell("""
        An ansible-rulebook watches the API as the user op. Somebody sets [api] auth_backends back to session and
        restarts the API server: op is rejected again. The rulebook detects it, finds the cause, runs the playbook
        remediate, which verifies the repair with a login, and keeps a journal.
    """)
    rulebook = watch(airflow)
    try:
        wait_for((rulebook.state / "airflow.json").exists, "the rulebook checks Airflow")
        say("the rulebook watches; now the configuration is broken")
        at = time.time()
        airflow.set_backends("airflow.api.auth.backend.session")
        end = rulebook.wait_for(lambda entry: entry["step"] == "end", at, 180)
        say(f"{time.time() - at:.0f} seconds later the journal has:")
        for entry in rulebook.entries():
            print(json.dumps({key: value for key, value in entry.items() if key != "why"}))
    finally:
        rulebook.kill()
    if end["outcome"] != "done":
        raise DemoError(f"This should be so, and is not: the configuration is repaired. {end}")
    expect("the call is accepted again", playbook("trigger.yml"), lambda done: done.rc == 0)


def watch(airflow: Airflow) -> Rulebook:
    """Start the collection's rulebook, which may do what its rules say to the host of the demo."""
    folder = PLACE / "rulebook"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    inventory = json.loads((ANSIBLE / "inventory.json").read_text())
    login = {"username": USER, "password": airflow.users[USER]}
    with open(os.open(folder / "login.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(login, file)
    (folder / "role.json").write_text(json.dumps({"remediate_become": False}))
    inventory["all"]["hosts"]["localhost"] = {
        "ansible_connection": "local",
        "ansible_python_interpreter": str(PLACE / "eda-venv/bin/python"),
    }
    variables = {
        "remediate_apis": [{"name": "airflow", "url": airflow.url}],
        "remediate_login_file": str(folder / "login.json"),
        "remediate_vars_file": str(folder / "role.json"),
        "remediate_watch": {"interval": 5, "unreachable_after": 60},
    }
    rulebook = Rulebook(PLACE / "eda-venv", folder, PLACE / "collections", inventory, variables)
    rulebook.start()
    return rulebook


def wait_for(condition: Callable[[], bool], what: str, timeout: float = 90) -> None:
    """Wait, but not for ever."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise DemoError(f"This should be so after {timeout:.0f} seconds, and is not: {what}.")
        time.sleep(0.2)


# --- before the story -------------------------------------------------------------------------------


def prepare_folder() -> None:
    """Make .demo/, and have every program that the demo starts keep its caches and temporary files there."""
    for folder in (PLACE, PLACE / "tmp", ANSIBLE):
        folder.mkdir(mode=0o700, exist_ok=True)
    os.environ["HOME"] = str(PLACE)
    os.environ["TMPDIR"] = str(PLACE / "tmp")
    os.environ["PIP_CACHE_DIR"] = str(PLACE / "pip-cache")
    os.environ["UV_CACHE_DIR"] = str(PLACE / "uv-cache")
    (ANSIBLE / "ansible.cfg").write_text(f"""\
[defaults]
callback_result_format = yaml
collections_path = {PLACE}/collections
home = {ANSIBLE}
inventory = {ANSIBLE}/inventory.json
remote_tmp = {ANSIBLE}/tmp
""")


def choose_release() -> Release:
    """The Airflow that an interpreter of this machine can run, found before anything is installed."""
    for version in VERSIONS:
        release = releases.release(version)
        with contextlib.suppress(MissingPython):
            pythons.find(release.pythons)
            return release
    wanted = sorted({python for version in VERSIONS for python in releases.release(version).pythons})
    raise DemoError(f"Python {wanted[0]} to {wanted[-1]} is needed, and none is on PATH or among pyenv's versions.")


def prepare(release: Release) -> Airflow:
    """Install everything and start Airflow as it is at the beginning of the story, whatever an earlier run has left."""
    prepare_folder()
    heading("Installing into .demo/, and starting")
    if HOME.exists():
        say("ending the Airflow of the last run; the new one starts with Airflow's default configuration")
        processes.end(HOME)
        shutil.rmtree(HOME)
    progress = Progress(plan(release), PLACE / "durations.json", say)
    say(f"this takes about {progress.left:.0f} s ({progress.source})")

    uv = PLACE / "uv-venv/bin/uv"
    with progress.step("uv", "uv, which installs the rest"):
        install_uv(uv)
    installer = Installer(PLACE, uv, lambda _what: None)  # the steps say what it does
    with progress.step("airflow", f"Airflow {release.version} and supervisor"):
        installation = installer.airflow(release)
    with progress.step("ansible", "ansible-core"):
        installer.venv(PLACE / "ansible-venv", Path(sys.executable), REQUIREMENTS / "ansible.txt")
    if shows_rulebook(release):
        with progress.step("rulebook", "ansible-rulebook"):
            installer.venv(PLACE / "eda-venv", Path(sys.executable), CHECKOUT / "tests/requirements/eda.txt")
    with progress.step("collection", "this collection, built and installed"):
        install_collection()
    airflow = Airflow(installation, HOME, free_port(8080))
    with progress.step("database", "Airflow's configuration, database and users"):
        airflow.prepare()
    with progress.step("start", "Airflow's API server and scheduler, until they are healthy"):
        airflow.start()
    write_inventory(airflow)
    say(f"Airflow is healthy at {airflow.url}")
    return airflow


def plan(release: Release) -> dict[str, float]:
    """The seconds of each step: as one run took on a machine of two cores, or 0 for what is there already."""
    rulebook = {"rulebook": 5.0} if shows_rulebook(release) else {}
    measured = {"uv": 21.0, "airflow": 15.0, "ansible": 4.0, **rulebook, "collection": 3.0, "database": 23.0}
    there = {
        "uv": "uv-venv/bin/uv",
        "airflow": f"{release.version}-*/venv/.complete",
        "ansible": "ansible-venv/.complete",
        "rulebook": "eda-venv/.complete",
        "database": f"{release.version}-*/template/.complete",
    }
    done = {name for name, made in there.items() if any(PLACE.glob(made))}
    return {**{name: 0.0 if name in done else seconds for name, seconds in measured.items()}, "start": 24.0}


def shows_rulebook(release: Release) -> bool:
    """Whether the part with ansible-rulebook is shown."""
    return release.generation == "2" and shutil.which("java") is not None


def install_uv(uv: Path) -> None:
    """Make a virtual environment with uv."""
    if not uv.is_file():
        run([sys.executable, "-m", "venv", "--clear", PLACE / "uv-venv"])
        pip: list[str | Path] = [PLACE / "uv-venv/bin/python", "-m", "pip", "--disable-pip-version-check", "--quiet"]
        run([*pip, "install", "-r", CHECKOUT / "tests/requirements/bootstrap.txt"])


def install_collection() -> None:
    """Build the collection from this checkout and install it, as a user would."""
    galaxy: list[str | Path] = [PLACE / "ansible-venv/bin/ansible-galaxy", "collection"]
    shutil.rmtree(PLACE / "build", ignore_errors=True)
    run([*galaxy, "build", "--output-path", PLACE / "build", CHECKOUT], ansible_environment())
    (archive,) = (PLACE / "build").glob("*.tar.gz")
    run([*galaxy, "install", "--force", "--offline", "-p", PLACE / "collections", archive], ansible_environment())


def write_inventory(airflow: Airflow) -> None:
    """Write Ansible's inventory, which holds the password of the story's user: mode 0600."""
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "airflow_home": str(airflow.home),
        "airflow_url": airflow.url,
        f"{USER}_password": airflow.users[USER],
    }
    inventory = ANSIBLE / "inventory.json"
    inventory.unlink(missing_ok=True)
    with open(os.open(inventory, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({"all": {"hosts": {"airflow": variables}}}, file, indent=2)


# --- the story --------------------------------------------------------------------------------------


def playbook(name: str, *options: str) -> PlaybookResult:
    """Run a playbook of this folder before the reader's eyes and return what its tasks returned."""
    arguments = [*options, f"demo/{name}"]
    print(f"\n$ ansible-playbook {' '.join(arguments)}", flush=True)
    results = PLACE / "tmp/results"
    results.unlink(missing_ok=True)
    environment = {
        **ansible_environment(),
        "ANSIBLE_CALLBACKS_ENABLED": "testbed_results",
        "ANSIBLE_CALLBACK_PLUGINS": str(CHECKOUT / "tests/testbed/callbacks"),
        "TESTBED_RESULTS": str(results),
    }
    command = [str(PLACE / "ansible-venv/bin/ansible-playbook"), *arguments]
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, check=False)
    stats, tasks = read_results(results)
    return PlaybookResult(done.returncode, "", stats, tasks)


def returned(done: PlaybookResult, module: str) -> dict[str, Any]:
    """What the task with that module of the collection returned."""
    for task in done.tasks:
        if task.action == f"fleetops.airflow.{module}":
            return task.result
    raise DemoError(f"The playbook did not get as far as {module}.")


def cause_of(done: PlaybookResult) -> str:
    """The cause in the diagnosis of the trigger."""
    return str(returned(done, "airflow_dag_trigger").get("diagnosis", {}).get("cause"))


def expect(what: str, done: PlaybookResult, holds: Callable[[PlaybookResult], bool]) -> None:
    """Stop the demo unless the playbook ended as the story has it."""
    if not holds(done):
        raise DemoError(f"This should be so, and is not: {what}.")
    say(f"as it should be: {what}")


# --- small things -----------------------------------------------------------------------------------


def ansible_environment() -> dict[str, str]:
    """Nothing of the reader's own Ansible settings, and no proxy: all of the story is on this machine."""
    inherited = {name: os.environ[name] for name in ("HOME", "PATH", "TERM", "TMPDIR") if name in os.environ}
    return {**inherited, "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"), "LANG": "C.UTF-8"}


def run(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
    """Run a program of the installation quietly; what it printed is shown when it fails."""
    done = subprocess.run(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        words = " ".join(map(str, command))
        raise DemoError(f"`{words}` failed (rc {done.returncode}):\n{done.stdout.strip()}")


def heading(text: str) -> None:
    """Print the title of a part."""
    print(f"\n=== {text} ===", flush=True)


def tell(text: str) -> None:
    """Print an indented text of the source."""
    print("\n".join(line.strip() for line in text.strip().splitlines()), flush=True)


def say(what: str) -> None:
    """Print a line of progress, with the seconds since the start."""
    print(f"[{time.monotonic() - START:5.1f} s] {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

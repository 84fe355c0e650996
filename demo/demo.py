# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole story of fleetops.airflow on a real Airflow: `demo.py up` tells it, `demo.py down` ends it.

Everything lies in .demo/ of the checkout: virtual environments, caches, Airflow's home, Ansible's settings.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "tests"))

from testbed import processes, pythons, releases  # noqa: E402  (the path has to be set first)
from testbed.errors import TestbedError  # noqa: E402
from testbed.installation import REQUIREMENTS, Installation, Installer  # noqa: E402
from testbed.instance import Airflow, free_port  # noqa: E402
from testbed.rulebook import Rulebook  # noqa: E402
from testbed.runner import PlaybookResult, read_results  # noqa: E402

VERSION = "2.11.2"
PLACE = CHECKOUT / ".demo"
HOME = PLACE / "airflow"  # AIRFLOW_HOME
ANSIBLE = PLACE / "ansible"  # its configuration and everything it writes
START = time.monotonic()


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
    prepare_folder()
    installation, installer = install()
    airflow = start(installation)
    write_inventory(airflow)

    heading("1. The problem: a call that is refused")
    tell("""
        The user deployer is to trigger a DAG over Airflow's REST API, with a password. But a new Airflow takes
        no passwords there, and it does not know the user yet. Where others report "403 Forbidden", the module
        tells what it found out and what to do.
    """)
    expect(
        "the call is refused, with a diagnosis",
        playbook("trigger.yml"),
        lambda done: done.rc == 2 and "remedy" in returned(done, "airflow_dag_trigger").get("diagnosis", {}),
    )

    heading("2. The cure: the role fleetops.airflow.api_auth")
    tell("""
        It sets [api] auth_backends in airflow.cfg (nothing else of the file changes), restarts the webserver,
        waits until it is healthy, creates the user, and proves the login with a real request.
    """)
    expect(
        "the role changes the host and ends well",
        playbook("enable.yml", "--diff"),
        lambda done: done.rc == 0 and done.changed > 0,
    )

    heading("3. The same call again")
    tell("Now it is accepted, and waited for until the DAG run has ended.")
    expect(
        "the DAG run ends in success",
        playbook("trigger.yml"),
        lambda done: done.rc == 0 and returned(done, "airflow_dag_trigger")["dag_run"]["state"] == "success",
    )

    heading("4. The role again")
    tell("There is nothing left to do, so nothing is changed and nothing restarted.")
    expect("nothing is changed", playbook("enable.yml", "--diff"), lambda done: done.rc == 0 and done.changed == 0)

    second_act(airflow, installer)

    heading("That is all")
    program = (PLACE / "ansible-venv/bin/ansible-playbook").relative_to(CHECKOUT)
    settings = (ANSIBLE / "ansible.cfg").relative_to(CHECKOUT)
    print(f"Airflow {VERSION}:  {airflow.url}")
    print(f"Login:           admin, with the password {airflow.users['admin']}")
    print(f"Play on:         ANSIBLE_CONFIG={settings} {program} demo/trigger.yml")
    print("End it:          make demo-down")


# --- the second act ---------------------------------------------------------------------------------


def second_act(airflow: Airflow, installer: Installer) -> None:
    """Break it as somebody may do it at night, and let nobody mend it."""
    heading("5. At night: somebody sets auth_backends back")
    if not shutil.which("java"):
        say("left out: ansible-rulebook needs Java 17, and there is no java on PATH")
        return
    installer.venv(PLACE / "eda-venv", Path(sys.executable), CHECKOUT / "tests/requirements/eda.txt")
    tell("""
        An ansible-rulebook watches the API as the user deployer. Somebody sets [api] auth_backends back to session
        and restarts the webserver: deployer is refused again. The rulebook notices, finds out why, has it mended,
        proves it with a login, and writes it down.
    """)
    rulebook = watch(airflow)
    try:
        wait_for((rulebook.state / "airflow.json").exists, "the rulebook looks at Airflow")
        say("the rulebook watches; now it is broken")
        at = time.time()
        airflow.set_backends("airflow.api.auth.backend.session")
        end = rulebook.wait_for(lambda entry: entry["step"] == "end", at, 180)
        say(f"{time.time() - at:.0f} seconds later its journal says:")
        for entry in rulebook.entries():
            print(json.dumps({key: value for key, value in entry.items() if key != "why"}))
    finally:
        rulebook.kill()
    if end["outcome"] != "done":
        raise DemoError(f"This should be so, and is not: it was mended. {end}")
    expect("the call is accepted again", playbook("trigger.yml"), lambda done: done.rc == 0)


def watch(airflow: Airflow) -> Rulebook:
    """Start the collection's rulebook, which may do what its rules say to the host of the demo."""
    folder = PLACE / "rulebook"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    inventory = json.loads((ANSIBLE / "inventory.json").read_text())
    login = {"username": "deployer", "password": inventory["all"]["hosts"]["airflow"]["deployer_password"]}
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


def install() -> tuple[Installation, Installer]:
    """Install uv, Airflow with supervisor, and Ansible with this collection."""
    pythons.find(releases.release(VERSION).pythons)  # or say what is missing before anything is installed
    heading("Installing, all of it into .demo/")
    uv = PLACE / "uv-venv/bin/uv"
    if not uv.is_file():
        say("installing uv, which installs the rest")
        run([sys.executable, "-m", "venv", "--clear", PLACE / "uv-venv"])
        pip: list[str | Path] = [PLACE / "uv-venv/bin/python", "-m", "pip", "--disable-pip-version-check", "--quiet"]
        run([*pip, "install", "-r", CHECKOUT / "tests/requirements/bootstrap.txt"])
    installer = Installer(PLACE, uv, say)
    installation = installer.airflow(releases.release(VERSION))
    installer.venv(PLACE / "ansible-venv", Path(sys.executable), REQUIREMENTS / "ansible.txt")

    say("building the collection and installing it")
    galaxy: list[str | Path] = [PLACE / "ansible-venv/bin/ansible-galaxy", "collection"]
    shutil.rmtree(PLACE / "build", ignore_errors=True)
    run([*galaxy, "build", "--output-path", PLACE / "build", CHECKOUT], ansible_environment())
    (archive,) = (PLACE / "build").glob("*.tar.gz")
    run([*galaxy, "install", "--force", "--offline", "-p", PLACE / "collections", archive], ansible_environment())
    return installation, installer


def start(installation: Installation) -> Airflow:
    """Start Airflow as it is at the beginning of the story, whatever an earlier run has left."""
    heading(f"Starting a real Airflow {VERSION} under supervisord")
    if HOME.exists():
        say("ending the Airflow of last time; its home is made anew: default auth_backends, no user deployer")
        processes.end(HOME)
        shutil.rmtree(HOME)
    if not (installation.folder / "template").exists():
        say("making Airflow's database, once: about 20 seconds")
    airflow = Airflow(installation, HOME, free_port(8080))
    airflow.prepare()
    say("starting webserver and scheduler")
    airflow.start()
    say(f"healthy at {airflow.url}")
    return airflow


def write_inventory(airflow: Airflow) -> None:
    """Write Ansible's inventory, which holds a new password for the user deployer: mode 0600."""
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "airflow_home": str(airflow.home),
        "airflow_url": airflow.url,
        "deployer_password": secrets.token_urlsafe(12),
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

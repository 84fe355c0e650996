# SPDX-License-Identifier: GPL-3.0-or-later
"""Airflows of a fleet, each with a scheduler, and a real ansible-rulebook that watches and fixes them."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from testbed.airflow_host import HOME, SIMPLE_PASSWORDS, AirflowHost
from testbed.fleet import Fleet
from testbed.rulebook import Entry, Rulebook, when
from testbed.runner import Ansible
from testbed.running import CHECKOUT

PASSWORD = "wätcher-1"
VENV = CHECKOUT / ".build/eda"


def reason_to_skip() -> str | None:
    """What this machine lacks for a rulebook."""
    if not (VENV / "bin/ansible-rulebook").exists():
        return "there is no .build/eda: make it by `make integration`"
    if subprocess.run(["java", "-version"], capture_output=True, check=False).returncode != 0:
        return "ansible-rulebook needs Java 17"
    return None


class Site:
    """The Airflows, and the rulebook that watches them. Each API has a login file of its own."""

    def __init__(self, fleet: Fleet, rulebook: Rulebook, ansible: Ansible, logins: dict[str, Path]) -> None:
        self.fleet = fleet
        self.rulebook = rulebook
        self._ansible = ansible
        self.logins = logins

    def airflow(self, name: str) -> AirflowHost:
        return self.fleet.airflows[name]

    def task(self, module: str, name: str, **args: Any) -> dict[str, Any]:
        """What a module returns that calls the API of one of them."""
        login = {"url": self.airflow(name).url, "username": "admin", "password": PASSWORD}
        return self._ansible.module(f"fleetops.airflow.{module}", {**login, **args}).result

    def log_in_with(self, password: str, name: str) -> None:
        """Have the rulebook use this password at one of them."""
        new = self.logins[name].with_suffix(".new")
        new.write_text(json.dumps({"username": "admin", "password": password}))
        new.chmod(0o600)
        new.replace(self.logins[name])

    def wait_for(self, since: float, timeout: float = 400, **wanted: str) -> Entry:
        def fits(entry: Entry) -> bool:
            return all(text in str(entry.get(key, "")) for key, text in wanted.items())

        return self.rulebook.wait_for(fits, since, timeout)

    def count(self, since: float, **wanted: str) -> int:
        entries = [entry for entry in self.rulebook.entries() if when(entry) >= since]
        return sum(all(text in str(entry.get(key, "")) for key, text in wanted.items()) for entry in entries)


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 300) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


def _set_up(airflow: AirflowHost, dag: str) -> None:
    """A scheduler, a DAG more, and a user whose password is the same everywhere."""
    variables = (
        "CORE__PARALLELISM=4",
        "WORKERS__EXECUTION_API_TIMEOUT=60",
        "SCHEDULER__PARSING_PROCESSES=1",
        "SCHEDULER__DAG_DIR_LIST_INTERVAL=10",
        "DAG_PROCESSOR__REFRESH_INTERVAL=10",
    )
    airflow.write_environment(*(f"AIRFLOW__{variable}" for variable in variables))
    airflow.write(f"{HOME}/dags/flaky.py", dag)
    if airflow.unit == "airflow-api-server":
        airflow.write(f"{HOME}/{SIMPLE_PASSWORDS}", json.dumps({"admin": PASSWORD}), 0o600)
        airflow.run(f"chown airflow: {HOME}/{SIMPLE_PASSWORDS}")
    airflow.run(f"chown -R airflow: {HOME}/dags; systemctl restart {' '.join(airflow.units)}")
    airflow.wait_healthy()


@contextlib.contextmanager
def watched_site(
    fleet: Fleet,
    on_fleet: Ansible,
    folder: Path,
    members: Sequence[str],
    dag: str,
    watch: Mapping[str, float],
    role: Mapping[str, Any],
) -> Iterator[Site]:
    """These members with a file of DAGs more, watched by these options; ``role`` has variables of the role.

    Afterwards the members are as they were.
    """
    airflows = {name: fleet.airflows[name] for name in members}
    pristine = {name: airflow.cfg.read_bytes() for name, airflow in airflows.items()}
    for airflow in airflows.values():
        _set_up(airflow, dag)
    user = {"username": "admin", "password": PASSWORD, "roles": ["Admin"], "update_password": "always"}
    backends = {"backends": ["basic_auth", "session"]}
    for name in (name for name, airflow in airflows.items() if airflow.unit != "airflow-api-server"):
        for module, args in (("airflow_api_auth", backends), ("airflow_user", user)):
            done = on_fleet.module(f"fleetops.airflow.{module}", args, hosts=name)
            assert not done.failed, done.output
    role_file = folder / "role.json"
    role_file.write_text(json.dumps(role))
    logins = {name: folder / f"login-{name}.json" for name in members}
    local = {"ansible_connection": "local", "ansible_python_interpreter": str(VENV / "bin/python")}
    variables = {
        "remediate_apis": [
            {"name": name, "url": airflow.url, "login_file": str(logins[name])} for name, airflow in airflows.items()
        ],
        "remediate_vars_file": str(role_file),
        "remediate_watch": dict(watch),
    }
    hosts = {name: variables for name, variables in fleet.inventory().items() if name in airflows}
    inventory = {"all": {"hosts": {**hosts, "localhost": local}}}
    collections = CHECKOUT / ".build/collections"
    rulebook = Rulebook(VENV, folder, collections, inventory, variables, fleet.bed.inside())
    python = Path(sys.executable)
    (folder / "inside").mkdir()
    ansible = Ansible(
        python.parent,
        folder / "inside",
        collections,
        python,
        hosts={"localhost": {**local, "ansible_python_interpreter": str(python)}},
        prefix=fleet.bed.inside(),
    )
    site = Site(fleet, rulebook, ansible, logins)
    for name in members:
        site.log_in_with(PASSWORD, name)
    rulebook.start()
    try:
        known = [re.sub(r"[^A-Za-z0-9.-]", "_", name) for name in members]
        wait_until(lambda: all((rulebook.state / f"{name}.json").exists() for name in known), "the rulebook looks", 90)
        yield site
    finally:
        rulebook.kill()
        ansible.close()
        for name, airflow in airflows.items():
            airflow.write_environment()
            airflow.cfg.write_bytes(pristine[name])
            airflow.run(f"systemctl stop {' '.join(airflow.units)}; rm -f {HOME}/dags/flaky.py {HOME}/flaky*")
            airflow.run(f"systemctl start {airflow.unit}")
            airflow.wait_healthy()

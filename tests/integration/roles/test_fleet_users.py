# SPDX-License-Identifier: GPL-3.0-or-later
"""airflow_user on a fleet, on all hosts at once: wherever a release and its auth manager keep their users."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from testbed.airflow_host import SIMPLE_PASSWORDS, AirflowHost
from testbed.fleet import Fleet
from testbed.runner import Ansible

USER = "fleetops.airflow.airflow_user"
PASSWORD = "pä$$ wörd-日本"
OTHER = "another one: 'x'"

Results = dict[str, dict[str, Any]]


class Users:
    """Runs airflow_user on all hosts of the fleet in one task."""

    def __init__(self, fleet: Fleet, ansible: Ansible) -> None:
        self.airflows = fleet.airflows
        self._ansible = ansible

    def run(self, args: dict[str, Any], check: bool = False, module: str = USER) -> Results:
        """What the module returned, host by host. Secrets are nowhere in what was printed."""
        task = {module: args, "name": "The module under test", "ignore_errors": True}
        play = [{"hosts": "all", "gather_facts": False, "tasks": [task]}]
        with on_no_command_line(PASSWORD, OTHER):
            done = self._ansible.playbook(json.dumps(play) + "\n", check=check, diff=True, verbosity=3)
        for secret in (PASSWORD, OTHER, *map(json.dumps, (PASSWORD, OTHER))):
            assert secret not in done.output
        results = {task.host: task.result for task in done.tasks if task.host in self.airflows}
        assert set(results) == set(self.airflows), done.output
        return results

    def make(self, args: dict[str, Any], changed: bool = True) -> Results:
        """What the real run returned; check mode has said the same before, and a second run changes nothing."""
        would = self.run(args, check=True)
        did = self.run(args)
        for name, result in did.items():
            assert (result.get("failed"), result.get("changed")) == (None, changed), (name, result)
            said = would[name]
            for key in ("changed", "created", "removed", "password_changed", "details_changed", "restarted", "diff"):
                assert said.get(key) == result.get(key), (name, key, said, result)
        assert not any(result["changed"] for result in self.run(args).values())
        return did

    def may_trigger(self, password: str) -> dict[str, bool]:
        return {name: airflow.may_trigger("deployer", password) for name, airflow in self.airflows.items()}


@contextmanager
def on_no_command_line(*secrets: str) -> Iterator[None]:
    """Look at the arguments of all processes meanwhile: those on the hosts are this machine's too."""
    over = threading.Event()
    seen: set[str] = set()

    def watch() -> None:
        while not over.wait(0.1):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    arguments = path.read_bytes()
                    seen.update(secret for secret in secrets if secret.encode() in arguments)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    assert not seen


def is_simple(airflow: AirflowHost) -> bool:
    return (airflow.cfg.parent / SIMPLE_PASSWORDS).exists()


@pytest.fixture(scope="module")
def users(fleet: Fleet, on_fleet: Ansible) -> Users:
    """Everywhere the API takes passwords."""
    users = Users(fleet, on_fleet)
    args = {"backends": ["basic_auth", "session"], "unsupported": "skip"}
    results = users.run(args, module="fleetops.airflow.airflow_api_auth")
    assert not any(result.get("failed") for result in results.values()), results
    return users


def test_a_user_from_nothing_to_another_password_and_role_and_to_nothing(users: Users) -> None:
    wanted = {"username": "deployer", "password": PASSWORD, "email": "deployer@example.org", "roles": ["User"]}
    did = users.make(wanted)
    assert all(result["created"] and result["login_proved"] for result in did.values()), did
    assert all(users.may_trigger(PASSWORD).values())
    assert not any(users.may_trigger(OTHER).values())
    pids = {name: airflow.main_pid() for name, airflow in users.airflows.items()}
    for name, airflow in users.airflows.items():
        assert did[name]["restarted"] is is_simple(airflow)

    kept = users.run({**wanted, "password": OTHER, "update_password": "on_create"})
    assert all("has another password" in result["msg"] for result in kept.values()), kept
    did = users.make({**wanted, "password": OTHER})
    assert all(result["password_changed"] and not result["created"] for result in did.values()), did
    assert all(users.may_trigger(OTHER).values())
    assert not any(users.may_trigger(PASSWORD).values())
    assert {name: airflow.main_pid() for name, airflow in users.airflows.items()} == pids

    trusted = users.run({"username": "deployer", "password": OTHER, "email": "x@example.org", "trust_login": True})
    assert not any(result["changed"] for result in trusted.values())
    did = users.run({"username": "deployer", "roles": ["Viewer"], "email": "other@example.org"})
    for name, airflow in users.airflows.items():
        generation = airflow.installation.release.generation
        expected = {"1.10": ["email"], "2": ["roles", "email"], "3": ["roles"] if is_simple(airflow) else []}
        assert did[name]["details_changed"] == (expected[generation] or ["roles", "email"]), did[name]
        assert airflow.settles("deployer", OTHER, may_trigger=generation == "1.10"), name

    did = users.make({"username": "deployer", "state": "absent"})
    assert all(result["removed"] for result in did.values()), did
    assert not any(users.may_trigger(OTHER).values())


def test_what_is_refused_changes_nothing(users: Users) -> None:
    before = {name: airflow.cfg.read_bytes() for name, airflow in users.airflows.items()}
    without = users.run({"username": "nobody"}, check=True)
    assert all("without" in result["msg"] for result in without.values()), without
    pilot = users.run({"username": "nobody", "password": PASSWORD, "roles": ["Pilot"]})
    for name, airflow in users.airflows.items():
        if airflow.installation.release.generation != "1.10":
            assert "Pilot" in pilot[name]["msg"]
    # Where addresses and roles mean nothing, that would make the user.
    taken = users.run({"username": "nobody", "password": PASSWORD, "email": "viewer@example.com"}, check=True)
    for name, airflow in users.airflows.items():
        assert is_simple(airflow) or "belongs to another user" in taken[name]["msg"]
    colon = users.run({"username": "a:b", "password": PASSWORD})
    assert all("is no name of a user" in result["msg"] for result in colon.values()), colon
    assert {name: airflow.cfg.read_bytes() for name, airflow in users.airflows.items()} == before


def test_the_passwords_of_the_simple_manager_are_for_nobody_else(users: Users) -> None:
    for airflow in filter(is_simple, users.airflows.values()):
        assert airflow.run(f"stat -c '%a %U' /opt/airflow/{SIMPLE_PASSWORDS}") == "600 airflow\n"

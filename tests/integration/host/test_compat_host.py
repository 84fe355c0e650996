# SPDX-License-Identifier: GPL-3.0-or-later
"""airflow_api_auth on one release after the other: AIRFLOW_VERSIONS names them, separated by commas.

Each release starts as it comes. The tests of one release build on each other, in their order: a restart takes seconds.
"""

from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from testbed.instance import Airflow
from testbed.runner import Ansible, ModuleResult
from testbed.running import running

# The newest of 2.x and 3.x, and one of those that take a single backend. `make test-matrix` runs all.
VERSIONS = os.environ.get("AIRFLOW_VERSIONS", "2.2.5,2.11.2,3.3.2").split(",")
MODULE = "fleetops.airflow.airflow_api_auth"
INFO = "fleetops.airflow.airflow_api_auth_info"


class Case:
    """One release, and what its words are for "passwords are taken" and for something else."""

    def __init__(self, airflow: Airflow, ansible: Ansible) -> None:
        self.airflow = airflow
        self._ansible = ansible
        generation = airflow.installation.release.generation
        several = airflow.installation.release.backends_option == "auth_backends"
        self.takes_tokens = generation == "3"
        self.wanted: dict[str, Any] = {"backends": ["basic_auth", "session"] if several else ["basic_auth"]}
        self.other: dict[str, Any] = {"backends": ["session"] if several else ["deny_all"]}
        if self.takes_tokens:
            self.wanted, self.other = {"auth_manager": "fab"}, {"auth_manager": "simple"}
        # Of 1.10 only the API with the password backend has users at all.
        self.login_path = "/api/experimental/test" if generation == "1.10" else "/api/v1/dags"
        self.login = {"username": "admin", "password": airflow.users["admin"]}

    def run(self, args: dict[str, Any], module: str = MODULE, **options: Any) -> ModuleResult:
        done = self._ansible.module(module, {"airflow_home": str(self.airflow.home), **args}, **options)
        assert self.airflow.users["admin"] not in done.output
        return done

    def is_answered(self) -> bool:
        """Whether the server takes the password of a user of its own, by a request of our own."""
        if self.takes_tokens:
            headers, data = {"Content-Type": "application/json"}, json.dumps(self.login).encode()
            request = urllib.request.Request(self.airflow.url + "/auth/token", data, headers)
        else:
            credentials = base64.b64encode(":".join(self.login.values()).encode()).decode()
            headers = {"Authorization": f"Basic {credentials}"}
            request = urllib.request.Request(self.airflow.url + self.login_path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                assert answer.status in (200, 201)
                return True
        except urllib.error.HTTPError as error:
            assert error.code in (401, 403)
            return False

    def pid(self) -> int:
        return self.airflow.webserver_pid()


@pytest.fixture(scope="module", params=VERSIONS)
def case(request: pytest.FixtureRequest, ansible: Ansible) -> Iterator[Case]:
    with running(request.param, server_only=True) as airflow:
        yield Case(airflow, ansible)


@pytest.mark.story
def test_from_refused_to_answered(case: Case) -> None:
    airflow, before, pid = case.airflow, case.airflow.cfg.read_text(), case.pid()
    assert not case.is_answered()
    would = case.run({**case.wanted, **case.login}, check=True, diff=True)
    assert would.changed, would.output
    assert (airflow.cfg.read_text(), case.pid()) == (before, pid)

    did = case.run({**case.wanted, **case.login}, diff=True)
    assert did.result["restarted"], did.output
    assert did.result["airflow_version"] == airflow.version
    assert {key: would.result[key] for key in ("before", "after", "in_force", "diff")} == {
        key: did.result[key] for key in ("before", "after", "in_force", "diff")
    }
    assert case.is_answered()
    assert case.pid() != pid
    old, new = before.splitlines(), airflow.cfg.read_text().splitlines()
    assert len(old) == len(new)
    assert len([pair for pair in zip(old, new, strict=True) if pair[0] != pair[1]]) == 1


@pytest.mark.story
def test_again_nothing_is_done(case: Case) -> None:
    before, pid = case.airflow.cfg.read_bytes(), case.pid()
    for check in (True, False):
        done = case.run({**case.wanted, **case.login}, check=check)
        assert (done.failed, done.changed) == (False, False), done.output
    assert (case.airflow.cfg.read_bytes(), case.pid()) == (before, pid)


@pytest.mark.story
def test_what_info_tells(case: Case) -> None:
    told = case.run({}, INFO).result
    assert (told["source"], told["takes_passwords"], told["restart_pending"]) == ("file", True, False)
    assert told["in_force"] == told["effective"]
    assert told["open_to_everybody"] is False
    assert told["server"]["pid"] == case.pid()
    assert told["server"]["health"] == "healthy"
    assert told["airflow_version"] == case.airflow.version


def test_something_else_and_back(case: Case) -> None:
    before = case.airflow.cfg.read_bytes()
    assert case.run(case.other).result["restarted"]
    assert not case.is_answered()
    assert case.run({**case.wanted, **case.login}).result["restarted"]
    assert case.is_answered()
    assert case.airflow.cfg.read_bytes() == before


@pytest.mark.story
def test_what_the_release_has_no_place_for(case: Case) -> None:
    before, pid = case.airflow.cfg.read_bytes(), case.pid()
    if case.takes_tokens:
        lacking: dict[str, Any] = {"backends": ["basic_auth", "session"]}
        reason = "has no API authentication backends: its REST API takes a token"
    else:
        lacking = {"auth_manager": "fab", "jwt_secret": "hush" * 16}
        reason = "takes no tokens and has no auth manager"
    failed = case.run(lacking)
    assert failed.failed
    assert reason in failed.msg
    assert "hushhush" not in failed.output
    skipped = case.run({**lacking, "unsupported": "skip"})
    assert (skipped.failed, skipped.result.get("skipped")) == (False, True)
    mixed = case.run({**lacking, **case.wanted, "unsupported": "skip"})
    assert (mixed.failed, mixed.changed, mixed.result.get("skipped")) == (False, False, None), mixed.output
    assert (case.airflow.cfg.read_bytes(), case.pid()) == (before, pid)


@pytest.mark.story
def test_an_option_is_set_and_taken_out_in_one_restart(case: Case) -> None:
    """With airflow_config, in a section that every release has, and a secret that nobody sees."""
    module = "fleetops.airflow.airflow_config"
    before = case.airflow.cfg.read_bytes()
    key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    settings = {"core": {"parallelism": 7, "fernet_key": key}, "smtp": {"smtp_port": 2525}}
    did = case.run({"settings": settings}, module, diff=True, verbosity=3)
    assert did.result["restarted"], did.output
    assert key not in did.output
    text = case.airflow.cfg.read_text()
    assert ("\nparallelism = 7\n" in text, f"\nfernet_key = {key}\n" in text) == (True, True)
    assert not case.run({"settings": settings}, module).changed
    back = {setting["option"]: setting["before"] for setting in did.result["settings"]}
    assert back["fernet_key"] is None
    case.airflow.cfg.write_bytes(before)

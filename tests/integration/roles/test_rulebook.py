# SPDX-License-Identifier: GPL-3.0-or-later
"""One problem and its fix: a real ansible-rulebook watches a real Airflow; then playbook and modules do the same.

What else the rulebook fixes, on hosts over ssh, is in test_remediation.py.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed.instance import Airflow
from testbed.rulebook import Rulebook
from testbed.runner import Ansible
from testbed.running import CHECKOUT, running

SESSION = "airflow.api.auth.backend.session"
BASIC = "airflow.api.auth.backend.basic_auth"
pytestmark = pytest.mark.story


@pytest.fixture(scope="module")
def airflow() -> Iterator[Airflow]:
    """Airflow 2.11 that accepts passwords."""
    with running("2.11.2") as airflow:
        airflow.set_backends(f"{BASIC},{SESSION}")
        yield airflow


@pytest.fixture(scope="module")
def login(airflow: Airflow) -> dict[str, str]:
    return {"username": "admin", "password": airflow.users["admin"]}


@pytest.fixture(scope="module")
def login_file(login: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("login") / "login.json"
    path.touch(0o600)
    path.write_text(json.dumps(login))
    return path


@pytest.fixture
def rulebook(airflow: Airflow, login_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rulebook]:
    venv = CHECKOUT / ".build/eda"
    if not (venv / "bin/ansible-rulebook").exists():
        pytest.skip("there is no .build/eda: `make story` makes it")
    if subprocess.run(["java", "-version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("ansible-rulebook needs Java 17")
    directory = tmp_path_factory.mktemp("rulebook")
    (directory / "role.json").write_text(json.dumps({"remediate_become": False}))
    local = {"ansible_connection": "local", "ansible_python_interpreter": str(venv / "bin/python")}
    hosts = {"localhost": local, "airflow": {**local, "airflow_home": str(airflow.home)}}
    variables = {
        "remediate_apis": [{"name": "airflow", "url": airflow.url}],
        "remediate_login_file": str(login_file),
        "remediate_vars_file": str(directory / "role.json"),
        "remediate_watch": {"interval": 2, "unreachable_after": 60},
    }
    rulebook = Rulebook(venv, directory, CHECKOUT / ".build/collections", {"all": {"hosts": hosts}}, variables)
    rulebook.start()
    try:
        airflow.wait_until((rulebook.state / "airflow.json").exists, "the rulebook watches", 120)
        yield rulebook
    finally:
        rulebook.kill()


def problems(ansible: Ansible, airflow: Airflow, login: dict[str, str], **options: Any) -> list[str]:
    """The types of what airflow_problems_info reports."""
    done = ansible.module("fleetops.airflow.airflow_problems_info", {"url": airflow.url, **login}, **options)
    assert not done.failed, done.output
    return [problem["type"] for problem in done.result["problems"]]


def test_backends_that_were_set_back_are_set_again(
    ansible: Ansible, airflow: Airflow, login: dict[str, str], rulebook: Rulebook
) -> None:
    assert problems(ansible, airflow, login) == []
    at = time.time()
    airflow.set_backends(SESSION)
    begun = rulebook.wait_for(lambda entry: entry["step"] == "begin" and entry["rule"] == "api_auth", at)
    end = rulebook.wait_for(lambda entry: entry["step"] == "end" and entry["rule"] == "api_auth", at)
    assert "takes no passwords" in begun["why"]
    assert (end["outcome"], end["before"]) == ("done", [SESSION])
    assert (end["after"]["restarted"], end["after"]["login_accepted"]) == (True, True)
    assert problems(ansible, airflow, login) == []
    over = rulebook.wait_for(lambda entry: "it is over" in entry.get("action", ""), at)
    assert over["after"]["recovered"] is True
    assert login["password"] not in rulebook.log.read_text() + json.dumps(rulebook.entries())


def test_the_playbook_reports_and_then_fixes_the_same(
    ansible: Ansible, airflow: Airflow, login: dict[str, str], login_file: Path, tmp_path: Path
) -> None:
    """Without Event-Driven Ansible: a report, check mode, the fix, and nothing left to do."""
    airflow.set_backends(SESSION)
    for check in (True, False):
        assert problems(ansible, airflow, login, check=check) == ["credentials_refused"]
    journal = tmp_path / "journal/journal.jsonl"
    variables = {
        "remediate_url": airflow.url,
        "remediate_api": "localhost",
        "remediate_login_file": str(login_file),
        "remediate_folder": str(journal.parent),
        "remediate_become": False,
        "remediate_hosts": ["localhost"],
        "airflow_home": str(airflow.home),
    }
    report = ansible.playbook("fleetops.airflow.remediate", {**variables, "remediate_report": True})
    assert (report.rc, report.changed, journal.exists()) == (0, 0, False), report.output
    assert "takes no passwords" in report.output
    fixed = ansible.playbook("fleetops.airflow.remediate", variables)
    assert fixed.rc == 0, fixed.output
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    assert ("api_auth", "done") in [(entry["rule"], entry["outcome"]) for entry in entries if entry["step"] == "end"]
    assert problems(ansible, airflow, login) == []
    again = ansible.playbook("fleetops.airflow.remediate", variables)
    assert again.rc == 0, again.output
    assert "credentials_refused" not in again.output
    for done in (report, fixed, again):
        assert login["password"] not in done.output


def test_the_journal_counts_up_to_its_limit(ansible: Ansible, tmp_path: Path) -> None:
    module = "fleetops.airflow.remediation_journal"
    entry = {"folder": str(tmp_path / "new"), "step": "begin", "rule": "rerun", "subject": "here hello", "limit": 1}
    would = ansible.module(module, entry, check=True)
    assert (would.result["allowed"], (tmp_path / "new").exists()) == (True, False), would.output
    first, second = ansible.module(module, entry), ansible.module(module, entry)
    assert [done.result["allowed"] for done in (first, second)] == [True, False]
    assert "has acted on here hello 1 times" in second.result["reason"]
    lines = (tmp_path / "new/journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["subject"] for line in lines] == ["here hello"] * 2
    off = ansible.module(module, {**entry, "folder": str(tmp_path / "off"), "limit": 0})
    assert (off.result["allowed"], off.result["reason"]) == (
        False,
        "rerun is switched off (its limit is 0), and did nothing to here hello",
    )
    wrong = ansible.module(module, {**entry, "window": 1e6})
    assert "at most 604800 seconds" in wrong.msg

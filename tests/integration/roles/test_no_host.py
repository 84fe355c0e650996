# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks fail where no host matches, and name what the inventory has. Real ansible-playbook, no Airflow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from testbed.running import CHECKOUT
from testbed.shell import Shell, recap

pytestmark = pytest.mark.story
# Modules fail on these hosts at once, since they have no Airflow; that is far enough to see that they are asked.
LOCAL = "ansible_connection=local ansible_python_interpreter={python}"
INVENTORY = f"""\
[airflow_hosts]
af1 {LOCAL}
af2 {LOCAL}
[web]
web1 {LOCAL}
[airflow]
"""
USER = {"api_auth_path": "/nonexistent/airflow.cfg"}
VARIABLES = {"audit": "audit_hosts", "enable_api": "enable_api_hosts"}


class Playbooks:
    """Runs the collection's playbooks against an inventory in a temporary directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inventory = folder / "inventory"
        self.write(INVENTORY)
        self._shell = Shell(Path(sys.executable).parent, folder, CHECKOUT / ".build/collections")

    def write(self, inventory: str) -> None:
        self.inventory.write_text(inventory.replace("{python}", sys.executable))

    def run(self, name: str, *options: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        """``env`` adds to Ansible's environment; all others are extra variables."""
        env = variables.pop("env", None)
        command = ["ansible-playbook", "-i", str(self.inventory), *options, f"fleetops.airflow.{name}"]
        become = {"audit_become": False, "enable_api_become": False, "remediate_become": False}
        journal = {"remediate_folder": str(self.folder / "journal")}
        return self._shell.run(command, {**become, **USER, **journal, **variables}, env)

    def report(self) -> list[str]:
        """The hosts in the report of the audit."""
        return [row["host"] for row in json.loads((self.folder / "airflow-audit.json").read_text())["hosts"]]


@pytest.fixture
def playbooks(tmp_path: Path) -> Playbooks:
    return Playbooks(tmp_path)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The output without its line breaks."""
    return " ".join(done.stdout.split())


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize("hosts", [None, "airflow", "nothing,like", ["web", "!web1"]])
def test_a_pattern_without_hosts_fails(playbooks: Playbooks, name: str, hosts: Any) -> None:
    """The group airflow is empty in this inventory, one pattern names nothing, one excludes what it names."""
    variable = VARIABLES[name]
    done = playbooks.run(name, **({} if hosts is None else {variable: hosts}))
    shown = ",".join(hosts) if isinstance(hosts, list) else hosts or "airflow"
    assert done.returncode == 2, done.stdout
    assert (
        f"No host matches {variable} ('{shown}'). Nothing was changed. Groups of the inventory: airflow_hosts, web. "
        f"Set {variable} to one of them, for example -e {variable}=airflow_hosts."
    ) in said(done)
    assert "airflow_api_auth" not in done.stdout
    assert not (playbooks.folder / "airflow-audit.json").exists()


@pytest.mark.parametrize("name", VARIABLES)
def test_a_limit_that_leaves_none_of_them_fails(playbooks: Playbooks, name: str) -> None:
    done = playbooks.run(name, "--limit", "web1", **{VARIABLES[name]: "airflow_hosts"})
    assert done.returncode == 2, done.stdout
    assert (
        f"No host matches {VARIABLES[name]} ('airflow_hosts') within --limit ('web1'). Nothing was changed. "
        "Without --limit these match: af1, af2. Change --limit, or leave it out."
    ) in said(done)


@pytest.mark.parametrize("name", VARIABLES)
def test_a_limit_is_not_blamed_for_a_pattern_without_hosts(playbooks: Playbooks, name: str) -> None:
    done = playbooks.run(name, "--limit", "web1", **{VARIABLES[name]: "nothing"})
    assert done.returncode == 2, done.stdout
    assert f"No host matches {VARIABLES[name]} ('nothing'). Nothing was changed. Groups of the inventory: " in said(
        done
    )


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize("inventory", ["", "af1 {python}\n"])
def test_an_inventory_without_groups_fails(playbooks: Playbooks, name: str, inventory: str) -> None:
    playbooks.write(inventory.replace(" {python}", f" {LOCAL}"))
    done = playbooks.run(name)
    assert done.returncode == 2, done.stdout
    assert "The inventory has no group with hosts." in said(done)


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_of_the_inventory_chooses_no_hosts(playbooks: Playbooks, name: str) -> None:
    """A play's hosts are chosen before variables of the inventory are read: then it must not end well either."""
    playbooks.write(INVENTORY + f"[all:vars]\n{VARIABLES[name]}=airflow_hosts\n")
    done = playbooks.run(name)
    assert done.returncode == 2, done.stdout
    assert "No host matches" in said(done)


def test_the_audit_asks_those_that_match(playbooks: Playbooks) -> None:
    done = playbooks.run("audit", audit_hosts="all,!localhost,!web1")
    assert done.returncode == 0, done.stdout
    assert playbooks.report() == ["af1", "af2"]
    assert recap(done.stdout)["localhost"] | {"ok": 0, "skipped": 0} == {
        "ok": 0,
        "changed": 1,
        "unreachable": 0,
        "failed": 0,
        "skipped": 0,
        "rescued": 0,
        "ignored": 0,
    }


@pytest.mark.parametrize(("limit", "expected"), [("af2", ["af2"]), ("localhost,af1,web1", ["af1"])])
def test_the_audit_reports_what_a_limit_leaves(playbooks: Playbooks, limit: str, expected: list[str]) -> None:
    done = playbooks.run("audit", "--limit", limit, audit_hosts="airflow_hosts")
    assert done.returncode == 0, done.stdout
    assert playbooks.report() == expected


def test_a_host_that_cannot_be_reached_is_in_the_report(playbooks: Playbooks) -> None:
    playbooks.write(INVENTORY.replace("[web]", "af3 ansible_host=127.0.0.1 ansible_port=1\n[web]"))
    done = playbooks.run("audit", "--limit", "af3,af2", audit_hosts="airflow_hosts")
    assert done.returncode == 0, done.stdout
    assert sorted(playbooks.report()) == ["af2", "af3"]


@pytest.mark.parametrize("variable", ["audit_folder", "audit_previous"])
def test_the_audit_checks_the_controller_before_it_asks_hosts(playbooks: Playbooks, variable: str) -> None:
    done = playbooks.run("audit", audit_hosts="airflow_hosts", **{variable: "/nonexistent/file"})
    assert done.returncode == 2, done.stdout
    assert f"{variable} ('/nonexistent/file') is not a " in said(done)
    assert "airflow_api_auth_info" not in done.stdout
    assert "Inspect the host" not in done.stdout


def test_the_audit_writes_one_report_with_another_strategy(playbooks: Playbooks) -> None:
    done = playbooks.run("audit", audit_hosts="airflow_hosts", env={"ANSIBLE_STRATEGY": "free"})
    assert done.returncode == 0, done.stdout
    assert sum(host["changed"] for host in recap(done.stdout).values()) == 1
    assert playbooks.report() == ["af1", "af2"]


def test_an_audit_of_which_nothing_is_known_can_fail(playbooks: Playbooks) -> None:
    playbooks.write("[airflow]\naf3 ansible_host=127.0.0.1 ansible_port=1\n")
    done = playbooks.run("audit", audit_fail_on=["unknown"])
    assert done.returncode == 2, done.stdout
    assert "1 of 1 hosts have a level of audit_fail_on (unknown): af3. The audit is written to " in said(done)
    assert playbooks.report() == ["af3"]


def test_the_audit_of_this_host_alone(playbooks: Playbooks) -> None:
    """Without an inventory there is an implicit localhost."""
    playbooks.write("")
    done = playbooks.run("audit", audit_hosts="localhost")
    assert done.returncode == 0, done.stdout
    assert playbooks.report() == ["localhost"]


def test_enable_api_acts_on_those_that_match(playbooks: Playbooks) -> None:
    done = playbooks.run("enable_api", enable_api_hosts="airflow_hosts", enable_api_serial=1)
    assert done.returncode == 2, done.stdout
    assert "/nonexistent/airflow.cfg" in said(done)
    assert "No host matches" not in done.stdout
    assert "af1 : ok=" in said(done)
    assert "web1 :" not in said(done)


# --- remediate --------------------------------------------------------------------------------------

URL = {"remediate_url": "http://127.0.0.1:9"}  # nothing listens there


@pytest.mark.parametrize("api", [None, "airflow", "production"])
def test_remediate_fails_where_the_api_has_no_host(playbooks: Playbooks, api: str | None) -> None:
    done = playbooks.run("remediate", **URL, **({} if api is None else {"remediate_api": api}))
    assert done.returncode == 2, done.stdout
    assert (
        f"No host matches remediate_api ('{api or 'airflow'}'). Nothing was changed. Groups of the inventory: "
        "airflow_hosts, web. Set remediate_api to one of them, for example -e remediate_api=airflow_hosts. "
        "Set remediate_hosts to [] for an API whose hosts are not in the inventory."
    ) in said(done)
    assert "airflow_problems_info" not in done.stdout


@pytest.mark.parametrize(
    "more",
    [
        {"remediate_api": "airflow_hosts"},
        {"remediate_api": "af1"},
        {"remediate_hosts": ["af1"]},
        {"remediate_hosts": []},
        {"remediate_report": True},
    ],
)
def test_remediate_goes_on_where_hosts_are_known_or_not_needed(playbooks: Playbooks, more: dict[str, Any]) -> None:
    """As far as the task that asks the API: its url is not one."""
    done = playbooks.run("remediate", **{**URL, "remediate_url": "no-url", **more})
    assert done.returncode == 2, done.stdout
    assert "url has no scheme" in said(done)


def test_remediate_notes_a_problem_whose_hosts_are_unknown(playbooks: Playbooks) -> None:
    problem = {"id": "x api_unreachable", "api": "x", "type": "api_unreachable", "recovered": False, "url": "http://x"}
    problem["diagnosis"] = {"code": "connection_refused", "cause": "nothing listens there"}
    done = playbooks.run("remediate", remediate_problems=[problem])
    assert done.returncode == 0, done.stdout
    (entry,) = map(json.loads, (playbooks.folder / "journal/journal.jsonl").read_text().splitlines())
    assert (entry["step"], entry["rule"]) == ("note", "report")
    assert "the inventory has no group and no host called x" in entry["action"]


def test_remediate_fails_where_a_limit_leaves_localhost_out(playbooks: Playbooks) -> None:
    done = playbooks.run("remediate", "--limit", "af1", **URL, remediate_api="airflow_hosts")
    assert done.returncode == 2, done.stdout
    assert "--limit ('af1') leaves localhost out, on which this playbook runs. Nothing was changed." in said(done)

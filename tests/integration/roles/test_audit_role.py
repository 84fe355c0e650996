# SPDX-License-Identifier: GPL-3.0-or-later
"""The role audit, through a real ansible-playbook, with made-up results: what it writes, and when it fails."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from testbed import audits
from testbed.audits import FINE
from testbed.running import CHECKOUT
from testbed.shell import Shell, recap

OPEN = {**FINE, "open_to_everybody": True}
PLAY = """\
- hosts: all
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: fleetops.airflow.audit
      run_once: true
      vars:
        audit_results: "{{ lookup('ansible.builtin.file', 'results.json') | from_json }}"
"""


class Role:
    """Runs the role for ``results`` in a directory, with an inventory of these hosts and ``others``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shell = Shell(Path(sys.executable).parent, folder, CHECKOUT / ".build/collections")
        (folder / "play.yml").write_text(PLAY)

    def run(
        self, results: dict[str, Any], *options: str, others: tuple[str, ...] = (), **variables: Any
    ) -> subprocess.CompletedProcess[str]:
        (self.folder / "results.json").write_text(json.dumps(results))
        hosts = "".join(f"{host} ansible_python_interpreter={sys.executable}\n" for host in (*results, *others))
        (self.folder / "hosts").write_text(hosts or f"other ansible_python_interpreter={sys.executable}\n")
        return self._shell.run(["ansible-playbook", "-i", "hosts", "play.yml", *options], variables)

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "airflow-audit.json").read_text())
        return found

    def page(self) -> str:
        return (self.folder / "airflow-audit.html").read_text()


@pytest.fixture
def role(tmp_path: Path) -> Role:
    return Role(tmp_path)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The output without its line breaks."""
    return " ".join(done.stdout.split())


@pytest.mark.story
def test_what_changed_since_the_last_audit(role: Role) -> None:
    done = role.run({"a": FINE, "b": OPEN, "c": OPEN})
    assert done.returncode == 0, done.stdout
    assert "3 hosts: 2 danger, 1 fine. The page: " in said(done)
    assert role.report()["compared_with"] is None
    assert "Compared with" not in role.page()

    done = role.run({"a": OPEN, "b": FINE}, others=("c",))
    assert done.returncode == 0, done.stdout
    report = role.report()
    assert {row["host"]: row["change"]["kind"] for row in report["hosts"]} == {"a": "worse", "b": "better"}
    assert [row["host"] for row in report["not_asked"]] == ["c"]
    assert "2 hosts: 1 danger, 1 fine. Compared with the audit of " in said(done)
    assert ": 1 worse, 1 better. The page: " in said(done)
    assert "Compared with the audit of " in role.page()
    assert "Worse: was Fine" in role.page()
    assert "Hosts that were not asked this time: 1" in role.page()

    done = role.run({"a": OPEN, "b": FINE, "c": FINE})
    assert {row["host"]: row["change"]["kind"] for row in role.report()["hosts"]} == {
        "a": "same",
        "c": "better",
        "b": "same",
    }
    for name in ("airflow-audit.html", "airflow-audit.json"):
        assert stat.S_IMODE((role.folder / name).stat().st_mode) == 0o600
    assert sum(host["changed"] for host in recap(done.stdout).values()) == 1


def test_an_earlier_audit_that_is_given(role: Role) -> None:
    role.run({"a": FINE})
    (role.folder / "airflow-audit.json").rename(role.folder / "earlier.json")
    role.run({"a": OPEN})
    for earlier in ("earlier.json", str(role.folder / "earlier.json")):
        done = role.run({"a": OPEN}, audit_previous=earlier)
        assert done.returncode == 0, done.stdout
        assert role.report()["hosts"][0]["change"]["kind"] == "worse"


@pytest.mark.parametrize("folder", ["reports", "{folder}/reports"])
def test_another_directory(role: Role, folder: str) -> None:
    (role.folder / "reports").mkdir()
    for _time in range(2):
        done = role.run({"a": FINE}, audit_folder=folder.format(folder=role.folder))
        assert done.returncode == 0, done.stdout
    report = json.loads((role.folder / "reports/airflow-audit.json").read_text())
    assert report["hosts"][0]["change"]["kind"] == "same"


def test_a_file_that_is_no_audit_is_named_and_replaced(role: Role) -> None:
    (role.folder / "airflow-audit.json").write_text('{"hosts": []}')
    done = role.run({"a": FINE})
    assert done.returncode == 0, done.stdout
    text = "it is not a report of this version of the collection."
    assert f"Not compared with the earlier file: {text}" in said(done)
    assert f"Not compared with an earlier audit: {text}" in role.page()
    assert [row["host"] for row in role.report()["hosts"]] == ["a"]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"audit_folder": "/nonexistent/reports"},
            (
                "audit_folder ('/nonexistent/reports') is not a directory on the controller. Nothing was written. "
                "Create the directory, or set audit_folder to another one."
            ),
        ),
        (
            {"audit_previous": "/nonexistent/audit.json"},
            (
                "audit_previous ('/nonexistent/audit.json') is not a file on the controller. Nothing was written. "
                "Set audit_previous to the airflow-audit.json of an earlier audit, or leave it out."
            ),
        ),
        (
            {"audit_results": {}},
            (
                "audit_results has no host. Nothing was written. "
                "Set audit_results to what airflow_api_auth_info returned, by the names of the hosts."
            ),
        ),
        ({"audit_fail_on": ["harmless"]}, "value of audit_fail_on must be one or more of: danger, unknown, warning,"),
    ],
)
def test_it_fails_before_anything_is_written(role: Role, variables: dict[str, Any], message: str) -> None:
    done = role.run({"a": FINE}, **variables)
    assert done.returncode == 2, done.stdout
    assert message in said(done)
    assert not list(role.folder.glob("airflow-audit.*"))


def test_an_audit_without_hosts_fails(role: Role) -> None:
    done = role.run({})
    assert done.returncode == 2, done.stdout
    assert "audit_results has no host." in said(done)


@pytest.mark.parametrize("levels", [["danger", "unknown"], "danger,unknown", "danger"])
def test_it_can_fail_on_levels_after_the_files_are_written(role: Role, levels: Any) -> None:
    results = {f"host{number}": OPEN for number in range(1, 23)}
    done = role.run({**results, "fine": FINE}, audit_fail_on=levels)
    assert done.returncode == 2, done.stdout
    shown = ", ".join(levels) if isinstance(levels, list) else levels.replace(",", ", ")
    names = ", ".join(f"host{number}" for number in range(1, 21))
    assert f"22 of 23 hosts have a level of audit_fail_on ({shown}): {names} and 2 more. The audit is" in said(done)
    assert len(role.report()["hosts"]) == 23
    done = role.run({"fine": FINE}, audit_fail_on=levels)
    assert done.returncode == 0, done.stdout


def test_check_mode_writes_nothing(role: Role) -> None:
    done = role.run({"a": OPEN}, "--check", audit_fail_on=["danger"])
    assert done.returncode == 2, done.stdout
    assert "(danger): a. Nothing was written, in check mode. " in said(done)
    assert not list(role.folder.glob("airflow-audit.*"))


@pytest.mark.story
def test_what_hosts_return_is_not_evaluated(role: Role) -> None:
    """Neither of this audit nor of the earlier one."""
    attack = "{{ lookup('ansible.builtin.pipe', 'touch evil; echo evaluated') }}{% set x = 1 %}<script>hit()</script>"
    odd = {name: attack if isinstance(value, str) else value for name, value in OPEN.items()}
    odd.update(configured=[attack], in_force=[attack], overridden_by=attack, warnings_found=[attack])
    results = {"a": odd, "b": {"unreachable": True, "msg": attack}, "c": FINE}
    for _time in range(3):
        done = role.run(results, audit_fail_on=["danger"])
        assert "1 danger, 1 unknown, 1 fine." in said(done), done.stdout
        results["c"], results["a"] = results["a"], results["c"]
    earlier = role.report()
    earlier["written"] = attack
    (role.folder / "airflow-audit.json").write_text(json.dumps(earlier))
    done = role.run(results)
    assert done.returncode == 0, done.stdout
    assert not (role.folder / "evil").exists()
    assert "evaluated" not in done.stdout.replace("echo evaluated", "")
    texts = json.dumps(role.report())
    assert "echo evaluated" in texts
    assert "evaluated" not in texts.replace("echo evaluated", "")
    assert "<script>hit" not in role.page()
    assert role.page().count("<script") == 1


def test_what_the_readme_shows(role: Role) -> None:
    (example,) = re.findall(r"(?s)```yaml\n(.*?)```", (CHECKOUT / "roles/audit/README.md").read_text())
    (role.folder / "play.yml").write_text(example)
    inventory = f"[airflow]\na ansible_connection=local ansible_python_interpreter={sys.executable}\n"
    (role.folder / "inventory").write_text(inventory + "away ansible_host=127.0.0.1 ansible_port=1\n")
    # Neither what this machine lets a test become matters here, nor which Airflow runs on it.
    done = role.run({}, "-i", "inventory", ansible_become=False)
    assert done.returncode == 0, done.stdout
    found = {row["host"]: row["findings"] for row in role.report()["hosts"]}
    assert set(found) == {"a", "away"}
    assert found["away"][0]["code"] == "unreachable"


def test_a_thousand_hosts(role: Role) -> None:
    """Time grows with the number of hosts, not faster."""
    results = audits.results_of(1000, is_long=True)
    role.run(results)
    begun = time.monotonic()
    done = role.run(results)
    assert time.monotonic() - begun < 60
    assert done.returncode == 0, done.stdout
    assert ": 1000 same. The page: " in said(done)
    assert role.page().count('<tr role="row" class="host ') == 1000

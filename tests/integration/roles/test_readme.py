# SPDX-License-Identifier: GPL-3.0-or-later
"""What README.md shows, taken from README.md and run: the error bodies, the diagnosis, the quickstart and its recap.

The inventory, the playbook and the commands are used as they stand. What is different here is said by variables:
addresses, paths, the DAG, and that no other user is needed to become root. Only the installation from git is left out:
`make build` builds and installs the collection.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from testbed.instance import Airflow
from testbed.runner import Ansible
from testbed.running import CHECKOUT, running
from testbed.shell import Recap, Shell, recap

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.story
URL, DAG = "http://airflow1.example.com:8080", "load_orders"  # what README.md calls them


def block(language: str, start: str) -> str:
    """The fenced block of that language that starts so; there has to be one."""
    (found,) = re.findall(rf"(?ms)^```{language}\n({re.escape(start)}.*?)^```$", README)
    return str(found)


@pytest.fixture(scope="module", params=["2.11.2", "3.3.2"])
def fresh(request: pytest.FixtureRequest) -> Iterator[Airflow]:
    """An Airflow as it comes; the tests of one release build on each other, in their order."""
    with running(request.param) as airflow:
        yield airflow


def body_of(url: str, data: dict[str, str] | None = None) -> Any:
    """The JSON of a refusal."""
    request = urllib.request.Request(url, headers={"Content-Type": "application/json"})
    request.data = json.dumps(data).encode() if data else None
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=30)
    with refusal.value as answer:
        return json.load(answer)


def test_the_bodies_that_readme_shows(fresh: Airflow) -> None:
    shown = dict(re.findall(r"(?m)^Airflow (\d) +(.*)$", block("text", "Airflow 2")))
    if fresh.installation.release.generation == "2":
        head, cut, _tail = shown["2"].partition(', "type": ...}')
        assert cut
        assert json.loads(head + "}").items() <= body_of(fresh.url + "/api/v1/dags").items()
    else:
        body, _space, other = shown["3"].partition("   ")
        assert json.loads(body) == body_of(fresh.url + "/api/v2/dags")
        wrong = body_of(fresh.url + "/auth/token", {"username": "op", "password": "wrong"})
        assert wrong["detail"] in other


def test_the_diagnosis_that_readme_shows(fresh: Airflow, ansible: Ansible) -> None:
    """Of a user whose password is right, before anything is changed."""
    if fresh.version not in README.partition("diagnosis:")[0].rpartition("from a real Airflow")[2]:
        return  # of this release none is shown
    args = {"url": fresh.url, "username": "op", "password": fresh.users["op"], "dag_id": "hello"}
    done = ansible.module("fleetops.airflow.airflow_dag_trigger", args)
    assert done.failed, done.output
    shown = yaml.safe_load(block("yaml", "diagnosis:"))["diagnosis"]
    assert done.result["diagnosis"] == {
        key: value.replace(URL, fresh.url).replace(DAG, "hello") if isinstance(value, str) else value
        for key, value in shown.items()
    }


def test_the_quickstart(fresh: Airflow, tmp_path: Path) -> None:
    commands = [shlex.split(line) for line in re.findall(r"(?m)^\$ (ansible-playbook .*quickstart.yml.*)$", README)]
    assert [command[3] for command in commands] == ["quickstart.yml"] * 2
    (password,) = re.findall(r"(?m)^\$ export DEPLOYER_PASSWORD=(.*)$", README)
    (tmp_path / "inventory.ini").write_text(block("ini", "[airflow]"))
    (tmp_path / "quickstart.yml").write_text(block("yaml", "- name: Enable password"))
    shell = Shell(Path(sys.executable).parent, tmp_path, CHECKOUT / ".build/collections")
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "ansible_become": False,
        "api_auth_airflow_home": str(fresh.home),
        "airflow_url": fresh.url,
        "dag_id": "hello",
    }

    def play(command: list[str]) -> tuple[subprocess.CompletedProcess[str], Recap]:
        done = shell.run(command, variables, {"DEPLOYER_PASSWORD": password})
        assert done.returncode == 0, done.stdout
        assert password not in done.stdout
        return done, recap(done.stdout)

    check, run = commands
    before, pid = fresh.cfg.read_bytes(), fresh.webserver_pid()
    done, would = play(check)
    assert "+++ after" in done.stdout, done.stdout
    assert (fresh.cfg.read_bytes(), fresh.webserver_pid()) == (before, pid)

    done, did = play(run)
    shown = recap(block("text", "PLAY RECAP"))
    assert did == shown, done.stdout
    assert would["airflow1.example.com"] == did["airflow1.example.com"]
    assert fresh.webserver_pid() != pid

    pid = fresh.webserver_pid()
    done, again = play(run)
    assert again == {host: {**numbers, "changed": 0} for host, numbers in shown.items()}, done.stdout
    assert fresh.webserver_pid() == pid

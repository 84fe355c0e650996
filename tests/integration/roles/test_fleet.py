# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection on a fleet of systemd hosts over ssh, with another Airflow on each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from testbed import fleet as fleets
from testbed.airflow_host import AirflowHost
from testbed.fleet import Fleet
from testbed.runner import Ansible, PlaybookResult

PASSWORD = "pä$$ wörd-日本"
# Of its own, because other tests have others on the same hosts.
USER = {"username": "roller", "password": PASSWORD, "role": "User"}


def test_what_people_get_to_reach_the_fleet(fleet: Fleet) -> None:
    """From outside the hosts' network, with nothing but the files that `make fleet-up` writes."""
    inventory, ssh_config = fleets.write_files(fleet)
    ssh = ["ssh", "-F", str(ssh_config), "light-2", "systemctl is-system-running"]
    assert subprocess.run(ssh, capture_output=True, text=True, check=True).stdout == "running\n"
    program = str(Path(sys.executable).with_name("ansible"))
    ansible = [program, "-i", str(inventory), "airflow", "-o", "-m", "ansible.builtin.ping"]
    with tempfile.TemporaryDirectory(prefix="cp-", dir="/tmp") as sockets:
        env = {**os.environ, "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets}
        done = subprocess.run(ansible, env=env, capture_output=True, text=True, check=True)
    answers = {line.split()[0]: json.loads(line.partition("=>")[2]) for line in done.stdout.splitlines()}
    assert {name: answer["ping"] for name, answer in answers.items()} == dict.fromkeys(fleet.airflows, "pong")


@pytest.fixture
def breaking(fleet: Fleet) -> str:
    """A host that refuses to start with anything but the airflow.cfg that it has now; neither first nor last."""
    name = list(fleet.airflows)[1]
    airflow = fleet.airflows[name]
    airflow.run("cp /opt/airflow/airflow.cfg /root/wanted.cfg")
    airflow.drop_in("ExecStartPre=+/usr/bin/cmp /opt/airflow/airflow.cfg /root/wanted.cfg")
    return name


def enable(on_fleet: Ansible, fleet: Fleet, check: bool = False, **more: Any) -> PlaybookResult:
    """The playbook on the hosts that have Airflow."""
    variables = {"enable_api_hosts": ",".join(fleet.airflows), "api_auth_user": USER, **more}
    done = on_fleet.playbook("fleetops.airflow.enable_api", variables, check=check, diff=True, verbosity=3)
    assert PASSWORD not in done.output
    assert json.dumps(PASSWORD)[1:-1] not in done.output
    return done


def starts(airflow: AirflowHost) -> int:
    """How often systemd has started the server since the host was booted."""
    return airflow.run(f"journalctl --unit {airflow.unit} --output cat").count(f"Started {airflow.unit}.service")


def may_trigger(fleet: Fleet) -> list[bool]:
    return [airflow.may_trigger("roller", PASSWORD) for airflow in fleet.airflows.values()]


def test_a_roll_stops_at_the_host_that_is_not_healthy_and_goes_on_where_it_stopped(
    on_fleet: Ansible, fleet: Fleet, breaking: str
) -> None:
    airflows = list(fleet.airflows.values())
    broken = fleet.airflows[breaking]
    before = [airflow.cfg.read_bytes() for airflow in airflows]
    pids = [airflow.main_pid() for airflow in airflows]
    assert not any(may_trigger(fleet))
    would = enable(on_fleet, fleet, check=True)
    assert would.rc == 0, would.output
    assert [airflow.cfg.read_bytes() for airflow in airflows] == before

    stopped = enable(on_fleet, fleet)
    assert stopped.rc != 0
    (failed,) = [task for task in stopped.tasks if task.result.get("failed")]
    assert (failed.host, failed.result["rolled_back"]) == (breaking, True), failed.result["msg"]
    assert may_trigger(fleet) == [True] + [False] * (len(airflows) - 1)
    assert [airflow.cfg.read_bytes() for airflow in airflows[1:]] == before[1:]
    assert broken.healthy()
    assert [airflow.main_pid() for airflow in airflows[2:]] == pids[2:]

    broken.drop_in(None)
    counts = [starts(airflow) for airflow in airflows]
    done = enable(on_fleet, fleet)
    assert done.rc == 0, done.output
    assert all(may_trigger(fleet))
    more = [starts(airflow) - count for airflow, count in zip(airflows, counts, strict=True)]
    assert max(more) <= 1, more
    assert done.stats[next(iter(fleet.airflows))]["changed"] == 0

    pids = [airflow.main_pid() for airflow in airflows]
    for check in (True, False):
        again = enable(on_fleet, fleet, check=check, enable_api_serial="100%")
        assert (again.rc, again.changed) == (0, 0), again.output
    assert [airflow.main_pid() for airflow in airflows] == pids


def test_from_other_bad_states(on_fleet: Ansible, fleet: Fleet) -> None:
    """A server that is down, servers that are older than their files, a user with another password and no rights."""
    airflows = list(fleet.airflows.values())
    unlucky = {"username": "roller", "password": "another", "roles": ["Viewer"]}
    play = [{"hosts": "all", "gather_facts": False, "tasks": [{"fleetops.airflow.airflow_user": unlucky}]}]
    spoiled = on_fleet.playbook(json.dumps(play) + "\n")
    assert all(spoiled.stats[name]["failures"] == 0 for name in fleet.airflows), spoiled.output
    assert all(airflow.settles("roller", "another", may_trigger=False) for airflow in airflows)
    airflows[0].run(f"systemctl stop {airflows[0].unit}")
    for airflow in airflows[1:]:
        airflow.run("touch /opt/airflow/airflow.cfg")

    counts = [starts(airflow) for airflow in airflows]
    of_hosts: dict[str, Any] = {
        "services": {name: [airflow.unit] for name, airflow in fleet.airflows.items()},
        "api_auth_service": "{{ services[inventory_hostname] }}",
        "api_auth_manager": "{{ omit if inventory_hostname is search('simple') else 'fab' }}",
        "enable_api_serial": "100%",
    }
    done = enable(on_fleet, fleet, **of_hosts)
    assert done.rc == 0, done.output
    assert all(may_trigger(fleet))
    assert [starts(airflow) - count for airflow, count in zip(airflows, counts, strict=True)] == [1] * len(airflows)

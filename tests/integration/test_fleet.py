# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection on a fleet of systemd hosts over ssh, with another Airflow on each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from testbed import fleet as fleets
from testbed.fleet import Fleet


def test_what_people_get_to_reach_the_fleet(fleet: Fleet) -> None:
    """From outside the hosts' network, with nothing but the files that `make fleet-up` writes."""
    inventory, ssh_config = fleets.write_files(fleet)
    ssh = ["ssh", "-F", str(ssh_config), "light-2", "systemctl is-system-running"]
    assert subprocess.run(ssh, capture_output=True, text=True, check=True).stdout == "running\n"
    program = str(Path(sys.executable).with_name("ansible"))
    ansible = [program, "-i", str(inventory), "airflow", "-o", "-m", "ansible.builtin.ping"]
    env = {**os.environ, "ANSIBLE_SSH_CONTROL_PATH_DIR": f"/tmp/cp-{os.getpid()}"}
    done = subprocess.run(ansible, env=env, capture_output=True, text=True, check=True)
    answers = {line.split()[0]: json.loads(line.partition("=>")[2]) for line in done.stdout.splitlines()}
    assert {name: answer["ping"] for name, answer in answers.items()} == dict.fromkeys(fleet.airflows, "pong")

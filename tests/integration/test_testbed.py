# SPDX-License-Identifier: GPL-3.0-or-later
"""The testbed itself: what the other integration tests rely on."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from testbed import processes
from testbed.instance import Airflow
from testbed.runner import Ansible


def status_of(airflow: Airflow, path: str, user: str) -> int:
    """HTTP status of a GET with the user's password."""
    token = base64.b64encode(f"{user}:{airflow.users[user]}".encode()).decode()
    request = urllib.request.Request(airflow.url + path, headers={"Authorization": f"Basic {token}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_backends_decide_who_gets_in(airflow: Airflow) -> None:
    pristine = airflow.cfg.read_bytes()
    assert status_of(airflow, "/api/v1/connections", "admin") in (401, 403)
    airflow.set_backends("airflow.api.auth.backend.basic_auth")
    changed = set(airflow.cfg.read_bytes().splitlines()) - set(pristine.splitlines())
    assert [line.split(b" = ")[1] for line in changed] == [b"airflow.api.auth.backend.basic_auth"]
    assert status_of(airflow, "/api/v1/connections", "admin") == 200
    assert status_of(airflow, "/api/v1/connections", "viewer") == 403
    airflow.cfg.write_bytes(pristine)
    airflow.restart_webserver()
    assert status_of(airflow, "/api/v1/connections", "admin") in (401, 403)


def test_cfg_is_as_the_release_wrote_it(airflow: Airflow) -> None:
    """Only its own home in its paths, and no option changed for the testbed's convenience."""
    text = airflow.cfg.read_text()
    assert "/template" not in text
    assert f"sql_alchemy_conn = sqlite:///{airflow.home}/airflow.db" in text
    assert "load_examples = True" in text


def test_an_orphaned_gunicorn_is_found(airflow: Airflow) -> None:
    """HUP kills `airflow webserver` and leaves gunicorn behind, without parent and with its environment overwritten."""
    orphan = int((airflow.home / "airflow-webserver.pid").read_text())
    os.kill(airflow.webserver_pid(), signal.SIGHUP)
    airflow.supervisor.stop(airflow.server_program)
    assert orphan in processes.of_home(airflow.home)
    os.kill(orphan, signal.SIGTERM)
    airflow.wait_until(lambda: not processes.alive(orphan), "the orphan is gone")
    airflow.restart_webserver()


def test_module_result(ansible: Ansible) -> None:
    done = ansible.module("ansible.builtin.command", {"argv": ["printenv", "COLOUR"]}, env={"COLOUR": "green"})
    assert (done.changed, done.failed, done.result["stdout"]) == (True, False, "green")
    refused = ansible.module("ansible.builtin.fail", {"msg": "no"})
    assert (refused.failed, refused.msg, refused.rc) == (True, "no", 2)


def test_playbook_result(ansible: Ansible) -> None:
    play = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
        msg: "{{ word }}"
"""
    done = ansible.playbook(play, {"word": "a {{ 'b' }}"})
    assert done.rc == 0
    assert done.stats["localhost"]["ok"] == 1
    assert done.tasks[0].result["msg"] == "a b"


def test_an_abandoned_home_is_cleaned_up(tmp_path: Path) -> None:
    """The process that wanted the home dies by SIGKILL: what ran in the home is ended, and the home removed."""
    home = tmp_path / "home"
    home.mkdir()
    program = f"""
import os, signal, subprocess, sys
sys.path.insert(0, {str(Path(processes.__file__).parents[1])!r})
from pathlib import Path
from testbed.subreaper import reaped
with reaped(Path({str(home)!r})):
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    child = subprocess.Popen(sleep, cwd={str(home)!r}, start_new_session=True)
    print(child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    child = int(done.stdout)  # run() waited for all that hold its stdout: the child and the reaper too
    assert not home.exists()
    assert not processes.alive(child)

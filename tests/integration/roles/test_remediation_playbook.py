# SPDX-License-Identifier: GPL-3.0-or-later
"""What remediation leaves alone on a real Airflow 2.11, and that it gets through a gateway as the watcher does.

All states of a host, with stand-ins for what the role asks: test_remediation_decisions.py.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from testbed.instance import Airflow
from testbed.runner import Ansible, PlaybookResult
from testbed.running import running

BACKENDS = "airflow.api.auth.backend.basic_auth,airflow.api.auth.backend.session"
# The health page calls a scheduler unhealthy that gave no sign of life for so many seconds; 30 by default.
ENVIRONMENT = {"AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "7"}
SECRET = "let-me-in"


class Site:
    """An Airflow, and the playbook on it with a journal and a restart command that leaves a trace."""

    def __init__(self, airflow: Airflow, ansible: Ansible, folder: Path) -> None:
        self.airflow = airflow
        self._ansible = ansible
        self._folder = folder
        self.login = {"username": "admin", "password": airflow.users["admin"]}

    def task(self, module: str, **args: Any) -> dict[str, Any]:
        call = {"url": self.airflow.url, **self.login, **args}
        return self._ansible.module(f"fleetops.airflow.{module}", call).result

    def fix(self, name: str, **variables: Any) -> tuple[PlaybookResult, list[dict[str, Any]], bool]:
        """What the playbook did: its result, the journal, and whether it ran the restart command."""
        folder = self._folder / name
        folder.mkdir()
        (folder / "login.json").write_text(json.dumps(self.login))
        restart = f"touch {folder}/RESTARTED"
        given = {
            "remediate_login_file": str(folder / "login.json"),
            "remediate_folder": str(folder / "journal"),
            "remediate_become": False,
            "remediate_hosts": ["localhost"],
            "airflow_home": str(self.airflow.home),
            "remediate_restart_commands": {"scheduler": restart, "webserver": restart},
        }
        done = self._ansible.playbook("fleetops.airflow.remediate", {**given, **variables})
        journal = folder / "journal/journal.jsonl"
        lines = journal.read_text().splitlines() if journal.exists() else []
        return done, [json.loads(line) for line in lines], (folder / "RESTARTED").exists()

    def problem(self, kind: str, **more: Any) -> dict[str, Any]:
        return {"id": f"here {kind}", "api": "here", "url": self.airflow.url, "type": kind, "recovered": False, **more}


@pytest.fixture(scope="module")
def site(ansible: Ansible, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running("2.11.2", environment=ENVIRONMENT) as airflow:
        airflow.set_backends(BACKENDS)
        yield Site(airflow, ansible, tmp_path_factory.mktemp("playbook"))


@pytest.fixture
def gateway(site: Site) -> Iterator[str]:
    """The URL of a gateway that passes on what has its header, and answers 403 to anything else."""

    class Gateway(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("X-Gw") != SECRET:
                self.send_error(403)
                return
            connection = http.client.HTTPConnection("127.0.0.1", int(site.airflow.url.rpartition(":")[2]), timeout=60)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            text = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PATCH = _pass_on

        def log_message(self, *_args: object) -> None:
            """Silence."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_run_is_rerun_through_the_gateway_through_which_it_was_seen(site: Site, gateway: str) -> None:
    site.task("airflow_dag_trigger", dag_id="fails", run_id="f1", wait=True, wait_timeout=120)
    more = {"remediate_url": gateway, "remediate_dags": ["fails", "load_ordrs"]}
    done, entries, restarted = site.fix("gateway", **more, remediate_api_options={"headers": {"X-Gw": SECRET}})
    assert (done.rc, restarted) == (0, False), done.output
    assert [entry["outcome"] for entry in entries if entry["rule"] == "rerun" and entry["step"] == "end"] == ["cleared"]
    (unknown,) = [entry for entry in entries if entry["subject"] == "airflow remediate_dags"]
    assert unknown["after"] == {"unknown_dags": ["load_ordrs"]}
    assert SECRET not in done.output + json.dumps(entries)
    assert site.login["password"] not in done.output + json.dumps(entries)


def test_a_scheduler_that_is_busy_is_not_restarted(site: Site) -> None:
    site.task("airflow_dag_trigger", dag_id="slow", run_id="s1", conf={"seconds": 45})

    def is_busy() -> bool:
        return bool(site.task("airflow_api_info")["running_task"])

    site.airflow.wait_until(is_busy, "the scheduler gives no sign of life while its task runs", 60)
    problem = site.problem("component_unhealthy", component="scheduler")
    done, entries, restarted = site.fix("busy", remediate_problems=[problem])
    assert (done.rc, restarted) == (0, False), done.output
    assert "the task slow." in entries[-1]["action"], entries


def test_a_webserver_without_its_database_is_not_restarted(site: Site) -> None:
    """The last test: the database does not come back."""
    (database,) = site.airflow.home.glob("*.db")
    database.rename(database.with_suffix(".away"))
    database.mkdir()
    diagnosis = {"code": "server_unavailable", "cause": "503", "evidence": "", "remedy": ""}
    problem = site.problem("api_unreachable", diagnosis=diagnosis)
    done, entries, restarted = site.fix("database", remediate_problems=[problem])
    assert (done.rc, restarted) == (0, False), done.output
    assert "reports that its database does not" in entries[-1]["action"], entries

# SPDX-License-Identifier: GPL-3.0-or-later
"""What triggering costs beside ansible.builtin.uri and a bare script with requests: the second half of `make bench`.

One run; one hundred in one task; and up to 5000, these against a stub of the API, since a real Airflow on the same
machine would be what is measured. As in bench.py, look at the ratios of what was measured in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tests"))

import requests  # noqa: E402  (the path has to be set first)
from benchmark.bench import BUILD, ratio, row  # noqa: E402
from testbed import releases  # noqa: E402
from testbed.installation import Installer, find_uv  # noqa: E402
from testbed.instance import Airflow, free_port  # noqa: E402
from testbed.runner import Ansible  # noqa: E402
from testbed.subreaper import reaped  # noqa: E402

OURS = "fleetops.airflow.airflow_dag_trigger"
HUNDRED = 100
SIZES = (625, 1250, 2500, 5000)
# How long the task of a run sleeps; the scheduler adds a few seconds to each.
LENGTHS = (0, 1, 3, 5, 8, 12, 20, 30)


class Login:
    """One server's API as a bare script knows it: where it is, and the header by which it knows its caller."""

    def __init__(self, airflow: Airflow) -> None:
        self.url = airflow.url
        if airflow.version.startswith("2."):
            self.options = dict(zip(("username", "password"), airflow.admin, strict=True))
            self.runs = airflow.url + "/api/v1/dags/paused/dagRuns"
            self.body: dict[str, Any] = {}
            prepared = requests.Request("GET", airflow.url, auth=airflow.admin).prepare()
            self.authorization = prepared.headers["Authorization"]
        else:
            pair = dict(zip(("username", "password"), airflow.admin, strict=True))
            token = requests.post(airflow.url + "/auth/token", json=pair, timeout=30).json()["access_token"]
            self.options = {"token": token}
            self.runs = airflow.url + "/api/v2/dags/paused/dagRuns"
            self.body = {"logical_date": None}
            self.authorization = f"Bearer {token}"


def main() -> int:
    parser = argparse.ArgumentParser(description="What triggering costs beside uri and a bare script.")
    parser.add_argument("--versions", nargs="*", default=["2.11.2", "3.3.2"], help="Airflow releases")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of one trigger (default: %(default)s)")
    parser.add_argument("--hundreds", type=int, default=3, help="rounds of 100 triggers (default: %(default)s)")
    options = parser.parse_args()
    for version in options.versions:
        triggers(version, options.rounds, options.hundreds)
        delays(version)
    many()
    return 0


@contextlib.contextmanager
def running(version: str, *, server_only: bool) -> Iterator[tuple[Airflow, Ansible]]:
    """An Airflow that takes passwords or gives tokens for them, and an Ansible to call it with."""
    installation = Installer(BUILD / "airflow", find_uv(CHECKOUT), print).airflow(releases.release(version))
    home, work = Path(tempfile.mkdtemp(prefix="airflow-")), Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        with reaped(home):
            airflow = Airflow(installation, home, free_port(), server_only=server_only)
            airflow.prepare()
            if version.startswith("2."):
                airflow.write_backends("airflow.api.auth.backend.basic_auth,airflow.api.auth.backend.session")
            airflow.start()
            yield airflow, Ansible(Path(sys.executable).parent, work, BUILD / "collections", Path(sys.executable))
    finally:
        shutil.rmtree(work)


def triggers(version: str, rounds: int, hundreds: int) -> None:
    with running(version, server_only=True) as (airflow, ansible):
        parsed = airflow.cli("dags", "reserialize")
        if parsed.returncode != 0:
            raise SystemExit(parsed.stderr[-3000:])
        login = Login(airflow)
        one(ansible, login, version, rounds)
        hundred(ansible, login, version, hundreds)


def uri(login: Login, name: str) -> dict[str, Any]:
    """The bare POST."""
    arguments = {"url": login.runs, "method": "POST", "body_format": "json", "body": {**login.body, "conf": {"a": 1}}}
    return {"name": name, "ansible.builtin.uri": {**arguments, "headers": {"Authorization": login.authorization}}}


def one(ansible: Ansible, login: Login, version: str, rounds: int) -> None:
    """One trigger. With if_paused 'trigger' it is one request as well; by default the DAG is looked at before."""
    common = {"url": login.url, **login.options, "dag_id": "paused", "conf": {"a": 1}}
    tasks = [
        uri(login, "uri"),
        {"name": "ours", OURS: {**common, "if_paused": "trigger"}},
        {"name": "look", OURS: {**common, "if_paused": "unpause"}},
    ]
    play = [{"hosts": "all", "gather_facts": False, "tasks": tasks * (rounds + 1)}]
    done = ansible.playbook(json.dumps(play) + "\n", env={"ANSIBLE_PIPELINING": "True"})
    if done.rc != 0:
        raise SystemExit(f"nothing should have failed:\n{done.output[-3000:]}")
    seconds: dict[str, list[float]] = {}
    for task in done.tasks[len(tasks) :]:  # the first round warms up
        seconds.setdefault(task.task, []).append(task.seconds)
    print(f"\nOne trigger, Airflow {version}, {rounds} rounds, milliseconds:")
    row("ansible.builtin.uri, the bare POST", seconds["uri"], 1000)
    row("airflow_dag_trigger", seconds["ours"], 1000)
    row("the same with a look at the DAG", seconds["look"], 1000)
    ratio("airflow_dag_trigger / uri", seconds["ours"], seconds["uri"], 1.1)
    ratio("the same with a look / uri", seconds["look"], seconds["uri"], 1.1)


def hundred(ansible: Ansible, login: Login, version: str, rounds: int) -> None:
    """One hundred triggers in one task, against a bare script and a loop of uri."""
    ours, script, loop, pings = [], [], [], []
    runs = [{"dag_id": "paused", "conf": {"a": number}} for number in range(HUNDRED)]
    task = {"name": "ours", OURS: {"url": login.url, **login.options, "if_paused": "trigger", "runs": runs}}
    looped = {**uri(login, "loop"), "loop": list(range(HUNDRED))}
    for _round in range(rounds):
        play = [{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.ping": {}}, task]}]
        done = ansible.playbook(json.dumps(play) + "\n", env={"ANSIBLE_PIPELINING": "True"})
        if done.rc != 0:
            raise SystemExit(f"nothing should have failed:\n{done.output[-3000:]}")
        pings.append(done.tasks[0].seconds)
        ours.append(done.tasks[-1].seconds)
        script.append(bare(login, done.tasks[-1].result["connections"]))
    play = [{"hosts": "all", "gather_facts": False, "tasks": [looped]}]
    done = ansible.playbook(json.dumps(play) + "\n", env={"ANSIBLE_PIPELINING": "True"})
    loop.append(done.tasks[-1].seconds)
    print(f"\n{HUNDRED} triggers, Airflow {version}, {rounds} rounds, seconds:")
    row("a bare script with requests", script, 1)
    row("airflow_dag_trigger with runs", ours, 1)
    row("a loop of ansible.builtin.uri, once", loop, 1)
    ratio("airflow_dag_trigger / script", ours, script, 1 / 0.8)
    net = [task - ping for task, ping in zip(ours, pings, strict=True)]
    ratio("the same without what a ping costs", net, script, 1 / 0.8)
    ratio("airflow_dag_trigger / loop of uri", ours, loop * len(ours), 1 / 4)


def bare(login: Login, connections: int) -> float:
    """What the same costs a script that keeps its connections and cares for nothing, with its start."""
    program = f"""
import requests, threading
from concurrent.futures import ThreadPoolExecutor
session = requests.Session()
session.headers["Authorization"] = {login.authorization!r}
def trigger(number):
    session.post({login.runs!r}, json={{**{login.body!r}, "conf": {{"a": number}}}}, timeout=60).json()
with ThreadPoolExecutor({connections}) as pool:
    list(pool.map(trigger, range({HUNDRED})))
"""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-"], input=program, text=True, check=True)
    return time.monotonic() - begun


def delays(version: str) -> None:
    """From the end of a run, as Airflow knows it, to the end of the task that waits for it."""
    with running(version, server_only=False) as (airflow, ansible):
        common = {"url": airflow.url, **Login(airflow).options, "dag_id": "slow", "wait": True}
        tasks = [{OURS: {**common, "conf": {"seconds": length}}} for length in LENGTHS]
        play = [{"hosts": "all", "gather_facts": False, "tasks": tasks}]
        done = ansible.playbook(json.dumps(play) + "\n", env={"ANSIBLE_PIPELINING": "True"})
        if done.rc != 0:
            raise SystemExit(f"nothing should have failed:\n{done.output[-3000:]}")
    ends = [datetime.fromisoformat(task.result["dag_run"]["end_date"]).timestamp() for task in done.tasks]
    late = [task.ended - end for task, end in zip(done.tasks, ends, strict=True)]
    print(f"\nFrom the end of a run to the end of the task, Airflow {version}, {len(late)} runs, seconds:")
    row("airflow_dag_trigger with wait", late, 1)
    middle = statistics.median(late)
    verdict = "reached" if middle < 1 else "NOT REACHED"
    print(f"  {'median':36} {middle:15.2f}   target  1.00   {verdict}")


# --- up to 5000 -------------------------------------------------------------------------------


class Stub(BaseHTTPRequestHandler):
    """As much of the stable API as is needed here: every run succeeds 5 seconds after it was made."""

    protocol_version = "HTTP/1.1"
    runs: ClassVar[dict[str, dict[str, Any]]] = {}
    lock = threading.Lock()

    def do_GET(self) -> None:
        self._answer({"is_paused": False, "dag_id": "load", "scheduler": {"status": "healthy"}})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.lock:
            if self.path.endswith("/taskInstances/list"):  # asked for those that failed
                self._answer({"task_instances": [], "total_entries": 0})
                return
            if self.path.endswith("/list"):
                self._answer(self._ended(asked))
                return
            number = len(self.runs)
            run = {
                "dag_id": "load",
                "state": "queued",
                "execution_date": f"2026-01-01T00:00:00.{number:06}+00:00",
                "start_date": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
                **asked,
            }
            self.runs[asked["dag_run_id"]] = {**run, "made": time.time()}
            self._answer(run)

    def _ended(self, asked: dict[str, Any]) -> dict[str, Any]:
        ended = []
        for run in self.runs.values():
            end = run["made"] + 5
            date = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(end))
            if end <= time.time() and date >= asked["end_date_gte"]:
                ended.append({**run, "state": "success", "end_date": date})
        begin = asked["page_offset"]
        return {"dag_runs": ended[begin : begin + asked["page_limit"]], "total_entries": len(ended)}

    def _answer(self, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        pass


def many() -> None:
    """Time and memory of the module's code for more and more runs, triggered and waited for, against the stub."""
    print("\nRuns triggered and waited for, against a stub of the API whose runs take 5 seconds:")
    found = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Stub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for size in SIZES:
            Stub.runs.clear()
            found.append(json.loads(in_process(f"http://127.0.0.1:{server.server_port}", size)))
            print(f"  {size:5} runs: {found[-1]['seconds']:7.2f} s, {found[-1]['kibibytes'] / 1024:6.1f} MiB at most")
        server.shutdown()
    for what, unit in (("time", "seconds"), ("memory", "kibibytes")):
        # What one run more costs, among the first and among the last: the start of it all is not to hide that.
        growth = [
            (more[unit] - fewer[unit]) / (size - smaller)
            for fewer, more, smaller, size in zip(found, found[1:], SIZES, SIZES[1:], strict=False)
        ]
        ratio(f"{what} of one run, last / first", [growth[-1]], [growth[0]], 1.5)


def in_process(url: str, size: int) -> str:
    program = f"""
import json, resource, time
from ansible_collections.fleetops.airflow.plugins.module_utils._api.connect import connect
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.batch import Batch
from ansible_collections.fleetops.airflow.plugins.module_utils._api.arguments import API_ARGUMENTS
from ansible_collections.fleetops.airflow.plugins.module_utils._runs.request import run_requests
options = {{name: argument.get("default") for name, argument in API_ARGUMENTS.items()}}
options.update(url={url!r}, username="a", password="b", api_version="v1", if_paused="fail", unless_running=False,
               wait=True, wait_timeout=3600.0, wait_interval=10.0, on_timeout="leave", fail_on_failed_tasks=False)
one = dict.fromkeys(["run_id", "logical_date", "note"])
options["runs"] = [{{**one, "dag_id": "load", "conf": {{"number": n}}}} for n in range({size})]
begun = time.monotonic()
batch = Batch(connect(options), run_requests(options))
batch.submit()
batch.wait()
results = [trigger.result() for trigger in batch.triggers]
assert not batch.failures and all(one["dag_run"]["state"] == "success" for one in results)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({{"seconds": time.monotonic() - begun, "kibibytes": peak}}))
"""
    env = {"PYTHONPATH": str(BUILD / "collections")}
    return subprocess.run([sys.executable, "-"], input=program, env=env, text=True, check=True, stdout=-1).stdout


if __name__ == "__main__":
    sys.exit(main())

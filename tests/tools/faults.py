# SPDX-License-Identifier: GPL-3.0-or-later
"""500 triggers through a network that spoils 30 % of the requests, on both generations: `make test-network-faults`.

The same with ansible.builtin.uri and retries, as people do it today. Writes docs/faults.md. With --runs, only a trial:
nothing is written.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tests"))

from testbed import releases  # noqa: E402  (the path has to be set first)
from testbed.faulty_proxy import KINDS, FaultyProxy  # noqa: E402
from testbed.installation import Installer, find_uv  # noqa: E402
from testbed.instance import Airflow, free_port  # noqa: E402
from testbed.runner import Ansible  # noqa: E402
from testbed.subreaper import reaped  # noqa: E402

TABLE = CHECKOUT / "docs/faults.md"
OURS = "fleetops.airflow.airflow_dag_trigger"
ALL = 500
SHARE = 0.3
TIMEOUT = 5
LATE = 6.0
BASIC = "airflow.api.auth.backend.basic_auth,airflow.api.auth.backend.session"
HEADER = """\
<!-- SPDX-License-Identifier: GPL-3.0-or-later -->
# A network that fails

Written by `make test-network-faults`. Between the task and a real Airflow stands a TCP proxy that spoils 30 % of all
requests, each in one of these ways: {kinds}. "Too late" is after the task's `timeout`. 500 runs are ordered: by one
task of `airflow_dag_trigger` with `runs`, half of them with a run id; and by `ansible.builtin.uri` in a loop of 500
with `retries: 5`, a second apart. Afterwards the runs are counted past the proxy.

- doubled: the order has made more than one run. Lost: none, and the task calls it done.
- falsely failed: the task calls it failed, and the run is there. Failed: it is called so, and rightly.

| Airflow | by | ordered | runs | doubled | lost | falsely failed | failed | requests | spoiled |
|---|---|---|---|---|---|---|---|---|---|
"""


class Count(NamedTuple):
    """What came of the orders; see HEADER."""

    ordered: int
    runs: int
    doubled: int
    lost: int
    falsely_failed: int
    failed: int
    requests: int
    spoiled: int


def main() -> int:
    parser = argparse.ArgumentParser(description="500 triggers through a network that fails.")
    parser.add_argument("--versions", nargs="*", default=["2.11.2", "3.3.2"], help="Airflow releases")
    parser.add_argument("--runs", type=int, default=ALL, help="how many runs (default: %(default)s)")
    options = parser.parse_args()
    text = HEADER.format(kinds=", ".join(KINDS))
    good = True
    for version in options.versions:
        for by, count in on(version, options.runs):
            text += f"| {version} | `{by}` | {' | '.join(map(str, count))} |\n"
            print(text.splitlines()[-1], flush=True)
            exact = count.runs == count.ordered and not count.doubled + count.lost + count.falsely_failed + count.failed
            good = good and (exact or by != "airflow_dag_trigger")
    if options.runs == ALL:
        TABLE.write_text(text)
    return 0 if good else 1


def on(version: str, number: int) -> list[tuple[str, Count]]:
    """Both ways on one release."""
    installation = Installer(CHECKOUT / ".build/airflow", find_uv(CHECKOUT), print).airflow(releases.release(version))
    home, work = Path(tempfile.mkdtemp(prefix="airflow-")), Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        with reaped(home):
            airflow = Airflow(installation, home, free_port(), server_only=True)
            airflow.prepare()
            if version.startswith("2."):
                airflow.write_backends(BASIC)
            airflow.start()
            parsed = airflow.cli("dags", "reserialize")
            if parsed.returncode != 0:
                raise SystemExit(parsed.stderr[-3000:])
            collections = CHECKOUT / ".build/collections"
            ansible = Ansible(Path(sys.executable).parent, work, collections, Path(sys.executable))
            return [("airflow_dag_trigger", ours(ansible, airflow, number)), ("uri", theirs(ansible, airflow, number))]
    finally:
        shutil.rmtree(work)


def ours(ansible: Ansible, airflow: Airflow, number: int) -> Count:
    runs: list[dict[str, Any]] = [{"dag_id": "paused", "conf": {"ours": one}} for one in range(number)]
    for one in range(0, number, 2):
        runs[one]["run_id"] = f"named-{one}"
    proxy = FaultyProxy(airflow.port, SHARE, delay=LATE)
    username, password = airflow.admin
    arguments = {"url": proxy.url, "username": username, "password": password, "timeout": TIMEOUT}
    task = {"name": "ours", OURS: {**arguments, "if_paused": "trigger", "runs": runs}}
    done = ansible.playbook(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]) + "\n")
    proxy.close()
    outcomes = done.tasks[-1].result["outcomes"]
    failed = [outcome["failed"] or not outcome["changed"] for outcome in outcomes]
    return counted(airflow, "ours", failed, proxy)


def theirs(ansible: Ansible, airflow: Airflow, number: int) -> Count:
    proxy = FaultyProxy(airflow.port, SHARE, delay=LATE)
    address, authorization, body = bare(airflow, proxy.url)
    arguments = {"url": address, "method": "POST", "body_format": "json", "timeout": TIMEOUT, "status_code": [200]}
    task = {
        "name": "uri",
        "ansible.builtin.uri": {
            **arguments,
            "headers": {"Authorization": authorization},
            "body": {**body, "conf": {"theirs": "{{ item | int }}"}},
        },
        "loop": list(range(number)),
        "register": "answer",
        "until": "answer is succeeded",
        "retries": 5,
        "delay": 1,
        "ignore_errors": True,
    }
    done = ansible.playbook(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]) + "\n")
    proxy.close()
    failed = [bool(result.get("failed")) for result in done.tasks[-1].result["results"]]
    return counted(airflow, "theirs", failed, proxy)


def bare(airflow: Airflow, base: str) -> tuple[str, str, dict[str, Any]]:
    """Address, Authorization header and body of the bare POST. The token of 3.x is fetched past the faulty network."""
    import requests

    pair = airflow.admin
    if airflow.version.startswith("2."):
        prepared = requests.Request("GET", base, auth=pair).prepare()
        return base + "/api/v1/dags/paused/dagRuns", prepared.headers["Authorization"], {}
    login = dict(zip(("username", "password"), pair, strict=True))
    token = requests.post(airflow.url + "/auth/token", json=login, timeout=60).json()["access_token"]
    return base + "/api/v2/dags/paused/dagRuns", f"Bearer {token}", {"logical_date": None}


def counted(airflow: Airflow, key: str, failed: list[bool], proxy: FaultyProxy) -> Count:
    """Compare what the task says of each order with the runs that there are, told apart by their conf."""
    time.sleep(LATE + 1)  # for the last request that nobody waits for any more
    made = Counter(int(conf[key]) for conf in confs(airflow) if key in conf)
    orders = range(len(failed))
    return Count(
        ordered=len(failed),
        runs=sum(made.values()),
        doubled=sum(made[one] > 1 for one in orders),
        lost=sum(not made[one] and not failed[one] for one in orders),
        falsely_failed=sum(made[one] > 0 and failed[one] for one in orders),
        failed=sum(not made[one] and failed[one] for one in orders),
        requests=proxy.requests,
        spoiled=sum(proxy.faults.values()),
    )


def confs(airflow: Airflow) -> list[dict[str, Any]]:
    """The conf of every run, from the API, without the faulty network."""
    import requests

    address, authorization, _body = bare(airflow, airflow.url)
    found: list[dict[str, Any]] = []
    while True:
        asked: dict[str, Any] = {"limit": 100, "offset": len(found), "order_by": "id"}
        headers = {"Authorization": authorization}
        page = requests.get(address, params=asked, headers=headers, timeout=60).json()["dag_runs"]
        found += [run["conf"] or {} for run in page]
        if not page:
            return found


if __name__ == "__main__":
    sys.exit(main())

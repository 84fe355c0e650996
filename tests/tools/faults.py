# SPDX-License-Identifier: GPL-3.0-or-later
"""500 triggers through a network that spoils 30 % of the requests, on both generations: `make test-network-faults`.

The same with ansible.builtin.uri and retries, as people do it today. Writes docs/faults.md. With --runs, only a trial:
nothing is written.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tests"))

from testbed import releases  # noqa: E402  (the path has to be set first)
from testbed.faulty_proxy import GATEWAY_KINDS, KINDS, LATEST, FaultyProxy  # noqa: E402
from testbed.installation import Installer, find_uv  # noqa: E402
from testbed.instance import Airflow, free_port  # noqa: E402
from testbed.runner import Ansible  # noqa: E402
from testbed.subreaper import reaped  # noqa: E402

CHANGED = ({"rerun": "all_tasks", "if_paused": "rerun"}, {"state": "success"})
TABLE = CHECKOUT / "docs/faults.md"
OURS = "fleetops.airflow.airflow_dag_trigger"
ALL = 500
MOST_BY_URI = 100  # whose tries go wrong one after the other
SHARE = 0.3
ALL_KINDS = (*KINDS, *GATEWAY_KINDS)
TIMEOUT = 5
LATE = 6.0
BASIC = "airflow.api.auth.backend.basic_auth,airflow.api.auth.backend.session"
HEADER = """\
<!-- SPDX-License-Identifier: GPL-3.0-or-later -->
# A network that fails

Written by `make test-network-faults` on {date}, commit {commit}, seed {seed}. Between the task and a real Airflow
stands a proxy that spoils 30 % of all requests, each in one of these ways: {kinds}.

- "Too late": the answer comes after the `timeout` of the task. "Late": the connection is closed, and the request is
  passed on 1 to 30 seconds later. "500" and "502" are answers of the proxy itself. "Drip": two bytes a second.
- {runs} runs are ordered, with `api_version: auto`: by one task of `airflow_dag_trigger` with `runs`, half of them with
  a run ID; and fewer by `ansible.builtin.uri` in a loop with `retries: 5`, a second apart. {latest} seconds afterwards
  the runs are counted past the proxy.
- Doubled: the order has made more than one run. Lost: none, and the task calls it done. Falsely failed: the task calls
  it failed, and the run is there. Failed: it is called so, and rightly. In doubt: the task says that it is not known
  whether the run was made, and names its ID.

| Airflow | by | ordered | runs | doubled | lost | falsely failed | failed | in doubt | requests | spoiled |
|---|---|---|---|---|---|---|---|---|---|---|
"""


HEADER_OF_CHANGES = """
The same network between `airflow_dag_run` and runs that have failed, {changes} of them for each row. Twice: the server
has received the change of a run more than once. Falsely changed: the task says so, and the run is as before. Falsely
failed: the task says that nothing was changed, and the run has changed.

| Airflow | change | ordered | changed | twice | falsely changed | falsely failed | in doubt | requests | spoiled |
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
    in_doubt: int
    requests: int
    spoiled: int


class ChangeCount(NamedTuple):
    """What came of the changes; see HEADER_OF_CHANGES."""

    ordered: int
    changed: int
    twice: int
    falsely_changed: int
    falsely_failed: int
    in_doubt: int
    requests: int
    spoiled: int


def main() -> int:
    parser = argparse.ArgumentParser(description="500 triggers through a network that fails.")
    parser.add_argument("--versions", nargs="*", default=["2.11.2", "3.3.2"], help="Airflow releases")
    parser.add_argument("--runs", type=int, default=ALL, help="how many runs (default: %(default)s)")
    parser.add_argument("--changes", type=int, default=40, help="how many runs for each change (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="which requests are spoiled (default: %(default)s)")
    parser.add_argument("--without-uri", action="store_true", help="only the collection's module")
    options = parser.parse_args()
    text = HEADER.format(
        date=datetime.now(UTC).date(),
        commit=commit(),
        seed=options.seed,
        kinds=", ".join(ALL_KINDS),
        runs=options.runs,
        latest=f"{LATEST + 1:.0f}",
    )
    good = True
    of_changes = HEADER_OF_CHANGES.format(changes=options.changes)
    for version in options.versions:
        for by, count in on(version, options):
            row = f"| {version} | `{by}` | {' | '.join(map(str, count))} |\n"
            print(row, end="", flush=True)
            if isinstance(count, ChangeCount):
                of_changes += row
                good = good and not count.twice + count.falsely_changed + count.falsely_failed
                continue
            text += row
            wrong = count.doubled + count.lost + count.falsely_failed + count.failed + count.in_doubt
            exact = count.runs == count.ordered and not wrong
            good = good and (exact or by != "airflow_dag_trigger")
    if options.runs == ALL:
        TABLE.write_text(text + of_changes)
    return 0 if good else 1


def commit() -> str:
    """The one that is tried."""
    asked = ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty=, with changes"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def on(version: str, options: argparse.Namespace) -> Iterator[tuple[str, Count | ChangeCount]]:
    """Both ways to trigger and both changes, on one release."""
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
            for change in CHANGED:
                name = ", ".join(f"{option}: {value}" for option, value in change.items() if option != "if_paused")
                yield name, changes(ansible, airflow, change, options)
            yield "airflow_dag_trigger", ours(ansible, airflow, options)
            if not options.without_uri:
                yield "uri", theirs(ansible, airflow, options)
    finally:
        shutil.rmtree(work)


def ours(ansible: Ansible, airflow: Airflow, options: argparse.Namespace) -> Count:
    runs: list[dict[str, Any]] = [{"dag_id": "paused", "conf": {"ours": one}} for one in range(options.runs)]
    for one in range(0, options.runs, 2):
        runs[one]["run_id"] = f"named-{one}"
    proxy = FaultyProxy(airflow.port, SHARE, ALL_KINDS, LATE, options.seed)
    username, password = airflow.admin
    arguments = {"url": proxy.url, "username": username, "password": password, "timeout": TIMEOUT}
    task = {"name": "ours", OURS: {**arguments, "if_paused": "trigger", "runs": runs}}
    done = ansible.playbook(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]) + "\n")
    proxy.close()
    outcomes = done.tasks[-1].result["outcomes"]
    failed = [outcome["failed"] or not outcome["changed"] for outcome in outcomes]
    doubt = [bool(outcome.get("in_doubt")) for outcome in outcomes]
    for outcome in outcomes:
        if outcome["failed"]:
            print(outcome["msg"])
    return counted(airflow, "ours", failed, doubt, proxy)


def changes(ansible: Ansible, airflow: Airflow, change: dict[str, str], options: argparse.Namespace) -> ChangeCount:
    """Runs that have failed, each changed once, through the network that fails."""
    import requests

    kind = "rerun" if "rerun" in change else "state"
    address, authorization, body = bare(airflow, airflow.url)
    key, date = ("dag_run_id", "execution_date") if airflow.version.startswith("2.") else ("dag_run_id", "logical_date")
    names = [f"{kind}-{number}" for number in range(options.changes)]
    calls = requests.Session()
    calls.headers["Authorization"] = authorization
    for number, name in enumerate(names):
        day = f"{2024 if kind == 'rerun' else 2025}-02-01T00:{number:02}:00+00:00"  # no two runs may have the same
        calls.post(address, json={**body, key: name, date: day}, timeout=60).raise_for_status()
        calls.patch(f"{address}/{name}", json={"state": "failed"}, timeout=60).raise_for_status()
    proxy = FaultyProxy(airflow.port, SHARE, ALL_KINDS, LATE, options.seed)
    username, password = airflow.admin
    login = {"url": proxy.url, "username": username, "password": password, "timeout": TIMEOUT}
    task = {
        "name": "change",
        "fleetops.airflow.airflow_dag_run": {**login, "dag_id": "paused", "run_id": "{{ item }}", **change},
        "loop": names,
        "ignore_errors": True,
    }
    done = ansible.playbook(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]) + "\n")
    proxy.close()
    time.sleep(LATEST + 1)
    results = done.tasks[-1].result["results"]
    states = [calls.get(f"{address}/{name}", timeout=60).json()["state"] for name in names]
    is_changed = [state != "failed" for state in states]
    doubt = [bool(result.get("in_doubt")) for result in results]
    says = [bool(result.get("changed")) for result in results]
    orders = {one: count for one, count in proxy.passed_on.items() if is_order(*one)}
    return ChangeCount(
        ordered=len(names),
        changed=sum(is_changed),
        twice=sum(count > 1 for count in orders.values()),
        falsely_changed=sum(said and not real for said, real in zip(says, is_changed, strict=True)),
        falsely_failed=sum(
            real and not said and not open_ for said, real, open_ in zip(says, is_changed, doubt, strict=True)
        ),
        in_doubt=sum(doubt),
        requests=proxy.requests,
        spoiled=sum(proxy.faults.values()),
    )


def is_order(line: str, body: str) -> bool:
    """Whether a request changes a run."""
    return line.startswith("PATCH") or ("clearTaskInstances" in line and '"dry_run": false' in body)


def theirs(ansible: Ansible, airflow: Airflow, options: argparse.Namespace) -> Count:
    proxy = FaultyProxy(airflow.port, SHARE, ALL_KINDS, LATE, options.seed)
    address, authorization, body = bare(airflow, proxy.url)
    arguments = {"url": address, "method": "POST", "body_format": "json", "timeout": TIMEOUT, "status_code": [200]}
    task = {
        "name": "uri",
        "ansible.builtin.uri": {
            **arguments,
            "headers": {"Authorization": authorization},
            "body": {**body, "conf": {"theirs": "{{ item | int }}"}},
        },
        "loop": list(range(min(options.runs, MOST_BY_URI))),
        "register": "answer",
        "until": "answer is succeeded",
        "retries": 5,
        "delay": 1,
        "ignore_errors": True,
    }
    done = ansible.playbook(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]) + "\n")
    proxy.close()
    failed = [bool(result.get("failed")) for result in done.tasks[-1].result["results"]]
    return counted(airflow, "theirs", failed, [False] * len(failed), proxy)


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


def counted(airflow: Airflow, key: str, failed: list[bool], doubt: list[bool], proxy: FaultyProxy) -> Count:
    """Compare what the task says of each order with the runs that there are, told apart by their conf."""
    time.sleep(LATEST + 1)  # for the last request that nobody waits for any more
    made = Counter(int(conf[key]) for conf in confs(airflow) if key in conf)
    orders = range(len(failed))
    return Count(
        ordered=len(failed),
        runs=sum(made.values()),
        doubled=sum(made[one] > 1 for one in orders),
        lost=sum(not made[one] and not failed[one] for one in orders),
        falsely_failed=sum(made[one] > 0 and failed[one] and not doubt[one] for one in orders),
        failed=sum(not made[one] and failed[one] and not doubt[one] for one in orders),
        in_doubt=sum(doubt),
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

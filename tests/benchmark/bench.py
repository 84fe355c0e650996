# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task costs beside what people use today: `make bench`.

Everything is measured in turn, in one run on one machine, on a real Airflow: A, B, A, B, ... The figures to look at are
the medians of the ratios of neighbours; the seconds are this machine's.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tests"))

from testbed import releases  # noqa: E402  (the path has to be set first)
from testbed.installation import Installer, find_uv  # noqa: E402
from testbed.instance import Airflow, free_port  # noqa: E402
from testbed.runner import Ansible  # noqa: E402
from testbed.subreaper import reaped  # noqa: E402

BUILD = CHECKOUT / ".build"
OURS = "fleetops.airflow.airflow_api_auth"


def main() -> int:
    parser = argparse.ArgumentParser(description="What a task costs beside what people use today.")
    parser.add_argument("--version", default=releases.DEFAULT, help="Airflow release (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=25, help="rounds without a change (default: %(default)s)")
    parser.add_argument("--restarts", type=int, default=15, help="pairs of each change (default: %(default)s)")
    options = parser.parse_args()
    installer = Installer(BUILD / "airflow", find_uv(CHECKOUT), print)
    installation = installer.airflow(releases.release(options.version))
    home, work = Path(tempfile.mkdtemp(prefix="airflow-")), Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        with reaped(home):
            airflow = Airflow(installation, home, free_port(), server_only=True)
            airflow.prepare()
            airflow.start()
            collections = Path(f"{BUILD}/collections:{BUILD}/bench")
            ansible = Ansible(Path(sys.executable).parent, work, collections, Path(sys.executable))
            without_change(ansible, airflow, options.rounds)
            with_change(ansible, airflow, options.restarts)
    finally:
        shutil.rmtree(work)
    return 0


def without_change(ansible: Ansible, airflow: Airflow, rounds: int) -> None:
    """One task that changes nothing, against a ping, and against the recipe of ini_file and uri."""
    wanted = {"backends": ["basic_auth", "session"], "airflow_home": str(airflow.home)}
    if not ansible.module(OURS, wanted).changed:
        raise SystemExit("the first run should have changed something")
    value = "airflow.api.auth.backend.basic_auth,airflow.api.auth.backend.session"
    ini_file = {"path": str(airflow.cfg), "section": "api", "option": "auth_backends", "value": value}
    tasks: list[dict[str, object]] = [
        {"name": "ping", "ansible.builtin.ping": {}},
        {"name": "ours", OURS: wanted},
        {"name": "ini_file", "community.general.ini_file": {**ini_file, "no_extra_spaces": False}},
        {"name": "uri", "ansible.builtin.uri": {"url": airflow.url + "/health"}},
    ]
    play = [{"hosts": "all", "gather_facts": False, "tasks": tasks * (rounds + 1)}]
    done = ansible.playbook(json.dumps(play) + "\n", env={"ANSIBLE_PIPELINING": "True"})
    if done.rc != 0 or done.changed:
        raise SystemExit(f"nothing should have changed or failed:\n{done.output[-3000:]}")
    seconds: dict[str, list[float]] = {}
    for task in done.tasks[len(tasks) :]:  # the first round warms up
        seconds.setdefault(task.task, []).append(task.seconds)
    recipe = [sum(pair) for pair in zip(seconds["ini_file"], seconds["uri"], strict=True)]
    print(f"\nA task without a change, Airflow {airflow.version}, {rounds} rounds, milliseconds:")
    row("ansible.builtin.ping", seconds["ping"], 1000)
    row("airflow_api_auth", seconds["ours"], 1000)
    row("ini_file, then uri", recipe, 1000)
    ratio("airflow_api_auth / ping", seconds["ours"], seconds["ping"], 1.15)
    ratio("airflow_api_auth / (ini_file, uri)", seconds["ours"], recipe, 0.5)


def with_change(ansible: Ansible, airflow: Airflow, pairs: int) -> None:
    """From the start of the task to the healthy server, against a restart and a poll of its health, without Ansible.

    There and back: only the way there brings a backend that has to be imported before.
    """
    ways = {"a backend comes": ["basic_auth", "session"], "it goes": ["session"]}
    ours: dict[str, list[float]] = {way: [] for way in ways}
    bare: dict[str, list[float]] = {way: [] for way in ways}
    ansible.module(OURS, {"backends": ways["it goes"], "airflow_home": str(airflow.home)})
    for way, backends in [*ways.items()] * pairs:
        begun = time.monotonic()
        airflow.restart_webserver()
        bare[way].append(time.monotonic() - begun)
        play = [{"hosts": "all", "gather_facts": False, "tasks": [{"name": "ours", OURS: {"backends": backends}}]}]
        play[0]["tasks"][0][OURS]["airflow_home"] = str(airflow.home)  # type: ignore[index]
        done = ansible.playbook(json.dumps(play) + "\n", env={"ANSIBLE_PIPELINING": "True"})
        if done.rc != 0 or done.changed != 1:
            raise SystemExit(f"each run should change something:\n{done.output[-3000:]}")
        ours[way].append(done.tasks[-1].seconds)
    print(f"\nA change until the server is healthy again, {pairs} pairs of each, seconds:")
    for way in ways:
        row("restart and poll, no Ansible", bare[way], 1)
        row(f"airflow_api_auth, {way}", ours[way], 1)
        ratio("airflow_api_auth / restart and poll", ours[way], bare[way], 1.1)
    checked = [import_check(airflow) for _number in range(5)]
    row("  of it, the import of the backends", checked, 1)


def import_check(airflow: Airflow) -> float:
    """What it costs to have Airflow's interpreter import a backend, which the module does before it writes."""
    begun = time.monotonic()
    program = "import airflow, airflow.api.auth.backend.basic_auth"
    subprocess.run(
        [str(airflow.python), "-c", program], env={"AIRFLOW_HOME": str(airflow.home)}, capture_output=True, check=True
    )
    return time.monotonic() - begun


def row(name: str, values: list[float], unit: int) -> None:
    low, middle, high = min(values) * unit, statistics.median(values) * unit, max(values) * unit
    print(f"  {name:36} median {middle:8.2f}   min {low:8.2f}   max {high:8.2f}")


def ratio(name: str, ours: list[float], theirs: list[float], target: float) -> None:
    middle = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
    verdict = "reached" if middle <= target else "NOT REACHED"
    print(f"  {name:36} ratio  {middle:8.2f}   target {target:5.2f}   {verdict}")


if __name__ == "__main__":
    sys.exit(main())

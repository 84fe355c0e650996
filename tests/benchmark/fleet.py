# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection costs on many hosts, beside a ping and beside today's recipe: a part of `make bench`.

Of 30 systemd hosts ten have a real Airflow, the others a stand-in for its server, and all are reached over ssh with ten
forks. The controller's own time and memory are measured with up to 200 hosts that are this machine itself. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tests"))

from benchmark.bench import ratio, row  # noqa: E402  (the path has to be set first)
from testbed import hosts, processes, pythons, releases  # noqa: E402
from testbed.airflow_host import HOME, PORT, AirflowHost  # noqa: E402
from testbed.hosts import Bed, Host  # noqa: E402
from testbed.installation import Installation, Installer, find_uv  # noqa: E402
from testbed.runner import Ansible, PlaybookResult  # noqa: E402

BUILD = CHECKOUT / ".build"
PLOT = CHECKOUT / "docs/controller.svg"
SOME, ALL = 10, 30
OURS, INFO = "fleetops.airflow.airflow_api_auth", "fleetops.airflow.airflow_api_auth_info"
WANTED = {"backends": ["basic_auth", "session"]}
USER = {"username": "deployer", "password": "a password of the benchmark", "role": "User"}
ENV = {"ANSIBLE_FORKS": "10", "ANSIBLE_PIPELINING": "True", "ANSIBLE_SSH_CONTROL_PATH_DIR": f"/tmp/cp-{os.getpid()}"}
VALUE = "airflow.api.auth.backend.basic_auth,airflow.api.auth.backend.session"


def main() -> int:
    parser = argparse.ArgumentParser(description="What the collection costs on many hosts.")
    parser.add_argument("--rounds", type=int, default=10, help="rounds without a change (default: %(default)s)")
    parser.add_argument("--changes", type=int, default=3, help="pairs of changes (default: %(default)s)")
    parser.add_argument("--real", type=int, default=SOME, help="hosts with a real Airflow (default: %(default)s)")
    options = parser.parse_args()
    why_not = hosts.reason_to_skip()
    if why_not:
        print(f"SKIPPED: {why_not}")
        return 0
    print(f"\nload before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    installer = Installer(BUILD / "airflow", find_uv(CHECKOUT), print)
    installation = installer.airflow(releases.release(releases.DEFAULT))
    folder, work = Path(tempfile.mkdtemp(prefix="bench-")), Path(tempfile.mkdtemp(prefix="bench-"))
    python = Path(sys.executable)
    collections = Path(f"{BUILD}/collections:{BUILD}/bench")
    binds = hosts.read_only_folders(pythons.find(installation.release.pythons))
    try:
        with hosts.bed(folder, ALL, binds) as bed:
            airflows = [AirflowHost(bed, host, installation) for host in bed.hosts[: options.real]]
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(start, airflows))
            for host in bed.hosts[options.real :]:
                stand_in(bed, host, installation)
            over_ssh = Ansible(python.parent, work, collections, python, hosts=bed.inventory(), prefix=bed.inside())
            without_change(over_ssh, options.real, options.rounds)
            with_change(over_ssh, airflows, options.changes)
            controller(collections, work, airflows[0])
    finally:
        shutil.rmtree(work)
    print(f"\nload after: {os.getloadavg()[0]:.1f}")
    return 0


def start(airflow: AirflowHost) -> None:
    airflow.prepare()
    airflow.run(f"systemctl start {airflow.unit}")
    airflow.wait_healthy(600)


def stand_in(bed: Bed, host: Host, installation: Installation) -> None:
    """As much as the module looks at: a process of that name, a unit, a real airflow.cfg, a real interpreter."""
    airflow = AirflowHost(bed, host, installation)
    home = airflow.cfg.parent
    home.mkdir(parents=True)
    template = (installation.folder / "template/airflow.cfg").read_bytes()
    airflow.cfg.write_bytes(template.replace(os.fsencode(installation.folder / "template"), os.fsencode(HOME)))
    text = (CHECKOUT / "tests/testbed/fake_health_server.py").read_text()
    airflow.write(f"{HOME}/bin/airflow", f"#!{installation.python}\n{text}", 0o755)
    airflow.write_environment()
    command = f"{installation.python} {HOME}/bin/airflow webserver {PORT}"
    service = f"[Service]\nUser=airflow\nEnvironmentFile=/etc/default/airflow\nExecStart={command}\n"
    airflow.write("/etc/systemd/system/airflow-webserver.service", service)
    airflow.run(f"chown -R airflow {HOME}; systemctl daemon-reload; systemctl start airflow-webserver")


def names(number: int) -> list[str]:
    return [f"h{index}" for index in range(1, number + 1)]


def play(ansible: Ansible, number: int, tasks: list[dict[str, Any]], **more: Any) -> PlaybookResult:
    text = json.dumps([{"hosts": ",".join(names(number)), "gather_facts": False, "tasks": tasks, **more}])
    done = ansible.playbook(text + "\n", {"api_auth_user": USER}, env=ENV)
    if done.rc != 0:
        raise SystemExit(f"nothing should have failed:\n{done.output[-3000:]}")
    return done


def without_change(ansible: Ansible, real: int, rounds: int) -> None:
    tasks: list[dict[str, Any]] = [{"name": "ping", "ansible.builtin.ping": {}}, {"name": "ours", OURS: WANTED}]
    role = {"name": "role", "ansible.builtin.include_role": {"name": "fleetops.airflow.api_auth"}}
    play(ansible, ALL, tasks[1:])  # from here on there is nothing to change
    play(ansible, real, [role])
    for number in (SOME, ALL):
        done = play(ansible, number, tasks * (rounds + 1))
        if done.changed:
            raise SystemExit(f"nothing should have changed:\n{done.output[-3000:]}")
        seconds = by_name(done, skip=2 * number)
        print(f"\nA task without a change on each of {number} hosts ({real} real), forks 10, {rounds} rounds, ms:")
        row("ansible.builtin.ping", seconds["ping"], 1000)
        row("airflow_api_auth", seconds["ours"], 1000)
        ratio("airflow_api_auth / ping", seconds["ours"], seconds["ping"], 1.15)
    done = play(ansible, real, [tasks[0], role] * (rounds + 1))
    if done.changed:
        raise SystemExit(f"nothing should have changed:\n{done.output[-3000:]}")
    pings, roles = [], []
    for host in names(real):
        mine = [task for task in done.tasks if task.host == host]
        starts = [index for index, task in enumerate(mine) if task.task == "ping"][1:]  # the first round warms up
        for first, last in zip(starts, [*starts[1:], len(mine)], strict=True):
            pings.append(mine[first].seconds)
            roles.append(sum(task.seconds for task in mine[first + 1 : last] if task.action.startswith("fleetops")))
    print(
        f"\nThe whole role without a change on each of {real} hosts with a real Airflow, {rounds} rounds, milliseconds:"
    )
    row("role api_auth", roles, 1000)
    ratio("role api_auth / ping", roles, pings, 3.0)


def with_change(ansible: Ansible, airflows: list[AirflowHost], changes: int) -> None:
    """The same change on hosts of real Airflow at once, until all are healthy."""
    ini_file = {"path": f"{HOME}/airflow.cfg", "section": "api", "option": "auth_backends"}
    recipe: list[dict[str, Any]] = [
        {"community.general.ini_file": ini_file, "notify": "Restart"},
        {"ansible.builtin.meta": "flush_handlers"},
        {"ansible.builtin.wait_for": {"port": PORT, "timeout": 300}},
        {
            "ansible.builtin.uri": {"url": f"http://127.0.0.1:{PORT}/health"},
            "register": "health",
            "until": "health.status == 200",
            "retries": 60,
            "delay": 1,
        },
    ]
    handlers = [{"name": "Restart", "ansible.builtin.systemd": {"name": "airflow-webserver", "state": "restarted"}}]
    seconds: dict[str, list[float]] = {"ours": [], "recipe": []}
    restarts = dict.fromkeys(seconds, 0)
    for _number in range(changes):
        for kind in seconds:
            value = VALUE if kind == "recipe" else VALUE.split(",")[1]  # so that each has something to change
            short = [part.rpartition(".")[2] for part in value.split(",")]
            ini_file["value"] = value
            before = starts(airflows)
            begun = time.monotonic()
            tasks = recipe if kind == "recipe" else [{OURS: {"backends": short}}]
            play(ansible, len(airflows), tasks, handlers=handlers)
            seconds[kind].append(time.monotonic() - begun)
            restarts[kind] += starts(airflows) - before
    print(f"\nA change on {len(airflows)} hosts at once until all are healthy, forks 10, {changes} pairs, seconds:")
    row("ini_file, systemd, wait_for, uri", seconds["recipe"], 1)
    row("airflow_api_auth", seconds["ours"], 1)
    for kind, count in restarts.items():
        print(f"  restarts for each change, {kind:22} {count / changes:6.1f}")


def starts(airflows: list[AirflowHost]) -> int:
    with ThreadPoolExecutor(len(airflows)) as pool:
        commands = pool.map(lambda one: one.run(f"journalctl --unit {one.unit} --output cat"), airflows)
        return sum(text.count("Started airflow-webserver.service") for text in commands)


def controller(collections: Path, work: Path, airflow: AirflowHost) -> None:
    """Time and memory of ansible-playbook, with its workers, for one task that only looks."""
    python = Path(sys.executable)
    points = []
    home = airflow.cfg.parent
    args = {"path": str(home / "airflow.cfg"), "airflow_version": airflow.installation.release.version}
    local = {"ansible_connection": "local", "ansible_python_interpreter": str(python)}
    print("\nThe controller, one task on hosts by local connections, forks 10:")
    for number in (1, 10, 30, 200):
        ansible = Ansible(python.parent, work, collections, python, hosts=dict.fromkeys(names(number), local))
        peak = Peak()
        begun = time.monotonic()
        with peak:
            play(ansible, number, [{INFO: args}])
        points.append((number, time.monotonic() - begun, peak.bytes / 2**20))
        print(f"  {number:4} hosts   {points[-1][1]:7.1f} s   {points[-1][2]:7.0f} MiB")
    PLOT.write_text(plot(points))
    print(f"  {PLOT.relative_to(CHECKOUT)} has been drawn from it.")


class Peak:
    """The most memory that the processes below this one had together meanwhile, shared pages counted once (PSS)."""

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        known = set(processes.tree(os.getpid()))  # the hosts' reaper and what else is there already
        while not self._over.wait(0.2):
            self.bytes = max(self.bytes, sum(pss(pid) for pid in set(processes.tree(os.getpid())) - known))


def pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))


def plot(points: list[tuple[int, float, float]]) -> str:
    """Two small panels side by side: seconds and MiB against the number of hosts."""
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 240" font-family="sans-serif" font-size="12">',
        "<!-- SPDX-License-Identifier: GPL-3.0-or-later. Drawn by make bench. -->",
        '<rect width="640" height="240" fill="#fff"/>',
    ]
    for panel, (column, unit, title) in enumerate(((1, "s", "Time"), (2, "MiB", "Memory"))):
        left, top, width, height = 50 + panel * 320, 40, 240, 150
        highest = max(point[column] for point in points)

        def place(point: tuple[int, float, float]) -> tuple[float, float]:
            x = left + width * point[0] / points[-1][0]  # noqa: B023  (used within the round)
            return x, top + height * (1 - point[column] / highest)  # noqa: B023

        spots = [place(point) for point in points]
        parts.append(f'<text x="{left}" y="22" font-weight="bold">{title} of the controller</text>')
        parts.append(f'<path d="M{left} {top}V{top + height}H{left + width}" fill="none" stroke="#444"/>')
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(f'<polyline points="{line}" fill="none" stroke="#00557f" stroke-width="2"/>')
        for (x, y), point in zip(spots, points, strict=True):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="#00557f"/>')
            # The first points lie close together: their labels go to the table beside the plot.
            if point[0] >= 30:
                label = f"{point[column]:.0f} {unit}"
                parts.append(f'<text x="{x + 22:.1f}" y="{y + 18:.1f}" text-anchor="end">{label}</text>')
                parts.append(f'<text x="{x:.1f}" y="{top + height + 16}" text-anchor="middle">{point[0]}</text>')
        parts.append(f'<text x="{left + width / 2}" y="{top + height + 34}" text-anchor="middle">hosts</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def by_name(done: PlaybookResult, skip: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {}
    for task in sorted(done.tasks[skip:], key=lambda task: task.host):
        seconds.setdefault(task.task, []).append(task.seconds)
    return seconds


if __name__ == "__main__":
    sys.exit(main())

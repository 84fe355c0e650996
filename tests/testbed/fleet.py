# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of systemd hosts with a different Airflow on each, and light ones without any: `make fleet-up`.

`python tests/testbed/fleet.py up --folder DIR [--light N] [MEMBER ...]`, then `down --folder DIR`. Needs what hosts.py
needs. ``up`` leaves an inventory and an ssh configuration in the folder, with which Ansible and ssh reach the hosts
from anywhere on this machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tests"))

from testbed import hosts, pythons, releases  # noqa: E402  (the path has to be set first)
from testbed.airflow_host import AirflowHost  # noqa: E402
from testbed.errors import MissingPython, TestbedError  # noqa: E402
from testbed.hosts import Bed, Host  # noqa: E402
from testbed.installation import Installation, Installer, find_uv  # noqa: E402

START_TIMEOUT = 240  # seconds, for all servers at once on two cores


@dataclass(frozen=True)
class Member:
    """One kind of host: its name, the release, and what an administrator has chosen on it."""

    name: str
    version: str
    auth_manager: str | None = None


MEMBERS = (
    Member("airflow-1-10-15", "1.10.15"),
    Member("airflow-2-2-5", "2.2.5"),
    Member("airflow-2-6-3", "2.6.3"),
    Member("airflow-2-10-5", "2.10.5"),
    Member("airflow-2-11-2", "2.11.2"),
    Member("airflow-3-3-2-fab", "3.3.2", releases.FAB),
    Member("airflow-3-3-2-simple", "3.3.2"),
)


@dataclass
class Fleet:
    """The hosts of a bed by name. Those in ``light`` have no Airflow."""

    bed: Bed
    airflows: dict[str, AirflowHost]
    light: dict[str, Host]

    def inventory(self, python: str = "/usr/bin/python3") -> dict[str, dict[str, str]]:
        """Host name -> variables for Ansible, which has to be run in the bed's network."""
        numbered = self.bed.inventory(python)
        named = {**{name: airflow.host for name, airflow in self.airflows.items()}, **self.light}
        return {name: numbered[host.name] for name, host in named.items()}


def members(names: Sequence[str]) -> list[Member]:
    """Those of these names, or all."""
    known = {member.name: member for member in MEMBERS}
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise TestbedError(f"The fleet has no {', '.join(unknown)}; it has {', '.join(known)}.")
    return [known[name] for name in names] or list(MEMBERS)


def install(chosen: Sequence[Member]) -> dict[Member, Installation]:
    """What can be installed of them; where this machine lacks a Python, that is said and the member left out."""
    installer = Installer(CHECKOUT / ".build/airflow", find_uv(CHECKOUT), print)
    found = {}
    for member in chosen:
        try:
            found[member] = installer.airflow(releases.release(member.version))
        except MissingPython as error:
            print(f"SKIPPED: {member.name}: {error}")
    return found


def fill(bed: Bed, installations: dict[Member, Installation], start: bool = True) -> Fleet:
    """Make the first hosts of a bed what the members say, the others light ones; with ``start`` wait until healthy."""
    airflows = {
        member.name: AirflowHost(bed, host, installation, member.auth_manager)
        for host, (member, installation) in zip(bed.hosts, installations.items(), strict=False)
    }
    for airflow in airflows.values():
        airflow.prepare()
        airflow.run(f"systemctl enable {' '.join(airflow.units)}" if start else "true")
    if start:
        with ThreadPoolExecutor(len(airflows) or 1) as pool:
            list(pool.map(_start, airflows.values()))
    rest = bed.hosts[len(airflows) :]
    return Fleet(bed, airflows, {f"light-{number}": host for number, host in enumerate(rest, start=1)})


def _start(airflow: AirflowHost) -> None:
    airflow.run(f"systemctl start {airflow.unit}")
    airflow.wait_healthy(START_TIMEOUT)


@contextlib.contextmanager
def fleet(folder: Path, names: Sequence[str], light: int = 0, start: bool = True) -> Iterator[Fleet]:
    """A fleet for the length of the block, or as long as this process lives."""
    installations = install(members(names))
    binds = _binds(installations)
    with hosts.bed(folder, len(installations) + light, binds) as bed:
        yield fill(bed, installations, start)


def _binds(installations: dict[Member, Installation]) -> list[Path]:
    pythons_of = [pythons.find(one.release.pythons) for one in installations.values()]
    return hosts.read_only_folders(*pythons_of)


def write_files(made: Fleet) -> tuple[Path, Path]:
    """Write the inventory and the ssh configuration for people; returns where they are."""
    folder = made.bed.folder
    ssh_config, inventory = folder / "ssh_config", folder / "inventory.json"
    named = {**{name: airflow.host for name, airflow in made.airflows.items()}, **made.light}
    # ssh itself stays where it was called; only its connection is made in the network of the hosts, and handed over.
    connect = " ".join(made.bed.inside(sys.executable, str(Path(__file__).with_name("connect.py")), "%h", "%p"))
    blocks = [f"Host {name}\n  HostName {host.address}\n" for name, host in named.items()]
    options = [option.replace("=", " ", 1) for option in made.bed.ssh_options()]
    options += ["User root", f"IdentityFile {made.bed.key}", f"ProxyCommand {connect}", "ProxyUseFdpass yes"]
    ssh_config.write_text("".join(blocks) + "Host *\n" + "".join(f"  {option}\n" for option in options))
    variables = {"ansible_ssh_common_args": f"-F {ssh_config}", "ansible_python_interpreter": "/usr/bin/python3"}
    children = {
        group: {"hosts": dict.fromkeys(names)}
        for group, names in (("airflow", list(made.airflows)), ("light", list(made.light)))
    }
    inventory.write_text(json.dumps({"all": {"vars": variables, "children": children}}, indent=2) + "\n")
    return inventory, ssh_config


def up(folder: Path, names: Sequence[str], light: int) -> None:
    why_not = hosts.reason_to_skip()
    if why_not:
        raise TestbedError(why_not)
    if folder.exists():
        raise TestbedError(f"{folder} is there already: run down first, or name another folder.")
    start = time.monotonic()
    installations = install(members(names))
    bed = Bed(folder, hosts.make_image(CHECKOUT / ".build/hosts-image"), _binds(installations))
    print(f"[{time.monotonic() - start:5.1f} s] booting {len(installations) + light} hosts", flush=True)
    bed.up(len(installations) + light)
    print(f"[{time.monotonic() - start:5.1f} s] starting Airflow on {len(installations)} of them", flush=True)
    made = fill(bed, installations)
    inventory, ssh_config = write_files(made)
    print(f"[{time.monotonic() - start:5.1f} s] up")
    for name, airflow in made.airflows.items():
        users = ", ".join(f"{user}: {password}" for user, password in airflow.users.items())
        print(f"  {name:22} {airflow.units[0]:27} {users}")
    print("Schedulers are not started, they need much memory: systemctl start airflow-scheduler on a host does it.")
    print(f"  ansible -i {inventory} airflow -m fleetops.airflow.airflow_api_auth_info")
    print(f"  ssh -F {ssh_config} {next(iter([*made.airflows, *made.light]))}")


def main() -> int:
    parser = argparse.ArgumentParser(description="A fleet of systemd hosts with Airflow on this machine.")
    parser.add_argument("command", choices=["up", "down"])
    parser.add_argument("--folder", type=Path, required=True, help="made by up, removed by down")
    parser.add_argument("--light", type=int, default=3, help="hosts without Airflow (default: %(default)s)")
    parser.add_argument("members", nargs="*", help=f"of {', '.join(member.name for member in MEMBERS)}; default: all")
    options = parser.parse_args()
    folder = options.folder.resolve()
    try:
        if options.command == "up":
            up(folder, options.members, options.light)
        else:
            Bed(folder, folder).down()
    except TestbedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

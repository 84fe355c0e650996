# SPDX-License-Identifier: GPL-3.0-or-later
"""Real systemd hosts on this machine: Debian in systemd-nspawn, reached over ssh in a network of their own.

`python3 tests/testbed/hosts.py up --folder DIR [--count N]`, then `down --folder DIR`. Needs root and packages.txt.
Every host is an overlay over one image, with its own network namespace, and its own cgroup: without that, systemd
inside cannot kill the processes of its services. Nothing of the network can be reached from outside, so that beds do
not get in each other's way.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import inspect
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tests"))

from testbed import processes, pythons  # noqa: E402  (the path has to be set first)
from testbed.errors import TestbedError  # noqa: E402
from testbed.locked import locked  # noqa: E402
from testbed.stopwatch import timed  # noqa: E402

SUITE = "bookworm"
# The last line is what a Python that was built elsewhere, and is seen through a bind mount, links to.
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "python3", "iproute2", "procps", "ca-certificates"),
    *(
        "dumb-init",
        "tini",
        "libbz2-1.0",
        "libexpat1",
        "libffi8",
        "liblzma5",
        "libncursesw6",
        "libreadline8",
        "libsqlite3-0",
        "libssl3",
    ),
)
AIRFLOW_UID = 5000
# What would only cost time in a host that lives for minutes.
MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "console-getty.service", "dpkg-db-backup.timer"),
    *("e2scrub_all.timer", "fstrim.timer", "getty@tty1.service", "systemd-networkd-wait-online.service"),
    "systemd-timesyncd.service",
)
CGROUP_ROOT = Path("/sys/fs/cgroup")
REBOOT = 133  # what systemd-nspawn ends with when the guest wants to be booted again
NETWORK = "10.77.0"
# What starts one host: $1 the cgroup folders, $2 where the pid goes, the rest the command.
BOOT = (
    """
while :; do
  ( for folder in $1; do echo $BASHPID > "$folder/cgroup.procs"; done; exec "${@:3}" ) & echo $! > "$2"
  wait $!
  [ $? = %d ] || break
done
"""
    % REBOOT
)


@dataclass(frozen=True)
class Host:
    """One host: its number, its address in the bed's network, and where its root file system lies on this machine."""

    number: int
    folder: Path

    @property
    def name(self) -> str:
        return f"h{self.number}"

    @property
    def address(self) -> str:
        return f"{NETWORK}.{10 + self.number}"

    @property
    def root(self) -> Path:
        return self.folder / "root"


@dataclass
class Bed:
    """Some hosts and their network. ``folder`` takes everything; ``binds`` are read-only folders that all hosts see."""

    folder: Path
    image: Path
    binds: Sequence[Path] = ()
    hosts: list[Host] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the network namespace; the folder makes it one of a kind."""
        return "bed" + hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]

    @property
    def key(self) -> Path:
        return self.folder / "key"

    def up(self, count: int) -> None:
        """Boot that many hosts and wait until all of them take ssh connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # With the kernel's default of 128, more than 20 hosts cannot be logged in to.
        instances = Path("/proc/sys/fs/inotify/max_user_instances")
        if int(instances.read_text()) < 2048:
            instances.write_text("2048")
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", str(self.key))
        _run("ip", "netns", "add", self.name)
        for command in (
            "link set lo up",
            "link add br0 type bridge",
            f"addr add {NETWORK}.1/24 dev br0",
            "link set br0 up",
        ):
            _run("ip", "-n", self.name, *command.split())
        for number in range(1, count + 1):
            self._boot(number)
        for host in self.hosts:
            self._wait_for_ssh(host)

    def inside(self, *command: str) -> list[str]:
        """The command line that runs ``command`` on this machine, but in the network of the hosts."""
        return ["ip", "netns", "exec", self.name, *command]

    def ssh(self, host: Host, command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a shell command on a host as root."""
        options = [f"-o{option}" for option in self.ssh_options()]
        return _run(*self.inside("ssh", *options, "-i", str(self.key), f"root@{host.address}", command), check=check)

    def unplug(self, host: Host) -> None:
        """Take the host's end of its cable out."""
        _run("ip", "-n", self.name, "link", "set", f"v{host.number}", "down")

    def plug(self, host: Host) -> None:
        _run("ip", "-n", self.name, "link", "set", f"v{host.number}", "up")

    def ssh_options(self) -> list[str]:
        """Options for hosts whose keys nobody has seen before."""
        return [
            "StrictHostKeyChecking=no",
            f"UserKnownHostsFile={self.folder}/known_hosts",
            "LogLevel=ERROR",
            "BatchMode=yes",
        ]

    def inventory(self, python: str = "/usr/bin/python3") -> dict[str, dict[str, str]]:
        """Host name -> variables for Ansible, which has to be run ``inside``."""
        options = " ".join(f"-o {option}" for option in self.ssh_options())
        common = {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": options,
        }
        return {
            host.name: {**common, "ansible_host": host.address, "ansible_python_interpreter": python}
            for host in self.hosts
        }

    def down(self) -> None:
        """End the hosts and remove all that they were made of, also what a killed run has left of them."""
        hosts = [Host(int(path.name[1:]), path) for path in sorted(self.folder.glob("hosts/h*"))]
        for host in hosts:
            _power_off(host)
        for host in hosts:
            _end(host)
        for host in hosts:
            _run("umount", str(host.root), check=False)
            _run("ip", "netns", "del", f"{self.name}-{host.name}", check=False)
        for folder in self._cgroups():
            for path in sorted(folder.rglob("*"), reverse=True):
                if path.is_dir():
                    _rmdir(path)
            _rmdir(folder)
        _run("ip", "netns", "del", self.name, check=False)
        if any(os.path.ismount(host.root) for host in hosts):
            raise TestbedError(f"a host of {self.folder} is still mounted")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _boot(self, number: int) -> None:
        host = Host(number, self.folder / "hosts" / f"h{number}")
        self.hosts.append(host)
        for name in ("upper", "work", "root"):
            (host.folder / name).mkdir(parents=True)
        namespace = f"{self.name}-{host.name}"
        _run("ip", "netns", "add", namespace)
        _run(
            "ip",
            "-n",
            self.name,
            "link",
            "add",
            f"v{number}",
            "type",
            "veth",
            "peer",
            "name",
            "host0",
            "netns",
            namespace,
        )
        _run("ip", "-n", self.name, "link", "set", f"v{number}", "master", "br0", "up")
        for command in (f"addr add {host.address}/24 dev host0", "link set host0 up", "link set lo up"):
            _run("ip", "-n", namespace, *command.split())
        layers = f"lowerdir={self.image},upperdir={host.folder}/upper,workdir={host.folder}/work"
        _run("mount", "-t", "overlay", self.name, "-o", layers, str(host.root))
        (host.root / "etc/hostname").write_text(host.name + "\n")
        (host.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{host.address} {host.name}\n")
        authorized = host.root / "root/.ssh/authorized_keys"
        authorized.parent.mkdir(mode=0o700, exist_ok=True)
        shutil.copy(self.key.with_suffix(".pub"), authorized)
        cgroups = [folder / host.name for folder in self._cgroups()]
        for folder in cgroups:
            folder.mkdir(parents=True, exist_ok=True)
        nspawn = [
            *("systemd-nspawn", "--quiet", "--boot", f"--directory={host.root}", f"--machine={host.name}"),
            *("--register=no", "--keep-unit", f"--network-namespace-path=/run/netns/{namespace}"),
            *("--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe"),
            *(f"--bind-ro={path}" for path in self.binds),
        ]
        with (host.folder / "console.log").open("wb") as console:
            # It outlives this process, and `down` ends it.
            words = [
                "setsid",
                "--fork",
                "bash",
                "-c",
                BOOT,
                "boot",
                " ".join(map(str, cgroups)),
                str(host.folder / "pid"),
            ]
            subprocess.run(
                [*words, *nspawn], stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, check=True
            )

    def _cgroups(self) -> list[Path]:
        roots = [CGROUP_ROOT / name for name in ("systemd", "unified")]
        if not roots[0].is_dir():
            roots = [CGROUP_ROOT]
        return [root / self.name for root in roots if root.is_dir()]

    def _wait_for_ssh(self, host: Host, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while self.ssh(host, "true", check=False).returncode != 0:
            if time.monotonic() > deadline:
                console = (host.folder / "console.log").read_text(errors="replace")[-2000:]
                raise TestbedError(
                    f"{host.name} takes no ssh connection after {timeout:.0f} s. Its console:\n{console}"
                )
            time.sleep(0.1)


def missing_packages() -> list[str]:
    """Names of packages.txt whose programs are not on this machine."""
    programs = {
        "iproute2": "ip",
        "mmdebstrap": "mmdebstrap",
        "openssh-client": "ssh-keygen",
        "systemd-container": "systemd-nspawn",
    }
    return [package for package, program in programs.items() if not shutil.which(program)]


def reason_to_skip() -> str | None:
    """Why there can be no such hosts on this machine, None if there can."""
    if os.geteuid() != 0:
        return "test hosts need root"
    missing = missing_packages()
    return f"test hosts need {', '.join(missing)}: run `make system-deps`" if missing else None


def make_image(root: Path) -> Path:
    """The image of all hosts below ``root``, made if it is not there yet or was made by another recipe (20 s)."""
    ingredients = repr((SUITE, PACKAGES, AIRFLOW_UID, MASKED, inspect.getsource(_debian)))
    recipe = hashlib.sha256(ingredients.encode()).hexdigest()[:12]
    image = root / f"image-{recipe}"
    with locked(root / "lock"):
        if not (image / ".complete").exists():
            for old in root.glob("image-*"):
                shutil.rmtree(old)
            with timed("installs"):
                _debian(image)
            (image / ".complete").touch()
    return image


def _debian(image: Path) -> None:
    sources = [str(path) for path in Path("/etc/apt/sources.list.d").glob("debian.sources")]
    sources += [path for path in ["/etc/apt/sources.list"] if Path(path).is_file() and not sources]
    _run(
        *("mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", f"--include={','.join(PACKAGES)}"),
        *('--aptopt=Acquire::Languages "none"', "--dpkgopt=path-exclude=/usr/share/man/*"),
        *("--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*"),
        f'--customize-hook=chroot "$1" useradd --uid {AIRFLOW_UID} --create-home --shell /bin/bash airflow',
        # Interpreters may live below /root, and the user airflow has to get there.
        '--customize-hook=chmod 0755 "$1/root"; : > "$1/etc/machine-id"',
        *(f'--customize-hook=ln -sf /dev/null "$1/etc/systemd/system/{unit}"' for unit in MASKED),
        *(SUITE, str(image), *sources),
    )


def read_only_folders(*interpreters: Path) -> list[Path]:
    """What hosts have to see so that the virtual environments of the testbed work there."""
    folders = {CHECKOUT.resolve() / ".build"}
    for interpreter in interpreters:
        folders.add(interpreter.resolve().parents[1])
    return sorted(folder for folder in folders if folder != Path("/usr"))


@contextlib.contextmanager
def bed(folder: Path, count: int, binds: Sequence[Path] = ()) -> Iterator[Bed]:
    """That many hosts for the length of the block, or as long as this process lives, however it ends."""
    image = make_image(CHECKOUT / ".build/hosts-image")
    made = Bed(folder, image, binds)
    command = [sys.executable, __file__, "reap", "--folder", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as reaper:
        try:
            with timed("booting hosts"):
                made.up(count)
            yield made
        finally:
            reaper.communicate()
    if reaper.returncode != 0:
        raise TestbedError(f"{folder} could not be cleaned up: see the traceback of hosts.py.")


def _power_off(host: Host) -> None:
    pid = _pid(host)
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)  # systemd-nspawn powers the host off


def _end(host: Host) -> None:
    pid = _pid(host)
    if not pid:
        return
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    for number in processes.tree(pid) if Path(f"/proc/{pid}").exists() else []:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline + 10:
        time.sleep(0.05)


def _pid(host: Host) -> int | None:
    """Of its systemd-nspawn."""
    try:
        return int((host.folder / "pid").read_text())
    except (FileNotFoundError, ValueError):
        return None


def _rmdir(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _run(*command: str, check: bool = True, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=env)
    if check and done.returncode != 0:
        raise TestbedError(f"{' '.join(command)} failed (rc {done.returncode}): {done.stdout}{done.stderr}")
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description="Real systemd hosts on this machine.")
    parser.add_argument("command", choices=["up", "down", "reap"])
    parser.add_argument("--folder", type=Path, required=True, help="made by up, removed by down")
    parser.add_argument("--count", type=int, default=1, help="number of hosts (default: %(default)s)")
    options = parser.parse_args()
    folder = options.folder.resolve()
    try:
        if options.command == "up":
            why_not = reason_to_skip()
            if why_not:
                raise TestbedError(why_not)
            made = Bed(folder, make_image(CHECKOUT / ".build/hosts-image"), read_only_folders(pythons.find(("3.11",))))
            start = time.monotonic()
            made.up(options.count)
            print(f"{options.count} hosts after {time.monotonic() - start:.1f} s, for instance:")
            words = made.inside("ssh", *(f"-o{option}" for option in made.ssh_options()), "-i", str(made.key))
            print("  " + " ".join([*words, f"root@{made.hosts[0].address}"]))
            return 0
        if options.command == "reap":
            sys.stdin.read()  # until the process that wanted the hosts is gone
        Bed(folder, folder).down()
    except TestbedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

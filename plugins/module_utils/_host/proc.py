# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes, and which of them listen, as Linux shows them in /proc: no program is started to look."""

from __future__ import annotations

import os
import time

from ansible_collections.fleetops.airflow.plugins.module_utils._host.sockets import addresses_of, listening, owners
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record


class Process(Record):
    """One process. ``started`` in seconds since the epoch, exact to the kernel's tick of 0.01 s."""

    pid: int
    parent: int
    started: float
    uid: int
    arguments: list[str]


def processes(*mentioning: bytes) -> list[Process]:
    """All processes whose command line contains one of ``mentioning``."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        line = _read("/proc/%s/cmdline" % entry)
        if any(word in line for word in mentioning):
            process = read_process(int(entry))
            if process:
                found.append(process)
    return found


def read_process(pid: int) -> Process | None:
    """None if there is no such process (any more), or only its zombie."""
    stat = _read("/proc/%d/stat" % pid).decode("utf-8", "replace")
    if not stat:
        return None
    # The second field is the program's name in brackets, which may hold spaces and brackets itself.
    fields = stat[stat.rindex(")") + 2 :].split()
    if fields[0] in "ZX":
        return None
    try:
        uid = os.stat("/proc/%d" % pid).st_uid
    except OSError:
        return None
    arguments = _read("/proc/%d/cmdline" % pid).decode("utf-8", "surrogateescape").split("\0")
    since_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return Process(pid, int(fields[1]), boot + since_boot, uid, [part for part in arguments if part])


def is_alive(process: Process) -> bool:
    """Whether this very process runs, and not a later one with its pid."""
    now = read_process(process.pid)
    return now is not None and abs(now.started - process.started) < 0.1


def send_signal(process: Process, number: int) -> None:
    """To this very process; one that is gone already has what was wanted."""
    if is_alive(process):
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            pass


def environment(pid: int) -> dict[str, str] | None:
    """What the process was started with. None if it may not be read.

    Of a process that has overwritten it, it is what the process itself sees.
    """
    try:
        with open("/proc/%d/environ" % pid, "rb") as file:
            data = file.read()
    except OSError:
        return None
    if not data.strip(b"\0 "):
        from ansible_collections.fleetops.airflow.plugins.module_utils._host import memory

        return memory.environment(pid)
    pairs = (part.partition("=") for part in data.decode("utf-8", "surrogateescape").split("\0"))
    return {name: value for name, separator, value in pairs if separator}


def working_directory(pid: int) -> str | None:
    return _link("/proc/%d/cwd" % pid)


def executable(pid: int) -> str | None:
    """The program that the process runs, whatever it calls itself. None if we may not look."""
    return _link("/proc/%d/exe" % pid)


def status(pid: int) -> dict[str, str]:
    """The lines of /proc/PID/status. Empty if there is no such process."""
    lines = _read("/proc/%d/status" % pid).decode("utf-8", "replace").splitlines()
    return {name: value.strip() for name, _colon, value in (line.partition(":") for line in lines)}


def group_members(group: str) -> list[int]:
    """The processes of a control group, as the kernel lists them. Where it does not, each process is asked."""
    for mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"):
        pids = _read("%s%s/cgroup.procs" % (mount, group)).split()
        if pids:
            return [int(pid) for pid in pids]
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and control_group(int(entry)) == group]


def control_group(pid: int) -> str:
    """The path of the process's control group as systemd knows it; "" where there is none."""
    groups = {}
    for line in _read("/proc/%d/cgroup" % pid).decode("utf-8", "surrogateescape").splitlines():
        _number, controllers, path = line.split(":", 2)
        groups[controllers] = path
    return groups.get("name=systemd") or groups.get("", "")


def descendants(pid: int) -> list[Process]:
    """The process's children and theirs, parents before children."""
    by_parent: dict[int, list[Process]] = {}
    for entry in os.listdir("/proc"):
        process = read_process(int(entry)) if entry.isdigit() else None
        if process:
            by_parent.setdefault(process.parent, []).append(process)
    found = list(by_parent.get(pid, []))
    for process in found:  # grows while it is walked
        found += by_parent.get(process.pid, [])
    return found


def is_within(pid: int, ancestor: int) -> bool:
    """Whether ``pid`` is ``ancestor`` or was started by it or its children."""
    while pid > 1:
        if pid == ancestor:
            return True
        process = read_process(pid)
        if not process:
            return False
        pid = process.parent
    return False


def listeners(port: int, address: str = "") -> list[int]:
    """The pids that hold a socket listening on this TCP port: of those that may be looked into.

    :param address: the IP address on which it takes connections; "" for any. So below.
    """
    return _holders(listening(port, address))


def listeners_outside(port: int, ancestor: int, address: str = "") -> list[int]:
    """The listeners that are not ``ancestor`` and were not started by it or its children.

    To look into every process of a busy host takes long, so the family is asked first whether it holds all there is.
    """
    sockets = listening(port, address)
    family = [ancestor]
    for pid in family:  # grows while it is walked
        family += _children(pid)
        sockets -= set(_open_files(pid))
        if not sockets:
            return []
    return [pid for pid in _holders(sockets) if not is_within(pid, ancestor)]


def listening_at(pid: int) -> list[tuple[str, int]]:
    """The IP addresses and ports on which a process listens."""
    return addresses_of({target for target in _open_files(pid) if target.startswith("socket:")})


def is_listened_on(port: int, address: str = "") -> bool:
    """Whether any process of this network namespace listens on the port, visible to us or not."""
    return bool(listening(port, address))


def listening_users(port: int, address: str = "") -> set[int]:
    """The users whose processes listen on the port."""
    return owners(port, address)


def mapped_files(pid: int) -> list[str]:
    """The files in the process's memory: its program and the libraries that it has loaded."""
    lines = _read("/proc/%d/maps" % pid).decode("utf-8", "surrogateescape").splitlines()
    fields = (line.split(None, 5) for line in lines)
    return sorted({parts[5] for parts in fields if len(parts) == 6 and parts[5].startswith("/")})


def regular_outputs(pid: int) -> list[str]:
    """The regular files that the process's standard output and error go to."""
    targets = [_link("/proc/%d/fd/%d" % (pid, number)) for number in (1, 2)]
    return sorted({target for target in targets if target and os.path.isfile(target)})


def lock_holders(inode: int) -> list[set[int]]:
    """Of each process that holds a lock (flock) on a file, and that may be looked into, all its user ids.

    A setuid program has several: whoever has started it may have given it the lock.
    """
    ending = b":%d " % inode
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        folder = "/proc/%s/fdinfo" % pid
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        lines = (line for name in names for line in _read("%s/%s" % (folder, name)).splitlines())
        if any(line.startswith(b"lock:") and b"FLOCK" in line and ending in line for line in lines):
            found.append({int(uid) for uid in status(int(pid)).get("Uid", "").split()})
    return found


def _holders(sockets: set[str]) -> list[int]:
    if not sockets:
        return []
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return [pid for pid in pids if not sockets.isdisjoint(_open_files(pid))]


def _children(pid: int) -> list[int]:
    """As the kernel tells in a moment, if it tells: it may not have been built to, and may leave one out."""
    folder = "/proc/%d/task" % pid
    try:
        threads = os.listdir(folder)
    except OSError:
        return []
    return [int(child) for thread in threads for child in _read("%s/%s/children" % (folder, thread)).split()]


def _open_files(pid: int) -> list[str]:
    folder = "/proc/%d/fd" % pid
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return [target for target in (_link("%s/%s" % (folder, name)) for name in names) if target]


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:  # gone in between, or not ours to read
        return b""

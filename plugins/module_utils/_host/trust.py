# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom to believe on a host where other users log in too. docs/security.md has the model that this file follows.

The command line and the environment of a process are claims: whoever starts it chooses them. What the kernel reports of
it is not: its executable, its user, its root directory, its control group, its parent.
"""

from __future__ import annotations

import os
import re
import stat
from typing import Iterator, Mapping

from ansible_collections.fleetops.airflow.plugins.module_utils._host import proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.launchers import PYTHON, is_launcher
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

_UNIT = ".service"


class User(Record):
    """As whom a process runs, as the kernel has it: there need not be an entry in passwd."""

    uid: int
    gid: int
    groups: tuple[int, ...]

    @property
    def name(self) -> str:
        import pwd

        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return "with uid %d" % self.uid

    @property
    def home(self) -> str:
        return home_of(self.uid)


class Voucher(Record):
    """Who says that a process is a server of Airflow, beside the process itself.

    ``names``: under which the voucher knows it as a service. ``by_root``: whether only root, or the user who runs this
    task, can make the voucher say so.
    """

    by: str
    names: frozenset[str]
    by_root: bool


NOBODY = Voucher("nobody", frozenset(), False)


def home_of(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return "/"


def user_of_process(pid: int) -> User | None:
    """None if it has several user ids, as a setuid program has, or is gone."""
    fields = proc.status(pid)
    uids, gids = set(fields.get("Uid", "").split()), set(fields.get("Gid", "").split())
    if len(uids) != 1 or len(gids) != 1:
        return None
    return User(int(uids.pop()), int(gids.pop()), tuple(map(int, fields.get("Groups", "").split())))


def user_named(name: str | None) -> User | None:
    """By name or number; None if there is no such user."""
    import pwd

    try:
        entry = pwd.getpwnam(name or "")
    except KeyError:
        return user_with(int(name), int(name)) if name and name.isdigit() else None
    return User(entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)))


def user_with(uid: int, gid: int) -> User:
    """:param gid: the group, if the user has no entry in passwd."""
    import pwd

    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return User(uid, gid, (gid,))
    return User(uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)))


def is_python(pid: int) -> bool:
    """Whether a process can be a server, or a supervisord, at all: a Python, of one user."""
    name = os.path.basename(proc.executable(pid) or "")
    return bool(re.match(PYTHON, name)) and user_of_process(pid) is not None


def is_python_of_ours(pid: int) -> bool:
    """The same, in the root directory of this task."""
    return is_python(pid) and shares_root(pid)


def shares_root(pid: int) -> bool:
    """Whether a process has the root directory of this task: in a chroot, and beside one, others have another.

    In one mount namespace that is decided by the mount, since a bind mount of the root is the same directory again.
    In another, such as a service's with private directories, by the directory.
    """
    theirs, ours = "/proc/%d/root" % pid, "/proc/self/root"
    try:
        one, other = os.stat(theirs), os.stat(ours)
        if (one.st_dev, one.st_ino) != (other.st_dev, other.st_ino):
            return False
        if os.readlink("/proc/%d/ns/mnt" % pid) != os.readlink("/proc/self/ns/mnt"):
            return True
        return _mount(theirs) == _mount(ours)
    except OSError:
        return False


def _mount(path: str) -> str | None:
    descriptor = os.open(path, getattr(os, "O_PATH", 0) | os.O_CLOEXEC)
    try:
        with open("/proc/self/fdinfo/%d" % descriptor, encoding="ascii") as file:
            return next((line.split()[1] for line in file if line.startswith("mnt_id:")), None)
    finally:
        os.close(descriptor)


def in_chroot() -> bool:
    """Whether the services of this host are out of reach: this task has another root directory than the host's init.

    Only root can see that. Without /proc nothing of the host can be seen.
    """
    if not os.path.exists("/proc/self/root"):
        return True
    return os.geteuid() == 0 and os.path.exists("/proc/1/root") and not shares_root(1)


def described(process: proc.Process) -> str:
    """A process for a sentence: its program and its user. Its arguments may hold secrets."""
    program = proc.executable(process.pid) or (process.arguments[0].split() or [""])[0] if process.arguments else ""
    user = User(process.uid, 0, ()).name
    return "%s of user %s" % (os.path.basename(program.replace(" (deleted)", "")) or "a program", user)


# --- who vouches ------------------------------------------------------------------------------


class Supervised(Record):
    """A process that supervisord runs: the ``daemon``, the name of its ``program``, and the process that it has started
    itself, which is this one or a launcher of it."""

    daemon: proc.Process
    program: str
    top: proc.Process


def voucher_of(process: proc.Process) -> Voucher:
    """Who vouches for a process, in order: a supervisord, systemd, its user."""
    found = supervised(process)
    if found:
        by_root = found.daemon.uid in (0, os.geteuid())
        group, colon, _process = found.program.rpartition(":")
        names = (found.program, group, group + ":*") if colon else (found.program,)
        return Voucher("supervisord (pid %d)" % found.daemon.pid, frozenset(names), by_root)
    unit = unit_of(process)
    if unit and _is_active(unit) and _is_main_of(unit, process):
        return Voucher("the unit %s" % unit, frozenset((unit, unit[: -len(_UNIT)])), True)
    return by_user(process)


def by_user(process: proc.Process) -> Voucher:
    """The word of the process's own user, which counts if that is root, or the user who runs this task."""
    return Voucher("its user", frozenset(), True) if process.uid in (0, os.geteuid()) else NOBODY


def supervised(process: proc.Process) -> Supervised | None:
    """Which program of supervisor a process is. The supervisord is root's, this task's user's or the process's own."""
    top, daemon = _top(process)
    if daemon is None or not is_supervisord(daemon) or not is_python_of_ours(daemon.pid):
        return None
    if daemon.uid not in (0, os.geteuid(), process.uid):
        return None
    # That of the process itself may have been cleaned on the way.
    name = supervisor_program(proc.environment(top.pid) or {})
    return Supervised(daemon, name, top) if name else None


def _top(process: proc.Process) -> tuple[proc.Process, proc.Process | None]:
    """The process that some manager has started for this one, through launchers, and that manager."""
    top = process
    while True:
        parent = proc.read_process(top.parent)
        if parent is None or parent.pid <= 1 or not is_launcher(parent):
            return top, parent
        top = parent


def unit_of(process: proc.Process) -> str | None:
    """The system's service unit whose control group the process is in.

    What somebody starts by hand may be in the group of the service that let him in: see ``_is_main_of``.
    """
    parts = [part for part in proc.control_group(process.pid).split("/") if part]
    if "user.slice" in parts:
        return None
    return next((part for part in parts if part.endswith(_UNIT)), None)


def _is_main_of(unit: str, process: proc.Process) -> bool:
    """Whether systemd has started this very process, perhaps through a wrapper: not one that was started by hand by
    whom the service had let in, nor one that such a session has left.

    All its parents up to init are then launchers. If init has other children in the group, such as a daemon that lets
    users in, systemd is asked.
    """
    group = proc.control_group(process.pid)
    top, manager = _top(process)
    if manager and manager.pid > 1 and proc.control_group(manager.pid) == group:
        return False  # a manager in a container is not process 1
    members = [proc.read_process(pid) for pid in proc.group_members(group)]
    if all(one.pid == top.pid for one in members if one and one.parent == top.parent):
        return True
    return _main_pid(unit) == top.pid


def _main_pid(unit: str) -> int:
    """0 if systemd does not answer."""
    import subprocess

    command = ["systemctl", "show", "--property", "MainPID", "--", unit]
    try:
        # run_command of AnsibleModule has no limit.
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    value = done.stdout.decode("ascii", "replace").strip().partition("=")[2]
    return int(value) if value.isdigit() else 0


def _is_active(unit: str) -> bool:
    """What a service that has ended leaves in its control group is not the service."""
    units = "/run/systemd/units"
    return not os.path.isdir(units) or os.path.lexists("%s/invocation:%s" % (units, unit))


def is_supervisord(process: proc.Process) -> bool:
    """Whether a process claims to be one."""
    arguments = process.arguments
    return any(os.path.basename(part) == "supervisord" for part in arguments[:2]) or arguments[1:3] == [
        "-m",
        "supervisor.supervisord",
    ]


def supervisor_program(environment: Mapping[str, str]) -> str | None:
    """The program name that supervisord puts into the environment of what it starts."""
    name, group = environment.get("SUPERVISOR_PROCESS_NAME"), environment.get("SUPERVISOR_GROUP_NAME")
    if not name:
        return None
    return name if not group or group == name else "%s:%s" % (group, name)


# --- what is executed -------------------------------------------------------------------------


def writable_by_others(path: str, owner: int = 0) -> str | None:
    """What on the way to a file, or the file itself, a user other than root and ``owner`` can replace or change.

    Who owns a directory without the sticky bit, or may write there, can put another file into it.

    :param path: absolute. Links are followed, and the way to each of them counts too.
    :returns: the first of them; None if there is none. What cannot be looked at counts.
    """
    for part, status, sticky in way_to(path):
        if status is None or status.st_uid not in (0, owner):
            return part
        if stat.S_ISLNK(status.st_mode):
            continue
        writable = status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and status.st_gid != 0)
        if writable and not sticky:
            return part
    return None


def way_to(path: str) -> Iterator[tuple[str, os.stat_result | None, bool]]:
    """Each part of the way: its path, its status, and whether it is a directory whose entries only their owners may
    replace."""
    left = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    here, links = "/", 0
    yield here, os.lstat(here), False
    while left:
        name = left.pop()
        if name == "..":
            here = os.path.dirname(here)
            continue
        part = os.path.join(here, name)
        try:
            status = os.lstat(part)
            target = os.readlink(part) if stat.S_ISLNK(status.st_mode) else None
        except OSError:
            yield part, None, False
            return
        sticky = stat.S_ISDIR(status.st_mode) and bool(status.st_mode & stat.S_ISVTX) and bool(left)
        yield part, status, sticky
        if target is None:
            here = part
            continue
        links += 1
        if links > 40:
            yield part, None, False
            return
        here = "/" if os.path.isabs(target) else here
        left += [word for word in reversed(target.split("/")) if word not in ("", ".")]

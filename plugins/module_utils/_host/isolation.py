# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers with a view of their own of the file system: in a container, or in a unit with BindPaths= and the like.

The same path may be another file there. Whether it is, the kernel tells: device and inode of a file are the same in
every view.
"""

from __future__ import annotations

import os
import re

from ansible_collections.fleetops.airflow.plugins.module_utils._host import proc
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

_CONTAINER = (
    r"(?:docker|libpod|crio|cri-containerd|podman|nerdctl)-([0-9a-f]{12})[0-9a-f]{52}\.scope|/docker/([0-9a-f]{12})"
)
# Where only root makes control groups: a user's own are below user.slice, or below a service that was delegated to him.
_ROOTS = r"/(?:docker/|(?:system|machine)\.slice/[^/]+\.scope|kubepods(?:\.slice)?/)"
_MACHINE = r"/machine-([^/]+)\.scope|/lxc(?:\.payload)?[./]([^/]+)"


class View(Record):
    """What a process sees of the file system. ``root``: the directory on this host that is ``/`` for it; ``where``: in
    what it runs, for a sentence; ``is_container``: whether its root is not the root of this host; ``by_root``: whether
    it is known to be a container that root has started.
    """

    root: str
    where: str
    is_container: bool
    by_root: bool = False

    def path(self, path: str) -> str:
        """Where on this host a file of the view is. Links are followed as they are in the view."""
        left = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        here: list[str] = []
        links = 0
        while left:
            part = left.pop()
            if part == "..":
                del here[-1:]
                continue
            try:
                target = os.readlink("/".join([self.root, *here, part]))
            except OSError:  # no link, or nothing at all
                here.append(part)
                continue
            links += 1
            if links > 40:
                break
            here = [] if target.startswith("/") else here
            left += [word for word in reversed(target.split("/")) if word not in ("", ".")]
        return "/".join([self.root, *here])


def view_of(pid: int) -> View | None:
    """The view of a process in another mount namespace than this task. None if it has no other, or may not be asked."""
    root = "/proc/%d/root" % pid
    try:
        if os.readlink("/proc/%d/ns/mnt" % pid) == os.readlink("/proc/self/ns/mnt"):
            return None
        theirs, ours = os.stat(root), os.stat("/proc/self/root")
    except OSError:
        return None
    group = proc.control_group(pid)
    container = re.search(_CONTAINER, group) or re.search(_MACHINE, group)
    is_container = bool(container) or (theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino)
    if container:
        where = "the container %s" % next(filter(None, container.groups()))
    elif is_container:
        where = "a container (mount namespace of its own)"
    else:
        where = "a service with its own view of the file system (mount namespace)"
    return View(root, where, is_container, bool(container) and bool(re.match(_ROOTS, group)))


def shares_network(pid: int) -> bool:
    """Whether a process has the network of this task: the ports of another one are not the host's."""
    try:
        return os.readlink("/proc/%d/ns/net" % pid) == os.readlink("/proc/self/ns/net")
    except OSError:
        return True


def is_same_file(one: str, other: str) -> bool:
    try:
        return os.path.samestat(os.stat(one), os.stat(other))
    except OSError:
        return False

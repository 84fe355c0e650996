# SPDX-License-Identifier: GPL-3.0-or-later
"""When a file may last have become another one than a process has read."""

from __future__ import annotations

import contextlib
import os
import stat

from ansible_collections.fleetops.airflow.plugins.module_utils._host.trust import way_to

# Of root, and of others. A note counts if it is root's, or that of the file's owner.
_NOTES = ("/run/fleetops.airflow-%d-%d.restored", "/tmp/fleetops.airflow-%d-%d.restored")


def last_changed(path: str) -> tuple[float, float]:
    """When the content of a file was last written, and when it, or a link on the way to it, may last have taken its
    place: in seconds since the epoch.

    The first can be set to any time, as whatever restores a file does; the second is the kernel's. It also changes with
    a new owner or mode.

    :raises OSError: if there is no such file.
    """
    status = os.stat(path)
    links = [link.st_ctime for _part, link, _sticky in way_to(path) if link and stat.S_ISLNK(link.st_mode)]
    return status.st_mtime, max([_renewed(status), *links])


def note_restored(status: os.stat_result, before: os.stat_result) -> None:
    """Note that a file was put back by a task that had found it there, so that it is not newer than it was.

    Without the note the file counts as new, and the server as older.

    :param status: of the file now.
    :param before: of the same file, when the task began.
    """
    path = _NOTES[1 if os.geteuid() else 0] % (status.st_dev, status.st_ino)
    text = "%d %r\n" % (status.st_ctime_ns, _renewed(before))
    temporary = "%s.%s" % (path, os.urandom(8).hex())
    with contextlib.suppress(OSError):  # without such a directory, or another user was there first
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(text)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)


def _renewed(status: os.stat_result) -> float:
    for note in _NOTES:
        try:
            descriptor = os.open(note % (status.st_dev, status.st_ino), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, encoding="ascii") as file:
                changed, renewed = file.read(200).split()
                owner = os.fstat(file.fileno()).st_uid
            seconds = float(renewed)
        except (OSError, ValueError):
            continue
        if owner in (0, status.st_uid) and changed == str(status.st_ctime_ns) and 0 < seconds < status.st_ctime:
            return seconds
    return status.st_ctime

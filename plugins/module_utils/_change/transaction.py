# SPDX-License-Identifier: GPL-3.0-or-later
"""Change a file wholly or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from typing import Callable

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

_LEFTOVER_PREFIX = ".%s.fleetops-"


def change(
    path: str, old: bytes, new: bytes, take_effect: Callable[[], None], rollback: bool, backup: Callable[[], None]
) -> None:
    """Write ``new`` to ``path`` and let it ``take_effect``; where that fails, write ``old`` back and repeat it.

    :param old: what the file holds now, read under the same lock.
    :param backup: called before the first write.
    :raises AirflowError: with ``rolled_back`` telling whether the old state is there again.
    """
    if old != new:
        backup()
        replace_file(path, new)
    try:
        take_effect()
    except AirflowError as error:
        if old == new:
            raise AirflowError(str(error), rolled_back=False, **error.details) from None
        if not rollback:
            raise AirflowError(
                "%s %s keeps the change, because rollback is off." % (error, path), rolled_back=False, **error.details
            ) from None
        replace_file(path, old)
        try:
            take_effect()
        except AirflowError as second:
            raise AirflowError(
                "%s %s has been put back as it was, but the server did not recover with it either: %s "
                "SOMEBODY HAS TO LOOK AT THIS HOST." % (error, path, second),
                rolled_back=False,
                **error.details,
            ) from None
        raise AirflowError(
            "%s %s has been put back as it was, and the server runs with it again." % (error, path),
            rolled_back=True,
            **error.details,
        ) from None


def replace_file(path: str, data: bytes) -> None:
    """Replace a file in one step that keeps owner, mode and extended attributes. ``path`` is no symbolic link.

    Whoever reads it sees the old content or the new, also after a crash.

    :raises AirflowError: if the folder, the disk or the file's owner do not let it; nothing is changed then.
    """
    folder, name = os.path.split(path)
    temporary = None
    try:
        for leftover in os.listdir(folder):  # of a run that was killed; we hold the lock, so nobody uses it
            if leftover.startswith(_LEFTOVER_PREFIX % name):
                os.unlink(os.path.join(folder, leftover))
        descriptor, temporary = tempfile.mkstemp(prefix=_LEFTOVER_PREFIX % name, dir=folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            status = os.stat(path)
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.stat(temporary).st_gid):
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            shutil.copystat(path, temporary)  # mode and extended attributes (SELinux, ACL); the times follow
            os.utime(temporary)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise AirflowError(
            "%s cannot be replaced: %s. It is as it was.%s" % (path, error.strerror, _advice(error))
        ) from None
    sync_folder = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(sync_folder)
    finally:
        os.close(sync_folder)


def _advice(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return " Run the task as a user who may write there and give the file its owner (become: true)."
    if error.errno == errno.ENOSPC:
        return " Make room on that file system."
    if error.errno == errno.EBUSY:
        return " It seems to be mounted by itself (as containers do): change it where it is mounted from."
    return ""

# SPDX-License-Identifier: GPL-3.0-or-later
"""Do some steps wholly or not at all, and replace a file so."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from typing import Callable, Sequence

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

_LEFTOVER_PREFIX = ".%s.fleetops-"


class Step:
    """One step of a transaction, which knows its undo."""

    restarts = False  # whether it lets the server read the files as they are
    changed: str | None = None  # the file that holds a change of this step, for a sentence

    def do(self) -> None:
        """:raises AirflowError: if that fails."""

    def undo(self) -> None:
        """Have it as it was before ``do``, which may have failed.

        :raises AirflowError: if that fails.
        """


class Replacement(Step):
    """A file with new content.

    :param old: what it holds now, read under the same lock.
    :param backup: called with the path before the file is written; returns the path of the copy.
    """

    def __init__(self, path: str, old: bytes, new: bytes, backup: Callable[[str], str] | None) -> None:
        self._path, self._old, self._new = path, old, new
        self._backup = backup
        self.backup_file: str | None = None

    def do(self) -> None:
        if self._backup:
            self.backup_file = self._backup(self._path)
        replace_file(self._path, self._new)
        self.changed = self._path

    def undo(self) -> None:
        if self.changed:
            replace_file(self._path, self._old)


def transact(steps: Sequence[Step], rollback: bool) -> None:
    """Do the steps in their order. If one fails, undo all that were begun.

    :param rollback: whether a changed file is to be as before if the server does not run with it.
    :raises AirflowError: of the step that failed. If the server was restarted, it has ``rolled_back``.
    """
    begun: list[Step] = []
    try:
        for step in steps:
            begun.append(step)
            step.do()
    except AirflowError as error:
        raise _failure(error, begun, rollback) from None


def _failure(error: AirflowError, begun: list[Step], rollback: bool) -> AirflowError:
    """Undo what was begun; the error that reports how that went."""
    restarts = [step for step in begun if step.restarts]
    details = {"rolled_back": False, **error.details} if restarts else error.details
    changed = next((step.changed for step in begun if step.changed), None)
    if changed and not rollback:
        return AirflowError("%s %s keeps the change, because rollback is off." % (error, changed), **details)
    for step in begun:
        if not step.restarts:
            step.undo()
    if not changed:
        return AirflowError(str(error), **details)
    try:
        for step in restarts:  # now that the old files are there again, for the server to read
            step.undo()
    except AirflowError as second:
        return AirflowError(
            "%s %s has been put back as it was, but the server did not recover with it either: %s "
            "SOMEBODY HAS TO LOOK AT THIS HOST." % (error, changed, second),
            **details,
        )
    return AirflowError(
        "%s %s has been put back as it was, and the server runs with it again." % (error, changed),
        **{**details, "rolled_back": True},
    )


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

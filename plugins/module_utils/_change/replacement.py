# SPDX-License-Identifier: GPL-3.0-or-later
"""Replace a file in one step, and put it back in one step that needs no room and cannot be in anybody's way."""

from __future__ import annotations

import contextlib
import errno
import os
import time

from ansible_collections.fleetops.airflow.plugins.module_utils._change.transaction import Step
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError, become_advice
from ansible_collections.fleetops.airflow.plugins.module_utils._host.file_times import note_restored
from ansible_collections.fleetops.airflow.plugins.module_utils._host.files import (
    LEFTOVER,
    Place,
    copy_attributes,
    place_of,
    remove_leftovers,
)

_MOST_BYTES = 1 << 26
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# _IOR('f', 1, long) of linux/fs.h, and two flags of it that keep root from replacing the file
_GET_FLAGS, _IMMUTABLE, _APPEND_ONLY = 0x80086601, 0x10, 0x20


class Replacement(Step):
    """A file with new content, which keeps owner, mode and extended attributes.

    A reader sees the old content or the new, also after a crash. The old file itself is kept beside the new one until
    the transaction is over: to put it back is to rename it, and it has its times then.

    :param path: absolute; a link is followed as _host.files does.
    :param old: what the file holds; None if it does not exist. If it holds anything else, nothing is changed.
    :param mode: of the new file; None for that of the old one.
    :param backup: whether the old file stays, as ``backup_file``.
    """

    def __init__(self, path: str, old: bytes | None, new: bytes, mode: int | None = None, backup: bool = False) -> None:
        self.path = path
        self.backup_file: str | None = None
        self._old, self._new, self._mode, self._backup = old, new, mode, backup
        self._place: Place | None = None
        self._original: os.stat_result | None = None  # the old file
        self._kept: str | None = None  # its second name
        self._written: os.stat_result | None = None  # the new file, once it has been put in place

    def do(self) -> None:
        temporary, source, target = None, -1, -1
        try:
            self._place = place_of(self.path)
            remove_leftovers(self._place)
            if self._old is not None:
                source = self._place.open()
                self._original = os.fstat(source)
            self._refuse_concurrent_edit(source)
            temporary = self._unique()
            target = os.open(temporary, _CREATE, 0o600, dir_fd=self._place.directory)
            _write(target, self._new)
            if source >= 0:
                copy_attributes(source, target)
            if self._mode is not None:
                os.fchmod(target, self._mode)
            os.fsync(target)
            if source >= 0:
                self._keep(source)
            self._refuse_concurrent_edit(source)
            self._put(temporary, target)
            temporary = None
            self._refuse_lost_edit(source)
            self._place.sync()
        except OSError as error:
            advice = _advice(error)
            self.undo()
            raise AirflowError(
                "%s cannot be replaced: %s. %s%s" % (self.path, error.strerror, self.outcome(), advice)
            ) from None
        finally:
            if temporary and self._place:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=self._place.directory)
            for descriptor in (source, target):
                if descriptor >= 0:
                    os.close(descriptor)

    def undo(self) -> None:
        """:raises AirflowError: if the new file is not there any more, or the old one cannot be put in its place."""
        for last in (False, True):  # a fault may pass, and there is no third way
            try:
                self._undo()
                return
            except OSError as error:
                if last:
                    raise AirflowError(
                        "%s cannot be put back: %s. %s%s"
                        % (self.path, error.strerror, self.outcome(), self._where_old_is())
                    ) from None

    def _undo(self) -> None:
        if self._written and self._is(self._written):
            if not self._holds(self._new):
                raise self._edited_since()
            self._put_back()
        elif self._written and not self._is_original():
            raise self._edited_since()
        self._discard_kept()
        self.changed = None
        now = self._status()
        if now and self._original and self._is_original():
            note_restored(now, self._original)

    def finish(self) -> None:
        if self._backup:
            self._kept = None  # it stays, under the name that it has already
        else:
            self._discard_kept()

    def close(self) -> None:
        if self._place:
            self._place.close()

    def outcome(self) -> str:
        """What the file holds now, as a sentence: from looking at it."""
        try:
            if self._old is None and self._status() is None:
                return "It does not exist, as before."
            if self._old is not None and self._holds(self._old):
                return "It is as it was."
            if self._holds(self._new):
                return "It holds the new content."
        except OSError as error:
            return "What it holds now cannot be determined (%s)." % error.strerror
        return "It holds neither the old content nor the new: another program has changed it."

    def _refuse_concurrent_edit(self, source: int) -> None:
        """:raises AirflowError: if the file is not what was read when the task began."""
        same = self._is_original() and (source < 0 or _content(source) == self._old)
        if not same:
            self._discard_kept()
            raise AirflowError(
                "%s was changed by another program while this task was preparing its change. Nothing was changed. Run "
                "the task again." % self.path
            )

    def _put_back(self) -> None:
        """:raises OSError: if that fails."""
        place = self._opened()
        if self._kept:
            os.replace(self._kept, place.name, src_dir_fd=place.directory, dst_dir_fd=place.directory)
        else:
            os.unlink(place.name, dir_fd=place.directory)
        self._kept = self._written = self.backup_file = self.changed = None
        place.sync()

    def _edited_since(self) -> AirflowError:
        return AirflowError(
            "%s was changed by another program after this task had changed it, so it was not put back.%s"
            % (self.path, self._where_old_is())
        )

    def _refuse_lost_edit(self, source: int) -> None:
        """A program that had the old file open may have written to it in the last moment.

        :raises AirflowError: then; the old file is back in its place.
        """
        if source >= 0 and _content(source) != self._old:
            self._put_back()
            raise AirflowError(
                "%s was changed by another program at the same moment. That change is kept, and nothing else was "
                "changed. Run the task again." % self.path
            )

    def _keep(self, source: int) -> None:
        """Have the old file under a second name. Where the file system has no hard links, have a copy."""
        place = self._opened()
        name = _backup_name(place.name) if self._backup else self._unique()
        try:
            os.link("/proc/self/fd/%d" % source, name, dst_dir_fd=place.directory, follow_symlinks=True)
        except OSError as error:
            if error.errno == errno.EEXIST:
                raise
            descriptor = os.open(name, _CREATE, 0o600, dir_fd=place.directory)
            self._kept = name  # also if it is not complete: it is removed then
            try:
                _write(descriptor, self._old or b"")
                copy_attributes(source, descriptor)
                status = os.fstat(source)
                os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        self._kept = name
        if self._backup:
            self.backup_file = os.path.join(os.path.dirname(self.path), name)

    def _put(self, temporary: str, target: int) -> None:
        """:raises AirflowError: if another file than ours stands in the place afterwards."""
        place = self._opened()
        self._written = os.fstat(target)  # before it is in place: whatever fails from here on, undo looks for this file
        self.changed = self.path
        if self._old is None:
            os.link(
                temporary, place.name, src_dir_fd=place.directory, dst_dir_fd=place.directory, follow_symlinks=False
            )
            os.unlink(temporary, dir_fd=place.directory)
        else:
            os.replace(temporary, place.name, src_dir_fd=place.directory, dst_dir_fd=place.directory)
        if not self._is(self._written):
            raise AirflowError(
                "%s was replaced by another program at the moment of the change. What it holds now is not from this "
                "task.%s" % (self.path, self._where_old_is())
            )

    def _holds(self, content: bytes) -> bool:
        """:raises OSError: if that cannot be read."""
        place = self._opened()
        try:
            descriptor = place.open()
        except FileNotFoundError:
            return False
        try:
            return _content(descriptor) == content
        finally:
            os.close(descriptor)

    def _is(self, status: os.stat_result | None) -> bool:
        """Whether that file stands in the place now."""
        now = self._status()
        return bool(now and status and (now.st_dev, now.st_ino) == (status.st_dev, status.st_ino))

    def _status(self) -> os.stat_result | None:
        return self._opened().status()

    def _is_original(self) -> bool:
        """Whether the file that this step has found stands in the place now, or none as then."""
        return self._is(self._original) if self._original else not self._status()

    def _opened(self) -> Place:
        if not self._place or self._place.directory < 0:
            self._place = place_of(self.path)
        return self._place

    def _where_old_is(self) -> str:
        """A sentence. The old file gets a name under which no later run removes it."""
        if not self._kept:
            return ""
        place, name = self._opened(), _backup_name(self._opened().name)
        with contextlib.suppress(OSError):
            os.rename(self._kept, name, src_dir_fd=place.directory, dst_dir_fd=place.directory)
            self._kept = name
        return " What it held before this task is in %s." % os.path.join(os.path.dirname(self.path), self._kept)

    def _discard_kept(self) -> None:
        if self._kept and self._place:
            with contextlib.suppress(OSError):
                os.unlink(self._kept, dir_fd=self._place.directory)
        self._kept = self.backup_file = None

    def _unique(self) -> str:
        return LEFTOVER % self._opened().name + os.urandom(8).hex()


def validate_replaceable(path: str) -> None:
    """See that the file can be replaced, as far as that can be seen without doing it.

    :raises AirflowError: if it cannot.
    """
    try:
        with place_of(path) as place:
            descriptor = place.open()
            try:
                if _flags(descriptor) & (_IMMUTABLE | _APPEND_ONLY):
                    raise AirflowError(
                        "%s cannot be replaced: it is immutable. Nothing was changed. Take the attribute away "
                        "(chattr -i -a %s)." % (path, path)
                    )
            finally:
                os.close(descriptor)
            effective = os.access in os.supports_effective_ids
            if not os.access(".", os.W_OK | os.X_OK, dir_fd=place.directory, effective_ids=effective):
                # Of a read-only file system that is the answer to root too.
                number = errno.EROFS if os.geteuid() == 0 else errno.EACCES
                raise OSError(number, os.strerror(number))
    except OSError as error:
        raise AirflowError(
            "%s cannot be replaced: %s. Nothing was changed.%s" % (path, error.strerror, _advice(error))
        ) from None


def _flags(descriptor: int) -> int:
    import fcntl
    import struct

    try:
        answer = fcntl.ioctl(descriptor, _GET_FLAGS, struct.pack("l", 0))
    except OSError:  # a file system without them
        return 0
    return int(struct.unpack("l", answer)[0])


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _content(descriptor: int) -> bytes:
    parts: list[bytes] = []
    position = 0
    while position <= _MOST_BYTES:
        part = os.pread(descriptor, 1 << 20, position)
        if not part:
            return b"".join(parts)
        parts.append(part)
        position += len(part)
    raise OSError(errno.EFBIG, "Larger than %d bytes" % _MOST_BYTES)


def _backup_name(name: str) -> str:
    """As Ansible's own modules name a backup."""
    return "%s.%d.%s" % (name, os.getpid(), time.strftime("%Y-%m-%d@%H:%M:%S~"))


def _advice(error: OSError) -> str:
    """What the operator can do, as a sentence."""
    if error.errno in (errno.EACCES, errno.EPERM):
        if os.geteuid() != 0:
            return " The user needs the right to write there and to give the file its owner.%s" % become_advice()
        return (
            " Root is not allowed to: the file or its directory is immutable (lsattr, chattr -i), or the file system "
            "is shared and does not trust this host's root (root_squash): change the file where it comes from."
        )
    if error.errno == errno.ENOSPC:
        return " Make room on that file system."
    if error.errno == errno.EROFS:
        return " Its file system is mounted read-only: change the file where it comes from."
    if error.errno == errno.EBUSY:
        return " It seems to be mounted by itself (as containers do): change it where it is mounted from."
    return ""

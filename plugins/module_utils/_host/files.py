# SPDX-License-Identifier: GPL-3.0-or-later
"""Files in directories that somebody else owns, who can put another file in their place at any moment.

A file is opened once and used by its descriptor. Nothing here changes a file by a name that another user can point
somewhere else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

LEFTOVER = ".%s.fleetops-"  # how the names begin of files that a run only needs itself
_MOST_LINKS = 40  # as the kernel
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PATH = getattr(os, "O_PATH", 0) | os.O_NOFOLLOW | os.O_CLOEXEC  # also for a directory that may be entered, not listed


class Place:
    """A name in an open directory, which stays that directory whatever becomes of the path that led to it.

    Use it as a context manager, or close it. ``path`` is for sentences.
    """

    def __init__(self, directory: int, name: str, path: str, owner: int | None) -> None:
        self.directory, self.name, self.path = directory, name, path
        self._owner = owner  # whose file it has to be; None: anybody's

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        if self.directory >= 0:
            os.close(self.directory)
            self.directory = -1

    def open(self, flags: int = os.O_RDONLY) -> int:
        """A descriptor of the regular file of this name.

        :raises OSError: if there is none, it is not a regular file, or another user's link leads to it.
        """
        descriptor = os.open(
            self.name,
            flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY,
            dir_fd=self.directory,
        )
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "Not a regular file", self.path)
        if self._owner not in (None, status.st_uid):
            os.close(descriptor)
            raise _misleading(self.path)
        return descriptor

    def status(self) -> os.stat_result | None:
        """What stands under the name now; None if nothing does."""
        try:
            return os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def sync(self) -> None:
        """Have what was created, renamed or removed in the directory survive a power failure."""
        directory = os.open(".", _DIRECTORY, dir_fd=self.directory)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def place_of(path: str) -> Place:
    """Go to the directory of ``path`` step by step, following links as far as they can be trusted.

    A link of root's, or of the user whom this process runs as, is followed. A link of another user's is followed only
    to what belongs to that user: it would otherwise have root read or write what that user cannot.

    :param path: absolute. Its last part may be a link; the place is what it leads to, which need not exist.
    :raises OSError: if a directory on the way cannot be opened, or a link is not to be followed.
    """
    if not os.path.isabs(path) or "\0" in path:
        raise OSError(errno.EINVAL, "Not an absolute path", path)
    way = _Way(path)
    try:
        while True:
            place = way.step()
            if place:
                return place
    except OSError as error:
        os.close(way.here)
        raise OSError(error.errno, error.strerror, path) from None


class _Way:
    """Where ``place_of`` has come to: an open directory, and what is left of the path."""

    def __init__(self, path: str) -> None:
        self.here = os.open("/", _DIRECTORY)
        self._path = path
        self._left = _parts(path)
        self._links = 0
        self._owner: int | None = None

    def step(self) -> Place | None:
        """The place, once it is reached. It has the directory then.

        :raises OSError: if it goes no further.
        """
        name = self._left.pop() if self._left else "."
        try:
            status = os.stat(name, dir_fd=self.here, follow_symlinks=False)
        except FileNotFoundError:
            if self._left:
                raise
            return Place(self.here, name, self._path, self._owner)
        if stat.S_ISLNK(status.st_mode):
            self._follow(name, status.st_uid)
            return None
        if self._left or name in (".", ".."):
            self._enter(os.open(name, _PATH | os.O_DIRECTORY, dir_fd=self.here))
            if not self._left:
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            return None
        return Place(self.here, name, self._path, self._owner)

    def _follow(self, link: str, owner: int) -> None:
        self._links += 1
        if self._links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if owner not in (0, os.geteuid()):
            if self._owner not in (None, owner):
                raise _misleading(self._path)
            self._owner = owner
        target = os.readlink(link, dir_fd=self.here)
        if os.path.isabs(target):
            self._enter(os.open("/", _DIRECTORY))
        self._left += _parts(target)

    def _enter(self, directory: int) -> None:
        os.close(self.here)
        self.here = directory


def read_foreign(path: str, limit: int) -> bytes:
    """The content of a regular file that another user may have put there, without waiting for anything.

    :param path: absolute.
    :param limit: in bytes.
    :raises OSError: if it cannot be opened, is not a regular file, is larger, or another user's link leads there.
    """
    with place_of(path) as place:
        descriptor = place.open()
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, "Larger than %d bytes" % limit, path)
    return data


def read_end(path: str, start: int, limit: int) -> tuple[bytes, bool]:
    """What a log holds from ``start`` on, of that the last ``limit`` bytes. All of it if it has become shorter.

    :returns: with whether its beginning was cut off.
    :raises OSError: as ``read_foreign``.
    """
    with place_of(path) as place:
        descriptor = place.open()
    with os.fdopen(descriptor, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        start = start if start <= end else 0
        file.seek(max(start, end - limit))
        return file.read(limit), end - limit > start


def remove_leftovers(place: Place) -> None:
    """Remove what a run that was killed has left beside the file. The lock is held, so no other run uses it."""
    directory = os.open(".", _DIRECTORY, dir_fd=place.directory)
    try:
        for name in os.listdir(directory):
            if name.startswith(LEFTOVER % place.name):
                with contextlib.suppress(OSError):  # such as a directory of this name, which is not ours
                    os.unlink(name, dir_fd=directory)
    finally:
        os.close(directory)


def copy_attributes(source: int, target: int) -> None:
    """Give a file the owner, the mode and the extended attributes (ACL, SELinux) of another, and none that it lacks.

    A new file in a directory with a default ACL has an ACL, which would open it to users who cannot read the source.

    :param source: a descriptor, as ``target``.
    :raises OSError: if the owner, the mode or an ACL cannot be given.
    """
    status, now = os.fstat(source), os.fstat(target)
    if (status.st_uid, status.st_gid) != (now.st_uid, now.st_gid):
        os.fchown(target, status.st_uid, status.st_gid)
    wanted, present = _attributes(source), _attributes(target)
    for name in present | wanted:
        try:
            if name not in wanted:
                os.removexattr(target, name)
            elif name not in present or os.getxattr(target, name) != os.getxattr(source, name):
                os.setxattr(target, name, os.getxattr(source, name))
        except OSError:
            if name.startswith("system.posix_acl_"):
                raise
            # Another attribute may be the kernel's own, or not for us to set. An ACL says who may read the file.
    os.fchmod(target, stat.S_IMODE(status.st_mode))


def _attributes(descriptor: int) -> set[str]:
    try:
        return set(os.listxattr(descriptor))
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENODATA):
            return set()
        raise


def _parts(path: str) -> list[str]:
    """The parts of a path, the first one last."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _misleading(path: str) -> OSError:
    return OSError(errno.EPERM, "A symbolic link of another user leads to a file that is not that user's", path)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose keys a keytab holds. The keys themselves are passed over.

The format is the one that MIT Kerberos documents (``Keytab file format``), version 0x0502: all numbers are big-endian.
"""

from __future__ import annotations

import struct

from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

_VERSION = b"\x05\x02"
_ESCAPES = str.maketrans({"\\": "\\\\", "/": "\\/", "@": "\\@"})


class Entry(Record):
    """One key: ``principal`` as klist writes it, ``kvno``, which is the key's version, and its type's number."""

    principal: str
    kvno: int
    encryption: int


def entries(data: bytes) -> list[Entry]:
    """
    :raises ValueError: if this is no keytab of that version, or it is damaged; the text says which, as the end of a
        sentence about the file.
    """
    if data[:2] != _VERSION:
        if data[:1] == b"\x05":
            raise ValueError("is a keytab of a format that only very old programs write")
        raise ValueError("is empty" if not data else "is no keytab")
    found = []
    rest = _Reader(data[2:])
    while rest:
        size = rest.number("i")
        if size == 0:
            break
        record = rest.take(abs(size))
        if size > 0:  # a negative size is that of a hole, which a deleted entry has left
            found.append(_entry(_Reader(record)))
    return found


def _entry(record: _Reader) -> Entry:
    count = record.number("H")
    realm = record.text()
    components = [record.text() for _component in range(count)]
    record.number("I")  # the kind of name
    record.number("I")  # when it was written
    kvno = record.number("B")
    encryption = record.number("H")
    record.take(record.number("H"))
    if len(record) >= 4:  # the whole version, for those above 255; 0 where it says nothing
        kvno = record.number("I") or kvno
    name = "/".join(component.translate(_ESCAPES) for component in components)
    return Entry("%s@%s" % (name, realm.translate(_ESCAPES)), kvno, encryption)


def principals(found: list[Entry]) -> list[str]:
    """Each principal once, in the file's order."""
    return list(dict.fromkeys(entry.principal for entry in found))


class _Reader:
    """What of some bytes has not been read yet."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def __len__(self) -> int:
        return len(self._data) - self._position

    def take(self, count: int) -> bytes:
        if count > len(self):
            raise ValueError("is a damaged keytab: it ends within an entry")
        self._position += count
        return self._data[self._position - count : self._position]

    def number(self, kind: str) -> int:
        """An integer by its letter in the struct module."""
        kind = ">" + kind
        value: int = struct.unpack(kind, self.take(struct.calcsize(kind)))[0]
        return value

    def text(self) -> str:
        return self.take(self.number("H")).decode("utf-8", "replace")

# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of a process that has overwritten the copy which the kernel shows in /proc/PID/environ.

Airflow 3's api-server and gunicorn write their title over it. The C library still has it: its variable ``environ``
points to it, and the symbol tables of the process's own files say where in its memory that variable lies.
For 64-bit little-endian Linux; elsewhere, and where the process's memory may not be read, nothing is known.
"""

from __future__ import annotations

import os
import re
import struct
from typing import BinaryIO

from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

_PAGE = 0x1000
_C_LIBRARY = re.compile(r"/(libc\.so\.6|libc-2\.\d+\.so|libc\.so|ld-musl-[^/]*)$")
_LOADABLE, _DYNAMIC_SYMBOLS = 1, 11  # PT_LOAD and SHT_DYNSYM of elf.h
_MOST_VARIABLES = 10000
_MOST_BYTES = 1 << 17  # of one variable; the kernel's own limit


class _Mapping(Record):
    start: int
    offset: int
    path: str


def environment(pid: int) -> dict[str, str] | None:
    """None if it cannot be read."""
    try:
        mappings = _mappings(pid)
        program = os.readlink("/proc/%d/exe" % pid)
        with open("/proc/%d/mem" % pid, "rb", buffering=0) as memory:
            for path in _holders(mappings, program):
                address = _address_of_environ(pid, path, mappings)
                if address is not None:
                    return _strings(memory.fileno(), address)
    except (OSError, struct.error, ValueError, IndexError):
        pass  # gone, not ours to look into, or no ELF file that we understand
    return None


def _mappings(pid: int) -> list[_Mapping]:
    found = []
    with open("/proc/%d/maps" % pid, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.rstrip("\n").split(None, 5)
            if len(fields) == 6 and fields[5].startswith("/"):
                found.append(_Mapping(int(fields[0].partition("-")[0], 16), int(fields[2], 16), fields[5]))
    return found


def _holders(mappings: list[_Mapping], program: str) -> list[str]:
    """The files that may define the variable, in the linker's order: a program that uses it has a copy of its own."""
    libraries = sorted({mapping.path for mapping in mappings if _C_LIBRARY.search(mapping.path)})
    return [program, *libraries]


def _address_of_environ(pid: int, path: str, mappings: list[_Mapping]) -> int | None:
    with open("/proc/%d/root%s" % (pid, path), "rb") as file:
        header = file.read(64)
        if header[:6] != b"\x7fELF\x02\x01":
            raise ValueError("not a 64-bit little-endian ELF file")
        segments, sections = struct.unpack_from("<QQ", header, 32)
        segment_count, _size, section_count = struct.unpack_from("<HHH", header, 56)

        value = None
        file.seek(sections)
        table = [struct.unpack("<IIQQQQIIQQ", file.read(64)) for _number in range(section_count)]
        for _name, kind, _flags, _address, offset, size, link, _info, _align, _entry in table:
            if kind == _DYNAMIC_SYMBOLS:
                names = _at(file, table[link][4], table[link][5])
                value = _value_of_environ(_at(file, offset, size), names)
        if value is None:
            return None

        file.seek(segments)
        for _number in range(segment_count):
            kind, _flags, offset, address = struct.unpack("<IIQQ", file.read(56)[:24])
            if kind == _LOADABLE:
                start = next(m.start for m in mappings if m.path == path and m.offset == offset - offset % _PAGE)
                return int(start - (address - address % _PAGE) + value)
    return None


def _value_of_environ(symbols: bytes, names: bytes) -> int | None:
    offsets = {
        position
        for name in (b"environ\0", b"__environ\0", b"_environ\0")
        for position in (match.start() for match in re.finditer(re.escape(name), names))
    }
    for name, _info, _other, section, value, _size in struct.iter_unpack("<IBBHQQ", symbols):
        if section != 0 and name in offsets:
            return int(value)
    return None


def _strings(memory: int, address: int) -> dict[str, str]:
    (array,) = struct.unpack("<Q", os.pread(memory, 8, address))
    found = {}
    for number in range(_MOST_VARIABLES):
        (pointer,) = struct.unpack("<Q", os.pread(memory, 8, array + 8 * number))
        if not pointer:
            break
        name, separator, value = _string(memory, pointer).decode("utf-8", "surrogateescape").partition("=")
        if separator:
            found[name] = value
    return found


def _string(memory: int, address: int) -> bytes:
    data = b""
    while b"\0" not in data and len(data) < _MOST_BYTES:
        here = address + len(data)
        data += os.pread(memory, _PAGE - here % _PAGE, here)  # to the end of the page: the next may not be there
    return data.partition(b"\0")[0]


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)

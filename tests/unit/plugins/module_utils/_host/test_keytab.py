# SPDX-License-Identifier: GPL-3.0-or-later
"""Keytabs byte by byte. Those that real programs write are read in tests/integration/host/test_kerberos.py."""

from __future__ import annotations

import struct

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._host.keytab import Entry, entries, principals
from hypothesis import given
from hypothesis import strategies as st

KEY = b"never to be seen"


def counted(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def entry(*components: str, realm: str = "EXAMPLE.COM", kvno: int = 2, whole_kvno: bytes = b"") -> bytes:
    """One entry as MIT's documentation of the format describes it."""
    record = struct.pack(">H", len(components)) + counted(realm.encode())
    record += b"".join(counted(component.encode()) for component in components)
    record += struct.pack(">IIBH", 1, 1700000000, kvno & 255, 18) + counted(KEY) + whole_kvno
    return struct.pack(">i", len(record)) + record


def keytab(*records: bytes) -> bytes:
    return b"\x05\x02" + b"".join(records)


def test_whose_keys_they_are() -> None:
    found = entries(keytab(entry("airflow", "web1.example.com", kvno=3), entry("ada")))
    assert found == [Entry("airflow/web1.example.com@EXAMPLE.COM", 3, 18), Entry("ada@EXAMPLE.COM", 2, 18)]
    assert KEY.decode() not in repr(found)


def test_a_version_above_255_is_written_behind_the_key() -> None:
    whole = struct.pack(">I", 300)
    assert entries(keytab(entry("ada", kvno=300, whole_kvno=whole)))[0].kvno == 300
    assert entries(keytab(entry("ada", kvno=7, whole_kvno=b"\0\0\0\0")))[0].kvno == 7


def test_holes_and_what_follows_the_end_are_passed_over() -> None:
    hole = struct.pack(">i", -6) + b"\xff" * 6
    found = entries(keytab(entry("ada"), hole, entry("bob"), struct.pack(">i", 0), b"anything"))
    assert principals(found) == ["ada@EXAMPLE.COM", "bob@EXAMPLE.COM"]


def test_a_principal_is_told_once() -> None:
    assert principals(entries(keytab(entry("ada"), entry("ada", kvno=3)))) == ["ada@EXAMPLE.COM"]


def test_separators_within_a_name_are_escaped() -> None:
    assert principals(entries(keytab(entry("a/b", "c@d\\e")))) == ["a\\/b/c\\@d\\\\e@EXAMPLE.COM"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"-----BEGIN CERTIFICATE-----", "is no keytab"),
        (b"\x05\x01\0\0\0\0", "format that only very old programs write"),
    ],
)
def test_what_is_no_keytab(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        entries(data)


def test_a_keytab_that_was_cut_off_is_damaged_wherever_that_was() -> None:
    whole = keytab(entry("airflow", "web1.example.com"), entry("ada"))
    complete = {2, 2 + len(entry("airflow", "web1.example.com")), len(whole)}
    for length in range(2, len(whole) + 1):
        if length in complete:
            entries(whole[:length])
        else:
            with pytest.raises(ValueError, match="damaged"):
                entries(whole[:length])


@given(st.binary())
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        entries(b"\x05\x02" + data)
    except ValueError:
        pass

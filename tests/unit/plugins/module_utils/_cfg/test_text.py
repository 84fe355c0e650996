# SPDX-License-Identifier: GPL-3.0-or-later
"""airflow.cfg as text: the judge is Python's configparser, which is what Airflow reads with."""

from __future__ import annotations

import configparser
import io
import os

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg, CfgError
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.plugins.cfg_files import readable_file


def as_airflow(text: str) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(default_section="\n")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_file(io.StringIO(text, newline=None))
    return {section: dict(parser.items(section, raw=True)) for section in parser.sections()}


# `make test` asks for ten thousand, which takes minutes; on the other Pythons of hosts a part of it will do.
EXAMPLES = int(os.environ.get("CFG_EXAMPLES", "1000"))
# What people and tools write into such files, in every mixture.
LINES = st.one_of(
    st.sampled_from(["[api]", "[core]", "  [api]", "[ api ]", "[DEFAULT]", "[api] # c", "[webserver]"]),
    st.sampled_from(
        [
            "auth_backends = a.b",
            "auth_backends=",
            "auth_backends : a, b",
            "auth_backend = old",
            "AUTH_BACKENDS = upper",
            "   auth_backends = indented",
            "\tauth_backends = tab",
            "limit = 100",
            "  limit = 100",
            "base_url = http://h:8080/%(x)s",
            "quoted = 'a'",
            "bare",
            "= nothing",
        ]
    ),
    st.sampled_from(
        ["# auth_backends = x", "; note", "  # inside", "#auth_backends=x", "", "   ", "  more", "\tmore, still"]
    ),
    st.text(alphabet=" \tab=:#;[]%\x0b\x85\u2028é", max_size=12),
)
ENDINGS = st.sampled_from(["\n", "\r\n", "\r"])
FILES = st.builds(
    lambda lines, ending, final: ending.join(lines) + (ending if final else ""),
    st.lists(LINES, max_size=14),
    ENDINGS,
    st.booleans(),
)


READABLE = st.integers(0, 2**32).map(readable_file)


@settings(max_examples=EXAMPLES // 4, deadline=None)
@given(FILES)
def test_reads_what_airflow_reads_or_refuses(text: str) -> None:
    try:
        expected = as_airflow(text)
    except configparser.Error:
        with pytest.raises(CfgError, match=r"airflow.cfg, line \d+: "):
            Cfg(text)
        return
    try:
        cfg = Cfg(text)
    except CfgError as error:
        assert "which Python releases read differently" in str(error)
        return
    found: dict[str, dict[str, str]] = {section: {} for section in expected}
    for option in cfg.options():
        found[option.section][option.name] = option.value
    assert found == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xef\xbb\xbf[api]\n", "line 1: the file begins with a byte order mark"),
        (b"[api]\r\nx = 1\r\ny = \xe9\r\n", "line 3: not UTF-8"),
        (b"x = 1\n[api]\n", "line 1: text before the first"),
        (b"[api]\nx = 1\n[api]\n", r"line 3: section \[api\] is there a second time \(first in line 1\)"),
        (b"[api]\nx = 1\nx = 2\n", r"line 3: \[api\] x is there a second time \(first in line 2\)"),
        (b"[api]\nbare\n", "line 2: this line is no section, no comment"),
    ],
)
def test_what_airflow_cannot_read_is_refused_by_line(data: bytes, message: str) -> None:
    with pytest.raises(CfgError, match="^/etc/airflow.cfg, " + message):
        Cfg.from_bytes(data, "/etc/airflow.cfg")


def test_a_secret_in_a_broken_line_is_not_quoted() -> None:
    with pytest.raises(CfgError) as error:
        Cfg("[core]\nfernet_key hunter2hunter2\n")
    assert "hunter2" not in str(error.value)


def test_default_section_counts_only_where_the_section_is() -> None:
    assert Cfg("[DEFAULT]\nauth_backends = d\n[api]\n").get("api", "auth_backends") == "d"
    assert Cfg("[DEFAULT]\nauth_backends = d\n").get("api", "auth_backends") is None

# SPDX-License-Identifier: GPL-3.0-or-later
"""airflow.cfg as text: the judge is Python's configparser, which is what Airflow reads with."""

from __future__ import annotations

import configparser
import io

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg import Cfg, CfgError
from hypothesis import given, settings
from hypothesis import strategies as st

BASIC = "airflow.api.auth.backend.basic_auth"


def as_airflow(text: str) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(default_section="\n")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_file(io.StringIO(text, newline=None))
    return {section: dict(parser.items(section, raw=True)) for section in parser.sections()}


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


@settings(max_examples=800, deadline=None)
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


@settings(max_examples=800, deadline=None)
@given(FILES, st.sampled_from(["x.y", "", "a.b,c.d", "50%%"]))
def test_an_edit_changes_the_option_and_no_other_byte(text: str, value: str) -> None:
    try:
        cfg = Cfg(text)
        edited = cfg.with_option("api", "auth_backends", value)
    except CfgError:
        return
    expected = as_airflow(text)
    expected.setdefault("api", {})["auth_backends"] = value
    assert as_airflow(edited.text) == expected
    assert edited.with_option("api", "auth_backends", value) is edited

    before, after = cfg.own("api", "auth_backends"), edited.own("api", "auth_backends")
    assert after
    kept = _raw(text)
    if before:
        inner = kept[before.start + 1 : before.end]
        comments = [line for line in inner if not line.strip() or line.strip()[0] in "#;"]
        kept = kept[: before.start] + comments + kept[before.end :]
    rest = _raw(edited.text)
    del rest[after.start : after.end]
    if "api" in as_airflow(text):
        assert [line.rstrip("\r\n") for line in rest] == [line.rstrip("\r\n") for line in kept]
    else:
        assert edited.text.startswith(text)


@settings(max_examples=400, deadline=None)
@given(FILES)
def test_a_removal_takes_the_option_and_nothing_else(text: str) -> None:
    try:
        cfg = Cfg(text)
        edited = cfg.without_option("api", "auth_backends")
    except CfgError:
        return
    expected = as_airflow(text)
    expected.get("api", {}).pop("auth_backends", None)
    assert as_airflow(edited.text) == expected
    assert edited.without_option("api", "auth_backends") is edited


def _raw(text: str) -> list[str]:
    return io.StringIO(text, newline="").readlines()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[api]\nauth_backends = old\n", "[api]\nauth_backends = NEW\n"),
        ("[api]\nauth_backends=old\n", "[api]\nauth_backends=NEW\n"),
        ("[api]\nauth_backends :old\n", "[api]\nauth_backends : NEW\n"),
        ("[api]\nauth_backends =\n", "[api]\nauth_backends = NEW\n"),
        ("[api]\r\nauth_backends   =\told\r\nx = 1", "[api]\r\nauth_backends   =\tNEW\r\nx = 1"),
        ("[api]\nx = 1", "[api]\nx = 1\nauth_backends = NEW"),
        ("[api]\n# auth_backends = d\nx = 1\n", "[api]\n# auth_backends = d\nauth_backends = NEW\nx = 1\n"),
        (
            "[api]\nx = 1\n\n[core]\n# auth_backends =\n",
            "[api]\nx = 1\nauth_backends = NEW\n\n[core]\n# auth_backends =\n",
        ),
        ("[api]\n  x = 1\n", "[api]\n  x = 1\n  auth_backends = NEW\n"),
        ("[api]\n\n   x = 1\n", "[api]\n\n   x = 1\n   auth_backends = NEW\n"),
        ("[api]\n#auth_backends=d\n\n   x = 1\n", "[api]\n#auth_backends=d\n   auth_backends = NEW\n\n   x = 1\n"),
        ("[api]\nauth_backends = a,\n  # why\n  b\nx = 1\n", "[api]\nauth_backends = NEW\n  # why\nx = 1\n"),
        ("[core]\nx = 1", "[core]\nx = 1\n\n[api]\nauth_backends = NEW\n"),
        ("", "[api]\nauth_backends = NEW\n"),
        ("[api]\nx = 1\n# auth_backends = d\n  2\n", "[api]\nx = 1\n# auth_backends = d\n  2\nauth_backends = NEW\n"),
    ],
)
def test_an_edit_is_written_as_a_person_would(before: str, after: str) -> None:
    assert Cfg(before).with_option("api", "auth_backends", "NEW").text == after


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


def test_an_option_hidden_in_the_value_is_not_lost_silently() -> None:
    cfg = Cfg("[api]\nauth_backends = a\n  maximum_page_limit = 100\n")
    with pytest.raises(CfgError, match="line 3: this line is indented"):
        cfg.with_option("api", "auth_backends", BASIC)


def test_a_secret_in_a_broken_line_is_not_quoted() -> None:
    with pytest.raises(CfgError) as error:
        Cfg("[core]\nfernet_key hunter2hunter2\n")
    assert "hunter2" not in str(error.value)


def test_default_section_counts_only_where_the_section_is() -> None:
    assert Cfg("[DEFAULT]\nauth_backends = d\n[api]\n").get("api", "auth_backends") == "d"
    assert Cfg("[DEFAULT]\nauth_backends = d\n").get("api", "auth_backends") is None

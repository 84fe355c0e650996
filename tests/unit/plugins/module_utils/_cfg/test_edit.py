# SPDX-License-Identifier: GPL-3.0-or-later
"""An edit of airflow.cfg changes what it is to change, and nothing else."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.edit import apply_edits
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg, CfgError
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.plugins.module_utils._cfg.test_text import EXAMPLES, FILES, READABLE, as_airflow

BASIC = "airflow.api.auth.backend.basic_auth"


VALUES = st.sampled_from(["x.y", "", "a.b,c.d", "50%%", "one\ntwo", "a = b\n[c]\nd: e"])


@pytest.mark.parametrize(("files", "examples"), [(READABLE, EXAMPLES), (FILES, EXAMPLES // 4)], ids=["readable", "any"])
def test_an_edit_changes_the_option_and_no_other_byte(files: Any, examples: int) -> None:
    tried = made = 0

    @settings(max_examples=examples, deadline=None)
    @given(files, VALUES)
    def edit(text: str, value: str) -> None:
        nonlocal tried, made
        tried += 1
        try:
            cfg = Cfg(text)
            edited = with_option(cfg, "api", "auth_backends", value)
        except CfgError:
            return
        made += edited is not cfg
        expected = as_airflow(text)
        expected.setdefault("api", {})["auth_backends"] = value
        assert as_airflow(edited.text) == expected
        assert with_option(edited, "api", "auth_backends", value) is edited

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

    edit()
    print("%d of %d files were edited" % (made, tried))
    assert tried >= examples
    # Of the others most cannot be read by Airflow either, or the option is so already.
    assert made > tried * (0.9 if files is READABLE else 0.05)


@settings(max_examples=EXAMPLES // 4, deadline=None)
@given(st.one_of(FILES, READABLE))
def test_a_removal_takes_the_option_and_nothing_else(text: str) -> None:
    try:
        cfg = Cfg(text)
        edited = apply_edits(cfg, [("api", "auth_backends", None)])
    except CfgError:
        return
    expected = as_airflow(text)
    expected.get("api", {}).pop("auth_backends", None)
    assert as_airflow(edited.text) == expected
    assert apply_edits(edited, [("api", "auth_backends", None)]) is edited


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["api", "core", "new", "DEFAULT"]),
        st.sampled_from(["auth_backends", "auth_backend", "limit", "quoted", "fresh"]),
        st.one_of(st.none(), VALUES),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda change: change[:2],
)


@settings(max_examples=EXAMPLES // 4, deadline=None)
@given(st.one_of(FILES, READABLE), CHANGES)
def test_several_changes_are_what_one_after_the_other_is(text: str, changes: list[tuple[str, str, str | None]]) -> None:
    try:
        cfg = Cfg(text)
        together = apply_edits(cfg, changes)
    except CfgError:
        return
    expected = as_airflow(text)
    for section, name, value in changes:
        if value is None:
            expected.get(section, {}).pop(name, None)
        else:
            expected.setdefault(section, {})[name] = value
    assert as_airflow(together.text) == expected
    assert apply_edits(together, changes) is together


def with_option(cfg: Cfg, section: str, name: str, value: str) -> Cfg:
    return apply_edits(cfg, [(section, name, value)])


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
    assert with_option(Cfg(before), "api", "auth_backends", "NEW").text == after


def test_an_option_hidden_in_the_value_is_not_lost_silently() -> None:
    cfg = Cfg("[api]\nauth_backends = a\n  maximum_page_limit = 100\n")
    with pytest.raises(CfgError, match="line 3: this line is indented"):
        with_option(cfg, "api", "auth_backends", BASIC)


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ("[x]\na = 1\nb = 2\n", "one\ntwo", "[x]\na = one\n    two\nb = 2\n"),
        ("[x]\n  a = 1", "one\ntwo", "[x]\n  a = one\n      two"),
        ("[x]\na = one\n  # why\n  two\nb = 2\n", "three", "[x]\na = three\n  # why\nb = 2\n"),
        ("[x]\r\nb = 2\r\n", "one\ntwo", "[x]\r\nb = 2\r\na = one\r\n    two\r\n"),
        ("", "one\ntwo", "[x]\na = one\n    two\n"),
    ],
)
def test_values_of_several_lines(before: str, value: str, after: str) -> None:
    assert with_option(Cfg(before), "x", "a", value).text == after


@pytest.mark.parametrize("value", [" a", "a ", "a\n", "a\n\nb", "a\n# b", "a\n; b", "a\r\nb", "a\n b"])
def test_values_that_airflow_would_not_read_back(value: str) -> None:
    with pytest.raises(CfgError, match=r"the value for \[x\] a has "):
        with_option(Cfg("[x]\n"), "x", "a", value)


LONG = "".join(
    "[s%d]\n" % number + "".join("# about it\no%d = %d\n" % (o, o) for o in range(100)) for number in range(300)
)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("[api]\nx = 1\n" + "y = " + "z" * 1000000 + "\n", None),
        ("[api] ; comment\nx = 1\n", None),
        ("[api]\nx = 1 # not a comment\n", None),
        ("[api]\n\tx = 1\n", None),
        ("[api]\nx = 100% sure\n", None),
        ("[api]\nX = upper\n", None),
        ("[DEFAULT]\nx = d\n[api]\n", None),
        ("# only a comment\n", None),
        ("[api]\nx = a\u2028b\x0bc\n", None),
        ("[api]\nx = 1\ry = 2\r\nz = 3\n", None),
        ("[api]\nx = 1\x00\n", None),
        ("[api]\n[api]\n", "line 2"),
        ("[api]\nx = 1\nx : 2\n", "line 3"),
        ("[api\nx = 1\n", "line 1"),
        ("[api]\nx\n", "line 2"),
        ("[api]\nx = 1\n  y = 2\n", "line 3"),
    ],
)
def test_ugly_files_are_edited_rightly_or_refused_by_line(text: str, refused: str | None) -> None:
    if refused:
        with pytest.raises(CfgError, match=refused):
            with_option(Cfg(text), "api", "x", "NEW")
        return
    expected = as_airflow(text)
    expected.setdefault("api", {})["x"] = "NEW"
    edited = with_option(Cfg(text), "api", "x", "NEW")
    assert as_airflow(edited.text) == expected
    assert with_option(edited, "api", "x", "NEW") is edited


def test_a_file_of_five_megabytes_and_fifty_changes_at_once() -> None:
    """The figures are for a log; the limits only tell a catastrophe."""
    begun = time.monotonic()
    huge = Cfg(LONG * 1 + "[big]\n" + "".join("o%d = %s\n" % (number, "v" * 200) for number in range(22000)))
    edited = with_option(huge, "s7", "o5", "NEW")
    seconds = time.monotonic() - begun
    print("%.1f MB: %.2f s" % (len(huge.text) / 1e6, seconds))
    assert len(huge.text) > 5e6
    assert edited.get("s7", "o5") == "NEW"
    assert seconds < 60
    usual = Cfg(LONG[:90000].rpartition("[")[0])
    begun = time.monotonic()
    apply_edits(usual, [("s%d" % number, "o%d" % number, "NEW") for number in range(50)])
    seconds = time.monotonic() - begun
    print("50 changes in %d kB: %.2f s" % (len(usual.text) / 1e3, seconds))
    assert seconds < 60

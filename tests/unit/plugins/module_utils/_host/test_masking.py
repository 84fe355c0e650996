# SPDX-License-Identifier: GPL-3.0-or-later
"""No spelling of a secret, and no piece of one, in what is quoted."""

from __future__ import annotations

import base64
import configparser
import json
import random
import shlex
from urllib.parse import quote, quote_plus, unquote

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils import _errors
from ansible_collections.fleetops.airflow.plugins.module_utils._host.masking import LEFT_OUT, Masker, masked
from hypothesis import given
from hypothesis import strategies as st

ALPHABET = "abcXYZ0189%%%::@@//\\'\"{}[]()<>&?#=,;.-_~$! \näß日\u00a0"


def canaries() -> list[str]:
    """200 secrets of odd spellings, always the same."""
    chance = random.Random(21)
    found = [
        "x%Very-Secret-Pass",
        "50%%off-canary",
        "p%40ss%2Fword-canary",
        "--leading-canary",
        "{{ canary_lookup }}",
        "two-lines-canary\nsecond-line-canary",
        "postgresql://airflow:x%Very-Secret-Pass@db/airflow",
        "postgresql//airflow:dbpass-s3cret@db/airflow",
        "redis://:redis-canary@redis:6379/0",
        "quotes\"and'canary",
        "ünïcode-canary-日本語",
        "C:\\canary\\path",
    ]
    while len(found) < 200:
        found.append("canary-" + "".join(chance.choice(ALPHABET) for _number in range(chance.randint(4, 24))).strip())
    return found


def as_programs_write_it(secret: str) -> list[str]:
    decoded = secret.replace("%%", "%")
    words = [secret, decoded, unquote(secret), quote(secret, safe=""), quote_plus(decoded), repr(secret), repr(decoded)]
    words += [json.dumps(secret), json.dumps({"password": decoded}, ensure_ascii=False), shlex.quote(secret)]
    words += [base64.b64encode(secret.encode()).decode(), str(secret.encode()), secret.replace("\n", "\n    ")]
    parser = configparser.ConfigParser()
    parser.read_dict({"a": {}})
    parser._sections["a"]["b"] = secret  # type: ignore[attr-defined]  # as a file has it that was written by hand
    try:
        parser.get("a", "b")
    except configparser.Error as error:
        words.append(str(error))
    return words


def parts_of(secret: str) -> list[str]:
    """Pieces that are unmistakable in this test."""
    if "//" in secret and "@" in secret:
        secret = secret.rpartition("@")[0].rpartition("//")[2].partition(":")[2]
    for sign in "%:@/\\'\"{}[]()<>&?#=,;\n \u00a0":
        secret = secret.replace(sign, "\0")
    return [part for part in secret.split("\0") if len(part) >= 6 and part != "canary"]


@pytest.mark.parametrize("secret", canaries())
def test_canary(secret: str) -> None:
    masker = Masker([secret])
    for words in as_programs_write_it(secret):
        text = f"before\nvalue={words} of it\nTraceback: {words}\nafter"
        shown = masker.mask(text)
        assert secret not in shown
        assert not [part for part in parts_of(secret) if part in shown], shown
        assert "before" in shown
        assert "after" in shown


@given(st.text(min_size=6), st.text())
def test_any_secret_is_not_in_any_text(secret: str, around: str) -> None:
    shown = Masker([secret]).mask(f"{around}{secret}{around}")
    assert secret not in shown or secret in "********" + LEFT_OUT


def test_text_without_a_secret_is_kept() -> None:
    text = "  File x.py, line 1\nImportError: No module named 'airflow.nowhere'\nsqlite:////opt/airflow/airflow.db"
    assert Masker(["hunter2-secret", "postgresql://airflow:pa55@db/airflow"]).mask(text) == text


def test_lines_that_quote_a_part_of_any_value() -> None:
    text = "a\n'%' must be followed by '%' or '(', found: '%Very'\nCould not parse SQLAlchemy URL from string 'x'\nb"
    assert Masker(["something else"]).mask(text) == f"a\n{LEFT_OUT}\nb"


def test_short_secret_is_not_quoted_as_a_value() -> None:
    assert Masker(["x1"]).mask("line x1 of 20\npassword = x1\nfound 'x1'") == f"line x1 of 20\n{LEFT_OUT}"


def test_sources_are_asked_when_something_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_errors, "secrets", [])
    monkeypatch.setattr("ansible_collections.fleetops.airflow.plugins.module_utils._host.masking.secrets", [])
    assert masked("postgresql://user:pass@host") == "postgresql://user:********@host"
    found: list[str] = []
    monkeypatch.setattr(
        "ansible_collections.fleetops.airflow.plugins.module_utils._host.masking.secrets", [lambda: found]
    )
    found.append("later-secret")
    assert masked("it is later-secret") == "it is ********"

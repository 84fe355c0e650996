# SPDX-License-Identifier: GPL-3.0-or-later
"""What a foreign program or file says, without the secrets of this task: masked where it is taken in.

A program does not show a secret as it was given. It decodes, quotes and takes it to pieces first. So each spelling is
replaced, and a line that holds a piece of a secret is left out. docs/security.md says what is a secret.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import HIDDEN
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import secrets

LEFT_OUT = "[a line that may hold a secret was left out]"
_SHORTEST = 4  # characters of what is replaced wherever it stands
_PIECES = r"""[%:@/\\\s"'=&?#,;(){}\[\]]+"""
# Lines that quote a part of a value, whatever the value is.
_QUOTING = re.compile(r"found: ['\"]|Could not parse (?:SQLAlchemy|rfc1738) URL|Bad value substitution|Rawval", re.I)
_PASSWORD_IN_URL = re.compile(r"(:)[^\s:@/]+(@)")


def masked(text: str) -> str:
    """The text, without what this task knows to be secret."""
    values = {value for source in secrets for value in source() if value and value.strip()}
    if not values:
        return _PASSWORD_IN_URL.sub(r"\1%s\2" % HIDDEN, text)
    return Masker(values).mask(text)


def whole_lines(text: str) -> str:
    """The end of a text that was cut off at its beginning, without its first line: half a secret is no known one."""
    return text.partition("\n")[2]


class Masker:
    def __init__(self, values: Iterable[str]) -> None:
        found = set(values)
        self._whole = sorted({word for value in found for word in spellings(value)}, key=len, reverse=True)
        self._pieces = sorted({piece for value in found for piece in pieces(value)})
        self._short = sorted(value.strip() for value in found if len(value.strip()) < _SHORTEST)

    def mask(self, text: str) -> str:
        for word in self._whole:  # over several lines too
            text = text.replace(word, HIDDEN)
        lines: list[str] = []
        for line in _PASSWORD_IN_URL.sub(r"\1%s\2" % HIDDEN, text).split("\n"):
            if not self._is_doubtful(line):
                lines.append(line)
            elif not lines or lines[-1] != LEFT_OUT:
                lines.append(LEFT_OUT)
        return "\n".join(lines)

    def _is_doubtful(self, line: str) -> bool:
        if _QUOTING.search(line):
            return True
        lowered = line.lower()
        if any(piece in lowered for piece in self._pieces):
            return True
        return any(re.search(r"""(?:['"]|[=:] ?)%s(?:['"\s.,;]|$)""" % re.escape(word), line) for word in self._short)


def spellings(value: str) -> Iterator[str]:
    """The ways in which programs write a value, of those that are long enough to be replaced wherever they stand."""
    for word in _decoded(value):
        for spelling in _encoded(word):
            if len(spelling) >= _SHORTEST:
                yield spelling


def _decoded(value: str) -> set[str]:
    words = {value, value.strip(), value.replace("%%", "%"), value.replace("%", "%%")}
    words |= {unquote(word) for word in words}
    words |= {line.strip() for word in set(words) for line in word.splitlines()}
    words |= {password for word in set(words) for password in _passwords_of_url(word)}
    return {word for word in words if word}


def _encoded(word: str) -> Iterator[str]:
    data = word.encode("utf-8", "surrogateescape")
    yield word
    yield quote(data, safe="")
    yield quote(data)
    yield quote_plus(data)
    yield json.dumps(word)[1:-1]
    yield json.dumps(word, ensure_ascii=False)[1:-1]
    yield repr(word)[1:-1]
    yield repr(data)[2:-1]
    yield ascii(word)[1:-1]
    yield word.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    yield word.replace("'", "'\"'\"'")
    yield base64.b64encode(data).decode("ascii").rstrip("=")


def pieces(value: str) -> Iterator[str]:
    """The parts of a secret, in lower case, that show that a line quotes some of it.

    Of a URL only those of its password: its host, its scheme and its database stand in many a line.
    """
    passwords = set(_passwords_of_url(value))
    for secret in passwords or ({value} if "://" not in value else set()):
        for word in {secret, unquote(secret), *secret.splitlines()}:
            for piece in re.split(_PIECES, word):
                if len(piece) >= _SHORTEST:
                    yield piece.lower()


def _passwords_of_url(value: str) -> Iterator[str]:
    """Also of one that is mistyped."""
    match = re.match(r"(?s)[^:]*:?/{0,2}[^:/@]*:(.*)@", value)
    if match:
        yield match.group(1)
        yield unquote(match.group(1))

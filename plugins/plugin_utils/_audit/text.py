# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts of managed hosts, which can be hostile: as plain characters, and as HTML that has places to break."""

from __future__ import annotations

import re
import unicodedata
from html import escape
from typing import Any

MOST_CHARACTERS = 1000  # of one text in a report
MOST_TEXTS = 50  # of one list in a report
_PIECE = 14  # columns of a fixed-width font; no unbreakable part of a word is longer
_SHOWN_CATEGORIES = ("L", "N", "P", "Sc", "Sm", "Zs")


def plain(text: Any) -> str:
    """``text`` without what changes the text around it, at most MOST_CHARACTERS long.

    Control characters, those that change the direction of writing, combining ones and symbols are replaced by their
    numbers. White space becomes one space.
    """
    joined = " ".join(unicodedata.normalize("NFC", str(text)[: 4 * MOST_CHARACTERS]).split())
    shown = joined if joined.isascii() and joined.isprintable() else "".join(map(_visible, joined))
    if len(shown) <= MOST_CHARACTERS and len(str(text)) <= 4 * MOST_CHARACTERS:
        return shown
    return shown[:MOST_CHARACTERS] + " (cut off)"


def _visible(character: str) -> str:
    if " " <= character <= "~":
        return character
    category = unicodedata.category(character)
    if ord(character) <= 0xFFFF and (category in _SHOWN_CATEGORIES or category[0] in _SHOWN_CATEGORIES):
        return character
    return "\\u%04x" % ord(character) if ord(character) <= 0xFFFF else "\\U%08x" % ord(character)


def as_html(text: str) -> str:
    """``text`` for an element's content, with a place to break in each word that would not fit into a narrow column."""
    return " ".join(_broken(word) for word in text.split(" "))


def _broken(word: str) -> str:
    if _columns(word) <= _PIECE:
        return escape(word)
    # A break belongs behind a separator: after the dots of a name, the slashes of a path, before a capital letter.
    parts = re.findall(r"[^\W_]+?(?=[A-Z](?<=[a-z].))|[^\W_]+[\W_]*|[\W_]+", word)
    pieces: list[str] = []
    for part in parts:
        for character in part:
            if not pieces or _columns(pieces[-1] + character) > _PIECE:
                pieces.append("")
            pieces[-1] += character
        pieces.append("")
    return "<wbr>".join(escape(piece) for piece in pieces if piece)


def _columns(text: str) -> int:
    return sum(1 if character <= "~" else 2 for character in text)

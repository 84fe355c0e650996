# SPDX-License-Identifier: GPL-3.0-or-later
"""airflow.cfg as text, read as Airflow reads it.

Airflow reads the file with Python's strict ``configparser`` (delimiters ``=`` and ``:``, comments from
``#`` or ``;`` at the start of a line, names case-sensitive). ``Cfg`` applies the same rules line by line,
because configparser forgets where an option stood.
"""

from __future__ import annotations

import io
import re

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

DEFAULT_SECTION = "DEFAULT"

_HEADER = re.compile(r"\[(?P<name>.+)\]")
OPTION = re.compile(r"(?P<name>.*?)(?P<separator>\s*[=:]\s*)(?P<value>.*)$")
COMMENT = ("#", ";")


class CfgError(AirflowError):
    """The text is nothing that Airflow could read, or nothing that can be edited without a guess."""


class Option(Record):
    """One option where it stands: line indexes count from 0, ``end`` is behind the last line of its value."""

    section: str
    name: str
    value: str
    start: int
    end: int


class Cfg:
    """The text of one airflow.cfg. Never changes: an edit (see ``apply_edits``) gives a new ``Cfg``.

    ``lines`` are its lines with their endings, ``headers`` the index of each section's header among them.

    :param text: the file's text with its own line endings.
    :param path: what errors call the file.
    :raises CfgError: if Airflow could not read this text; names file and line.
    """

    def __init__(self, text: str, path: str = "airflow.cfg") -> None:
        self.text = text
        self.path = path
        self.lines = _split(text)
        self.headers: dict[str, int] = {}
        self._options: dict[tuple[str, str], Option] = {}
        self._scan()

    @classmethod
    def from_bytes(cls, data: bytes, path: str = "airflow.cfg") -> Cfg:
        """:raises CfgError: also if ``data`` is not UTF-8 or begins with a byte order mark."""
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = len(_split(data[: error.start].decode("utf-8") + "x"))
            raise CfgError(
                "%s, line %d: not UTF-8. Airflow cannot read such a file. Save it as UTF-8." % (path, line)
            ) from None
        if text.startswith("\ufeff"):
            raise CfgError(
                "%s, line 1: the file begins with a byte order mark (BOM). Airflow cannot read such a file. "
                "Save it as UTF-8 without BOM." % path
            )
        return cls(text, path)

    def get(self, section: str, name: str) -> str | None:
        """The value as it is written (no interpolation), from [DEFAULT] where the section has none of its own.

        None where the section does not exist: Airflow then does not see [DEFAULT] either.
        """
        if section not in self.headers:
            return None
        option = self.own(section, name) or self.own(DEFAULT_SECTION, name)
        return option.value if option else None

    def own(self, section: str, name: str) -> Option | None:
        """The option that stands in this very section."""
        return self._options.get((section, name))

    def options(self) -> list[Option]:
        """All options in the order of the file."""
        return list(self._options.values())

    def _scan(self) -> None:
        """configparser's own loop, with line numbers kept."""
        section: str | None = None
        start = end = level = 0
        name = ""
        value: list[str] = []

        def finish() -> None:
            if section is not None and name:
                self._options[(section, name)] = Option(section, name, "\n".join(value).rstrip(), start, end)

        for index, raw in enumerate(self.lines):  # nearly all are blank or comments: little may be done for these
            content = raw.strip()
            if not content or content[0] in COMMENT:
                if name and not content:
                    value.append("")
                continue
            indent = len(raw) - len(raw.lstrip())
            if name and indent > level:
                value.append(content)
                end = index + 1
                continue
            finish()
            level = indent
            header = _HEADER.match(content)
            if header:
                section, name = self._section(header.group("name"), index), ""
            elif section is None:
                raise self._error(index, "text before the first [section]")
            else:
                name, first = self._name_and_value(section, content, index)
                value, start, end = [first], index, index + 1
        finish()

    def _section(self, name: str, index: int) -> str:
        if "]" in name:
            raise self._error(index, "two ']' in a section header, which Python releases read differently")
        if name in self.headers:
            first = self.headers[name] + 1
            raise self._error(index, "section [%s] is there a second time (first in line %d)" % (name, first))
        self.headers[name] = index
        return name

    def _name_and_value(self, section: str, content: str, index: int) -> tuple[str, str]:
        match = OPTION.match(content)
        name, _separator, value = match.groups() if match else ("", "", "")
        if not name:
            raise self._error(index, "this line is no section, no comment and no 'option = value'")
        if (section, name) in self._options:
            first = self._options[(section, name)].start + 1
            raise self._error(index, "[%s] %s is there a second time (first in line %d)" % (section, name, first))
        return name, value

    def _error(self, index: int, what: str) -> CfgError:
        return CfgError(
            "%s, line %d: %s. Airflow cannot read such a file, and nothing was changed in it. "
            "Mend that line, then run this again." % (self.path, index + 1, what)
        )


def _split(text: str) -> list[str]:
    """Lines with their endings, as Python's text mode has them; str.splitlines() would split at more characters."""
    return list(io.StringIO(text, newline=""))

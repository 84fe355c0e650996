# SPDX-License-Identifier: GPL-3.0-or-later
"""airflow.cfg as text: read as Airflow reads it, edited without touching the rest.

Airflow reads the file with Python's strict ``configparser`` (delimiters ``=`` and ``:``, comments from
``#`` or ``;`` at the start of a line, names case-sensitive). ``Cfg`` applies the same rules line by line,
because configparser forgets where an option stood. Before an edit is handed out, configparser itself reads
the old and the new text and has to find exactly the edit that was asked for.
"""

from __future__ import annotations

import io
import re
from typing import NamedTuple, Sequence

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

DEFAULT_SECTION = "DEFAULT"

_HEADER = re.compile(r"\[(?P<name>.+)\]")
_OPTION = re.compile(r"(?P<name>.*?)(?P<separator>\s*[=:]\s*)(?P<value>.*)$")
_COMMENT = ("#", ";")
_LOOKS_LIKE_OPTION = r"\w+\s*[=:]"


class CfgError(AirflowError):
    """The text is nothing that Airflow could read, or nothing that can be edited without a guess."""


class Option(NamedTuple):
    """One option where it stands: line indexes count from 0, ``end`` is behind the last line of its value."""

    section: str
    name: str
    value: str
    start: int
    end: int


class _Line(NamedTuple):
    raw: str
    indent: str
    content: str  # stripped; "" for a blank line and for a comment
    comment: str  # stripped; "" for all other lines
    ending: str


class Cfg:
    """The text of one airflow.cfg. Never changes: an edit gives a new ``Cfg``.

    :param text: the file's text with its own line endings.
    :param path: what errors call the file.
    :raises CfgError: if Airflow could not read this text; names file and line.
    """

    def __init__(self, text: str, path: str = "airflow.cfg") -> None:
        self.text = text
        self.path = path
        self._raw = _split(text)
        self._headers: dict[str, int] = {}
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
        if section not in self._headers:
            return None
        option = self.own(section, name) or self.own(DEFAULT_SECTION, name)
        return option.value if option else None

    def own(self, section: str, name: str) -> Option | None:
        """The option that stands in this very section."""
        return self._options.get((section, name))

    def options(self) -> list[Option]:
        """All options in the order of the file."""
        return list(self._options.values())

    def with_option(self, section: str, name: str, value: str) -> Cfg:
        """The same text with ``name = value`` in ``[section]``; see ``edited``."""
        return self.edited([(section, name, value)])

    def without_option(self, section: str, name: str) -> Cfg:
        """The same text without this option; see ``edited``."""
        return self.edited([(section, name, None)])

    def edited(self, changes: Sequence[tuple[str, str, str | None]]) -> Cfg:
        """The same text after some changes: (section, option, value), with None for an option that shall not be there.

        Itself where all that is so already. An option that exists keeps its place, indentation and delimiter. A new
        one follows a commented default of its own name, else it ends its section; a new section ends the file.

        :raises CfgError: if a value cannot be written so that Airflow reads just that, or if lines would be lost that
            look like options of their own.
        """
        cfg, expected = self, self._sections()
        for section, name, value in changes:
            if value is None:
                cfg = cfg._without(section, name)
                expected.get(section, {}).pop(name, None)
            else:
                cfg = cfg._with(section, name, value)
                expected.setdefault(section, {})[name] = value
        # Configparser has to have agreed with us on the old text, and to find just the changes in the new one.
        if cfg is not self and (self._sections() != _parsed(self.text) or expected != _parsed(cfg.text)):
            raise CfgError(
                "%s: the lines around %s are written in a way that cannot be edited safely. Nothing was changed. "
                "Set this by hand." % (self.path, ", ".join("[%s] %s" % change[:2] for change in changes))
            )
        return cfg

    def _with(self, section: str, name: str, value: str) -> Cfg:
        lines = value.split("\n")
        if any(line != line.strip() or "\r" in line for line in lines):
            raise CfgError(
                "%s: the value for [%s] %s has spaces or line breaks around it, which Airflow would not read back."
                % (self.path, section, name)
            )
        if any(not line or line.startswith(("#", ";")) for line in lines[1:]):
            raise CfgError(
                "%s: the value for [%s] %s has a line that is empty or begins with # or ;, which Airflow would not "
                "read as a part of it." % (self.path, section, name)
            )
        option = self.own(section, name)
        if option and option.value == value:
            return self
        return Cfg(self._replaced(option, value) if option else self._inserted(section, name, value), self.path)

    def _without(self, section: str, name: str) -> Cfg:
        option = self.own(section, name)
        if option is None:
            return self
        self._refuse_swallowed_options(option)
        return Cfg(self._spliced(option.start, option.end, self._kept_comments(option)), self.path)

    # -- reading -----------------------------------------------------------------------------------------------

    def _scan(self) -> None:
        """configparser's own loop, with line numbers kept."""
        section: str | None = None
        start = end = level = 0
        name = ""
        value: list[str] = []

        def finish() -> None:
            if section is not None and name:
                self._options[(section, name)] = Option(section, name, "\n".join(value).rstrip(), start, end)

        for index, raw in enumerate(self._raw):  # nearly all are blank or comments: little may be done for these
            content = raw.strip()
            if not content or content[0] in _COMMENT:
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
        if name in self._headers:
            first = self._headers[name] + 1
            raise self._error(index, "section [%s] is there a second time (first in line %d)" % (name, first))
        self._headers[name] = index
        return name

    def _name_and_value(self, section: str, content: str, index: int) -> tuple[str, str]:
        match = _OPTION.match(content)
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

    # -- editing -----------------------------------------------------------------------------------------------

    def _replaced(self, option: Option, value: str) -> str:
        self._refuse_swallowed_options(option)
        line = self._line(option.start)
        before = line.content[: line.content.index(option.name) + len(option.name)]
        separator = _OPTION.match(line.content).group("separator")  # type: ignore[union-attr]
        if separator[0].isspace() and not separator[-1].isspace():
            separator += " "  # "name =" with nothing behind it was written by somebody who uses spaces
        written = self._written(value, line.indent)
        first = (line.indent + before + separator + written).rstrip() + line.ending
        return self._spliced(option.start, option.end, first + self._kept_comments(option))

    def _inserted(self, section: str, name: str, value: str) -> str:
        newline = self._newline
        if section not in self._headers:
            gap = "" if not self.text else newline if self._line(-1).ending else newline * 2
            written = self._written(value, "")
            return "%s%s[%s]%s%s = %s%s" % (self.text, gap, section, newline, name, written, newline)
        index, indent = self._place(section, name)
        value = self._written(value, indent)
        above = self._line(index - 1)
        if above.ending:
            return self._spliced(index, index, "%s%s = %s%s" % (indent, name, value, above.ending))
        return self._spliced(index, index, "%s%s%s = %s" % (newline, indent, name, value))

    @property
    def _newline(self) -> str:
        return self._line(0).ending or "\n" if self._raw else "\n"

    def _written(self, value: str, indent: str) -> str:
        """A value as it stands in the file, where its further lines are indented more than the option."""
        return value.replace("\n", self._newline + indent + "    ")

    def _place(self, section: str, name: str) -> tuple[int, str]:
        """Where a new option goes: the index of its line, and the indentation it needs there.

        Deeper than the option before it, and it would continue that one's value; less deep than the line behind
        it, and that line would continue the new value. The option before it is never less deep than what follows.
        """
        header = self._headers[section]
        options = [option for option in self._options.values() if option.section == section]
        stop = min((at for at in self._headers.values() if at > header), default=len(self._raw))
        commented = re.compile(r"[#;]+\s*%s\s*[=:]" % re.escape(name))
        index = options[-1].end if options else header + 1
        for at in range(header + 1, stop):
            inside_a_value = any(option.start < at < option.end for option in options)
            if commented.match(self._line(at).comment) and not inside_a_value:
                index = at + 1
                break
        before = [option for option in options if option.start < index]
        if before:
            return index, self._line(before[-1].start).indent
        return index, next((line.indent for line in map(_line, self._raw[index:]) if line.content), "")

    def _refuse_swallowed_options(self, option: Option) -> None:
        for index in range(option.start + 1, option.end):
            if re.match(_LOOKS_LIKE_OPTION, self._line(index).content):
                raise CfgError(
                    "%s, line %d: this line is indented, so Airflow takes it for a part of [%s] %s and not for an "
                    "option of its own. Nothing was changed. Remove its indentation or the line, then run this again."
                    % (self.path, index + 1, option.section, option.name)
                )

    def _kept_comments(self, option: Option) -> str:
        """Comments and blank lines between the lines of a value: nobody asked to have them removed."""
        inner = map(_line, self._raw[option.start + 1 : option.end])
        return "".join(line.raw for line in inner if not line.content)

    def _spliced(self, start: int, end: int, replacement: str) -> str:
        return "".join(self._raw[:start]) + replacement + "".join(self._raw[end:])

    def _line(self, index: int) -> _Line:
        return _line(self._raw[index])

    def _sections(self) -> dict[str, dict[str, str]]:
        sections: dict[str, dict[str, str]] = {name: {} for name in self._headers}
        for option in self._options.values():
            sections[option.section][option.name] = option.value
        return sections


def _split(text: str) -> list[str]:
    """Lines with their endings, as Python's text mode has them; str.splitlines() would split at more characters."""
    return list(io.StringIO(text, newline=""))


def _line(raw: str) -> _Line:
    body = raw.rstrip("\r\n")
    content = body.strip()
    indent = body[: len(body) - len(body.lstrip())]
    comment = content if content.startswith(_COMMENT) else ""
    return _Line(raw, indent, "" if comment else content, comment, raw[len(body) :])


def _parsed(text: str) -> dict[str, dict[str, str]] | None:
    """What configparser makes of a text, None if it refuses it. [DEFAULT] counts as a section like the others."""
    import configparser

    parser = configparser.RawConfigParser(strict=True, default_section="\n")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_file(io.StringIO(text, newline=None))
    except configparser.Error:
        return None
    return {name: dict(parser.items(name)) for name in parser.sections()}

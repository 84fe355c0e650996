# SPDX-License-Identifier: GPL-3.0-or-later
"""The edit of an airflow.cfg that touches nothing else. Imported only where something is edited.

Before an edit is handed out, configparser itself reads the old and the new text and has to find exactly the edit that
was asked for.
"""

from __future__ import annotations

import configparser
import io
import re
from typing import Sequence

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import COMMENT, OPTION, Cfg, CfgError, Option
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

_LOOKS_LIKE_OPTION = r"\w+\s*[=:]"


class _Line(Record):
    raw: str
    indent: str
    content: str  # stripped; "" for a blank line and for a comment
    comment: str  # stripped; "" for all other lines
    ending: str


def apply_edits(cfg: Cfg, edits: Sequence[tuple[str, str, str | None]]) -> Cfg:
    """The same text after some edits: (section, option, value), with None for an option that shall not be there.

    Itself where all that is so already. An option that exists keeps its place, indentation and delimiter. A new
    one follows a commented default of its own name, else it ends its section; a new section ends the file.

    :raises CfgError: if a value cannot be written so that Airflow reads just that, or if lines would be lost that
        look like options of their own.
    """
    new, expected = cfg, _sections(cfg)
    for section, name, value in edits:
        if value is None:
            new = _without(new, section, name)
            expected.get(section, {}).pop(name, None)
        else:
            new = _with(new, section, name, value)
            expected.setdefault(section, {})[name] = value
    # Configparser has to have agreed with us on the old text, and to find just the edits in the new one.
    if new is not cfg and (_sections(cfg) != _parsed(cfg.text) or expected != _parsed(new.text)):
        raise CfgError(
            "%s: the lines around %s are written in a way that cannot be edited safely. Nothing was changed. "
            "Set this by hand." % (cfg.path, ", ".join("[%s] %s" % edit[:2] for edit in edits))
        )
    return new


def _with(cfg: Cfg, section: str, name: str, value: str) -> Cfg:
    lines = value.split("\n")
    if any(line != line.strip() or "\r" in line for line in lines):
        raise CfgError(
            "%s: the value for [%s] %s has spaces or line breaks around it, which Airflow would not read back."
            % (cfg.path, section, name)
        )
    if any(not line or line.startswith(("#", ";")) for line in lines[1:]):
        raise CfgError(
            "%s: the value for [%s] %s has a line that is empty or begins with # or ;, which Airflow would not "
            "read as a part of it." % (cfg.path, section, name)
        )
    option = cfg.own(section, name)
    if option and option.value == value:
        return cfg
    return Cfg(_replaced(cfg, option, value) if option else _inserted(cfg, section, name, value), cfg.path)


def _without(cfg: Cfg, section: str, name: str) -> Cfg:
    option = cfg.own(section, name)
    if option is None:
        return cfg
    _validate_lines(cfg, option)
    return Cfg(_spliced(cfg, option.start, option.end, _kept_comments(cfg, option)), cfg.path)


def _replaced(cfg: Cfg, option: Option, value: str) -> str:
    _validate_lines(cfg, option)
    line = _line_at(cfg, option.start)
    before = line.content[: line.content.index(option.name) + len(option.name)]
    separator = OPTION.match(line.content).group("separator")  # type: ignore[union-attr]
    if separator[0].isspace() and not separator[-1].isspace():
        separator += " "  # "name =" with nothing behind it was written by somebody who uses spaces
    written = _written(cfg, value, line.indent)
    first = (line.indent + before + separator + written).rstrip() + line.ending
    return _spliced(cfg, option.start, option.end, first + _kept_comments(cfg, option))


def _inserted(cfg: Cfg, section: str, name: str, value: str) -> str:
    newline = _newline(cfg)
    if section not in cfg.headers:
        gap = "" if not cfg.text else newline if _line_at(cfg, -1).ending else newline * 2
        written = _written(cfg, value, "")
        return "%s%s[%s]%s%s = %s%s" % (cfg.text, gap, section, newline, name, written, newline)
    index, indent = _place(cfg, section, name)
    value = _written(cfg, value, indent)
    above = _line_at(cfg, index - 1)
    if above.ending:
        return _spliced(cfg, index, index, "%s%s = %s%s" % (indent, name, value, above.ending))
    return _spliced(cfg, index, index, "%s%s%s = %s" % (newline, indent, name, value))


def _newline(cfg: Cfg) -> str:
    return _line_at(cfg, 0).ending or "\n" if cfg.lines else "\n"


def _written(cfg: Cfg, value: str, indent: str) -> str:
    """A value as it stands in the file, where its further lines are indented more than the option."""
    return value.replace("\n", _newline(cfg) + indent + "    ")


def _place(cfg: Cfg, section: str, name: str) -> tuple[int, str]:
    """Where a new option goes: the index of its line, and the indentation it needs there.

    Deeper than the option before it, and it would continue that one's value; less deep than the line behind
    it, and that line would continue the new value. The option before it is never less deep than what follows.
    """
    header = cfg.headers[section]
    options = [option for option in cfg.options() if option.section == section]
    stop = min((at for at in cfg.headers.values() if at > header), default=len(cfg.lines))
    commented = re.compile(r"[#;]+\s*%s\s*[=:]" % re.escape(name))
    index = options[-1].end if options else header + 1
    for at in range(header + 1, stop):
        inside_a_value = any(option.start < at < option.end for option in options)
        if commented.match(_line_at(cfg, at).comment) and not inside_a_value:
            index = at + 1
            break
    before = [option for option in options if option.start < index]
    if before:
        return index, _line_at(cfg, before[-1].start).indent
    return index, next((line.indent for line in map(_line, cfg.lines[index:]) if line.content), "")


def _validate_lines(cfg: Cfg, option: Option) -> None:
    for index in range(option.start + 1, option.end):
        if re.match(_LOOKS_LIKE_OPTION, _line_at(cfg, index).content):
            raise CfgError(
                "%s, line %d: this line is indented, so Airflow takes it for a part of [%s] %s and not for an "
                "option of its own. Nothing was changed. Remove its indentation or the line, then run this again."
                % (cfg.path, index + 1, option.section, option.name)
            )


def _kept_comments(cfg: Cfg, option: Option) -> str:
    """Comments and blank lines between the lines of a value: nobody asked to have them removed."""
    inner = map(_line, cfg.lines[option.start + 1 : option.end])
    return "".join(line.raw for line in inner if not line.content)


def _spliced(cfg: Cfg, start: int, end: int, replacement: str) -> str:
    return "".join(cfg.lines[:start]) + replacement + "".join(cfg.lines[end:])


def _sections(cfg: Cfg) -> dict[str, dict[str, str]]:
    sections: dict[str, dict[str, str]] = {name: {} for name in cfg.headers}
    for option in cfg.options():
        sections[option.section][option.name] = option.value
    return sections


def _line_at(cfg: Cfg, index: int) -> _Line:
    return _line(cfg.lines[index])


def _line(raw: str) -> _Line:
    body = raw.rstrip("\r\n")
    content = body.strip()
    indent = body[: len(body) - len(body.lstrip())]
    comment = content if content.startswith(COMMENT) else ""
    return _Line(raw, indent, "" if comment else content, comment, raw[len(body) :])


def _parsed(text: str) -> dict[str, dict[str, str]] | None:
    """What configparser makes of a text, None if it refuses it. [DEFAULT] counts as a section like the others."""
    parser = configparser.RawConfigParser(strict=True, default_section="\n")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_file(io.StringIO(text, newline=None))
    except configparser.Error:
        return None
    return {name: dict(parser.items(name)) for name in parser.sections()}

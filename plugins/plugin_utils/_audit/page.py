# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as its page shows it: what to filter by, which columns, what stands in each.

What is called html is escaped; everything else is not.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Dict, Iterator, Mapping, NamedTuple

from ansible_collections.fleetops.airflow.plugins.plugin_utils._audit.changes import KINDS
from ansible_collections.fleetops.airflow.plugins.plugin_utils._audit.findings import CODES, LEVELS, Row, is_inspected
from ansible_collections.fleetops.airflow.plugins.plugin_utils._audit.text import as_html

_WORDS = {"danger": "Danger", "unknown": "Unknown", "warning": "Warning", "attention": "Attention", "fine": "Fine"}
# No meaning rests on a color: each level has a sign as well.
_SIGNS = {"danger": "\N{HEAVY MULTIPLICATION X}", "unknown": "?", "warning": "\N{BLACK UP-POINTING TRIANGLE}"}
_SIGNS.update({"attention": "\N{BLACK CIRCLE}", "fine": "\N{HEAVY CHECK MARK}"})
# What is longer stands in the file for programs; on the page, one host would push all others out of sight.
_MOST_OF_THE_FINDINGS = 1000  # characters, of all findings of a host
_MOST_OF_A_FINDING = 600
_MOST_OF_A_NOTE = 120
_MOST_OF_A_CELL = 150
_MOST_FINDINGS = 10  # and as many notes
_ARROW = " \N{RIGHTWARDS ARROW} "

Page = Dict[str, Any]


class Cell(NamedTuple):
    """``text`` is for people. ``is_silent``: it says no more than that there is nothing to say."""

    text: str
    is_silent: bool = False
    is_code: bool = False


def page_of(report: Mapping[str, Any]) -> Page:
    """What the template needs of a report; see the keys below."""
    rows = report["hosts"]
    inspected = [_cells(row) for row in rows if is_inspected(row)]
    folded = _folded(inspected)
    shown = [name for name in _COLUMNS if inspected and name not in (*folded, *_FINDINGS)]
    compared = report["compared_with"]
    return {
        "written": report["written"],
        "compared_with": compared,
        "not_compared": report["not_compared"],
        "filters": _filters(rows, bool(compared)),
        "columns": [_COLUMNS[name] for name in shown],
        "folded": [{"label": _COLUMNS[name], "html": _cell_html(cell)} for name, cell in folded.items()],
        "number_inspected": len(inspected),
        "hosts": [_host(row, shown) for row in rows],
        "not_asked": [_elsewhere(row) for row in report["not_asked"]],
        "removed": [_elsewhere(row) for row in report["removed"]],
    }


# --- columns ----------------------------------------------------------------------------------------

_COLUMNS = {
    "airflow_version": "Airflow version",
    "configured": "Configured",
    "in_force": "In force",
    "anonymous_access": "Anonymous access",
    "restart_pending": "Restart pending",
    "overridden_by": "Overridden by",
}
# What these say of a host, its findings say better. They are named only where no host has such a finding.
_FINDINGS = ("restart_pending", "overridden_by")


def _cells(row: Row) -> dict[str, Cell]:
    configured, source = row["configured"] or [], row["source"] or "source unknown"
    return {
        "airflow_version": Cell(row["airflow_version"]),
        "configured": Cell(_short(configured) + ("" if row["source"] == "file" else " (%s)" % source), is_code=True)
        if configured
        else Cell("nothing (%s)" % source),
        "in_force": _in_force(row["in_force"], configured),
        "anonymous_access": _truth(row["open_to_everybody"]),
        "restart_pending": _truth(row["restart_pending"]),
        "overridden_by": Cell(row["overridden_by"], is_code=True) if row["overridden_by"] else Cell("nothing", True),
    }


def _in_force(in_force: list[str] | None, configured: list[str]) -> Cell:
    if in_force is None:
        return Cell("unknown")
    if in_force == configured:
        return Cell("as configured", True)
    return Cell(_short(in_force), is_code=True) if in_force else Cell("nothing")


def _truth(value: bool | None) -> Cell:
    return Cell("unknown") if value is None else Cell("yes") if value else Cell("no", True)


def _short(paths: list[str]) -> str:
    """Airflow's own backends by the last part of their dotted paths; others can have the same name."""
    return ", ".join(path.rpartition(".")[2] if re.match(r"airflow\.[\w.]+$", path) else path for path in paths)


def _folded(inspected: list[dict[str, Cell]]) -> dict[str, Cell]:
    """The columns that do not tell hosts apart, with what stands in them on all hosts."""
    folded = {}
    for name in _COLUMNS if inspected else ():
        different = {cells[name] for cells in inspected}
        first = inspected[0][name]
        if len(different) == 1 and (first.is_silent or (len(inspected) > 1 and name not in _FINDINGS)):
            folded[name] = first
    return folded


def _cell_html(cell: Cell) -> str:
    html = _html(cell.text, _MOST_OF_A_CELL)
    return "<code>%s</code>" % html if cell.is_code else html


def _html(text: str, most: int) -> str:
    return as_html(text if len(text) <= most else text[:most] + " \N{HORIZONTAL ELLIPSIS}")


# --- filters ----------------------------------------------------------------------------------------


def _filters(rows: list[Row], is_compared: bool) -> list[dict[str, Any]]:
    """Each with its choices and the number of hosts of each. All codes and kinds stand in the style of the template."""
    levels = Counter(row["level"] for row in rows)
    codes = Counter(code for row in rows for code in {one["code"] for one in row["findings"]})
    kinds = Counter(row["change"]["kind"] for row in rows if row["change"])
    found = [
        _filter("level", "Level", len(rows), {level: _WORDS[level] for level in LEVELS}, levels, _SIGNS),
        _filter("finding", "Finding", len(rows), {code: CODES[code][1] for code in CODES if codes[code]}, codes, {}),
    ]
    if is_compared:
        found.append(_filter("change", "Change", len(rows), KINDS, kinds, {}))
    return [one for one in found if len(one["choices"]) > 1]


def _filter(
    name: str, label: str, total: int, words: Mapping[str, str], counts: Mapping[str, int], signs: Mapping[str, str]
) -> dict[str, Any]:
    choices = [{"value": "all", "word": "All", "sign": "", "count": total}]
    choices += [
        {"value": value, "word": word, "sign": signs.get(value, ""), "count": counts[value]}
        for value, word in words.items()
    ]
    return {"name": name, "label": label, "choices": choices}


# --- hosts ------------------------------------------------------------------------------------------


def _host(row: Row, shown: list[str]) -> dict[str, Any]:
    """``cells`` is None where nothing is known."""
    cells = _cells(row) if is_inspected(row) else None
    change = row["change"]
    findings = row["findings"][:_MOST_FINDINGS]
    most = min(_MOST_OF_A_FINDING, _MOST_OF_THE_FINDINGS // max(1, len(findings)))
    notes = list(_notes(change)) if change else []
    more = max(0, len(row["findings"]) - _MOST_FINDINGS) + max(0, len(notes) - _MOST_FINDINGS)
    return {
        "level": row["level"],
        "word": _WORDS[row["level"]],
        "sign": _SIGNS[row["level"]],
        "codes": sorted({one["code"] for one in row["findings"]}),
        "kind": change["kind"] if change else None,
        "html": as_html(row["host"]),
        "badge": _badge(row),
        "findings": [
            {"severity": one["severity"], "html": _html(one["text"], most), "is_new": _is_new(one, change)}
            for one in findings
        ],
        "notes": notes[:_MOST_FINDINGS],
        "more": more,
        "cells": cells
        and [
            {"label": _COLUMNS[name], "html": _cell_html(cells[name]), "is_silent": cells[name].is_silent}
            for name in shown
        ],
    }


def _is_new(finding: Mapping[str, str], change: Mapping[str, Any] | None) -> bool:
    return change is not None and finding in change["new"]


def _badge(row: Row) -> str:
    change = row["change"]
    if not change or change["kind"] == "same":
        return ""
    word = KINDS[change["kind"]]
    was = change["level"]
    return "%s: was %s" % (word, _WORDS[was]) if was and was != row["level"] else word


def _notes(change: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """What is no finding of now: what is resolved, could not be checked, or is another fact."""
    for one in change["resolved"]:
        yield {"label": "Resolved", "html": _html(one["text"], _MOST_OF_A_NOTE)}
    for one in change["not_checked"]:
        yield {"label": "On %s, not checked now" % change["since"], "html": _html(one["text"], _MOST_OF_A_NOTE)}
    for fact in change["facts"]:
        before, after = (_value(fact[name]) for name in ("before", "after"))
        yield {
            "label": _LABELS.get(fact["name"], fact["name"]),
            "html": _html(before + _ARROW + after, _MOST_OF_A_NOTE),
        }


_LABELS = {**_COLUMNS, "path": "File", "source": "Source", "takes_passwords": "Accepts passwords"}
_LABELS["public_role"] = "Public role"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (_short(value) if isinstance(value, list) else str(value)) or "nothing"


def _elsewhere(row: Row) -> dict[str, str]:
    level = row["level"]
    return {
        "level": level,
        "word": _WORDS[level],
        "sign": _SIGNS[level],
        "html": as_html(row["host"]),
        "audited": row["audited"],
    }

# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has changed since an earlier report. What could not be checked now has not changed, and is not resolved."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, Collection, Iterator, Mapping, NamedTuple

from ansible_collections.fleetops.airflow.plugins.plugin_utils._audit.findings import (
    CODES,
    FACTS,
    LEVELS,
    Finding,
    Row,
    is_inspected,
    natural,
    plain_fact,
    rows_of,
)
from ansible_collections.fleetops.airflow.plugins.plugin_utils._audit.text import plain

FORMAT = 1  # of the file
# How a host can have changed, and what a person calls it.
KINDS = {"worse": "Worse", "better": "Better", "changed": "Changed", "new": "New host", "same": "Same"}
# Facts of which a change is reported. Others are findings, or follow from these.
_COMPARED = ("airflow_version", "path", "configured", "source", "in_force", "takes_passwords", "public_role")


class Earlier(NamedTuple):
    """An earlier report: when it was written, and its hosts, also those that it has from reports before it."""

    written: str
    rows: Mapping[str, Row]


class NotAReport(Exception):
    """The text is not a report that can be compared; the message says why."""


def report_of(
    results: Mapping[str, Any], written: str, earlier_text: str | None, inventory: Collection[str] | None
) -> dict[str, Any]:
    """What is written into airflow-audit.json.

    :param written: the time of this report.
    :param earlier_text: what the earlier one holds. None or "" if there is none.
    :param inventory: the names of all hosts. None if they are not known.
    """
    earlier, problem = None, None
    try:
        earlier = _read(earlier_text) if earlier_text else None
    except NotAReport as error:
        problem = str(error)
    rows = rows_of(results)
    for row in rows:
        row["audited"] = written
        row["change"] = _change(row, earlier.rows.get(row["host"])) if earlier else None
    asked = {row["host"] for row in rows}
    known = None if inventory is None else {plain(host) for host in inventory}
    others = [row for host, row in (earlier.rows if earlier else {}).items() if host not in asked]
    others.sort(key=lambda row: (LEVELS.index(row["level"]), natural(row["host"])))
    return {
        "format": FORMAT,
        "written": written,
        "summary": _summary(rows, earlier, problem),
        "compared_with": earlier.written if earlier else None,
        "not_compared": problem,
        "hosts": rows,
        # Kept for the next report, which may ask them again.
        "not_asked": [row for row in others if known is None or row["host"] in known],
        "removed": [
            {"host": row["host"], "level": row["level"], "audited": row["audited"]}
            for row in others
            if known is not None and row["host"] not in known
        ],
    }


def _summary(rows: list[Row], earlier: Earlier | None, problem: str | None) -> str:
    """How many hosts of each level there are, and how many have changed. It holds no text of a host."""
    levels = Counter(row["level"] for row in rows)
    counted = ", ".join("%d %s" % (levels[level], level) for level in LEVELS if levels[level])
    summary = "%d host%s: %s." % (len(rows), "" if len(rows) == 1 else "s", counted)
    if earlier:
        kinds = Counter(row["change"]["kind"] for row in rows)
        changed = ", ".join("%d %s" % (kinds[kind], kind) for kind in KINDS if kinds[kind])
        return "%s Compared with the audit of %s: %s." % (summary, earlier.written, changed)
    return "%s Not compared with the earlier file: %s." % (summary, problem) if problem else summary


def _read(text: str) -> Earlier:
    """:raises NotAReport: if this is not a report of this format."""
    try:
        report = json.loads(text)
    except (ValueError, RecursionError):
        raise NotAReport("it is not JSON") from None
    if not isinstance(report, dict) or report.get("format") != FORMAT:
        raise NotAReport("it is not a report of this version of the collection")
    written, hosts, not_asked = (report.get(name) for name in ("written", "hosts", "not_asked"))
    if not (isinstance(written, str) and isinstance(hosts, list) and isinstance(not_asked, list)):
        raise NotAReport("it is damaged")
    return Earlier(plain(written), {row["host"]: row for row in map(_read_row, [*hosts, *not_asked])})


def _read_row(row: Any) -> Row:
    fields = ("host", "level", "audited", "findings")
    if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in fields[:3]):
        raise NotAReport("it is damaged")
    found = row.get("findings")
    if row["level"] not in LEVELS or not isinstance(found, list) or not all(map(_is_finding, found)):
        raise NotAReport("the findings of a host are damaged")
    facts = {name: row.get(name) if row.get("airflow_version") is not None else None for name in FACTS}
    if facts["airflow_version"] is not None and not all(FACTS[name](value) for name, value in facts.items()):
        raise NotAReport("the facts of a host are damaged")
    findings = [{**one, "text": plain(one["text"])} for one in found]
    return {
        **{name: plain(row[name]) for name in ("host", "level", "audited")},
        "reasons": [one["text"] for one in findings],
        "findings": findings,
        **{name: plain_fact(name, value) for name, value in facts.items()},
    }


def _is_finding(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"code", "severity", "text"}
        and all(isinstance(text, str) for text in value.values())
        and value["code"] in CODES
        and value["severity"] == CODES[value["code"]][0]
    )


def _change(row: Row, before: Row | None) -> dict[str, Any]:
    """``kind`` is one of KINDS. The other values say what is new, resolved, or could not be checked now."""
    change: dict[str, Any] = {"kind": "new", "since": None, "level": None}
    change.update({"new": [], "resolved": [], "not_checked": [], "facts": []})
    if before is None:
        return change
    change.update(since=before["audited"], level=before["level"])
    if is_inspected(row) and is_inspected(before):
        now, then = _by_identity(row["findings"]), _by_identity(before["findings"])
        change["new"] = [one for key, one in now.items() if key not in then]
        for key, one in then.items():
            if key not in now:
                change["resolved" if _is_checked(one["code"], row) else "not_checked"].append(one)
        change["facts"] = list(_changed_facts(row, before))
    elif is_inspected(before):
        change["not_checked"] = list(before["findings"])
    elif not is_inspected(row) and [one["code"] for one in row["findings"]] != [
        one["code"] for one in before["findings"]
    ]:
        change["new"], change["resolved"] = list(row["findings"]), list(before["findings"])
    change["kind"] = _kind(row, before, change)
    return change


def _by_identity(findings: list[Finding]) -> dict[tuple[str, str], Finding]:
    """Sentences about settings are the same finding if only their numbers differ, as those of versions."""
    return {
        (one["code"], re.sub(r"[0-9]+", "0", one["text"]) if one["code"] == "dangerous_setting" else ""): one
        for one in findings
    }


def _is_checked(code: str, row: Row) -> bool:
    """Whether a finding of this code would be there if it were still so."""
    if code in ("anonymous_access", "anonymous_access_unknown"):
        return row["open_to_everybody"] is not None
    if code in ("restart_pending", "restart_unknown"):
        return row["restart_pending"] is not None
    # An environment is known only of a running server.
    return code == "no_server" or row["server"] is not None


def _changed_facts(row: Row, before: Row) -> Iterator[dict[str, Any]]:
    for name in _COMPARED:
        if None not in (row[name], before[name]) and row[name] != before[name]:
            yield {"name": name, "before": before[name], "after": row[name]}


def _kind(row: Row, before: Row, change: Mapping[str, Any]) -> str:
    step = LEVELS.index(row["level"]) - LEVELS.index(before["level"])
    if before["level"] == "danger" and row["level"] == "unknown":
        return "changed"  # it may be as dangerous as it was
    if before["level"] == "unknown" and step > 0:
        return "changed"  # it may have been so before
    if step < 0:
        return "worse"
    if step > 0:
        return "changed" if change["not_checked"] else "better"
    moved = [name for name in ("new", "resolved", "not_checked") if change[name]]
    if moved in (["new"], ["resolved"]):
        return "worse" if change["new"] else "better"
    return "changed" if moved or change["facts"] else "same"

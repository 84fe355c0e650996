# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What airflow_api_auth_info returned of a host, as findings and a level."""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, Iterator, Mapping

from ansible_collections.fleetops.airflow.plugins.plugin_utils._audit.text import MOST_TEXTS, plain

# A host has the level of its worst finding.
LEVELS = ("danger", "unknown", "warning", "attention", "fine")
# What is found, by severity, and what a person calls it. The order decides between hosts of one level.
CODES = {
    "anonymous_access": ("danger", "Anonymous access"),
    "unreachable": ("unknown", "Unreachable"),
    "not_inspected": ("unknown", "Not inspected"),
    "anonymous_access_unknown": ("unknown", "Anonymous access not determined"),
    "dangerous_setting": ("warning", "Dangerous setting"),
    "no_server": ("attention", "No running server"),
    "not_healthy": ("attention", "Server not healthy"),
    "overridden": ("attention", "File overridden"),
    "restart_pending": ("attention", "Restart pending"),
    "restart_unknown": ("attention", "Restart not determined"),
}
SERVER = ("pid", "started", "url", "health")

Finding = Dict[str, str]  # code, severity and text, a sentence
Row = Dict[str, Any]  # a host: host, level, findings, reasons (their texts), and the facts of FACTS


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_truth_or_none(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_texts_or_none(value: Any) -> bool:
    return value is None or _is_texts(value)


def _is_server_or_none(value: Any) -> bool:
    return value is None or (isinstance(value, Mapping) and isinstance(value.get("health"), str))


# What of a result is reported, and what it has to be. None of it is secret.
FACTS: dict[str, Callable[[Any], bool]] = {
    "airflow_version": _is_text,
    "path": _is_text_or_none,
    "section": _is_text_or_none,
    "option": _is_text_or_none,
    "configured": _is_texts_or_none,
    "source": _is_text_or_none,
    "overridden_by": _is_text_or_none,
    "effective": _is_texts_or_none,
    "in_force": _is_texts_or_none,
    "restart_pending": _is_truth_or_none,
    "restart_reason": _is_text_or_none,
    "takes_passwords": _is_truth_or_none,
    "open_to_everybody": _is_truth_or_none,
    "public_role": _is_text_or_none,
    "server": _is_server_or_none,
    "warnings_found": _is_texts,
}
# A host of whose result one is missing is not judged.
_DECISIVE = (
    *("airflow_version", "open_to_everybody", "warnings_found", "server"),
    *("restart_pending", "restart_reason", "overridden_by"),
)


def rows_of(results: Mapping[str, Any]) -> list[Row]:
    """The hosts, the most dangerous first. ``results`` has what the module returned, by the names of the hosts."""
    return sorted((_row(host, result) for host, result in results.items()), key=_order)


def is_inspected(row: Row) -> bool:
    """Whether the facts of the row are known."""
    return row["airflow_version"] is not None


def _row(host: str, result: Any) -> Row:
    problem = _problem(result)
    facts = {name: None if problem else plain_fact(name, result.get(name)) for name in FACTS}
    found = [problem] if problem else list(_findings(facts))
    found.sort(key=_rank)
    return {
        "host": plain(host),
        "level": found[0]["severity"] if found else "fine",
        "reasons": [one["text"] for one in found],
        "findings": found,
        **facts,
    }


def _finding(code: str, text: str) -> Finding:
    return {"code": code, "severity": CODES[code][0], "text": text}


def _problem(result: Any) -> Finding | None:
    """Why nothing is known of a host. None if something is."""
    if not isinstance(result, Mapping):
        return _finding("not_inspected", "The host was not inspected: it returned no result.")
    if not result:
        return _finding("not_inspected", "The host was not inspected: no task ran on it.")
    message = plain(result.get("msg") or "the reason is not known")
    if result.get("unreachable"):
        return _finding("unreachable", "The host is unreachable: %s" % message)
    # The playbook goes on after a failure, which makes "failed" false.
    if result.get("failed") or ("msg" in result and "airflow_version" not in result):
        return _finding("not_inspected", "The host could not be inspected: %s" % message)
    wrong = [name for name, is_right in FACTS.items() if not is_right(result.get(name))]
    wrong += [name for name in _DECISIVE if name not in result and name not in wrong]
    if wrong:
        text = "The host returned a result that is not one of airflow_api_auth_info: wrong or missing are %s."
        return _finding("not_inspected", text % ", ".join(wrong))
    return None


def plain_fact(name: str, value: Any) -> Any:
    """A fact as it is reported: texts made plain, long lists cut off."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, list):
        # What was cut off before is not cut off once more.
        is_long = len(value) > MOST_TEXTS + 1
        shown = [plain(text) for text in (value[:MOST_TEXTS] if is_long else value)]
        return [*shown, "and %d more" % (len(value) - MOST_TEXTS)] if is_long else shown
    if name == "server" and value is not None:
        return {
            key: plain(value[key]) if isinstance(value.get(key), str) else _number(value.get(key)) for key in SERVER
        }
    return value


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and abs(value) < 1 << 63 else None


def _findings(facts: Mapping[str, Any]) -> Iterator[Finding]:
    server = facts["server"]
    if facts["open_to_everybody"]:
        yield _finding("anonymous_access", "Any client that reaches the API server can read DAGs without credentials.")
    elif facts["open_to_everybody"] is None and server:
        text = "The API server is %s, and whether it accepts requests without credentials could not be determined."
        yield _finding("anonymous_access_unknown", text % server["health"])
    for text in facts["warnings_found"]:
        yield _finding("dangerous_setting", text)
    if not server:
        yield _finding("no_server", "No running API server was found.")
    elif server["health"] != "healthy" and facts["open_to_everybody"] is not None:
        yield _finding("not_healthy", "The API server is %s." % server["health"])
    if facts["overridden_by"]:
        text = "%s in the environment of the API server overrides airflow.cfg."
        yield _finding("overridden", text % facts["overridden_by"])
    if facts["restart_pending"]:
        yield _finding(
            "restart_pending", "A restart is pending: %s." % (facts["restart_reason"] or "the reason is not known")
        )
    elif facts["restart_pending"] is None and server:
        yield _finding("restart_unknown", "Whether a restart is pending could not be determined.")


_PLACES = {code: place for place, code in enumerate(CODES)}


def _rank(finding: Finding) -> tuple[int, int]:
    return LEVELS.index(finding["severity"]), _PLACES[finding["code"]]


def _order(row: Row) -> tuple[Any, ...]:
    """Of one level those first whose findings are worse, or more; then those together that have the same ones."""
    ranks = [_rank(finding) for finding in row["findings"]]
    return LEVELS.index(row["level"]), [*ranks, (len(LEVELS), 0)], natural(row["host"])


def natural(name: str) -> list[tuple[str, int, str]]:
    """A key that sorts web2 before web10."""
    parts = re.findall(r"([0-9]+)|([^0-9]+)", name)
    key = [("0", len(digits.lstrip("0")), digits.lstrip("0")) if digits else (text, 0, "") for digits, text in parts]
    return [*key, ("", 0, name)]

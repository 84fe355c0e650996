# SPDX-License-Identifier: GPL-3.0-or-later
"""Made-up results of airflow_api_auth_info for any number of hosts, and the page of the role audit without Ansible."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.fleetops.airflow.plugins.filter.audit_page import audit_page
from ansible_collections.fleetops.airflow.plugins.filter.audit_report import audit_report
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from testbed.running import CHECKOUT

Results = dict[str, dict[str, Any]]

BASIC = "airflow.providers.fab.auth_manager.api.auth.backend.basic_auth"
SESSION = "airflow.api.auth.backend.session"
FINE: dict[str, Any] = {
    "changed": False,
    "airflow_version": "2.11.2",
    "path": "/opt/airflow/airflow.cfg",
    "section": "api",
    "option": "auth_backends",
    "configured": [BASIC, SESSION],
    "source": "file",
    "overridden_by": None,
    "effective": [BASIC, SESSION],
    "in_force": [BASIC, SESSION],
    "restart_pending": False,
    "restart_reason": None,
    "takes_passwords": True,
    "open_to_everybody": False,
    "public_role": "",
    "server": {"pid": 4711, "started": "2026-01-31T12:00:00Z", "url": "http://127.0.0.1:8080", "health": "healthy"},
    "kerberos": None,
    "warnings_found": [],
}
ROLE = "The public role is Admin: whoever reaches the server may do what this role may, without a password."
READABLE = (
    "/opt/airflow/airflow.cfg holds secrets, and every user of this host may read it. Take the right from others."
)
REASON = "the server (pid 4711, started 2026-01-31T12:00:00Z) is older than airflow.cfg (2026-01-31T13:00:00Z)"
ROUTE = "Failed to connect to the host via ssh: ssh: connect to host {host} port 22: No route to host"
NO_FILE = "/root/airflow/airflow.cfg is not a file on this host. Name it with path, or the directory with airflow_home."
# One of each kind of host, in the order in which they come again and again.
KINDS: list[dict[str, Any]] = [
    FINE,
    {**FINE, "open_to_everybody": True, "public_role": "Admin", "warnings_found": [ROLE]},
    FINE,
    {"unreachable": True, "changed": False, "msg": ROUTE},
    {**FINE, "restart_pending": True, "restart_reason": REASON, "in_force": None, "takes_passwords": None},
    {**FINE, "warnings_found": [READABLE]},
    {**FINE, "source": "environment", "overridden_by": "AIRFLOW__API__AUTH_BACKENDS"},
    {**FINE, "airflow_version": "3.3.2", "section": "core", "option": "auth_manager"},
    {"failed": False, "changed": False, "msg": NO_FILE},
    {**FINE, "server": None, "in_force": None, "open_to_everybody": None, "takes_passwords": None},
    FINE,
    {**FINE, "open_to_everybody": None, "server": {**FINE["server"], "health": "unhealthy"}},
]
LONG = "airflow-web-{:04}.eu-central-1.compute.internal.example.com"
LONG_BACKEND = (
    "com_example_platform_security.airflow_backends.DelegatingKerberosAndTokenAuthenticationBackendOfThePlatform"
)
UNBREAKABLE = "x" * 3000

# A script that returns what cannot be read of a page, at the present width and the given height of a window. A word
# may be broken only where the page has a place for that: there its text is in several nodes. Between signs such as >
# and < the browser may break a line as well.
UNREADABLE = """
  const width = document.documentElement.clientWidth, found = [];
  if (document.documentElement.scrollWidth > width) found.push("page wider than window");
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), range = document.createRange();
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    if (!node.parentElement.checkVisibility() || node.parentElement.closest("script")) continue;
    for (const word of node.data.matchAll(/[\\p{L}\\p{N}_.,:]+/gu)) {
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      const parts = [...range.getClientRects()];
      if (new Set(parts.map(part => Math.round(part.top))).size > 1) found.push("broken: " + word[0]);
      if (parts.some(part => part.left < 0 || part.right > width + .5)) found.push("outside: " + word[0]);
    }
  }
  for (const element of document.querySelectorAll("body *")) {
    if (!element.checkVisibility() || element.matches(".choice")) continue;
    const box = element.getBoundingClientRect();
    if (box.left < -.5 || box.right > width + .5) found.push("outside: " + element.outerHTML.slice(0, 80));
    if (element.matches("td, th, label, dd, li") && element.scrollWidth > element.clientWidth + 1)
      found.push("narrower than its text: " + element.outerHTML.slice(0, 80));
  }
  for (const row of document.querySelectorAll(".host"))
    if (row.getBoundingClientRect().height > arguments[0]) found.push("higher than the window: " + row.textContent);
  return found.slice(0, 10);
"""
# One that returns the names of the hosts that are shown.
HOSTS_SHOWN = """
  const rows = [...document.querySelectorAll(".host")].filter(row => row.checkVisibility());
  return rows.map(row => {
    const name = row.querySelector("th").cloneNode(true);
    name.querySelector(".badge")?.remove();
    return name.textContent.trim();
  });
"""


def results_of(count: int, *, is_long: bool = False) -> Results:
    """Hosts of all kinds in turn; with long names, and one value on each that is long or without a place to break."""
    found = {}
    for number in range(count):
        host = (LONG if is_long else "airflow{}").format(number + 1)
        result = dict(KINDS[number % len(KINDS)])
        if "msg" in result:
            result["msg"] = result["msg"].replace("{host}", host)
        elif is_long:
            result["configured"] = [LONG_BACKEND, SESSION]
            result["in_force"] = result["in_force"] and [*result["in_force"], UNBREAKABLE[:200]]
            result["overridden_by"] = result["overridden_by"] or ("AIRFLOW__API__AUTH_BACKENDS" if number % 3 else None)
            result["warnings_found"] = [*result["warnings_found"], *([UNBREAKABLE] if number % 20 == 1 else [])]
        found[host] = result
    return found


def changed(results: Results) -> Results:
    """What an earlier audit of these hosts could have found: some other states, one host more and one less."""
    hosts = list(results)
    earlier = {**results, "airflow-removed.example.com": KINDS[1]}
    if len(hosts) > 1:
        earlier = {host: results[hosts[(place + (place % 5 == 1)) % len(hosts)]] for place, host in enumerate(hosts)}
        earlier |= {"airflow-removed.example.com": KINDS[1]}
        del earlier[hosts[-1]]
    return earlier


THEN = "2026-01-01 06:00 UTC"


def report(results: Mapping[str, Any], earlier: Mapping[str, Any] | None = None, then: str = THEN) -> dict[str, Any]:
    """The report of ``results``, compared with that of ``earlier``, which was written ``then``."""
    previous = None
    if earlier is not None:
        previous = json.dumps(audit_report(earlier, then))
    return audit_report(results, "2026-02-01 06:00 UTC", previous, list(results))


def page(results: Mapping[str, Any], earlier: Mapping[str, Any] | None = None, then: str = THEN) -> str:
    """The HTML that the role writes, by its own template."""
    environment = Environment(
        loader=FileSystemLoader(CHECKOUT / "roles/audit/templates"), trim_blocks=True, undefined=StrictUndefined
    )
    environment.filters["fleetops.airflow.audit_page"] = audit_page
    return environment.get_template("airflow-audit.html.j2").render(audit_report=report(results, earlier, then))


def write_page(path: Path, results: Mapping[str, Any], earlier: Mapping[str, Any] | None = None) -> Path:
    path.write_text(page(results, earlier), encoding="utf-8")
    return path

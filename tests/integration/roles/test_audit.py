# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook audit: what it says of a real fleet, and what its page is like in a real browser."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed import browser as browsers
from testbed.airflow_host import HOME
from testbed.browser import Browser
from testbed.fleet import Fleet
from testbed.runner import Ansible

OPEN = "airflow-2-11-2"


@pytest.fixture(scope="module")
def reports(fleet: Fleet, on_fleet: Ansible, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with both reports. One host is open to everybody, one has no Airflow, one cannot be reached."""
    folder = tmp_path_factory.mktemp("audit")
    airflow = fleet.airflows[OPEN]
    before = airflow.cfg.read_text()
    config = HOME / "webserver_config.py"
    airflow.run(f"cp {config} /root/; echo \"AUTH_ROLE_PUBLIC = 'Admin'\" >> {config}")
    try:
        opened = on_fleet.module("fleetops.airflow.airflow_api_auth", {"backends": ["default"]}, hosts=OPEN)
        assert opened.changed, opened.output
        cfgs = {name: host.cfg.read_bytes() for name, host in fleet.airflows.items()}
        variables = {"audit_hosts": "all,!localhost", "audit_folder": str(folder)}
        fleet.bed.unplug(fleet.light["light-2"])
        try:
            done = on_fleet.playbook("fleetops.airflow.audit", variables)
        finally:
            fleet.bed.plug(fleet.light["light-2"])
        assert done.rc == 0, done.output
        assert {name: host.cfg.read_bytes() for name, host in fleet.airflows.items()} == cfgs
        yield folder
    finally:
        airflow.cfg.write_text(before)
        airflow.run(f"cp /root/webserver_config.py {config}; systemctl restart {airflow.unit}")
        airflow.wait_healthy()


def rows(reports: Path) -> dict[str, dict[str, Any]]:
    return {row["host"]: row for row in json.loads((reports / "airflow-audit.json").read_text())["hosts"]}


def test_what_the_file_says(fleet: Fleet, reports: Path) -> None:
    told = rows(reports)
    assert set(told) == {*fleet.airflows, *fleet.light}
    assert (told[OPEN]["level"], told[OPEN]["open_to_everybody"]) == ("danger", True)
    assert [told[name]["level"] for name in fleet.light] == ["unknown", "unknown"]
    assert told["light-2"]["reasons"][0].startswith("The host cannot be reached: ")
    assert "is no file on this host" in told["light-1"]["reasons"][0]
    for name, airflow in fleet.airflows.items():
        assert told[name]["airflow_version"] == airflow.installation.release.version
        assert airflow.users["admin"] not in json.dumps(told)
    for report in reports.iterdir():
        assert stat.S_IMODE(report.stat().st_mode) == 0o600


@pytest.fixture(scope="module")
def page(reports: Path) -> Iterator[Browser]:
    why_not = browsers.reason_to_skip()
    if why_not:
        pytest.skip(why_not)
    with browsers.browser() as browser:
        browser.open(reports / "airflow-audit.html")
        yield browser


SHOWN = """
  const rows = [...document.querySelectorAll("tbody tr")].filter(row => row.offsetParent);
  return rows.map(row => row.cells[1].textContent);
"""
TYPE = """
  const field = document.getElementById("text");
  field.value = arguments[0];
  field.dispatchEvent(new Event("input"));
"""


def test_the_page_in_a_browser(reports: Path, page: Browser) -> None:
    every = list(rows(reports))
    assert page.run(SHOWN) == every
    assert every[:3] == [OPEN, "light-1", "light-2"]
    assert page.log() == []
    # It asks for nothing: no style, font or picture from anywhere.
    assert page.run("return performance.getEntriesByType('resource').length") == 0

    page.run(TYPE, "3.3.2 FAB")
    assert page.run(SHOWN) == [name for name in every if name.endswith("fab")]
    page.run(TYPE, "")
    page.run("document.querySelector('[value=unknown]').click()")
    assert page.run(SHOWN) == [name for name in every if not name.startswith("light")]
    assert page.run("return document.getElementById('shown').textContent") == f"{len(every) - 2} of {len(every)} hosts"
    page.run("document.querySelector('[value=unknown]').click()")
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")


def test_a_level_is_told_without_colour_and_is_readable(page: Browser) -> None:
    """Each has a word and a sign of its own, and the contrast that WCAG asks for (4.5 to 1)."""
    script = """
      return [...document.querySelectorAll('td.level')].map(cell => [cell.textContent, getComputedStyle(cell).color])
    """
    seen = dict(page.run(script))
    assert {"✖ Danger", "? Cannot tell"} <= set(seen)
    for colour in seen.values():
        assert contrast_to_white(colour) >= 4.5, seen


def test_the_page_on_paper(page: Browser) -> None:
    printed = page.printed()
    assert printed.startswith(b"%PDF")
    assert page.run("return matchMedia('print').matches") is False


def contrast_to_white(colour: str) -> float:
    """By the formula of WCAG 2."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)

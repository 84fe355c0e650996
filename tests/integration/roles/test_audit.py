# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook audit: what it reports of a real fleet. See test_audit_page for the page."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed import browser as browsers
from testbed.airflow_host import HOME
from testbed.audits import HOSTS_SHOWN, UNREADABLE
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
    assert told["light-2"]["reasons"][0].startswith("The host is unreachable: ")
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


@pytest.mark.parametrize("width", [700, 1280])
def test_the_page_in_a_browser(reports: Path, page: Browser, width: int) -> None:
    every = list(rows(reports))
    page.resize(width)
    assert page.run(HOSTS_SHOWN) == every
    assert every[:3] == [OPEN, "light-2", "light-1"]
    assert page.run(UNREADABLE, 900) == []
    assert page.log() == []
    page.click("[for=level-unknown]")
    assert page.run(HOSTS_SHOWN) == ["light-2", "light-1"]
    page.click("[for=level-all]")


def test_the_page_on_paper(page: Browser) -> None:
    assert page.printed().startswith(b"%PDF")

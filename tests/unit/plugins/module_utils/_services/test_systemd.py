# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of units. systemd itself is met in the integration tests."""

from __future__ import annotations

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._services import systemd


@pytest.mark.parametrize("name", ["airflow*", "*", "airflow:*", "air?low", "[a]irflow", "a b", "airflow\n"])
def test_pattern_is_no_unit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemctl would take it for all units that fit."""
    monkeypatch.setattr(systemd, "run", lambda *_arguments: pytest.fail("systemctl was asked"))
    unit = systemd.Systemd(name)
    assert (unit.exists(), unit.own_name(), unit.main_pid()) == (False, None, 0)


@pytest.mark.parametrize("name", ["airflow-webserver", "airflow@a\\x2db.service", "af:1_2.service"])
def test_name_of_a_unit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd.Systemd, "show", lambda *_properties: {"LoadState": "loaded"})
    assert systemd.Systemd(name).exists()

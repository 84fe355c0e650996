# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of units. systemd itself is met in the integration tests."""

from __future__ import annotations

from pathlib import Path

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


def test_environment_of_a_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "environment"
    file.write_text("B=3\n# no\nC='4 5'\nD=6\n")
    shown = {
        "ExecStart": "{ path=/v/airflow ; argv[]=/v/airflow webserver ; ignore_errors=no }",
        "Environment": "A=1 B=2 E=7 F=8",
        "EnvironmentFiles": f"{file} (ignore_errors=no)",
        "UnsetEnvironment": "D E=7 F=9",
    }
    monkeypatch.setattr(systemd.Systemd, "show", lambda *_properties: shown)
    definition = systemd.Systemd("airflow").definition()
    assert definition.environment == {"A": "1", "B": "3", "C": "4 5", "F": "8"}
    assert (definition.arguments, definition.directory) == (["/v/airflow", "webserver"], "/")
    assert definition.tells_environment
    shown["EnvironmentFiles"] = f"{tmp_path}/env* (ignore_errors=no)"
    assert systemd.Systemd("airflow").definition().environment == definition.environment
    for unknown in (
        {"EnvironmentFiles": f"{tmp_path}/none (ignore_errors=no)"},
        {"EnvironmentFiles": f"{tmp_path} (ignore_errors=yes)"},
        {"PassEnvironment": "A"},
    ):
        monkeypatch.setattr(systemd.Systemd, "show", lambda *_properties, more=unknown: {**shown, **more})
        assert not systemd.Systemd("airflow").definition().tells_environment
    missing = {"EnvironmentFiles": f"{tmp_path}/none (ignore_errors=yes)"}
    monkeypatch.setattr(systemd.Systemd, "show", lambda *_properties: {**shown, **missing})
    assert systemd.Systemd("airflow").definition().tells_environment

# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Airflow lives, told from files as installers write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.installation import (
    airflow_home,
    config_path,
    find_executable,
    interpreter_of,
    version_beside,
)


@pytest.mark.parametrize(
    ("text", "interpreter"),
    [
        ("#!/opt/airflow/bin/python3.11\nimport sys\n", "/opt/airflow/bin/python3.11"),
        ("#! /opt/airflow/bin/python -I\n", "/opt/airflow/bin/python"),
        ("#!/bin/sh\n'''exec' \"/srv/air flow/bin/python\" \"$0\" \"$@\"\n' '''\n", "/srv/air flow/bin/python"),
        ("#!/bin/sh\n'''exec' /srv/long/bin/python \"$0\" \"$@\"\n' '''\n", "/srv/long/bin/python"),
        ('#!/bin/bash\nexec /opt/airflow/bin/airflow "$@"\n', None),
        ("", None),
    ],
)
def test_interpreter(tmp_path: Path, text: str, interpreter: str | None) -> None:
    (tmp_path / "airflow").write_text(text)
    assert interpreter_of(str(tmp_path / "airflow")) == interpreter
    assert interpreter_of(str(tmp_path / "none")) is None


def test_version(tmp_path: Path) -> None:
    packages = tmp_path / "lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    python = str(tmp_path / "bin/python")
    assert version_beside(python) is None
    (packages / "apache_airflow_providers_fab-1.5.4.dist-info").mkdir()
    (packages / "apache_airflow-2.11.2.dist-info").mkdir()
    assert version_beside(python) == "2.11.2"
    (packages / "apache_airflow-2.10.5.dist-info").mkdir()
    with pytest.raises(AirflowError, match=r"several Airflow releases: 2.10.5, 2.11.2. Say which"):
        version_beside(python)


def test_executable(tmp_path: Path) -> None:
    program = tmp_path / "airflow"
    assert find_executable(None, {"PATH": f"/nowhere::{tmp_path}"}) is None
    program.touch(mode=0o755)
    assert find_executable(None, {"PATH": f"/nowhere::{tmp_path}"}) == str(program)
    assert find_executable(str(program), {}) == str(program)
    with pytest.raises(AirflowError, match="is no file on this host"):
        find_executable("/nowhere/airflow", {})


@pytest.mark.parametrize(
    ("environment", "home", "cfg"),
    [
        ({}, "/home/a/airflow", "/home/a/airflow/airflow.cfg"),
        ({"AIRFLOW_HOME": "~/x"}, "/home/a/x", "/home/a/x/airflow.cfg"),
        ({"AIRFLOW_HOME": "/opt/x"}, "/opt/x", "/opt/x/airflow.cfg"),
        ({"AIRFLOW_HOME": "/opt/x", "AIRFLOW_CONFIG": "/etc/airflow.cfg"}, "/opt/x", "/etc/airflow.cfg"),
        ({"AIRFLOW_HOME": "", "AIRFLOW_CONFIG": ""}, "/home/a/airflow", "/home/a/airflow/airflow.cfg"),
    ],
)
def test_home_and_file(environment: dict[str, str], home: str, cfg: str) -> None:
    assert airflow_home(environment, "/home/a") == home
    assert config_path(environment, "/home/a") == cfg

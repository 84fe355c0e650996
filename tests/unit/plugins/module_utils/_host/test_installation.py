# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Airflow lives, told from files as installers write them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.installation import (
    airflow_home,
    config_path,
    directories_beside,
    directories_in,
    directories_mapped,
    expanded,
    find_executable,
    interpreter_of,
    is_closed_environment,
    packages_in,
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


def test_package_beside_an_interpreter(tmp_path: Path) -> None:
    packages = tmp_path / "lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    (tmp_path / "lib64").symlink_to("lib")
    python = str(tmp_path / "bin/python")

    def found() -> list[str]:
        return [package.version for package in packages_in(directories_beside(python))]

    assert found() == []
    (packages / "apache_airflow_providers_fab-1.5.4.dist-info").mkdir()
    (packages / "apache_airflow-2.11.2.dist-info").mkdir()
    assert found() == []  # what a removed package has left
    (packages / "airflow").mkdir()
    assert found() == ["2.11.2"]
    (packages / "apache_airflow-2.10.5.dist-info").mkdir()
    (packages / "airflow/__init__.py").write_text('"""Airflow."""\n\n__version__ = "2.10.5"\n')
    assert found() == ["2.10.5"]
    (packages / "airflow/version.py").write_text("version = '2.2.5'\n")
    assert found() == ["2.2.5"]


def test_package_that_is_a_trap(tmp_path: Path) -> None:
    """Whoever owns the directory may have put a FIFO there, which would hold whoever opens it."""
    (tmp_path / "airflow").mkdir()
    for name in ("version.py", "__init__.py"):
        os.mkfifo(tmp_path / "airflow" / name)
    assert packages_in([str(tmp_path)]) == []
    (tmp_path / "bin").mkdir()
    os.mkfifo(tmp_path / "pyvenv.cfg")
    assert not is_closed_environment(str(tmp_path / "bin/python"))


def test_virtual_environment_is_closed(tmp_path: Path) -> None:
    python = str(tmp_path / "bin/python")
    assert not is_closed_environment(python)
    for value, closed in (("false", True), ("true", False), ("True", False)):
        (tmp_path / "pyvenv.cfg").write_text(f"home = /usr/bin\ninclude-system-site-packages = {value}\n")
        assert is_closed_environment(python) is closed


def test_directories_of_a_process(tmp_path: Path) -> None:
    own = tmp_path / ".local/lib/python3.11/site-packages"
    own.mkdir(parents=True)
    assert directories_in({}, str(tmp_path)) == [str(own)]
    assert directories_in({"PYTHONPATH": "/srv/a::rel:/srv/b"}, str(tmp_path)) == ["/srv/a", "/srv/b", str(own)]
    assert directories_in({"PYTHONNOUSERSITE": "1"}, str(tmp_path)) == []
    assert directories_in({"PYTHONUSERBASE": str(tmp_path / ".local")}, "/nowhere") == [str(own)]
    mapped = [
        "/usr/lib/libc.so.6",
        "/x/site-packages/a/b.so",
        "/x/site-packages/c.so",
        "/usr/lib/python3/dist-packages/d.so",
    ]
    assert directories_mapped(mapped) == ["/x/site-packages", "/usr/lib/python3/dist-packages"]


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


@pytest.mark.parametrize(
    ("value", "environment", "path"),
    [
        ("$BASE/airflow", {"BASE": "/opt"}, "/opt/airflow"),
        ("${BASE}/airflow", {"BASE": "/opt"}, "/opt/airflow"),
        ("$ONE/x", {"ONE": "$TWO", "TWO": "~/two"}, "/home/a/two/x"),
        ("$NOWHERE/x", {}, "$NOWHERE/x"),
        ("$LOOP", {"LOOP": "$LOOP"}, "$LOOP"),
        ("~root/x", {}, os.path.expanduser("~root/x")),
        ("/a~b/$", {}, "/a~b/$"),
    ],
)
def test_values_are_expanded_as_airflow_does(value: str, environment: dict[str, str], path: str) -> None:
    assert expanded(value, environment, "/home/a") == path
    assert airflow_home({**environment, "AIRFLOW_HOME": value}, "/home/a") == path

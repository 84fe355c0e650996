# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command of a service tells about a host."""

from __future__ import annotations

import os
import pwd

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import ServiceDefinition, airflow_in


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["/venv/bin/airflow", "webserver", "--port", "8080"], ("/venv/bin/airflow", "webserver")),
        (
            ["/bin/bash", "-c", "cd /opt/airflow && exec /venv/bin/airflow webserver"],
            ("/venv/bin/airflow", "webserver"),
        ),
        (["/bin/sh", "-c", "AIRFLOW_HOME=/opt/airflow airflow 'api-server'"], ("airflow", "api-server")),
        (["/usr/bin/env", "X=1", "airflow", "scheduler"], ("airflow", "scheduler")),
        (["runuser", "-u", "airflow", "--", "/v/airflow", "celery", "worker"], ("/v/airflow", "celery")),
        (["/usr/bin/start-airflow.sh", "prod"], None),
        (["/bin/sh", "-c", "cd /opt/airflow"], None),
        ([], None),
    ],
)
def test_command_of_a_service(arguments: list[str], found: tuple[str, str] | None) -> None:
    assert airflow_in(arguments) == found


@pytest.mark.parametrize("user", ["root", "0", None])
def test_home_directory_of_a_service_by_name_and_by_number(user: str | None) -> None:
    assert ServiceDefinition("", [], {}, user).home == pwd.getpwuid(0).pw_dir
    assert ServiceDefinition("", [], {"HOME": "/srv"}, user).home == "/srv"


def test_home_directory_of_a_user_without_an_entry() -> None:
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    number = next(number for number in range(40000, 60000) if number not in taken)
    assert ServiceDefinition("", [], {}, str(number)).home == "/"
    assert not os.path.exists(ServiceDefinition("", [], {}, "nobody-of-this-name").home)


@pytest.mark.parametrize(
    ("arguments", "is_known", "tells"),
    [
        (["/venv/bin/airflow", "webserver"], True, True),
        (["/venv/bin/python", "/venv/bin/airflow", "webserver"], True, True),
        (["/usr/bin/start-airflow.sh"], True, False),
        (["/venv/bin/python", "-W", "ignore", "/venv/bin/airflow", "webserver"], True, True),
        (["/venv/bin/python", "-m", "airflow", "webserver"], True, True),
        (["/bin/bash", "-c", "cd / && exec /venv/bin/airflow webserver"], True, True),
        (["/usr/bin/timeout", "-k", "5", "1d", "/venv/bin/airflow", "webserver"], True, True),
        (["/bin/bash", "-c", "A=1 airflow webserver"], True, False),
        (["/bin/bash", "-c", ". /etc/airflow.sh; airflow webserver"], True, False),
        (["/bin/bash", "-lc", "airflow webserver"], True, False),
        (["/bin/sh", "-c", "export A; airflow webserver"], True, False),
        (["/usr/bin/env", "A=1", "airflow", "webserver"], True, False),
        (["/opt/airflow/run.sh", "airflow", "webserver"], True, False),
        (["/venv/bin/airflow", "webserver"], False, False),
        ([], True, False),
    ],
)
def test_whether_all_of_the_environment_is_known(arguments: list[str], is_known: bool, tells: bool) -> None:
    definition = ServiceDefinition("", arguments, {}, None, is_known=is_known)
    assert definition.tells_environment is tells
    assert definition._replace(environment={"AIRFLOW_HOME": "/srv"}).tells_environment is tells

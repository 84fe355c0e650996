# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command of a service tells about a host."""

from __future__ import annotations

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import airflow_in


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

# SPDX-License-Identifier: GPL-3.0-or-later
"""From what AnsibleModule gives to records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import (
    CONVERGE_ARGUMENTS,
    HOST_ARGUMENTS,
    ChangePolicy,
    Target,
    change_policy_of,
    target_of,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.health import Tls
from ansible_collections.fleetops.airflow.plugins.module_utils._services.names import ServiceChoice

HOST_DEFAULTS = {name: argument.get("default") for name, argument in HOST_ARGUMENTS.items()}
DEFAULTS = {**HOST_DEFAULTS, **{name: argument.get("default") for name, argument in CONVERGE_ARGUMENTS.items()}}


def test_defaults_of_the_records_are_those_of_the_options() -> None:
    assert target_of(DEFAULTS) == target_of(HOST_DEFAULTS) == Target()
    assert change_policy_of(DEFAULTS) == ChangePolicy()


def test_given_options(tmp_path: Path) -> None:
    authorities = tmp_path / "ca.pem"
    authorities.touch()
    given = {
        "airflow_home": "/home",
        "url": "https://localhost:8080",
        "validate_certs": False,
        "ca_path": str(authorities),
        "service": ["webserver", "scheduler"],
        "service_manager": "systemd",
        "restart": "always",
        "health_timeout": 7,
        "rollback": False,
        "backup": True,
    }
    services = ServiceChoice(("webserver", "scheduler"), "systemd")
    target = Target(
        airflow_home="/home", url="https://localhost:8080", tls=Tls(False, str(authorities)), services=services
    )
    assert target_of({**DEFAULTS, **given}) == target
    assert change_policy_of({**DEFAULTS, **given}) == ChangePolicy("always", 7, rollback=False, backup=True)


@pytest.mark.parametrize("empty", ["", None])
def test_empty_is_not_given(empty: str | None) -> None:
    assert target_of({**DEFAULTS, "path": empty, "airflow_home": "/home", "restart_command": empty}).path is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"path": "/a/airflow.cfg", "airflow_home": "/a"}, "path and airflow_home are both given. Leave one out."),
        ({"service": ["a"], "restart_command": "b"}, "service and restart_command are both given. Leave one out."),
        ({"ca_path": "/nowhere"}, "ca_path /nowhere is no file on this host."),
        ({"url": "localhost:8080"}, "is not an http:// or https:// URL with a host."),
    ],
)
def test_options_that_are_wrong_by_themselves(given: dict[str, Any], message: str) -> None:
    with pytest.raises(AirflowError) as error:
        target_of({**DEFAULTS, **given})
    assert message in str(error.value)


def test_health_timeout_has_to_be_a_time() -> None:
    with pytest.raises(AirflowError, match=r"health_timeout is 0\. It has to be at least 1 second"):
        change_policy_of({**DEFAULTS, "health_timeout": 0})

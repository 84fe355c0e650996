# SPDX-License-Identifier: GPL-3.0-or-later
"""What airflow_api_auth makes of its options on hosts of different versions, by values."""

from __future__ import annotations

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import ChangePolicy, Target
from ansible_collections.fleetops.airflow.plugins.module_utils._change.plan import DesiredState, Plan, plan
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._services.names import ServiceChoice
from ansible_collections.fleetops.airflow.plugins.modules.airflow_api_auth import (
    AuthOptions,
    settings_of,
    supported,
    warnings_after,
)
from unit.plugins.hosts import current, host, server

BOTH = AuthOptions(backends=["basic_auth"], auth_manager="fab")


def test_options_that_a_version_has_a_place_for() -> None:
    assert supported(host("2.11.2"), BOTH, skip=True) == ["backends"]
    assert supported(host("3.3.2"), BOTH, skip=True) == ["auth_manager"]
    assert supported(host("3.3.2"), AuthOptions(backends=["basic_auth"]), skip=True) == []


def test_an_option_without_a_place_is_an_error() -> None:
    with pytest.raises(AirflowError, match="backends is given, and there is nothing for it to set"):
        supported(host("3.3.2"), BOTH, skip=False)


@pytest.mark.parametrize("skip", [True, False])
def test_nothing_to_set(skip: bool) -> None:
    with pytest.raises(AirflowError, match="Nothing to set: give backends, auth_manager or another of jwt_secret, "):
        supported(host(), AuthOptions(auth_manager="", options={}, kerberos={}), skip)


def settings(version: str, wanted: AuthOptions, skip: bool = False) -> list[tuple[str, str | None]]:
    on = host(version, interpreter=None)
    found = settings_of(on, wanted, supported(on, wanted, skip), skip, lambda _warning: None)
    return [(setting.name, setting.value) for setting in found]


def test_settings() -> None:
    basic_auth = "airflow.api.auth.backend.basic_auth"
    assert settings("2.11.2", BOTH, skip=True) == [("[api] auth_backends", basic_auth)]
    assert settings("2.2.5", AuthOptions(backends=["basic_auth", "session"]), skip=True) == [
        ("[api] auth_backend", basic_auth)
    ]
    fab = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
    wanted = AuthOptions(auth_manager="fab", jwt_secret="secret", jwt_expiration_time=60, options={"port": 8081})
    assert settings("3.3.2", wanted) == [
        ("[core] auth_manager", fab),
        ("[api_auth] jwt_secret", "secret"),
        ("[api_auth] jwt_expiration_time", "60"),
        ("[api] port", "8081"),
    ]


def test_an_empty_list_of_backends_is_an_error() -> None:
    with pytest.raises(AirflowError, match="backends is empty"):
        settings("2.11.2", AuthOptions(backends=[]))


def planned(wanted: AuthOptions, services: tuple[str, ...] = (), environment: dict[str, str] | None = None) -> Plan:
    on = host("3.3.2", interpreter=None, servers=[server(environment=environment)])
    found = settings_of(on, wanted, supported(on, wanted, False), False, lambda _warning: None)
    target = Target(services=ServiceChoice(services))
    return plan(current("[core]\n", on), DesiredState(found, for_the_api=True), target, ChangePolicy())


def test_all_that_read_a_secret_have_to_be_restarted() -> None:
    wanted = AuthOptions(jwt_secret="secret")
    (warning,) = warnings_after(planned(wanted))
    assert "read jwt_secret too" in warning
    assert warnings_after(planned(wanted, ("api-server", "scheduler"))) == []


def test_a_variable_that_airflow_does_not_read() -> None:
    environment = {"AIRFLOW__API__PORT_CMD": "echo 1"}
    (warning,) = warnings_after(planned(AuthOptions(options={"port": 8081}), environment=environment))
    assert warning.startswith("AIRFLOW__API__PORT_CMD in the environment of the server (pid 7) does nothing")

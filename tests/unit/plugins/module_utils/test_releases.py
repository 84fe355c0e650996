# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of releases, against what real releases were seen to do."""

from __future__ import annotations

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import (
    backend_name,
    backends_in_file,
    backends_override,
    backends_setting,
    effective_backends,
    family_of,
    refuses_passwords,
    same_backends,
    split_backends,
    takes_passwords,
    validate_supported,
)

BASIC = "airflow.api.auth.backend.basic_auth"
SESSION = "airflow.api.auth.backend.session"
DENY = "airflow.api.auth.backend.deny_all"
SIMPLE = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
DEFAULT = "airflow.api.auth.backend.default"


@pytest.mark.parametrize(
    ("version", "option", "takes_list"),
    [
        ("1.10.15", "auth_backend", False),
        ("2.0.2", "auth_backend", False),
        ("2.2.5", "auth_backend", False),
        ("2.3.0", "auth_backends", True),
        ("2.10.5", "auth_backends", True),
        ("2.11.2.dev0", "auth_backends", True),
        ("3.0.6", "auth_manager", False),
        ("3.3.2", "auth_manager", False),
    ],
)
def test_family(version: str, option: str | None, takes_list: bool) -> None:
    family = family_of(version)
    assert (family.option, family.takes_list) == (option, takes_list)


@pytest.mark.parametrize("version", ["1.9.0", "", "x", "two.three"])
def test_no_release(version: str) -> None:
    with pytest.raises(AirflowError, match="none that this collection knows"):
        family_of(version)


def test_short_names_are_those_of_the_release() -> None:
    def resolved(version: str, *names: str) -> list[str]:
        return split_backends(backends_setting(family_of(version), version, list(names)).value)

    assert resolved("2.11.2", "basic_auth", "session") == [BASIC, SESSION]
    assert resolved("2.11.2", " my.own ") == ["my.own"]
    assert resolved("2.2.5", "basic_auth") == [BASIC]
    assert resolved("3.3.2", "simple") == [SIMPLE]
    assert resolved("1.10.15", "basic_auth") == ["airflow.contrib.auth.backends.password_auth"]
    for version, names, message in (
        (
            "2.2.5",
            ["session"],
            "'session' is no API authentication backend of Airflow 2.2.5. Short names there: ba",
        ),
        ("2.2.5", ["basic_auth", "deny_all"], "takes one backend"),
        ("2.11.2", ["basic_auth "[:-1], BASIC], "more than once"),
        ("2.11.2", [], "backends is empty"),
        ("2.11.2", [""], "'' is no API"),
        ("2.11.2", ["a.b,c.d"], "is no API"),
        ("2.11.2", ["a..b"], "is no API"),
        ("2.11.2", ["x.1y"], "is no API"),
        ("3.0.6", ["basic_auth"], "'basic_auth' is no auth manager of Airflow 3.0.6. Short names there: fab, simple"),
    ):
        with pytest.raises(AirflowError, match=message):
            resolved(version, *names)


def test_what_a_release_has_no_place_for() -> None:
    validate_supported(family_of("2.11.2"), "2.11.2", ["backends"])
    validate_supported(family_of("3.0.6"), "3.0.6", ["auth_manager", "jwt_secret"])
    with pytest.raises(AirflowError, match=r"backends is given, .* Airflow 3.0.6 has no API authentication backends"):
        validate_supported(family_of("3.0.6"), "3.0.6", ["auth_manager", "backends"])
    with pytest.raises(AirflowError, match=r"The API of Airflow 2.2.5 takes no tokens .* unsupported: skip"):
        validate_supported(family_of("2.2.5"), "2.2.5", ["jwt_secret"])


@pytest.mark.parametrize(
    ("configured", "effective"),
    [
        ([], [SESSION]),
        ([DENY], [SESSION]),
        ([DEFAULT], [DEFAULT]),
        ([BASIC], [BASIC, SESSION]),
        ([BASIC, SESSION], [BASIC, SESSION]),
        ([SESSION, BASIC], [SESSION, BASIC]),
        ([DENY, BASIC], [DENY, BASIC, SESSION]),
    ],
)
def test_what_the_server_makes_of_a_list(configured: list[str], effective: list[str]) -> None:
    assert effective_backends(family_of("2.6.3"), configured) == effective
    assert effective_backends(family_of("2.2.5"), configured[:1]) == (configured[:1] or [DENY])


def test_what_is_in_force_where_nothing_is_set() -> None:
    expected = {"1.10.10": DEFAULT, "1.10.11": DENY, "2.2.5": DENY, "2.3.0": SESSION, "3.3.2": SIMPLE}
    assert {version: effective_backends(family_of(version), [])[0] for version in expected} == expected


def test_what_a_file_says() -> None:
    both = Cfg("[api]\nauth_backend = a.b\nauth_backends = c.d, e.f\n")
    old = Cfg("[api]\nauth_backend = a.b\n")
    assert backends_in_file(family_of("2.11.2"), both) == ["c.d", "e.f"]
    assert backends_in_file(family_of("2.11.2"), old) == ["a.b"]
    assert backends_in_file(family_of("2.2.5"), both) == ["a.b"]
    assert backends_in_file(family_of("2.2.5"), Cfg("[api]\nauth_backends = c.d\n")) == []
    assert split_backends("a.b,") == ["a.b", ""]  # Airflow dies of it: it must not pass for ["a.b"]


def test_one_backend_has_two_paths() -> None:
    fab = "airflow.providers.fab.auth_manager.api.auth.backend.basic_auth"
    assert same_backends([fab, SESSION], [BASIC, SESSION])
    assert not same_backends([SESSION, BASIC], [BASIC, SESSION])
    assert takes_passwords(family_of("2.11.2"), [fab])
    assert not takes_passwords(family_of("2.11.2"), [DEFAULT, BASIC])
    assert not takes_passwords(family_of("2.11.2"), [SESSION])
    assert refuses_passwords(family_of("2.11.2"), [SESSION])
    assert not refuses_passwords(family_of("2.11.2"), ["acme.backend", SESSION])  # it may take them
    assert not refuses_passwords(family_of("2.11.2"), [fab])


def test_variables_that_beat_the_file() -> None:
    old, new = {"AIRFLOW__API__AUTH_BACKEND": "a"}, {"AIRFLOW__API__AUTH_BACKENDS": "b"}
    assert backends_override(family_of("2.11.2"), {**old, **new}) == ("AIRFLOW__API__AUTH_BACKENDS", "b")
    assert backends_override(family_of("2.11.2"), old) == ("AIRFLOW__API__AUTH_BACKEND", "a")
    assert backends_override(family_of("2.2.5"), {**old, **new}) == ("AIRFLOW__API__AUTH_BACKEND", "a")
    assert backends_override(family_of("2.2.5"), new) is None
    assert backends_override(family_of("2.11.2"), {"airflow__api__auth_backends": "x"}) is None


def test_name_of_a_backend_by_any_of_its_paths() -> None:
    for path, name in (
        ("airflow.api.auth.backend.basic_auth", "basic_auth"),
        ("airflow.contrib.auth.backends.password_auth", "basic_auth"),
        ("airflow.providers.fab.auth_manager.api.auth.backend.session", "session"),
        (" airflow.api.auth.backend.kerberos_auth", "kerberos_auth"),
        ("session", "session"),
        ("company.auth.session", "company.auth.session"),
    ):
        assert backend_name(path) == name

# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rulebook may say about what to watch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._watch.options import limits, state_folder, watched
from ansible_collections.fleetops.airflow.plugins.module_utils._watch.watch import Limits

URL = "https://airflow.example:8443/base"


def test_one_api() -> None:
    (api,) = watched({"url": URL, "username": "u", "password": "p", "validate_certs": "no", "dag_ids": ["a"]}, {})
    options = api.options()
    assert (api.name, api.dag_ids) == ("airflow.example:8443", ["a"])
    assert {name: options[name] for name in ("url", "username", "password", "validate_certs", "api_version")} == {
        "url": URL,
        "username": "u",
        "password": "p",
        "validate_certs": False,
        "api_version": "auto",
    }
    assert options["timeout"] == 15.0


def test_many_with_what_they_have_in_common() -> None:
    apis = [{"name": "a", "url": URL}, {"name": "b", "url": URL, "username": "other", "password": "q"}]
    first, second = watched({"apis": apis, "username": "u", "password": "p", "timeout": "5", "interval": 5}, {})
    assert [first.options()["username"], second.options()["username"]] == ["u", "other"]
    assert first.options()["timeout"] == 5.0


def test_login_of_one_api_counts_before_that_of_all(tmp_path: Path) -> None:
    for_all, of_one = tmp_path / "all.json", tmp_path / "one.json"
    for_all.write_text(json.dumps({"username": "all", "password": "p"}))
    of_one.write_text(json.dumps({"username": "one", "password": "q"}))

    def login(common: dict[str, Any], **own: Any) -> list[Any]:
        (api,) = watched({"apis": [{"url": URL, **own}], **common}, {})
        return [api.options()[name] for name in ("username", "password", "token")]

    file, typed = {"login_file": str(for_all)}, {"username": "all", "password": "p"}
    assert login(file) == ["all", "p", None]
    assert login(file, username="own", password="r") == ["own", "r", None]
    assert login(file, token="t") == login(typed, token="t") == [None, None, "t"]
    for common in (file, typed, {"token": "t"}):
        assert login(common, login_file=str(of_one)) == ["one", "q", None]
    assert login(typed, password="r") == ["all", "r", None]


def test_the_environment_as_for_the_modules() -> None:
    environment = {"AIRFLOW_API_URL": URL, "AIRFLOW_API_USERNAME": "u", "AIRFLOW_API_PASSWORD": "p"}
    (api,) = watched({}, environment)
    assert [api.options()[name] for name in ("url", "username", "password")] == [URL, "u", "p"]


def test_a_login_file_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "login.json"
    file.write_text(json.dumps({"username": "u", "password": "p"}))
    (api,) = watched({"url": URL, "login_file": str(file)}, {"AIRFLOW_API_USERNAME": "other"})
    assert api.options()["password"] == "p"
    file.write_text(json.dumps({"token": "t"}))
    assert (api.options()["username"], api.options()["token"]) == (None, "t")
    for text in ("", "[]", '{"username": 1}', '{"user": "hush-hush"}'):
        file.write_text(text)
        with pytest.raises(AirflowError, match="login_file") as caught:
            api.options()
        assert "hush" not in str(caught.value)
    file.unlink()
    with pytest.raises(AirflowError, match="cannot be read: No such file"):
        api.options()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({}, "url is missing"),
        ({"apis": []}, "must be a list"),
        ({"apis": ["a"]}, "must be a list"),
        ({"apis": [{"url": URL}, {"url": URL}]}, "Two of the APIs are called"),
        ({"url": URL, "intervall": 5}, "airflow_events has intervall, and knows"),
        ({"apis": [{"url": URL, "user": "u"}]}, "apis has user"),
        ({"url": URL, "timeout": "soon"}, "timeout is 'soon'"),
        ({"url": URL, "validate_certs": "perhaps"}, "validate_certs is 'perhaps'"),
        ({"url": URL, "login_file": "/x", "token": "t"}, "are two logins"),
    ],
)
def test_what_cannot_be_right(args: dict[str, Any], said: str) -> None:
    with pytest.raises(AirflowError, match=said):
        watched(args, {})


def test_limits() -> None:
    assert limits({}) == Limits()
    given = {"interval": "5", "queued_after": 60, "running_after": 61.5, "unreachable_after": 0, "unhealthy_after": 1}
    assert limits(given) == Limits(5.0, 60.0, 61.5, 0.0, 1.0)
    mistakes: list[dict[str, Any]] = [{"interval": 0.5}, {"queued_after": -1}, {"running_after": "inf"}]
    for wrong in [*mistakes, {"unhealthy_after": []}]:
        with pytest.raises(AirflowError, match="must be a number of seconds"):
            limits(wrong)


def test_the_folder_for_what_is_known() -> None:
    assert state_folder({"state_folder": "/srv/x"}, {}) == "/srv/x"
    assert state_folder({}, {"XDG_STATE_HOME": "/srv"}) == "/srv/fleetops.airflow"
    assert state_folder({}, {}).endswith("/.local/state/fleetops.airflow")

# SPDX-License-Identifier: GPL-3.0-or-later
"""From options to an API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api.auth import NOBODY
from ansible_collections.fleetops.airflow.plugins.module_utils._api.connect import connect as connect_api
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

OPTIONS: dict[str, Any] = {
    "url": "http://h:8080/api/v1",
    "username": "ada",
    "password": "pw",
    "kerberos": False,
    "kerberos_hostname": None,
    "token": None,
    "headers": None,
    "api_version": "auto",
    "validate_certs": True,
    "ca_path": None,
    "client_cert": None,
    "client_key": None,
    "timeout": 30.0,
}


class TestConnect:
    def test_sends_nothing(self) -> None:
        api = connect_api(OPTIONS)
        assert api.base == "http://h:8080"
        assert api.logins.username == "ada"

    @pytest.mark.parametrize("name", ["username", "password", "token"])
    @pytest.mark.parametrize("value", ["s3cret\n", "\r\ns3cret", "s3cret\r", "s3cret\n ", " \ns3cret", "\n"])
    def test_line_break_at_an_end_of_a_login(self, name: str, value: str) -> None:
        login = {"username": None, "password": None} if name == "token" else {}
        with pytest.raises(AirflowError, match=f"^{name} begins or ends with a line break") as caught:
            connect_api({**OPTIONS, **login, name: value})
        assert "s3cret" not in str(caught.value)

    @pytest.mark.parametrize("name", ["username", "token"])
    @pytest.mark.parametrize("value", ["s3cret ", " s3cret", "s3cret\t", " "])
    def test_blank_at_an_end_of_a_login(self, name: str, value: str) -> None:
        login = {"username": None, "password": None} if name == "token" else {}
        with pytest.raises(AirflowError, match=f"^{name} begins or ends with a blank") as caught:
            connect_api({**OPTIONS, **login, name: value})
        assert "s3cret" not in str(caught.value)

    def test_password_may_end_with_a_blank(self) -> None:
        for password in ("pw ", " pw", "p w", " "):
            form = connect_api({**OPTIONS, "password": password}).logins.form
            assert form is not None
            assert form.has_blank_at_an_end is (password != "p w")

    @pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 1e10])
    def test_timeout_that_is_none(self, timeout: float) -> None:
        with pytest.raises(AirflowError, match="timeout is"):
            connect_api({**OPTIONS, "timeout": timeout})

    def test_username_with_a_colon_is_for_airflow_3(self) -> None:
        for generation in ("auto", "v2"):
            api = connect_api({**OPTIONS, "username": "team:deploy", "api_version": generation})
            assert api.dialect.generation == "v2"

    def test_empty_means_unset(self) -> None:
        options = {**OPTIONS, "username": "", "password": "", "ca_path": "", "client_cert": "", "client_key": ""}
        assert connect_api(options).logins is NOBODY

    @pytest.mark.parametrize(
        ("options", "hint"),
        [
            ({"timeout": 0.0}, "timeout"),
            ({"timeout": float("nan")}, "timeout"),
            ({"timeout": float("inf")}, "timeout"),
            ({"password": ""}, "belong together"),
            ({"username": None}, "belong together"),
            ({"kerberos": True}, "two logins"),
            ({"username": "", "password": "", "kerberos": True, "headers": {"Authorization": "x"}}, "headers holds"),
            ({"token": "abc"}, "token, and a username"),
            ({"headers": {"authorization": "x"}}, "headers holds Authorization"),
            ({"headers": {"X Y": "x"}}, "no name for a header"),
            ({"headers": {"X-Y": "a\r\nb"}}, "one line"),
            ({"headers": {"X-Y": [1]}}, "one line"),
            ({"ca_path": "/nonexistent/ca.pem"}, "ca_path"),
            ({"client_cert": "/nonexistent/cert.pem"}, "client_cert"),
        ],
    )
    def test_says_what_is_wrong(self, options: dict[str, Any], hint: str) -> None:
        with pytest.raises(AirflowError, match=hint):
            connect_api({**OPTIONS, **options})

    def test_a_key_with_a_passphrase_would_ask_for_it(self, tmp_path: Path) -> None:
        (tmp_path / "key.pem").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
        (tmp_path / "cert.pem").write_text("-----BEGIN CERTIFICATE-----\n")
        paths = {"client_cert": str(tmp_path / "cert.pem"), "client_key": str(tmp_path / "key.pem")}
        with pytest.raises(AirflowError, match="passphrase"):
            connect_api({**OPTIONS, **paths})

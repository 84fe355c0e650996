# SPDX-License-Identifier: GPL-3.0-or-later
"""Values with which Airflow would not start are refused without being quoted."""

from __future__ import annotations

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import Setting
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.values import validate_values
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

FILE = Cfg("[DEFAULT]\nroot = /x\n[webserver]\nname = y\n")


@pytest.mark.parametrize("option", ["web_server_port", "port", "smtp_port"])
@pytest.mark.parametrize("value", ["80800", "0", "-1", "abc", "²", "8080 x", "8080\n9090", "0x1F", "٨٠٨٠", "1e3"])
def test_port_that_is_none(option: str, value: str) -> None:
    with pytest.raises(AirflowError, match=r"a port: a number from 1 to 65535\. Nothing was changed") as error:
        validate_values([Setting("webserver", option, value)], FILE)
    assert value not in str(error.value).replace("1 to 65535", "") or value == "0"


@pytest.mark.parametrize(
    "value", ["http://[x", "http://localhost:8080/lüft", "localhost:8080", "http://", "http://a:99999"]
)
def test_url_that_is_none(value: str) -> None:
    with pytest.raises(AirflowError, match=r"\[webserver\] base_url: The value is not an http:// or https:// URL"):
        validate_values([Setting("webserver", "base_url", value)], FILE)


@pytest.mark.parametrize("value", ["a..b", "-x", "a b", "http://a", "b" * 64])
def test_host_that_is_none(value: str) -> None:
    with pytest.raises(AirflowError, match="the name or the address of a host"):
        validate_values([Setting("webserver", "web_server_host", value)], FILE)


@pytest.mark.parametrize(
    "value", ["50%off-s3cret", "postgresql://a:x%Very-s3cret@db/a", "s3cret%", "%", "a%%%b-s3cret", "%(s3cret", "%(x)d"]
)
def test_percent_sign_by_itself(value: str) -> None:
    with pytest.raises(AirflowError, match="Write %% for each percent sign that is meant") as error:
        validate_values([Setting("smtp", "smtp_password", value, secret=True)], FILE)
    assert "s3cret" not in str(error.value)


def test_reference_to_an_option_that_is_not_there() -> None:
    validate_values([Setting("webserver", "x", "%(name)s %(ROOT)s")], FILE)
    with pytest.raises(AirflowError, match=r"refers to the option nowhere, which \[webserver\] does not have"):
        validate_values([Setting("webserver", "x", "%(nowhere)s")], FILE)


@pytest.mark.parametrize("value", ["a\0b", "a\rb", "a\x1bb", "a\u2028b", "a\ud800b"])
def test_control_character(value: str) -> None:
    with pytest.raises(AirflowError, match="control character"):
        validate_values([Setting("core", "x", value)], FILE)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("web_server_port", "8080"),
        ("port", "65535"),
        ("port", "$PORT"),
        ("base_url", "https://airflow.example.com:8443/data/lake"),
        ("base_url", "http://[::1]:8080"),
        ("web_server_host", "0.0.0.0"),
        ("host", "::"),
        ("web_server_host", "web-1.example.com"),
        ("smtp_password", "50%%off %%(x)s"),
        ("x", "two\nlines\tand a tab, ünïcode"),
        ("x", ""),
        ("x", None),
    ],
)
def test_values_that_are_fine(option: str, value: str) -> None:
    validate_values([Setting("webserver", option, value)], FILE)

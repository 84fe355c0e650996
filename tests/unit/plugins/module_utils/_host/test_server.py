# SPDX-License-Identifier: GPL-3.0-or-later
"""What is worked out about a server from its arguments, its environment and its file."""

from __future__ import annotations

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._host.proc import Process
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import (
    Server,
    base_url,
    is_older_than,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import family_of

FILE = "[webserver]\nbase_url = http://localhost:8080\nweb_server_host = 0.0.0.0\nweb_server_port = 8080\n"


def server(arguments: str, environment: dict[str, str]) -> Server:
    words = ["/opt/airflow/bin/python", "/opt/airflow/bin/airflow", *arguments.split()]
    return Server(Process(7, 1, 1000.0, 0, words), environment, "/opt/airflow", "/opt/airflow/airflow.cfg")


@pytest.mark.parametrize(
    ("arguments", "environment", "text", "url"),
    [
        ("webserver", {}, FILE, "http://127.0.0.1:8080"),
        ("webserver", {}, "[core]\n", "http://127.0.0.1:8080"),
        ("webserver", {}, FILE.replace("port = 8080", "port = 9090"), "http://127.0.0.1:9090"),
        ("webserver", {"AIRFLOW__WEBSERVER__WEB_SERVER_PORT": "7070"}, FILE, "http://127.0.0.1:7070"),
        ("webserver -p 6060", {"AIRFLOW__WEBSERVER__WEB_SERVER_PORT": "7070"}, FILE, "http://127.0.0.1:6060"),
        ("webserver --port=6060 --hostname 10.0.0.5", {}, FILE, "http://10.0.0.5:6060"),
        ("webserver -H ::", {}, FILE, "http://127.0.0.1:8080"),
        ("webserver -H ::1", {}, FILE, "http://[::1]:8080"),
        ("webserver", {}, FILE.replace("localhost:8080", "airflow.example/data/"), "http://127.0.0.1:8080/data"),
        ("webserver", {}, FILE + "web_server_ssl_cert = /etc/x.pem\n", "https://127.0.0.1:8080"),
        ("webserver", {}, FILE.replace("port = 8080", "port = %(PORT)s"), "http://127.0.0.1:8080"),
    ],
)
def test_where_the_server_is(arguments: str, environment: dict[str, str], text: str, url: str) -> None:
    words = server(arguments, environment).process.arguments
    assert base_url(family_of("2.11.2"), Cfg(text), words, environment) == url


def test_a_file_alone_says_where_as_well() -> None:
    assert base_url(family_of("3.0.6"), Cfg("[api]\nport = 9090\n"), [], {}) == "http://127.0.0.1:9090"


@pytest.mark.parametrize(
    ("text", "environment", "url"),
    [
        ("[webserver]\nweb_server_port = 9090\n", {}, "http://127.0.0.1:9090"),
        ("[webserver]\nweb_server_port = 9090\n[api]\nport = 7070\n", {}, "http://127.0.0.1:7070"),
        ("[api]\nport = 7070\n", {"AIRFLOW__WEBSERVER__WEB_SERVER_PORT": "6060"}, "http://127.0.0.1:6060"),
        ("[webserver]\nbase_url = http://x.example.com/airflow\n", {}, "http://127.0.0.1:8080/airflow"),
        ("[api]\nport = $PORT\n", {"PORT": "5050"}, "http://127.0.0.1:5050"),
        ("[api]\nport = 80800\nbase_url = http://[x\nhost = a..b\n", {}, "http://127.0.0.1:8080"),
    ],
)
def test_address_by_former_names_expanded_and_spoiled(text: str, environment: dict[str, str], url: str) -> None:
    """What Airflow 3 reads in a file of Airflow 2, and what no value of the file keeps a task from repairing."""
    assert base_url(family_of("3.3.2"), Cfg(text), [], environment) == url


def test_age_allows_for_the_clock_tick() -> None:
    assert is_older_than(server("webserver", {}), 1000.5)
    assert not is_older_than(server("webserver", {}), 1000.01)
    assert not is_older_than(server("webserver", {}), 999.0)


def test_the_interpreter_is_that_of_the_script_or_of_the_process() -> None:
    assert server("webserver", {}).interpreter == "/opt/airflow/bin/python"

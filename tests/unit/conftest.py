# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers with scripted answers, an environment without proxies, and how hypothesis searches.

That is at random on a developer's machine, and the same way each time in continuous integration.
"""

from __future__ import annotations

import os
from typing import Iterator

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils import _errors
from hypothesis import settings
from unit.plugins.scripted_server import Server

# No deadline: a busy machine is slow, which says nothing about the code.
settings.register_profile("fleetops", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("fleetops")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def other_server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests() -> Iterator[None]:
    yield
    _errors.secrets.clear()

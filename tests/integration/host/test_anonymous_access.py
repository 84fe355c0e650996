# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that accepts requests without credentials accepts those with wrong ones too: it verifies no login.

Before 2.9 a public role does not do that: a request with a wrong password is rejected there.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from testbed.instance import Airflow
from testbed.runner import Ansible, ModuleResult
from testbed.running import running

AUTH, USER, INFO = (f"fleetops.airflow.airflow_{name}" for name in ("api_auth", "user", "api_auth_info"))
UNVERIFIED = "the server accepts the same request without credentials (anonymous access)"
BASIC = {"1.10": "airflow.contrib.auth.backends.password_auth", "2": "airflow.api.auth.backend.basic_auth"}
FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
# `make test-matrix` runs all: versions, the auth manager of 3.x, and whether anonymous requests are accepted.
ALL = [
    f"{server}{access}" for server in ("1.10.15", "2.2.5", "2.11.2", "3.3.2", "3.3.2 fab") for access in ("", " open")
]
SERVERS = ALL if "AIRFLOW_ACCESS" in os.environ else ["2.11.2 open", "3.3.2 open"]


def set_up(airflow: Airflow, fab: bool, anonymous: bool) -> None:
    """As the documentation of Airflow says, and with passwords accepted where that is possible at the same time."""
    generation = airflow.installation.release.generation
    text = airflow.cfg.read_text()
    if generation == "3":
        options = {"auth_manager": FAB} if fab else {"simple_auth_manager_all_admins": str(anonymous)}
        for option, value in options.items():
            text = re.sub(rf"(?m)^{option} *=.*\n", "", text).replace("[core]\n", f"[core]\n{option} = {value}\n", 1)
        if fab and anonymous:
            text = re.sub(r"(?m)^auth_role_public *=.*\n", "", text)
            text = text if "[fab]\n" in text else f"{text}\n[fab]\n"
            text = text.replace("[fab]\n", "[fab]\nauth_role_public = Admin\n", 1)
        airflow.cfg.write_text(text)
        return
    backend = "airflow.api.auth.backend.default" if anonymous and generation == "1.10" else BASIC[generation]
    lines = [line for line in text.splitlines() if line.startswith(("auth_backend =", "auth_backends ="))]
    airflow.cfg.write_text(text.replace(lines[0], lines[0].partition("=")[0] + "= " + backend))
    if anonymous and generation == "2":
        with open(airflow.home / "webserver_config.py", "a", encoding="utf-8") as file:
            file.write("AUTH_ROLE_PUBLIC = 'Admin'\n")


@pytest.fixture(scope="module", params=SERVERS)
def airflow(request: pytest.FixtureRequest) -> Iterator[Airflow]:
    version, *words = request.param.split()

    def prepare(airflow: Airflow) -> None:
        set_up(airflow, "fab" in words, "open" in words)

    with running(version, server_only=True, before_start=prepare) as airflow:
        yield airflow


def accepts(airflow: Airflow, username: str, password: str) -> bool:
    """Whether the API accepts this login, or anybody's."""
    generation = airflow.installation.release.generation
    headers, data = {"Content-Type": "application/json"}, None
    if generation == "3":
        path, data = "/auth/token", json.dumps({"username": username, "password": password}).encode()
    else:
        path = {"1.10": "/api/experimental/test", "2": "/api/v1/dags?limit=1"}[generation]
        headers["Authorization"] = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
    try:
        with urllib.request.urlopen(urllib.request.Request(airflow.url + path, data, headers), timeout=60):
            return True
    except urllib.error.HTTPError as error:
        assert error.code in (401, 403), error
        return False


def names_in_database(airflow: Airflow) -> list[str]:
    table = "users" if airflow.installation.release.generation == "1.10" else "ab_user"
    with closing(sqlite3.connect(next(airflow.home.glob("*.db")))) as database:
        return [name for (name,) in database.execute(f"select username from {table}")]


def is_simple(airflow: Airflow) -> bool:
    return airflow.installation.release.generation == "3" and FAB not in airflow.cfg.read_text()


def backends(airflow: Airflow) -> dict[str, Any]:
    generation = airflow.installation.release.generation
    wanted: dict[str, Any] = {"backends": ["basic_auth"]}
    if generation == "3":
        wanted = {"auth_manager": "simple" if is_simple(airflow) else "fab"}
    return {**wanted, "airflow_home": str(airflow.home)}


@pytest.mark.parametrize("username", ["admin", "nobody-at-all"])
def test_wrong_password_is_not_reported_as_right(ansible: Ansible, airflow: Airflow, username: str) -> None:
    before = airflow.cfg.read_bytes()
    verifies = not accepts(airflow, "nobody-at-all", "x")
    if airflow.installation.release.generation == "1.10" and not verifies:
        pytest.skip("the backend default takes no passwords, so that none is to be verified")
    done = ansible.module(AUTH, {**backends(airflow), "username": username, "password": "wr0ng-one"})
    assert done.failed, done.output
    assert (UNVERIFIED in done.msg) is not verifies, done.msg
    assert airflow.cfg.read_bytes() == before
    info = ansible.module(INFO, {"airflow_home": str(airflow.home)}).result
    if not verifies:
        assert info["open_to_everybody"] is True
        assert "without a password" in " ".join(info["warnings_found"])


@pytest.mark.parametrize("trust", [False, True])
def test_user_is_made_and_its_password_is_changed(ansible: Ansible, airflow: Airflow, trust: bool) -> None:
    verifies = not accepts(airflow, "nobody-at-all", "x")
    if is_simple(airflow) and not verifies:
        pytest.skip("the simple auth manager that makes everybody an admin has no users to make")
    username = f"deployer-{trust}".lower()
    args: dict[str, Any] = {"username": username, "airflow_home": str(airflow.home), "trust_login": trust}
    if airflow.installation.release.generation != "1.10":
        args["roles"] = ["user" if is_simple(airflow) else "User"]

    def run(password: str) -> ModuleResult:
        done = ansible.module(USER, {**args, "password": password})
        assert not done.failed, done.output
        assert done.result["login_proved"] is verifies, done.output
        assert accepts(airflow, username, password)
        return done

    done = run("first-password")
    assert done.result["created"] is True
    assert is_simple(airflow) or username in names_in_database(airflow)
    rotated = run("second-password")
    assert (rotated.result["created"], rotated.result["password_changed"]) == (False, True)
    assert accepts(airflow, username, "first-password") is not verifies
    assert run("second-password").changed is False


def beside_single_sign_on(airflow: Airflow) -> None:
    with open(airflow.home / "webserver_config.py", "a", encoding="utf-8") as file:
        file.write("from flask_appbuilder.security.manager import AUTH_REMOTE_USER\nAUTH_TYPE = AUTH_REMOTE_USER\n")


def test_user_of_the_database_beside_single_sign_on(ansible: Ansible) -> None:
    with running("2.11.2", server_only=True, before_start=beside_single_sign_on) as airflow:
        airflow.set_backends("airflow.api.auth.backend.basic_auth,airflow.api.auth.backend.session")
        args = {"username": "ci", "password": "ci-pw-1", "airflow_home": str(airflow.home)}
        done = ansible.module(USER, {**args, "roles": ["User"]})
        assert (done.result.get("created"), done.result.get("login_proved")) == (True, True), done.output
        assert "WARN" not in done.output
        airflow.supervisor.stop(airflow.server_program)
        args["airflow_executable"] = str(airflow.executable)
        done = ansible.module(USER, {**args, "password": "ci-pw-2"})
        assert (done.result.get("password_changed"), done.result.get("login_proved")) == (True, False), done.output
        assert "AUTH_REMOTE_USER" in done.output
        del args["password"]
        done = ansible.module(USER, {**args, "state": "absent"})
        assert done.result.get("removed"), done.output

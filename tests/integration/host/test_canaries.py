# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of odd spellings, through the modules, with failures provoked at each step: none is shown, however a program
writes it.

The server is the stand-in, and the restart command a stub that prints what it finds: no real one prints so much.
Airflow's own Python, which tries the imports and the users, is the real one. 200 more spellings are in the unit tests
of masking.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from testbed.instance import Airflow
from testbed.runner import Ansible, ModuleResult

pytestmark = pytest.mark.story
CONFIG, AUTH, USER = (f"fleetops.airflow.airflow_{name}" for name in ("config", "api_auth", "user"))
# Each with the pieces that must not be seen.
CANARIES = {
    "x%%Very-Secret-Pass": ["Very-Secret"],
    "--leading-canary": ["leading-canary"],
    "{% raw %}{{ canary_lookup }}{% endraw %}": ["canary_lookup"],
    "two-lines-canary\nsecond-line-canary": ["two-lines", "second-line"],
    "quotes\"and'canary": ["and'canary", "quotes"],
    "ünïcode-canary-日本語": ["ünïcode-canary", "日本語"],
    "back\\slash-canary": ["slash-canary"],
    "postgresql://airflow:x%%40conn-canary@db/airflow": ["conn-canary"],
}
REFUSED = {"50%off-canary": ["off-canary"], "postgresql://airflow:x%Very-Secret@db/a": ["Very-Secret"]}


@pytest.fixture(scope="module")
def server(fake: Airflow) -> Airflow:
    return fake


@pytest.fixture
def kept(server: Airflow) -> Iterator[Airflow]:
    """airflow.cfg is as it was afterwards: what was provoked has failed."""
    before = server.cfg.read_bytes()
    yield server
    assert server.cfg.read_bytes() == before
    assert server.healthy()


def assert_unseen(done: ModuleResult, pieces: list[str], airflow: Airflow) -> None:
    shown = done.output + str(done.result)
    found = [piece for piece in pieces if piece in shown or unquote(piece) in shown]
    assert not found, done.output
    # What ansible-test leaves there while it runs beside this test is not of this task.
    for path in set(Path(tempfile.gettempdir()).glob("ansible*")) - set(
        Path(tempfile.gettempdir()).glob("ansible-test*")
    ):
        for file in path.rglob("*") if path.is_dir() else [path]:
            assert not file.is_file() or not [p for p in pieces if p.encode() in file.read_bytes()], file
    leftovers = [path.name for path in airflow.home.iterdir() if "fleetops" in path.name]
    assert not leftovers


def smtp(value: str, **more: Any) -> dict[str, Any]:
    return {"settings": {"smtp": {"smtp_password": value}, "core": {"parallelism": 7}}, **more}


@pytest.mark.parametrize("secret", CANARIES)
def test_restart_that_prints_everything(ansible: Ansible, kept: Airflow, secret: str) -> None:
    """The new file is quoted by what fails, in several ways."""
    program = (
        "import configparser, json, sys; text = open(sys.argv[1]).read(); print(text); print(repr(text)); "
        "parser = configparser.ConfigParser(strict=False); parser.read_string(text); "
        "print(json.dumps(dict(parser['smtp']))); sys.exit(3)"
    )
    args = smtp(secret, airflow_home=str(kept.home), restart_command=f'python3 -c "{program}" {kept.cfg}')
    done = ansible.module(CONFIG, args, verbosity=3, diff=True)
    assert done.failed, done.output
    assert "restart_command ended with status 3" in done.msg
    assert "was rolled back, but the server did not recover" in done.msg  # the command fails then too
    assert_unseen(done, CANARIES[secret], kept)


@pytest.mark.parametrize("secret", REFUSED)
@pytest.mark.parametrize("check", [True, False], ids=["check mode", "for real"])
def test_value_that_airflow_cannot_read(ansible: Ansible, kept: Airflow, secret: str, check: bool) -> None:
    args = smtp(secret, airflow_home=str(kept.home))
    done = ansible.module(CONFIG, args, verbosity=3, diff=True, check=check)
    assert done.failed, done.output
    assert "[smtp] smtp_password: The value holds a percent sign by itself" in done.msg
    assert_unseen(done, REFUSED[secret], kept)


@pytest.mark.parametrize(
    "settings",
    [
        {"smtp_password": "hunter2-canary"},
        {"smtp": [{"smtp_password": "hunter2-canary"}]},
        {"smtp": {"smtp_password": ["hunter2-canary"]}},
        {"smtp": {"smtp_password": {"value": "hunter2-canary"}}},
        {"smtp": {"smtp_password_file": {"password": "hunter2-canary"}}},
        {"hidden": ["hunter2-canary"]},
    ],
)
def test_settings_that_are_nested_wrongly(ansible: Ansible, kept: Airflow, settings: dict[str, Any]) -> None:
    args = {"settings": settings, "airflow_home": str(kept.home), "restart": "never"}
    done = ansible.module(CONFIG, args, verbosity=3, diff=True)
    assert done.failed, done.output
    assert_unseen(done, ["hunter2"], kept)


@pytest.mark.parametrize("password", ["wrong%40p@ss:canary", "ünïcode-canary"])
def test_login_that_is_rejected(ansible: Ansible, kept: Airflow, password: str) -> None:
    args = {"backends": ["basic_auth", "session"], "username": "admin", "password": password}
    done = ansible.module(AUTH, {**args, "airflow_home": str(kept.home)}, verbosity=3)
    assert done.failed, done.output
    assert_unseen(done, ["canary"], kept)


def test_backend_whose_import_prints_what_it_finds(ansible: Ansible, kept: Airflow) -> None:
    plugins = kept.home / "plugins"
    plugins.mkdir(exist_ok=True)
    (plugins / "canary").mkdir()
    backend = plugins / "canary/backend.py"
    backend.write_text("from airflow.configuration import conf\nraise ImportError(conf.get('smtp', 'smtp_password'))\n")
    args = {"settings": {"smtp": {"smtp_password": "x%%Very-canary"}}, "airflow_home": str(kept.home)}
    before = kept.cfg.read_bytes()
    try:
        assert ansible.module(CONFIG, {**args, "restart": "never"}).changed
        done = ansible.module(AUTH, {"backends": ["canary.backend"], "airflow_home": str(kept.home)}, verbosity=3)
        assert done.failed, done.output
        assert "cannot import canary.backend" in done.msg
        assert_unseen(done, ["Very-canary"], kept)
    finally:
        shutil.rmtree(backend.parent)
        kept.cfg.write_bytes(before)


@pytest.mark.parametrize(
    "url", ["postgresql//airflow:dbpass-canary@db/airflow", "x://airflow:dbpass-canary@db/airflow"]
)
def test_database_url_that_airflow_rejects(ansible: Ansible, kept: Airflow, url: str) -> None:
    before = kept.cfg.read_bytes()
    text = before.decode()
    old = next(line for line in text.splitlines() if line.startswith("sql_alchemy_conn"))
    try:
        kept.cfg.write_text(text.replace(old, f"sql_alchemy_conn = {url}"))
        args = {"username": "deployer", "password": "user-canary", "roles": ["User"], "airflow_home": str(kept.home)}
        done = ansible.module(USER, args, verbosity=3)
        assert done.failed, done.output
        assert "could not look after user deployer" in done.msg
        assert_unseen(done, ["dbpass", "user-canary"], kept)
    finally:
        kept.cfg.write_bytes(before)


@pytest.mark.parametrize("module", ["airflow_dag_trigger", "airflow_api_info"])
@pytest.mark.parametrize("secret", [one for one in CANARIES if "\n" not in one])
def test_login_over_the_api_that_is_rejected(ansible: Ansible, kept: Airflow, module: str, secret: str) -> None:
    args: dict[str, Any] = {"url": kept.url, "api_version": "v1", "headers": {"X-Key": secret + "-header"}}
    args.update({"dag_id": "hello"} if module == "airflow_dag_trigger" else {})
    for login in ({"username": "admin", "password": secret}, {"token": secret}):
        if "token" in login and not secret.isascii():
            continue  # a token is ASCII
        done = ansible.module(f"fleetops.airflow.{module}", {**args, **login}, verbosity=3)
        assert done.failed or module == "airflow_api_info", done.output  # which reports a rejection as its result
        assert_unseen(done, CANARIES[secret], kept)

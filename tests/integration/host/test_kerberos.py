# SPDX-License-Identifier: GPL-3.0-or-later
"""Kerberos with a real KDC, real keytabs, real tickets and a real Airflow that takes them."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._host.keytab import entries
from testbed import releases
from testbed.instance import Airflow, free_port
from testbed.kdc import REALM, Kdc
from testbed.runner import Ansible, ModuleResult
from testbed.running import running

API_AUTH = "fleetops.airflow.airflow_api_auth"
TRIGGER = "fleetops.airflow.airflow_dag_trigger"
BACKENDS = ["kerberos_auth", "session"]
USER = f"ada@{REALM}"  # Airflow's name for the user is the whole principal
NOBODY = 65534
# With a ticket for airflow/HOST, or without one; prints the status.
ASK = """
import sys, requests
from requests_kerberos import OPTIONAL, HTTPKerberosAuth
url, host = sys.argv[1:]
auth = HTTPKerberosAuth(OPTIONAL, "airflow", force_preemptive=True, hostname_override=host) if host else None
print(requests.get(url + "/api/v1/dags?limit=1", auth=auth, timeout=30).status_code)
"""


@pytest.fixture(scope="module")
def kdc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kdc]:
    kdc = Kdc(tmp_path_factory.mktemp("kdc"))
    kdc.prepare()
    with kdc.running():
        kdc.add("ada", "airflow/elsewhere.example.com")
        yield kdc


@pytest.fixture(scope="module")
def airflow(kdc: Kdc) -> Iterator[Airflow]:
    """Airflow with its Kerberos packages, as it comes: it takes no tickets. ``ada`` is one of its users."""

    def add_ada(airflow: Airflow) -> None:
        names = ("--firstname", "Ada", "--lastname", "Testbed", "--email", "ada@example.com")
        made = airflow.cli("users", "create", "--username", USER, "--role", "Op", *names, "--use-random-password")
        assert made.returncode == 0, made.stderr

    environment = kdc.environment
    with running(releases.KERBEROS, server_only=True, environment=environment, before_start=add_ada) as airflow:
        yield airflow


@pytest.fixture(scope="module")
def host(airflow: Airflow, kdc: Kdc) -> str:
    """What Airflow takes for the name of its host; there is a principal for it."""
    program = "from airflow.utils.net import getfqdn; print(getfqdn())"
    done = subprocess.run([airflow.python, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    name = done.stdout.splitlines()[-1].lower()
    kdc.add(f"airflow/{name}")
    return name


@pytest.fixture(scope="module")
def keytab(kdc: Kdc, host: str) -> Path:
    return kdc.keytab("airflow.keytab", "airflow/elsewhere.example.com", f"airflow/{host}")


@pytest.fixture(scope="module")
def ticket(kdc: Kdc) -> dict[str, str]:
    """The environment of somebody who is logged in to Kerberos as ada."""
    cache = kdc.ticket("ada", kdc.keytab("ada.keytab", "ada"))
    return {**kdc.environment, "KRB5CCNAME": f"FILE:{cache}"}


def ask(airflow: Airflow, host: str = "", env: dict[str, str] | None = None) -> int:
    command = [str(airflow.python), "-c", ASK, airflow.url, host]
    done = subprocess.run(command, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout)


def said_by_klist(keytab: Path) -> list[tuple[str, int]]:
    said = subprocess.run(["klist", "-k", str(keytab)], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [(principal, int(kvno)) for kvno, principal in re.findall(r"(?m)^ *(\d+) (\S+)", said)]


def test_keytabs_of_real_programs_are_read_as_klist_reads_them(kdc: Kdc, tmp_path: Path) -> None:
    kdc.add("bob", "HTTP/web1.example.com")
    one = kdc.keytab("one.keytab", "bob", "HTTP/web1.example.com")
    holes, merged = tmp_path / "holes.keytab", tmp_path / "merged.keytab"
    holes.write_bytes(one.read_bytes())
    kdc.remove_from(holes, "bob")  # leaves holes
    kdc.ktutil(f"rkt {one}", "delent 1", f"wkt {merged}")
    kdc.ktutil(
        "addent -password -p high@OTHER.EXAMPLE -k 4711 -e aes256-cts-hmac-sha1-96",
        "a password",
        f"wkt {merged}",
    )
    for path in (one, holes, merged):
        found = [(entry.principal, entry.kvno) for entry in entries(path.read_bytes())]
        assert found == said_by_klist(path)
    assert ("high@OTHER.EXAMPLE", 4711) in found
    assert {principal for principal, _kvno in said_by_klist(holes)} == {f"HTTP/web1.example.com@{REALM}"}


@pytest.mark.parametrize(
    ("kerberos", "said"),
    [
        ({"keytab": "{folder}/elsewhere.keytab"}, "has no key of airflow/{host},"),
        ({"keytab": "{folder}/airflow.keytab", "keytap": "x"}, r"no option keytap in \[kerberos\]. Is keytab meant"),
        (None, "The keytab airflow.keytab is a relative path"),
    ],
)
@pytest.mark.usefixtures("keytab")
def test_without_a_keytab_that_serves_nothing_is_changed(
    ansible: Ansible, airflow: Airflow, kdc: Kdc, host: str, kerberos: dict[str, str] | None, said: str
) -> None:
    kdc.keytab("elsewhere.keytab", "airflow/elsewhere.example.com")
    before, pid = airflow.cfg.read_bytes(), airflow.webserver_pid()
    options = {name: value.format(folder=kdc.folder) for name, value in kerberos.items()} if kerberos else None
    done = ansible.module(
        API_AUTH, {"airflow_home": str(airflow.home), "backends": BACKENDS, "kerberos": options}, check=bool(kerberos)
    )
    assert done.failed, done.output
    assert re.search(said.replace("{host}", re.escape(host)), done.msg), done.msg
    assert airflow.cfg.read_bytes() == before
    assert airflow.webserver_pid() == pid


def test_from_refused_to_a_ticket_taken(
    ansible: Ansible, airflow: Airflow, host: str, keytab: Path, ticket: dict[str, str]
) -> None:
    assert ask(airflow, host, ticket) == 401
    args = {"airflow_home": str(airflow.home), "backends": BACKENDS, "kerberos": {"keytab": str(keytab)}}
    done = ansible.module(API_AUTH, args, diff=True)
    assert done.changed, done.output
    assert done.result["restarted"] is True
    assert f"[kerberos]\nkeytab = {keytab}\n" in done.result["diff"]["after"]
    assert ask(airflow, host, ticket) == 200
    assert ask(airflow) == 401

    again = ansible.module(API_AUTH, args)
    assert (again.changed, again.failed) == (False, False), again.output
    info = ansible.module("fleetops.airflow.airflow_api_auth_info", {"airflow_home": str(airflow.home)})
    assert info.result["kerberos"] == {
        "keytab": str(keytab),
        "source": "file",
        "principals": [f"airflow/elsewhere.example.com@{REALM}", f"airflow/{host}@{REALM}"],
        "problem": None,
    }


def test_a_keytab_that_is_gone_is_told_though_the_file_is_right(
    ansible: Ansible, airflow: Airflow, keytab: Path
) -> None:
    args = {"airflow_home": str(airflow.home), "backends": BACKENDS, "kerberos": {"keytab": str(keytab)}}
    assert not ansible.module(API_AUTH, args).changed
    away = keytab.rename(keytab.with_suffix(".away"))
    try:
        done = ansible.module(API_AUTH, args)
        info = ansible.module("fleetops.airflow.airflow_api_auth_info", {"airflow_home": str(airflow.home)})
    finally:
        away.rename(keytab)
    assert f"The keytab {keytab} cannot be read: No such file or directory" in done.msg
    assert "No such file or directory" in info.result["kerberos"]["problem"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a task for the files of another user")
def test_the_servers_user_has_to_be_able_to_read_it(
    ansible: Ansible, airflow: Airflow, keytab: Path, tmp_path: Path
) -> None:
    """Where no server runs, its user is the owner of the file."""
    cfg = tmp_path / "airflow.cfg"
    cfg.write_bytes(airflow.cfg.read_bytes())
    os.chown(cfg, NOBODY, NOBODY)
    args: dict[str, Any] = {
        "path": str(cfg),
        "airflow_version": airflow.version,
        "backends": BACKENDS,
        "kerberos": {"keytab": str(keytab)},
        "restart": "never",
        "url": f"http://127.0.0.1:{free_port()}",  # at the default port there might be another Airflow
    }
    done = ansible.module(API_AUTH, args)
    assert re.search(f"{keytab} cannot be read by the user nobody, as whom the server runs", done.msg), done.output
    readable = Path(tempfile.mkdtemp(prefix="keytab-")) / "airflow.keytab"
    try:
        readable.parent.chmod(0o711)
        readable.write_bytes(keytab.read_bytes())
        os.chown(readable, NOBODY, NOBODY)
        readable.chmod(0o400)
        done = ansible.module(API_AUTH, {**args, "kerberos": {"keytab": str(readable)}}, check=True)
        assert not done.failed, done.output
    finally:
        readable.unlink()
        readable.parent.rmdir()


LIBRARIES = {"requests-gssapi": "requests_kerberos", "requests-kerberos": "requests_gssapi"}  # one, and the other


@pytest.fixture(params=LIBRARIES)
def python_path(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The environment in which only one of the two libraries can be imported; both are installed."""
    (tmp_path / f"{LIBRARIES[request.param]}.py").write_text("raise ImportError('hidden by the test')\n")
    return {"PYTHONPATH": str(tmp_path)}


@pytest.fixture(scope="module")
def taking_tickets(airflow: Airflow, ansible: Ansible, keytab: Path) -> Airflow:
    """The same Airflow with kerberos_auth in force, and with the testbed's DAGs."""
    args = {"airflow_home": str(airflow.home), "backends": BACKENDS, "kerberos": {"keytab": str(keytab)}}
    done = ansible.module(API_AUTH, args)
    assert not done.failed, done.output
    assert airflow.cli("dags", "reserialize").returncode == 0  # no scheduler runs, which would parse them
    return airflow


def trigger(ansible: Ansible, airflow: Airflow, host: str, env: dict[str, str], **options: Any) -> ModuleResult:
    args = {"url": airflow.url, "kerberos": True, "kerberos_hostname": host, "dag_id": "hello", **options}
    return ansible.module(TRIGGER, {"if_paused": "trigger", **args}, env=env, python=airflow.python)


def test_a_trigger_with_a_ticket(
    ansible: Ansible, taking_tickets: Airflow, host: str, ticket: dict[str, str], python_path: dict[str, str]
) -> None:
    run_id = f"with-{Path(python_path['PYTHONPATH']).name}"
    env = {**ticket, **python_path}
    did = trigger(ansible, taking_tickets, host, env, run_id=run_id, conf={"a": 1})
    assert did.changed, did.output
    assert (did.result["dag_run"]["run_id"], did.result["dag_run"]["conf"]) == (run_id, {"a": 1})
    again = trigger(ansible, taking_tickets, host, env, run_id=run_id)
    assert (again.changed, again.failed) == (False, False), again.output


def test_a_ticket_by_a_client_keytab(
    ansible: Ansible, taking_tickets: Airflow, kdc: Kdc, host: str, tmp_path: Path
) -> None:
    keytab = kdc.keytab("ada.keytab", "ada")
    env = {
        **kdc.environment,
        "KRB5CCNAME": f"FILE:{tmp_path}/made-on-the-way",
        "KRB5_CLIENT_KTNAME": f"FILE:{keytab}",
    }
    done = trigger(ansible, taking_tickets, host, env)
    assert done.changed, done.output


def test_what_refused_tickets_tell(
    ansible: Ansible, taking_tickets: Airflow, kdc: Kdc, host: str, ticket: dict[str, str]
) -> None:
    unknown = trigger(ansible, taking_tickets, "localhost.example.com", ticket)
    assert "no ticket for airflow/localhost.example.com" in unknown.msg, unknown.output
    assert "correct kerberos_hostname" in unknown.result["diagnosis"]["remedy"]

    none = trigger(ansible, taking_tickets, host, {**ticket, "KRB5CCNAME": "FILE:/nowhere/ticket"})
    assert f"no ticket for airflow/{host} could be had" in none.msg, none.output
    assert "Run kinit" in none.result["diagnosis"]["remedy"]

    kdc.add("airflow/another.example.com")
    another = trigger(ansible, taking_tickets, "another.example.com", ticket)
    assert another.result["diagnosis"]["http_status"] == 401, another.output
    assert "has no key of airflow/another.example.com" in another.msg

    kdc.add("eve")
    cache = kdc.ticket("eve", kdc.keytab("eve.keytab", "eve"))
    eve = trigger(ansible, taking_tickets, host, {**ticket, "KRB5CCNAME": f"FILE:{cache}"})
    assert eve.result["diagnosis"]["http_status"] == 500, eve.output
    assert "no user of Airflow is called like the whole principal" in eve.msg


def test_without_a_library_it_says_which_are_needed(
    ansible: Ansible, taking_tickets: Airflow, host: str, ticket: dict[str, str], tmp_path: Path
) -> None:
    for module in LIBRARIES.values():
        (tmp_path / f"{module}.py").write_text("raise ImportError('hidden by the test')\n")
    done = trigger(ansible, taking_tickets, host, {**ticket, "PYTHONPATH": str(tmp_path)})
    assert "kerberos needs the Python library requests-gssapi or requests-kerberos" in done.msg, done.output

# SPDX-License-Identifier: GPL-3.0-or-later
"""Which keytab a server uses. What it needs of one is shown in tests/integration/host/test_kerberos.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host
from ansible_collections.fleetops.airflow.plugins.module_utils._host.kerberos import (
    Keytab,
    check,
    keytab_of,
    path_of,
    validate_keytab_variable,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import family_of, kerberos_backend
from unit.plugins import hosts
from unit.plugins.module_utils._host.test_keytab import entry, keytab


def host(**environment: str) -> Host:
    return hosts.host(servers=[hosts.server(environment=environment)])


def cfg(text: str) -> Cfg:
    return Cfg.from_bytes(text.encode(), "airflow.cfg")


IN_FILE = cfg("[kerberos]\nkeytab = /etc/airflow.keytab\n")


@pytest.mark.parametrize(
    ("environment", "file", "expected"),
    [
        ({}, IN_FILE, Keytab("/etc/airflow.keytab", "file")),
        ({}, cfg("[core]\n"), Keytab("airflow.keytab", "default")),
        ({"AIRFLOW__KERBEROS__KEYTAB": "/a"}, IN_FILE, Keytab("/a", "environment")),
        ({"K": "/etc/k", "HOME": "/srv"}, cfg("[kerberos]\nkeytab = $K/a\n"), Keytab("/etc/k/a", "file")),
        ({"HOME": "/srv"}, cfg("[kerberos]\nkeytab = ~/a\n"), Keytab("/srv/a", "file")),
        ({"AIRFLOW__KERBEROS__KEYTAB": "~/a", "HOME": "/srv"}, IN_FILE, Keytab("/srv/a", "environment")),
        ({"AIRFLOW__KERBEROS__KEYTAB": "/a", "KRB5_KTNAME": "FILE:/b"}, IN_FILE, Keytab("FILE:/b", "environment")),
    ],
)
def test_what_names_the_keytab(environment: dict[str, str], file: Cfg, expected: Keytab) -> None:
    assert keytab_of(host(**environment), file) == expected


@pytest.mark.parametrize(
    ("name", "path"),
    [("/a/b", "/a/b"), ("FILE:/a/b", "/a/b"), ("WRFILE:/a", "/a"), ("/odd:/name", "/odd:/name"), ("MEMORY:x", None)],
)
def test_the_file_in_its_name(name: str, path: str | None) -> None:
    assert path_of(Keytab(name, "file")) == path


def test_a_variable_that_names_another_keytab_is_told() -> None:
    with pytest.raises(AirflowError, match=r"KRB5_KTNAME=FILE:/b in the environment of the server \(pid 7\)") as caught:
        validate_keytab_variable(host(KRB5_KTNAME="FILE:/b"), {"keytab": "/a"})
    assert caught.value.details == {"overridden_by": "KRB5_KTNAME"}
    validate_keytab_variable(host(KRB5_KTNAME="FILE:/a"), {"keytab": "/a"})
    validate_keytab_variable(host(KRB5_KTNAME="FILE:/b"), {"ccache": "/c"})
    validate_keytab_variable(host(), {"keytab": "/a"})


def test_the_backend_by_either_of_its_paths() -> None:
    family = family_of("2.11.2")
    fab = "airflow.providers.fab.auth_manager.api.auth.backend.kerberos_auth"
    assert kerberos_backend(family, [family.backends["session"], fab]) == fab
    assert kerberos_backend(family, [family.backends["kerberos_auth"]]) == family.backends["kerberos_auth"]
    assert kerberos_backend(family, [family.backends["session"], "mine.kerberos_auth"]) is None
    assert kerberos_backend(family_of("3.0.6"), [family.backends["session"]]) is None


def served(tmp_path: Path, keytab: bytes | None) -> tuple[Host, Cfg, Path]:
    """A host whose file names this keytab."""
    path = tmp_path / "airflow.keytab"
    if keytab is not None:
        path.write_bytes(keytab)
        path.chmod(0o400)
    file = tmp_path / "airflow.cfg"
    file.write_text(f"[kerberos]\nkeytab = {path}\n")
    found = hosts.host(home=str(tmp_path), servers=[], real_path=str(file))
    return found, Cfg.from_bytes(file.read_bytes(), str(file)), path


SERVICE = keytab(entry("airflow", "web1.example.com"))


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"[libdefaults]\n", "is no keytab. Make it anew"),
        (SERVICE[:-1], "is a damaged keytab"),
        (keytab(entry("ada")), r"has no key of airflow/HOST, .* It has keys of ada@EXAMPLE.COM"),
        (keytab(), "It has keys of nobody"),
    ],
)
def test_a_keytab_that_does_not_serve(tmp_path: Path, held: bytes | None, said: str) -> None:
    found, file, _path = served(tmp_path, held)
    with pytest.raises(AirflowError, match=said):
        check(found, file, None, pytest.fail)


def test_one_that_serves(tmp_path: Path) -> None:
    found, file, path = served(tmp_path, SERVICE)
    check(found, file, None, pytest.fail)
    warnings: list[str] = []
    path.chmod(0o444)
    check(found, file, None, warnings.append)
    assert "Every user of this host may read" in warnings[0]


def test_the_hosts_name_that_webserver_config_sets(tmp_path: Path) -> None:
    found, file, _path = served(tmp_path, SERVICE)
    found = found._replace(interpreter="/not/to/be/asked")
    config = tmp_path / "webserver_config.py"
    config.write_text("SERVER_NAME = 'Web1.example.com'\n")
    check(found, file, "a.backend", pytest.fail)
    config.write_text("SERVER_NAME = 'web2.example.com'\n")
    with pytest.raises(AirflowError, match=r"has no key of airflow/web2\.example\.com"):
        check(found, file, "a.backend", pytest.fail)

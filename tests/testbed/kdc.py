# SPDX-License-Identifier: GPL-3.0-or-later
"""A real MIT Kerberos on loopback, with a realm, a folder and a configuration of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.errors import MissingProgram, TestbedError
from testbed.instance import free_port

REALM = "TESTBED.EXAMPLE"
_PROGRAMS = ("krb5kdc", "kdb5_util", "kadmin.local", "kinit", "ktutil")


class Kdc:
    """A KDC whose files, keytabs included, lie in ``folder``.

    ``environment`` is what programs need to find it, and nothing else of Kerberos on this machine. Raises
    MissingProgram where MIT Kerberos is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Debian has the servers' programs where only root's PATH leads.
        self._path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
        missing = [name for name in _PROGRAMS if not shutil.which(name, path=self._path)]
        if missing:
            raise MissingProgram(f"MIT Kerberos is needed, and there is no {', '.join(missing)} (see packages.txt)")
        self.environment = {
            "KRB5_CONFIG": str(folder / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(folder / "kdc.conf"),
            "KRB5RCACHEDIR": str(folder),
        }

    def prepare(self) -> None:
        """Make realm and database."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._port = free_port()
        (self.folder / "krb5.conf").write_text(f"""\
[libdefaults]
    default_realm = {REALM}
    default_ccache_name = FILE:{self.folder}/no-ticket
    default_keytab_name = FILE:{self.folder}/no-keytab
    dns_canonicalize_hostname = false
    dns_lookup_kdc = false
    dns_lookup_realm = false
    rdns = false
    udp_preference_limit = 1
[realms]
    {REALM} = {{
        kdc = 127.0.0.1:{self._port}
    }}
""")
        (self.folder / "kdc.conf").write_text(f"""\
[kdcdefaults]
    kdc_listen = 127.0.0.1:{self._port}
    kdc_tcp_listen = 127.0.0.1:{self._port}
[realms]
    {REALM} = {{
        database_name = {self.folder}/principal
        key_stash_file = {self.folder}/stash
    }}
[logging]
    kdc = FILE:{self.folder}/krb5kdc.log
""")
        self._run("kdb5_util", "create", "-s", "-r", REALM, "-P", secrets.token_hex())

    @contextmanager
    def running(self) -> Iterator[None]:
        """The KDC answers within this block."""
        command = ["krb5kdc", "-n", "-r", REALM]
        environment = {"PATH": self._path, **self.environment}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            try:
                self._wait(process)
                yield
            finally:
                process.terminate()

    def add(self, *principals: str) -> None:
        """Add principals (``user`` or ``service/host``) with random keys."""
        for principal in principals:
            self._run("kadmin.local", "-r", REALM, "addprinc", "-randkey", principal)

    def keytab(self, name: str, *principals: str) -> Path:
        """Make a keytab with the keys that these principals have."""
        path = self.folder / name
        self._run("kadmin.local", "-r", REALM, "ktadd", "-norandkey", "-k", str(path), *principals)
        return path

    def remove_from(self, keytab: Path, principal: str) -> None:
        """Remove a principal's keys from a keytab."""
        self._run("kadmin.local", "-r", REALM, "ktremove", "-k", str(keytab), principal, "all")

    def ticket(self, principal: str, keytab: Path) -> Path:
        """Get a ticket with a keytab, into a credential cache of its own."""
        cache = self.folder / f"ticket-of-{principal.replace('/', '-')}"
        self._run("kinit", "-k", "-t", str(keytab), "-c", str(cache), principal)
        return cache

    def ktutil(self, *commands: str) -> None:
        """Have ktutil carry out commands."""
        self._run("ktutil", stdin="\n".join([*commands, "quit"]) + "\n")

    def _run(self, *command: str, stdin: str = "") -> str:
        done = subprocess.run(
            command,
            env={"PATH": self._path, **self.environment},
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        # kadmin.local and ktutil end with 0 whatever happened.
        if done.returncode != 0 or " while " in done.stdout:
            raise TestbedError(f"{command[0]} failed (rc {done.returncode}): {done.stdout.strip()}")
        return done.stdout

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            if process.poll() is not None or time.monotonic() > deadline:
                log = self.folder / "krb5kdc.log"
                raise TestbedError(f"krb5kdc does not answer:\n{log.read_text() if log.exists() else ''}")
            time.sleep(0.05)

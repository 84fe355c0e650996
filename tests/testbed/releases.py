# SPDX-License-Identifier: GPL-3.0-or-later
"""The Airflow releases that the testbed can run, and what is different about each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from testbed.errors import TestbedError

DEFAULT = "2.11.2"


_PROGRAMS_2 = {
    # One worker: with two, a stop soon after the first answer takes twice as long, 6 s instead of 3.
    "airflow-webserver": "webserver --hostname 127.0.0.1 --port {port} --workers 1",
    # Its log server would listen on a fixed port on all interfaces.
    "airflow-scheduler": "scheduler --skip-serve-logs",
}
# These have neither a log server of their own nor the option.
_PROGRAMS_20 = {**_PROGRAMS_2, "airflow-scheduler": "scheduler"}
_PROGRAMS_3 = {
    "airflow-api-server": "api-server --host 127.0.0.1 --port {port} --workers 1",
    "airflow-scheduler": "scheduler --skip-serve-logs",
    "airflow-dag-processor": "dag-processor",
}
FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"


@dataclass(frozen=True)
class Release:
    """One Airflow release: how it is installed, initialised and run.

    ``pythons`` are tried in their order. ``specs`` and ``exclude_newer`` are the recipe that the pinned
    file under requirements/ was compiled from. In ``programs`` (supervisor program name -> arguments of
    the ``airflow`` command) ``{port}`` stands for the port of the API; the first one serves it.
    ``initialise`` is the environment in which database and users are made, beyond the usual one. ``extra`` is
    what is installed with Airflow, if it is more than the release itself.
    """

    version: str
    pythons: tuple[str, ...]
    exclude_newer: str
    specs: tuple[str, ...]
    migrate: tuple[str, ...] = ("db", "migrate")
    backends_option: str = "auth_backends"
    programs: Mapping[str, str] = field(default_factory=lambda: _PROGRAMS_2)
    health_path: str = "/health"
    initialise: Mapping[str, str] = field(default_factory=dict)
    extra: str = ""

    @property
    def name(self) -> str:
        """What its installation and its requirements are called."""
        return f"{self.version}-{self.extra}" if self.extra else self.version

    @property
    def generation(self) -> str:
        """One of 1.10, 2 and 3: what differs between them is more than a name."""
        return "1.10" if self.version.startswith("1.10.") else self.version.partition(".")[0]


def _release_3(version: str, exclude_newer: str, *specs: str, pythons: tuple[str, ...] = ("3.12", "3.11")) -> Release:
    specs = (f"apache-airflow=={version}", "apache-airflow-providers-fab", *specs)
    # The file keeps the release's own auth manager; users are FAB's, for whoever switches to that.
    fab = {"AIRFLOW__CORE__AUTH_MANAGER": FAB}
    return Release(
        version,
        pythons,
        exclude_newer,
        specs,
        programs=_PROGRAMS_3,
        health_path="/api/v2/monitor/health",
        initialise=fab,
    )


_INIT = ("db", "init")

RELEASES = (
    Release(
        "1.10.15",
        ("3.7",),
        "2021-03-25",
        ("apache-airflow[password]==1.10.15", "sqlalchemy<1.4", "sqlalchemy-utils<0.37"),
        ("initdb",),
        "auth_backend",
        _PROGRAMS_20,
    ),
    Release("2.0.2", ("3.8",), "2021-04-27", ("apache-airflow==2.0.2",), _INIT, "auth_backend", _PROGRAMS_20),
    Release("2.2.5", ("3.8",), "2022-04-12", ("apache-airflow==2.2.5",), _INIT, "auth_backend"),
    Release("2.3.4", ("3.8",), "2022-08-31", ("apache-airflow==2.3.4",), _INIT),
    Release("2.6.3", ("3.10",), "2023-07-18", ("apache-airflow==2.6.3",), _INIT),
    Release("2.9.3", ("3.12",), "2024-07-23", ("apache-airflow==2.9.3",)),
    Release("2.10.5", ("3.12", "3.11"), "2025-02-17", ("apache-airflow==2.10.5",)),
    # gunicorn 25.1.0, the newest of that day, now and then hangs while it forks its workers (gunicorn issue 3529).
    Release("2.11.2", ("3.11", "3.12", "3.10"), "2026-03-21", ("apache-airflow==2.11.2", "gunicorn<25.1")),
    _release_3("3.0.6", "2025-09-05"),
    # With sqlalchemy 2.1 the FAB provider's own commands die.
    _release_3("3.3.2", "2026-09-24", "sqlalchemy<2.1", pythons=("3.12", "3.11", "3.13")),
)

# Its packages are built from source, for which Debian packages are needed (packages.txt).
KERBEROS = Release(
    "2.6.3",
    ("3.10",),
    "2023-07-18",
    ("apache-airflow[kerberos]==2.6.3", "requests-gssapi"),
    migrate=_INIT,
    extra="kerberos",
)


def release(version: str) -> Release:
    """Return the release of that version, or raise TestbedError naming those there are."""
    for known in RELEASES:
        if known.version == version:
            return known
    names = ", ".join(known.version for known in RELEASES)
    raise TestbedError(f"The testbed has no Airflow {version}; it has {names}.")

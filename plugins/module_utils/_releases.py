# SPDX-License-Identifier: GPL-3.0-or-later
"""What each Airflow release calls things: the only place that knows release numbers."""

from __future__ import annotations

import re
from typing import Mapping, NamedTuple

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

SECTION = "api"

_BACKEND = "airflow.api.auth.backend."
_FAB_BACKEND = "airflow.providers.fab.auth_manager.api.auth.backend."
_DOTTED_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")

_COMMON_BACKENDS = {
    "default": _BACKEND + "default",
    "deny_all": _BACKEND + "deny_all",
    "kerberos_auth": _BACKEND + "kerberos_auth",
}
_BACKENDS_2 = {
    **_COMMON_BACKENDS,
    "basic_auth": _BACKEND + "basic_auth",
    "google_openid": "airflow.providers.google.common.auth_backend.google_openid",
}
_WEBSERVER_ADDRESS = {
    "host": ("webserver", "web_server_host"),
    "port": ("webserver", "web_server_port"),
    "ssl_cert": ("webserver", "web_server_ssl_cert"),
    "base_url": ("webserver", "base_url"),
}


class Era(NamedTuple):
    """A range of releases that configure and serve their REST API alike."""

    name: str
    since: tuple[int, int]
    option: str | None  # in [api]; None where the REST API takes no backends
    superseded: tuple[str, ...]  # options of other eras that mean the same and must not stand beside it
    takes_list: bool
    unset: str  # the backend in force where nothing is set
    backends: dict[str, str]  # short name -> module
    health_path: str
    login_path: str  # answers 200 to any user with a role worth the name, and never without a login
    server_command: str  # airflow SERVER_COMMAND starts the server of the API
    address: dict[str, tuple[str, str]]  # where the server's host, port, certificate and base URL are configured


ERAS = (
    Era(
        name="1.10",
        since=(1, 10),
        option="auth_backend",
        superseded=("auth_backends",),
        takes_list=False,
        unset=_BACKEND + "deny_all",
        backends={**_COMMON_BACKENDS, "basic_auth": "airflow.contrib.auth.backends.password_auth"},
        health_path="/health",
        login_path="/api/experimental/test",
        server_command="webserver",
        address=_WEBSERVER_ADDRESS,
    ),
    Era(
        name="2.0 to 2.2",
        since=(2, 0),
        option="auth_backend",
        superseded=("auth_backends",),
        takes_list=False,
        unset=_BACKEND + "deny_all",
        backends=_BACKENDS_2,
        health_path="/health",
        login_path="/api/v1/dags?limit=1",
        server_command="webserver",
        address=_WEBSERVER_ADDRESS,
    ),
    Era(
        name="2.3 to 2.11",
        since=(2, 3),
        option="auth_backends",
        superseded=("auth_backend",),
        takes_list=True,
        unset=_BACKEND + "session",
        backends={**_BACKENDS_2, "session": _BACKEND + "session"},
        health_path="/health",
        login_path="/api/v1/dags?limit=1",
        server_command="webserver",
        address=_WEBSERVER_ADDRESS,
    ),
    Era(
        name="3.x",
        since=(3, 0),
        option=None,
        superseded=(),
        takes_list=False,
        unset="",
        backends={},
        health_path="/api/v2/monitor/health",
        login_path="/api/v2/dags?limit=1",
        server_command="api-server",
        address={name: ("api", name) for name in ("host", "port", "ssl_cert", "base_url")},
    ),
)

SERVER_COMMANDS = tuple(sorted({era.server_command for era in ERAS}))


def era_of(version: str) -> Era:
    """:raises AirflowError: if ``version`` is no Airflow release, or one before 1.10."""
    match = _VERSION.match(version)
    if match:
        number = (int(match.group(1)), int(match.group(2)))
        for era in reversed(ERAS):
            if number >= era.since:
                return era
    raise AirflowError("Airflow version %r is none that this collection knows (1.10 and later)." % version)


def resolve_backends(era: Era, version: str, names: list[str]) -> list[str]:
    """Short names and dotted paths as the dotted paths that go into the file of this release.

    :raises AirflowError: for an empty list, a name that this release does not have, a name twice, more than
        one where the release takes one, and for releases whose API takes no backends.
    """
    if era.option is None:
        raise AirflowError(
            "Airflow %s has no API authentication backends: its REST API takes a token that the auth manager gives "
            "for a username and a password (POST /auth/token). Leave this host out of the task." % version
        )
    if not names:
        raise AirflowError("backends is empty. Name at least one, for instance basic_auth.")
    paths = [_resolved(era, version, name.strip()) for name in names]
    twice = sorted({path for path in paths if paths.count(path) > 1})
    if twice:
        raise AirflowError("backends names %s more than once." % ", ".join(twice))
    if len(paths) > 1 and not era.takes_list:
        raise AirflowError(
            "Airflow %s takes one backend ([api] %s), and %d were given: %s. With a list there the webserver "
            "would not start." % (version, era.option, len(paths), ", ".join(names))
        )
    return paths


def _resolved(era: Era, version: str, name: str) -> str:
    if name in era.backends:
        return era.backends[name]
    if _DOTTED_PATH.fullmatch(name):
        return name
    raise AirflowError(
        "%r is no API authentication backend of Airflow %s. Short names there: %s. Any other backend is given by "
        "its dotted module path." % (name, version, ", ".join(sorted(era.backends)))
    )


def split_backends(value: str | None) -> list[str]:
    """The modules in a value of the option, in order; an empty part stays, because Airflow dies of it."""
    return [part.strip() for part in value.split(",")] if value and value.strip() else []


def backends_in_file(era: Era, cfg: Cfg) -> list[str]:
    """The backends that the file names; from 2.3 on the old option counts where the new one is missing."""
    value = cfg.get(SECTION, era.option) if era.option else None
    if value is None and era.takes_list:
        value = next((cfg.get(SECTION, name) for name in era.superseded), None)
    return split_backends(value)


def override(era: Era, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """The variable that beats the file in this environment, and its value. Names are case-sensitive.

    From 2.3 on the old name counts as well, and beats even the new option of the file.
    """
    names = ([era.option] if era.option else []) + (list(era.superseded) if era.takes_list else [])
    for variable in ("AIRFLOW__%s__%s" % (SECTION.upper(), name.upper()) for name in names):
        if variable in environment:
            return variable, environment[variable]
    return None


def backends_read(era: Era, cfg: Cfg, environment: Mapping[str, str]) -> list[str]:
    """What a server with this file and this environment makes of them."""
    overriding = override(era, environment)
    return effective_backends(era, split_backends(overriding[1]) if overriding else backends_in_file(era, cfg))


def takes_passwords(era: Era, backends: list[str]) -> bool:
    """Whether a request with a username and a password gets through these backends, as far as is known of them.

    ``default`` in front answers for everybody, as nobody.
    """
    known = [_canonical(path) for path in backends]
    return era.backends.get("basic_auth") in known and known[0] != era.backends["default"]


def same_backends(one: list[str], other: list[str]) -> bool:
    """Whether two lists mean the same: backends have one path in Airflow and one in its FAB provider."""
    return [_canonical(path) for path in one] == [_canonical(path) for path in other]


def _canonical(path: str) -> str:
    return _BACKEND + path[len(_FAB_BACKEND) :] if path.startswith(_FAB_BACKEND) else path


def effective_backends(era: Era, configured: list[str]) -> list[str]:
    """What the server makes of a configured list: since 2.3 the UI's own ``session`` is never left out.

    Read in airflow.configuration of 2.3 to 2.11 (``_upgrade_auth_backends`` and the deprecated values).
    """
    if not era.takes_list:
        return configured or ([era.unset] if era.unset else [])
    session = era.backends["session"]
    if configured in ([], [era.backends["deny_all"]]):
        return [session]
    if configured == [era.backends["default"]] or any(session in path for path in configured):
        return configured
    return [*configured, session]

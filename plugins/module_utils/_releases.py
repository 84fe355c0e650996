# SPDX-License-Identifier: GPL-3.0-or-later
"""What each Airflow release calls things: the only place that knows release numbers."""

from __future__ import annotations

import re
from typing import Mapping

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import Override, Setting, override
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

SECTION = "api"
KERBEROS = "kerberos"

_BACKEND = "airflow.api.auth.backend."
_FAB_BACKEND = "airflow.providers.fab.auth_manager.api.auth.backend."
_DOTTED_PATH = r"[^\W\d]\w*(\.[^\W\d]\w*)+"
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
_BACKENDS_230 = {**_BACKENDS_2, "session": _BACKEND + "session"}
_AUTH_MANAGERS_3 = {
    "simple": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
    "fab": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
}
_NO_BACKENDS = (
    "Airflow %s has no API authentication backends: its REST API takes a token that the auth manager gives for a "
    "username and a password (POST /auth/token)"
)
_NO_TOKENS = "The API of Airflow %s takes no tokens and has no auth manager: [api] names authentication backends there"
# Which options of the modules a release has no place for, and why.
_LACKS_BEFORE_3 = {"auth_manager": _NO_TOKENS, "jwt_secret": _NO_TOKENS, "jwt_expiration_time": _NO_TOKENS}
_LACKS_3 = {"backends": _NO_BACKENDS, "kerberos": _NO_BACKENDS}
_WEBSERVER_ADDRESS = {
    "host": ("webserver", "web_server_host"),
    "port": ("webserver", "web_server_port"),
    "ssl_cert": ("webserver", "web_server_ssl_cert"),
    "base_url": ("webserver", "base_url"),
}


class VersionFamily(Record):
    """A range of Airflow versions that configure and serve their REST API alike.

    What authenticates its callers stands in ``[section] option``: backends, or from 3.0 on one auth manager.
    """

    name: str
    since: tuple[int, int, int]
    section: str
    option: str
    superseded: tuple[str, ...]  # options of other families that mean the same and must not stand beside it
    takes_list: bool
    kind: str  # what that names
    unset: str  # what is in force where nothing is set
    backends: dict[str, str]  # short name -> module, or class of an auth manager
    lacks: dict[str, str]  # option of a module -> why there is nothing here that it could set
    health_path: str
    execution_health_path: str | None  # of a server that has only the API that tasks report to
    token_path: str | None  # gives a token for a username and a password; None where requests carry these themselves
    login_path: str  # answers 200 to any user with a role worth the name, and never without a login
    trigger_path: str  # takes a POST that triggers the DAG in the place of %s
    trigger_body: dict[str, None]  # what such a POST has to say at least
    server_command: str  # airflow SERVER_COMMAND starts the server of the API
    address: dict[str, tuple[str, str]]  # where the server's host, port, certificate and base URL are configured
    former_address: dict[
        str, tuple[str, str]
    ]  # the same by the names of earlier versions, which count where those are not set


_FAMILY_110 = VersionFamily(
    name="1.10.11 to 1.10.15",
    since=(1, 10, 11),
    section=SECTION,
    option="auth_backend",
    superseded=("auth_backends",),
    takes_list=False,
    kind="API authentication backend",
    unset=_BACKEND + "deny_all",
    backends={**_COMMON_BACKENDS, "basic_auth": "airflow.contrib.auth.backends.password_auth"},
    lacks=_LACKS_BEFORE_3,
    health_path="/health",
    execution_health_path=None,
    token_path=None,
    login_path="/api/experimental/test",
    trigger_path="/api/experimental/dags/%s/dag_runs",
    trigger_body={},
    server_command="webserver",
    address=_WEBSERVER_ADDRESS,
    former_address={},
)
VERSION_FAMILIES = (
    _FAMILY_110._replace(name="1.10.0 to 1.10.10", since=(1, 10, 0), unset=_BACKEND + "default"),
    _FAMILY_110,
    VersionFamily(
        name="2.0 to 2.2",
        since=(2, 0, 0),
        section=SECTION,
        option="auth_backend",
        superseded=("auth_backends",),
        takes_list=False,
        kind="API authentication backend",
        unset=_BACKEND + "deny_all",
        backends=_BACKENDS_2,
        lacks=_LACKS_BEFORE_3,
        health_path="/health",
        execution_health_path=None,
        token_path=None,
        login_path="/api/v1/dags?limit=1",
        trigger_path="/api/v1/dags/%s/dagRuns",
        trigger_body={},
        server_command="webserver",
        address=_WEBSERVER_ADDRESS,
        former_address={},
    ),
    VersionFamily(
        name="2.3 to 2.11",
        since=(2, 3, 0),
        section=SECTION,
        option="auth_backends",
        superseded=("auth_backend",),
        takes_list=True,
        kind="API authentication backend",
        unset=_BACKEND + "session",
        backends=_BACKENDS_230,
        lacks=_LACKS_BEFORE_3,
        health_path="/health",
        execution_health_path=None,
        token_path=None,
        login_path="/api/v1/dags?limit=1",
        trigger_path="/api/v1/dags/%s/dagRuns",
        trigger_body={},
        server_command="webserver",
        address=_WEBSERVER_ADDRESS,
        former_address={},
    ),
    VersionFamily(
        name="3.x",
        since=(3, 0, 0),
        section="core",
        option="auth_manager",
        superseded=(),
        takes_list=False,
        kind="auth manager",
        unset=_AUTH_MANAGERS_3["simple"],
        backends=_AUTH_MANAGERS_3,
        lacks=_LACKS_3,
        health_path="/api/v2/monitor/health",
        execution_health_path="/execution/health",
        token_path="/auth/token",
        login_path="/api/v2/dags?limit=1",
        trigger_path="/api/v2/dags/%s/dagRuns",
        trigger_body={"logical_date": None},
        server_command="api-server",
        address={name: ("api", name) for name in ("host", "port", "ssl_cert", "base_url")},
        former_address=_WEBSERVER_ADDRESS,
    ),
)

SERVER_COMMANDS = tuple(sorted({family.server_command for family in VERSION_FAMILIES}))


def family_of(version: str) -> VersionFamily:
    """:raises AirflowError: if ``version`` is no Airflow release, or one before 1.10."""
    match = _VERSION.match(version)
    if match:
        number = (int(match.group(1)), int(match.group(2)), int(match.group(3) or 0))
        for family in reversed(VERSION_FAMILIES):
            if number >= family.since:
                return family
    raise AirflowError("Airflow version %r is none that this collection knows (1.10 and later)." % version)


def validate_supported(family: VersionFamily, version: str, options: list[str]) -> None:
    """:raises AirflowError: if the release has nothing that one of these options of a module could set."""
    for option in options:
        if option in family.lacks:
            raise AirflowError(
                "%s is given, and there is nothing for it to set. %s. Leave it out for this host, or pass such hosts "
                "over with unsupported: skip." % (option, family.lacks[option] % version)
            )


def without_lacking(family: VersionFamily, names: list[str]) -> list[str]:
    """Short names of backends without those that only other releases have, as session before 2.3. All if none is left:
    then the error is to tell.
    """
    everywhere = {name for other in VERSION_FAMILIES if other.kind == family.kind for name in other.backends}
    elsewhere = everywhere - set(family.backends)
    return [name for name in names if name.strip() not in elsewhere] or names


def backends_setting(family: VersionFamily, version: str, names: list[str]) -> Setting:
    """What authenticates the API's callers, from short names and dotted paths.

    :raises AirflowError: for an empty list, a name that this release does not have, a name twice, and more than
        one where the release takes one.
    """
    if not names:
        raise AirflowError("backends is empty. Name at least one, for instance basic_auth.")
    paths = [_resolved(family, version, name.strip()) for name in names]
    twice = sorted({path for path in paths if paths.count(path) > 1})
    if twice:
        raise AirflowError("backends names %s more than once." % ", ".join(twice))
    if len(paths) > 1 and not family.takes_list:
        raise AirflowError(
            "Airflow %s takes one backend ([api] %s), and %d were given: %s. With a list there the webserver "
            "would not start." % (version, family.option, len(paths), ", ".join(names))
        )
    return authentication(family, ",".join(paths))


def authentication(family: VersionFamily, value: str | None = None) -> Setting:
    """The setting that holds what authenticates the API's callers.

    From 2.3 on the variable of the old option counts as well, and beats even the new option of the file.
    """
    return Setting(
        section=family.section,
        option=family.option,
        value=value,
        superseded=family.superseded,
        former=tuple((family.section, name) for name in family.superseded) if family.takes_list else (),
        same=lambda one, other: same_backends(split_backends(one), split_backends(other)),
    )


def _resolved(family: VersionFamily, version: str, name: str) -> str:
    if name in family.backends:
        return family.backends[name]
    if re.fullmatch(_DOTTED_PATH, name):
        return name
    raise AirflowError(
        "%r is no %s of Airflow %s. Short names there: %s. Any other is given by its dotted path."
        % (name, family.kind, version, ", ".join(sorted(family.backends)))
    )


def split_backends(value: str | None) -> list[str]:
    """The modules in a value of the option, in order; an empty part stays, because Airflow dies of it."""
    return [part.strip() for part in value.split(",")] if value and value.strip() else []


def backends_in_file(family: VersionFamily, cfg: Cfg) -> list[str]:
    """What the file names; from 2.3 on the old option counts where the new one is missing."""
    value = cfg.get(family.section, family.option)
    if value is None and family.takes_list:
        value = next((cfg.get(family.section, name) for name in family.superseded), None)
    return split_backends(value)


def backends_override(family: VersionFamily, environment: Mapping[str, str]) -> Override | None:
    """The variable that beats the file in this environment. Names are case-sensitive."""
    return override(authentication(family), environment)


def backends_read(family: VersionFamily, cfg: Cfg, environment: Mapping[str, str]) -> list[str]:
    """What a server with this file and this environment makes of them."""
    beats = backends_override(family, environment)
    return effective_backends(family, split_backends(beats.value) if beats else backends_in_file(family, cfg))


def takes_passwords(family: VersionFamily, backends: list[str]) -> bool:
    """Whether a request with a username and a password gets through these backends, as far as is known of them.

    ``default`` in front answers for everybody, as nobody. Both auth managers of Airflow 3 give tokens for passwords.
    """
    known = [_canonical(path) for path in backends]
    if family.token_path:
        return bool(known) and known[0] in family.backends.values()
    return family.backends.get("basic_auth") in known and known[0] != family.backends["default"]


def kerberos_backend(family: VersionFamily, backends: list[str]) -> str | None:
    """The one among them that takes Kerberos tickets."""
    return next((path for path in backends if _canonical(path) == family.backends.get("kerberos_auth")), None)


def refuses_passwords(family: VersionFamily, backends: list[str]) -> bool:
    """Whether a password surely does not get through these backends: all are known, and none takes it."""
    known = family.backends.values()
    return all(_canonical(path) in known for path in backends) and not takes_passwords(family, backends)


def same_backends(one: list[str], other: list[str]) -> bool:
    """Whether two lists mean the same: backends have one path in Airflow and one in its FAB provider."""
    return [_canonical(path) for path in one] == [_canonical(path) for path in other]


def backend_name(path: str) -> str:
    """The short name of a backend, by any of its paths in any release. One that is not Airflow's is its path."""
    names = {known: name for family in VERSION_FAMILIES for name, known in family.backends.items()}
    return names.get(_canonical(path.strip()), path.strip())


def _canonical(path: str) -> str:
    return _BACKEND + path[len(_FAB_BACKEND) :] if path.startswith(_FAB_BACKEND) else path


def effective_backends(family: VersionFamily, configured: list[str]) -> list[str]:
    """What the server makes of a configured list: since 2.3 the UI's own ``session`` is never left out.

    Read in airflow.configuration of 2.3 to 2.11 (``_upgrade_auth_backends`` and the deprecated values).
    """
    if not family.takes_list:
        return configured or [family.unset]
    session = family.backends["session"]
    if configured in ([], [family.backends["deny_all"]]):
        return [session]
    if configured == [family.backends["default"]] or any(session in path for path in configured):
        return configured
    return [*configured, session]

# SPDX-License-Identifier: GPL-3.0-or-later
"""What Airflow's Kerberos backend needs of a host: a keytab that it can read, with the key of its service principal.

Airflow starts without them too, and then refuses everybody.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import Any, Callable, Mapping

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import Setting, override
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.files import place_of, read_foreign
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host
from ansible_collections.fleetops.airflow.plugins.module_utils._host.installation import expanded
from ansible_collections.fleetops.airflow.plugins.module_utils._host.keytab import entries, principals
from ansible_collections.fleetops.airflow.plugins.module_utils._host.trust import User
from ansible_collections.fleetops.airflow.plugins.module_utils._host.warnings import webserver_config_value
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import KERBEROS

_SERVICE = "airflow"
_VARIABLE = "KRB5_KTNAME"  # what the Kerberos library reads; Airflow sets it from its own option where it is not set
_MOST_BYTES = 1 << 20  # of a keytab
_NOTHING = "Nothing was changed."

# Which name the server takes for its host's has changed with the releases, so the backend itself is asked: those of old
# have socket.getfqdn, later ones airflow.utils.net.getfqdn, which answers otherwise.
_HOST_NAME = """
import airflow, importlib, sys
backend = importlib.import_module(sys.argv[1])
if not hasattr(backend, "getfqdn"):
    from airflow.utils import net as backend
print("host name", backend.getfqdn())
"""


class Keytab(Record):
    """``name`` as it is configured, perhaps with its kind in front; ``source`` is environment, file or default."""

    name: str
    source: str


def keytab_of(host: Host, cfg: Cfg) -> Keytab:
    """What the server uses with this file, in its environment."""
    if _VARIABLE in host.environment:
        return Keytab(host.environment[_VARIABLE], "environment")
    beats = override(Setting(KERBEROS, "keytab", None), host.environment)
    if beats and beats.value is not None:
        return Keytab(expanded(beats.value, host.environment, host.user_home), "environment")
    value = cfg.get(KERBEROS, "keytab")
    if not value:
        return Keytab("airflow.keytab", "default")
    return Keytab(expanded(value, host.environment, host.user_home), "file")


def validate_keytab_variable(host: Host, wanted: Mapping[str, Any]) -> None:
    """:raises AirflowError: if the server's environment names another keytab than the task does."""
    given = host.environment.get(_VARIABLE)
    if given is not None and wanted.get("keytab") and _path(given) != _path(str(wanted["keytab"])):
        raise AirflowError(
            "%s=%s in the environment of %s overrides [%s] keytab of airflow.cfg: a change there would do nothing. %s "
            "Remove the variable from the server's service, then run this task again."
            % (_VARIABLE, given, host.environment_of, KERBEROS, _NOTHING),
            overridden_by=_VARIABLE,
        )


def check(host: Host, cfg: Cfg, backend: str | None, warn: Callable[[str], None]) -> None:
    """See that the server can use its keytab with this file.

    :param backend: the Kerberos backend's module, to be asked for the server's host name, which starts Airflow's
        interpreter. None to look only for a key of any host.
    :raises AirflowError: if the server could not.
    """
    keytab = keytab_of(host, cfg)
    path = path_of(keytab)
    if path is None:
        warn("The keytab %s is in no file, so it was not checked." % keytab.name)
        return
    keys = principals_in(host, path)
    if _is_readable_by_all(host, path):
        warn("Every user of this host may read the keytab %s, and be the server with it. Give it mode 0400." % path)
    name = _server_name(host, cfg, backend, warn) if backend else None
    services = [principal.rpartition("@")[0] for principal in keys]
    if "%s/%s" % (_SERVICE, name) in services if name else any(one.startswith(_SERVICE + "/") for one in services):
        return
    raise AirflowError(
        "The keytab {path} has no key of {service}, as whom the server takes tickets: it would refuse every request. "
        "It has keys of {principals}. {nothing} Add the key (kadmin: ktadd -k {path} {service}).".format(
            path=path,
            service="%s/%s" % (_SERVICE, name or "HOST"),
            principals=", ".join(keys) or "nobody",
            nothing=_NOTHING,
        )
    )


def _is_readable_by_all(host: Host, path: str) -> bool:
    try:
        with place_of(host.in_view(path)) as place:
            status = place.status()
    except OSError:
        return False
    return bool(status and status.st_mode & stat.S_IROTH)


def principals_in(host: Host, path: str) -> list[str]:
    """Whose keys the server finds in a keytab.

    :raises AirflowError: if the server could not read it, or it is none.
    """
    if not os.path.isabs(path):
        raise AirflowError(
            "The keytab %s is a relative path, which depends on where the server is started. Give an absolute one as "
            "keytab in kerberos." % path
        )
    try:
        return principals(entries(_read_as_server(host, path)))
    except ValueError as error:
        raise AirflowError("The keytab %s %s. Make it anew with kadmin." % (path, error)) from None


def path_of(keytab: Keytab) -> str | None:
    """The file that a keytab is; None for a kind of keytab that is in no file."""
    return _path(keytab.name)


def _path(name: str) -> str | None:
    kind, colon, rest = name.strip().partition(":")
    if not colon or "/" in kind:
        return name.strip()
    return rest if kind in ("FILE", "WRFILE") else None


def _read_as_server(host: Host, path: str) -> bytes:
    from ansible_collections.fleetops.airflow.plugins.module_utils._host.command import acting_as, user_of

    user = user_of(host)
    isolated = host.server is not None and host.server.view is not None
    try:
        # The files of a container are out of reach for its user, who is another one here.
        with acting_as(None if isolated else user):
            if isolated and user and not _may_read(host.in_view(path), user):
                raise PermissionError
            return read_foreign(host.in_view(path), _MOST_BYTES)
    except PermissionError:
        whose = "the user %s, as whom the server runs" % user.name if user else "this user"
        raise AirflowError(
            "The keytab %s cannot be read by %s. Give it to the server's user, with mode 0400, in a folder that this "
            "user can enter." % (path, whose)
        ) from None
    except OSError as error:
        raise AirflowError(
            "The keytab %s cannot be read: %s. Make it with kadmin (ktadd -k %s %s/HOST), or name the right one as "
            "keytab in kerberos." % (path, error.strerror, path, _SERVICE)
        ) from None


def _may_read(path: str, user: User) -> bool:
    """By the mode of the file alone.

    :raises OSError: if there is no such file.
    """
    with place_of(path) as place:
        status = place.status()
    if status is None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
    if status.st_uid == user.uid:
        return bool(status.st_mode & stat.S_IRUSR)
    if status.st_gid in (user.gid, *user.groups):
        return bool(status.st_mode & stat.S_IRGRP)
    return bool(status.st_mode & stat.S_IROTH)


def _server_name(host: Host, cfg: Cfg, backend: str, warn: Callable[[str], None]) -> str | None:
    """The name of the host in the server's principal; None where it cannot be told."""
    configured = webserver_config_value(host, cfg, "SERVER_NAME")
    if configured is None or not host.interpreter:
        warn(
            "Under which name the server takes tickets could not be told, so whether the keytab has it was not checked."
        )
        return None
    if configured:
        return configured.lower()
    from ansible_collections.fleetops.airflow.plugins.module_utils._host.command import Unsafe, run_python

    try:
        done = run_python(host, _HOST_NAME, [backend])
    except Unsafe as error:
        warn("Whether the keytab has the server's own name was not checked. %s" % error.reason)
        return None
    names = re.findall(r"(?m)^host name (\S+)$", done.raw)
    # None if the backend cannot be imported, which is told by whoever looks at all new backends.
    return names[-1].lower() if names else None  # in lower case as the Kerberos library makes it

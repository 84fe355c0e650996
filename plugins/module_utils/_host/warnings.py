# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that are dangerous, or not what they seem."""

from __future__ import annotations

import os
import stat
from typing import Iterator

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import variable_name
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._host.file_times import last_changed
from ansible_collections.fleetops.airflow.plugins.module_utils._host.files import read_foreign
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host
from ansible_collections.fleetops.airflow.plugins.module_utils._host.installation import expanded
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import is_older_than
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import (
    SECTION,
    VersionFamily,
    backends_in_file,
    backends_read,
)

_MOST_BYTES = 1 << 20  # of webserver_config.py
_TRUE = ("t", "true", "1", "yes", "on")


def warnings_of(host: Host, cfg: Cfg) -> list[str]:
    """Sentences about what a server with this file does, for whoever is responsible for the host."""
    return [*_of_backends(host, cfg), *_of_options(host, cfg), *_of_the_file(host)]


def _of_backends(host: Host, cfg: Cfg) -> Iterator[str]:
    family = host.family
    in_force = backends_read(family, cfg, host.environment)
    if family.backends.get("default") in in_force:
        if family.unset == family.backends.get("default") or family.name.startswith("1.10"):
            yield "The backend default is in force: everybody who reaches the API may use it, without a password."
        else:
            role = public_role(host, cfg)
            yield (
                "The backend default is in force: it logs nobody in. Every caller, with the right password too, may do "
                "what the public role may: %s." % _of_role(role)
            )
    if family.takes_list and backends_in_file(family, cfg) == [family.backends["deny_all"]]:
        yield (
            "deny_all alone does not deny all on Airflow %s: it counts as session, which lets in whoever is logged in "
            "to the user interface." % host.version
        )


def _of_role(role: str | None) -> str:
    if role is None:
        return "which that is, cannot be told from webserver_config.py"
    return "everything that the role %s may" % role if role else "nothing, so every call that needs a permission is 403"


def _of_options(host: Host, cfg: Cfg) -> Iterator[str]:
    if host.family.server_command == "webserver" and _is_true(host, cfg, SECTION, "enable_experimental_api"):
        yield (
            "enable_experimental_api is on: through /api/experimental every user who can log in may trigger DAG runs, "
            "whatever the role."
        )
    if host.family.token_path and _is_true(host, cfg, "core", "simple_auth_manager_all_admins"):
        yield "simple_auth_manager_all_admins is on: everybody who reaches the server is an admin, without a password."


def of_public_role(family: VersionFamily, role: str | None) -> Iterator[str]:
    """:param role: as ``public_role`` has it."""
    if not family.name.startswith("1.10") and role not in (None, "", "Public"):
        yield (
            "The public role is %s: whoever reaches the server may do what this role may, without a password, or with "
            "a wrong one." % role
        )


def _of_the_file(host: Host) -> Iterator[str]:
    if stat.S_IMODE(os.stat(host.real_path).st_mode) & stat.S_IROTH:
        yield (
            "%s holds secrets, and every user of this host may read it. Take the right from others (mode 0640)."
            % host.path
        )


def _is_true(host: Host, cfg: Cfg, section: str, option: str) -> bool:
    value = host.environment.get(variable_name(section, option)) or cfg.get(section, option) or ""
    return value.strip().lower() in _TRUE


def public_role(host: Host, cfg: Cfg) -> str | None:
    """The role of callers whom nobody has logged in: of FAB's own option, else of webserver_config.py.

    "" if it is not set. None if it cannot be determined; see webserver_config_value.
    """
    if host.family.token_path:
        option = host.environment.get(variable_name("fab", "auth_role_public")) or cfg.get("fab", "auth_role_public")
        if option:
            return option
    return webserver_config_value(host, cfg, "AUTH_ROLE_PUBLIC")


def webserver_config_is_newer(host: Host, cfg: Cfg) -> bool:
    """Whether webserver_config.py was changed after one of the running servers was started."""
    try:
        changed = max(last_changed(_webserver_config(host, cfg)))
    except OSError:
        return False
    return any(is_older_than(server, changed) for server in host.servers)


def webserver_config_value(host: Host, cfg: Cfg, name: str) -> str | None:
    """A text that webserver_config.py sets.

    "" where it is not set. None where it cannot be determined without running the file.
    """
    import ast

    from ansible_collections.fleetops.airflow.plugins.module_utils._host.assignments import assigned_text

    try:
        tree = ast.parse(read_foreign(_webserver_config(host, cfg), _MOST_BYTES))
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return assigned_text(tree, name)


def _webserver_config(host: Host, cfg: Cfg) -> str:
    """The path of webserver_config.py on this host."""
    path = None
    for section in ("fab", "webserver"):
        path = path or host.environment.get(variable_name(section, "config_file")) or cfg.get(section, "config_file")
    path = path or "{AIRFLOW_HOME}/webserver_config.py"
    home = host.server.home if host.server else host.home  # as the server knows it, like all paths of its configuration
    path = path.replace("{AIRFLOW_HOME}", home)
    path = os.path.join(home, expanded(path, {"AIRFLOW_HOME": home, **host.environment}, host.user_home))
    return host.in_view(path)

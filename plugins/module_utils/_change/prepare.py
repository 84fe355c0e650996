# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be so before anything is changed: Airflow can load the new backends, and somebody can restart the server.

Imported only where something is changed.
"""

from __future__ import annotations

import functools
from typing import Callable

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import HIDDEN, Setting, is_secret_name
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._change.current import CurrentState, addresses_of
from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import ChangePolicy, Target
from ansible_collections.fleetops.airflow.plugins.module_utils._change.plan import DesiredState
from ansible_collections.fleetops.airflow.plugins.module_utils._change.restart import Restart
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.command import run_python
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host
from ansible_collections.fleetops.airflow.plugins.module_utils._services.services import managers_of

# Airflow itself comes first: it puts its plugins folder on sys.path.
_IMPORT_CHECK = """
import airflow, importlib, sys
kind, *names = sys.argv[1:]
for name in names:
    if kind == "auth manager":
        from airflow.api_fastapi.auth.managers.base_auth_manager import BaseAuthManager
        package, _, cls = name.rpartition(".")
        found = getattr(importlib.import_module(package), cls, None)
        if not (isinstance(found, type) and issubclass(found, BaseAuthManager)):
            raise ImportError("%s is no auth manager: it is no subclass of BaseAuthManager" % name)
    else:
        module = importlib.import_module(name)
        for part in ("init_app", "requires_authentication"):
            if not hasattr(module, part):
                raise ImportError("%s is no API authentication backend: it has no %s" % (name, part))
"""


def check_imports(host: Host, desired: DesiredState, cfg: Cfg, warn: Callable[[str], None]) -> None:
    """Have Airflow's own interpreter import the backends, as the server's user and in its environment.

    :raises AirflowError: if one cannot be imported: with it the server would not start.
    """
    names = desired.imports(cfg)
    if not names:
        return
    if not host.interpreter:
        warn("Whether Airflow can import %s was not checked: its interpreter is not known." % ", ".join(names))
        return
    done = run_python(host, ["-c", _IMPORT_CHECK, host.family.kind, *names])
    if done.status != 0:
        said = done.last_line
        for secret in _secrets(host, cfg, desired.settings):
            said = said.replace(secret, HIDDEN)
        raise AirflowError(
            "Airflow %s on this host cannot import %s: %s. The server would not start with it. Nothing was changed. "
            "Correct the name, or install what is missing for %s."
            % (host.version, ", ".join(names), said, host.interpreter)
        )


def restarter_of(
    current: CurrentState, after: Cfg, desired: DesiredState, target: Target, policy: ChangePolicy, reason: str
) -> Restart:
    """:raises AirflowError: if nobody knows how to restart the server, or somebody else answers in its place."""
    host = current.host
    for address, ask in zip(current.addresses, current.healths):
        health = ask()
        if health.state == "foreign":
            raise AirflowError(
                "%s does not answer as Airflow %s does (%s). Nothing was changed. Correct url."
                % (address.health_url, host.version, health.detail)
            )
    managers = managers_of(target.services, host)
    if not managers:
        raise AirflowError(
            "A restart is needed (%s), and how the server is restarted is not known: neither supervisord nor a unit of "
            "systemd runs it, and neither service nor restart_command is given. Nothing was changed. Name one of them, "
            "or set restart to never and restart it in a handler." % reason
        )
    new = addresses_of(host, after, target)
    return Restart(
        managers=managers,
        servers=host.servers,
        home=host.home,
        cfg_path=host.real_path,
        new=new,
        old=current.addresses,
        timeout=policy.health_timeout,
        tls=target.tls,
        settings=desired.settings,
        verify=functools.partial(desired.verify, new[0].base_url) if desired.verify and new else None,
        secrets=_secrets(host, current.cfg, desired.settings),
    )


def _secrets(host: Host, cfg: Cfg, settings: list[Setting]) -> list[str]:
    """Values of the file and of the server's environment that a log may not carry into a play, longest first."""
    values = [(option.name, option.value) for option in cfg.options()] + list(host.environment.items())
    found = {value for name, value in values if is_secret_name(name) and len(value) >= 4}
    found.update(setting.value for setting in settings if setting.secret and setting.value)
    return sorted(found, key=len, reverse=True)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the checks of a plan, before anything is written: that Airflow can load new backends, that it can be restarted.

Imported only if there is a check or a change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import validate_overrides
from ansible_collections.fleetops.airflow.plugins.module_utils._change.plan import Plan
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

if TYPE_CHECKING:
    from ansible_collections.fleetops.airflow.plugins.module_utils._change.restart import Restart
    from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import Server

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


def prepare(plan: Plan, warn: Callable[[str], None]) -> Restart | None:
    """Make the checks, and get ready for the restart if there is to be one.

    :raises AirflowError: if one does not hold. Nothing is changed.
    """
    host, checks = plan.host, plan.checks
    if checks.bystanders:
        from ansible_collections.fleetops.airflow.plugins.module_utils._services.services import bystander_error

        raise bystander_error(plan.target.services, host)
    if checks.keytab:
        from ansible_collections.fleetops.airflow.plugins.module_utils._host.kerberos import check as check_keytab

        check_keytab(host, plan.after, checks.keytab_backend, warn)
    if checks.imports:
        _check_imports(plan, warn)
    if checks.services:
        from ansible_collections.fleetops.airflow.plugins.module_utils._services.services import managers_of

        managers_of(plan.target.services, host)  # raises if a service does not exist, or is another one
    if plan.edits:
        from ansible_collections.fleetops.airflow.plugins.module_utils._change.replacement import validate_replaceable

        validate_replaceable(host.path)
    return _restart(plan) if plan.restart else None


def _check_imports(plan: Plan, warn: Callable[[str], None]) -> None:
    """Have Airflow's own interpreter import the backends, as the server's user and in its environment.

    :raises AirflowError: if one cannot be imported: with it the server would not start.
    """
    host, names = plan.host, plan.checks.imports
    if not host.interpreter:
        warn("Whether Airflow can import %s was not checked: its interpreter is not known." % ", ".join(names))
        return
    from ansible_collections.fleetops.airflow.plugins.module_utils._host.command import Unsafe, run_python

    try:
        done = run_python(host, _IMPORT_CHECK, [host.family.kind, *names])
    except Unsafe as error:
        warn("Whether Airflow can import %s was not checked. %s" % (", ".join(names), error.reason))
        return
    if done.status != 0:
        raise AirflowError(
            "Airflow %s on this host cannot import %s: %s. The server would not start with it. Nothing was changed. "
            "Correct the name, or install what is missing for %s."
            % (host.version, ", ".join(names), done.last_line, host.interpreter)
        )


def _restart(plan: Plan) -> Restart:
    """:raises AirflowError: if nobody knows how to restart the server, or somebody else answers in its place."""
    from ansible_collections.fleetops.airflow.plugins.module_utils._change.restart import Restart
    from ansible_collections.fleetops.airflow.plugins.module_utils._host.endpoint import pid_file_problem
    from ansible_collections.fleetops.airflow.plugins.module_utils._host.trust import in_chroot
    from ansible_collections.fleetops.airflow.plugins.module_utils._services.managers import Command
    from ansible_collections.fleetops.airflow.plugins.module_utils._services.services import managers_of
    from ansible_collections.fleetops.airflow.plugins.module_utils._services.supervisor import Supervisor

    host, current = plan.host, plan.current
    unhealthy = None
    for address, ask in zip(current.addresses, current.healths):
        health = ask()
        if health.state == "unverified":
            raise AirflowError(
                "Whether the server at %s is healthy cannot be determined: %s. Nothing was changed. Name its authority "
                "with ca_path, give as url a name that is in the certificate, or set validate_certs to false."
                % (address.health_url, health.detail)
            )
        if health.state in ("down", "unhealthy"):
            unhealthy = "%s: %s" % (address.health_url, health.detail)
        if health.state == "foreign":
            raise AirflowError(
                "%s does not answer as Airflow %s does (%s). Nothing was changed. Correct url."
                % (address.health_url, host.version, health.detail)
            )
    _check_certificate(plan)
    for server in host.servers if not plan.target.services.restart_command else ():
        _check_next_environment(plan, server)
    try:
        managers = managers_of(plan.target.services, host)
    except AirflowError:
        if not in_chroot():
            raise
        managers = []
    if in_chroot() and not any(isinstance(manager, (Command, Supervisor)) for manager in managers):
        raise AirflowError(
            "A restart is needed (%s), and this task runs in a chroot, from which no server of the host is restarted. "
            "Nothing was changed. Set restart to never." % plan.restart_reason
        )
    if not managers:
        raise AirflowError(
            "A restart is needed (%s), and how the server is restarted is not known: neither supervisord nor a unit of "
            "systemd runs it, and neither service nor restart_command is given. Nothing was changed. Name one of them, "
            "or set restart to never and restart it in a handler." % plan.restart_reason
        )
    problem = pid_file_problem(host.home) if host.serves and not host.servers else None
    if problem and host.family.server_command == "webserver":
        raise AirflowError("The webserver would not start: %s. Nothing was changed. Remove the pid file." % problem)
    return Restart(
        managers=managers,
        servers=host.servers,
        home=host.home,
        cfg_path=host.real_path,
        new=plan.addresses,
        old=current.addresses,
        timeout=plan.policy.health_timeout,
        tls=plan.target.tls,
        settings=plan.settings,
        unhealthy=unhealthy,
        uids=host.uids,
    )


def _check_certificate(plan: Plan) -> None:
    """That a password may be sent to this server is not to be found out after the restart.

    :raises AirflowError: if its certificate does not serve for that.
    """
    login, url = plan.verification.login, plan.verification.url
    urls = [[address.base_url for address in addresses] for addresses in (plan.current.addresses, plan.addresses)]
    # That of a server that is to get another certificate, or another address, says nothing.
    is_to_stay = urls[0] == urls[1] and not any(setting.option.endswith("ssl_cert") for setting in plan.settings)
    if not login or not url.startswith("https:") or not is_to_stay:
        return
    from ansible_collections.fleetops.airflow.plugins.module_utils._host import health

    try:
        health.request("GET", url + plan.host.family.health_path, health.TIMEOUT, plan.target.tls, for_login=True)
    except health.Unverified as error:
        raise AirflowError(
            "The login of %s cannot be verified at %s: %s. Nothing was changed. Give as url a name that is in the "
            "certificate, name its authority with ca_path, or set validate_certs to false."
            % (login.username, url, error)
        ) from None
    except health.Unreachable:
        pass  # it does not run, or has no TLS yet


def _check_next_environment(plan: Plan, server: Server) -> None:
    """A variable that the service has been given since the server was started is not to be found after the restart.

    :raises AirflowError: if with it the change would do nothing.
    """
    from ansible_collections.fleetops.airflow.plugins.module_utils._services.services import next_environment

    environment, _note = next_environment(server)
    if environment is not None:
        source = "%s at its next start" % server.title
        validate_overrides(plan.settings, environment, source)

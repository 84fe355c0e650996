# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the server whether it does what the plan says."""

from __future__ import annotations

from ansible_collections.fleetops.airflow.plugins.module_utils._change.plan import Plan
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.endpoint import other_user_at
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import Address, await_healthy


def verify(plan: Plan) -> None:
    """:raises AirflowError: if the server does not become healthy, or rejects the login."""
    health, login, url = plan.verification
    for address, answer in zip(plan.current.addresses, plan.current.healths) if health else ():
        if answer().state != "healthy":
            await_healthy(address.health_url, plan.policy.health_timeout, plan.target.tls)
    if login:
        from ansible_collections.fleetops.airflow.plugins.module_utils._host.login import refused_login

        refuse_other_user(plan.host, plan.addresses if plan.restart else plan.current.addresses, url, login.username)
        refused = refused_login(plan.host.family, url, login, plan.target.tls)
        if refused:
            raise AirflowError("The server is healthy, but %s" % refused)


def refuse_other_user(host: Host, addresses: list[Address], url: str, username: str) -> None:
    """While the server is down, any user may listen at its port, and would get the password.

    What the task names itself, such as a proxy, gets the logins of all callers.

    :raises AirflowError: if another user than the server's listens there.
    """
    for address in addresses:
        if address.base_url != url or address.is_given or not address.endpoint:
            continue
        other = other_user_at(address.endpoint, host.home, host.real_path, host.uids)
        if other:
            raise AirflowError(
                "The login of %s was not sent to %s: user %s listens there, and the server that reads %s is not known "
                "to run as this user. Start the server, or name its service." % (username, url, other, host.path)
            )

# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the server whether it does what the plan says."""

from __future__ import annotations

from ansible_collections.fleetops.airflow.plugins.module_utils._change.plan import Plan
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import await_healthy


def verify(plan: Plan) -> None:
    """:raises AirflowError: if the server does not become healthy, or rejects the login."""
    health, login, url = plan.verification
    for address, answer in zip(plan.current.addresses, plan.current.healths) if health else ():
        if answer().state != "healthy":
            await_healthy(address.health_url, plan.policy.health_timeout, plan.target.tls)
    if login:
        from ansible_collections.fleetops.airflow.plugins.module_utils._host.login import refused_login

        refused = refused_login(plan.host.family, url, login, plan.target.tls)
        if refused:
            raise AirflowError("The server is healthy, but %s" % refused)

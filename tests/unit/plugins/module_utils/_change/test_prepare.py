# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found in the way of a plan, before anything is done."""

from __future__ import annotations

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import Setting
from ansible_collections.fleetops.airflow.plugins.module_utils._change import prepare as preparing
from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import ChangePolicy, Target
from ansible_collections.fleetops.airflow.plugins.module_utils._change.plan import DesiredState, plan
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host import trust
from ansible_collections.fleetops.airflow.plugins.module_utils._host.health import Health
from ansible_collections.fleetops.airflow.plugins.module_utils._services import services
from unit.plugins.hosts import current


@pytest.mark.parametrize(
    ("health", "message"),
    [
        (Health("unverified", "the certificate is rejected: x"), r"cannot be determined: the certificate is rejected"),
        (Health("foreign", "HTTP 404"), r"does not answer as Airflow 2\.11\.2 does \(HTTP 404\)"),
    ],
)
def test_restart_of_a_server_that_cannot_be_judged(health: Health, message: str) -> None:
    state = current("[api]\n", healths=[lambda: health])
    change = plan(state, DesiredState([], for_the_api=True), Target(), ChangePolicy(restart="always"))
    with pytest.raises(AirflowError, match=message) as error:
        preparing.prepare(change, lambda _text: None)
    assert "Nothing was changed." in str(error.value)


def test_restart_from_a_chroot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "in_chroot", lambda: True)
    change = plan(current("[api]\n"), DesiredState([], for_the_api=True), Target(), ChangePolicy(restart="always"))
    with pytest.raises(AirflowError, match=r"this task runs in a chroot.* Nothing was changed\. Set restart to never"):
        preparing.prepare(change, lambda _text: None)


def test_variable_that_the_service_has_been_given_since_is_found_before_the_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {"AIRFLOW__API__AUTH_BACKENDS": "airflow.api.auth.backend.session"}
    monkeypatch.setattr(services, "next_environment", lambda _server: (given, ""))
    desired = DesiredState([Setting("api", "auth_backends", "a.b")], for_the_api=True)
    file = "[api]\nauth_backends = a.b\n"
    change = plan(current(file, healths=[]), desired, Target(), ChangePolicy(restart="always"))
    message = r"AUTH_BACKENDS=.* of the server \(pid 7\) at its next start overrides.* Nothing was changed"
    with pytest.raises(AirflowError, match=message):
        preparing.prepare(change._replace(checks=change.checks._replace(imports=())), lambda _text: None)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans by values: what was found and what is wanted go in, no host is there."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import HIDDEN, Setting
from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import ChangePolicy, Login, Target
from ansible_collections.fleetops.airflow.plugins.module_utils._change.plan import (
    Checks,
    DesiredState,
    Plan,
    Verification,
    plan,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import ServiceDefinition
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import backends_setting, family_of
from ansible_collections.fleetops.airflow.plugins.module_utils._services.names import ServiceChoice
from unit.plugins.hosts import current, host, server

OLD = "[api]\nauth_backends = airflow.api.auth.backend.session\n"
BASIC_AUTH, SESSION = "airflow.api.auth.backend.basic_auth", "airflow.api.auth.backend.session"
KERBEROS = "airflow.api.auth.backend.kerberos_auth"
URL = "http://127.0.0.1:8080"
LOGIN = Login("bob", "secret")
SCHEDULER = ServiceDefinition("the service", ["/bin/airflow", "scheduler"], {}, None)


def backends(*names: str, version: str = "2.11.2", **fields: Any) -> DesiredState:
    return DesiredState([backends_setting(family_of(version), version, list(names))], for_the_api=True)._replace(
        **fields
    )


def planned(
    text: str = OLD,
    desired: DesiredState | None = None,
    target: Target | None = None,
    policy: ChangePolicy | None = None,
    **found: Any,
) -> Plan:
    target = target or Target()
    wanted = desired or backends("basic_auth", "session")
    return plan(current(text, target=target, **found), wanted, target, policy or ChangePolicy())


def test_an_edit_needs_a_restart_and_an_import() -> None:
    change = planned()
    assert change.after.text == OLD.replace(SESSION, BASIC_AUTH + "," + SESSION)
    assert (change.edits, change.restart, change.restart_reason) == (True, True, "airflow.cfg changes")
    assert change.checks == Checks(imports=(BASIC_AUTH,))
    assert change.verification == Verification(url=URL)
    assert change.ends_current
    assert change.result() == {
        "changed": True,
        "restarted": True,
        "restart_pending": False,
        "restart_reason": "airflow.cfg changes",
        "rolled_back": False,
        "airflow_version": "2.11.2",
        "path": "/home/airflow/airflow.cfg",
    }
    assert change.diff() == {
        "before_header": "/home/airflow/airflow.cfg",
        "after_header": "/home/airflow/airflow.cfg",
        "before": OLD,
        "after": change.after.text,
    }


def test_nothing_to_do_is_verified_all_the_same() -> None:
    change = planned(desired=backends("session", login=None))
    assert (change.changes, change.restart_reason, change.checks) == (False, None, Checks())
    assert change.verification == Verification(health=True, url=URL)
    assert change.after is change.before
    assert change.ends_current


def test_restart_never() -> None:
    policy = ChangePolicy(restart="never")
    change = planned(policy=policy)
    assert (change.edits, change.restart, change.result()["restart_pending"]) == (True, False, True)
    assert change.verification == Verification()
    assert not change.ends_current
    assert planned(desired=backends("session"), policy=policy).verification == Verification()


def test_restart_always() -> None:
    change = planned(desired=backends("session"), policy=ChangePolicy(restart="always"))
    assert (change.edits, change.changes, change.restart_reason) == (False, True, "restart is always")
    assert change.checks == Checks()


@pytest.mark.parametrize("restart", ["when_needed", "always"])
def test_a_server_that_has_not_read_the_file(restart: str) -> None:
    policy = ChangePolicy(restart=restart)
    change = planned(desired=backends("session"), policy=policy, restart_reason="the server is not running")
    assert (change.edits, change.restart, change.restart_reason) == (False, True, "the server is not running")


def test_what_the_server_has_read_is_not_known() -> None:
    change = planned(desired=backends("session"), unknown=("It is not on this host.",))
    assert (change.changes, change.ends_current) == (False, False)


def test_a_secret_is_in_no_diff() -> None:
    settings = [Setting("api_auth", "jwt_secret", "new secret", secret=True)]
    change = planned("[api_auth]\njwt_secret = old secret\n", DesiredState(settings, for_the_api=True))
    assert change.diff()["after"] == "[api_auth]\njwt_secret = %s (new)\n" % HIDDEN
    assert "secret = old" not in str(change.diff())


# --- what is in the way -----------------------------------------------------------------------


def test_a_variable_that_overrides_the_file() -> None:
    environment = {"AIRFLOW__API__AUTH_BACKENDS": SESSION}
    with pytest.raises(AirflowError, match=r"AIRFLOW__API__AUTH_BACKENDS=.*pid 7.* Nothing was changed") as error:
        planned(on=host(servers=[server(environment=environment)]))
    assert error.value.details == {"overridden_by": "AIRFLOW__API__AUTH_BACKENDS"}


def test_a_login_that_no_backend_takes() -> None:
    with pytest.raises(AirflowError, match=r"the API takes no passwords\. Nothing was changed"):
        planned(desired=backends("session", login=LOGIN))


# --- checks -----------------------------------------------------------------------------------


def test_a_backend_with_two_paths_is_not_imported_if_the_file_keeps_its_path() -> None:
    provider = BASIC_AUTH.replace("airflow.api", "airflow.providers.fab.auth_manager.api")
    change = planned("[api]\nauth_backends = %s\n" % provider, backends("basic_auth"), restart_reason="old")
    assert (change.edits, change.restart, change.checks.imports) == (False, True, ())


def test_a_backend_that_airflow_config_sets_is_imported() -> None:
    desired = DesiredState([Setting("api", "auth_backends", "my.backend")], for_the_api=False)
    assert planned(desired=desired).checks == Checks(imports=("my.backend",))


@pytest.mark.parametrize(
    ("text", "checks"),
    [
        (OLD, Checks(keytab=True, keytab_backend=KERBEROS, imports=(KERBEROS,))),
        ("[api]\nauth_backends = %s,%s\n" % (KERBEROS, SESSION), Checks(keytab=True)),
    ],
)
def test_a_keytab_is_checked_in_every_run(text: str, checks: Checks) -> None:
    assert planned(text, backends("kerberos_auth", "session")).checks == checks


def test_airflow_config_leaves_keytabs_alone() -> None:
    desired = DesiredState([Setting("api", "auth_backends", KERBEROS)], for_the_api=False)
    assert planned(desired=desired).checks == Checks(imports=(KERBEROS,))


def test_a_keytab_is_checked_if_it_is_set_without_its_backend() -> None:
    settings = [Setting("kerberos", "keytab", "/etc/airflow.keytab")]
    assert planned(desired=DesiredState(settings, for_the_api=True)).checks == Checks(keytab=True)
    assert planned(desired=DesiredState(settings, for_the_api=False)).checks == Checks()


def test_a_named_service_that_is_not_the_servers_is_checked() -> None:
    named = Target(services=ServiceChoice(("webserver",)))
    unchanged = backends("session")
    assert planned(desired=unchanged, target=named).checks == Checks(services=True)
    assert planned(desired=unchanged, target=named, on=host(service_names=frozenset({"webserver"}))).checks == Checks()
    assert not planned(target=named).checks.services  # a restart finds out by itself


def test_servers_that_the_task_does_not_name() -> None:
    named = Target(services=ServiceChoice(("scheduler",)))
    only_scheduler = host(servers=[], bystanders=[server()], service=SCHEDULER)
    change = planned(target=named, on=only_scheduler)
    assert (change.checks.bystanders, change.warnings) == (True, [])
    by_command = Target(services=ServiceChoice(restart_command="restart"))
    assert not planned(target=by_command, on=only_scheduler).checks.bystanders
    change = planned(desired=backends("basic_auth", for_the_api=False), target=named, on=only_scheduler)
    assert not change.checks.bystanders
    (warning,) = change.warnings
    assert warning.startswith("pid 7, started ")
    assert warning.endswith("keeps its old configuration: it is not among the services that are restarted.")


def test_other_servers_of_the_file_keep_their_configuration() -> None:
    change = planned(on=host(bystanders=[server(8)]))
    assert not change.checks.bystanders
    assert [warning.partition(",")[0] for warning in change.warnings] == ["pid 8"]
    assert planned(on=host(bystanders=[server(8)]), policy=ChangePolicy(restart="never")).warnings == []


# --- verification -----------------------------------------------------------------------------


def test_a_login_is_verified_where_the_file_moves_the_server() -> None:
    desired = DesiredState([Setting("webserver", "web_server_port", "8081")], for_the_api=False, login=LOGIN)
    change = planned("[webserver]\nweb_server_port = 8080\n[api]\nauth_backends = %s\n" % BASIC_AUTH, desired)
    assert [address.base_url for address in change.current.addresses] == [URL]
    assert [address.base_url for address in change.addresses] == ["http://127.0.0.1:8081"]
    assert change.verification == Verification(login=LOGIN, url="http://127.0.0.1:8081")


def test_a_login_is_verified_without_a_change() -> None:
    change = planned("[api]\nauth_backends = %s\n" % BASIC_AUTH, backends("basic_auth", login=LOGIN))
    assert change.verification == Verification(health=True, login=LOGIN, url=URL)


def test_a_service_that_is_not_the_apis_has_nothing_to_verify() -> None:
    scheduler = host(servers=[], service=SCHEDULER)
    change = planned(desired=backends("basic_auth", for_the_api=False), on=scheduler)
    assert (change.addresses, change.verification) == ([], Verification())


def test_a_server_that_is_not_seen_is_asked_only_at_a_given_url() -> None:
    given = Target(url="http://elsewhere:8080")
    unseen = host(servers=[])
    assert not planned(desired=backends("session"), on=unseen).verification.health
    assert planned(desired=backends("session"), on=unseen, target=given).verification.health


def test_variable_of_the_second_of_two_servers_is_found() -> None:
    both = [server(7), server(8, {"AIRFLOW__API__AUTH_BACKENDS": "airflow.api.auth.backend.default"})]
    with pytest.raises(AirflowError, match=r"AUTH_BACKENDS=.* in the environment of the server \(pid 8\) overrides"):
        planned(on=host(servers=both))

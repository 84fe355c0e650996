# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why the API of Airflow 2 refuses a login. Its answers are the same for most causes, byte by byte."""

from __future__ import annotations

import re

from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Answer
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import Diagnosis, Observed, call_of
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.refusals import (
    API_AUTH,
    HEADER_LOST,
    SERVICE_USER,
    role_too_low,
)


def refused_v1(seen: Observed, answer: Answer) -> Diagnosis:
    """Which of: no login, role too low, basic_auth not in force, wrong login, header lost. Or unknown.

    The answers themselves do not tell: they are the same for most of these, byte by byte.
    """
    status = answer.status
    evidence = _refusal_evidence(seen, answer)
    backends = "[basic_auth]" if _before_2_3(seen) else "[basic_auth, session]"
    api_auth = API_AUTH.format(backends=backends)
    challenged = _challenges(answer)

    if seen.has_token and not login_shows(seen):
        return Diagnosis(
            "token_not_supported",
            "the token is not taken: Airflow 2 itself gives none and takes none, so it is for something in front of it "
            "or of another kind",
            evidence,
            "Give username and password.",
            status,
        )
    if seen.username is None and not seen.has_token:
        return Diagnosis(
            "credentials_missing",
            "the API wants a login, and none was given",
            evidence,
            "Give username and password.",
            status,
        )
    if status == 403 and login_shows(seen):
        return role_too_low(seen, evidence)
    if tells_by_itself(seen):
        return Diagnosis(
            "basic_auth_not_in_force",
            "basic_auth is not in force, so the API takes no passwords",
            evidence,
            api_auth,
            status,
        )
    if seen.form is False:
        cause = f"the password is not that of {seen.username!r}, or there is no such active user"
        if challenged:
            return Diagnosis("wrong_credentials", cause, evidence, SERVICE_USER, status)
        return Diagnosis(
            "wrong_credentials_or_basic_auth_not_in_force",
            f"{cause}; whether the API takes passwords at all (basic_auth) cannot be told before a login is right",
            evidence,
            "Correct username and password, or run the role fleetops.airflow.api_auth on the Airflow host: it has the "
            "API take passwords, creates the user and proves the login.",
            status,
        )
    if seen.form and challenged:
        return Diagnosis(
            "authorization_header_lost",
            "the login is right and basic_auth is in force, but the login does not reach Airflow",
            evidence,
            "Let the proxy in front of Airflow pass the Authorization header.",
            status,
        )
    if seen.form and status == 403 and (seen.may_read if seen.failure.method == "GET" else seen.may_trigger) is False:
        return role_too_low(seen, evidence)
    if seen.form:
        cause = (
            f"the login is right, but the API takes no passwords, since basic_auth is not in force (or {HEADER_LOST})"
        )
        if seen.may_trigger is False:
            api_auth += f" Also give {seen.username!r} the role User or Op."
        return Diagnosis("basic_auth_not_in_force_or_header_lost", cause, evidence, api_auth, status)
    return _unknown_refusal(seen, status, evidence, challenged, api_auth)


def _unknown_refusal(seen: Observed, status: int, evidence: str, challenged: bool, api_auth: str) -> Diagnosis:
    wrong_login = f"the password is not that of {seen.username!r}, or that is no active user with a local password"
    if challenged:
        return Diagnosis(
            "wrong_credentials_or_header_lost",
            f"basic_auth is in force; it cannot be told from outside whether (1) {wrong_login}, or (2) {HEADER_LOST}",
            evidence,
            SERVICE_USER,
            status,
        )
    candidates = ["basic_auth is not in force", wrong_login]
    if status == 403:
        candidates.append("the user's role is too low")
    candidates.append(HEADER_LOST)
    listed = ", ".join(f"({number}) {candidate}" for number, candidate in enumerate(candidates, 1))
    return Diagnosis(
        "rejected_unknown", f"it cannot be told from outside which it is: {listed}", evidence, api_auth, status
    )


def login_shows(seen: Observed) -> bool:
    """Whether the API treats this login otherwise than no login at all: then it knows who is calling."""
    return seen.known is not None and seen.anonymous is not None and seen.known != seen.anonymous


def tells_by_itself(seen: Observed) -> bool:
    """Whether a refusal proves that basic_auth is not in force: before 2.3 it challenges whom it does not accept."""
    answer = seen.failure.answer
    return answer is not None and answer.status == 401 and _before_2_3(seen) and not _challenges(answer)


def _challenges(answer: Answer) -> bool:
    """Whether basic_auth itself spoke: it stands last among the backends in force, since only that one is heard."""
    return answer.headers.get("WWW-Authenticate", "").lower().startswith("basic")


def release_of(answer: Answer) -> str | None:
    """The release that wrote a problem document: its type leads to that release's documentation."""
    found = re.search(r"/docs/(?:apache-airflow/)?(\d+\.\d+[^/]*)/", str((answer.document or {}).get("type")))
    return found.group(1) if found else None


def _before_2_3(seen: Observed) -> bool:
    release = re.match(r"2\.(\d+)", (seen.server and seen.server.release) or "")
    return release is not None and int(release.group(1)) < 3


def _refusal_evidence(seen: Observed, answer: Answer) -> str:
    observed = [f"{call_of(seen)} answered {answer.status}"]
    if _challenges(answer):
        observed.append("the answer asks for a Basic login")
    if seen.known is not None and seen.known != answer.status:
        observed.append(f"reading the DAG is answered {seen.known} with the login")
    if seen.anonymous is not None:
        observed.append(f"reading without a login is answered {seen.anonymous}")
    if seen.form is not None:
        observed.append(f"the web interface's login form {'accepts' if seen.form else 'refuses'} the same login")
    if seen.form_trouble:
        observed.append(f"the login could not be tried in the web interface: {seen.form_trouble}")
    for may, what in ((seen.may_read, "read"), (seen.may_trigger, "trigger")):
        if may is not None:
            observed.append(f"in the web session the user {'may' if may else 'may not'} {what} the DAG")
    if seen.server and seen.server.release:
        observed.append(f"the server is Airflow {seen.server.release}")
    return "; ".join(observed) + "."

# SPDX-License-Identifier: GPL-3.0-or-later
"""From what was observed to a cause: the combinations are those that real releases showed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.dialects import EXPERIMENTAL, V2
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Answer, TransportError
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import Server
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.calls import diagnose
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import Observed, private_values
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.refusals_v1 import release_of

DAG = "/api/v1/dags/load"
RUNS = DAG + "/dagRuns"

NOT_IN_FORCE = "the login is right, but the API takes no passwords, since basic_auth is not in force"
CERTAINLY_NOT_IN_FORCE = "basic_auth is not in force, so the API takes no passwords"
WRONG_LOGIN = "the password is not that of 'ada', or there is no such active user"
WRONG_LOGIN_AND_MORE = WRONG_LOGIN + "; whether the API takes passwords at all (basic_auth) cannot be told"
ROLE = "the login is right, but the role of 'ada' does not allow to {} this DAG"
HEADER_LOST = "the login is right and basic_auth is in force, but the login does not reach Airflow"
UNKNOWN = "it cannot be told from outside which it is"


def problem(status: int, release: str = "2.11.2", detail: str | None = None, **headers: str) -> Answer:
    kind = f"https://airflow.apache.org/docs/apache-airflow/{release}/stable-rest-api-ref.html#section/Errors/X"
    document = {"detail": detail, "status": status, "title": "Title", "type": kind}
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"Content-Type": "application/problem+json", **headers}, json.dumps(document).encode())


def page(status: int, title: str = "Welcome to nginx!", **headers: str) -> Answer:
    return Answer(status, {"Content-Type": "text/html", **headers}, f"<title> {title}\n</title>".encode())


def seen(
    answer: Answer | None = None, method: str = "GET", trouble: TransportError | None = None, **found: Any
) -> Observed:
    failure = CallFailed(method, DAG if method == "GET" else RUNS, answer=answer, trouble=trouble)
    return Observed(**{"base": "http://h:8080", "dag_id": "load", "username": "ada", "failure": failure, **found})


def refused(status: int, release: str, challenge: str | None = None, method: str = "GET", **found: Any) -> Observed:
    headers = {"WWW_Authenticate": challenge} if challenge else {}
    return seen(problem(status, release, **headers), method, server=Server("v1", release), **found)


ACCEPTED: dict[str, Any] = {"form": True, "may_read": True, "may_trigger": True}
NO_SESSIONS: dict[str, Any] = {"form": True}

REFUSALS = [
    # 2.2.5: deny_all; basic_auth
    (refused(401, "2.2.5", anonymous=401, known=401), CERTAINLY_NOT_IN_FORCE),
    (refused(401, "2.2.5", "Basic", anonymous=401, known=401, form=False), WRONG_LOGIN),
    (refused(401, "2.2.5", "Basic", anonymous=401, known=401, **NO_SESSIONS), HEADER_LOST),
    (refused(403, "2.2.5", anonymous=401, known=403), ROLE.format("read")),
    (refused(403, "2.2.5", method="POST", anonymous=401, known=200), ROLE.format("trigger")),
    # 2.2.5: default
    (refused(403, "2.2.5", anonymous=403, known=403, **ACCEPTED), NOT_IN_FORCE),
    # 2.3.4 to 2.8, 2.10.5: session
    (refused(401, "2.3.4", anonymous=401, known=401, **ACCEPTED), NOT_IN_FORCE),
    (refused(401, "2.10.5", anonymous=401, known=401, form=True, may_read=False, may_trigger=False), NOT_IN_FORCE),
    # 2.3.4 and later: basic_auth,session; session,basic_auth
    (refused(401, "2.6.3", anonymous=401, known=401, form=False), WRONG_LOGIN_AND_MORE),
    (refused(401, "2.6.3", "Basic", anonymous=401, known=401, form=False), WRONG_LOGIN),
    (refused(401, "2.6.3", "Basic", anonymous=401, known=401, **ACCEPTED), HEADER_LOST),
    # 2.9.3, 2.11.2: everybody is told 403
    (refused(403, "2.11.2", anonymous=403, known=403, **ACCEPTED), NOT_IN_FORCE),
    (refused(403, "2.11.2", anonymous=403, known=403, form=True, may_read=True, may_trigger=False), NOT_IN_FORCE),
    (refused(403, "2.11.2", anonymous=403, known=403, form=False), WRONG_LOGIN_AND_MORE),
    (
        refused(403, "2.11.2", anonymous=403, known=403, form=True, may_read=False, may_trigger=False),
        ROLE.format("read"),
    ),
    (refused(403, "2.11.2", method="POST", anonymous=403, known=200), ROLE.format("trigger")),
    # everybody may read
    (refused(403, "2.11.2", method="POST", anonymous=200, known=200, **ACCEPTED), NOT_IN_FORCE),
    (refused(403, "2.11.2", method="POST", anonymous=200, known=200, form=False), WRONG_LOGIN),
    (
        refused(403, "2.11.2", method="POST", anonymous=200, known=200, form=True, may_read=True, may_trigger=False),
        ROLE.format("trigger"),
    ),
    # no form to try
    (refused(401, "2.6.3", anonymous=401, known=401, form_trouble="it is away"), UNKNOWN),
    (refused(403, "2.11.2", anonymous=403, known=403, form_trouble="it is away"), UNKNOWN),
    (
        refused(401, "2.2.5", "Basic", anonymous=401, known=401, form_trouble="x"),
        "basic_auth is in force; it cannot be told",
    ),
    (refused(403, "2.11.2", anonymous=None, known=403), UNKNOWN),
    # no login
    (refused(403, "2.11.2", anonymous=403, known=403, username=None), "the API wants a login, and none was given"),
]


@pytest.mark.parametrize(("observed", "cause"), REFUSALS)
def test_refusals(observed: Observed, cause: str) -> None:
    found = diagnose(observed)
    assert found.cause.startswith(cause)
    assert observed.failure.status == found.http_status
    assert f"answered {found.http_status}" in found.evidence
    assert found.remedy.endswith(".")


def v2(status: int, detail: str, path: str = DAG, method: str = "GET", **found: Any) -> Observed:
    body = json.dumps({"detail": detail}).encode()
    failure = CallFailed(method, path, Answer(status, {"Content-Type": "application/json"}, body), dialect=V2)
    server = Server("v2", "3.3.2")
    return Observed(
        **{"base": "http://h", "dag_id": "load", "username": "ada", "failure": failure, "server": server, **found}
    )


def experimental(status: int, text: str, anonymous: int | None, **found: Any) -> Observed:
    answer = Answer(status, {"Content-Type": "text/html"}, text.encode())
    failure = CallFailed("GET", DAG, answer, dialect=EXPERIMENTAL)
    known = {"server": Server("experimental", None), "anonymous": anonymous}
    return Observed(**{"base": "http://h", "dag_id": "load", "username": "ada", "failure": failure, **known, **found})


TOKEN: dict[str, Any] = {"username": None, "has_token": True}


@pytest.mark.parametrize(
    ("observed", "cause"),
    [
        (v2(401, "Invalid credentials", "/auth/token", "POST"), WRONG_LOGIN),
        (v2(404, "Not Found", "/auth/token", "POST"), "the server gives no token for a username and a password"),
        (v2(401, "Not authenticated", username=None), "the API wants a token, and no login was given"),
        (v2(401, "Not authenticated"), "the login does not reach Airflow"),
        (v2(401, "Token Expired", **TOKEN), "the token has expired"),
        (v2(403, "Invalid JWT token", **TOKEN), "the token is none that this server has signed"),
        (v2(403, "Invalid JWT token"), "the server refuses a token that it has given a moment ago"),
        (v2(403, "Forbidden"), ROLE.format("read")),
        (v2(403, "Forbidden", method="POST"), ROLE.format("trigger")),
        (v2(403, "Forbidden", **TOKEN), "the login is right, but the role of whom the token is for"),
        (experimental(403, "Forbidden", 403), "the API is closed to everybody"),
        (
            experimental(403, "Forbidden", 401),
            WRONG_LOGIN.replace("there is no such active user", "the API has no such"),
        ),
        (experimental(401, "Unauthorized", 401), "the login does not reach Airflow"),
        (experimental(401, "Unauthorized", 401, username=None), "the API wants a login"),
        (experimental(403, "Forbidden", None), "it cannot be told"),
        (refused(403, "2.11.2", anonymous=403, known=403, **TOKEN), "the token is not taken"),
    ],
)
def test_refusals_of_other_generations_and_tokens(observed: Observed, cause: str) -> None:
    found = diagnose(observed)
    assert found.cause.startswith(cause)
    assert found.http_status == observed.failure.status
    assert found.remedy.endswith(".")


@pytest.mark.parametrize(
    ("place", "release"),
    [
        ("docs/2.0.2/stable-rest-api-ref.html#section/Errors/Unauthenticated", "2.0.2"),
        ("docs/apache-airflow/2.11.2/stable-rest-api-ref.html#section/Errors/Unauthenticated", "2.11.2"),
        ("elsewhere", None),
    ],
)
def test_the_release_is_read_from_a_refusal(place: str, release: str | None) -> None:
    body = json.dumps({"type": "https://airflow.apache.org/" + place}).encode()
    assert release_of(Answer(401, {"Content-Type": "application/problem+json"}, body)) == release


def test_an_unknown_cause_lists_the_candidates_in_order() -> None:
    cause = diagnose(refused(403, "2.11.2", anonymous=403, known=403, form_trouble="it is away")).cause
    order = ["(1) basic_auth", "(2) the password", "(3) the user's role", "(4) a proxy"]
    assert [cause.index(words) for words in order] == sorted(cause.index(words) for words in order)


def test_a_role_that_will_be_too_low_is_told_at_once() -> None:
    may_not = diagnose(refused(401, "2.6.3", anonymous=401, known=401, form=True, may_read=True, may_trigger=False))
    assert "User or Op" in may_not.remedy
    may = diagnose(refused(401, "2.6.3", anonymous=401, known=401, **ACCEPTED))
    assert "User or Op" not in may.remedy


@pytest.mark.parametrize(("release", "backends"), [("2.2.5", "[basic_auth] "), ("2.3.4", "[basic_auth, session]")])
def test_the_remedy_fits_the_release(release: str, backends: str) -> None:
    assert f"airflow_api_auth with backends {backends}" in diagnose(refused(401, release, **ACCEPTED)).remedy


@pytest.mark.parametrize(
    ("observed", "cause"),
    [
        (seen(page(200)), "what answers there is not Airflow"),
        (seen(page(404), server=Server(None, None)), "what answers there is not Airflow"),
        (
            seen(page(404), server=Server("v2", "3.3.2")),
            "the server is Airflow 3.3.2, and has no API of the generation v1",
        ),
        (seen(page(404), server=Server("experimental", None)), "the server is an Airflow 1.10, and has no API of"),
        (seen(page(500), server=Server("v1", "2.6.3")), "the API server failed"),
        (seen(page(403), server=Server("v1", "2.6.3")), "something in front of Airflow rejects"),
        (seen(page(401)), "401, not from Airflow"),
        (seen(page(403, Server="nginx")), "403 (nginx), not from Airflow"),
        (seen(page(503)), "the API server is not up"),
        (seen(page(429)), "the server asks for fewer requests"),
    ],
)
def test_what_is_not_the_stable_api(observed: Observed, cause: str) -> None:
    found = diagnose(observed)
    assert found.cause.startswith(cause)
    assert "text/html, titled 'Welcome to nginx!'" in found.evidence


@pytest.mark.parametrize(
    ("location", "remedy"),
    [
        ("https://h:8080" + DAG, "Set url to https://h:8080 if"),
        ("http://h:8080/airflow" + DAG, "Set url to http://h:8080/airflow if"),
        ("https://me:pw@sso.example/start?token=pw", "A login proxy"),
        ("/login?next=x", "A login proxy"),
        ("/elsewhere", "Set url to where"),
        ("https://[::1/x", "Set url to where"),
        ("", "Set url to where"),
    ],
)
def test_redirects(location: str, remedy: str) -> None:
    found = diagnose(seen(Answer(302, {"Location": location}, b"")))
    assert found.remedy.startswith(remedy)
    assert "pw" not in str(found)


@pytest.mark.parametrize(
    "kind", ["name", "refused", "unreachable", "proxy", "tls", "timeout", "broken", "foreign", "settings"]
)
def test_no_answer(kind: str) -> None:
    found = diagnose(seen(trouble=TransportError(kind, "it went wrong")))
    assert found.cause == "h:8080 gave no answer: it went wrong"
    assert found.http_status is None
    assert found.remedy


@pytest.mark.parametrize(("tried", "said"), [(0.0, False), (60.0, True)])
def test_how_long_it_was_tried_is_said_only_where_it_was(tried: float, said: bool) -> None:
    for case in (seen(trouble=TransportError("refused", "it went wrong"), tried=tried), seen(page(503), tried=tried)):
        assert ("stayed so for 60 seconds" in diagnose(case).evidence) is said


def test_missing_dag() -> None:
    nothing = diagnose(seen(problem(404), import_errors=[]))
    assert nothing.cause == "Airflow has no such DAG"
    assert "No file has an import error" in nothing.evidence
    broken = diagnose(seen(problem(404), import_errors=["/dags/load.py"]))
    assert "cannot import" in broken.cause
    assert "/dags/load.py" in broken.evidence
    assert "import error" not in diagnose(seen(problem(404))).evidence


@pytest.mark.parametrize(
    ("detail", "cause"),
    [
        ("{'note': ['Unknown field.']}", "this release does not know notes"),
        ("DAG with dag_id: 'load' has import errors", "its file cannot be imported"),
        (
            "Invalid input for param a: 'hush-hush' is not of type 'integer'\nmore",
            "Airflow refuses what was asked (Inv",
        ),
    ],
)
def test_bad_request(detail: str, cause: str) -> None:
    private = private_values({"a": ["hush-hush", {"b": 12345}]})
    found = diagnose(seen(problem(400, detail=detail), "POST", private=private))
    assert found.cause.startswith(cause)
    assert "hush" not in str(found)
    assert "more" not in str(found)


@pytest.mark.parametrize("answer", [page(500), problem(500, detail="(sqlite3.OperationalError) no such table")])
def test_server_whose_database_is_away(answer: Answer) -> None:
    failed = seen(answer, "POST", server=Server("v1", "2.11.2"))
    assert diagnose(failed).code == "server_error"
    assert diagnose(failed._replace(health={"metadatabase": "healthy"})).code == "server_error"
    away = diagnose(failed._replace(health={"metadatabase": "unhealthy"}))
    assert (away.code, away.http_status) == ("database_not_available", 500)


def test_run_id_that_the_server_does_not_take() -> None:
    said = "The run_id provided 'x' does not match regex pattern '^release-[0-9]+$' or '^(?:manual...)$'"
    assert diagnose(seen(problem(400, detail=said), "POST")).code == "run_id_not_allowed"
    assert "allowed_run_id_pattern" in diagnose(seen(page(500), "POST", server=Server("v1", "2.11.2"))).remedy
    assert "allowed_run_id_pattern" not in diagnose(seen(page(500), server=Server("v1", "2.11.2"))).remedy


def test_base_path_that_url_lacks() -> None:
    failure = CallFailed("POST", "/auth/token", answer=page(404, "Airflow 404"), dialect=V2)
    observed = Observed("https://h:8080", "load", "ada", failure, server=Server("v2", "3.3.2"))
    assert diagnose(observed).code == "no_password_login"
    found = diagnose(observed._replace(base_path="/airflow"))
    assert (found.code, "https://h:8080/airflow" in found.remedy) == ("base_path_missing", True)


@pytest.mark.parametrize(
    ("said", "option"),
    [
        ("Invalid input for param count: '5' is not of type 'integer'", "conf"),
        ("dag_run_id: String should have at most 250 characters", "run_id"),
        ("'x' is not a 'date-time' - 'execution_date'", "logical_date"),
        ("something else", "that this is about"),
    ],
)
def test_option_that_is_refused_is_named(said: str, option: str) -> None:
    assert option in diagnose(seen(problem(400, detail=said), "POST")).remedy


V1, THERE = Server("v1", "2.6.3"), Server("v2", "3.3.2")
UNAUTHENTICATED: dict[str, Any] = {"anonymous": 401, "known": 401}
# One observation for each code that diagnose finds.
CODES = {
    "authorization_header_lost": v2(401, "Not authenticated"),
    "base_path_missing": seen(page(404), "POST", server=THERE, base_path="/airflow")._replace(
        failure=CallFailed("POST", "/auth/token", page(404), dialect=V2)
    ),
    "basic_auth_not_in_force": refused(401, "2.2.5", **UNAUTHENTICATED),
    "basic_auth_not_in_force_or_header_lost": refused(401, "2.6.3", **UNAUTHENTICATED, **ACCEPTED),
    "call_not_supported": experimental(404, "Not Found", None)._replace(
        failure=CallFailed("GET", DAG, page(404), dialect=EXPERIMENTAL)
    ),
    "credentials_missing": refused(403, "2.11.2", anonymous=403, known=403, username=None),
    "dag_import_error": seen(problem(400, detail="DAG with dag_id: 'load' has import errors"), "POST"),
    "dag_not_found": seen(problem(404), import_errors=[]),
    "dag_not_found_import_errors": seen(problem(404), import_errors=["/dags/load.py"]),
    "database_not_available": seen(page(500), server=V1, health={"metadatabase": "unhealthy"}),
    "deny_all_in_force": experimental(403, "Forbidden", 403),
    "manual_runs_not_allowed": seen(problem(400, detail="DAG 'load' does not allow manual runs"), "POST"),
    "no_password_login": v2(404, "Not Found", "/auth/token", "POST"),
    "not_airflow": seen(page(200)),
    "note_not_supported": seen(problem(400, detail="{'note': ['Unknown field.']}"), "POST"),
    "redirected": seen(Answer(302, {"Location": "/login"}, b"")),
    "rejected_by_gateway": seen(page(403), server=V1),
    "rejected_by_other_server": seen(page(403)),
    "rejected_unknown": refused(403, "2.11.2", anonymous=403, known=403, form_trouble="it is away"),
    "request_rejected": seen(problem(400, detail="something else"), "POST"),
    "request_too_large": seen(page(413), "POST", server=V1),
    "role_too_low": refused(403, "2.11.2", method="POST", anonymous=403, known=200),
    "run_id_not_allowed": seen(problem(400, detail="The run_id provided 'x' does not match"), "POST"),
    "run_not_found": seen()._replace(
        failure=CallFailed("GET", RUNS + "/x", problem(404, detail="DAGRun with ID: 'x' not found"))
    ),
    "secrets_differ": v2(403, "Invalid JWT token"),
    "server_error": seen(page(500), server=V1),
    "server_unavailable": seen(page(503)),
    "token_expired": v2(401, "Token Expired", **TOKEN),
    "token_not_of_server": v2(403, "Invalid JWT token", **TOKEN),
    "token_not_supported": refused(403, "2.11.2", anonymous=403, known=403, **TOKEN),
    "too_many_requests": seen(page(429)),
    "wrong_api_version": seen(page(404), server=THERE),
    "wrong_credentials": refused(401, "2.6.3", "Basic", **UNAUTHENTICATED, form=False),
    "wrong_credentials_or_basic_auth_not_in_force": refused(401, "2.6.3", **UNAUTHENTICATED, form=False),
    "wrong_credentials_or_header_lost": refused(401, "2.2.5", "Basic", **UNAUTHENTICATED, form_trouble="x"),
}


@pytest.mark.parametrize("code", CODES)
def test_code(code: str) -> None:
    assert diagnose(CODES[code]).code == code


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("name", "name_not_resolved"),
        ("refused", "connection_refused"),
        ("unreachable", "host_unreachable"),
        ("proxy", "proxy_refused"),
        ("tls", "tls_failed"),
        ("tls_untrusted", "certificate_not_trusted"),
        ("not_tls", "not_tls"),
        ("tls_name", "certificate_name"),
        ("tls_time", "certificate_time"),
        ("client_cert", "client_certificate_required"),
        ("timeout", "timeout"),
        ("broken", "connection_dropped"),
        ("foreign", "not_http"),
        ("settings", "settings_unusable"),
        ("kerberos", "no_ticket"),
    ],
)
def test_code_without_an_answer(kind: str, code: str) -> None:
    assert diagnose(seen(trouble=TransportError(kind, "it went wrong"))).code == code


FLASK_413 = (
    "<!doctype html>\n<title>413 Request Entity Too Large</title>\n<h1>Request Entity Too Large</h1>\n"
    "<p>The data value transmitted exceeds the capacity limit.</p>"
)


@pytest.mark.parametrize(
    ("answer", "whose"),
    [
        (problem(413, detail="The data value transmitted exceeds the capacity limit."), "Airflow itself"),
        (Answer(413, {"Content-Type": "text/html", "Server": "nginx"}, FLASK_413.encode()), "Airflow itself"),
        (page(413, "413 Request Entity Too Large", Server="nginx"), "what stands in front"),
    ],
)
def test_limit_is_that_of_who_gave_the_answer(answer: Answer, whose: str) -> None:
    found = diagnose(seen(answer, "POST", server=Server("v1", "2.11.2")))
    assert (found.code, whose in found.cause) == ("request_too_large", True)
    assert ("allowed_payload_size" in found.remedy) is (whose == "Airflow itself")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(404, {"Content-Type": "application/json"}, b'{"detail": "Not Found"}'), "no_password_login"),
        (Answer(405, {"Content-Type": "application/json"}, b'{"detail": "Method Not Allowed"}'), "no_password_login"),
        (page(404, "Airflow 404"), "no_password_login"),
        (page(404, "404 Not Found", Server="nginx"), "rejected_by_gateway"),
        (page(403), "rejected_by_gateway"),
        (page(405), "rejected_by_gateway"),
        (page(200, "Sign in"), "rejected_by_gateway"),
        (page(500), "server_error"),
        (page(413), "request_too_large"),
    ],
)
def test_only_airflow_itself_says_that_it_has_no_login(answer: Answer, code: str) -> None:
    failure = CallFailed("POST", "/auth/token", answer=answer, dialect=V2)
    assert diagnose(Observed("https://h", "load", "ada", failure, server=Server("v2", "3.3.2"))).code == code


@pytest.mark.parametrize(
    ("value", "detail", "code"),
    [
        ("note", "{'note': ['Unknown field.']}", "note_not_supported"),
        ("import", "DAG with dag_id: 'load' has import errors", "dag_import_error"),
        ("run_id provided", "The run_id provided 'x' does not match", "run_id_not_allowed"),
        ("does not allow manual", "DAG 'load' does not allow manual runs", "manual_runs_not_allowed"),
    ],
)
def test_words_of_conf_do_not_change_the_code(value: str, detail: str, code: str) -> None:
    found = diagnose(seen(problem(400, detail=detail), "POST", private=private_values({"a": value})))
    assert found.code == code


@pytest.mark.parametrize("code", [code for code in CODES if code.startswith(("wrong_cred", "rejected_un", "role_too"))])
def test_blank_at_an_end_of_a_rejected_password_is_spoken_of(code: str) -> None:
    for blank in (False, True):
        found = diagnose(CODES[code]._replace(blank_in_password=blank))
        assert ("password begins or ends with a blank" in found.remedy) is (blank and code != "role_too_low")


@pytest.mark.parametrize(("path", "what"), [("/api/v1/dags/~/dagRuns/list", "read"), (RUNS, "trigger")])
def test_list_that_is_asked_for_by_post_is_read(path: str, what: str) -> None:
    observed = refused(403, "2.2.5", method="POST", anonymous=401, known=403)
    failure = CallFailed("POST", path, answer=observed.failure.answer)
    assert f"does not allow to {what} this DAG" in diagnose(observed._replace(failure=failure)).cause


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, "too_many_requests"), (502, "server_unavailable"), (503, "server_unavailable"), (500, "server_error")],
)
def test_answer_of_a_gateway_to_the_question_for_the_version(status: int, code: str) -> None:
    """It is no connection that was dropped: rules act on that."""
    answer = Answer(status, {}, b"")
    trouble = TransportError("broken", f"what server it is was answered with {status}", answer=answer)
    failure = CallFailed("GET", "/api/v2/version", trouble=trouble, dialect=V2)
    found = diagnose(Observed("http://airflow.example", None, "op", failure))
    assert (found.code, found.http_status) == (code, status)

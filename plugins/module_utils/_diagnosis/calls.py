# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why it did not work, and what to do: from what was observed to cause, evidence and remedy.

Values in, values out: nothing here asks a server. No cause is a guess. Where the observations leave more
than one, the cause says so and names them, the likeliest first.
"""

from __future__ import annotations

import re
from typing import Any, Mapping, NamedTuple, Sequence
from urllib.parse import urlsplit

from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.dialects import DIALECTS
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Answer, NoAnswer
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import FailedTask, Server
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError


class Diagnosis(NamedTuple):
    """``cause`` is a clause, ``evidence`` and ``remedy`` are sentences; ``http_status`` is the refusing answer's."""

    cause: str
    evidence: str
    remedy: str
    http_status: int | None = None


class Observed(NamedTuple):
    """What was found out about a call that failed. None: not looked for, or not to be found out.

    ``stranger`` and ``known`` are the statuses of one and the same request without and with the login. ``form`` tells
    whether the web interface's login form accepts the login, and ``form_trouble`` why it could not be tried;
    ``may_read`` and ``may_trigger`` whether the user who logged in there may read and trigger the DAG.
    """

    base: str
    dag_id: str
    username: str | None
    failure: CallFailed
    has_token: bool = False  # a ready one instead of a username and a password
    server: Server | None = None
    stranger: int | None = None
    known: int | None = None
    form: bool | None = None
    form_trouble: str | None = None
    may_read: bool | None = None
    may_trigger: bool | None = None
    import_errors: Sequence[str] | None = None
    private: Sequence[str] = ()  # texts that an answer may repeat, and that nobody is to read here
    tried: float = 0  # seconds for which the call was repeated where another try might have succeeded


def error(what: str, why: Diagnosis, **details: Any) -> AirflowError:
    """The error that tells a person both. ``details`` go into the module's result."""
    return AirflowError(f"{what}: {why.cause}. {why.remedy}", diagnosis=why._asdict(), **details)


# --- what the API says clearly ----------------------------------------------------------------


def paused_dag(dag_id: str) -> Diagnosis:
    """The DAG is paused, and nothing was sent."""
    return Diagnosis(
        "it is paused, and its run would wait until somebody unpauses it",
        f"The API says is_paused of DAG {dag_id!r}.",
        "Unpause it by fleetops.airflow.airflow_dag, or set if_paused to 'unpause' to have the trigger do that, or to "
        "'trigger' to let the run wait.",
    )


def import_error(dag_id: str) -> Diagnosis:
    """The DAG is known from before, and its file cannot be imported as it is now."""
    return Diagnosis(
        "its file cannot be imported at present, so no run of it starts",
        f"The API says has_import_errors of DAG {dag_id!r}.",
        "Mend the file; the web interface shows the error.",
    )


def other_run(keys: Sequence[str], logical_date: str | None) -> Diagnosis:
    """A run of the wanted id is there, with another conf (the keys alone may be told) or another logical date."""
    differences = []
    if keys:
        differences.append("its conf differs in " + ", ".join(repr(key) for key in keys))
    if logical_date:
        differences.append(f"its logical date is {logical_date}")
    return Diagnosis(
        " and ".join(differences),
        "The run was read from the API. Values are not shown, since they may be secret.",
        "Choose another run_id for another run, or ask for the one that exists.",
    )


def date_taken(logical_date: str, run_id: str | None, status: int | None) -> Diagnosis:
    """Airflow keeps at most one run of a logical date."""
    other = f"run {run_id!r}" if run_id else "another run"
    named = f" {run_id!r}" if run_id else ""
    return Diagnosis(
        f"{other} of this DAG has the logical date {logical_date} already",
        f"Airflow answered {status} and has no run of the wanted id.",
        f"Choose another logical_date or leave it out, or ask for that run by run_id{named}.",
        status,
    )


def failed_run(url: str | None, tasks: Sequence[FailedTask] | None) -> Diagnosis:
    """The run ended, and not well. ``tasks`` is None where those that failed could not be asked for."""
    if tasks is None:
        return Diagnosis(
            "Airflow says that the run failed, and its tasks could not be asked for",
            "The run's state is 'failed'.",
            f"Look at {url}." if url else "Look at it in the web interface.",
        )
    names = sorted({task.task_id for task in tasks})
    cause = "no task of it failed: it ran out of time, or somebody marked it"
    if names:
        cause = f"task {names[0]!r} failed" if len(names) == 1 else "tasks failed: " + ", ".join(names[:5])
        cause += f" and {len(names) - 5} more" if len(names) > 5 else ""
    return Diagnosis(
        cause,
        "The run's state is 'failed'; failed_tasks has the end of the logs.",
        f"Look at {url}.",
    )


def no_such_run(run_id: str) -> Diagnosis:
    """The DAG is there, and the run is not."""
    return Diagnosis(
        "the DAG has no run of that id",
        f"The API has the DAG, and answers 404 to run {run_id!r}.",
        "Correct run_id; fleetops.airflow.airflow_dag_run_info lists the runs.",
        404,
    )


def nothing_to_clear() -> Diagnosis:
    """The run failed, and none of its tasks did."""
    return Diagnosis(
        "none of its tasks failed, so there is none to clear: it ran out of time, or somebody marked it",
        "Airflow was asked which tasks it would clear, and named none.",
        "Set rerun to all_tasks to have all of them run again.",
    )


def no_scheduler(state: str | None) -> Diagnosis:
    """A run has not ended, and nobody is there who would get it on."""
    return Diagnosis(
        _held_up(state, "the scheduler does not run"),
        f"The last state seen is {state!r}. Airflow's health page calls the scheduler 'unhealthy'.",
        "Start the scheduler on the Airflow host; it takes up what waits.",
    )


def _held_up(state: str | None, why: str) -> str:
    """Of a run that has been started, a task may well be running; 2.0 calls it running from the first."""
    if state == "queued":
        return f"{why}, so nothing starts it"
    return f"it is still {state or 'not started'}, and {why}, so no further task of it starts"


def timed_out(
    state: str | None, url: str | None, paused: bool | None, scheduler: str | None, trouble: str | None
) -> Diagnosis:
    """The run had not ended when the time was up."""
    evidence = f"The last state seen is {state!r}."
    remedy = f"Give it a longer wait_timeout; its page is {url}."
    if trouble:
        return Diagnosis(
            "its state could not be asked for at the end",
            f"{evidence} Afterwards: {trouble}.",
            f"See whether the webserver is up, then ask again with the same run_id; the run's page is {url}.",
        )
    if paused:
        return Diagnosis(
            _held_up(state, "its DAG is paused"), evidence, "Unpause the DAG: if_paused 'unpause' does that."
        )
    if scheduler is not None and scheduler != "healthy":
        return no_scheduler(state)
    return Diagnosis(f"it is still {state or 'not started'}", evidence, remedy)


# --- a call that failed -----------------------------------------------------------------------


def diagnose(seen: Observed) -> Diagnosis:
    """Why ``seen.failure`` happened."""
    if seen.failure.answer is None:
        return _no_answer(seen, seen.failure.trouble)
    answer = seen.failure.answer
    if 300 <= answer.status < 400:
        return _redirect(seen, answer)
    if seen.failure.foreign:
        return _not_from_the_api(seen, answer)
    if answer.status in (401, 403):
        return _REFUSED[seen.failure.dialect.generation](seen, answer)
    if seen.failure.missing:
        return _missing(seen)
    return _problem(seen, answer)


_NO_ANSWER_REMEDIES = {
    "name": "Correct url, or the name resolution of the host that runs this task.",
    "refused": "Start the webserver, or correct host and port of url. If its process runs all the same, one of its "
    "auth backends cannot be imported: fleetops.airflow.airflow_api_auth on that host tells.",
    "unreachable": "Correct host and port of url, or the network and firewall between the host that runs this task "
    "and that one.",
    "proxy": "Correct http_proxy or https_proxy in the environment of the task, or name the host in no_proxy.",
    "tls": "Name the authority's certificate in ca_path if it is a private one; if the server does not speak TLS, url "
    "begins with http://.",
    "tls_name": "Set url to a name that is in the certificate, or have the server given one for this name.",
    "tls_time": "Renew the server's certificate, or set the clock of the host that runs this task.",
    "client_cert": "Give client_cert, a certificate that the server trusts, and client_key if the key is in another "
    "file.",
    "timeout": "See whether the server is overloaded or hangs, or give it a longer timeout.",
    "broken": "See the logs of the webserver and of what stands in front of it.",
    "foreign": "Correct url: host, port, and the base path if Airflow's web interface has one.",
    "settings": "Correct these settings.",
    "kerberos": "Run kinit, or name a credential cache (KRB5CCNAME) or a client keytab (KRB5_CLIENT_KTNAME) in "
    "the task's environment. If there is a ticket, correct kerberos_hostname: it is the host in the server's own "
    "principal.",
}


def _no_answer(seen: Observed, trouble: NoAnswer | None) -> Diagnosis:
    kind = trouble.kind if trouble else "broken"
    tried = f", and it stayed so for {seen.tried:g} seconds" if trouble and trouble.passing and seen.tried else ""
    return Diagnosis(
        f"{urlsplit(seen.base).netloc} gave no answer: {trouble}",
        f"{_call(seen)}: {trouble}{tried}.",
        _NO_ANSWER_REMEDIES[kind],
    )


def _redirect(seen: Observed, answer: Answer) -> Diagnosis:
    target = urlsplit(answer.headers.get("Location", ""))
    here = urlsplit(seen.base)
    host = target.netloc.rpartition("@")[2] or here.netloc
    place = f"{target.scheme or here.scheme}://{host}{target.path}"
    path = seen.failure.path.split("?")[0]
    remedy = "Set url to where Airflow itself answers."
    if place.endswith(path):
        remedy = f"Set url to {place[: -len(path)]} if that is your Airflow."
    elif "log" in target.path.lower() or host != here.netloc:
        remedy = "A login proxy seems to stand in front: set url to an address that reaches Airflow without it."
    return Diagnosis(
        f"the server leads to {place}, and redirects are not followed, since the login would travel along",
        f"{_call(seen)} answered {answer.status} with that Location.",
        remedy,
        answer.status,
    )


def _not_from_the_api(seen: Observed, answer: Answer) -> Diagnosis:
    """What refused is not that API: another generation, something in front, or no Airflow at all."""
    server = seen.server or Server(None, None)
    spoken = seen.failure.dialect
    evidence = f"{_call(seen)} answered {_received(answer)}."
    if answer.passing:
        return Diagnosis(
            "the server asks for fewer requests" if answer.status == 429 else "the webserver is not up, or overloaded",
            evidence
            + f" It stayed so for {seen.tried:g} seconds, or the server asked for a longer pause." * bool(seen.tried),
            "See whether the webserver runs, and the logs of what stands in front of it.",
            answer.status,
        )
    if server.generation and server.generation != spoken.generation:
        there = f"Airflow {server.release}" if server.release else f"an {DIALECTS[server.generation].releases}"
        return Diagnosis(
            f"the server is {there}, and has no API of the generation {spoken.generation}",
            evidence,
            f"Set api_version to {server.generation}, or to auto.",
            answer.status,
        )
    if server.generation == "experimental" and answer.status in (404, 405):
        return Diagnosis(
            "the API of Airflow 1.10 has no such call", evidence, "Leave out what asks for it.", answer.status
        )
    if server.generation and seen.failure.at_login:
        return Diagnosis(
            "the server gives no token for a username and a password: its auth manager has no such login",
            f"{evidence} Airflow {server.release} is there.",
            "Give a token that you have from elsewhere as token; or run fleetops.airflow.airflow_api_auth with "
            "auth_manager fab on the Airflow host.",
            answer.status,
        )
    name = f"Airflow {server.release}" if server.release else spoken.releases
    if server.generation and answer.status >= 500:
        return Diagnosis(
            "the webserver failed while it handled the request",
            f"{evidence} {name} is there.",
            "The webserver's log has the exception.",
            answer.status,
        )
    if server.generation:
        return Diagnosis(
            "something in front of Airflow refuses the request",
            f"{evidence} {name} is there, but never answers in this way.",
            "Let that proxy or gateway pass the API's paths with their Authorization header.",
            answer.status,
        )
    if answer.status in (401, 403):
        return Diagnosis(
            "what refuses is not Airflow: another server, or a proxy in front that wants a login of its own",
            evidence,
            "Correct url, or let the proxy pass the API's paths with their Authorization header.",
            answer.status,
        )
    return Diagnosis(
        "what answers there is not Airflow",
        evidence,
        "Correct url: host, port, and the base path if Airflow's web interface has one.",
        answer.status,
    )


def _missing(seen: Observed) -> Diagnosis:
    evidence = f"{_call(seen)} answered {seen.failure.status}."
    if seen.import_errors:
        return Diagnosis(
            "Airflow has no such DAG, and files that it cannot import",
            f"{evidence} Import errors are in {', '.join(seen.import_errors)}.",
            "Mend that file if the DAG is in one of them (the web interface shows the errors); else correct dag_id.",
            seen.failure.status,
        )
    if seen.import_errors is not None:
        evidence += " No file has an import error."
    return Diagnosis(
        "Airflow has no such DAG",
        evidence,
        "Correct dag_id. If its file was deployed just now, wait until the scheduler has read it.",
        seen.failure.status,
    )


def _problem(seen: Observed, answer: Answer) -> Diagnosis:
    """Airflow refuses what was sent, or fails, and says itself why."""
    said = _clean(seen.failure.said or "", seen.private)
    evidence = f"{_call(seen)} answered {answer.status}: {said}"
    if answer.status == 400 and "'note'" in said:
        return Diagnosis("this release does not know notes", evidence, "Leave note out: it came with Airflow 2.5.", 400)
    if answer.status == 400 and "import errors" in said:
        return Diagnosis(
            "its file cannot be imported at present", evidence, "Mend it; the web interface shows the error.", 400
        )
    if answer.status >= 500:
        return Diagnosis(f"the webserver failed ({said})", evidence, "The webserver's log has more.", answer.status)
    return Diagnosis(
        f"Airflow refuses what was asked ({said})", evidence, "Correct the option that this is about.", answer.status
    )


# --- 401 and 403 ------------------------------------------------------------------------------

_API_AUTH = (
    "Run fleetops.airflow.airflow_api_auth with backends {backends} on the Airflow host, or the role "
    "fleetops.airflow.api_auth: it also tells if an environment variable beats the file, and restarts what has not "
    "read it."
)
_SERVICE_USER = "Correct username and password, or let the role fleetops.airflow.api_auth create a user for the API."
_HEADER_LOST = "a proxy in front removes the Authorization header"


def _refused_v2(seen: Observed, answer: Answer) -> Diagnosis:
    """Airflow 3: wrong login, no login, a token that is over or not of this server, or a role that is too low."""
    status, said = answer.status, _clean(seen.failure.said or "", seen.private)
    evidence = f"{_call(seen)} answered {status}: {said}."
    if seen.server and seen.server.release:
        evidence += f" The server is Airflow {seen.server.release}."
    if seen.failure.at_login:
        return Diagnosis(
            f"the password is not that of {seen.username!r}, or there is no such active user",
            evidence,
            "Correct username and password. The simple auth manager makes its passwords itself and keeps them in "
            "simple_auth_manager_passwords.json.generated on the Airflow host; with that of FAB, the role "
            "fleetops.airflow.api_auth or 'airflow users create' makes a user.",
            status,
        )
    if "expired" in said.lower():
        return Diagnosis("the token has expired", evidence, "Give a new one, or username and password.", status)
    if seen.username is None and not seen.has_token:
        return Diagnosis(
            "the API wants a token, and no login was given", evidence, "Give username and password, or a token.", status
        )
    if said == "Invalid JWT token" and seen.has_token:
        return Diagnosis(
            "the token is none that this server has signed, or its secret has changed since",
            evidence,
            "Give a new one from this very server, or username and password.",
            status,
        )
    if said == "Invalid JWT token":
        return Diagnosis(
            "the server refuses a token that it has given a moment ago: several servers sign with different secrets",
            evidence,
            "Run fleetops.airflow.airflow_api_auth with one and the same jwt_secret on all hosts of this Airflow.",
            status,
        )
    if status == 401:
        return Diagnosis(
            "the login does not reach Airflow: something in front of it removes the Authorization header",
            evidence,
            "Let the proxy in front of Airflow pass the Authorization header.",
            status,
        )
    return _role(seen, evidence)


def _refused_experimental(seen: Observed, answer: Answer) -> Diagnosis:
    """Airflow 1.10: which backend is in force shows in what a stranger is told."""
    status = answer.status
    evidence = f"{_call(seen)} answered {status}; without a login it is answered {seen.stranger}."
    api_auth = _API_AUTH.format(backends="[basic_auth]")
    if seen.stranger == 403:
        return Diagnosis("the API is closed to everybody (deny_all is in force)", evidence, api_auth, status)
    if seen.username is None:
        return Diagnosis("the API wants a login, and none was given", evidence, "Give username and password.", status)
    if seen.stranger == 401 and status == 403:
        return Diagnosis(
            f"the password is not that of {seen.username!r}, or the API has no such user",
            evidence,
            "Correct username and password. The API of Airflow 1.10 has users of its own (PasswordUser): those of the "
            "web interface with roles are others.",
            status,
        )
    if seen.stranger == 401:
        return Diagnosis(
            "the login does not reach Airflow: something in front of it removes the Authorization header",
            evidence,
            "Let the proxy in front of Airflow pass the Authorization header.",
            status,
        )
    return Diagnosis("it cannot be told from outside why the API refuses this call", evidence, api_auth, status)


def _refused_v1(seen: Observed, answer: Answer) -> Diagnosis:
    """Which of: no login, role too low, basic_auth not in force, wrong login, header lost. Or unknown.

    The answers themselves do not tell: they are the same for most of these, byte by byte.
    """
    status = answer.status
    evidence = _refusal_evidence(seen, answer)
    backends = "[basic_auth]" if _before_2_3(seen) else "[basic_auth, session]"
    api_auth = _API_AUTH.format(backends=backends)
    challenged = _challenges(answer)

    if seen.has_token and not login_shows(seen):
        return Diagnosis(
            "the token is not taken: Airflow 2 itself gives none and takes none, so it is for something in front of it "
            "or of another kind",
            evidence,
            "Give username and password.",
            status,
        )
    if seen.username is None and not seen.has_token:
        return Diagnosis("the API wants a login, and none was given", evidence, "Give username and password.", status)
    if status == 403 and login_shows(seen):
        return _role(seen, evidence)
    if tells_by_itself(seen):
        return Diagnosis("basic_auth is not in force, so the API takes no passwords", evidence, api_auth, status)
    if seen.form is False:
        cause = f"the password is not that of {seen.username!r}, or there is no such active user"
        if challenged:
            return Diagnosis(cause, evidence, _SERVICE_USER, status)
        return Diagnosis(
            f"{cause}; whether the API takes passwords at all (basic_auth) cannot be told before a login is right",
            evidence,
            "Correct username and password, or run the role fleetops.airflow.api_auth on the Airflow host: it has the "
            "API take passwords, creates the user and proves the login.",
            status,
        )
    if seen.form and challenged:
        return Diagnosis(
            "the login is right and basic_auth is in force, but the login does not reach Airflow",
            evidence,
            "Let the proxy in front of Airflow pass the Authorization header.",
            status,
        )
    if seen.form and status == 403 and (seen.may_read if seen.failure.method == "GET" else seen.may_trigger) is False:
        return _role(seen, evidence)
    if seen.form:
        cause = (
            f"the login is right, but the API takes no passwords, since basic_auth is not in force (or {_HEADER_LOST})"
        )
        if seen.may_trigger is False:
            api_auth += f" Also give {seen.username!r} the role User or Op."
        return Diagnosis(cause, evidence, api_auth, status)
    return _unknown_refusal(seen, status, evidence, challenged, api_auth)


def _unknown_refusal(seen: Observed, status: int, evidence: str, challenged: bool, api_auth: str) -> Diagnosis:
    wrong_login = f"the password is not that of {seen.username!r}, or that is no active user with a local password"
    if challenged:
        return Diagnosis(
            f"basic_auth is in force; it cannot be told from outside whether (1) {wrong_login}, or (2) {_HEADER_LOST}",
            evidence,
            _SERVICE_USER,
            status,
        )
    candidates = ["basic_auth is not in force", wrong_login]
    if status == 403:
        candidates.append("the user's role is too low")
    candidates.append(_HEADER_LOST)
    listed = ", ".join(f"({number}) {candidate}" for number, candidate in enumerate(candidates, 1))
    return Diagnosis(f"it cannot be told from outside which it is: {listed}", evidence, api_auth, status)


_REFUSED = {"v1": _refused_v1, "v2": _refused_v2, "experimental": _refused_experimental}


def _role(seen: Observed, evidence: str) -> Diagnosis:
    what = "trigger" if seen.failure.method != "GET" else "read"
    who = repr(seen.username) if seen.username else "whom the token is for"
    return Diagnosis(
        f"the login is right, but the role of {who} does not allow to {what} this DAG",
        evidence,
        f"Give {who} the role User or Op, or one that can read and edit the DAG and create DAG runs.",
        seen.failure.status,
    )


def login_shows(seen: Observed) -> bool:
    """Whether the API treats this login otherwise than no login at all: then it knows who is calling."""
    return seen.known is not None and seen.stranger is not None and seen.known != seen.stranger


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
    told = [f"{_call(seen)} answered {answer.status}"]
    if _challenges(answer):
        told.append("the answer asks for a Basic login")
    if seen.known is not None and seen.known != answer.status:
        told.append(f"reading the DAG is answered {seen.known} with the login")
    if seen.stranger is not None:
        told.append(f"reading without a login is answered {seen.stranger}")
    if seen.form is not None:
        told.append(f"the web interface's login form {'accepts' if seen.form else 'refuses'} the same login")
    if seen.form_trouble:
        told.append(f"the login could not be tried in the web interface: {seen.form_trouble}")
    for may, what in ((seen.may_read, "read"), (seen.may_trigger, "trigger")):
        if may is not None:
            told.append(f"in the web session the user {'may' if may else 'may not'} {what} the DAG")
    if seen.server and seen.server.release:
        told.append(f"the server is Airflow {seen.server.release}")
    return "; ".join(told) + "."


def refused_ticket(seen: Observed, service: str) -> Diagnosis | None:
    """Why a call with a Kerberos ticket for ``service`` was refused; None where that has nothing to do with it."""
    answer = seen.failure.answer
    if answer is None or answer.status not in (401, 403, 500):
        return None
    evidence = f"{_call(seen)} answered {answer.status} to a ticket for {service}."
    if answer.status == 401:
        return Diagnosis(
            "it cannot be told from outside which it is: (1) kerberos_auth is not in force, (2) the server takes "
            f"itself for another host, and has no key of {service}, (3) {_HEADER_LOST}",
            evidence,
            "Run fleetops.airflow.airflow_api_auth with backends [kerberos_auth, session] on the Airflow host, and see "
            "by fleetops.airflow.airflow_api_auth_info whose keys it has: kerberos_hostname has to be that host.",
            401,
        )
    if answer.status == 403:
        return Diagnosis(
            "it cannot be told from outside which it is: (1) the role of the principal's user is too low, or "
            "(2) on Airflow 2.8 and later, nobody looked at the ticket, because a public role is set",
            evidence,
            "Give the user the role User or Op; see public_role of fleetops.airflow.airflow_api_auth_info.",
            403,
        )
    if not seen.failure.foreign:
        return None
    return Diagnosis(
        "the webserver failed while it handled the ticket: it does so where no user of Airflow is called like the "
        "whole principal, realm included",
        evidence,
        "Create that user (user@REALM); else the webserver's log has the exception.",
        500,
    )


# --- words ------------------------------------------------------------------------------------


def _call(seen: Observed) -> str:
    return f"{seen.failure.method} {seen.base}{seen.failure.path.split('?')[0]}"


def _received(answer: Answer) -> str:
    """An answer of unknown origin in a few words."""
    said = f"{answer.status} with {answer.content_type or 'no content type'}"
    title = re.search(r"<title>\s*(.*?)\s*</title>", answer.text, re.IGNORECASE | re.DOTALL)
    if title:
        said += f", titled {_clean(title.group(1), ())!r}"
    server = answer.headers.get("Server")
    return said + (f", from {server}" if server else "")


def _clean(text: str, private: Sequence[str]) -> str:
    """The first line of what a server said, not too long, without what it may repeat of our own data."""
    text = next(iter(text.strip().splitlines()), "")
    for value in sorted(private, key=len, reverse=True):
        text = text.replace(value, "***")
    return text if len(text) <= 300 else text[:300] + "..."


def private_values(conf: Mapping[str, Any] | None) -> list[str]:
    """The texts in a conf that a server's message might repeat."""
    found: list[str] = []
    waiting: list[Any] = list((conf or {}).values())
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif len(str(value)) >= 3:
            found += [str(value), repr(value)[1:-1] if isinstance(value, str) else str(value)]
    return found

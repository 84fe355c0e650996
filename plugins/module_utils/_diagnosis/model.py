# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is observed of a call that failed, and what follows from it: values in, values out.

Nothing of this package but findings and examination asks a server. No cause is a guess. Where the observations leave
more than one, the cause says so and names them, the likeliest first.
"""

from __future__ import annotations

import re
from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Answer
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import Dag, Server
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError

_SHORT_WORD = r"[A-Za-z0-9]{1,7}"
# What Airflow, and the validators of params and requests, say themselves in the messages that repeat values.
_OWN_WORDS = (
    " additional airflow all allowed already and any api are array before body boolean but can cannot conf config "
    "constraint dag dags data date datetime default does empty enum error errors exactly exist exists expected "
    "extra failed few field fields files for format found from given greater has have import input integer into "
    "invalid key keys least length less list logical longer many match matched matches maximum minimum missing "
    "more most must name none not null number object one only option other param params pattern property "
    "provided range reason regex request require required run runs schema schemas set should start state string "
    "task tasks than that the this time too true type under unique unknown url user valid value values was when "
    "which with without "
)


class Diagnosis(NamedTuple):
    """``code`` is for programs and never changes its meaning: docs/diagnoses.md lists all. ``cause`` is a clause,
    ``evidence`` and ``remedy`` are sentences; ``http_status`` is the refusing answer's.
    """

    code: str
    cause: str
    evidence: str
    remedy: str
    http_status: int | None = None


class Observed(NamedTuple):
    """What was found out about a call that failed. None: not looked for, or not to be found out.

    ``anonymous`` and ``known`` are the statuses of one and the same request without and with the login. ``form`` tells
    whether the web interface's login form accepts the login, and ``form_trouble`` why it could not be tried;
    ``may_read`` and ``may_trigger`` whether the user who logged in there may read and trigger the DAG.
    """

    base: str
    dag_id: str | None  # None where the call was about no DAG in particular
    username: str | None
    failure: CallFailed
    has_token: bool = False  # a ready one instead of a username and a password
    server: Server | None = None
    anonymous: int | None = None
    known: int | None = None
    form: bool | None = None
    form_trouble: str | None = None
    may_read: bool | None = None
    may_trigger: bool | None = None
    import_errors: Sequence[str] | None = None
    dag: Dag | None = None  # which can be read, though a trigger of it is answered 404
    private: Sequence[str] = ()  # texts that an answer may repeat, and that nobody is to read here
    base_path: str | None = None  # what the web interface says that url lacks
    health: Mapping[str, str | None] = {}  # what the health page says of each part of Airflow
    blank_in_password: bool = False  # at its beginning or end
    tried: float = 0  # seconds for which the call was repeated where another try might have succeeded


def error(what: str, why: Diagnosis, **details: Any) -> AirflowError:
    """The error that tells a person both. ``details`` go into the module's result."""
    return AirflowError(f"{what}: {why.cause}. {why.remedy}", diagnosis=why._asdict(), **details)


def server_failed(seen: Observed, said: str, evidence: str, remedy: str) -> Diagnosis:
    """Airflow's server is there, and failed. ``said``: what it says of that, or something in front of it."""
    status = seen.failure.status
    database = seen.health.get("metadatabase", "healthy")
    if database != "healthy":
        return Diagnosis(
            "database_not_available",
            "Airflow's database does not respond",
            f"{evidence} Airflow's health page calls the metadatabase {database!r}.",
            "See whether the database is up, and can be reached from the Airflow host. The API server need not be "
            "restarted.",
            status,
        )
    return Diagnosis(
        "server_error", f"the API server failed while it handled the request{said}", evidence, remedy, status
    )


def call_of(seen: Observed) -> str:
    """The call that failed, in words."""
    return f"{seen.failure.method} {seen.base}{seen.failure.path.split('?')[0]}"


def received(answer: Answer) -> str:
    """An answer of unknown origin in a few words."""
    said = f"{answer.status} with {answer.content_type or 'no content type'}"
    title = re.search(r"<title>\s*(.*?)\s*</title>", answer.text, re.IGNORECASE | re.DOTALL)
    if title:
        said += f", titled {clean(title.group(1), ())!r}"
    server = answer.headers.get("Server")
    return said + (f", from {clean(server, ())}" if server else "")


def clean(text: str, private: Sequence[str]) -> str:
    """The first line of what a server said, not too long, without what it may repeat of our own data."""
    text = next(iter(text.strip().splitlines()), "")
    for value in sorted(private, key=len, reverse=True):
        text = _without(text, value)
    return text if len(text) <= 300 else text[:300] + "..."


def _without(text: str, value: str) -> str:
    """The text in which a value is hidden where it may stand as one, and words that are the same by chance are not."""
    literal = re.escape(value)
    if not re.fullmatch(_SHORT_WORD, value):
        return re.sub(literal, "***", text)
    if f" {value.lower()} " in _OWN_WORDS:  # values are quoted
        return re.sub(rf"(?<=['\"]){literal}(?=['\"])", "***", text)
    return re.sub(rf"(?<!\w){literal}(?!\w)", "***", text)


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

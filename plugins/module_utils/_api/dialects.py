# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each generation of the API calls things, as a row: a Dialect."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Callable, Mapping, NamedTuple, Sequence
from urllib.parse import quote, urlencode

from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Answer, parsed_json
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import Run

_LOG_BYTES = 16 * 1024
_EVENT_BYTES = 1024 * 1024  # an event has its time, its logger and, of an exception, the frames of the stack
_MOST_EVENTS = 50
_MOST_OF_A_PIECE = 300  # characters
_NDJSON = "application/x-ndjson"
_FLASK_FAILED = "The server encountered an internal error and was unable to complete your request"


class Request(NamedTuple):
    """A request that does something; ``path`` is what follows the prefix of the generation."""

    method: str
    path: str
    document: Mapping[str, Any] | None = None


class Log(NamedTuple):
    """A form in which a log can be asked for. ``lines``: of such an answer; None if it is another one."""

    media_type: str
    only_end: int | None  # bytes that are enough for the last lines; None if it has to be whole
    lines: Callable[[Answer], list[str] | None]


class Dialect(NamedTuple):
    """What one generation of the API calls things. ``{dag}`` in paths, which follow the prefix, is a DAG's id.

    A run has a path of its own below ``runs`` if ``has_run_path``; else it is looked for in the list of all of them.
    ``always`` is in every request for a run. ``validates_last``: a request with an unknown field is refused, and only
    after login and permission, which shows both without a run. ``said`` is the reason that an answer of the API gives
    for a refusal, None for an answer that is not the API's. ``signed`` is whether only Airflow writes such an answer:
    other servers write JSON of the same shape. ``no_such_path`` is a key and its values, by which it says that it has
    no such path, rather than no such DAG or run.
    """

    generation: str
    releases: str
    login: str  # which one of Logins
    prefix: str
    health: str
    login_check: tuple[str, str]  # a path that takes a login, for whichever DAG, and the key of its answer
    dag: str
    set_paused: Callable[[bool], Request]
    runs: str
    has_run_path: bool
    run_key: str
    date_key: str  # of a run, in what is sent and in filters
    due_key: str  # when a run is to start at the earliest, in runs and filters
    due_before: timedelta  # how much earlier than its logical date that may be
    always: Mapping[str, Any]
    validates_last: bool
    has_notes: bool
    has_tasks: bool
    clear_of: Callable[[Run], Mapping[str, Any]]  # how a request to clear tasks names their run
    has_wait: bool  # a run can be waited for in one request, whose answer is written while it gets on
    logs: Sequence[Log]  # the forms of a log to ask for, the best first
    run_page: Callable[[Mapping[str, Any]], str | None]  # the path of its page
    said: Callable[[Answer], str | None]
    signed: Callable[[Answer], bool]
    no_such_path: tuple[str, tuple[str, ...]]


def _patch_paused(is_paused: bool) -> Request:
    return Request("PATCH", "/dags/{dag}?update_mask=is_paused", {"is_paused": is_paused})


def _get_paused(is_paused: bool) -> Request:
    return Request("GET", "/dags/{dag}/paused/" + ("true" if is_paused else "false"))


def _page_experimental(run: Mapping[str, Any]) -> str | None:
    found = re.search(r"(/admin/airflow)?/graph\?.*", run.get("dag_run_url", ""))  # there are two web interfaces
    return found and found.group()


def _page_v1(run: Mapping[str, Any]) -> str | None:
    if "data_interval_start" not in run:  # before 2.4 the page is not told by the run's id
        date = run.get("execution_date")
        return "/graph?" + urlencode({"dag_id": run["dag_id"], "execution_date": date}) if date else None
    return f"/dags/{quote(str(run['dag_id']), safe='')}/grid?" + urlencode({"dag_run_id": run["dag_run_id"]})


def _page_v2(run: Mapping[str, Any]) -> str:
    return f"/dags/{quote(str(run['dag_id']), safe='')}/runs/{quote(str(run['dag_run_id']), safe='')}"


def _said_v1(answer: Answer) -> str | None:
    problem = (answer.document or {}) if _signed_v1(answer) else {}
    return str(problem.get("detail") or problem.get("title") or "") if problem else None


def _signed_v1(answer: Answer) -> bool:
    """By the type, which leads to Airflow's documentation, or by the words of Flask, where Airflow catches no error.

    The content type alone is that of many gateways.
    """
    problem = (answer.document or {}) if answer.content_type == "application/problem+json" else {}
    kind = str(problem.get("type"))
    if "stable-rest-api-ref" in kind or "airflow.apache.org" in kind:
        return True
    return str(problem.get("detail")).startswith(_FLASK_FAILED)


def _said_v2(answer: Answer) -> str | None:
    document = answer.document or {}
    detail = document.get("detail")
    # FastAPI writes nothing else beside it. What has a title or a status too is the problem document of a gateway.
    if answer.status < 400 or not detail or len(document) > 1 or answer.content_type != "application/json":
        return None
    if isinstance(detail, dict):  # such as a constraint of the database
        return str(detail.get("reason") or detail.get("message") or detail)
    if isinstance(detail, list):
        return "; ".join(_complaint(part) for part in detail)
    return str(detail)


def _signed_v2(answer: Answer) -> bool:
    """By what it says of its database. The rest is said by everything that is made with FastAPI."""
    detail = (answer.document or {}).get("detail") if _said_v2(answer) else None
    return isinstance(detail, dict) and {"reason", "statement", "orig_error"} <= detail.keys()


def _complaint(part: Any) -> str:
    """What pydantic complains of, without the input, which may be secret."""
    if not isinstance(part, dict):
        return str(part)
    place = ".".join(str(step) for step in part.get("loc", ())[1:])
    return f"{place}: {part.get('msg')}" if place else str(part.get("msg"))


def _said_experimental(answer: Answer) -> str | None:
    said = (answer.document or {}).get("error")
    if answer.status == 404 and not str(said).startswith("Dag id"):
        return None  # Airflow 3 says in this way that it has no such path
    if said is None and answer.status in (401, 403) and answer.text.strip() in ("Forbidden", "Unauthorized"):
        said = answer.text.strip()
    return None if said is None else str(said)


def _lines_v1(answer: Answer) -> list[str]:
    return answer.text.strip().splitlines()


def _lines_v2(answer: Answer) -> list[str] | None:
    """The lines of a log of events in one document."""
    events = (answer.document or {}).get("content")
    return [line for event in events for line in _lines_of_event(event)] if isinstance(events, list) else None


def _lines_ndjson(answer: Answer) -> list[str] | None:
    """The lines of the end of a log of events, with one on each line."""
    if answer.content_type != _NDJSON:
        return None
    lines: list[str] = []
    for line in answer.text.strip().split("\n")[-_MOST_EVENTS:]:
        event = parsed_json(line)  # None of one that has been cut off at its beginning
        lines += [line[-_MOST_OF_A_PIECE:]] if event is None else _lines_of_event(event)
    return lines


def _lines_of_event(event: Any) -> list[str]:
    """What an event has on an exception follows it."""
    if not isinstance(event, dict):
        return str(event).splitlines()
    lines = str(event.get("event", "")).splitlines()
    for exception in event.get("error_detail") or []:
        lines.append(f"{exception.get('exc_type')}: {exception.get('exc_value')}")
    return lines


V1 = Dialect(
    generation="v1",
    releases="Airflow 2",
    login="basic",
    prefix="/api/v1",
    health="/api/v1/health",
    login_check=("/dags?limit=1", "dags"),
    dag="/dags/{dag}",
    set_paused=_patch_paused,
    runs="/dags/{dag}/dagRuns",
    has_run_path=True,
    run_key="dag_run_id",
    date_key="execution_date",  # every release from 2.0 to 2.11 takes it; logical_date only those from 2.2 on
    due_key="execution_date",
    due_before=timedelta(0),
    always={},
    validates_last=True,
    has_notes=True,
    has_tasks=True,
    # By 2.6 it took the run's id too. A DAG has one run of a date.
    clear_of=lambda run: {"start_date": run.logical_date, "end_date": run.logical_date},
    has_wait=False,
    logs=[Log("text/plain", _LOG_BYTES, _lines_v1)],
    run_page=_page_v1,
    said=_said_v1,
    signed=_signed_v1,
    no_such_path=("type", ("about:blank",)),
)

V2 = V1._replace(
    generation="v2",
    releases="Airflow 3",
    login="token",
    prefix="/api/v2",
    health="/api/v2/monitor/health",
    date_key="logical_date",
    due_key="run_after",
    due_before=timedelta(days=366),  # the last interval of the schedule that ends before the date is waited for
    always={"logical_date": None},  # the key has to be there
    clear_of=lambda run: {"dag_run_id": run.run_id},  # it may have no date
    has_wait=True,  # from 3.1 on
    # One document of JSON can only be read whole, which the largest logs are too large for.
    logs=[Log(_NDJSON, _EVENT_BYTES, _lines_ndjson), Log("application/json", None, _lines_v2)],
    run_page=_page_v2,
    said=_said_v2,
    signed=_signed_v2,
    no_such_path=("detail", ("Not Found", "Method Not Allowed")),
)

EXPERIMENTAL = V1._replace(
    generation="experimental",
    releases="Airflow 1.10",
    prefix="/api/experimental",
    health="/health",
    login_check=("/test", "status"),
    dag="/dags/{dag}/paused",
    set_paused=_get_paused,
    runs="/dags/{dag}/dag_runs",
    has_run_path=False,
    run_key="run_id",
    always={"replace_microseconds": "false"},  # else two requests within one second are for one and the same moment
    validates_last=False,
    has_notes=False,
    has_tasks=False,
    run_page=_page_experimental,
    said=_said_experimental,
    signed=lambda _answer: False,  # one word in plain text, or an object with an error
    no_such_path=("", ()),  # that is a page
)

DIALECTS = {dialect.generation: dialect for dialect in (EXPERIMENTAL, V1, V2)}

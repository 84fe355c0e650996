# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at an Airflow for whoever watches it: health, login, and in a few listings all that is wrong.

What is listed may change while it is listed page by page. So a page of ended runs begins where the one before has
ended, and not after so many.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Callable, Hashable, Iterable, Mapping, NamedTuple, Sequence, TypeVar

from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.calls import identify
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.deadline import all_within
from ansible_collections.fleetops.airflow.plugins.module_utils._api.dialects import DIALECTS, V2
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import RetryPolicy, TransportError
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import ImportFailure, Run, parsed_date
from ansible_collections.fleetops.airflow.plugins.module_utils._api.tasks import PAGE
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.findings import explain
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import Diagnosis
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._watch.watch import (
    MARGIN,
    MOST_ENDED,
    Inspection,
    Listed,
)

_MOST_ACTIVE = 1000
_MOST_ERRORS = 2000
_MOST_INSPECTED = 20
# One DAG or run whose request hangs must not hold up the others. After several in a row it is the server that hangs.
_EACH_WITHIN = 5.0
_MOST_UNANSWERED = 3
_Answer = TypeVar("_Answer")
_Name = TypeVar("_Name", bound=Hashable)


class Question(NamedTuple):
    """What a look is to find out. ``since``: from when on runs that ended are listed; None if from now on.

    ``failures`` are runs that may have been mended, with successes from ``since_success`` on, and ``stuck`` those that
    may be so no longer: DAG and run. ``dag_ids``: only these DAGs, or all; of them, those of ``unsure`` may not exist.
    With ``try_form`` a refused login may be tried in the web interface's form.
    """

    with_login: bool = True
    since: datetime | None = None
    since_success: datetime | None = None
    failures: Sequence[tuple[str, str]] = ()
    stuck: Sequence[tuple[str, str]] = ()
    dag_ids: Sequence[str] = ()
    unsure: Sequence[str] = ()
    try_form: bool = True


def identified(api: Api) -> Api:
    """The same for the generation of the API that the server speaks, and without retries. Raises CallFailed."""
    path = "/api/v2/version"
    try:
        server = identify(api.anonymous)
        if server.generation is None:
            answer = api.anonymous.send("GET", path)
            raise CallFailed("GET", path, answer=answer, dialect=api.dialect)
    except TransportError as trouble:
        raise CallFailed("GET", path, trouble=trouble, dialect=api.dialect) from None
    return Api(api.anonymous, api.logins, DIALECTS[server.generation], retry_policy=lambda: RetryPolicy(0))


def each(names: Iterable[_Name], ask: Callable[[_Name], _Answer]) -> tuple[dict[_Name, _Answer], list[_Name]]:
    """Ask about one after the other. Returns the answers, and whom there is none of: first those that were not asked.

    One that fails, or hangs, keeps no other from being asked.
    """
    answers: dict[_Name, _Answer] = {}
    left: list[_Name] = []
    failed: list[_Name] = []
    in_a_row = 0
    for name in names:
        if in_a_row >= _MOST_UNANSWERED:
            left.append(name)
            continue
        try:
            with all_within(_EACH_WITHIN):
                answers[name] = ask(name)
            in_a_row = 0
        except CallFailed as failure:
            failed.append(name)
            in_a_row = in_a_row + 1 if failure.answer is None else 0
    return answers, [*left, *failed]


def trouble(api: Api, failure: CallFailed, at: float) -> Inspection:
    """The look that came to nothing."""
    return Inspection(at, trouble=explain(api.without_retries(), None, failure)._asdict())


def inspect(api: Api, asked: Question, at: float) -> Inspection:
    """Look once. What was seen before a call failed is in the result. Raises CallFailed where nothing was."""
    health, server_time = api.inspect_health()
    seen = Inspection(at, server_time, health=health, with_login=asked.with_login)
    if not asked.with_login:
        return seen
    try:
        api.verify_login()
        return _listed(api, asked, seen) if api.dialect.has_tasks else seen
    except CallFailed as failure:
        if not _is_refusal(failure):
            return seen._replace(trouble=trouble(api, failure, at).trouble)
        return seen._replace(refused=_why_refused(api, failure, asked.try_form)._asdict())


def _listed(api: Api, asked: Question, seen: Inspection) -> Inspection:
    try:
        since = asked.since
        if since is None:
            seen = seen._replace(newest=_newest_end(api, asked))
            since = parsed_date(seen.newest) - MARGIN if seen.newest else None
        failed, more_failed = _ended(api, asked, ["failed"], since)
        succeeded: list[Run] = []
        more_succeeded = None
        if asked.failures:
            of_them = asked._replace(dag_ids=sorted({dag_id for dag_id, _run in asked.failures}))
            succeeded, more_succeeded = _ended(api, of_them, ["success"], asked.since_success or since)
            seen = _with_recovered(api, asked, seen, succeeded)
        active = _active(api, asked)
    except CallFailed as failure:
        if failure.status != 400:  # before 2.3 it does not list by state
            raise
        return seen._replace(import_errors=_import_errors(api))
    seen = seen._replace(failed=failed, more_failed=more_failed, more_succeeded=more_succeeded, active=active)
    if asked.dag_ids:
        answers, unknown = each(asked.unsure, lambda dag_id: _exists(api, dag_id))
        missing = [dag_id for dag_id, exists in answers.items() if not exists]
        seen = seen._replace(missing_dags=missing, unknown_dags=unknown)
    return seen._replace(import_errors=_import_errors(api))


def _newest_end(api: Api, asked: Question) -> str | None:
    """When the run that ended last has ended: by no clock but that which Airflow writes down."""
    newest_first = _filters(asked, states=["success", "failed"], order_by="-end_date", page_offset=0)
    runs, _total = api.inspect_runs({**newest_first, "page_limit": 1})
    return runs[0].end_date if runs else None


def _exists(api: Api, dag_id: str) -> bool:
    try:
        api.dag(dag_id)
    except CallFailed as failure:
        if failure.missing:
            return False
        raise
    return True


def _ended(api: Api, asked: Question, states: Sequence[str], since: datetime | None) -> tuple[list[Run], str | None]:
    """The runs that ended since then, the oldest end first, and the end from which on there are more."""
    found: dict[tuple[str, str | None], Run] = {}
    begin, offset = since.isoformat() if since else None, 0
    while True:
        runs, total = api.inspect_runs(
            _filters(asked, states=states, end_date_gte=begin, order_by="end_date", page_offset=offset)
        )
        found.update({(run.dag_id, run.run_id): run for run in runs})
        last = runs[-1].end_date if runs else None
        if last is None or offset + len(runs) >= total:
            return list(found.values()), None
        if len(found) >= MOST_ENDED and last != begin:  # else the next look would stop at the same place
            return list(found.values()), last
        begin, offset = (last, 0) if last != begin else (begin, offset + len(runs))


def _with_recovered(api: Api, asked: Question, seen: Inspection, succeeded: Sequence[Run]) -> Inspection:
    """With the successes: of those that were failures, a task must have run. Where that is not known, look again."""
    failures = set(asked.failures)
    keys = [(run.dag_id, run.run_id) for run in succeeded if run.run_id and (run.dag_id, run.run_id) in failures]
    answers, unknown = each(keys, lambda key: _any_task_ran(api, *key))
    open_ends = [run.end_date for run in succeeded if (run.dag_id, run.run_id) in unknown and run.end_date]
    return seen._replace(
        succeeded=[run for run in succeeded if (run.dag_id, run.run_id) not in unknown],
        without_tasks=[key for key, ran in answers.items() if not ran],
        undecided=min(open_ends, key=parsed_date) if open_ends else None,
    )


def _any_task_ran(api: Api, dag_id: str, run_id: str) -> bool:
    try:
        return api.any_task_ran(dag_id, run_id)
    except AirflowError:  # no such run can be named in a path
        return True
    except CallFailed as failure:
        if failure.status in (403, 404):  # the role may not see tasks, or the run has been deleted meanwhile
            return True
        raise


def _active(api: Api, asked: Question) -> Listed:
    """The runs that are queued or running, those first that are due for the longest time."""
    found: dict[tuple[str, str | None], Run] = {}
    pages, total = 0, 1
    while pages * PAGE < min(total, _MOST_ACTIVE):
        due_key = api.dialect.due_key
        states = ["queued", "running"]
        runs, total = api.inspect_runs(_filters(asked, states=states, order_by=due_key, page_offset=pages * PAGE))
        found.update({(run.dag_id, run.run_id): run for run in runs})
        pages += 1
        if not runs:
            break
    if pages > 1:  # a run may have slipped from one page to the one before
        left = [key for key in asked.stuck if key not in found]
        answers, _unknown = each(left[:_MOST_INSPECTED], lambda key: _run_now(api, *key))
        found.update({key: run for key, run in answers.items() if run is not None})
    return Listed(list(found.values()), complete=pages <= 1)


def _run_now(api: Api, dag_id: str, run_id: str) -> Run | None:
    """The run, or one without a state if it is gone. None if it cannot be named in a path."""
    try:
        return api.run(dag_id, run_id) or Run(dag_id, run_id, None, None, None, None, None, None, None)
    except AirflowError:
        return None


def _filters(asked: Question, **filters: Any) -> Mapping[str, Any]:
    given = {"page_limit": PAGE, "dag_ids": list(asked.dag_ids), **filters}
    return {name: value for name, value in given.items() if value not in (None, [])}


def _import_errors(api: Api) -> Listed | None:
    """What cannot be imported, each file once. That is all of it if each page has counted as many rows."""
    found: dict[ImportFailure, None] = {}
    offset, totals = 0, set()
    while True:
        try:
            page, total = api.inspect_import_errors(offset)
        except CallFailed as failure:
            if failure.status == 403 and not failure.foreign:
                return None  # the role may not see them
            raise
        found.update(dict.fromkeys(page))
        totals.add(total)
        is_cut = not page and offset < total
        # Of Airflow 3 it is not known how many rows a page has: it lists a file of several DAGs once.
        offset += PAGE if api.dialect is V2 else len(page)
        if is_cut or offset >= min(total, _MOST_ERRORS):
            return Listed(list(found), complete=not is_cut and offset >= total and len(totals) == 1)


def _is_refusal(failure: CallFailed) -> bool:
    """Whether it is the login that is not taken, rather than a server that does not work."""
    status = failure.status or 0
    return status in (401, 403) or (failure.at_login and 400 <= status < 500 and status != 429)


def _why_refused(api: Api, failure: CallFailed, try_form: bool) -> Diagnosis:
    if not try_form:
        api = api.without_retries(api.logins._replace(form=None))
    return explain(api, None, failure)

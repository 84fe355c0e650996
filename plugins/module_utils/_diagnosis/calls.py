# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a call failed: by what became of it."""

from __future__ import annotations

import re
from urllib.parse import unquote

from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import Answer
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import (
    Diagnosis,
    Observed,
    call_of,
    clean,
    server_failed,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.no_answer import (
    no_answer,
    not_from_the_api,
    redirect,
    too_large,
    unidentified,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.refusals_experimental import (
    refused_experimental,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.refusals_v1 import refused_v1
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.refusals_v2 import refused_v2
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.runs import (
    import_error,
    no_manual_runs,
    no_such_run,
    stale_dag,
)

_REFUSED = {"v1": refused_v1, "v2": refused_v2, "experimental": refused_experimental}


# Those of which a wrong password is a cause.
_ABOUT_PASSWORDS = (
    "rejected_unknown",
    "wrong_credentials",
    "wrong_credentials_or_basic_auth_not_in_force",
    "wrong_credentials_or_header_lost",
)


def diagnose(seen: Observed) -> Diagnosis:
    """Why ``seen.failure`` happened."""
    found = _diagnosed(seen)
    if seen.blank_in_password and found.code in _ABOUT_PASSWORDS:
        return found._replace(
            remedy=f"The given password begins or ends with a blank: remove it unless it is meant. {found.remedy}"
        )
    return found


def _diagnosed(seen: Observed) -> Diagnosis:
    trouble = seen.failure.trouble
    if seen.failure.answer is None and trouble is not None and trouble.answer is not None:
        return unidentified(seen, trouble.answer)
    if seen.failure.answer is None:
        return no_answer(seen, trouble)
    answer = seen.failure.answer
    if 300 <= answer.status < 400:
        return redirect(seen, answer)
    if seen.failure.foreign:
        return not_from_the_api(seen, answer)
    if answer.status in (401, 403):
        return _REFUSED[seen.failure.dialect.generation](seen, answer)
    if seen.failure.missing:
        return _missing(seen)
    if answer.status == 413:
        return too_large(seen, answer)
    return _problem(seen, answer)


# What Airflow calls things, in the order of search, and the option that it comes from.
_OPTIONS = (
    ("run_id", "run_id"),
    ("logical_date", "logical_date"),
    ("execution_date", "logical_date"),
    ("param", "conf"),
    ("conf", "conf"),
    ("note", "note"),
)


def _option_of(said: str) -> str:
    said = said.replace("dag_run_id", "run_id")
    named = next((option for word, option in _OPTIONS if re.search(rf"(?i)\b{word}", said)), "")
    return f"the option {named}" if named else "the option that this is about"


def _missing(seen: Observed) -> Diagnosis:
    run_id = re.search(r"/dagRuns/([^/?]+)", seen.failure.path)
    if run_id and "dagrun" in (seen.failure.said or "").replace(" ", "").replace("_", "").lower():
        return no_such_run(unquote(run_id.group(1)))
    evidence = f"{call_of(seen)} answered {seen.failure.status}."
    if seen.dag and (seen.dag.has_import_errors or seen.dag.is_stale):
        why = (import_error if seen.dag.has_import_errors else stale_dag)(seen.dag.dag_id)
        return why._replace(evidence=f"{evidence} {why.evidence}", http_status=seen.failure.status)
    if seen.import_errors:
        return Diagnosis(
            "dag_not_found_import_errors",
            "Airflow has no such DAG, and files that it cannot import",
            f"{evidence} Import errors are in {', '.join(seen.import_errors)}.",
            "Mend that file if the DAG is in one of them (the web interface shows the errors); else correct dag_id.",
            seen.failure.status,
        )
    if seen.import_errors is not None:
        evidence += " No file has an import error."
    return Diagnosis(
        "dag_not_found",
        "Airflow has no such DAG",
        evidence,
        "Correct dag_id. If its file was deployed just now, wait until the scheduler has read it.",
        seen.failure.status,
    )


def _problem(seen: Observed, answer: Answer) -> Diagnosis:
    """Airflow refuses what was sent, or fails, and says itself why."""
    whole = seen.failure.said or ""  # in which no word is hidden
    said = clean(whole, seen.private)
    evidence = f"{call_of(seen)} answered {answer.status}: {said}"
    if answer.status == 400 and "'note'" in whole:
        return Diagnosis(
            "note_not_supported",
            "this release does not know notes",
            evidence,
            "Leave note out: it came with Airflow 2.5.",
            400,
        )
    if answer.status == 400 and "import errors" in whole:
        return Diagnosis(
            "dag_import_error",
            "its file cannot be imported at present",
            evidence,
            "Mend it; the start page of the web interface shows the error.",
            400,
        )
    if "does not allow manual runs" in whole:
        return no_manual_runs(str(seen.dag_id))._replace(evidence=evidence, http_status=answer.status)
    if answer.status >= 500:
        return server_failed(seen, f" ({said})" * bool(said), evidence, "The API server's log has more.")
    if "run_id" in whole and "match" in whole:
        return Diagnosis(
            "run_id_not_allowed",
            f"the server does not take such a run_id ({said})",
            evidence,
            "Give a run_id that matches allowed_run_id_pattern in [scheduler] of its airflow.cfg.",
            answer.status,
        )
    return Diagnosis(
        "request_rejected",
        f"Airflow refuses what was asked ({said})",
        evidence,
        f"Correct {_option_of(whole)}.",
        answer.status,
    )

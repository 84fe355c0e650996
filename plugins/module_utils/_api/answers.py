# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an answer of the API is, and whose: the call that failed, and what is read in the answers to others."""

from __future__ import annotations

import enum
import re
from datetime import datetime
from typing import Any, Mapping

from ansible_collections.fleetops.airflow.plugins.module_utils._api.auth import TOKEN_PATH
from ansible_collections.fleetops.airflow.plugins.module_utils._api.dialects import EXPERIMENTAL, V1, Dialect
from ansible_collections.fleetops.airflow.plugins.module_utils._api.http import (
    Answer,
    RetryPolicy,
    TransportError,
    parsed_http_date,
    parsed_json,
)

# Statuses below 500 that a gateway may give to a request that it has passed on. Where it shows that Airflow has given
# them, they mean what they say.
_PASSED_ON = frozenset([408, 409, 499])
# An error of the server itself may be a database that was locked, but is more often one that stays. That of something
# in front may pass as a 502 does, but Airflow has pages of that kind too.
_MOST_PAUSES_AT_500 = 2
_MOST_PAUSES_AT_FOREIGN_500 = 4
# How Airflow's pages begin, and what Flask, which Airflow 2 is made with, says of a request beyond its limit.
_OWN_PAGE = re.compile(r"(?i)<title>\s*airflow\b")
_FLASK_LIMIT = "exceeds the capacity limit"


class Doubt(enum.IntEnum):
    """Whether a call that failed may have been carried out all the same."""

    NONE = 0  # it was not, and will not be
    OVER = 1  # perhaps, and a look now tells for good
    OPEN = 2  # perhaps, or it still will be


class CallFailed(Exception):
    """A call of the API that did not do what it was to do.

    Either ``answer`` is set or ``trouble``. ``path`` is that of the call, without the base URL, and ``dialect`` what it
    was meant for. ``of`` is the call on whose behalf this one was made.
    """

    def __init__(
        self,
        method: str,
        path: str,
        answer: Answer | None = None,
        trouble: TransportError | None = None,
        dialect: Dialect = V1,
        of: CallFailed | None = None,
    ) -> None:
        super().__init__(f"{method} {path}: {trouble if answer is None else answer.status}")
        self._of = of
        self.method = method
        self.path = path
        self.answer = answer
        self.trouble = trouble
        self.dialect = dialect

    @property
    def status(self) -> int | None:
        """The HTTP status, or None if there was no answer."""
        return None if self.answer is None else self.answer.status

    @property
    def said(self) -> str | None:
        """The reason that the API itself gives, perhaps an empty one; None if this is no answer of that API."""
        return None if self.answer is None else self.dialect.said(self.answer)

    @property
    def foreign(self) -> bool:
        """Whether there is an answer, and it is none that this API gives on the paths that it has."""
        if self.answer is None:
            return False
        key, values = self.dialect.no_such_path
        return self.said is None or (not self.signed and (self.answer.document or {}).get(key) in values)

    @property
    def signed(self) -> bool:
        """Whether there is an answer that only Airflow gives."""
        return self.answer is not None and self.dialect.signed(self.answer)

    @property
    def no_route(self) -> bool:
        """Whether Airflow itself says that it has no such path: by JSON, or by its own page."""
        if self.answer is None or self.answer.status not in (404, 405):
            return False
        key, values = self.dialect.no_such_path
        page = self.answer.text if self.answer.content_type == "text/html" else ""
        return (self.answer.document or {}).get(key) in values or bool(_OWN_PAGE.search(page))

    @property
    def own_limit(self) -> bool:
        """Whether it is Airflow's own limit that the request was too large for, and not that of something in front."""
        return self.status == 413 and (self.signed or _FLASK_LIMIT in (self.answer.text if self.answer else ""))

    @property
    def missing(self) -> bool:
        """Whether Airflow itself says that there is no such DAG or run: not a wrong path, not something in front."""
        if self.status == 400 and self.dialect is EXPERIMENTAL:
            return self._reason.endswith("not found in DagModel")
        if self.dialect.generation == "v2" and "not found" not in self._reason.lower():
            return False  # of JSON with some detail, that is what shows that it is about what was asked for
        return self.status == 404 and not self.foreign

    @property
    def stays_refused(self) -> bool:
        """Whether another try would hardly go better: not after a 404 of a gateway whose server restarts."""
        return self.status in (401, 403) or (self.status == 404 and not self.foreign)

    @property
    def taken(self) -> bool:
        """Whether there is a run already that has the id or the logical date of the requested one."""
        if self.status == 409:
            return self.signed
        return not self.foreign and self.status == 400 and "already exists" in self._reason

    @property
    def at_login(self) -> bool:
        """Whether it was the login that failed, before the call itself was sent."""
        return self.path == TOKEN_PATH

    @property
    def doubt(self) -> Doubt:
        """Whether the call may have been carried out all the same: by who gave the answer, and which."""
        if self._of is not None:
            return self._of.doubt
        if self.at_login:
            return Doubt.NONE
        if self.answer is None:
            return Doubt.NONE if self.trouble is not None and self.trouble.nothing_sent else Doubt.OPEN
        status = self.answer.status
        if self.signed:
            return Doubt.OVER if status >= 500 else Doubt.NONE
        return Doubt.OPEN if status < 300 or status >= 500 or status in _PASSED_ON else Doubt.NONE

    @property
    def _reason(self) -> str:
        return self.said or ""

    def try_again(self, retry_policy: RetryPolicy) -> bool:
        """Wait, if trying again in a while makes sense; return whether it does."""
        if self.answer is None:
            return (self.trouble is None or self.trouble.passing) and retry_policy.pause()
        if self.answer.status == 500:
            return retry_policy.pause(most=_MOST_PAUSES_AT_FOREIGN_500 if self.foreign else _MOST_PAUSES_AT_500)
        return self.answer.passing and retry_policy.pause(self.answer.retry_after)


# What a JSON list is called that stands where other generations have an object.
ITEMS = ""


def json_object(answer: Answer) -> dict[str, Any] | None:
    """The JSON object of an answer, and a list as the only item of one."""
    if answer.document is None and answer.content_type == "application/json":
        items = parsed_json(answer.body)
        return {ITEMS: items} if isinstance(items, list) else None
    return answer.document


def parts_of(document: Mapping[str, Any]) -> dict[str, str | None]:
    """Of a health page: what it says of each part of Airflow."""
    return {
        name: part.get("status") if part else None
        for name, part in document.items()
        if part is None or isinstance(part, dict)
    }


def clock_of(answer: Answer) -> datetime | None:
    """What the clock of the server that answered shows; None if it does not tell."""
    return parsed_http_date(answer.headers.get("Date", ""))


def is_token_refused(answer: Answer) -> bool:
    """Whether this is how Airflow 3 answers to a token that is over, or that it knows no more."""
    return answer.status == 401 or (answer.status == 403 and "Invalid JWT token" in answer.text)

# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watch one Airflow: look, take what there is to tell, and write down how far that goes."""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import Any, Callable, Mapping, Sequence

from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api
from ansible_collections.fleetops.airflow.plugins.module_utils._api.connect import connect
from ansible_collections.fleetops.airflow.plugins.module_utils._api.model import Dag
from ansible_collections.fleetops.airflow.plugins.module_utils._diagnosis.model import Diagnosis
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._watch.cursor import Memory
from ansible_collections.fleetops.airflow.plugins.module_utils._watch.inspection import (
    Question,
    each,
    identified,
    inspect,
    trouble,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._watch.watch import Inspection, Limits, Watch, harmless

_LOGIN = ("username", "password", "token", "kerberos", "kerberos_hostname", "headers", "client_cert")
_UNHANDLED = 86400.0  # seconds after which an event that nobody has acted on is not sent again


class Watcher:
    """One Airflow, whose ``options`` are those of a module (API_ARGUMENTS), asked for anew with each look.

    ``step`` looks once. What it returns counts as told once ``handed_over`` is called; until then it comes again after
    a crash, with the same id. With ``until_handled`` it does so until somebody has acted on it (Cursor.is_handled).
    """

    def __init__(
        self,
        name: str,
        options: Callable[[], Mapping[str, Any]],
        cursor: Memory,
        limits: Limits | None = None,
        dag_ids: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        connect: Callable[[Mapping[str, Any]], Api] = connect,
        until_handled: bool = False,
    ) -> None:
        self.name = name
        self._options = options
        self._cursor = cursor
        self._dag_ids = dag_ids
        self._clock = clock
        self._steady = steady
        self._last: float | None = None
        self._unsure = list(dag_ids)  # whether there are such DAGs
        self._connect = connect
        self._api: Api | None = None
        self._asked: dict[str, Any] = {}
        self._login = ""
        self._until_handled = until_handled
        self._has_more = False
        self.complaint: str | None = None  # why the last look was without a login
        self._watch = Watch(name, str(options()["url"]).rstrip("/"), limits or Limits(), cursor.state)

    @property
    def pause(self) -> float:
        """The seconds until the next step."""
        return self._watch.pause()

    @property
    def is_waiting(self) -> bool:
        """Whether something is wrong that may not last, and is not told yet."""
        return self._watch.is_waiting

    @property
    def has_more(self) -> bool:
        """Whether the last look has listed all that one look lists, and there was more: the next step goes on there."""
        return self._has_more

    def left_over(self) -> list[dict[str, Any]]:
        """What was to be told before the last end of this process, and may not have been."""
        self._forget_handled()
        again = [one["event"] for one in self._unhandled]
        self._cursor.outbox[:0] = [event for event in again if event not in self._cursor.outbox]
        self._unhandled.clear()  # written down with the first look, so that a full disk ends nothing here
        return list(self._cursor.outbox)

    @property
    def _unhandled(self) -> list[dict[str, Any]]:
        """The events that were handed over, each with the seconds since, in which somebody looked."""
        found: list[dict[str, Any]] = self._cursor.state.setdefault("unhandled", [])
        return found

    def _forget_handled(self) -> None:
        self._unhandled[:] = [
            one
            for one in self._unhandled
            if one["lasted"] < _UNHANDLED and not self._cursor.is_handled(one["event"]["id"])
        ]

    def step(self) -> list[dict[str, Any]]:
        """Look once, and return all that is not handed over yet.

        Raises AirflowError for an option that cannot be right, and OSError where the disk is full, for instance: then
        nothing is lost either. A login that can no longer be read stops only what needs it; ``complaint`` has why.
        """
        self.complaint = None
        try:
            self._take_options()
        except AirflowError as error:
            if not self._asked:
                raise
            self.complaint = str(error)
        if self._cursor.woken():
            self._watch.hope()
        begin = self._steady()
        seen = self._inspect()
        seen = seen._replace(passed=0.0 if self._last is None else begin - self._last)
        self._last = begin
        self._has_more = bool(seen.more_failed or seen.more_succeeded)
        events = self._watch.take(seen, self._login)
        if seen.missing_dags is not None:
            self._unsure = [*seen.missing_dags, *seen.unknown_dags]
        self._add_dags(events)
        self._cursor.outbox += events
        for one in self._unhandled:
            one["lasted"] += seen.passed
        self._forget_handled()
        self._cursor.save()
        return list(self._cursor.outbox)

    def handed_over(self, event: dict[str, Any] | None = None) -> None:
        """This event has got to whom it is for, or all that was returned."""
        outbox = self._cursor.outbox
        gone = [one for one in outbox if event is None or one == event]
        if gone:
            outbox[:] = [] if event is None else [one for one in outbox if one != event]
            if self._until_handled:
                self._unhandled.extend({"lasted": 0.0, "event": one} for one in gone)
            self._cursor.save()

    def _take_options(self) -> None:
        asked = dict(self._options())
        if asked != self._asked:
            self._asked, self._api = asked, None
            self._login = _fingerprint(asked, self._watch.state)

    def _inspect(self) -> Inspection:
        now = self._clock()
        watch = self._watch
        asked = Question(
            self.complaint is None and watch.may_log_in(now, self._login),
            watch.since,
            watch.since_success,
            watch.failures,
            watch.stuck,
            self._dag_ids,
            self._unsure,
            try_form=watch.refusals == 0,
        )
        api = self._api or self._connect(self._asked)
        try:
            if self._api is None:
                api = identified(api)
            found = inspect(api, asked, now)
            self._api = api if found.trouble is None else None
            return found
        except CallFailed as failure:
            self._api = None  # perhaps it is another release afterwards
            return trouble(api, failure, now)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            self._api = None
            return Inspection(now, trouble=_not_understood(error)._asdict())

    def _add_dags(self, events: Sequence[dict[str, Any]]) -> None:
        """What who acts on a run has to know of its DAG; None where it cannot be told. Each DAG is asked for once."""
        of_runs = [one for one in events if not one["recovered"] and one["type"] in ("run_failed", "run_stuck")]
        api = self._api
        found: dict[str, tuple[Dag, list[str]]] = {}
        if api is not None:
            found, _unknown = each(dict.fromkeys(event["dag_id"] for event in of_runs), api.inspect_tags)
        for event in of_runs:
            event.update(dag_paused=None, dag_tags=None)
            if event["dag_id"] in found:
                dag, tags = found[event["dag_id"]]
                event.update(dag_paused=dag.is_paused, dag_tags=harmless(tags))


def _not_understood(error: Exception) -> Diagnosis:
    """An answer that no Airflow gives that is known here."""
    return Diagnosis(
        "answer_not_understood",
        "an answer of the server is not as it is of any known release",
        f"Reading it ended in {type(error).__name__}: {error}.",
        "See whether the server is an Airflow of a supported release.",
    )


def _fingerprint(options: Mapping[str, Any], state: dict[str, Any]) -> str:
    """Something by which the same login is known again, and from which it is hard to find out."""
    salt = state.setdefault("salt", os.urandom(16).hex())
    login = json.dumps([options.get(name) for name in _LOGIN], sort_keys=True).encode()
    return hashlib.scrypt(login, salt=bytes.fromhex(salt), n=2**14, r=8, p=1).hex()

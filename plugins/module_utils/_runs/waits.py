# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How to wait for runs: when to look again, and whether a scheduler is there that gets them on."""

from __future__ import annotations

from ansible_collections.fleetops.airflow.plugins.module_utils._api.answers import CallFailed
from ansible_collections.fleetops.airflow.plugins.module_utils._api.client import Api

# Airflow calls a scheduler unhealthy that has shown no life for 30 seconds. That long again is no restart any more.
_DEAD_AFTER = 30.0

_FIRST_CHECK = 5.0
_CHECK_EVERY = 15.0


def pause(waited: float, longest: float) -> float:
    """The seconds until the next look, after ``waited`` seconds.

    One at first, and less than two in the first minute: half of it is what a run's end is noticed late. Afterwards they
    grow by a fifth of the time, up to ``longest``.
    """
    return min(max(1.0, min(waited, 60.0) / 35) + max(0.0, waited - 60.0) / 5, max(1.0, longest))


def watch(waited: float) -> float:
    """The seconds for which to have the server watch a run, before looking by oneself what else there is to know."""
    return max(5.0, waited / 2)


class SchedulerWatch:
    """Whether Airflow's scheduler lives, asked for seldom, and without retries: a look at the run goes before.

    Times are in seconds since the wait began.
    """

    def __init__(self, api: Api) -> None:
        self._api = api.without_retries()
        self._next = _FIRST_CHECK
        self._dead_since: float | None = None

    def due(self, waited: float) -> bool:
        """Whether it is time to check."""
        return waited >= self._next

    def check(self, waited: float) -> bool:
        """Ask, and return whether it is sure by now that there is no scheduler."""
        self._next = waited + _CHECK_EVERY
        try:
            dead = self._api.scheduler_status() == "unhealthy"
        except CallFailed:
            dead = False  # not to be found out
        if not dead:
            self._dead_since = None
            return False
        if self._dead_since is None:
            self._dead_since = waited
        if waited - self._dead_since < _DEAD_AFTER:
            return False
        # While SequentialExecutor runs a task, its scheduler shows no life. That is not to be mistaken for its end.
        try:
            task = self._api.running_task()
        except CallFailed:
            task = None
        if task != "":  # one runs, or that is unknown
            self._dead_since = None
        return task == ""

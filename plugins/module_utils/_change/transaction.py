# SPDX-License-Identifier: GPL-3.0-or-later
"""Do some steps completely or not at all, whatever goes wrong."""

from __future__ import annotations

import contextlib
import os
import traceback
from typing import Callable, Iterable, Sequence

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError, Incomplete


class Step:
    """One step of a transaction, which knows its undo."""

    restarts = False  # whether it lets the server read the files as they are
    changed: str | None = None  # the file that holds a change of this step now, for a sentence

    def do(self) -> None:
        """:raises AirflowError: if that fails."""

    def undo(self) -> None:
        """Have it as it was before ``do``, which may have failed anywhere.

        :raises AirflowError: if that fails.
        """

    def finish(self) -> None:
        """Remove what was kept for ``undo``. Called if all steps are done."""

    def close(self) -> None:
        """Called in the end, whatever happened."""

    def outcome(self) -> str:
        """What is there now, as sentences; empty if there is nothing to report."""
        return ""


def transact(steps: Sequence[Step], rollback: bool) -> None:
    """Do the steps in their order. If one fails, undo all that were begun.

    :param rollback: whether a changed file is to be as before if the server does not run with it.
    :raises AirflowError: of the step that failed. If the server was restarted, it has ``rolled_back``.
    """
    begun: list[Step] = []
    try:
        for step in steps:
            begun.append(step)
            step.do()
    except BaseException as error:  # pylint: disable=broad-except  # what was begun is undone whatever went wrong
        raise _failure(error, begun, rollback) from error
    else:
        _end(step.finish for step in steps)
    finally:
        _end(step.close for step in begun)


def _end(calls: Iterable[Callable[[], None]]) -> None:
    """The change is complete, or undone, by now: what is left behind is removed by the next task."""
    for call in calls:
        with contextlib.suppress(BaseException):
            call()


def as_reported(error: BaseException) -> AirflowError:
    """The error as a person reads it. Of an error that nobody expected only its kind and its place are reported: its
    text may hold anything.
    """
    if isinstance(error, AirflowError):
        return error
    frames = traceback.extract_tb(error.__traceback__)
    place = "%s, line %s" % (os.path.basename(frames[-1].filename), frames[-1].lineno) if frames else "unknown place"
    return AirflowError("The task failed unexpectedly (%s in %s)." % (type(error).__name__, place))


def _failure(raised: BaseException, begun: list[Step], rollback: bool) -> AirflowError:
    """Undo what was begun; the error that reports how that went, from what is there then."""
    error = as_reported(raised)
    restarts = [step for step in begun if step.restarts]
    details = {"rolled_back": False, **error.details} if restarts else error.details
    changed = next((step.changed for step in begun if step.changed), None)
    if changed and isinstance(error, Incomplete):
        return AirflowError("%s %s keeps the change." % (error, changed), **details)
    if changed and not rollback:
        return AirflowError("%s %s keeps the change, because rollback is off." % (error, changed), **details)
    problems = _undo([step for step in reversed(begun) if not step.restarts])
    if problems:
        return AirflowError("%s The rollback failed: %s" % (error, " ".join(problems)), **details)
    if not changed:
        sentence = "" if error is raised else " Nothing was changed in airflow.cfg."
        return AirflowError("%s%s" % (error, sentence), **details)
    problems = _undo(restarts)  # now that the old files are there again, for the server to read
    if problems:
        return AirflowError(
            "%s %s was rolled back, but the server did not recover: %s Check this host."
            % (error, changed, " ".join(problems)),
            **details,
        )
    sentences = [str(error), "%s was rolled back." % changed, *(step.outcome() for step in restarts)]
    return AirflowError(" ".join(filter(None, sentences)), **{**details, "rolled_back": bool(restarts)})


def _undo(steps: Sequence[Step]) -> list[str]:
    """Undo the steps, each of them whatever became of the others, and twice if need be. The problems."""
    problems = []
    for step in steps:
        for last in (False, True):
            try:
                step.undo()
                break
            except BaseException as error:  # noqa: BLE001  # pylint: disable=broad-except  # the other steps have to be undone too
                if last or isinstance(error, AirflowError):
                    problems.append(str(as_reported(error)))
                    break
    return problems

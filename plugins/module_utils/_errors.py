# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error that the collection's own code raises for a person to read, and what it must not hold."""

from __future__ import annotations

from typing import Any, Callable, Iterable

# Where the secrets of this task are, each source asked only when something is quoted: see _host.masking.
secrets: list[Callable[[], Iterable[str]]] = []

# The options that the running module has: shared code names no other one to the operator.
options: set[str] = set()


def with_option(option: str, text: str) -> str:
    """A piece of a message that names an option; "" if the running module does not have it."""
    return text if option in options else ""


def become_advice() -> str:
    """A sentence that advises to become root, led by a blank; "" for root."""
    import os

    return "" if os.geteuid() == 0 else " Run the task with become: true."


class AirflowError(Exception):
    """Something the user has to know of: what is wrong, where, and what to do next.

    ``str(error)`` is the message. ``details`` are further keys for the module's failed result,
    for instance ``rolled_back`` or ``diagnosis``; none of them may hold a secret.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details

    def followed_by(self, text: str) -> AirflowError:
        """The same error with one more sentence."""
        return AirflowError("%s %s" % (self, text), **self.details)


class Incomplete(AirflowError):
    """What was begun is still under way and must not be interrupted, so nothing is undone."""

    def followed_by(self, text: str) -> AirflowError:
        return Incomplete("%s %s" % (self, text), **self.details)

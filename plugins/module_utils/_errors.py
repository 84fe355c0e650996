# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error that the collection's own code raises for a person to read."""

from __future__ import annotations

from typing import Any


class AirflowError(Exception):
    """Something the user has to know of: what is wrong, where, and what to do next.

    ``str(error)`` is the message. ``details`` are further keys for the module's failed result,
    for instance ``rolled_back`` or ``diagnosis``; none of them may hold a secret.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details

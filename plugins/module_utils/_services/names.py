# SPDX-License-Identifier: GPL-3.0-or-later
"""Which services a task means."""

from __future__ import annotations

from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record


class ServiceChoice(Record):
    """What a task says of the services that run Airflow."""

    names: tuple[str, ...] = ()
    manager: str = "auto"
    restart_command: str | None = None  # restarts them in place of a manager

# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task wants of a host."""

from __future__ import annotations

from typing import Callable, NamedTuple

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import Setting
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg


class DesiredState(NamedTuple):
    """What a task wants of the file and of the server.

    ``imports`` are backends that Airflow must be able to load before the file names them. ``verify`` is called with the
    base URL of the healthy server, if there is something to verify; it raises AirflowError. ``for_the_api``: whether
    the change is for the servers of the API, and of no use to other services alone. ``check`` is called, in every run
    and before anything is written, with the file as it is going to be, and with whether anything is to be done; it
    raises AirflowError.
    """

    settings: list[Setting]
    imports: Callable[[Cfg], list[str]]
    verify: Callable[[str], None] | None
    for_the_api: bool
    check: Callable[[Cfg, bool], None] = lambda _after, _to_do: None

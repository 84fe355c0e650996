# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task wants of a host."""

from __future__ import annotations

from typing import Callable, NamedTuple

from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import Setting
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg


class Intent(NamedTuple):
    """What a task wants of the file and of the server.

    ``imports`` are backends that Airflow has to be able to load before it is told to. ``prove`` is asked of the healthy
    server, with its base URL, if there is something to prove; it raises AirflowError. ``for_the_api``: whether the
    change is for the servers of the API, and of no use to other services alone. ``check`` is asked, in every run and
    before anything is written, about the file as it shall be, and told whether anything is to be done; it raises
    AirflowError.
    """

    settings: list[Setting]
    imports: Callable[[Cfg], list[str]]
    prove: Callable[[str], None] | None
    for_the_api: bool
    check: Callable[[Cfg, bool], None] = lambda _after, _to_do: None

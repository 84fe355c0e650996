# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry out a plan: its steps, as one transaction. Imported only where something is changed."""

from __future__ import annotations

from typing import Sequence

from ansible_collections.fleetops.airflow.plugins.module_utils._change.plan import Plan
from ansible_collections.fleetops.airflow.plugins.module_utils._change.replacement import Replacement
from ansible_collections.fleetops.airflow.plugins.module_utils._change.restart import Restart
from ansible_collections.fleetops.airflow.plugins.module_utils._change.transaction import Step, transact
from ansible_collections.fleetops.airflow.plugins.module_utils._change.verify import verify


class _Verified(Step):
    """The server does what the plan says. Nothing to undo: asking changes nothing."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def do(self) -> None:
        verify(self._plan)


def apply(plan: Plan, restart: Restart | None, first: Sequence[Step] = ()) -> str | None:
    """Edit, restart and verify, as far as the plan says, after the steps ``first``.

    :returns: the path of the backup, if the plan has one made.
    :raises AirflowError: if a step fails, with ``rolled_back`` if the server was restarted.
    """
    steps = list(first)
    edit = None
    if plan.edits:
        new = plan.after.text.encode("utf-8")
        edit = Replacement(plan.host.path, plan.current.data, new, backup=plan.policy.backup)
        steps.append(edit)
    if restart:
        steps.append(restart)
    transact([*steps, _Verified(plan)], plan.policy.rollback)
    return edit.backup_file if edit else None

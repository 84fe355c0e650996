# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event source fleetops.airflow.airflow_events: what goes wrong with Airflows, and when it is over."""

from __future__ import annotations

DOCUMENTATION = r"""
short_description: Watch Airflows over the REST API, and tell what goes wrong and when it is over
description:
  - Looks at one or many Airflows, of any generation of the API, and emits an event for each problem that begins, and
    one for its end. Each is told once.
  - >-
    C(type) is one of C(run_failed), C(run_stuck) (queued or running for too long), C(import_error) (of a DAG's file),
    C(component_unhealthy) (such as the scheduler), C(api_unreachable), C(credentials_refused) and C(dag_not_found)
    (one of O(dag_ids) that Airflow does not have). C(recovered) says whether it is over.
  - A failed run is over if it succeeds. It is not over if all of its tasks were skipped, or if it has none.
  - Runs and import errors are watched on Airflow 2.3 and later. Of older ones health, login and whether they answer.
  - What is known is kept in O(state_folder), so that nothing is told twice, nor lost, when the rulebook is started anew
    or the API was away.
  - A look takes five requests, six while a failed run waits to be mended, and one more for each page of 100 runs or
    import errors, for each DAG that something is told of, for each failed run that succeeds, and for each of O(dag_ids)
    that was not found yet.
  - The clocks of this host and of the server may jump. How long something lasts is measured, and not read from a clock.
  - A login that is refused is not tried again for 15 minutes, or until the login is another one. Where the server was
    restarted since, or somebody has made the file C(NAME.wake) in O(state_folder), it is tried earlier, but each time
    the pause before that grows, from 15 seconds on.
requirements:
  - The Python library C(requests), and ansible-core.
options:
  apis:
    description:
      - The APIs to watch. Each has C(url), C(name), C(dag_ids) and the options by which the modules of this collection
        log in, such as C(username) and C(password), C(token), C(kerberos), C(headers), C(ca_path), C(api_version).
      - With C(login_file) username and password, or token, are read from a JSON file, anew with each look.
      - Without O(apis) these options stand beside the others, for one API.
      - What stands beside the others counts for each of O(apis) that has no value of its own. A login of one of O(apis)
        takes precedence over a login of another kind there.
    type: list
    elements: dict
  interval:
    description: How many seconds to wait between two looks.
    type: float
    default: 30
  queued_after:
    description: After how many seconds a queued run is stuck.
    type: float
    default: 600
  running_after:
    description: After how many seconds a running run is stuck.
    type: float
    default: 21600
  unreachable_after:
    description: After how many seconds without an answer of Airflow the API is unreachable.
    type: float
    default: 30
  unhealthy_after:
    description: After how many seconds a component that calls itself unhealthy is so.
    type: float
    default: 30
  dag_ids:
    description: The DAGs whose runs to watch. If not given, all that the user may read.
    type: list
    elements: str
  feedback:
    description:
      - Keep each event until the engine has said that it keeps it. Needs ansible-rulebook 1.3 with C(--persistence-id).
      - Otherwise an event counts as handed over when the engine has taken it from the queue. What the engine has not
        acted on when it crashes is then lost.
    type: bool
    default: false
  until_handled:
    description:
      - Keep each event until it has been acted on, and send it again when the rulebook is started and it has not been.
      - The role C(fleetops.airflow.remediate) says so by a file in O(state_folder), so that must be its
        C(remediate_state_folder) too, and every event must have a rule with that role, as in the rulebook
        C(fleetops.airflow.remediate). What nobody has acted on within a day is dropped.
    type: bool
    default: false
  state_folder:
    description:
      - A folder for what is known from one look to the next. Only one process may use it at a time.
      - If not given, C(fleetops.airflow) in E(XDG_STATE_HOME) or C(~/.local/state).
    type: str
"""

EXAMPLES = r"""
- fleetops.airflow.airflow_events:
    url: https://airflow.example.com
    login_file: /etc/airflow-watcher.json

- fleetops.airflow.airflow_events:
    username: watcher
    password: "{{ watcher_password }}"
    interval: 60
    apis:
      - name: production
        url: https://airflow.example.com
      - name: staging
        url: https://staging.example.com/airflow
        dag_ids: [load_orders]
"""

import asyncio
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any


def _find_collection() -> None:
    """Make the collection that this file is in importable, as ansible-rulebook runs it by its path alone."""
    for folder in Path(__file__).absolute().parents:
        if folder.name == "ansible_collections":
            if str(folder.parent) not in sys.path:
                sys.path.append(str(folder.parent))
            return


_find_collection()

from ansible_collections.fleetops.airflow.plugins.module_utils._api.connect import connect
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._watch.cursor import Cursor
from ansible_collections.fleetops.airflow.plugins.module_utils._watch.options import (
    limits,
    state_folder,
    until_handled,
    watched,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._watch.watcher import Watcher

_LOG = logging.getLogger("fleetops.airflow.airflow_events")
_MOST_THREADS = 32
_FEEDBACK_WITHIN = 60.0  # seconds


async def main(queue: asyncio.Queue[dict[str, Any]], args: dict[str, Any]) -> None:
    """Watch until cancelled. Raises AirflowError for arguments that cannot be right."""
    apis = watched(args)
    for api in apis:
        connect(api.options())
    cursors: list[Cursor] = []
    # requests blocks, so each API has a thread to block.
    pool = ThreadPoolExecutor(min(len(apis), _MOST_THREADS), thread_name_prefix="airflow_events")
    try:
        watchers = []
        engine = Engine(queue, args.get("eda_feedback_queue"))
        for api in apis:
            cursors.append(Cursor(state_folder(args), api.name))
            watchers.append(
                Watcher(
                    api.name, api.options, cursors[-1], limits(args), api.dag_ids, until_handled=until_handled(args)
                )
            )
        await asyncio.gather(*(_watch(engine, watcher, pool) for watcher in watchers))
    finally:
        pool.shutdown(wait=False)
        for cursor in cursors:
            cursor.close()


class Engine:
    """Whom events are handed over to. ``feedback`` is where it returns each event that it keeps from then on."""

    def __init__(self, queue: asyncio.Queue[dict[str, Any]], feedback: asyncio.Queue[dict[str, Any]] | None) -> None:
        self._queue = queue
        self._feedback = feedback
        self._turn = asyncio.Lock()  # what is returned does not name who it is for

    async def take(self, watcher: Watcher, events: list[dict[str, Any]]) -> None:
        """Hand events over. Those that the engine does not return stay with the watcher, and come again."""
        for event in events:
            _LOG.info("%s", event["id"])
            if self._feedback is None:
                await self._queue.put(event)
            elif await self._is_kept(event, self._feedback):
                watcher.handed_over(event)
            else:
                _LOG.error(
                    "%s: ansible-rulebook has not said that it keeps the event; it will be sent again", event["id"]
                )
                return
        if self._feedback is None:
            watcher.handed_over()

    async def _is_kept(self, event: dict[str, Any], feedback: asyncio.Queue[dict[str, Any]]) -> bool:
        async with self._turn:
            while not feedback.empty():  # of an event that was given up
                feedback.get_nowait()
            await self._queue.put(dict(event))
            try:
                await asyncio.wait_for(self._returned(event["id"], feedback), _FEEDBACK_WITHIN)
            except asyncio.TimeoutError:
                return False
        return True

    @staticmethod
    async def _returned(event_id: str, feedback: asyncio.Queue[dict[str, Any]]) -> None:
        while (await feedback.get()).get("id") != event_id:
            pass


async def _watch(engine: Engine, watcher: Watcher, pool: ThreadPoolExecutor) -> None:
    loop = asyncio.get_running_loop()
    try:
        await engine.take(watcher, watcher.left_over())
    except OSError as error:  # a disk that is full: they are written down with the next look
        _LOG.error("%s: %s", watcher.name, error)
    while True:
        try:
            events = await loop.run_in_executor(pool, watcher.step)
            if watcher.complaint:  # the health is watched all the same
                _LOG.error("%s: %s", watcher.name, watcher.complaint)
            await engine.take(watcher, events)
        except (AirflowError, OSError) as error:  # of a file that is being replaced, or a disk that is full
            _LOG.error("%s: %s", watcher.name, error)
        await asyncio.sleep(watcher.pause)


if __name__ == "__main__":  # to see what it would tell: python airflow_events.py URL LOGIN_FILE STATE_FOLDER

    class _Printer:
        async def put(self, event: dict[str, Any]) -> None:
            sys.stdout.write(f"{event}\n")
            sys.stdout.flush()

    asyncio.run(main(_Printer(), dict(zip(("url", "login_file", "state_folder"), sys.argv[1:]))))  # type: ignore[arg-type]

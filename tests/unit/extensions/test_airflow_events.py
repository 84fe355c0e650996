# SPDX-License-Identifier: GPL-3.0-or-later
"""The event source as ansible-rulebook runs it, by its path, against a server with scripted answers."""

from __future__ import annotations

import asyncio
import json
import runpy
from email.utils import formatdate
from pathlib import Path
from typing import Any, Callable

import pytest
from unit.plugins.scripted_server import Request, Server, as_json

SOURCE = Path(__file__).resolve().parents[3] / "extensions/eda/plugins/event_source/airflow_events.py"


def run_main(args: dict[str, Any], events: int, meanwhile: Callable[[], None] = lambda: None) -> list[dict[str, Any]]:
    """The first so many events, after which the source is cancelled."""
    main = runpy.run_path(str(SOURCE))["main"]

    async def gather() -> list[dict[str, Any]]:
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        task = asyncio.ensure_future(main(queue, args))
        found = []
        for _number in range(events):
            found.append(await asyncio.wait_for(queue.get(), 30))
            meanwhile()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return found

    return asyncio.run(gather())


def answer(request: Request) -> bytes:
    health = {"scheduler": {"status": "unhealthy"}, "metadatabase": {"status": "healthy"}}
    known: dict[str, Any] = {
        "/api/v1/version": {"version": "2.11.2"},
        "/api/v1/health": health,
        "/api/v1/dags?limit=1": {"dags": []},
        "/api/v1/importErrors?limit=100": {"import_errors": [], "total_entries": 0},
        "/api/v1/dags/~/dagRuns/list": {"dag_runs": [], "total_entries": 0},
    }
    if request.target not in known:
        return as_json({"title": "Not Found"}, 404)
    return as_json(known[request.target], headers={"Date": formatdate(usegmt=True)})


def test_what_goes_wrong_is_told_and_kept(server: Server, other_server: Server, tmp_path: Path) -> None:
    server.otherwise = answer
    other_server.otherwise = answer
    apis = [{"name": "one", "url": server.url}, {"name": "two", "url": other_server.url}]
    args = {"apis": apis, "username": "u", "password": "hush", "state_folder": str(tmp_path), "unhealthy_after": 0}
    told = run_main(args, 2)
    assert {(event["api"], event["type"], event["component"]) for event in told} == {
        ("one", "component_unhealthy", "scheduler"),
        ("two", "component_unhealthy", "scheduler"),
    }
    assert json.dumps(told)  # as the engine needs them
    assert "hush" not in "".join(file.read_text() for file in tmp_path.iterdir())
    server.close()
    (event,) = run_main({**args, "apis": apis[:1], "unreachable_after": 0}, 1)
    assert (event["type"], event["recovered"]) == ("api_unreachable", False)
    assert "refused" in event["diagnosis"]["cause"]


@pytest.mark.parametrize("keeps", [True, False])
def test_event_leaves_the_outbox_when_the_engine_keeps_it(server: Server, tmp_path: Path, keeps: bool) -> None:
    """The engine is a stub: it returns an event that it keeps, as ansible-rulebook 1.3 does with a persistence id."""
    server.otherwise = answer
    source = runpy.run_path(str(SOURCE))
    main = source["main"]
    main.__globals__["_FEEDBACK_WITHIN"] = 0.3

    async def engine() -> list[dict[str, Any]]:
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        feedback: asyncio.Queue[dict[str, Any]] = asyncio.Queue(1)
        args = {"url": server.url, "state_folder": str(tmp_path), "unhealthy_after": 0, "interval": 1, "feedback": True}
        task = asyncio.ensure_future(main(queue, {**args, "eda_feedback_queue": feedback, "name": "one"}))
        event = await asyncio.wait_for(queue.get(), 30)
        if keeps:
            await feedback.put({**event, "meta": {}})
        await asyncio.sleep(0.6)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return list(json.loads((tmp_path / "one.json").read_text())["outbox"])

    left = asyncio.run(engine())
    assert [event["type"] for event in left] == ([] if keeps else ["component_unhealthy"])


def test_arguments_that_cannot_be_right_end_it(tmp_path: Path) -> None:
    main = runpy.run_path(str(SOURCE))["main"]
    for args in ({}, {"url": "airflow.example"}, {"url": "https://a.example", "ca_path": "/nowhere"}):
        with pytest.raises(Exception, match=r"url|ca_path"):  # runpy makes a class of its own of AirflowError
            asyncio.run(main(asyncio.Queue(), {**args, "state_folder": str(tmp_path)}))

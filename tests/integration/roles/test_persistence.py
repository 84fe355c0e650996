# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine that keeps its events on disk: what it has taken and not acted on when it is killed is acted on later."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from testbed.instance import free_port
from testbed.rulebook import Rulebook
from testbed.running import CHECKOUT
from testbed.watched_site import VENV, reason_to_skip

SHIPPED = CHECKOUT / "extensions/eda/rulebooks/remediate.yml"
SOURCE = "      fleetops.airflow.airflow_events:\n"
TOO_LONG = 120  # seconds
FLUSH = 1.2  # seconds after which the engine's H2 has its last commits on disk


@contextmanager
def watching(folder: Path, feedback: bool) -> Iterator[Rulebook]:
    """The shipped rulebook, with feedback or without, on an API where nobody answers."""
    why_not = reason_to_skip()
    if why_not:
        pytest.skip(why_not)
    text = SHIPPED.read_text()
    assert text.count(SOURCE) == 1
    copy = folder / "remediate.yml"
    copy.write_text(text.replace(SOURCE, f"{SOURCE}        feedback: true\n") if feedback else text)
    local = {"ansible_connection": "local", "ansible_python_interpreter": str(VENV / "bin/python")}
    variables = {
        "drools_db_file_path": str(folder / "engine"),
        "remediate_apis": [{"name": "nobody", "url": f"http://127.0.0.1:{free_port()}"}],
        "remediate_watch": {"interval": 1, "unreachable_after": 0},
    }
    inventory = {"all": {"hosts": {"localhost": local}}}
    more = ("--persistence-id", "b2c1c8e6-3a7c-4a40-9d65-5f2f9f2d5a11")
    rulebook = Rulebook(VENV, folder, CHECKOUT / ".build/collections", inventory, variables, (), str(copy), more)
    rulebook.start()
    try:
        yield rulebook
    finally:
        rulebook.kill()


def outbox(rulebook: Rulebook) -> list[dict[str, object]] | None:
    """The events that the source keeps; None before it has looked once."""
    path = rulebook.state / "nobody.json"
    kept: list[dict[str, object]] | None = json.loads(path.read_text())["outbox"] if path.exists() else None
    return kept


def kill_when_the_event_is_handed_over(rulebook: Rulebook) -> None:
    deadline = time.monotonic() + TOO_LONG
    seen = False
    while not (seen and outbox(rulebook) == []):
        assert time.monotonic() < deadline, rulebook.log.read_text()[-4000:]
        seen = seen or bool(outbox(rulebook))
        time.sleep(0.001)
    time.sleep(FLUSH)
    rulebook.kill()


def test_event_that_the_engine_keeps_is_acted_on_after_a_crash(tmp_path: Path) -> None:
    with watching(tmp_path, feedback=True) as rulebook:
        kill_when_the_event_is_handed_over(rulebook)
        assert rulebook.entries() == []
        rulebook.start()
        entry = rulebook.wait_for(lambda entry: entry["rule"] == "report", 0, TOO_LONG)
        assert "nobody api_unreachable" in entry["subject"] + str(entry["why"])
        assert outbox(rulebook) == []

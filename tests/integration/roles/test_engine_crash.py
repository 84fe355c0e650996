# SPDX-License-Identifier: GPL-3.0-or-later
"""What an engine has taken and not acted on when it is killed is acted on when it is started again."""

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
UNTIL_HANDLED = "until_handled: true"
SOURCE = "      fleetops.airflow.airflow_events:\n"
TOO_LONG = 120  # seconds
FLUSH = 1.2  # seconds after which the engine's H2 has its last commits on disk


@contextmanager
def watching(folder: Path, feedback: bool) -> Iterator[Rulebook]:
    """The shipped rulebook on an API where nobody answers; with ``feedback``, and an engine that keeps its events on
    disk, in place of the role that says what it has acted on.
    """
    why_not = reason_to_skip()
    if why_not:
        pytest.skip(why_not)
    text = SHIPPED.read_text()
    assert (text.count(SOURCE), text.count(UNTIL_HANDLED)) == (1, 1)
    if feedback:
        text = text.replace(SOURCE, f"{SOURCE}        feedback: true\n").replace(UNTIL_HANDLED, "until_handled: false")
    copy = folder / "remediate.yml"
    copy.write_text(text)
    local = {"ansible_connection": "local", "ansible_python_interpreter": str(VENV / "bin/python")}
    variables = {
        "drools_db_file_path": str(folder / "engine"),
        "remediate_apis": [{"name": "nobody", "url": f"http://127.0.0.1:{free_port()}"}],
        "remediate_watch": {"interval": 1, "unreachable_after": 0},
    }
    inventory = {"all": {"hosts": {"localhost": local}}}
    more = ("--persistence-id", "b2c1c8e6-3a7c-4a40-9d65-5f2f9f2d5a11") if feedback else ()
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


def unhandled(rulebook: Rulebook) -> list[dict[str, object]]:
    """The events that were handed over and not acted on yet."""
    kept: list[dict[str, object]] = json.loads((rulebook.state / "nobody.json").read_text())["state"]["unhandled"]
    return kept


def kill_when_the_event_is_handed_over(rulebook: Rulebook, after: float) -> None:
    deadline = time.monotonic() + TOO_LONG
    seen = False
    while not (seen and outbox(rulebook) == []):
        assert time.monotonic() < deadline, rulebook.log.read_text()[-4000:]
        seen = seen or bool(outbox(rulebook))
        time.sleep(0.001)
    time.sleep(after)
    rulebook.kill()


@pytest.mark.parametrize("feedback", [True, False], ids=["kept by the engine", "kept by the source"])
def test_event_is_acted_on_after_a_crash(tmp_path: Path, feedback: bool) -> None:
    with watching(tmp_path, feedback) as rulebook:
        kill_when_the_event_is_handed_over(rulebook, FLUSH if feedback else 0)
        assert rulebook.entries() == []
        rulebook.start()
        entry = rulebook.wait_for(lambda entry: entry["rule"] == "report", 0, TOO_LONG)
        assert "nobody api_unreachable" in entry["subject"] + str(entry["why"])
        assert outbox(rulebook) == []
        if not feedback:
            deadline = time.monotonic() + TOO_LONG
            while unhandled(rulebook):
                assert time.monotonic() < deadline
                time.sleep(0.2)
        assert len(rulebook.entries()) == 1

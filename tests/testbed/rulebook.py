# SPDX-License-Identifier: GPL-3.0-or-later
"""A real ansible-rulebook with the collection's rulebook, and what it writes into its journal."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from testbed.errors import TestbedError
from testbed.stopwatch import timed

Entry = dict[str, Any]


class Rulebook:
    """Runs a rulebook from the environment in ``venv``. ``folder`` takes all that is written.

    ``inventory`` and ``variables`` are as ansible-rulebook has them in files; ``prefix`` goes before its command.
    ``rulebook`` is another one, a file; ``more`` are further arguments.
    """

    def __init__(
        self,
        venv: Path,
        folder: Path,
        collections: Path,
        inventory: Mapping[str, Any],
        variables: Mapping[str, Any],
        prefix: Sequence[str] = (),
        rulebook: str = "fleetops.airflow.remediate",
        more: Sequence[str] = (),
    ) -> None:
        self._folder = folder
        self.state = folder / "state"
        self.log = folder / "rulebook.log"
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "ansible.cfg").touch()
        (folder / "inventory.json").write_text(json.dumps(inventory))
        (folder / "vars.json").write_text(json.dumps({"remediate_state_folder": str(self.state), **variables}))
        self._command = [*prefix, str(venv / "bin/ansible-rulebook"), "--rulebook", rulebook, *more]
        self._command += ["-i", str(folder / "inventory.json"), "--vars", str(folder / "vars.json"), "-v"]
        self._environment = {
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(folder / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_REMOTE_TMP": str(folder / "remote"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": f"/tmp/cp-eda-{os.getpid()}",
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=5 -o ServerAliveInterval=2",
            "ANSIBLE_TIMEOUT": "5",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PATH": os.pathsep.join([str(venv / "bin"), os.environ["PATH"]]),
        }

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """As a host does it that loses its power."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def entries(self) -> list[Entry]:
        """The journal so far."""
        path = self.state / "journal/journal.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def wait_for(self, wanted: Callable[[Entry], bool], since: float, timeout: float = 120.0) -> Entry:
        """The first entry of the journal from a time on that is wanted."""
        with timed("waiting for the rulebook"):
            return self._wait_for(wanted, since, timeout)

    def _wait_for(self, wanted: Callable[[Entry], bool], since: float, timeout: float) -> Entry:
        deadline = time.monotonic() + timeout
        while True:
            for entry in self.entries():
                if when(entry) >= since and wanted(entry):
                    return entry
            if time.monotonic() > deadline or (self._process is not None and self._process.poll() is not None):
                lines = [json.dumps(entry) for entry in self.entries()[-8:]]
                log = self.log.read_text(errors="replace").splitlines()[-60:]
                raise TestbedError("\n".join(["No such entry in the journal:", *lines, "The end of the log:", *log]))
            time.sleep(0.2)


def when(entry: Entry) -> float:
    """When an entry was written."""
    return datetime.fromisoformat(str(entry["time"])).timestamp()

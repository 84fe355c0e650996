# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one module or a playbook through the real ansible-playbook, on this machine, and keep what came out."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.errors import TestbedError
from testbed.stopwatch import note


@dataclass(frozen=True)
class TaskResult:
    """What one task returned on one host, and when, after how many seconds, as the controller sees it."""

    host: str
    task: str
    action: str
    ended: float  # seconds since the epoch
    seconds: float
    result: dict[str, Any]


@dataclass(frozen=True)
class PlaybookResult:
    """``output`` is everything printed; ``stats`` has per host ``ok``, ``changed``, ``failures``, ``skipped``, ..."""

    rc: int
    output: str
    stats: dict[str, dict[str, int]]
    tasks: list[TaskResult]

    @property
    def changed(self) -> int:
        """Number of tasks that changed something, on all hosts."""
        return sum(host["changed"] for host in self.stats.values())


@dataclass(frozen=True)
class ModuleResult:
    """``result`` is the dict that the module returned; ``output`` everything that Ansible printed."""

    rc: int
    output: str
    result: dict[str, Any]

    @property
    def changed(self) -> bool:
        return bool(self.result.get("changed", False))

    @property
    def failed(self) -> bool:
        return bool(self.result.get("failed", False) or self.result.get("unreachable", False))

    @property
    def msg(self) -> str:
        return str(self.result.get("msg", ""))


class Ansible:
    """Runs Ansible from ``bin_folder`` with nothing of the user's own configuration. ``close`` it afterwards.

    ``hosts`` (name -> variables) are managed instead of this machine, by ansible-playbook behind ``prefix``.
    ``folder`` takes everything that is written (secrets too, in files of mode 0600, never in argv);
    ``collections`` is the ANSIBLE_COLLECTIONS_PATH; modules run with ``python`` unless told otherwise.
    """

    def __init__(
        self,
        bin_folder: Path,
        folder: Path,
        collections: Path,
        python: Path,
        hosts: Mapping[str, Mapping[str, str]] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self._prefix = list(prefix)
        self._bin_folder = bin_folder
        self._sockets = tempfile.TemporaryDirectory(prefix="cp-", dir="/tmp")  # ssh's need a short path
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None
        self._hosts = hosts
        self._folder = folder
        self._python = python
        (folder / "ansible.cfg").touch()  # an empty one of our own, so that no other is looked for
        self._environment = {
            "ANSIBLE_CALLBACKS_ENABLED": "testbed_results",
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callbacks"),
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_FORKS": "10",
            "ANSIBLE_HOME": str(folder / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_REMOTE_TMP": str(folder / "remote"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": self._sockets.name,
            "ANSIBLE_TIMEOUT": "5",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PATH": os.pathsep.join([str(bin_folder), os.environ["PATH"]]),
        }

    def module(
        self,
        name: str,
        args: Mapping[str, Any],
        *,
        check: bool = False,
        diff: bool = False,
        env: Mapping[str, str] | None = None,
        verbosity: int = 0,
        become: bool = False,
        python: Path | None = None,
        hosts: str = "all",
    ) -> ModuleResult:
        """Run one task. ``env`` adds to Ansible's environment, and with it to the module's."""
        play = {
            "hosts": hosts,
            "gather_facts": False,
            "become": become,
            "tasks": [{"name": "The module under test", name: dict(args)}],
        }
        done = self.playbook(
            json.dumps([play]) + "\n", check=check, diff=diff, env=env, verbosity=verbosity, python=python
        )
        if not done.tasks:
            raise TestbedError(f"no task ran (rc {done.rc}):\n{done.output}")
        return ModuleResult(done.rc, done.output, done.tasks[-1].result)

    def playbook(
        self,
        playbook: Path | str,
        extra_vars: Mapping[str, Any] | None = None,
        *,
        check: bool = False,
        diff: bool = False,
        env: Mapping[str, str] | None = None,
        verbosity: int = 0,
        python: Path | None = None,
    ) -> PlaybookResult:
        """Run a playbook: a path or a collection's playbook name, or the text itself if it has a line break."""
        with tempfile.TemporaryDirectory(prefix="run-", dir=self._folder) as name:
            run = Path(name)  # mode 0700
            if isinstance(playbook, str) and "\n" in playbook:
                (run / "playbook.yml").write_text(playbook, encoding="utf-8")
                playbook = run / "playbook.yml"
            local = {"ansible_connection": "local", "ansible_python_interpreter": str(python or self._python)}
            hosts = {"localhost": local} if self._hosts is None else self._hosts
            (run / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts}}))
            (run / "vars.json").write_text(json.dumps(dict(extra_vars or {})))
            arguments = ["-i", str(run / "inventory.json"), "-e", f"@{run / 'vars.json'}"]
            arguments += ["--check"] * check + ["--diff"] * diff + ["-" + "v" * verbosity] * bool(verbosity)
            begun = time.monotonic()
            rc, output = self._run(
                [*arguments, str(playbook)], {"TESTBED_RESULTS": str(run / "results"), **(env or {})}
            )
            whole = time.monotonic() - begun
            stats, tasks = read_results(run / "results")
            in_tasks = min(sum(task.seconds for task in tasks), whole)
            note("tasks", in_tasks)
            note("ansible-playbook around its tasks", whole - in_tasks)
        return PlaybookResult(rc, output, stats, tasks)

    def _run(self, arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
        """The exit code and the output of one ansible-playbook."""
        if any(name.startswith("ANSIBLE_") for name in environment):  # Ansible reads those while it is imported
            return self._run_alone(arguments, environment)
        with tempfile.TemporaryFile() as output:
            code = self._ask_server(arguments, environment, output.fileno())
            output.seek(0)
            return code, output.read().decode()

    def _run_alone(self, arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
        done = subprocess.run(
            [*self._prefix, str(self._bin_folder / "ansible-playbook"), *arguments],
            env={**self._environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def _ask_server(self, arguments: Sequence[str], environment: Mapping[str, str], output: int) -> int:
        request = json.dumps({"arguments": arguments, "environment": dict(environment)}).encode()
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as answer:
            try:
                with self._lock:
                    socket.send_fds(self._start_server(), [request], [output, writing])
            finally:
                os.close(writing)
            code = answer.read()
        if not code:
            raise TestbedError(f"ansible-playbook {' '.join(arguments)} ended without an exit code")
        return int(code)

    def _start_server(self) -> socket.socket:
        if self._requests is None:
            self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                program = Path(__file__).with_name("ansible_server.py")
                command = [*self._prefix, str(self._bin_folder / "python"), str(program), str(theirs.fileno())]
                self._server = subprocess.Popen(
                    command, env=self._environment, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
                )
        return self._requests

    def close(self) -> None:
        """End the process that the runs were forked from, and forget the connections to hosts."""
        if self._requests is not None and self._server is not None:
            self._requests.close()
            self._server.wait()
            self._requests = self._server = None
        self._sockets.cleanup()


def read_results(path: Path) -> tuple[dict[str, dict[str, int]], list[TaskResult]]:
    """Read what the callback testbed_results wrote: the stats per host, and the tasks in their order."""
    stats: dict[str, dict[str, int]] = {}
    tasks = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        entry = json.loads(line)
        if "stats" in entry:
            stats = entry["stats"]
        else:
            tasks.append(TaskResult(**entry))
    return stats, tasks

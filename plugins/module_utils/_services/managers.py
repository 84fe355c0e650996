# SPDX-License-Identifier: GPL-3.0-or-later
"""What restarts a server: the vocabulary of the service managers, and the simplest of them, a command of the user's."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from typing import Protocol

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.masking import masked, whole_lines
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

_MOST_OUTPUT, _MOST_QUOTED = 1 << 18, 4000  # bytes that are kept, and characters that are quoted
# Seconds for a command that stops or starts a service. That is not the time for a server to become healthy: it may
# have to wait for running tasks, or to migrate a database, and ends by itself.
COMMAND_LIMIT = 900


class Manager(Protocol):
    """One service as its manager knows it. ``str()`` names it for a sentence.

    ``interposes``: whether anything can be done between its ``stop`` and its ``start``. ``reload_hint``: a sentence on
    how the manager is made to read its own files again, with a blank before it; "" where it always does.
    """

    interposes: bool
    reload_hint: str

    def main_pid(self) -> int | None:
        """The service's main process; 0 if it has none. None where the manager does not know."""

    def stop(self) -> None:
        """Stop the service and wait for its end, which may be there already.

        :raises AirflowError: if the manager says that it could not.
        """

    def start(self) -> None:
        """Start the service. Does not wait for its health.

        :raises AirflowError: if the manager says that it could not.
        :raises Incomplete: if it is still being started after all this time.
        """

    def start_dependents(self) -> None:
        """Start what has been stopped with the service because it depends on it.

        :raises AirflowError: if the manager says that it could not.
        """

    def failure(self) -> str | None:
        """Why the manager gave the service up since ``start``, None while there is hope."""

    def outputs(self) -> list[str]:
        """Files that the service's output goes to."""

    def words(self) -> str:
        """What the service said since ``start``, where the manager keeps that itself."""


class TimedOut(AirflowError):
    """A command was killed because it took too long."""


class Ended(Record):
    status: int
    raw: str  # the end of its standard output and standard error, for code alone

    @property
    def output(self) -> str:
        """For people."""
        return masked(self.raw)[-_MOST_QUOTED:]


def run(what: str, arguments: list[str], timeout: float) -> Ended:
    """Run a command to its end.

    :param what: what the command is, for an error.
    :param timeout: seconds, after which it is killed with its children.
    :raises AirflowError: if it cannot be started.
    :raises TimedOut: if it does not end in time.
    """
    # Output goes to a file: a server started in the background keeps a pipe open for ever.
    with tempfile.TemporaryFile() as output:
        try:
            # run_command of AnsibleModule waits for everybody who holds the output, and so for the server itself.
            process = subprocess.Popen(  # pylint: disable=ansible-bad-function
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise AirflowError("%s cannot be run: %s." % (what, error.strerror)) from None
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise TimedOut("%s did not return within %d s and was killed." % (what, timeout)) from None
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - _MOST_OUTPUT))
        text = output.read().decode("utf-8", "replace")
        return Ended(status, (whole_lines(text) if size > _MOST_OUTPUT else text).strip())


class Command:
    """A command of the user's that restarts the server, run by /bin/sh."""

    interposes = False
    reload_hint = ""

    def __init__(self, command: str) -> None:
        self._command = command

    def __str__(self) -> str:
        return "restart_command"

    def main_pid(self) -> int | None:
        return None

    def stop(self) -> None:
        """The command does both."""

    def start(self) -> None:
        done = run("restart_command, which has to return when it has started the server,", self._words(), COMMAND_LIMIT)
        if done.status != 0:
            raise AirflowError("restart_command ended with status %d: %s" % (done.status, done.output or "no output"))

    def start_dependents(self) -> None:
        """What depends on the server is the command's own business."""

    def failure(self) -> str | None:
        return None

    def outputs(self) -> list[str]:
        return []

    def words(self) -> str:
        return ""

    def _words(self) -> list[str]:
        return ["/bin/sh", "-c", self._command]

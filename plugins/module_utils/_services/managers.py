# SPDX-License-Identifier: GPL-3.0-or-later
"""What restarts a server: the vocabulary of the service managers, and the simplest of them, a command of the user's."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from typing import Protocol

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

_MOST_OUTPUT = 4000


class Manager(Protocol):
    """One service as its manager knows it. ``str()`` names it for a sentence.

    ``interposes``: whether anything can be done between its ``stop`` and its ``start``.
    """

    interposes: bool

    def stop(self, timeout: float) -> None:
        """Stop the service and wait for its end, which may be there already.

        :raises AirflowError: if the manager says that it could not.
        """

    def start(self, timeout: float) -> None:
        """Start the service. Does not wait for its health.

        :raises AirflowError: if the manager says that it could not.
        """

    def failure(self) -> str | None:
        """Why the manager gave the service up since ``start``, None while there is hope."""

    def outputs(self) -> list[str]:
        """Files that the service's output goes to."""

    def words(self) -> str:
        """What the service said since ``start``, where the manager keeps that itself."""


class Ended(Record):
    status: int
    output: str  # its end, standard output and standard error


def run(what: str, arguments: list[str], timeout: float) -> Ended:
    """Run a command to its end.

    :param what: what the command is, for an error.
    :param timeout: seconds, after which it is killed with its children.
    :raises AirflowError: if it cannot be started or does not end in time.
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
            raise AirflowError("%s did not return within %d s and was killed." % (what, timeout)) from None
        output.seek(max(0, output.seek(0, os.SEEK_END) - _MOST_OUTPUT))
        return Ended(status, output.read().decode("utf-8", "replace").strip())


class Command:
    """A command of the user's that restarts the server, run by /bin/sh."""

    interposes = False

    def __init__(self, command: str) -> None:
        self._command = command

    def __str__(self) -> str:
        return "restart_command"

    def stop(self, timeout: float) -> None:
        """The command does both."""

    def start(self, timeout: float) -> None:
        done = run("restart_command, which has to return when it has started the server,", self._words(), timeout)
        if done.status != 0:
            raise AirflowError("restart_command ended with status %d: %s" % (done.status, done.output or "no output"))

    def failure(self) -> str | None:
        return None

    def outputs(self) -> list[str]:
        return []

    def words(self) -> str:
        return ""

    def _words(self) -> list[str]:
        return ["/bin/sh", "-c", self._command]

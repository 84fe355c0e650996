# SPDX-License-Identifier: GPL-3.0-or-later
"""Airflow's own Python on a host, run as the server's user and in the server's environment."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from typing import Callable, Iterator, Sequence

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host import proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host, ServiceDefinition
from ansible_collections.fleetops.airflow.plugins.module_utils._host.installation import (
    Package,
    directories_in,
    packages_in,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._host.masking import masked
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import Server
from ansible_collections.fleetops.airflow.plugins.module_utils._host.trust import (
    User,
    user_named,
    user_of_process,
    user_with,
    writable_by_others,
)
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

_MOST_OUTPUT = 1 << 20
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What systemd and supervisor give to one process, which another one must not answer to.
_OF_ONE_PROCESS = (
    r"(NOTIFY_SOCKET|LISTEN_\w+|INVOCATION_ID|JOURNAL_STREAM|WATCHDOG_\w+|MAINPID|MANAGERPID|SYSTEMD_EXEC_PID"
    r"|CREDENTIALS_DIRECTORY|SUPERVISOR_\w+)$"
)
# The server imports nothing from the directory that it runs in, and what `python -c` runs does.
_NOT_FROM_HERE = "import sys; sys.path[:] = [path for path in sys.path if path]\n"
# Where a package would be imported from: the package itself is not imported.
_FIND = """
import importlib.util, os
found = importlib.util.find_spec("airflow")
print(os.path.dirname(list(found.submodule_search_locations)[0]))
"""
_TIMEOUT = 180  # seconds; a command of Airflow takes 2 to 4 s, and several times that on a host under load


class Unsafe(AirflowError):
    """Root would run what another user can change, or what is not this host's."""

    @property
    def reason(self) -> str:
        """For a task that goes on without."""
        return str(self).replace(" Nothing was changed.", "")


class Done(Record):
    status: int
    raw: str  # standard output and standard error, for code alone

    @property
    def last_line(self) -> str:
        """For people."""
        lines = masked(self.raw.strip()).splitlines()
        return lines[-1].strip() if lines else "exit status %d" % self.status


def run_python(host: Host, program: str, arguments: Sequence[str] = (), stdin: str = "") -> Done:
    """Run a program with Airflow's interpreter. It has no terminal: prompts read from ``stdin``.

    :raises AirflowError: if the interpreter is not known, cannot be started or does not end in time.
    :raises Unsafe: if it would run as root, and another user can change what it runs.
    """
    if not host.interpreter:
        raise AirflowError(
            "Which Python runs Airflow on this host is not known. Name the airflow program with airflow_executable."
        )
    if host.server and host.server.view:
        raise Unsafe(
            "Airflow runs in %s on this host, and its Python is not started from outside. Nothing was changed. Run the "
            "task there." % host.server.view.where
        )
    user = user_of(host)
    if user is None and os.geteuid() == 0:
        packages = [host.packages, os.path.join(host.packages, "airflow")] if host.packages else []
        _refuse_what_others_write([host.interpreter, host.home, host.real_path, *packages])
    command = [host.interpreter, "-c", _NOT_FROM_HERE + program, *arguments]
    return _execute(command, user, _environment(host, user), stdin, _directory(host, user))


def find_package(interpreter: str, server: Server | None, service: ServiceDefinition, cfg_path: str) -> Package | None:
    """The Airflow package that an interpreter would import, as the user of the server and in its environment. It is
    asked, without importing the package.

    :raises Unsafe: if it would run as root, and another user can change what it runs.
    :raises AirflowError: if it cannot be started.
    """
    user = _user_to_become(server, service, cfg_path)
    environment = _environment_of(server.environment if server else None, service, user)
    if user is None and os.geteuid() == 0:
        _refuse_what_others_write([interpreter, *directories_in(environment, environment.get("HOME", "/"))])
    done = _execute([interpreter, "-c", _NOT_FROM_HERE + _FIND], user, environment, "")
    directories = [line for line in done.raw.splitlines() if os.path.isabs(line)]
    return next(iter(packages_in(directories[-1:])), None) if done.status == 0 else None


def _directory(host: Host, user: User | None) -> str:
    """Where the server was started, or will be: a relative path in its configuration, such as that of a SQLite
    database, is one from there. Not where root would start in a directory that another user can fill.
    """
    found = proc.working_directory(host.server.process.pid) if host.server else host.service.directory
    if not found or not os.path.isdir(found) or (user is None and os.geteuid() == 0 and writable_by_others(found)):
        return "/"
    return found


def _execute(
    command: list[str], user: User | None, environment: dict[str, str], stdin: str, directory: str = "/"
) -> Done:
    try:
        # run_command of AnsibleModule can neither change the user nor end what takes too long.
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_prepare_child(user, directory),  # noqa: PLW1509  # a module has one thread
        )
    except (OSError, subprocess.SubprocessError) as error:
        # The arguments stand in the error's own text, and a caller's may be nobody else's business.
        reason = error.strerror if isinstance(error, OSError) else "its user cannot be taken on"
        raise AirflowError("%s cannot be run: %s." % (command[0], reason)) from None
    try:
        output = _conversation(process, stdin.encode("utf-8"))
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # it, or what it has left behind
        process.wait()
    if output is None:
        raise AirflowError("%s was ended: it took more than %d s." % (command[0], _TIMEOUT))
    return Done(process.returncode, output.decode("utf-8", "replace"))


def _conversation(process: subprocess.Popen[bytes], given: bytes) -> bytes | None:
    """Give a process its input, through a pipe, and take the end of its output. None if it does not end in time.

    It ends with the process, whoever else holds the pipe then.
    """
    deadline = time.monotonic() + _TIMEOUT
    output = b""
    if process.stdin is None or process.stdout is None:
        raise AirflowError("A process without pipes cannot be talked to.")
    with process.stdin as to, process.stdout as out:
        with contextlib.suppress(BrokenPipeError):
            to.write(given)
            to.close()
        os.set_blocking(out.fileno(), False)
        waiting = select.poll()  # which takes descriptors beyond 1024 too
        waiting.register(out, select.POLLIN)
        while True:
            ended = process.poll() is not None
            waiting.poll(0 if ended else 200)  # milliseconds
            part = out.read(1 << 16)
            output = (output + (part or b""))[-_MOST_OUTPUT:]
            if ended and not part:
                return output
            if part == b"":  # its end: only the process is waited for
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, deadline - time.monotonic()))
                    return output
            if time.monotonic() > deadline:
                return None


def user_of(host: Host) -> User | None:
    """Whom to become to see the host as the server does: its user, else that of its service, else the file's owner.

    None where that is ourselves already, or we may not become anybody.
    """
    return _user_to_become(host.server, host.service, host.real_path)


def _user_to_become(server: Server | None, service: ServiceDefinition, cfg_path: str) -> User | None:
    if os.geteuid() != 0:
        return None
    user = user_of_process(server.process.pid) if server else user_named(service.user)
    if user is None:
        status = os.stat(cfg_path)
        user = user_with(status.st_uid, status.st_gid)
    return user if user.uid else None


def _environment(host: Host, user: User | None) -> dict[str, str]:
    """The server's own, without what its service manager meant for that process alone. Never that of this task, which
    may be root's: what its service is known to give, and what a login has.
    """
    environment = _environment_of(host.environment if host.server else None, host.service, user)
    environment.update(
        AIRFLOW_HOME=host.home,
        AIRFLOW_CONFIG=host.real_path,
        PYTHONDONTWRITEBYTECODE="1",
        PYTHONIOENCODING="utf-8",
        PYTHONWARNINGS="ignore",
    )
    return environment


def _environment_of(running: dict[str, str] | None, service: ServiceDefinition, user: User | None) -> dict[str, str]:
    if running is not None:
        environment = {name: value for name, value in running.items() if not re.match(_OF_ONE_PROCESS, name)}
    else:
        owner = User(user.uid if user else os.geteuid(), 0, ())
        environment = {"HOME": owner.home, "USER": owner.name, "LOGNAME": owner.name, **service.environment}
    environment.setdefault("PATH", _PATH)
    environment.setdefault("LANG", "C.UTF-8")
    return environment


def _refuse_what_others_write(paths: list[str]) -> None:
    """:param paths: the first of them is the interpreter.
    :raises Unsafe: if root would run what another user can change.
    """
    paths = [*paths, os.path.dirname(os.path.dirname(paths[0]))]
    found = next(filter(None, map(writable_by_others, paths)), None)
    if found:
        raise Unsafe(
            "Airflow would run as root here, and users other than root can change %s. Nothing was changed. Run Airflow "
            "as a user of its own, or give that file or directory to root alone." % found
        )


@contextlib.contextmanager
def acting_as(user: User | None) -> Iterator[None]:
    """Have the rights of ``user`` within the block, and no others."""
    if user is None:
        yield
        return
    group, groups = os.getegid(), os.getgroups()
    os.setgroups(user.groups)
    os.setegid(user.gid)
    os.seteuid(user.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def _prepare_child(user: User | None, directory: str) -> Callable[[], None]:
    """For a child: files that Airflow leaves must not belong to root, and the directory is entered as the user."""

    def prepare() -> None:
        if user is not None:
            os.setgroups(user.groups)
            os.setgid(user.gid)
            os.setuid(user.uid)
        try:
            os.chdir(directory)
        except OSError:
            os.chdir("/")

    return prepare

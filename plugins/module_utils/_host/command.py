# SPDX-License-Identifier: GPL-3.0-or-later
"""Airflow's own Python on a host, run as the server's user and in the server's environment."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Callable, Iterator

from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host.host import Host
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

if TYPE_CHECKING:
    import pwd

_TIMEOUT = 180  # seconds; a command of Airflow takes 2 to 4 s, and several times that on a host under load


class Done(Record):
    status: int
    output: str  # standard output and standard error

    @property
    def last_line(self) -> str:
        lines = self.output.strip().splitlines()
        return lines[-1].strip() if lines else "exit status %d" % self.status


def run_python(host: Host, arguments: list[str], stdin: str = "") -> Done:
    """Run Airflow's interpreter with these arguments. It has no terminal: prompts read from ``stdin``.

    :raises AirflowError: if the interpreter is not known, cannot be started or does not end in time.
    """
    if not host.interpreter:
        raise AirflowError(
            "Which Python runs Airflow on this host is not known. Name the airflow program with airflow_executable."
        )
    environment = dict(host.server.environment if host.server else os.environ)
    environment.update(
        AIRFLOW_HOME=host.home,
        AIRFLOW_CONFIG=host.real_path,
        PYTHONDONTWRITEBYTECODE="1",
        PYTHONIOENCODING="utf-8",
        PYTHONWARNINGS="ignore",
    )
    try:
        # run_command of AnsibleModule can neither change the user nor end what takes too long.
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            [host.interpreter, *arguments],
            env=environment,
            cwd="/",
            input=stdin.encode("utf-8"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT,
            check=False,
            start_new_session=True,
            preexec_fn=_become(user_of(host)),
        )
    except (OSError, subprocess.SubprocessError) as error:
        # The arguments stand in the error's own text, and a caller's may be nobody else's business.
        reason = "it took more than %d s" % _TIMEOUT if isinstance(error, subprocess.TimeoutExpired) else str(error)
        raise AirflowError("%s cannot be run: %s." % (host.interpreter, reason)) from None
    return Done(done.returncode, done.stdout.decode("utf-8", "replace"))


def user_of(host: Host) -> pwd.struct_passwd | None:
    """Whom to become to see the host as the server does: its user, else that of its service, else the file's owner.

    None where that is ourselves already, or we may not become anybody.
    """
    import pwd

    if os.geteuid() != 0:
        return None
    if host.server:
        user = pwd.getpwuid(host.server.process.uid)
    else:
        try:
            user = pwd.getpwnam(host.service.user or "")
        except KeyError:
            user = pwd.getpwuid(os.stat(host.real_path).st_uid)
    return user if user.pw_uid else None


@contextmanager
def acting_as(user: pwd.struct_passwd | None) -> Iterator[None]:
    """Have the rights of ``user`` within the block, and no others."""
    if user is None:
        yield
        return
    group, groups = os.getegid(), os.getgroups()
    os.setgroups(os.getgrouplist(user.pw_name, user.pw_gid))
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def _become(user: pwd.struct_passwd | None) -> Callable[[], None] | None:
    """For a child: files that Airflow leaves must not belong to root."""
    if user is None:
        return None

    def become() -> None:
        os.initgroups(user.pw_name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)

    return become

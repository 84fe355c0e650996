# SPDX-License-Identifier: GPL-3.0-or-later
"""However Airflow is installed and started: one server is found, restarted whole, and the next run is quiet.

On a host with a real systemd and a real supervisord. The server is the stand-in. `make test-ways` writes
docs/ways-to-start.md.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from testbed import hosts, pythons, releases
from testbed.airflow_host import HOME, PORT, AirflowHost
from testbed.runner import Ansible, ModuleResult
from testbed.running import CHECKOUT, installed

AUTH, INFO, USER, CONFIG = (
    f"fleetops.airflow.airflow_{name}" for name in ("api_auth", "api_auth_info", "user", "config")
)
UNIT, PROGRAM = "airflow-webserver", "web"
AIRFLOW = f"{HOME}/bin/airflow"
SERVER = f"webserver --hostname 0.0.0.0 --port {PORT}"
SUPERVISORD = CHECKOUT / ".build/airflow/supervisor/bin/supervisord"
UV = CHECKOUT / ".build/venv/bin/uv"
Run = Callable[..., ModuleResult]

# Of each way the command, and the user that the service names.
WAYS = {
    "airflow": (f"{AIRFLOW} {SERVER}", "airflow"),
    "options of Python": (f"{{python}} -W ignore -X dev {AIRFLOW} {SERVER}", "airflow"),
    "bash -c exec": (f"/bin/bash -c 'cd / && exec {AIRFLOW} {SERVER}'", "airflow"),
    "bash -c": (f"/bin/bash -c 'cd /; {AIRFLOW} {SERVER}; true'", "airflow"),
    "script": (f"{HOME}/start.sh prod", "airflow"),
    "program called airflow": (f"{HOME}/wrap/airflow {SERVER}", "airflow"),
    "env": (f"/usr/bin/env A=b nice -n 1 {AIRFLOW} {SERVER}", "airflow"),
    "timeout": (f"/usr/bin/timeout 1d {AIRFLOW} {SERVER}", "airflow"),
    "sudo": (f"/usr/bin/sudo -E -u airflow {AIRFLOW} {SERVER}", "root"),
    "runuser": (f"/sbin/runuser -u airflow -- {AIRFLOW} {SERVER}", "root"),
    "uv run": (f"{UV} run --no-project --no-cache --offline -- {AIRFLOW} {SERVER}", "airflow"),
    "dumb-init": (f"/usr/bin/dumb-init -- {AIRFLOW} {SERVER}", "airflow"),
    "tini": (f"/usr/bin/tini -s -- {AIRFLOW} {SERVER}", "airflow"),
    "conda run": (f"{HOME}/conda/bin/conda run -n af {AIRFLOW} {SERVER}", "airflow"),
    "standalone": (f"{AIRFLOW} standalone --hostname 0.0.0.0 --port {PORT}", "airflow"),
}

# Of real ones, which take much longer to start: the command, and the user that the service names.
REAL = {
    "bash -c": ("/bin/bash -c 'cd /; {airflow} webserver --hostname 0.0.0.0 --port 8080; true'", "airflow"),
    "sudo": ("/usr/bin/sudo -E -u airflow {airflow} webserver --hostname 0.0.0.0 --port 8080", "root"),
    "uv run": (f"{UV} run --no-project --no-cache --offline -- {{airflow}} webserver --hostname 0.0.0.0", "airflow"),
    "standalone": ("{airflow} standalone", "airflow"),
}
# As `conda run` of conda: it writes a script for bash, and waits for it.
CONDA = """\
import subprocess, sys, tempfile
with tempfile.NamedTemporaryFile("w", suffix=".sh", delete=False) as script:
    script.write(" ".join(sys.argv[4:]) + "\\n")
sys.exit(subprocess.call(["/bin/bash", script.name]))
"""
PAGE = CHECKOUT / "docs/ways-to-start.md"
TEXT = """\
<!-- SPDX-License-Identifier: GPL-3.0-or-later -->
# Ways to install and start Airflow

Written by `make test-ways`, on a host with systemd and supervisord. Where nothing else is said, the server is a
stand-in for `airflow webserver` of Airflow %s, which test_fake_webserver.py holds against the real one. The package is
the real one.

## Start

For each way the task changes the auth backends without naming the service. Then the task changes them back by the
service's name. Each time the server must be restarted, none of the old processes may be left, the API must accept or
reject a password as airflow.cfg says, and the same task must change nothing when it runs again. `conda` is a script
that starts the same processes as the real one.

| command of the service | systemd | supervisor |
|---|---|---|
%s
The same with a real Airflow %s under systemd:

| command of the service | |
|---|---|
%s
## Name

For each way the task changes the auth backends by each of the names. Each time the server must be restarted, nothing
else may be, and the same task must change nothing when it runs again. Then the service is stopped, and the task, which
names `airflow_home` too, has to start it.

| service | names | restarted |
|---|---|---|
%s
## Install

For each way the version must be found while the server runs and while it is stopped.

| installed as | version found, change made |
|---|---|
%s
The folders are laid out as these tools do it; pipx and conda themselves were not run.
"""
passed: dict[str, set[str]] = {}


@pytest.fixture(scope="module", autouse=True)
def page() -> Iterator[None]:
    """The tables of what has passed, if they are wanted."""
    yield
    if "AIRFLOW_WAYS" in os.environ:
        started = "".join(
            f"| `{WAYS[way][0].format(python='python').replace(str(UV), 'uv')}` "
            f"| {' | '.join(_mark(way, start.__name__) for start in MANAGERS)} |\n"
            for way in WAYS
        )
        installed = "".join(f"| {way} | {_mark(way, 'installed')} |\n" for way in INSTALLED)
        named = "".join(
            f"| {way} | {', '.join(f'`{name}`' for name in names)} | {_mark(way, 'named')} |\n"
            for way, (_files, names) in NAMES.items()
        )
        real = "".join(
            f"| `{command.format(airflow='airflow').replace(str(UV), 'uv')}` | {_mark(way, 'real')} |\n"
            for way, (command, _user) in REAL.items()
        )
        PAGE.write_text(TEXT % (releases.DEFAULT, started, releases.DEFAULT, real, named, installed))


def _mark(way: str, column: str) -> str:
    return "yes" if column in passed.get(way, ()) else "FAILED"


@pytest.fixture(scope="module")
def host() -> Iterator[AirflowHost]:
    why_not = hosts.reason_to_skip()
    if why_not:
        pytest.skip(why_not)
    interpreters = [pythons.find(releases.release(releases.DEFAULT).pythons)]
    with hosts.bed(Path(tempfile.mkdtemp(prefix="bed-")), 1, hosts.read_only_folders(*interpreters)) as bed:
        host = AirflowHost(bed, bed.hosts[0], installed(releases.DEFAULT), fake=True)
        host.prepare()
        host.write(f"{HOME}/start.sh", f"#!/bin/bash\nset -e\nexport STAGE=$1\n{AIRFLOW} {SERVER}\nexit\n", 0o755)
        wrapper = f"import subprocess, sys\nsys.exit(subprocess.call(['{AIRFLOW}', *sys.argv[1:]]))\n"
        host.write(f"{HOME}/wrap/airflow", f"#!{host.installation.python}\n{wrapper}", 0o755)
        host.write(f"{HOME}/conda/bin/conda", f"#!{host.installation.python}\n{CONDA}", 0o755)
        host.write("/etc/systemd/system/supervisor.service", f"[Service]\nExecStart={SUPERVISORD} -n\n")
        host.run(f"chown -R airflow: {HOME}")
        yield host


@pytest.fixture(scope="module")
def ansible(host: AirflowHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ansible]:
    python, bed = Path(sys.executable), host.bed
    directory = tmp_path_factory.mktemp("ansible-ways")
    collections = CHECKOUT / ".build/collections"
    with closing(Ansible(python.parent, directory, collections, python, bed.inventory(), bed.inside())) as ansible:
        yield ansible


@pytest.fixture
def airflow(host: AirflowHost) -> Iterator[AirflowHost]:
    """Afterwards the API takes no passwords again, and nothing of Airflow runs."""
    pristine = host.cfg.read_bytes()
    yield host
    host.write_environment()
    host.run(f"systemctl stop {UNIT} supervisor; pkill -KILL --uid airflow; rm -f {HOME}/*.pid", check=False)
    host.cfg.write_bytes(pristine)
    host.drop_in(None)


def under_systemd(airflow: AirflowHost, command: str, user: str) -> None:
    airflow.drop_in(f"User={user}\nExecStart=\nExecStart={command}")
    airflow.run(f"systemctl reset-failed {UNIT}; systemctl start {UNIT}")


INTERFACE = "[unix_http_server]\nfile = /run/supervisor.sock\n"
LOCKED = INTERFACE + "username = root\npassword = s3cret;x\n"  # supervisor takes the whole
RPC = "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"


def under_supervisor(airflow: AirflowHost, command: str, user: str, **more: str) -> None:
    given = {"HOME": str(HOME), "AIRFLOW_HOME": str(HOME), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", **more}
    variables = ",".join(f'{name}="{value}"' for name, value in given.items() if value)
    airflow.write(
        "/etc/supervisord.conf",
        f"[supervisord]\n{INTERFACE}[supervisorctl]\nserverurl = unix:///run/supervisor.sock\n{RPC}"
        f"[program:{PROGRAM}]\ncommand = {command}\nuser = {user}\nenvironment = {variables}\n",
    )
    airflow.run("systemctl start supervisor")


def stop(airflow: AirflowHost, start: object) -> None:
    if start is under_systemd:
        airflow.run(f"systemctl stop {UNIT}")
    else:
        airflow.run(f"{SUPERVISORD.with_name('supervisorctl')} -c /etc/supervisord.conf stop {PROGRAM}")


def of_airflow(airflow: AirflowHost) -> dict[int, float]:
    """The processes of the host that have to do with Airflow: their pids, and their ages in seconds."""
    lines = airflow.run("ps -eo pid=,etimes=,stat=,args= | grep -E 'airflow|gunicorn'").splitlines()
    words = [
        line.split(None, 3)
        for line in lines
        if not {"grep", "ansible", "supervisord"} & set(line.replace("/", " ").split())
    ]
    return {int(pid): float(age) for pid, age, state, _args in words if not state.startswith("Z")}


MANAGERS = (under_systemd, under_supervisor)


@pytest.mark.parametrize("start", MANAGERS)
@pytest.mark.parametrize("way", WAYS)
def test_service_is_one_server(
    ansible: Ansible, airflow: AirflowHost, way: str, start: Callable[[AirflowHost, str, str], None]
) -> None:
    command, user = WAYS[way]
    start(airflow, command.format(python=airflow.installation.python), user)
    airflow.wait_healthy()
    before = of_airflow(airflow)
    service = PROGRAM if start is under_supervisor else UNIT
    for args in ({"backends": ["basic_auth", "session"]}, {"backends": ["session"], "service": service}):
        done = ansible.module(AUTH, {"health_timeout": 60, **args})
        assert not done.failed, done.output
        assert (done.result["restarted"], done.result["airflow_version"]) == (True, releases.DEFAULT), done.output
        assert done.result["path"] == f"{HOME}/airflow.cfg"
        assert "WARN" not in done.output
        after = of_airflow(airflow)
        assert not set(before) & set(after), shlex.join(airflow.run("ps -ef").splitlines())
        assert len(after) == len(before)
        assert airflow.status("/api/v1/dags", "admin") == (200 if "basic_auth" in args["backends"] else 403)
        again = ansible.module(AUTH, args)
        assert (again.failed, again.changed) == (False, False), again.output
        before = after
    passed.setdefault(way, set()).add(start.__name__)


@pytest.mark.parametrize("way", REAL)
def test_service_of_a_real_airflow_is_one_server(ansible: Ansible, airflow: AirflowHost, way: str) -> None:
    if "AIRFLOW_WAYS" not in os.environ:
        pytest.skip("`make test-ways` shows it")
    command, user = REAL[way]
    # `standalone` starts what is called airflow on PATH, where the stand-in is first.
    airflow.write_environment(f"PATH={airflow.installation.executable.parent}:/usr/bin:/bin")
    under_systemd(airflow, command.format(airflow=airflow.installation.executable), user)
    airflow.wait_healthy(180)
    before = of_airflow(airflow)
    for args in ({"backends": ["basic_auth", "session"]}, {"backends": ["session"], "service": UNIT}):
        done = ansible.module(AUTH, {"health_timeout": 180, **args})
        assert not done.failed, done.output
        assert (done.result["restarted"], done.result["airflow_version"]) == (True, releases.DEFAULT), done.output
        assert "WARN" not in done.output
        after = of_airflow(airflow)
        assert not set(before) & set(after), shlex.join(airflow.run("ps -ef").splitlines())
        assert airflow.status("/api/v1/dags", "admin") == (200 if "basic_auth" in args["backends"] else 403)
        again = ansible.module(AUTH, args)
        assert (again.failed, again.changed) == (False, False), again.output
        before = after
    passed.setdefault(way, set()).add("real")


@pytest.mark.parametrize("start", [under_systemd, under_supervisor])
def test_user_is_made_in_the_database_of_a_stopped_service(
    ansible: Ansible, airflow: AirflowHost, start: Callable[..., None]
) -> None:
    """Its environment alone names the database. Check mode makes none."""
    database = f"sqlite:///{HOME}/real.db"
    airflow.run(f"cp -p {HOME}/airflow.db {HOME}/real.db; mv {HOME}/airflow.db {HOME}/aside.db")
    variable = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
    if start is under_systemd:
        airflow.write_environment(f"{variable}={database}")
        start(airflow, *WAYS["airflow"])
    else:
        start(airflow, *WAYS["airflow"], **{variable: database})
    airflow.wait_healthy()
    stop(airflow, start)
    service = UNIT if start is under_systemd else PROGRAM
    args = {"service": [service], "username": "deployer", "password": "pass-4711", "roles": ["User"]}
    query = "select count(*) from ab_user where username = 'deployer'"
    count = (
        f"{airflow.installation.python} -c "
        f'"import sqlite3; print(sqlite3.connect(\'{HOME}/real.db\').execute(\\"{query}\\").fetchone()[0])"'
    )
    try:
        airflow.run(f"mv {HOME}/real.db {HOME}/away.db")
        for check in (True, False):
            done = ansible.module(USER, args, check=check)
            assert f"the database {HOME}/real.db of Airflow does not exist" in done.msg
            assert airflow.run(f"ls {HOME}/real.db", check=False) == ""
        airflow.run(f"touch {HOME}/real.db; chown airflow: {HOME}/real.db")
        assert "has no table of users" in ansible.module(USER, args).msg
        assert airflow.run(f"stat -c %s {HOME}/real.db").strip() == "0"
        airflow.run(f"mv {HOME}/away.db {HOME}/real.db")
        for check, expected in ((True, "0"), (False, "1")):
            made = ansible.module(USER, args, check=check)
            assert made.result.get("created"), made.output
            assert "environment of the server is not known" not in made.output
            assert airflow.run(count).strip() == expected
            assert airflow.run(f"ls {HOME}/airflow.db", check=False) == ""
    finally:
        airflow.run(f"mv {HOME}/aside.db {HOME}/airflow.db; rm -f {HOME}/real.db {HOME}/away.db")
        airflow.write_environment()


def test_user_of_a_stopped_service_whose_environment_is_not_known(ansible: Ansible, airflow: AirflowHost) -> None:
    """Another database may stand in it than in the file."""
    start, user = WAYS["script"]
    under_systemd(airflow, start, user)
    airflow.wait_healthy()
    airflow.run(f"systemctl stop {UNIT}")
    args = {"airflow_home": str(HOME), "airflow_executable": AIRFLOW, "username": "deployer", "state": "absent"}
    for more, said in ({"service": [UNIT]}, "does not show all of it"), ({}, "no service is named"):
        done = ansible.module(USER, {**args, **more}, check=True)
        assert not done.failed, done.output
        assert "The environment of the server is not known" in " ".join(done.output.split())
        assert said in " ".join(done.output.split())


@pytest.mark.parametrize("start", [under_systemd, under_supervisor])
def test_stray_file_of_roots_is_not_that_of_a_stopped_service(
    ansible: Ansible, airflow: AirflowHost, start: Callable[..., None]
) -> None:
    """The service has no AIRFLOW_HOME, so that its server reads that of its user's home directory."""
    airflow.run(f"mkdir -p /root/airflow; cp {HOME}/airflow.cfg /root/airflow/; ln -s {HOME} {HOME}/airflow")
    airflow.run(f"usermod --home {HOME} airflow")
    if start is under_systemd:
        airflow.run("sed -i /AIRFLOW_HOME/d /etc/default/airflow")
        start(airflow, *WAYS["airflow"])
    else:
        start(airflow, *WAYS["airflow"], AIRFLOW_HOME="")
    service = UNIT if start is under_systemd else PROGRAM
    stop(airflow, start)
    airflow.run(f"chown -h airflow: {HOME}/airflow")
    stray = airflow.run("cat /root/airflow/airflow.cfg")
    try:
        done = ansible.module(AUTH, {"service": [service], "backends": ["basic_auth", "session"]})
        assert done.result.get("path") == f"{HOME}/airflow/airflow.cfg", done.output
        assert airflow.run("cat /root/airflow/airflow.cfg") == stray
    finally:
        airflow.run(f"rm -r /root/airflow {HOME}/airflow")
        airflow.write_environment()


# --- names of services ------------------------------------------------------------------------

ENVIRONMENT = f'HOME="{HOME}",AIRFLOW_HOME="{HOME}",AIRFLOW__CORE__LOAD_EXAMPLES="False"'
PROGRAM_OF = f"[program:web]\ncommand = {AIRFLOW} {SERVER}\nuser = airflow\nenvironment = {ENVIRONMENT}\n"
# Of each way to define a service: the files of supervisor or the names of units, and the names that a task may give.
NAMES: dict[str, tuple[dict[str, str], list[str]]] = {
    "program of a group": (
        {"supervisord.conf": f"{INTERFACE}{RPC}[group:airflow]\nprograms = web\n{PROGRAM_OF}"},
        ["airflow:web", "airflow:*", "airflow"],
    ),
    "numprocs": (
        {"supervisord.conf": INTERFACE + RPC + PROGRAM_OF + "numprocs = 1\nprocess_name = web_%(process_num)02d\n"},
        ["web:web_00", "web:*", "web"],
    ),
    "numprocs of two": (
        {
            "supervisord.conf": INTERFACE
            + RPC
            + PROGRAM_OF.replace(
                SERVER,
                f"webserver --hostname 0.0.0.0 --port 808%(process_num)d --pid {HOME}/%(process_num)d.pid",
            )
            + "numprocs = 2\nprocess_name = web_%(process_num)02d\n"
        },
        ["web:*", "web"],
    ),
    "program in an included file": (
        {
            "supervisord.conf": f"{INTERFACE}{RPC}[include]\nfiles = supervisor.d/*.conf\n",
            "supervisor.d/web.conf": PROGRAM_OF,
        },
        ["web"],
    ),
    "interface in an included file, with a password": (
        {
            "supervisord.conf": f"[include]\nfiles = supervisor.d/*.conf\n{RPC}{PROGRAM_OF}",
            "supervisor.d/http.conf": LOCKED,
        },
        ["web"],
    ),
    "program of two supervisords": (
        {
            "supervisord.conf": INTERFACE + RPC + PROGRAM_OF,
            "other.conf": "[supervisord]\npidfile = /run/other.pid\n[unix_http_server]\nfile = /run/other.sock\n"
            f"{RPC}[program:web]\ncommand = /bin/sleep 4711\n",
        },
        ["web"],
    ),
    "alias of a unit": ({}, ["af", "af.service", UNIT, f"{UNIT}.service", f"af,{UNIT}"]),
    "instance of a template": ({}, ["af@web", "af@web.service"]),
}


@pytest.mark.parametrize("way", NAMES)
def test_service_is_known_by_each_of_its_names(ansible: Ansible, airflow: AirflowHost, way: str) -> None:
    files, names = NAMES[way]
    try:
        if files:
            for name, text in files.items():
                airflow.write(f"/etc/{name}", text if "[supervisord]" in text else f"[supervisord]\n{text}")
            airflow.run("systemctl start supervisor")
            airflow.run(f"test ! -e /etc/other.conf || {SUPERVISORD} -c /etc/other.conf")
        elif "template" in way:
            airflow.run(f"cp /etc/systemd/system/{UNIT}.service /etc/systemd/system/af@.service")
            airflow.run("systemctl daemon-reload; systemctl start af@web")
        else:
            airflow.run(f"ln -s {UNIT}.service /etc/systemd/system/af.service; systemctl daemon-reload")
            airflow.run(f"systemctl start {UNIT}")
        airflow.wait_healthy()
        bystander = airflow.run("pgrep -f 'sleep 471[1]'", check=False)
        assert bool(bystander) is ("two supervisords" in way)
        for number, name in enumerate(names):
            backends = ["session"] if number % 2 else ["basic_auth", "session"]
            before = of_airflow(airflow)
            args = {"backends": backends, "service": name.split(","), "health_timeout": 60}
            done = ansible.module(AUTH, args)
            assert (done.failed, done.result.get("restarted")) == (False, True), done.output
            assert "WARN" not in done.output
            assert not set(before) & set(of_airflow(airflow))
            assert airflow.status("/api/v1/dags", "admin") == (403 if number % 2 else 200)
            again = ansible.module(AUTH, args)
            assert (again.failed, again.changed) == (False, False), again.output
        airflow.write("/srv/control.conf", "[supervisorctl]\n")
        login = "-s unix:///run/supervisor.sock -u root -p 's3cret;x'"
        control = f"{SUPERVISORD.with_name('supervisorctl')} -c /srv/control.conf {login}"
        airflow.run(f"{control} stop all" if files else f"systemctl stop {UNIT} 'af@*'")
        backends = ["session"] if len(names) % 2 else ["basic_auth", "session"]
        # Of several stopped programs of one name, it is the one that is given this directory.
        args = {"backends": backends, "service": names[0], "airflow_home": str(HOME), "health_timeout": 60}
        done = ansible.module(AUTH, args)
        assert (done.failed, done.result.get("restarted")) == (False, True), done.output
        assert airflow.status("/api/v1/dags", "admin") == (403 if len(names) % 2 else 200)
        assert airflow.run("pgrep -f 'sleep 471[1]'", check=False) == bystander
        passed.setdefault(way, set()).add("named")
    finally:
        airflow.run(
            "systemctl stop 'af@*' supervisor; pkill -f other.conf; pkill -f 'sleep 471[1]'; "
            "rm -rf /etc/systemd/system/af* /etc/supervisord.conf /etc/other.conf /etc/supervisor.d; "
            "systemctl daemon-reload",
            check=False,
        )


# --- ways to install --------------------------------------------------------------------------

PYTHON = "/usr/bin/python3"  # of Debian: the same version as that of the installed Airflow
PACKAGES = "python3.11/site-packages"
DIST = "/usr/local/lib/python3.11/dist-packages"
# Of each way the commands that install, with the real packages at ``$PACKAGES``, the first line of the program
# ``airflow``, and a line for the unit.
INSTALLED = {
    "pip --user": (f"mkdir -p {HOME}/.local/lib/python3.11; ln -s $PACKAGES {HOME}/.local/lib/{PACKAGES}", PYTHON, ""),
    "system pip of Debian": (f"mkdir -p {DIST}; ln -s $PACKAGES/* {DIST}/", PYTHON, ""),
    "system pip of Red Hat": (
        (
            f"mkdir -p {DIST}; echo /usr/local/lib/{PACKAGES} > {DIST}/local.pth;"
            f" ln -s $PACKAGES /usr/local/lib/{PACKAGES}"
        ),
        PYTHON,
        "",
    ),
    "virtual environment over system packages": (
        f"mkdir -p {DIST}; ln -s $PACKAGES/* {DIST}/; {PYTHON} -m venv --without-pip --system-site-packages /srv/venv",
        "/srv/venv/bin/python3",
        "",
    ),
    "pip --target": ("ln -s $PACKAGES /srv/target", PYTHON, "Environment=PYTHONPATH=/srv/target"),
    "prefix of its own, as conda": (
        (
            "mkdir -p /srv/conda/bin /srv/conda/lib/python3.11; cp $BASE/bin/python3.11 /srv/conda/bin/;"
            " ln -s $BASE/lib/python3.11/* /srv/conda/lib/python3.11/; rm /srv/conda/lib/python3.11/site-packages;"
            f" ln -s $PACKAGES /srv/conda/lib/{PACKAGES}"
        ),
        "/srv/conda/bin/python3.11",
        "",
    ),
    "pipx": (
        (
            f"{PYTHON} -m venv --without-pip {HOME}/.local/share/pipx/venvs/apache-airflow;"
            f" ln -s $PACKAGES/* {HOME}/.local/share/pipx/venvs/apache-airflow/lib/{PACKAGES}/"
        ),
        f"{HOME}/.local/share/pipx/venvs/apache-airflow/bin/python",
        "",
    ),
    "metadata of another version beside it": (
        (
            f"mkdir -p {HOME}/.local/lib/python3.11 {DIST}/airflow {DIST}/apache_airflow-2.2.5.dist-info;"
            f" ln -s $PACKAGES {HOME}/.local/lib/{PACKAGES}"
        ),
        PYTHON,
        "",
    ),
}


@pytest.mark.parametrize("way", INSTALLED)
def test_installation_is_found(ansible: Ansible, airflow: AirflowHost, way: str) -> None:
    commands, python, line = INSTALLED[way]
    packages = airflow.installation.python.parents[1] / "lib" / PACKAGES
    program = "/srv/program/airflow"
    try:
        source = (airflow.host.root / AIRFLOW.lstrip("/")).read_text().partition("\n")[2]
        airflow.write(program, f"#!{python}\n{source}", 0o755)
        base = pythons.find(releases.release(releases.DEFAULT).pythons).resolve().parents[1]
        airflow.run(f"PACKAGES={packages}; BASE={base}; {commands}; chown -Rh airflow: {HOME}")
        airflow.drop_in(f"Environment=HOME={HOME}\n{line}\nExecStart=\nExecStart={program} {SERVER}")
        airflow.run(f"systemctl reset-failed {UNIT}; systemctl start {UNIT}")
        airflow.wait_healthy()
        done = ansible.module(AUTH, {"backends": ["basic_auth", "session"]})
        assert (done.result.get("airflow_version"), done.changed) == (releases.DEFAULT, True), done.output
        assert "WARN" not in done.output
        airflow.run(f"systemctl stop {UNIT}")
        done = ansible.module(AUTH, {"backends": ["session"], "service": UNIT})
        assert (done.result.get("airflow_version"), done.changed) == (releases.DEFAULT, True), done.output
        passed.setdefault(way, set()).add("installed")
    finally:
        airflow.run(f"systemctl stop {UNIT}; rm -rf /srv/* {HOME}/.local /usr/local/lib/python3.11")


# --- what is in force -------------------------------------------------------------------------


def test_file_that_is_put_back_with_its_times_is_newer(ansible: Ansible, airflow: AirflowHost) -> None:
    under_systemd(airflow, *WAYS["airflow"])
    airflow.wait_healthy()
    time.sleep(0.1)
    done = ansible.module(AUTH, {"backends": ["basic_auth", "session"], "backup": True})
    assert done.changed, done.output
    airflow.run(f"mv {done.result['backup_file']} {HOME}/airflow.cfg")
    info = ansible.module(INFO, {}).result
    assert (info["restart_pending"], info["in_force"]) == (True, None), info
    done = ansible.module(AUTH, {"backends": ["session"]})
    assert done.result["restarted"], done.output
    assert airflow.status("/api/v1/dags", "admin") == 403
    assert not ansible.module(AUTH, {"backends": ["session"]}).changed


def test_restart_that_did_not_happen_at_another_address(ansible: Ansible, airflow: AirflowHost) -> None:
    under_systemd(airflow, WAYS["airflow"][0].replace("0.0.0.0", "127.0.0.2"), "airflow")
    airflow.run("for i in $(seq 100); do ss -ltn | grep -q 127.0.0.2:8080 && break; sleep 0.1; done")
    before, pid = airflow.cfg.read_bytes(), airflow.main_pid()
    args = {"backends": ["basic_auth", "session"], "restart_command": "true", "health_timeout": 5}
    done = ansible.module(AUTH, args)
    assert done.failed, done.output
    assert "which is older than the restart" in done.msg
    assert "was rolled back. The server was not restarted." in done.msg
    assert (airflow.cfg.read_bytes(), airflow.main_pid()) == (before, pid)


def test_gunicorn_that_outlived_its_webserver_without_pid_file(ansible: Ansible, airflow: AirflowHost) -> None:
    under_systemd(airflow, *WAYS["airflow"])
    airflow.wait_healthy()
    old = set(of_airflow(airflow))
    airflow.drop_in("KillMode=process")
    airflow.run(f"kill -KILL {airflow.main_pid()}; rm {HOME}/airflow-webserver.pid; sleep 2")
    info = ansible.module(INFO, {}).result
    assert (info["restart_pending"], info["in_force"]) == (True, None), info
    assert "outlived its server" in info["restart_reason"]
    done = ansible.module(AUTH, {"backends": ["basic_auth", "session"]})
    assert done.result.get("restarted"), done.output
    assert not old & set(of_airflow(airflow))
    assert airflow.status("/api/v1/dags", "admin") == 200


def test_variable_that_the_service_no_longer_sets(ansible: Ansible, airflow: AirflowHost) -> None:
    variable = "AIRFLOW__API__AUTH_BACKENDS=airflow.api.auth.backend.session"
    under_systemd(airflow, *WAYS["airflow"])
    airflow.write_environment(variable)
    airflow.run(f"systemctl restart {UNIT}")
    airflow.wait_healthy()
    args = {"backends": ["basic_auth", "session"]}
    try:
        done = ansible.module(AUTH, args)
        assert f"{variable} in the environment of the server" in done.msg
        airflow.write_environment()
        done = ansible.module(AUTH, args)
        assert done.result.get("restarted"), done.output
        assert (done.result["overridden_by"], len(done.result["in_force"])) == (None, 2), done.result
        assert airflow.status("/api/v1/dags", "admin") == 200
        assert not ansible.module(AUTH, args).changed

        airflow.drop_in(f"Environment={variable}")
        airflow.run(f"systemctl restart {UNIT}; rm -r /etc/systemd/system/{UNIT}.service.d")
        airflow.wait_healthy()
        assert "run systemctl daemon-reload" in ansible.module(AUTH, args).msg
        airflow.run("systemctl daemon-reload")
        done = ansible.module(AUTH, args)
        assert "no longer sets it" in done.result["restart_reason"], done.output
        assert not ansible.module(AUTH, args).changed
    finally:
        airflow.write_environment()


def test_variable_of_a_former_name(ansible: Ansible, airflow: AirflowHost) -> None:
    under_systemd(airflow, *WAYS["airflow"])
    airflow.write_environment("AIRFLOW__CORE__DAG_CONCURRENCY=5")
    airflow.run(f"systemctl restart {UNIT}")
    airflow.wait_healthy()
    try:
        done = ansible.module(CONFIG, {"settings": {"core": {"max_active_tasks_per_dag": 20}}})
        assert "AIRFLOW__CORE__DAG_CONCURRENCY=5 in the environment of the server" in done.msg
        done = ansible.module(CONFIG, {"settings": {"core": {"dag_concurrency": 20}}}, check=True)
        assert "Its name is [core] max_active_tasks_per_dag now." in done.output
    finally:
        airflow.write_environment()


# --- a view of its own ------------------------------------------------------------------------


def test_unit_that_sees_another_file(ansible: Ansible, airflow: AirflowHost) -> None:
    airflow.run(
        f"rm -rf /srv/a; cp -a {HOME} /srv/a; sed -i 's/^parallelism = .*/parallelism = 77/' /srv/a/airflow.cfg"
    )
    under_systemd(airflow, *WAYS["airflow"])
    airflow.drop_in(f"BindPaths=/srv/a:{HOME}")
    airflow.run(f"systemctl restart {UNIT}")
    airflow.wait_healthy()
    before, pid = airflow.cfg.read_bytes(), airflow.main_pid()
    try:
        for module, args in (
            (INFO, {}),
            (AUTH, {"backends": ["basic_auth", "session"]}),
            (AUTH, {"backends": ["basic_auth", "session"], "service": UNIT, "path": f"{HOME}/airflow.cfg"}),
            (AUTH, {"backends": ["basic_auth", "session"], "path": f"{HOME}/airflow.cfg", "restart_command": "true"}),
        ):
            done = ansible.module(module, args)
            assert done.failed, done.output
            assert "its own view of the file system" in done.msg
        assert (airflow.cfg.read_bytes(), airflow.main_pid()) == (before, pid)

        args = {"backends": ["basic_auth", "session"], "path": "/srv/a/airflow.cfg", "service": UNIT}
        done = ansible.module(AUTH, args)
        assert done.result.get("restarted"), done.output
        assert (airflow.cfg.read_bytes(), airflow.status("/api/v1/dags", "admin")) == (before, 200)
        assert not ansible.module(AUTH, args).changed
    finally:
        airflow.run(f"systemctl stop {UNIT}; rm -rf /srv/a")


CONTAINER = f"""\
#!/bin/sh
pkill -KILL -f 'airflow webserve[r]'
sleep 0.3
rm -f /srv/a/*.pid
$SCOPE unshare --mount --pid --fork sh -c '
  mount --make-rprivate /; mount -t tmpfs tmpfs /mnt
  for entry in /*; do
    case $entry in /mnt) continue;; esac
    if [ -L $entry ]; then cp -P $entry /mnt/; else mkdir /mnt$entry; mount --rbind $entry /mnt$entry; fi
  done
  mount --bind /srv/a /mnt{HOME}
  AIRFLOW_HOME={HOME} exec chroot /mnt $AS {AIRFLOW} {SERVER}' </dev/null >/srv/container.log 2>&1 &
for i in $(seq 100); do ss -ltn | grep -q :8080 && break; sleep 0.1; done
"""


SCOPE = f"systemd-run --quiet --scope --unit docker-{'0123456789abcdef' * 4}"  # as Docker has it
AS = "setpriv --reuid 50000 --regid 50000 --clear-groups"  # a user of the container alone


@pytest.mark.parametrize("of_another_user", [False, True])
def test_container_that_sees_another_file(ansible: Ansible, airflow: AirflowHost, of_another_user: bool) -> None:
    """What is essential of a container: namespaces and a root directory of its own. Docker does not run in the host."""
    airflow.run(f"rm -rf /srv/a; cp -a {HOME} /srv/a")
    variables = f"export SCOPE='{SCOPE}' AS='{AS}'" if of_another_user else "export SCOPE= AS="
    airflow.write("/srv/container.sh", CONTAINER.replace("\n", f"\n{variables}\n", 1), 0o755)
    if of_another_user:
        airflow.run("chown -R 50000:50000 /srv/a; chown root: /srv/a/airflow.cfg; chmod 644 /srv/a/airflow.cfg")
    airflow.run("/srv/container.sh")
    airflow.wait_healthy()
    before = airflow.cfg.read_bytes()
    wanted = {"backends": ["basic_auth", "session"], "restart_command": "/srv/container.sh", "health_timeout": 20}
    try:
        for args in ({}, {"path": f"{HOME}/airflow.cfg"}):
            done = ansible.module(AUTH, {**wanted, **args})
            assert done.failed, done.output
            assert ("the container 0123456789ab" if of_another_user else "a container") in done.msg
        assert airflow.cfg.read_bytes() == before
        assert airflow.status("/api/v1/dags", "admin") == 403

        done = ansible.module(AUTH, {**wanted, "path": "/srv/a/airflow.cfg"})
        assert done.result.get("restarted"), done.output
        assert done.result["in_force"], done.output
        assert (airflow.cfg.read_bytes(), airflow.status("/api/v1/dags", "admin")) == (before, 200)
        assert not ansible.module(AUTH, {**wanted, "path": "/srv/a/airflow.cfg"}).changed

        done = ansible.module(USER, {"username": "x", "password": "y", "roles": ["User"], "path": "/srv/a/airflow.cfg"})
        assert done.failed
        assert "Run the task where the server runs" in done.msg
    finally:
        airflow.run("pkill -KILL -f 'airflow webserve[r]'; sleep 0.3; rm -rf /srv/*", check=False)


def test_server_in_a_network_of_its_own(ansible: Ansible, airflow: AirflowHost) -> None:
    """At its port of the host somebody else may listen, whose answers would be taken for its own."""
    start = f"#!/bin/sh\nAIRFLOW_HOME={HOME} exec unshare --net {AIRFLOW} {SERVER}\n"
    airflow.write("/srv/network.sh", start, 0o755)
    airflow.run("setsid /srv/network.sh </dev/null >/srv/network.log 2>&1 &")
    airflow.run("for i in $(seq 100); do pgrep -f 'airflow webserve[r]' >/dev/null && break; sleep 0.1; done; sleep 1")
    before = airflow.cfg.read_bytes()
    try:
        for module, args in ((AUTH, {"backends": ["session"], "restart_command": "true"}), (AUTH + "_info", {})):
            done = ansible.module(module, args)
            assert done.failed, done.output
            assert "a network namespace of its own" in done.msg
        assert airflow.cfg.read_bytes() == before
    finally:
        airflow.run("pkill -KILL -f 'airflow webserve[r]'; sleep 0.3; rm -rf /srv/*", check=False)

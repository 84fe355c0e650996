# SPDX-License-Identifier: GPL-3.0-or-later
"""Real attacks by a real unprivileged user, and by the service's own user, on a host with a real systemd.

The server is the stand-in: what is attacked is what root does, not Airflow. Airflow's own Python is the real one.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._change.replacement import Replacement
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from testbed import hosts, pythons, releases
from testbed.airflow_host import HOME, PORT, AirflowHost
from testbed.hosts import AIRFLOW_UID
from testbed.runner import Ansible, ModuleResult
from testbed.running import CHECKOUT, installed

pytestmark = [
    pytest.mark.story,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who is attacked"),
]
AUTH = "fleetops.airflow.airflow_api_auth"
INFO = "fleetops.airflow.airflow_api_auth_info"
CONFIG = "fleetops.airflow.airflow_config"
UNIT = "airflow-webserver"
SERVICE = {"service": [UNIT]}
MALLORY = 1500
TRIES = 200
Run = Callable[..., ModuleResult]

# What mallory starts. Each of them stays until it is ended.
AS_SETUID = """
import os
claims = ["/home/mallory/evil/bin/python3", "airflow", "webserver"]
os.execve("/usr/bin/su", claims, {"AIRFLOW_HOME": "%(home)s", "SUPERVISOR_PROCESS_NAME": "airflow-webserver"})
"""
AS_SERVER = """
import os
claims = ["/usr/bin/python3", "/home/mallory/evil/bin/airflow", "webserver"]
os.execve("/usr/bin/python3", claims, {"AIRFLOW_HOME": "%(home)s", "SUPERVISOR_PROCESS_NAME": "airflow-webserver"})
"""
PWN = """\
#!/bin/sh
id > /pwned-by-$(id -un)
id > /root/pwned
"""
# The service's own user replaces the file that root is about to give a name by a link, as often as it can.
SWAP = """
import os, sys
directory, victim = sys.argv[1:]
os.setgroups([]); os.setgid(1234); os.setuid(1234)
os.chdir(directory)
os.write(1, b"ready\\n")
while True:
    for name in os.listdir("."):
        if name.startswith(".airflow.cfg.fleetops-"):
            try:
                os.unlink(name)
                os.symlink(victim, name)
            except OSError:
                pass
"""


@pytest.fixture(scope="module")
def airflow() -> Iterator[AirflowHost]:
    """A healthy server under systemd, on a host with a user mallory."""
    why_not = hosts.reason_to_skip()
    if why_not:
        pytest.skip(why_not)
    interpreters = [pythons.find(releases.release(releases.DEFAULT).pythons)]
    with hosts.bed(Path(tempfile.mkdtemp(prefix="bed-")), 1, hosts.read_only_folders(*interpreters)) as bed:
        airflow = AirflowHost(bed, bed.hosts[0], installed(releases.DEFAULT), fake=True)
        airflow.prepare()
        airflow.run(f"useradd --create-home --uid {MALLORY} mallory; systemctl start {UNIT}")
        evil = "/home/mallory/evil"
        for path in (f"{evil}/bin/python3", f"{evil}/bin/pwn"):
            airflow.write(path, PWN, 0o755)
        airflow.write(f"{evil}/bin/airflow", "import time\nwhile True:\n    time.sleep(1)\n", 0o755)
        airflow.write(f"{evil}/airflow.cfg", "[api]\nauth_backends = airflow.api.auth.backend.session\n")
        folder = f"{evil}/lib/python3.11/site-packages/apache_airflow-2.11.2.dist-info"
        airflow.write(f"{folder}/METADATA", "")
        airflow.run("chown -R mallory: /home/mallory")
        airflow.wait_healthy()
        yield airflow


@pytest.fixture(scope="module")
def ansible(airflow: AirflowHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ansible]:
    python, bed = Path(sys.executable), airflow.bed
    directory = tmp_path_factory.mktemp("ansible-hostile")
    collections = CHECKOUT / ".build/collections"
    with closing(Ansible(python.parent, directory, collections, python, bed.inventory(), bed.inside())) as ansible:
        yield ansible


@pytest.fixture
def run(ansible: Ansible, airflow: AirflowHost) -> Iterator[Run]:
    """Runs a module on the host. Afterwards the unit runs with its first file, and mallory runs nothing."""
    pristine = airflow.cfg.read_bytes()

    def run(module: str, args: dict[str, Any], **options: Any) -> ModuleResult:
        return ansible.module(module, args, **options)

    yield run
    pwned = airflow.run("ls /pwned-by-* /root/pwned", check=False)
    airflow.run("pkill -KILL --uid mallory; pkill -KILL supervisord; true")
    if airflow.cfg.read_bytes() != pristine or not airflow.main_pid():
        airflow.cfg.write_bytes(pristine)
        airflow.run(f"systemctl reset-failed; systemctl restart {UNIT}")
        airflow.wait_healthy()
    assert pwned == ""


@contextmanager
def mallory(airflow: AirflowHost, program: str, **names: str) -> Iterator[int]:
    """A program of mallory's in Python, running; its pid on the host."""
    airflow.write("/home/mallory/attack.py", program % names if names else program)
    airflow.run("chown mallory: /home/mallory/attack.py; mkfifo /run/open 2>/dev/null; true")
    start = "setsid /usr/bin/python3 /home/mallory/attack.py < /run/open > /dev/null 2>&1 & echo $!"
    pid = int(airflow.run(f"(exec 9<>/run/open; su mallory -s /bin/sh -c '{start}')").split()[-1])
    # A reader of the FIFO goes on only while there is a writer.
    writer = airflow.run("sh -c 'sleep 600 > /run/open 2>/dev/null & echo $!'").split()[-1]
    time.sleep(0.3)
    try:
        yield pid
    finally:
        airflow.run(f"kill -KILL {pid} {writer}", check=False)


def assert_alive(airflow: AirflowHost, pid: int) -> None:
    assert airflow.run(f"ls -d /proc/{pid}") == f"/proc/{pid}\n", "the attack has ended by itself"


# --- processes --------------------------------------------------------------------------------

ATTACKS = {
    "setuid": (AS_SETUID, "/home/mallory/evil"),
    "setuid that claims the file": (AS_SETUID, str(HOME)),
    "server": (AS_SERVER, "/home/mallory/evil"),
    "server that claims the file": (AS_SERVER, str(HOME)),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_process_that_calls_itself_a_server(run: Run, airflow: AirflowHost, attack: str) -> None:
    program, home = ATTACKS[attack]
    with mallory(airflow, program, home=home) as pid:
        for args in ({}, SERVICE, {"airflow_home": str(HOME)}):
            before = airflow.main_pid()
            done = run(AUTH, {"backends": ["basic_auth", "session"], "restart": "always", **args})
            assert done.changed, done.output
            assert done.result["path"] == str(HOME / "airflow.cfg")
            assert airflow.main_pid() not in (0, before)
        assert run(INFO, {}).result["server"]["pid"] == airflow.main_pid()
        assert_alive(airflow, pid)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("check", [True, False], ids=["check mode", "for real"])
def test_process_that_calls_itself_a_server_where_none_runs(
    run: Run, airflow: AirflowHost, attack: str, check: bool
) -> None:
    airflow.run(f"systemctl stop {UNIT}")
    program, home = ATTACKS[attack]
    with mallory(airflow, program, home=home) as pid:
        done = run(AUTH, {"backends": ["basic_auth", "session"]}, check=check)
        assert done.failed, done.output
        assert "/root/airflow/airflow.cfg is no file on this host" in done.msg
        if program is AS_SERVER:  # the other one is no candidate at all
            assert f"Process {pid} of user mallory claims to be a server that reads" in done.msg
        done = run(AUTH, {"backends": ["basic_auth", "session"], **SERVICE}, check=check)
        assert done.changed, done.output
        assert done.result["path"] == str(HOME / "airflow.cfg")
        assert_alive(airflow, pid)


def test_process_that_a_service_of_another_users_has_left(run: Run, airflow: AirflowHost) -> None:
    """It is in the control group of a unit, with init as its parent, as the main process of a unit is."""
    airflow.write("/home/mallory/attack.py", AS_SERVER % {"home": "/home/mallory/evil"})
    command = "/bin/sh -c '(setsid /usr/bin/python3 /home/mallory/attack.py &) ; exec sleep infinity'"
    airflow.write(
        "/etc/systemd/system/notebooks.service", f"[Service]\nUser=mallory\nKillMode=process\nExecStart={command}\n"
    )
    airflow.run("systemctl daemon-reload; systemctl start notebooks; sleep 0.5")
    try:
        assert airflow.run("pgrep -u mallory -f 'airflow webserver'").strip()
        for stop in ("true", "systemctl stop notebooks"):  # then it is alone in the group
            airflow.run(stop)
            assert run(INFO, {}).result["path"] == str(HOME / "airflow.cfg")
            assert run(AUTH, {"backends": ["basic_auth", "session"], "restart": "always"}).changed
    finally:
        airflow.run("systemctl stop notebooks; rm /etc/systemd/system/notebooks.service; systemctl daemon-reload")


def test_supervisord_of_another_user(run: Run, airflow: AirflowHost) -> None:
    """The first line of a file of root's was quoted, and no task with a service worked while it ran."""
    airflow.write("/home/mallory/evil/supervisord", "import time\nwhile True:\n    time.sleep(1)\n")
    program = """
import os
os.execv("/usr/bin/python3", ["python3", "/home/mallory/evil/supervisord", "-c", "%(path)s"])
"""
    secret = (airflow.host.root / "etc/shadow").read_text().splitlines()[0]
    airflow.run("mkfifo -m 666 /home/mallory/fifo; true", check=False)
    for path in ("/etc/shadow", "/home/mallory/fifo", "/dev/zero"):
        with mallory(airflow, program, path=path) as pid:
            done = run(AUTH, {"backends": ["basic_auth", "session"], **SERVICE}, check=True)
            assert not done.failed, done.output
            wrong = run(AUTH, {"backends": ["basic_auth"], "service": ["airflow-webservr"]})
            assert "No service airflow-webservr is known on this host." in wrong.msg
            assert secret not in done.output + wrong.output
            assert_alive(airflow, pid)


def test_supervisord_of_roots_with_a_broken_configuration(run: Run, airflow: AirflowHost) -> None:
    """It hides no unit of systemd, and what its file holds is not quoted."""
    airflow.write("/root/supervisord", "import time\nwhile True:\n    time.sleep(1)\n")
    airflow.write("/root/supervisord.conf", "s3cret-line\n", 0o600)
    start = "setsid /usr/bin/python3 /root/supervisord -c /root/supervisord.conf >/dev/null 2>&1 </dev/null & echo $!"
    pid = int(airflow.run(start))
    try:
        done = run(AUTH, {"backends": ["basic_auth", "session"], **SERVICE}, check=True)
        assert not done.failed, done.output
        wrong = run(AUTH, {"backends": ["basic_auth"], "service": ["airflow-webservr"]})
        assert wrong.failed
        assert "/root/supervisord.conf, line 1, is not a configuration that supervisord" in wrong.msg
        assert "s3cret" not in wrong.output
    finally:
        airflow.run(f"kill -KILL {pid}")


def test_server_of_a_user_without_an_entry_in_passwd(run: Run, airflow: AirflowHost) -> None:
    command = f"{airflow.executable} webserver --port {PORT} --hostname 0.0.0.0 --workers 1"
    as_user = "/usr/bin/setpriv --reuid 54321 --regid 54321 --clear-groups"
    airflow.drop_in(f"User=root\nExecStart=\nExecStart={as_user} {command}")
    try:
        airflow.run(f"chown -R 54321:54321 {HOME}; systemctl restart {UNIT}")
        airflow.wait_healthy()
        done = run(AUTH, {"backends": ["basic_auth", "session"]})
        assert done.result["restarted"], done.output
        assert airflow.run(f"stat -c %u {HOME}/airflow.cfg") == "54321\n"
    finally:
        airflow.drop_in(None)
        airflow.run(f"chown -R {AIRFLOW_UID}:{AIRFLOW_UID} {HOME}; systemctl restart {UNIT}")
        airflow.wait_healthy()


def test_root_runs_nothing_that_another_user_can_change(run: Run, airflow: AirflowHost) -> None:
    """A server that runs as root, with a directory of another user's: its imports are not tried."""
    airflow.drop_in("User=root")
    try:
        airflow.run(f"systemctl restart {UNIT}")
        airflow.wait_healthy()
        done = run(AUTH, {"backends": ["basic_auth", "session"]})
        assert done.changed, done.output
        assert "was not checked. Airflow would run as root here, and users other than root can change" in done.output
    finally:
        airflow.drop_in(None)
        airflow.run(f"systemctl restart {UNIT}")
        airflow.wait_healthy()


def in_chroot(ansible: Ansible, args: dict[str, Any]) -> ModuleResult:
    play = [{"hosts": "all", "gather_facts": False, "tasks": [{"name": "In the image", AUTH: args}]}]
    done = ansible.playbook(
        json.dumps(play) + "\n",
        extra_vars={"ansible_python_interpreter": "/usr/local/bin/chrooted"},
        env={"ANSIBLE_PIPELINING": "True"},
    )
    return ModuleResult(done.rc, done.output, done.tasks[-1].result)


@pytest.mark.parametrize("run_too", [False, True], ids=["without /run", "with /run"])
def test_task_in_a_chroot_restarts_nothing_outside(ansible: Ansible, airflow: AirflowHost, run_too: bool) -> None:
    """As when an image is built: the chroot is the host's own root file system again, with an Airflow of its own."""
    image = "/srv/image"
    binds = f"set -e; mkdir -p {image} /srv/home; cp -a {HOME}/. /srv/home; mount --bind / {image}"
    binds += f"; mount --make-private {image}; mount --bind /srv/home {image}{HOME}"
    binds += f"; for name in proc dev tmp root; do mount --bind /$name {image}/$name; done"
    airflow.write("/usr/local/bin/chrooted", f'#!/bin/sh\nexec chroot {image} /usr/bin/python3 "$@"\n', 0o755)
    airflow.run(binds + (f"; mount --bind /run {image}/run" if run_too else ""))
    pid = airflow.main_pid()
    try:
        args = {"backends": ["basic_auth", "session"], "airflow_home": str(HOME), "airflow_version": "2.11.2"}
        done = in_chroot(ansible, args)
        assert done.failed, done.output
        assert "this task runs in a chroot" in done.msg, done.msg
        never = in_chroot(ansible, {**args, "restart": "never"})
        assert never.changed, never.output
        assert airflow.main_pid() == pid
        assert b"basic_auth" not in airflow.cfg.read_bytes()
        assert "basic_auth" in airflow.run("grep ^auth_backends /srv/home/airflow.cfg")
    finally:
        airflow.run(f"umount --recursive --lazy {image} && rm -rf /srv/home")


# --- files ------------------------------------------------------------------------------------


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A directory of another user's with an airflow.cfg, which that user can enter: pytest's own cannot be."""
    directory = Path(tempfile.mkdtemp(prefix="theirs-"))
    (directory / "airflow.cfg").write_bytes(b"old" * 100000)
    os.chown(directory, 1234, 1234)
    os.chown(directory / "airflow.cfg", 1234, 1234)
    yield directory
    subprocess.run(["rm", "-rf", directory], check=True)


def test_swapped_temporary_file(theirs: Path, tmp_path: Path) -> None:
    """The service's user, at full speed, while root replaces airflow.cfg many times: no file of root's changes."""
    victim = tmp_path / "shadow"
    victim.write_bytes(b"root's own")
    victim.chmod(0o600)
    cfg = theirs / "airflow.cfg"
    cfg.chmod(0o666)  # what would be given to the file that the link leads to
    command = ["/usr/bin/python3", "-c", SWAP, str(theirs), str(victim)]
    changed = refused = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE) as attacker:
        try:
            assert attacker.stdout
            assert attacker.stdout.readline() == b"ready\n"
            for number in range(TRIES):
                if (
                    cfg.is_symlink() or not cfg.exists()
                ):  # the attacker's own directory: that much it can do at any time
                    cfg.unlink(missing_ok=True)
                    cfg.write_bytes(b"old")
                    cfg.chmod(0o666)
                old, new = cfg.read_bytes(), b"new %d" % number * 100000
                with closing(Replacement(str(cfg), old, new)) as step:
                    try:
                        step.do()
                        changed += 1
                        assert cfg.is_symlink() or cfg.read_bytes() == new
                        step.finish()
                    except AirflowError:
                        refused += 1
                status = victim.stat()
                assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o600, 0)
                assert victim.read_bytes() == b"root's own"
        finally:
            attacker.send_signal(signal.SIGKILL)
    print(f"{TRIES} tries: {changed} changed, {refused} refused")
    assert changed + refused == TRIES
    assert refused, "the attacker was too slow to show anything"


@pytest.mark.parametrize("target", ["/etc/shadow", "/dev/zero", "fifo"])
def test_files_of_the_service_user_that_are_not_files(run: Run, airflow: AirflowHost, target: str) -> None:
    """They are links to root's files, endless, or never answer: a task ends soon, and quotes nothing."""
    secret = (airflow.host.root / "etc/shadow").read_text().splitlines()[0]
    names = [f"{HOME}/webserver_config.py", f"{HOME}/airflow-webserver.pid", f"{HOME}/airflow-webserver.log"]
    make = "mkfifo {0}" if target == "fifo" else "ln -s %s {0}" % target
    before = airflow.main_pid()
    for name in names:
        airflow.run(f"rm -f {name}.kept; mv {name} {name}.kept 2>/dev/null; su airflow -c '{make.format(name)}'")
    try:
        begun = time.monotonic()
        info = run(INFO, {})
        assert not info.failed, info.output
        failing = {
            "backends": ["basic_auth", "session"],
            "username": "admin",
            "password": "wrong",
            "health_timeout": 20,
        }
        done = run(AUTH, failing)
        assert done.failed, done.output
        assert "was rolled back. The server runs with it again." in done.msg
        assert secret not in info.output + done.output
        assert time.monotonic() - begun < 60
        assert airflow.main_pid() != before
    finally:
        for name in names:
            airflow.run(f"rm -f {name}; mv {name}.kept {name} 2>/dev/null; true")
        airflow.run(f"systemctl restart {UNIT}")
        airflow.wait_healthy()


def test_airflow_cfg_that_is_a_link_to_a_file_of_roots(run: Run, airflow: AirflowHost) -> None:
    airflow.write("/etc/of-root", "[api]\nauth_backends = x\n", 0o600)
    airflow.run(f"mv {HOME}/airflow.cfg {HOME}/kept; su airflow -c 'ln -s /etc/of-root {HOME}/airflow.cfg'")
    try:
        for args in ({"path": f"{HOME}/airflow.cfg"}, {"airflow_home": str(HOME)}, SERVICE, {}):
            done = run(AUTH, {"backends": ["basic_auth"], "restart": "never", **args})
            assert done.failed
            assert "A symbolic link of another user leads to a file that is not that user's" in done.msg
            assert airflow.run("cat /etc/of-root") == "[api]\nauth_backends = x\n"
    finally:
        airflow.run(f"mv {HOME}/kept {HOME}/airflow.cfg")


@pytest.mark.parametrize("path", ["/srv/of-root", "/etc/docker/daemon.json"])
def test_passwords_where_only_root_may_write(run: Run, airflow: AirflowHost, path: str) -> None:
    """airflow.cfg is the service user's: it may name any file for the passwords of the simple auth manager."""
    home = "/srv/simple"
    airflow.write(f"{home}/airflow.cfg", f"[api]\nport = 8099\n[core]\nsimple_auth_manager_passwords_file = {path}\n")
    airflow.run(f"rm -f /srv/of-root; chown -R airflow: {home}")
    airflow.write("/etc/docker/daemon.json", "{}\n")
    args = {"airflow_home": home, "airflow_version": "3.3.2", "restart": "never", "roles": ["user"]}
    done = run("fleetops.airflow.airflow_user", {**args, "username": "deployer", "password": "hunter2-x"})
    assert done.failed, done.output
    assert f"{path} cannot be replaced: Permission denied" in done.msg
    assert airflow.run("cat /etc/docker/daemon.json; ls /srv/of-root", check=False) == "{}\n"
    assert "deployer" not in airflow.run(f"cat {home}/airflow.cfg")


def test_backup_is_not_written_through_a_link(run: Run, airflow: AirflowHost) -> None:
    """The name of a backup can be foreseen."""
    airflow.write("/etc/of-root", "untouched\n")
    program = """
import datetime, os
os.chdir("%(home)s")
now = datetime.datetime.now()
for second in range(40):
    stamp = (now + datetime.timedelta(seconds=second)).strftime("%%Y-%%m-%%d@%%H:%%M:%%S~")
    for pid in range(%(first)s, %(first)s + 300):
        os.symlink("/etc/of-root", f"airflow.cfg.{pid}.{stamp}")
"""
    first = int(airflow.run("cat /proc/loadavg").split()[-1])
    airflow.write(f"{HOME}/attack.py", program % {"home": HOME, "first": first})
    airflow.run(f"su airflow -c '/usr/bin/python3 {HOME}/attack.py'")
    try:
        run(AUTH, {"backends": ["basic_auth", "session"], "backup": True, "restart": "never"})
        assert airflow.run("cat /etc/of-root") == "untouched\n"
    finally:
        airflow.run(f"cd {HOME} && find . -maxdepth 1 -name 'airflow.cfg.*~' -delete; rm -f attack.py")

# SPDX-License-Identifier: GPL-3.0-or-later
"""airflow.cfg is wholly old or wholly new: whenever the process is killed, and whatever the file system does.

The server is a stand-in here, a few lines that answer /health as Airflow does, because 200 restarts of the real one
take half an hour. Everything else is real: the files, the signals, the file systems, the processes.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.edit import apply_edits
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg
from ansible_collections.fleetops.airflow.plugins.module_utils._change.converge import converge, discovered, plan_for
from ansible_collections.fleetops.airflow.plugins.module_utils._change.lock import locked
from ansible_collections.fleetops.airflow.plugins.module_utils._change.options import change_policy_of, target_of
from ansible_collections.fleetops.airflow.plugins.module_utils._change.plan import Checks, DesiredState, Plan
from ansible_collections.fleetops.airflow.plugins.module_utils._change.replacement import Replacement
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host import health, proc
from ansible_collections.fleetops.airflow.plugins.module_utils._releases import backends_setting, family_of
from testbed.instance import free_port
from testbed.running import CHECKOUT

pytestmark = pytest.mark.story
KILLS = 200
VERSION = "2.11.2"
OLD, NEW = ["session"], ["basic_auth", "session"]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
STAND_IN = (CHECKOUT / "tests/testbed/fake_health_server.py").read_text()
RESTART = """\
#!/bin/sh
# The server, and a pid file as a service manager has one. One at a time, also when the last caller was killed.
exec 9>{home}/lock; flock 9
pid=$(cat {home}/pid 2>/dev/null)
[ -n "$pid" ] && kill -KILL $pid 2>/dev/null
while [ -n "$pid" ] && grep -q '^State:.[^Z]' /proc/$pid/status 2>/dev/null; do sleep 0.01; done
AIRFLOW_HOME={home} {python} -IS {home}/bin/airflow webserver {port} </dev/null >>{home}/log 2>&1 9>&- &
echo $! > {home}/pid
"""


def in_child(work: Callable[[], object]) -> int:
    """Do some work in a forked process; its pid. It ends with status 0 if nothing was raised."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return pid


def replace_file(path: Path, data: bytes) -> None:
    step = Replacement(str(path), path.read_bytes(), data)
    with closing(step):
        step.do()
        step.finish()


def killed_after(work: Callable[[], object], seconds: float) -> None:
    pid = in_child(work)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


# --- SIGKILL ----------------------------------------------------------------------------------


def test_an_edit_that_is_killed(tmp_path: Path) -> None:
    cfg = tmp_path / "airflow.cfg"
    contents = [b"[api]\nx = %d\n" % number + b"# filler\n" * 20000 for number in range(2)]
    cfg.write_bytes(contents[0])
    cfg.chmod(0o640)

    def edit_for_ever() -> None:
        while True:
            for content in contents:
                replace_file(cfg, content)

    chance = random.Random(20)
    seen = []
    for _kill in range(KILLS):
        killed_after(edit_for_ever, chance.uniform(0.0005, 0.02))
        seen.append(contents.index(cfg.read_bytes()))  # one of them, wholly
        assert stat.S_IMODE(cfg.stat().st_mode) == 0o640
    replace_file(cfg, b"done")
    assert os.listdir(tmp_path) == ["airflow.cfg"]
    print(f"{KILLS} kills: {seen.count(0)} times one content, {seen.count(1)} times the other")
    assert 0 < seen.count(1) < KILLS


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home with the stand-in, which is not started yet."""
    port = free_port()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/airflow").write_text(STAND_IN)
    (tmp_path / "restart").write_text(RESTART.format(home=tmp_path, python=sys.executable, port=port))
    (tmp_path / "restart").chmod(0o755)
    text = f"[webserver]\nweb_server_port = {port}\n[api]\nauth_backends = \n# the end\n"
    (tmp_path / "airflow.cfg").write_text(text)
    yield tmp_path
    if (tmp_path / "pid").exists():
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def run(home: Path, backends: list[str], **options: Any) -> Plan:
    """What the module does, in this process."""
    parameters: dict[str, Any] = {
        "path": None,
        "airflow_home": str(home),
        "airflow_version": VERSION,
        "airflow_executable": None,
        "url": None,
        "validate_certs": True,
        "ca_path": None,
        "restart": "when_needed",
        "service": None,
        "service_manager": "auto",
        "restart_command": str(home / "restart"),
        "health_timeout": 20,
        "rollback": True,
        "backup": False,
        **options,
    }
    settings = [backends_setting(family_of(VERSION), VERSION, backends)]
    desired = DesiredState(settings, for_the_api=True)
    policy, target = change_policy_of(parameters), target_of(parameters)
    with discovered(target, policy, check_mode=False) as host:
        plan = plan_for(host, desired, target, policy, lambda _text: None)
        plan = plan._replace(checks=Checks())  # the stand-in has no backends that could be imported
        converge(plan, False, lambda _text: None)
    return plan


def test_a_whole_transaction_that_is_killed(home: Path) -> None:
    """Wherever it is hit, in the edit, in the restart or in the wait, one more run puts everything right."""
    cfg = home / "airflow.cfg"
    texts = {}
    for backends in (OLD, NEW):
        assert run(home, backends).changes
        texts[tuple(backends)] = cfg.read_text()
    begun = time.monotonic()
    run(home, OLD)
    duration = time.monotonic() - begun
    chance = random.Random(3)
    wanted, other = NEW, OLD
    found = {"new": 0, "old": 0, "restarted again": 0}
    for _kill in range(KILLS):
        killed_after(lambda wanted=wanted: run(home, wanted), chance.uniform(0, duration))  # type: ignore[misc]
        while proc.processes(os.fsencode(home / "restart")):
            time.sleep(0.01)  # what it was told outlives the one who told it, as with a real service manager
        text = cfg.read_text()
        assert text in (texts[tuple(wanted)], texts[tuple(other)])
        found["new" if text == texts[tuple(wanted)] else "old"] += 1
        change = run(home, wanted)
        found["restarted again"] += change.restart
        assert cfg.read_text() == texts[tuple(wanted)]
        again = run(home, wanted)
        assert (again.changes, again.ends_current) == (False, True)
        port = Cfg(text).get("webserver", "web_server_port")
        assert health.ask_health(f"http://127.0.0.1:{port}/health", 5).state == "healthy"
        wanted, other = other, wanted
    assert sorted(path.name for path in home.iterdir() if "cfg" in path.name) == ["airflow.cfg"]
    print(f"{KILLS} kills within {duration:.2f} s each: {found}")
    assert min(found.values()) > 0


# --- two at once ------------------------------------------------------------------------------


def test_no_update_is_lost(tmp_path: Path) -> None:
    cfg = tmp_path / "airflow.cfg"
    cfg.write_text("[a]\nx = 0\n[b]\nx = 0\n")

    def count(section: str) -> None:
        for _edit in range(KILLS):
            with locked(str(cfg), 60):
                text = Cfg(cfg.read_text())
                value = int(text.get(section, "x") or 0) + 1
                replace_file(cfg, apply_edits(text, [(section, "x", str(value))]).text.encode())

    children = [in_child(lambda section=section: count(section)) for section in "ab"]  # type: ignore[misc]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert cfg.read_text() == f"[a]\nx = {KILLS}\n[b]\nx = {KILLS}\n"


def test_who_is_killed_does_not_keep_the_lock(tmp_path: Path) -> None:
    def hold() -> None:
        with locked(str(tmp_path / "airflow.cfg"), 5):
            time.sleep(60)

    pid = in_child(hold)
    time.sleep(0.3)
    path = str(tmp_path / "airflow.cfg")
    with pytest.raises(AirflowError, match="Another task has been changing"), locked(path, 0.2):
        pass
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with locked(path, 1) as waited:
        assert not waited


# --- file systems -----------------------------------------------------------------------------


@pytest.fixture
def mounted() -> Iterator[Callable[..., Path]]:
    """Mounts that are gone afterwards: ``mounted(folder, *options)``."""
    mounts: list[Path] = []

    def mount(where: Path, *options: str) -> Path:
        subprocess.run(["mount", *options, str(where)], check=True)
        mounts.append(where)
        return where

    yield mount
    for where in reversed(mounts):
        subprocess.run(["umount", str(where)], check=True)


def refused(cfg: Path, message: str) -> None:
    """A replacement has to fail with the file's name, the reason, and nothing changed or left behind."""
    before, names = cfg.read_bytes(), sorted(os.listdir(cfg.parent))
    with pytest.raises(AirflowError) as error:
        replace_file(cfg, b"new" * 10000)
    assert f"{cfg} cannot be replaced: {message}" in str(error.value)
    assert "It is as it was." in str(error.value)
    assert (cfg.read_bytes(), sorted(os.listdir(cfg.parent))) == (before, names)


@AS_ROOT
def test_a_full_disk(tmp_path: Path, mounted: Callable[..., Path]) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted(folder, "-t", "tmpfs", "-o", "size=64k", "tmpfs")
    cfg = folder / "airflow.cfg"
    cfg.write_bytes(b"old" * 15000)
    refused(cfg, "No space left on device")


@AS_ROOT
def test_a_read_only_file_system(tmp_path: Path, mounted: Callable[..., Path]) -> None:
    cfg = tmp_path / "airflow.cfg"
    cfg.write_bytes(b"old")
    mounted(tmp_path, "--bind", str(tmp_path))
    subprocess.run(["mount", "-o", "remount,bind,ro", str(tmp_path)], check=True)
    refused(cfg, "Read-only file system")


@AS_ROOT
def test_a_file_that_is_mounted_by_itself(tmp_path: Path, mounted: Callable[..., Path]) -> None:
    cfg, source = tmp_path / "airflow.cfg", tmp_path / "source"
    for path in (cfg, source):
        path.write_bytes(b"old")
    mounted(cfg, "--bind", str(source))
    refused(cfg, "Device or resource busy")


@AS_ROOT
def test_an_immutable_file(tmp_path: Path) -> None:
    cfg = tmp_path / "airflow.cfg"
    cfg.write_bytes(b"old")
    chattr = shutil.which("chattr")
    if not chattr or subprocess.run([chattr, "+i", str(cfg)], check=False, capture_output=True).returncode:
        pytest.skip("the file system of the temporary folder has no immutable files")
    try:
        refused(cfg, "Operation not permitted")
    finally:
        subprocess.run(["chattr", "-i", str(cfg)], check=True)


@AS_ROOT
@pytest.mark.parametrize(("mode", "message"), [(0o755, "Permission denied"), (0o777, "Operation not permitted")])
def test_a_file_of_somebody_else(tmp_path: Path, mode: int, message: str) -> None:
    """In a folder where one may not write, and in one where one may, but could not give the file its owner."""
    for folder in itertools.takewhile(lambda folder: folder != Path(tempfile.gettempdir()), tmp_path.parents):
        folder.chmod(0o755)
    tmp_path.chmod(mode)
    cfg = tmp_path / "airflow.cfg"
    cfg.write_bytes(b"old")

    def as_somebody_else() -> None:
        os.setgid(65534)
        os.setuid(65534)
        refused(cfg, message)

    assert os.waitpid(in_child(as_somebody_else), 0)[1] == 0


def test_a_link_stays_a_link(home: Path) -> None:
    real = home / "elsewhere"
    real.mkdir()
    (home / "airflow.cfg").rename(real / "real.cfg")
    (home / "airflow.cfg").symlink_to(real / "real.cfg")
    assert run(home, NEW).changes
    assert os.readlink(home / "airflow.cfg") == str(real / "real.cfg")
    assert "basic_auth" in (real / "real.cfg").read_text()

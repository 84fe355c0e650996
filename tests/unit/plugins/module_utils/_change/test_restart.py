# SPDX-License-Identifier: GPL-3.0-or-later
"""A transaction into which a fault is injected at each of its calls in turn.

File, steps and restart are the real ones. The service manager and the server's answer are stubs: no real one fails at
the n-th call on request. tests/integration/host/test_crash_safety.py does the same with a server that runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.settings import Setting
from ansible_collections.fleetops.airflow.plugins.module_utils._change import restart
from ansible_collections.fleetops.airflow.plugins.module_utils._change.replacement import Replacement
from ansible_collections.fleetops.airflow.plugins.module_utils._change.restart import Restart
from ansible_collections.fleetops.airflow.plugins.module_utils._change.transaction import Step, transact
from ansible_collections.fleetops.airflow.plugins.module_utils._errors import AirflowError
from ansible_collections.fleetops.airflow.plugins.module_utils._host import health, proc
from ansible_collections.fleetops.airflow.plugins.module_utils._host.endpoint import Endpoint
from ansible_collections.fleetops.airflow.plugins.module_utils._host.health import VERIFIED, Health
from ansible_collections.fleetops.airflow.plugins.module_utils._host.proc import Process
from ansible_collections.fleetops.airflow.plugins.module_utils._host.server import Address, Server

OURS, WORLD = "/plugins/module_utils/", "/plugins/module_utils/_host/"
ADDRESS = Address("http://192.0.2.1:8080", "http://192.0.2.1:8080/health", None)
FAULTS: dict[str, Callable[[], BaseException]] = {
    "OSError": lambda: OSError(5, "Input/output error"),
    "ValueError": lambda: ValueError("secret text"),
    "KeyboardInterrupt": KeyboardInterrupt,
    "Fault": lambda: xmlrpc.client.Fault(6, "SHUTDOWN_STATE"),
}


class Service:
    """A manager and its server at once: it has read the file as it was when it was started last."""

    interposes = True
    reload_hint = " Read your files again."

    def __init__(self, cfg: Path) -> None:
        self.cfg = cfg
        self.pid, self.last_pid = 1000, 1000
        self.has_read = cfg.read_bytes()

    def main_pid(self) -> int:
        return self.pid

    def stop(self) -> None:
        self.pid = 0

    def start(self) -> None:
        if not self.pid:
            self.last_pid += 1
            self.pid, self.has_read = self.last_pid, self.cfg.read_bytes()

    def start_dependents(self) -> None:
        pass

    def failure(self) -> str | None:
        return None

    def outputs(self) -> list[str]:
        return []

    def words(self) -> str:
        return ""


STUBS = {method.__code__ for method in vars(Service).values() if hasattr(method, "__code__")}


class Injection:
    """Raises at the n-th call that the transaction makes: to the system, the manager, or what looks at the host."""

    def __init__(self, number: int, fault: Callable[[], BaseException]) -> None:
        self.number, self.fault = number, fault
        self.calls = 0

    def __enter__(self) -> Injection:
        sys.setprofile(self._called)
        return self

    def __exit__(self, *_error: object) -> None:
        sys.setprofile(None)

    def _called(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if event == "c_call":
            counts = OURS in code.co_filename and argument.__module__ in ("posix", "time")
        else:
            counts = event == "call" and (WORLD in code.co_filename or code in STUBS)
        if counts:
            self.calls += 1
            if self.calls == self.number:
                sys.setprofile(None)
                raise self.fault()


class Rejecting(Step):
    """A proof that the new server does not pass."""

    def do(self) -> None:
        raise AirflowError("The server rejects the login.")


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "airflow.cfg"
    path.write_bytes(b"old")
    monkeypatch.setattr(health, "ask_health", lambda *_arguments: Health("healthy", ""))
    monkeypatch.setattr(restart, "running_servers", list)
    monkeypatch.setattr(restart, "_RECOVERY", 1)
    return path


def attempt(
    cfg: Path, number: int, fault: Callable[[], BaseException], extra: list[Step]
) -> tuple[int, AirflowError | None, Service]:
    """One transaction with a fault. How many calls there were, its error, and the service afterwards."""
    cfg.write_bytes(b"old")
    service = Service(cfg)
    steps = [
        Replacement(str(cfg), b"old", b"new"),
        Restart([service], [], str(cfg.parent), str(cfg), [ADDRESS], [ADDRESS], 5, VERIFIED, []),
        *extra,
    ]
    error = None
    with Injection(number, fault) as injection:
        try:
            transact(steps, rollback=True)
        except AirflowError as raised:
            error = raised
    return injection.calls, error, service


def check(cfg: Path, error: AirflowError | None, service: Service) -> None:
    assert service.pid, "the server is down"
    content = cfg.read_bytes()
    assert service.has_read == content
    if error is None:
        assert content == b"new"
        return
    message = str(error)
    assert "secret text" not in message
    assert content == b"old", message
    was_restarted = service.pid != 1000
    if was_restarted:
        assert f"{cfg} was rolled back. The server runs with it again." in message
        assert error.details["rolled_back"] is True
    else:
        truths = ("Nothing was changed", "It is as it was", "The server was not touched", "was rolled back.")
        assert any(truth in message for truth in truths), message


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("extra", [[], [Rejecting()]], ids=["succeeds", "is rejected"])
def test_fault_at_every_call(cfg: Path, fault: str, extra: list[Step]) -> None:
    number = failed = 0
    while True:
        number += 1
        calls, error, service = attempt(cfg, number, FAULTS[fault], extra)
        check(cfg, error, service)
        failed += error is not None
        if calls < number:
            break
    print(f"{number - 1} calls, {failed} failed")
    assert failed > 80
    assert sorted(path.name for path in cfg.parent.iterdir()) == ["airflow.cfg"]


@pytest.fixture
def listener() -> Iterator[tuple[Process, int]]:
    """A process that listens at a port, and is the server of the test, or is not."""
    program = "import http.server as h; s = h.HTTPServer(('127.0.0.1', 0), None); print(s.server_port, flush=True)\n"
    command = [sys.executable, "-c", program + "import time; time.sleep(60)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        port = int(child.stdout.readline())
        process = proc.read_process(child.pid)
        assert process
        yield process, port
        child.kill()


@pytest.mark.parametrize(
    ("is_server", "uid", "said", "seen"),
    [
        (True, os.geteuid(), None, True),
        (False, os.geteuid(), r"process \d+ \(python[\d.]* of user \w+\) listens at .*, and not the server", False),
        (True, 4711, None, False),
    ],
    ids=["the server listens", "another process listens", "a server of another user"],
)
def test_new_server_is_the_one_that_listens(
    cfg: Path,
    monkeypatch: pytest.MonkeyPatch,
    listener: tuple[Process, int],
    is_server: bool,
    uid: int,
    said: str | None,
    seen: bool,
) -> None:
    process, port = listener
    new = process._replace(pid=process.pid if is_server else 2**22 + 1, uid=uid, started=2e9)  # else a pid of nobody
    monkeypatch.setattr(restart, "running_servers", lambda: [Server(new, {}, str(cfg.parent), str(cfg))])
    url = f"http://127.0.0.1:{port}"
    address = Address(url, url + "/health", Endpoint(port, "127.0.0.1"))
    step = Restart([], [], str(cfg.parent), str(cfg), [address], [address], 1, VERIFIED, [])
    if said:
        with pytest.raises(AirflowError, match=said):
            step._inspect_new_servers()
    else:
        step._inspect_new_servers()
    assert step.seen is seen


def test_variable_of_the_new_server_is_reported_with_how_its_manager_reads_its_files(
    cfg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = Process(2**22 + 1, 1, 2e9, os.geteuid(), [])
    environment = {"AIRFLOW__API__AUTH_BACKENDS": "x"}
    monkeypatch.setattr(restart, "running_servers", lambda: [Server(new, environment, str(cfg.parent), str(cfg))])
    setting = Setting("api", "auth_backends", "y")
    step = Restart([Service(cfg)], [], str(cfg.parent), str(cfg), [ADDRESS], [ADDRESS], 1, VERIFIED, [setting])
    with pytest.raises(AirflowError, match=r"AUTH_BACKENDS=x in the environment of the restarted server.* Read your f"):
        step._inspect_new_servers()

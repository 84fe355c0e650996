# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role remediate does and leaves alone, for each state of a host: its own logic, in a real ansible-playbook.

All that it asks is a stand-in: the modules of the collection (but for the journal), systemctl and supervisorctl answer
what a case says, and keep what they were called with. Each host of the inventory is this machine with an interpreter
that finds the stand-ins of its case. With real Airflows: test_rulebook.py and test_remediation.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from testbed.running import CHECKOUT
from testbed.shell import Shell, recap

STAND_INS = (
    *("airflow_api_auth", "airflow_api_auth_info", "airflow_api_info", "airflow_dag", "airflow_dag_run"),
    "airflow_problems_info",
)
MODULE = '''\
#!/usr/bin/python
"""A stand-in: takes any arguments, and returns what its case says: the next of the results, or the last one again."""
# WANT_JSON: Ansible names a file with the arguments.
import json, os, re, sys

arguments = json.load(open(sys.argv[1]))
given = {name: value for name, value in arguments.items() if not name.startswith("_ansible")}
host = re.sub(r".*//([^/:]*).*", r"\\1", given["url"]) if "url" in given else os.environ["STAND_IN_HOST"]
with open("@folder@/calls.jsonl", "a") as file:
    file.write(json.dumps({"host": host, "module": "@name@", **given}) + "\\n")
path = f"@folder@/{host}/@name@.json"
results = json.load(open(path)) if os.path.exists(path) else [{"failed": True, "msg": "no stand-in for " + path}]
if len(results) > 1:
    json.dump(results[1:], open(path, "w"))
print(json.dumps({"changed": False, **results[0]}))
'''
SYSTEMCTL = """\
#!/bin/sh
# A stand-in: a unit is a file with its properties.
folder=@folder@/$STAND_IN_HOST/units
for last; do :; done
case "$1" in
  show) cat "$folder/$last" 2>/dev/null || printf 'Id=%s\\nLoadState=not-found\\nActiveState=inactive\\n' "$last" ;;
  start | restart)
    echo "$STAND_IN_HOST $1 $last" >> @folder@/restarts
    sed -i 's/^ActiveState=.*/ActiveState=active/' "$folder/$last" ;;
  is-active) sed -n 's/^ActiveState=//p' "$folder/$last" ;;
  *) exit 1 ;;
esac
"""
SUPERVISORCTL = """\
#!/bin/sh
# A stand-in: the state of its one program is the content of a file.
if [ "$1" = status ]; then
  echo "airflow-$2  $(cat @folder@/$STAND_IN_HOST/program)  pid 7"
else
  echo "$STAND_IN_HOST $1 $2" >> @folder@/restarts
  echo RUNNING > @folder@/$STAND_IN_HOST/program
fi
"""
BACKEND = "airflow.api.auth.backend."
FAILS = {"failed": True, "msg": "/root/airflow/airflow.cfg is no file on this host."}
WORKS: dict[str, Any] = {
    "reachable": True,
    "health": {"metadatabase": "healthy", "scheduler": "healthy"},
    "running_task": None,
    "login_accepted": True,
    "diagnosis": None,
}
DOWN: dict[str, Any] = {
    "reachable": False,
    "health": {},
    "running_task": None,
    "login_accepted": None,
    "diagnosis": {"code": "connection_refused", "cause": "the connection was refused", "evidence": "", "remedy": ""},
}


def unhealthy(running_task: str | None, **more: str) -> dict[str, Any]:
    return {**WORKS, "health": {**WORKS["health"], "scheduler": "unhealthy", **more}, "running_task": running_task}


def server(health: str | None) -> dict[str, Any]:
    """What airflow_api_auth_info returns of a host with a server of that health, or without one."""
    found = None if health is None else {"pid": 1, "health": health, "url": "http://127.0.0.1:8080"}
    return {"airflow_version": "2.11.2", "server": found, "section": "api", "effective": [BACKEND + "session"]}


@dataclass
class Case:
    """A host, one problem of it, and what is to be in the journal: the last action or outcome, or a part of it."""

    expected: str
    answers: Mapping[str, Any] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)  # unit -> ActiveState and UnitFileState
    program: str = ""
    problem: Mapping[str, Any] = field(default_factory=dict)
    restarted: bool = False


SILENT = {
    "type": "api_unreachable",
    "diagnosis": {"code": "connection_refused", "cause": "refused", "evidence": "", "remedy": ""},
}
SCHEDULER = {"type": "component_unhealthy", "component": "scheduler"}
AUTH = {
    "type": "credentials_refused",
    "diagnosis": {"code": "basic_auth_not_in_force", "cause": "no passwords", "evidence": "e", "remedy": "r"},
}
RUN = {
    "type": "run_failed",
    "dag_id": "load",
    "run_id": "r1",
    "state": "failed",
    "end_date": "2026-01-31T08:00:00+00:00",
}
WEB = "airflow-webserver"


def web(expected: str, unit: str, info: Any, api: Any = None, **more: Any) -> Case:
    answers = {"airflow_api_auth_info": info, "airflow_api_info": api or WORKS}
    return Case(expected, answers, {WEB: unit} if unit else {}, problem={**SILENT, **more.pop("problem", {})}, **more)


def part(expected: str, unit: str, api: Any, **more: Any) -> Case:
    answers = {"airflow_api_info": api}
    return Case(expected, answers, {"airflow-scheduler": unit} if unit else {}, problem=SCHEDULER, **more)


def auth(expected: str, info: Any, done: Any = None, api: Any = None) -> Case:
    answers = {"airflow_api_auth_info": info, "airflow_api_auth": done or FAILS, "airflow_api_info": api or WORKS}
    return Case(expected, answers, problem=AUTH)


OTHER = ["company.sso.basic_auth", BACKEND + "session"]
SET = {"changed": True, "before": ["x.session"], "after": ["x.basic_auth", "x.session"], "restarted": True}
SET["login_verified"] = True
UNITS = {
    # One that comes first and cannot be fixed: all others have to be tried all the same.
    "never-up": web("restarted, and does not work after 2 seconds", "failed enabled", FAILS, DOWN, restarted=True),
    "failed-unit": web("done", "failed enabled", [FAILS, server("healthy")], restarted=True),
    "stopped-unit": web("done", "inactive enabled", [server(None), server("healthy")], restarted=True),
    "hangs": web("done", "active enabled", [server("down")] * 4 + [server("healthy")], restarted=True),
    "starting": web("answers on its own host", "active enabled", [server("down"), server("healthy")]),
    "not-known": web("whether it works is not known: /root/airflow", "active enabled", FAILS),
    "no-server": web("its service runs, and no server was found", "active enabled", server(None)),
    "several": web("several servers of Airflow run", "failed enabled", {**FAILS, "several_servers": True}),
    "no-database": web("reports that its database does not", "active enabled", server("unhealthy")),
    "foreign": web("not known to be Airflow", "active enabled", server("foreign")),
    "disabled": web("its unit is disabled", "inactive disabled", FAILS),
    "activating": web("just starting or stopping it (activating)", "activating enabled", FAILS),
    "no-unit": web("the host has no unit of it (airflow-webserver, airflow-api-server)", "", FAILS),
    "two-units": Case(
        "which of them is meant is not known",
        {"airflow_api_auth_info": FAILS},
        {WEB: "inactive enabled", "airflow-api-server": "failed enabled"},
        problem=SILENT,
    ),
    "upgraded": Case(
        "done",
        {"airflow_api_auth_info": [FAILS, server("healthy")], "airflow_api_info": WORKS},
        {WEB: "inactive disabled", "airflow-api-server": "failed enabled"},
        problem=SILENT,
        restarted=True,
    ),
    "login-refused": web(
        "it runs, and does not accept the login: wrong",
        "failed enabled",
        FAILS,
        [WORKS, {**WORKS, "login_accepted": False, "diagnosis": {"code": "wrong_credentials", "cause": "wrong"}}],
        restarted=True,
    ),
    "other-cause": web(
        "no rule fixes the cause database_not_available",
        "failed enabled",
        FAILS,
        problem={"diagnosis": {"code": "database_not_available", "cause": "the database"}},
    ),
    "no-cause": web("no rule fixes the cause unknown", "failed enabled", FAILS, problem={"diagnosis": None}),
    "busy": part("the task load.sleep runs", "active enabled", unhealthy("load.sleep")),
    "perhaps-busy": part("whether a task runs is not known", "active enabled", unhealthy(None)),
    "hung": part("done", "active enabled", [unhealthy("")] * 8 + [WORKS], restarted=True),
    "busy-again": part("the task load.sleep runs", "active enabled", [unhealthy("")] * 3 + [unhealthy("load.sleep")]),
    "back-again": part("it is healthy again", "active enabled", [unhealthy("")] * 3 + [WORKS]),
    "stopped": part("done", "inactive enabled", [unhealthy("load.sleep"), WORKS], restarted=True),
    "no-database-either": part("its database does not", "active enabled", unhealthy("", metadatabase="unhealthy")),
    "back": part("it is healthy again", "active enabled", WORKS),
    "metadatabase": Case("restarts the component metadatabase", problem={**SCHEDULER, "component": "metadatabase"}),
    "rolled-back": auth("failed", server("healthy"), {"failed": True, "msg": "Rolled back: the login is rejected."}),
    "kerberos": auth(
        "the server accepts kerberos_auth", {**server("healthy"), "effective": [BACKEND + "kerberos_auth"]}
    ),
    "other-backend": auth("the server accepts company.sso.basic_auth", {**server("healthy"), "effective": OTHER}),
    "set": auth("accepted", server("healthy"), SET),
    "not-verified": auth("accepted", server("healthy"), {**SET, "login_verified": False}),
    "rerun": Case(
        "cleared",
        {"airflow_dag_run": {"changed": True, "dag_run": {"state": "queued"}, "tasks": ["t"], "reason": None}},
        problem=RUN,
    ),
    "rerun-fails": Case(
        "failed",
        {"airflow_dag_run": {"failed": True, "msg": "The run is gone.", "diagnosis": {"code": "run_not_found"}}},
        problem=RUN,
    ),
    "rerun-paused": Case("its DAG is paused", problem={**RUN, "dag_paused": True}),
    "incomplete": Case("failed", problem={"type": "run_failed", "dag_id": "load"}),
    "misspelled": Case(
        "not for this DAG",
        {"airflow_dag": {"failed": True, "msg": "no", "diagnosis": {"code": "dag_not_found"}}},
        problem={**RUN, "dag_id": "loads"},
    ),
    "part-of-a-name": Case("not for this DAG", problem={**RUN, "dag_id": "oad"}),
    "recovered": Case("it is over", problem={**SILENT, "recovered": True}),
}
PROGRAMS = {
    "exited": Case(
        "could not be verified on its own host",
        {"airflow_api_auth_info": [FAILS, FAILS], "airflow_api_info": WORKS},
        program="EXITED",
    ),
    "running": Case("whether it works is not known", {"airflow_api_auth_info": FAILS}, program="RUNNING"),
    "begins": Case("just starting or stopping it (STARTING)", {"airflow_api_auth_info": FAILS}, program="STARTING"),
}


class Night:
    """One run of the playbook over all cases, and what it left."""

    def __init__(self, folder: Path, cases: Mapping[str, Case]) -> None:
        self.folder = folder
        self._cases = cases
        self._collections = folder / "collections"
        self._make_collection()
        inventory = {name: self._host(name, case) for name, case in cases.items()}
        inventory["localhost"] = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": inventory}}))
        self.shell = Shell(Path(sys.executable).parent, folder, self._collections)

    def _make_collection(self) -> None:
        """The collection of this checkout, with stand-ins in the place of some modules."""
        source = CHECKOUT / ".build/collections/ansible_collections/fleetops/airflow"
        target = self._collections / "ansible_collections/fleetops/airflow"
        modules = target / "plugins/modules"
        modules.mkdir(parents=True)
        for path in [*source.iterdir(), *(source / "plugins").iterdir(), *(source / "plugins/modules").iterdir()]:
            link = target / path.relative_to(source)
            if path.name[0] != "." and not link.exists() and path.stem not in STAND_INS:
                link.symlink_to(path.resolve())
        for name in STAND_INS:
            (modules / f"{name}.py").write_text(self._filled(MODULE, name))
        (self.folder / "bin").mkdir()
        for name, text in (("systemctl", SYSTEMCTL), ("supervisorctl", SUPERVISORCTL)):
            self._program(self.folder / "bin" / name, self._filled(text))

    def _host(self, name: str, case: Case) -> dict[str, str]:
        """A host of that case: this machine, by an interpreter that finds its stand-ins."""
        place = self.folder / name
        (place / "units").mkdir(parents=True)
        for module, results in case.answers.items():
            (place / f"{module}.json").write_text(json.dumps(results if isinstance(results, list) else [results]))
        for unit, states in case.units.items():
            active, enabled = states.split()
            text = f"Id={unit}\nLoadState=loaded\nActiveState={active}\nUnitFileState={enabled}\n"
            (place / "units" / unit).write_text(text)
        (place / "program").write_text(case.program)
        path = f"{self.folder}/bin:/usr/bin:/bin"
        self._program(place / "python", f'#!/bin/sh\nSTAND_IN_HOST={name} PATH={path} exec {sys.executable} "$@"\n')
        return {"ansible_connection": "local", "ansible_python_interpreter": str(place / "python")}

    def _filled(self, text: str, name: str = "") -> str:
        return text.replace("@folder@", str(self.folder)).replace("@name@", name)

    @staticmethod
    def _program(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o700)

    def run(self, *options: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        problems = [
            {"id": f"{name} it", "api": name, "url": f"http://{name}", "recovered": False, **(case.problem or SILENT)}
            for name, case in self._cases.items()
        ]
        command = ["ansible-playbook", "-i", str(self.folder / "inventory.json"), *options]
        given = {
            "remediate_problems": problems,
            "remediate_folder": str(self.folder / "journal"),
            "remediate_become": False,
            "remediate_timeout": "2",
            "remediate_dags": "load, other",  # as with -e
            "remediate_who": "night",
            "remediate_login": {"username": "op", "password": "pw-of-op-1"},
        }
        return self.shell.run(
            [*command, "fleetops.airflow.remediate"], {**given, **variables}, {"ANSIBLE_PIPELINING": "1"}
        )

    def entries(self, name: str) -> list[dict[str, Any]]:
        """The entries of the journal that are about a host or its API."""
        path = self.folder / "journal/journal.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in lines if str(line["subject"]).partition(" ")[0] == name]

    def restarts(self) -> list[str]:
        path = self.folder / "restarts"
        return sorted({line.split(" ")[0] for line in path.read_text().splitlines()}) if path.exists() else []

    def calls(self, name: str, module: str) -> list[dict[str, Any]]:
        lines = map(json.loads, (self.folder / "calls.jsonl").read_text().splitlines())
        return [line for line in lines if (line["host"], line["module"]) == (name, module)]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Night, subprocess.CompletedProcess[str]]:
    night = Night(tmp_path_factory.mktemp("night"), UNITS)
    apis = [
        {"name": "rerun", "url": "http://rerun", "headers": {"X-Gw": "let-me-in"}, "kerberos": True, "timeout": 7},
        {"url": "http://set/", "validate_certs": False},
    ]
    done = night.run(remediate_apis=apis, remediate_api_options={"ca_path": "/ca.pem", "timeout": 9})
    return night, done


def last(entries: list[dict[str, Any]]) -> str:
    return str(entries[-1].get("outcome") or entries[-1]["action"])


@pytest.mark.parametrize("name", UNITS)
def test_each_problem_is_fixed_or_has_its_reason(
    night: tuple[Night, subprocess.CompletedProcess[str]], name: str
) -> None:
    entries = night[0].entries(name)
    assert entries, night[1].stdout
    text = last(entries) if name != "never-up" else entries[-1]["after"]["msg"]
    assert UNITS[name].expected in text, entries
    steps = [entry["step"] for entry in entries if entry["step"] in ("begin", "end")]
    assert steps in ([], ["begin", "end"])


def test_only_what_is_known_not_to_work_is_restarted(night: tuple[Night, subprocess.CompletedProcess[str]]) -> None:
    assert night[0].restarts() == sorted(name for name, case in UNITS.items() if case.restarted)


def test_failures_are_reported_at_the_end_with_the_reason_of_the_module(
    night: tuple[Night, subprocess.CompletedProcess[str]],
) -> None:
    site, done = night
    assert done.returncode == 2
    assert recap(done.stdout)["localhost"]["failed"] == 1  # the last task
    assert "rerun of rerun-fails load: The run is gone." in done.stdout
    assert site.entries("rerun-fails")[-1]["after"] == {"code": "run_not_found", "msg": "The run is gone."}
    assert site.entries("rolled-back")[-1]["after"]["msg"] == "Rolled back: the login is rejected."
    assert "the connection was refused" in site.entries("never-up")[-1]["after"]["msg"]


def test_name_of_a_dag_that_does_not_exist_is_reported(
    night: tuple[Night, subprocess.CompletedProcess[str]],
) -> None:
    (entry,) = [entry for entry in night[0].entries("misspelled") if entry["subject"].endswith("remediate_dags")]
    assert entry["after"] == {"unknown_dags": ["load", "other"]}


def test_the_api_is_reached_as_the_event_source_reaches_it(
    night: tuple[Night, subprocess.CompletedProcess[str]],
) -> None:
    (call,) = night[0].calls("rerun", "airflow_dag_run")
    assert (call["headers"], call["kerberos"], call["timeout"]) == ({"X-Gw": "let-me-in"}, True, 7)
    assert (call["ca_path"], call["username"], call["token"]) == ("/ca.pem", "op", "")
    assert "name" not in call
    (call,) = night[0].calls("set", "airflow_api_info")
    assert (call["validate_certs"], call["timeout"], call["url"]) == (False, 9, "http://set/")
    (call,) = night[0].calls("set", "airflow_api_auth")
    assert (call["username"], call["password"]) == ("op", "pw-of-op-1")
    assert [call for name in ("kerberos", "no-cause") for call in night[0].calls(name, "airflow_api_auth")] == []


@pytest.mark.parametrize("more", [{"check": True}, {"remediate_limit": 0}])
def test_check_mode_and_a_limit_of_0_do_nothing(tmp_path: Path, more: dict[str, Any]) -> None:
    some = ("failed-unit", "stopped", "set", "rerun")
    night = Night(tmp_path, {name: UNITS[name] for name in some})
    done = night.run(*(["--check"] if more.pop("check", False) else []), **more)
    assert done.returncode == 0, done.stdout
    assert night.restarts() == []
    if not more:
        assert not (tmp_path / "journal").exists()
        return
    assert [night.calls(*call) for call in (("set", "airflow_api_auth"), ("rerun", "airflow_dag_run"))] == [[], []]
    assert [[entry["step"] for entry in night.entries(name)] for name in some] == [["stopped"]] * 4
    assert "is switched off (its limit is 0)" in done.stdout


def test_state_of_a_program_of_supervisord(tmp_path: Path) -> None:
    night = Night(tmp_path, PROGRAMS)
    done = night.run(remediate_restart_commands={"webserver": "supervisorctl restart web"})
    assert done.returncode == 0, done.stdout
    assert {name: case.expected in last(night.entries(name)) for name, case in PROGRAMS.items()} == dict.fromkeys(
        PROGRAMS, True
    ), done.stdout
    assert night.restarts() == ["exited"]

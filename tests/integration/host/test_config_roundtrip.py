# SPDX-License-Identifier: GPL-3.0-or-later
"""Airflow's own parser, of each release that is tested, reads in an edited file what was asked for, and the same rest.

Once for ten thousand files that were made up, shared out among the releases, and once for the file that the release
itself ships.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.edit import apply_edits
from ansible_collections.fleetops.airflow.plugins.module_utils._cfg.text import Cfg, CfgError
from testbed.installation import Installation
from testbed.running import installed
from unit.plugins.cfg_files import readable_file

VERSIONS = os.environ.get("AIRFLOW_VERSIONS", "2.2.5,2.11.2,3.3.2").split(",")
# Of the files each release judges its own share.
FILES = int(os.environ.get("CFG_EXAMPLES", "1000")) // len(VERSIONS)
VALUES = ("x.y", "", "a.b,c.d", "50%%", "one\ntwo", "a = b\n[c]\nd: e", "é")
# Reads the texts of a JSON list as the release reads airflow.cfg, and prints the sections of each; null if it refuses.
JUDGE = """
import configparser, json, sys
from airflow.configuration import AirflowConfigParser, conf
def sections(path):
    parser = AirflowConfigParser()
    parser._validate = lambda: None  # 1.10 goes on to look for options that a file which was made up does not have
    try:
        parser.read(path, encoding="utf-8")
    except configparser.Error:
        return None
    own = parser._sections
    return dict({name: dict(own[name]) for name in own}, DEFAULT=dict(parser._defaults))
path, texts = sys.argv[1], json.load(sys.stdin)
found = []
for text in texts:
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    found.append(sections(path))
json.dump(found, sys.stdout)
"""
# Before 2.7 Airflow does it whenever it is imported.
WRITE_DEFAULT = """
import airflow.configuration as configuration
getattr(configuration, "write_default_airflow_configuration_if_needed", lambda: None)()
"""


@pytest.fixture(scope="module", params=VERSIONS)
def installation(request: pytest.FixtureRequest) -> Installation:
    return installed(request.param)


def run(installation: Installation, folder: Path, code: str, stdin: str = "", **environment: str) -> str:
    """What the release's Python prints; ``folder`` is its AIRFLOW_HOME."""
    return subprocess.run(
        [str(installation.python), "-c", code, str(folder / "judged.cfg")],
        input=stdin,
        env={
            "AIRFLOW_HOME": str(folder),
            "PATH": "/usr/bin:/bin",
            "PYTHONUTF8": "1",
            "PYTHONWARNINGS": "ignore",
            **environment,
        },
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    ).stdout


def as_airflow(installation: Installation, folder: Path, texts: list[str]) -> list[dict[str, dict[str, str]] | None]:
    output = run(installation, folder, JUDGE, json.dumps(texts))
    found: list[dict[str, dict[str, str]] | None] = json.loads(output[output.index("[") :])
    return found


def test_which_variables_it_reads(installation: Installation, tmp_path: Path) -> None:
    """What a command says counts only for options that are secret by Airflow's own list."""
    section, option = (
        ("core", "auth_manager")
        if installation.release.generation == "3"
        else (
            "api",
            installation.release.backends_option,
        )
    )
    variable = f"AIRFLOW__{section.upper()}__{option.upper()}"
    print_values = f"""
from airflow.configuration import conf
print("values:", conf.get({section!r}, {option!r}), conf.get("core", "fernet_key"))
"""

    def values(environment: dict[str, str]) -> list[str]:
        return run(installation, tmp_path, print_values, **environment).rpartition("values: ")[2].split()

    value = values({})[0]
    assert values({variable + "_CMD": "echo inert", "AIRFLOW__CORE__FERNET_KEY_CMD": "echo read"}) == [value, "read"]
    assert values({variable.lower(): "inert"})[0] == value
    assert values({variable: "x.y"})[0].split(",")[0] == "x.y"


def test_files_that_were_made_up(installation: Installation, tmp_path: Path) -> None:
    chance = random.Random(installation.release.version)
    pairs: list[tuple[str, str, dict[str, str | None]]] = []
    first = VERSIONS.index(installation.release.version) * FILES
    for number in range(first, first + FILES):
        text = readable_file(number)
        changes = {"auth_backends": chance.choice(VALUES), chance.choice(["auth_backend", "limit", "fresh"]): None}
        try:
            edited = apply_edits(Cfg(text), [("api", name, value) for name, value in changes.items()])
        except CfgError:
            continue  # refused, by file and line: nothing is edited
        assert apply_edits(edited, [("api", name, value) for name, value in changes.items()]) is edited
        pairs.append((text, edited.text, changes))
    assert len(pairs) > 0.9 * FILES
    before = as_airflow(installation, tmp_path, [pair[0] for pair in pairs])
    after = as_airflow(installation, tmp_path, [pair[1] for pair in pairs])
    for (text, edited_text, changes), old, new in zip(pairs, before, after, strict=True):
        assert old is not None, text
        expected: dict[str, dict[str, Any]] = json.loads(json.dumps(old))
        own = expected.setdefault("api", {})
        for name, value in changes.items():
            own.pop(name, None)
            if value is not None:
                own[name] = value
        assert new == expected, (text, edited_text)


def test_the_file_that_the_release_ships(installation: Installation, tmp_path: Path) -> None:
    run(installation, tmp_path, WRITE_DEFAULT)
    text = (tmp_path / "airflow.cfg").read_bytes().decode()
    [whole] = as_airflow(installation, tmp_path, [text])
    assert whole
    option = installation.release.backends_option
    for section, name, value in [("api", option, "x.y"), ("core", "parallelism", "7"), ("new", "option", "1")]:
        edited = apply_edits(Cfg(text), [(section, name, value)])
        [found] = as_airflow(installation, tmp_path, [edited.text])
        expected = json.loads(json.dumps(whole))
        expected.setdefault(section, {})[name] = value
        assert found == expected
        old, new = text.splitlines(), edited.text.splitlines()
        kept = Cfg(text).own(section, name)
        if kept:
            old[kept.start : kept.end] = [f"{name} = {value}"]
            assert new == old
        else:
            assert [line for line in new if line not in (f"[{section}]", f"{name} = {value}", "")] == [
                line for line in old if line not in (f"[{section}]", "")
            ]

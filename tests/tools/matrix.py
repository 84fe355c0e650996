# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the tests of every release on every release, and write docs/compatibility.md from what passed.

`python tests/tools/matrix.py [VERSION ...]`: with versions named, only their rows are made anew.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tests"))

from testbed import pythons, releases  # noqa: E402  (the path has to be set first)
from testbed.errors import MissingPython  # noqa: E402

PAGE = CHECKOUT / "docs/compatibility.md"
HEADER = """\
<!-- SPDX-License-Identifier: GPL-3.0-or-later -->
# Compatibility

Written by `make test-matrix`, which installs each release, runs it under supervisord, and does the following through a
real ansible-playbook.

## What is tried on which versions

- `airflow_api_auth`, `airflow_api_auth_info`, `airflow_config`: 1.10 to 3.3, on the ten releases below.
- `airflow_dag_trigger`, `airflow_dag`, `airflow_api_info`: 1.10 to 3.3, on the same ten. See also
  [what the API of 1.10 can do](releases.md#the-api).
- `airflow_dag_run_info`: 2.1 to 3.3; `states` from 2.3 on. `airflow_dag_run`: 2.2 to 3.3.
- The role `api_auth`, the playbook `enable_api` and `airflow_user`, on systemd hosts over ssh (`make test-fleet`):
  1.10.15, 2.2.5, 2.6.3, 2.10.5, 2.11.2, 3.3.2 with the FAB and with the simple auth manager.
"""
HOSTS = """
## On the host

From the release's default configuration to passwords accepted, proved by a request that was refused before and is
answered after (on 3.x, a token from `/auth/token` by the FAB auth manager); the same task again; to another backend or
auth manager and back; options that the release has no place for; and `airflow_config`.

"""
FILE = """
## The file

What the release's own parser reads in an edited airflow.cfg: the new value, and the rest as it was; for the file that
the release ships, and for files that were made up, at least 100 of them for each release. And which environment
variables beat the file.

"""
API = """
## Over the API

A run triggered in check mode, for real and again, and waited for; three runs in one task; a run that fails, with the
end of its log (1.10 tells no logs); its rerun, and a run's state that is set (before 2.2 neither can be, and it says
so); a date that is taken, a missing and a paused DAG, a wrong password; a role that may only read (1.10 has none); a
DAG whose file is broken; `unless_running` and `on_timeout`; a scheduler that does not run (1.10 does not tell); a proxy
that takes the login away; the backend `default`; `airflow_dag`; `airflow_dag_run_info` (2.0 and 1.10 cannot, and it
says so); `airflow_api_info`; and on 3.x ready, expired and foreign tokens, the FAB auth manager, and a token that ends
during the wait.

"""
# For each table what stands before it, the file of its tests, and its columns with the tests that they stand for.
TABLES = [
    (
        HOSTS,
        "host/test_compat_host.py",
        {
            "refused, then answered": "test_from_refused_to_answered",
            "no change again": "test_again_nothing_is_done",
            "what info tells": "test_what_info_tells",
            "another and back": "test_something_else_and_back",
            "unsupported": "test_what_the_release_has_no_place_for",
            "airflow_config": "test_an_option_is_set_and_taken_out_in_one_restart",
        },
    ),
    (
        FILE,
        "host/test_config_roundtrip.py",
        {
            "the file that it ships": "test_the_file_that_the_release_ships",
            "made-up files": "test_files_that_were_made_up",
            "variables": "test_which_variables_it_reads",
        },
    ),
    (
        API,
        "api/test_compat_api.py",
        {
            "trigger once": "test_a_run_is_triggered_once_and_waited_for",
            "many": "test_many_are_triggered_and_waited_for",
            "failed run": "test_a_failed_run_tells_its_reason",
            "rerun": "test_a_failed_run_is_rerun_once_and_a_state_set",
            "refusals": "test_what_is_refused",
            "role": "test_a_role_that_may_only_read",
            "broken file": "test_a_dag_that_cannot_be_imported",
            "one at a time": "test_a_dag_that_runs_already_and_a_run_that_is_given_up",
            "no scheduler": "test_no_scheduler_is_there",
            "header lost": "test_a_proxy_that_takes_the_login_away",
            "default": "test_a_server_that_lets_everybody_in_as_nobody",
            "airflow_dag": "test_a_dag_is_paused_and_unpaused",
            "run_info": "test_runs_are_listed",
            "api_info": "test_the_examination",
            "tokens": "test_a_ready_token",
            "token renewed": "test_the_auth_manager_of_fab_and_a_token_that_ends_during_the_wait",
        },
    ),
]


def main() -> int:
    every = [release.version for release in releases.RELEASES]
    found = {version: python_for(version) for version in sys.argv[1:] or every}
    words = run([version for version, python in found.items() if python])
    text, known, failed = HEADER, rows_of(PAGE.read_text()), False
    for introduction, file, claims in TABLES:
        lines = [f"| Airflow | Python | {' | '.join(claims)} |", "|---" * (len(claims) + 2) + "|"]
        for version in every:
            if version in found:
                missing = "FAILED" if found[version] else "not run"
                cells = [words.get((file, test, version), missing) for test in claims.values()]
                failed = failed or "FAILED" in cells
                lines.append(f"| {version} | {found[version] or 'none here'} | {' | '.join(cells)} |")
            else:
                lines += known.get((introduction.split("\n")[1], version), [])
        text += introduction + "\n".join(lines) + "\n"
    print(text)
    PAGE.write_text(text)
    return 1 if failed else 0


def rows_of(page: str) -> dict[tuple[str, str], list[str]]:
    """(heading, release) -> the row of it that the page has."""
    rows, heading = {}, ""
    for line in page.splitlines():
        if line.startswith("## "):
            heading = line
        elif line.startswith("| "):
            rows[(heading, line.split()[1])] = [line]
    return rows


def python_for(version: str) -> str | None:
    """Which Python of this machine the release is run on."""
    try:
        return pythons.version_of(pythons.find(releases.release(version).pythons))
    except MissingPython as error:
        print(f"SKIPPED: Airflow {version}: {error}")
        return None


def run(versions: list[str]) -> dict[tuple[str, str, str], str]:
    """(file, test, release) -> a word for the table. Two releases at once: they spend much of the time starting."""
    files = [f"tests/integration/{file}" for _introduction, file, _claims in TABLES]
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "--verbose", f"--junitxml={report}"]
        command += ["--numprocesses", "2", "--dist", "loadscope", *files]
        subprocess.run(command, cwd=CHECKOUT, env={**os.environ, "AIRFLOW_VERSIONS": ",".join(versions)}, check=False)
        words: dict[tuple[str, str, str], str] = {}
        for case in ET.parse(report).iter("testcase"):
            file = "/".join(str(case.get("classname")).split(".")[-2:]) + ".py"
            test, _bracket, parameters = str(case.get("name")).partition("[")
            key = (file, test, parameters.rstrip("]").partition("-")[0])
            bad = [child.tag for child in case if child.tag in ("failure", "error")]
            skipped = [child.tag for child in case if child.tag == "skipped"]
            if words.get(key) != "FAILED":
                words[key] = "FAILED" if bad else "none" if skipped else "yes"
    return words


if __name__ == "__main__":
    sys.exit(main())

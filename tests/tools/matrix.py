# SPDX-License-Identifier: GPL-3.0-or-later
"""Run tests/integration/test_every_release.py on every release, and write docs/compatibility.md from what passed.

`python tests/tools/matrix.py [VERSION ...]`: with versions named, only those run and nothing is written.
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

TABLE = CHECKOUT / "docs/compatibility.md"
# The columns, and the tests that they stand for.
CLAIMS = {
    "refused, then answered": "test_from_refused_to_answered",
    "no change again": "test_again_nothing_is_done",
    "what info tells": "test_what_info_tells",
    "another and back": "test_something_else_and_back",
    "unsupported": "test_what_the_release_has_no_place_for",
    "airflow_config": "test_an_option_is_set_and_taken_out_in_one_restart",
}
HEADER = """\
<!-- SPDX-License-Identifier: GPL-3.0-or-later -->
# Compatibility

Written by `make test-matrix`, which installs each release, runs it under supervisord, and does the following through a
real ansible-playbook: from the release's default configuration to passwords accepted, proved by a request that was
refused before and is answered after (on 3.x, a token from `/auth/token` by the FAB auth manager); the same task again;
to another backend or auth manager and back; options that the release has no place for; and `airflow_config`.

"""


def main() -> int:
    chosen = sys.argv[1:] or [release.version for release in releases.RELEASES]
    results = {version: run(version) for version in chosen}
    lines = [f"| Airflow | Python | {' | '.join(CLAIMS)} |", "|---" * (len(CLAIMS) + 2) + "|"]
    lines += [f"| {version} | {' | '.join(cells)} |" for version, cells in results.items()]
    text = HEADER + "\n".join(lines) + "\n"
    print(text)
    if not sys.argv[1:]:
        TABLE.write_text(text)
    return 1 if any("FAILED" in cells for cells in results.values()) else 0


def run(version: str) -> list[str]:
    """The cells of a release: its Python, then a word for each claim."""
    try:
        python = pythons.version_of(pythons.find(releases.release(version).pythons)) or "?"
    except MissingPython as error:
        print(f"SKIPPED: Airflow {version}: {error}")
        return ["none here", *["not run" for _claim in CLAIMS]]
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            f"--junitxml={report}",
            "tests/integration/test_every_release.py",
        ]
        subprocess.run(command, cwd=CHECKOUT, env={**os.environ, "AIRFLOW_VERSIONS": version}, check=False)
        words = {}
        for case in ET.parse(report).iter("testcase"):
            bad = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
            words[str(case.get("name")).partition("[")[0]] = "FAILED" if bad else "yes"
    return [python, *(words.get(test, "FAILED") for test in CLAIMS.values())]


if __name__ == "__main__":
    sys.exit(main())

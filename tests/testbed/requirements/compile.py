# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the pinned requirements anew: `python tests/testbed/requirements/compile.py [--uv UV] [NAME ...]`.

NAME is an Airflow release of releases.py (2.11.2, 2.6.3-kerberos), `supervisor` or `ansible`; without one, all are
written. An Airflow release is resolved as of the day in its recipe, so that the result stays the same; the others as
of today.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from testbed.releases import KERBEROS, RELEASES  # noqa: E402  (the path has to be set first)

HEADER = """\
# SPDX-License-Identifier: GPL-3.0-or-later
# Made by tests/testbed/requirements/compile.py from: {recipe}
"""


def compile_pins(uv: str, name: str, specs: tuple[str, ...], python: str, exclude_newer: str | None) -> None:
    """Resolve ``specs`` for every Python from ``python`` on and write ``name``.txt."""
    as_of = ["--exclude-newer", exclude_newer] if exclude_newer else []
    done = subprocess.run(
        [
            *(uv, "--quiet", "pip", "compile", "-", "--universal", "--python-version", python, *as_of),
            *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
        ],
        input="\n".join(specs),
        env={**os.environ, "UV_PYTHON_DOWNLOADS": "never", "SLUGIFY_USES_TEXT_UNIDECODE": "yes"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    recipe = f"{', '.join(specs)}; Python {python} or newer" + (f"; as of {exclude_newer}" if exclude_newer else "")
    (HERE / f"{name}.txt").write_text(HEADER.format(recipe=recipe) + done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the pinned requirements anew.")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--uv", default="uv")
    options = parser.parse_args()
    recipes: dict[str, tuple[str, tuple[str, ...], str, str | None]] = {
        "supervisor": ("supervisor", ("supervisor",), "3.10", None),
        "ansible": ("ansible", ("ansible-core>=2.17", "requests"), "3.11", None),
    }
    for release in (*RELEASES, KERBEROS):
        oldest = min(release.pythons, key=lambda version: tuple(map(int, version.split("."))))
        recipes[release.name] = (f"airflow-{release.name}", release.specs, oldest, release.exclude_newer)
    for name in options.names or recipes:
        compile_pins(options.uv, *recipes[name])


if __name__ == "__main__":
    main()

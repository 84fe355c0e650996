# SPDX-License-Identifier: GPL-3.0-or-later
"""An Airflow for the length of a block, from its installation to its removal."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from testbed import releases
from testbed.installation import Installation, Installer, find_uv
from testbed.instance import Airflow, free_port
from testbed.releases import Release
from testbed.subreaper import reaped

CHECKOUT = Path(__file__).resolve().parents[2]


def installed(release: Release | str) -> Installation:
    """Install a release, named by its version or described, below .build/airflow if it is not there yet.

    Raises MissingPython if this machine has no Python that the release runs on.
    """
    if isinstance(release, str):
        release = releases.release(release)
    return Installer(CHECKOUT / ".build/airflow", find_uv(CHECKOUT), print).airflow(release)


@contextlib.contextmanager
def running(
    release: Release | str,
    *,
    server_only: bool = False,
    environment: Mapping[str, str] | None = None,
    base_path: str = "",
    fake: bool = False,
    before_start: Callable[[Airflow], None] = lambda _airflow: None,
) -> Iterator[Airflow]:
    """A healthy Airflow in a fresh home, which is gone afterwards; see Airflow for the options.

    ``before_start`` may change what is in the home.
    """
    # A home of a short name: supervisord's socket in there must not have a long path.
    home = Path(tempfile.mkdtemp(prefix="airflow-"))
    with reaped(home):
        airflow = Airflow(installed(release), home, free_port(), server_only, environment, base_path, fake)
        airflow.prepare()
        before_start(airflow)
        airflow.start()
        yield airflow

# SPDX-License-Identifier: GPL-3.0-or-later
"""Say in one sentence what is missing before anything is installed. Runs on old Pythons too."""

import sys
from typing import Optional

OLDEST = (3, 11)


def problem() -> Optional[str]:
    """Return what keeps this interpreter from making the test environment, or None."""
    if sys.version_info < OLDEST:
        return "Python {}.{} or newer is needed, {} is {}.{}: choose another with `make PYTHON=... `".format(
            *OLDEST, sys.executable, *sys.version_info[:2]
        )
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        return f"{sys.executable} cannot make virtual environments: install its venv package (Debian: python3-venv)"
    return None


if __name__ == "__main__":
    sys.exit(problem())

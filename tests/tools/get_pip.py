# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-in for the get-pip script that ansible-test downloads to give a virtual environment its pip.

The download is from a host that a package mirror does not carry, and ansible-test takes a script
that is already at the download's place. This one is copied there beside a folder ``pip-to-install-with``
that holds an installed pip, and installs, with that, the pip which ansible-test asks for.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

# Options that only the real script knows: the packages that they leave out are not asked for here.
ONLY_GET_PIP = {"--no-setuptools", "--no-wheel"}


def main() -> None:
    """Become ``pip install`` with the arguments that the real script would have passed on."""
    sys.path.insert(0, str(Path(__file__).resolve().parent / "pip-to-install-with"))
    arguments = [argument for argument in sys.argv[1:] if argument not in ONLY_GET_PIP]
    # Without --ignore-installed the pip that runs would count as the one to install.
    sys.argv = ["pip", "install", "--ignore-installed", *arguments]
    runpy.run_module("pip", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

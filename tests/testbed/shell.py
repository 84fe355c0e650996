# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command of Ansible as a reader of the documentation types it, in a directory of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Recap = dict[str, dict[str, int]]


class Shell:
    """Commands run in ``folder``, with nothing of the user's own configuration.

    ``bin_folder`` has Ansible, ``collections`` is the ANSIBLE_COLLECTIONS_PATH.
    """

    def __init__(self, bin_folder: Path, folder: Path, collections: Path) -> None:
        self.folder = folder
        (folder / "ansible.cfg").touch()
        self._environment = {
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(folder / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_REMOTE_TMP": str(folder / "remote"),
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PATH": os.pathsep.join([str(bin_folder), os.environ["PATH"]]),
            "PWD": str(folder),
        }

    def run(
        self, command: Sequence[str], variables: Mapping[str, Any], env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the words of ``command``, with ``variables`` as extra variables; stdout has stderr too."""
        (self.folder / "extra.json").write_text(json.dumps(dict(variables)))
        return subprocess.run(
            [*command, "-e", f"@{self.folder / 'extra.json'}"],
            env={**self._environment, **(env or {})},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def recap(text: str) -> Recap:
    """The numbers of each host in the recap of a playbook."""
    lines = re.findall(r"(?m)^(\S+) +: (ok=\d+ .*?)\s*$", text.rpartition("PLAY RECAP")[2])
    return {host: {key: int(number) for key, number in re.findall(r"(\w+)=(\d+)", numbers)} for host, numbers in lines}

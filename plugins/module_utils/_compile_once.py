# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have Python compile the files of this folder once each. A module imports this one before the others.

Ansible sends a module's files to the host in a zip. Python's own finder asks the zip for a file's name, and
``zipimporter.get_filename`` compiles the file to find that out (seen from 3.8 to 3.13); then it is compiled once more,
to be run. With as much code as here that is a twentieth of a task. The finder below tells the name without compiling.

Outside a zip, as in tests and on a controller, nothing is done.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec
from zipimport import ZipImportError, zipimporter


class _Finder:
    """Finds what lies beside this file in the same zip, and leaves everything else to others."""

    def __init__(self, package: str, zipped: zipimporter) -> None:
        self._package = package
        self._zipped = zipped

    def find_spec(self, fullname: str, *_path_and_target: object) -> ModuleSpec | None:
        """What the import system asks a finder on sys.meta_path."""
        package, _dot, name = fullname.rpartition(".")
        if package != self._package:
            return None
        try:
            if self._zipped.is_package(fullname):
                return None
        except ZipImportError:
            return None
        origin = os.path.join(self._zipped.archive, self._zipped.prefix, name + ".py")
        spec = ModuleSpec(fullname, self._zipped, origin=origin)  # type: ignore[arg-type]  # a loader, by what it does
        spec.has_location = True  # so that the module gets its __file__
        return spec


_LOADER = __spec__.loader if __spec__ else None
if isinstance(_LOADER, zipimporter):
    sys.meta_path.insert(0, _Finder(__name__.rpartition(".")[0], _LOADER))

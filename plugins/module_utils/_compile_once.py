# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have Python compile each file of this directory and its packages once. A module imports this one first.

Ansible sends a module's files to the host in a zip. Python's own finder asks the zip for a file's name, and
``zipimporter.get_filename`` compiles the file to find that out (seen from 3.8 to 3.13); then it is compiled once more,
to be run. With as much code as here that is a twentieth of a task. The finder below tells the name without compiling.

Outside a zip, as in tests and on a controller, nothing is done.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec
from typing import Sequence
from zipimport import ZipImportError, zipimporter


class _Finder:
    """Finds what lies beside this file in the same zip, and below it, and leaves everything else to others."""

    def __init__(self, package: str, zipped: zipimporter) -> None:
        self._package = package
        self._importers = {os.path.join(zipped.archive, zipped.prefix).rstrip(os.sep): zipped}

    def find_spec(self, fullname: str, path: Sequence[str] | None, _target: object = None) -> ModuleSpec | None:
        """What the import system asks a finder on sys.meta_path."""
        if not path or not fullname.startswith(self._package + "."):
            return None
        folder, name = path[0], fullname.rpartition(".")[2]
        try:
            if folder not in self._importers:
                self._importers[folder] = zipimporter(folder)
            zipped = self._importers[folder]
            is_package = zipped.is_package(fullname)
        except ZipImportError:
            return None
        place = os.path.join(folder, name)
        origin = os.path.join(place, "__init__.py") if is_package else place + ".py"
        spec = ModuleSpec(fullname, zipped, origin=origin, is_package=is_package)  # type: ignore[arg-type]  # a loader, by what it does
        if is_package:
            spec.submodule_search_locations = [place]
        spec.has_location = True  # so that the module gets its __file__
        return spec


_LOADER = __spec__.loader if __spec__ else None
if isinstance(_LOADER, zipimporter):
    sys.meta_path.insert(0, _Finder(__name__.rpartition(".")[0], _LOADER))

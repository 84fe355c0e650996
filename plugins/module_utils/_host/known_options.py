# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that an installed Airflow version knows, out of what it ships: their description (config.yml), and the
table of the names that they had in earlier versions (deprecated_options in configuration.py, from 3.2 on in a module
that several packages share).
"""

from __future__ import annotations

import os
import re
from typing import Tuple

from ansible_collections.fleetops.airflow.plugins.module_utils._host.files import read_foreign
from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

# The file is YAML, which Python's standard library cannot read. Its layout has been one of two, always with these
# indentations: a list of names (1.10 to 2.5) or mappings (2.6 on).
_SECTION = re.compile(r"(?:- name: |)([\w.]+?):?$")
_OPTION = re.compile(r" {4}(?:- name: )?(\w+):?$")
_SENSITIVE = re.compile(r" {6}sensitive: true$")
_MOST_BYTES = 1 << 24
_RELATIVE = os.path.join("airflow", "config_templates", "config.yml")


_TABLES = (
    os.path.join("airflow", "configuration.py"),
    os.path.join("airflow", "_shared", "configuration", "parser.py"),
)
# ("section", "option"): ("former section", "former option", "2.3.0"), or a list of such values
_NAMES = r"""\(\s*["'](\w+)["'],\s*["'](\w+)["'],?\s*\)\s*:\s*(\[[^\]]*\]|\([^()]*\))"""
_FORMER = r"""["'](\w+)["'],\s*["'](\w+)["'],\s*["']\d+(?:\.\d+)+["']"""
_FORMER_SECTION = r"""deprecated_sections\b.*= \{\s*["'](\w+)["']\s*:\s*\(\s*["'](\w+)["']"""
Place = Tuple[str, str]  # section, option


class KnownOptions(Record):
    options: dict[str, set[str]]  # section -> names
    sensitive: set[tuple[str, str]]  # (section, name)
    former: dict[Place, list[Place]]  # by which names Airflow still reads an option

    def former_of(self, section: str, option: str) -> tuple[Place, ...]:
        """The names of an option in earlier versions that still count."""
        renamed_section = [
            (old, option)
            for (new, name), places in self.former.items()
            for old, _same in places
            if new == section and not name
        ]
        return (*self.former.get((section, option), ()), *renamed_section)

    def present(self, section: str, option: str) -> Place | None:
        """What an option that had this name in an earlier version is called now."""
        return next((place for place, places in self.former.items() if (section, option) in places), None)


def read_known_options(packages: str) -> KnownOptions | None:
    """:param packages: the site-packages folder of the release. None if there is no such description."""
    try:
        lines = read_foreign(os.path.join(packages, _RELATIVE), _MOST_BYTES).decode("utf-8").splitlines()
    except (OSError, ValueError):
        return None
    known = KnownOptions({}, set(), _former_names(packages))
    section, option = "", ""
    for line in lines:
        found_section, found_option = _SECTION.match(line), _OPTION.match(line)
        if found_section:
            section = found_section.group(1)
            known.options[section] = set()
        elif found_option and section:
            option = found_option.group(1)
            known.options[section].add(option)
        elif _SENSITIVE.match(line):
            known.sensitive.add((section, option))
    return known


def _former_names(packages: str) -> dict[Place, list[Place]]:
    """Empty where the version has no such table, or has it somewhere else."""
    found: dict[Place, list[Place]] = {}
    for table in _TABLES:
        try:
            text = read_foreign(os.path.join(packages, table), _MOST_BYTES).decode("utf-8")
        except (OSError, ValueError):
            continue
        for section, option, value in re.findall(_NAMES, text):
            former = re.findall(_FORMER, value)
            if former:
                found.setdefault((section, option), []).extend(former)
        for section, old in re.findall(_FORMER_SECTION, text):
            found.setdefault((section, ""), []).append((old, ""))
    return found

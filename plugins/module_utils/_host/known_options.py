# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that an installed Airflow release knows, out of the description that it ships (config.yml)."""

from __future__ import annotations

import os
import re

from ansible_collections.fleetops.airflow.plugins.module_utils._record import Record

# The file is YAML, which Python's standard library cannot read. Its layout has been one of two, always with these
# indentations: a list of names (1.10 to 2.5) or mappings (2.6 on).
_SECTION = re.compile(r"(?:- name: |)([\w.]+?):?$")
_OPTION = re.compile(r" {4}(?:- name: )?(\w+):?$")
_SENSITIVE = re.compile(r" {6}sensitive: true$")
_RELATIVE = os.path.join("airflow", "config_templates", "config.yml")


class KnownOptions(Record):
    options: dict[str, set[str]]  # section -> names
    sensitive: set[tuple[str, str]]  # (section, name)


def read_known_options(packages: str) -> KnownOptions | None:
    """:param packages: the site-packages folder of the release. None if there is no such description."""
    try:
        with open(os.path.join(packages, _RELATIVE), encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    known = KnownOptions({}, set())
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

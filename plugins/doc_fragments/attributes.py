# Copyright: Contributors to the fleetops.airflow collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the attributes of the modules mean."""

from __future__ import annotations


class ModuleDocFragment:
    """Every module says in C(attributes) how far it supports each of these."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode, changes nothing there, and reports what a real run would do.
  diff_mode:
    description: Reports in diff mode what it changed, or in check mode would change.
  idempotent:
    description: A second run with the same options, with nothing else changed in between, changes nothing.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
"""How hypothesis searches: at random on a developer's machine, the same way each time in continuous integration."""

from __future__ import annotations

import os

from hypothesis import settings

# No deadline: a busy machine is slow, which says nothing about the code.
settings.register_profile("fleetops", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("fleetops")

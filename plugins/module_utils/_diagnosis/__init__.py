# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a call did not work and what to do: from what was observed to cause, evidence and remedy."""

# SPDX-License-Identifier: GPL-3.0-or-later
"""DAG runs: triggered exactly once, waited for, rerun."""

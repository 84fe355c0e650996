# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring airflow.cfg and the running server to what a task says, or leave both as they were."""

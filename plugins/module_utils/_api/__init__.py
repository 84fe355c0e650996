# SPDX-License-Identifier: GPL-3.0-or-later
"""Airflow's REST API: its versions behind one vocabulary, and the logins that it takes."""

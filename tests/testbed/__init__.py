# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Airflow under a real supervisord, for the integration tests and the demo.

Only the standard library is used here, so that a bare Python 3.11 can run all of it. Linux only:
processes are found through /proc.
"""

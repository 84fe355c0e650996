# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with an Airflow, look after look, each problem once; and what was done about it."""

# SPDX-License-Identifier: GPL-3.0-or-later
"""One host: its processes, its Airflow and the server that runs there, and what that server says."""

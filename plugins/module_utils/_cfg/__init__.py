# SPDX-License-Identifier: GPL-3.0-or-later
"""airflow.cfg: read as Airflow reads it, edited without touching the rest, and the options that a task manages."""

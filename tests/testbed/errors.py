# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error of the testbed."""

from __future__ import annotations


class TestbedError(Exception):
    """Airflow could not be installed, started or asked; the message says what and where to look."""

    __test__ = False  # the name begins with "Test": this keeps pytest from collecting it


class MissingPython(TestbedError):
    """No interpreter of the Python version that an Airflow release needs is on this machine."""


class MissingProgram(TestbedError):
    """A program of the operating system that a test needs is not installed."""

# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of pytest in which no test passed is a failure, even if every test was skipped with a reason."""

from __future__ import annotations

import pytest


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not reporter:
        return  # a worker, whose tests are counted by the session that started it
    passed = reporter.stats.get("passed")
    if exitstatus == pytest.ExitCode.OK and not passed and not session.config.option.collectonly:
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED

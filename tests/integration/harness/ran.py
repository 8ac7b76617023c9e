# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether each hazard ran in each mode that was asked for: a run in which all tests of one were skipped fails."""

from __future__ import annotations

from typing import Generator

import pytest

from .variant import Variant


class Ran:
    """Counts outcomes by hazard, mode, and whether the runtime was attached."""

    def __init__(self) -> None:
        self._ran: dict[tuple[str, str], int] = {}

    def note(self, hazard: str, variant: Variant, skipped: bool) -> None:
        """One test of the hazard is over."""
        key = hazard, variant.mode + (", attached" if variant.attached else "")
        self._ran[key] = self._ran.get(key, 0) + (not skipped)

    @property
    def left_out(self) -> list[str]:
        """Of which hazard not one test ran in which mode, although some were asked for."""
        return [f"{hazard} ({mode})" for (hazard, mode), ran in sorted(self._ran.items()) if not ran]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo,
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        variant = item.callspec.params.get("variant") if hasattr(item, "callspec") else None
        if variant is not None and (report.when == "call" or (report.when == "setup" and not report.passed)):
            self.note(item.path.stem, variant, report.skipped)
        return report

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.left_out and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for hazard in self.left_out:
            terminalreporter.write_line(f"FAILED {hazard}: each of its tests was skipped", red=True)

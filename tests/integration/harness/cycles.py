# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counted apply/revert cycles: how many a test makes, and where a long run of them is."""

from __future__ import annotations

import time
from typing import Iterator

import pytest

# Seconds between two lines about a test that goes on.
INTERVAL = 30


class Cycles:
    """What ``--cycles`` asks for, shared out among tests, with a line now and then when they take long."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self.all = request.config.getoption("--cycles")
        self.name = request.node.name
        self._capture = request.config.pluginmanager.getplugin("capturemanager")

    def part(self, divisor: int = 1, least: int = 1) -> Iterator[int]:
        """Count through one ``divisor``-th of all cycles, rounded up, but not fewer than ``least``."""
        count = self.count(divisor, least)
        begin = shown = time.monotonic()
        for cycle in range(count):
            now = time.monotonic()
            if now > shown + INTERVAL:
                shown = now
                left = (count - cycle) * (now - begin) / cycle
                with self._capture.global_and_fixture_disabled():
                    print(f"\n{self.name}: cycle {cycle} of {count}, {left:.0f} s left", flush=True)
            yield cycle

    def count(self, divisor: int = 1, least: int = 1) -> int:
        return max(-(-self.all // divisor), least)

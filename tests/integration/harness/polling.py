# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for something, with a deadline instead of a sleep of the right length."""

from __future__ import annotations

import time
from typing import Callable, TypeVar

# Ten times and more what a machine under load needs.
DEADLINE = 60.0

T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str, deadline: float = DEADLINE, interval: float = 0.005) -> T:
    """Call ``condition`` until it gives something true, and give that back; fail after ``deadline`` seconds."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {deadline:.0f} s still not: {what}")
        time.sleep(interval)

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations side by side."""

from __future__ import annotations

import time

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.drive import drive, drive_all


def operation(number, pauses, log=None):
    for pause in pauses:
        if log is not None:
            log.append(number)
        yield pause
    return number


def test_one():
    started = time.monotonic()
    assert drive(operation(5, (0.01, 0.02))) == 5
    assert time.monotonic() - started >= 0.03


def test_results_come_in_order_and_waits_overlap():
    """Guards that the shortest wait ends first, which it does not where one is waited for after the other."""
    started = time.monotonic()
    pauses = [0.3, 0.1, 0, 0.2]
    ended = []

    def noted(number, pause):
        yield pause
        ended.append(number)
        return number

    assert drive_all(noted(number, pause) for number, pause in enumerate(pauses)) == [0, 1, 2, 3]
    assert time.monotonic() - started >= 0.3
    assert ended == [2, 1, 3, 0]
    assert drive_all([]) == []


def test_width():
    running = []
    most = []

    def counted(number):
        running.append(number)
        most.append(len(running))
        yield 0.001
        running.remove(number)
        return number

    assert drive_all((counted(number) for number in range(20)), width=3) == list(range(20))
    assert max(most) == 3


def test_those_that_are_due_come_before_new_ones():
    log = []
    drive_all([operation(0, (0, 0, 0), log), operation(1, (0,), log)])
    assert log == [0, 0, 0, 1]


def test_exception_comes_out():
    def broken():
        yield 0
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        drive_all([operation(0, (0,)), broken()])

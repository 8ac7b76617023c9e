# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations side by side."""

from __future__ import annotations

import time

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.drive import (
    LONG_PAUSE,
    drive,
    drive_all,
    grown,
)


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


def test_waits_overlap():
    """Guards that the shortest wait ends first, which it does not where one is waited for after the other."""
    started = time.monotonic()
    pauses = [0.3, 0.1, 0, 0.2]
    ended = []

    def noted(number, pause):
        yield pause
        ended.append(number)

    drive_all(noted(number, pause) for number, pause in enumerate(pauses))
    assert time.monotonic() - started >= 0.3
    assert ended == [2, 1, 3, 0]
    drive_all([])


def test_next_one_that_comes_later():
    """Guards a worker whose next task has not come yet while others are under way: it goes on with those."""
    log = []

    def upcoming():
        yield operation(0, (0, 0), log)
        while len(log) < 2:
            yield None
        yield operation(1, (0,), log)

    drive_all(upcoming())
    assert log == [0, 0, 1]


def test_width():
    running = []
    most = []
    done = []

    def counted(number):
        running.append(number)
        most.append(len(running))
        yield 0.001
        running.remove(number)
        done.append(number)

    drive_all((counted(number) for number in range(20)), width=3)
    assert sorted(done) == list(range(20))
    assert max(most) == 3


@pytest.mark.parametrize(("resting", "served_first"), [(20, True), (19, True), (17, False), (0, False)])
def test_those_that_rest_leave_their_places(resting, served_first):
    """Guards who comes behind processes that never answer: seen to be served last, as it is without room for those."""
    ended = []

    def silent(number):
        for _time in range(3):
            yield LONG_PAUSE
        ended.append(number)

    def honest():
        yield 0
        ended.append("honest")

    drive_all([*(silent(number) for number in range(20)), honest()], width=2, resting=resting)
    assert sorted(map(str, ended)) == sorted([*map(str, range(20)), "honest"])
    assert (ended[0] == "honest") == served_first


def test_those_that_go_on_are_not_at_rest():
    """Guards the load: no more than so many are at work at a time."""
    running = set()
    most = []

    def working(number):
        yield LONG_PAUSE
        running.add(number)
        for _time in range(3):
            most.append(len(running))
            yield 0
        running.remove(number)

    drive_all((working(number) for number in range(12)), width=3, resting=0)
    assert max(most) <= 3


def test_pauses_grow():
    """Guards the processor from who looks all the time for an answer that does not come."""
    assert [grown(0.005, waited) for waited in (0, 0.01, 0.8, 1.6, 1000)] == [
        0.005, 0.005, LONG_PAUSE, 2 * LONG_PAUSE, 2 * LONG_PAUSE]


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

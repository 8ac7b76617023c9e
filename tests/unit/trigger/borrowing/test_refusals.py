# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How often the threads of a process are stopped that keep saying no."""

from __future__ import annotations

import itertools
import os

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils import abi
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.mapped import MappedFiles
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.procfs import SystemCall
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.errors import StrangeStack
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.borrowing import refusals

FUTEX = 202
MOST = 3000


def never_the_same():
    """Places of a thread that is blocked somewhere else each time; no mapping is there, so all else is left open."""
    return (SystemCall(FUTEX, 0x10000 * number, 0x1000) for number in itertools.count(1))


@pytest.fixture(name="stops")
def fixture_stops(monkeypatch):
    """How often a thread of this process is stopped that is at ``places`` in turn and gives ``answers`` in turn."""

    def stops(places, answers):
        # What stands there is a question of what is read of the process, not of how often.
        monkeypatch.setattr(refusals, "read_system_call", lambda _pid, _tid: next(places))
        found = refusals.Refusals(os.getpid(), os.getpid(), MappedFiles())
        count = 0
        while count < MOST and not found.repeat_themselves and not found.are_known_from_outside(os.getpid(), list):
            found.note(os.getpid(), *next(answers))
            count += 1
        return count

    return stops


def test_other_frames_each_time_but_the_same_reason(stops):
    """Seen to fail (3,000 stops) when an answer with frames that were never seen began the count anew."""
    assert 100 < stops(never_the_same(), itertools.repeat((abi.UNSAFE, "it is in the C library"))) <= 501


def test_another_detail_each_time(stops):
    """Seen to fail (3,000 stops) when the words counted and not the kind of the answer."""
    details = ((abi.UNSAFE, f"in memory at {number:#x}") for number in itertools.count())
    assert stops(never_the_same(), details) <= 501


def test_another_reason_each_time(stops):
    """A runtime that is none can think of as many as there are numbers, each when patience is about to end.

    Seen to fail (3,000 stops) with each new reason beginning the count anew and nothing else counted.
    """
    reasons = ((1 + number // 499, f"in memory at {number:#x}") for number in itertools.count())
    assert stops(never_the_same(), reasons) <= 1000


def test_two_reasons_in_turn(stops):
    """Neither does the count begin anew when a reason comes back."""
    answers = itertools.cycle([(abi.UNSAFE, "here"), (abi.NO_THREAD, "there"), (StrangeStack,)])
    assert stops(never_the_same(), answers) <= 503


def test_nothing_changes(stops):
    assert stops(itertools.repeat(SystemCall(FUTEX, 0x10000, 0x1000)), itertools.repeat((abi.UNSAFE, "here"))) <= 100


def test_nothing_changes_in_many_threads(stops):
    """Each of a hundred is stopped, and then half of them again. Seen to fail (300 stops) without MOST_IN_VAIN."""
    places = itertools.cycle([SystemCall(FUTEX, 0x10000 * number, 0x1000) for number in range(1, 101)])
    assert 100 < stops(places, itertools.repeat((abi.UNSAFE, "here"))) <= 150


def test_merely_busy(stops):
    """A thread that runs whenever it is looked at may be anywhere the next time: it is asked again and again."""
    assert stops(itertools.repeat(None), itertools.repeat((abi.UNSAFE, "here"))) == MOST

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread that is diverted while it is blocked in a system call sees no difference."""

from __future__ import annotations

import os
import signal
import time

import pytest
from harness.blocking import Blocking
from harness.livepatch import APPLIED

ETIMEDOUT = 110
EINTR = 4
POLLIN = 1
EPOLLIN = 1

MILLISECONDS = 1500
# The change comes when this much has passed: a time-out that starts anew always ends too late by more than LATE. On a
# busy machine one that does not may, too, now and then.
BEFORE = 0.6
LATE = 0.4
# How much longer the limit is at each attempt: on a busy machine the change comes late, and so does the end.
TIMES = (1, 1, 1, 1, 4, 4, 16, 16)
# Where something else ends the call, it must not be the limit, however late the change comes.
UNHURRIED = 100

# call: (result, errno, extra) of its end by time-out, and by its event; None where it has no such end.
TIMED = {
    "nanosleep": (0, 0, 0),
    "clock_nanosleep": (0, 0, 0),
    "poll": (0, 0, 0),
    "select": (0, 0, 0),
    "ppoll": (0, 0, 0),
    "pselect": (0, 0, 0),
    "futex": (-1, ETIMEDOUT, 0),
    "sem_wait": (-1, ETIMEDOUT, 0),
    "condition": (-1, 0, ETIMEDOUT),
}
BY_INPUT = {"read": (3, 0, 0), "poll": (1, 0, POLLIN), "select": (1, 0, 1), "epoll_wait": (1, 0, EPOLLIN)}
BY_SIGNAL = {
    "pause": (-1, EINTR, 1),
    "sigsuspend": (-1, EINTR, 101),
    "nanosleep": (-1, EINTR, None),
    "select": (-1, EINTR, 1),
}


@pytest.fixture
def blocking(variant, target, start, livepatch, tmp_path):
    victim = Blocking(target("blocked", variant), start, livepatch, tmp_path, MILLISECONDS)
    yield victim
    victim.close()


@pytest.mark.parametrize("call", sorted(TIMED))
def test_time_out_is_as_without_us(call, blocking):
    """Guards the restart of an interrupted call: without it, the call gives EINTR, or ends early, or late.

    For those whose time-out starts anew see test_hazard_interruptions.py. Seen to fail with interruption() in
    tracee/interruption.py always 0.
    """
    in_time = 0
    for attempt, times in enumerate(TIMES):
        change, version = blocking.changes[attempt % 2]
        expected = times * MILLISECONDS / 1000
        blocking.block(call, times)
        time.sleep(times * BEFORE)
        begin = time.monotonic()
        change(blocking.victim)
        changed = time.monotonic() - begin
        outcome = blocking.outcome()
        assert outcome[:3] == TIMED[call]
        assert outcome.seconds >= expected - 0.01
        assert blocking.victim.number("version") == version
        in_time += times * BEFORE + changed < expected and outcome.seconds <= expected + times * LATE
        if in_time == 2:
            return
    pytest.fail(f"{call} ended late, or the change came late, in {len(TIMES) - in_time} of {len(TIMES)} attempts")


@pytest.mark.parametrize("call", sorted(BY_INPUT))
def test_input_ends_it_as_without_us(call, blocking):
    """Guards that the call waits again after the diversion, and takes what comes then.

    Seen to fail with interruption() in tracee/interruption.py always 0.
    """
    for change, version in blocking.changes:
        blocking.block(call, UNHURRIED)
        change(blocking.victim)
        blocking.give_input(call)
        assert blocking.outcome()[:3] == BY_INPUT[call]
        if call != "read":
            blocking.take_input_back()
        assert blocking.victim.number("version") == version


@pytest.mark.parametrize("call", sorted(BY_SIGNAL))
def test_signal_ends_it_as_without_us(call, blocking):
    """Guards that a signal after the diversion still ends the call, once, with EINTR and the right mask.

    Seen to fail (the call ends without one) with the signal mask not put back.
    """
    for change, version in blocking.changes:
        blocking.block(call, UNHURRIED)
        change(blocking.victim)
        os.kill(blocking.victim.pid, signal.SIGUSR1)
        result, error, extra, _seconds = blocking.outcome()
        expected = BY_SIGNAL[call]
        assert (result, error) == expected[:2]
        if expected[2] is not None:
            assert extra == expected[2]
        assert blocking.victim.number("version") == version


def signal_when_traced(pid: int) -> None:
    """Send SIGUSR1 once, when the process is traced (for well under a millisecond), or just after that was missed."""
    end = time.monotonic() + 0.25
    status = os.open(f"/proc/{pid}/status", os.O_RDONLY)
    while b"TracerPid:\t0\n" in os.pread(status, 4096, 0):
        if time.monotonic() > end:
            break
    os.kill(pid, signal.SIGUSR1)


@pytest.mark.parametrize("call", ["pause", "sigsuspend"])
def test_signal_during_the_diversion_is_not_lost(call, blocking):
    """Guards the look at pending signals: one that comes while the call is not being made must end it all the same.

    Without it the signal's handler runs, and then the call waits for a signal that has been. Seen so with
    ulp_restart_settle() never making the call fail with EINTR.
    """
    for _round in range(10):
        for change in (blocking.patch.apply, blocking.patch.revert):
            blocking.block(call, UNHURRIED)
            sender = os.fork()
            if sender == 0:
                signal_when_traced(blocking.victim.pid)
                os._exit(0)
            change(blocking.victim)
            os.waitpid(sender, 0)
            result, error, extra, _seconds = blocking.outcome()
            assert (result, error) == (-1, EINTR)
            assert extra % 100 == 1


def test_idle_in_its_own_read(blocking):
    """Guards the same for the read in which the victim waits for its next command.

    Seen to fail with interruption() in tracee/interruption.py always 0: the read fails, and the victim ends.
    """
    blocking.patch.apply(blocking.victim)
    assert blocking.victim.number("version") == 2
    blocking.patch.wait_for_check(blocking.victim, APPLIED)
    blocking.patch.revert(blocking.victim)
    assert blocking.victim.number("version") == 1

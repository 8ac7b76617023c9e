# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread that is diverted while it is blocked in a system call sees no difference."""

from __future__ import annotations

import os
import signal
import time

import pytest
from harness.livepatch import APPLIED
from harness.polling import wait_until

ETIMEDOUT = 110
EINTR = 4
POLLIN = 1
EPOLLIN = 1

MILLISECONDS = 1500
# The change comes when this much has passed: a time-out that starts anew then ends too late by more than LATE.
BEFORE = 0.6
LATE = 0.4

# call: (result, errno, extra) of its end by time-out, and by its event; None where it has no such end.
TIMED = {
    "nanosleep": (0, 0, 0),
    "clock_nanosleep": (0, 0, 0),
    "poll": (0, 0, 0),
    "select": (0, 0, 0),
    "epoll_wait": (0, 0, 0),
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


class Blocking:
    """The one-threaded victim, its FIFO, and a patch that is applied and reverted in turn."""

    def __init__(self, variant, target, start, livepatch, directory) -> None:
        build = target("blocked", variant)
        self.patch = livepatch(build.patch("patch2", {"version": "patched_version",
                                                      "hidden_version": "patched_hidden_version",
                                                      "pointed_version": "patched_pointed_version"},
                                           flags=("-DVERSION=2",)))
        self.victim = start(build, "blocking/app.c")
        fifo = directory / "input"
        os.mkfifo(fifo)
        assert self.victim.number(f"open {fifo}") == 1
        self.fifo = os.open(fifo, os.O_RDWR)
        self.idle_call = self.victim.system_call()

    def block(self, call: str) -> None:
        self.victim.send(f"block {call} {MILLISECONDS}")
        self.victim.expect("blocking")
        wait_until(lambda: self.victim.system_call() not in ("running", ), "blocked in " + call)

    def result(self):
        result, error, microseconds, extra = (int(word) for word in self.victim.receive().split())
        return (result, error, extra), microseconds / 1e6

    def close(self) -> None:
        os.close(self.fifo)


@pytest.fixture
def blocking(variant, target, start, livepatch, tmp_path):
    victim = Blocking(variant, target, start, livepatch, tmp_path)
    yield victim
    victim.close()


@pytest.mark.parametrize("call", sorted(TIMED))
def test_time_out_is_as_without_us(call, blocking):
    """Guards the restart of an interrupted call: without it, the call gives EINTR, or ends early, or late.

    epoll_wait is the one whose time-out may start anew: the kernel ends it for having been stopped.
    """
    for change, version in ((blocking.patch.apply, 2), (blocking.patch.revert, 1)):
        blocking.block(call)
        time.sleep(BEFORE)
        begin = time.monotonic()
        change(blocking.victim)
        changed = time.monotonic() - begin
        outcome, elapsed = blocking.result()
        assert outcome == TIMED[call]
        expected = MILLISECONDS / 1000
        latest = expected + LATE + (BEFORE + changed if call == "epoll_wait" else 0)
        assert expected - 0.01 <= elapsed <= latest
        assert BEFORE + changed < expected, "the call was over before the change was: nothing was tested"
        assert blocking.victim.number("version") == version


@pytest.mark.parametrize("call", sorted(BY_INPUT))
def test_input_ends_it_as_without_us(call, blocking):
    """Guards that the call waits again after the diversion, and takes what comes then."""
    for change, version in ((blocking.patch.apply, 2), (blocking.patch.revert, 1)):
        blocking.block(call)
        change(blocking.victim)
        os.write(blocking.fifo, b"abc")
        outcome, _elapsed = blocking.result()
        assert outcome == BY_INPUT[call]
        if call != "read":
            assert os.read(blocking.fifo, 16) == b"abc"
        assert blocking.victim.number("version") == version


@pytest.mark.parametrize("call", sorted(BY_SIGNAL))
def test_signal_ends_it_as_without_us(call, blocking):
    """Guards that a signal after the diversion still ends the call, once, with EINTR and the right mask."""
    for change, version in ((blocking.patch.apply, 2), (blocking.patch.revert, 1)):
        blocking.block(call)
        change(blocking.victim)
        os.kill(blocking.victim.pid, signal.SIGUSR1)
        (result, error, extra), _elapsed = blocking.result()
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

    Without it the signal's handler runs, and then the call waits for a signal that has been.
    """
    for _round in range(10):
        for change in (blocking.patch.apply, blocking.patch.revert):
            blocking.block(call)
            sender = os.fork()
            if sender == 0:
                signal_when_traced(blocking.victim.pid)
                os._exit(0)
            change(blocking.victim)
            os.waitpid(sender, 0)
            (result, error, extra), _elapsed = blocking.result()
            assert (result, error) == (-1, EINTR)
            assert extra % 100 == 1


def test_idle_in_its_own_read(blocking):
    """Guards the same for the read in which the victim waits for its next command."""
    blocking.patch.apply(blocking.victim)
    assert blocking.victim.number("version") == 2
    blocking.patch.wait_for_check(blocking.victim, APPLIED)
    blocking.patch.revert(blocking.victim)
    assert blocking.victim.number("version") == 1

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread that is diverted while blocked, in calls that the kernel ends when their thread is merely stopped."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import time

import pytest
from harness.blocking import Blocking

MILLISECONDS = 1000
# The change comes when so much of the limit has passed.
BEFORE = 0.3
# How much longer the limit is at each attempt: on a busy machine the change may come late.
TIMES = (1, 1, 1, 1, 4, 4, 16, 16)
# Where something else ends the call, it must not be the limit, however late the change comes.
UNHURRIED = 100

# Their limit starts anew: call: (result, errno) of the end by time-out.
TIMED_ANEW = {
    "epoll_wait": (0, 0),
    "epoll_pwait2": (0, 0),
    "semtimedop": (-1, errno.EAGAIN),
    "sigtimedwait": (-1, errno.EAGAIN),
    "accept_within": (-1, errno.EAGAIN),
    "recv_within": (-1, errno.EAGAIN),
    "read_within": (-1, errno.EAGAIN),
    "io_uring_enter_within": (-1, errno.ETIME),
}
POLLIN = 1
IO_URING_SETUP = 425
# call: (result, errno, extra) of the end by what it waits for.
BY_INPUT = {
    "accept": (1, 0, 0),
    "waitpid": (1, 0, 7 << 8),
    "sem_wait_forever": (0, 0, 0),
    "futex_forever": (0, 0, 1),
    "io_uring_enter": (0, 0, POLLIN),
    "ppoll": (1, 0, POLLIN),
    "pselect": (1, 0, 1),
    "epoll_pwait2": (1, 0, POLLIN),
}
# Those that have a child take it from the FIFO.
READ_BY_CHILD = ("waitpid", "sem_wait_forever", "futex_forever")
BY_SIGNAL = ("accept", "waitpid", "sem_wait_forever", "futex_forever", "io_uring_enter", "recv_within", "epoll_pwait2")


def io_uring_allowed():
    """Whether the kernel lets us: with no memory given, io_uring_setup fails with EFAULT then, not EPERM or ENOSYS."""
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall(IO_URING_SETUP, 4, None)
    return ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS)


@pytest.fixture
def blocking(request, variant, target, start, livepatch, tmp_path):
    if "io_uring" in request.node.name and not io_uring_allowed():
        pytest.skip("this kernel, or a filter, forbids io_uring")
    victim = Blocking(target("blocked", variant), start, livepatch, tmp_path, MILLISECONDS)
    yield victim
    victim.close()


@pytest.mark.parametrize("call", BY_INPUT)
def test_input_ends_it_as_without_us(call, blocking):
    """Guards that the call waits again after the diversion, and takes what comes then.

    Seen to fail for io_uring_enter (EINTR) without its number among those of tracee/interruption.py.
    """
    for change, version in blocking.changes:
        blocking.block(call, UNHURRIED)
        change(blocking.victim)
        blocking.give_input(call)
        assert blocking.outcome()[:3] == BY_INPUT[call]
        if call != "accept" and call not in READ_BY_CHILD:
            blocking.take_input_back()
        assert blocking.victim.number("version") == version


@pytest.mark.parametrize("call", BY_SIGNAL)
def test_signal_ends_it_as_without_us(call, blocking):
    """Guards that a signal after the diversion still ends the call, once, with EINTR.

    Seen to fail with the signal mask not put back.
    """
    for change, version in blocking.changes:
        blocking.block(call, UNHURRIED)
        change(blocking.victim)
        os.kill(blocking.victim.pid, signal.SIGUSR1)
        # The signal is counted in extra.
        assert blocking.outcome()[:3] == (-1, errno.EINTR, 1)
        assert blocking.victim.number("version") == version


@pytest.mark.parametrize("call", TIMED_ANEW)
def test_time_out_that_starts_anew(call, blocking):
    """Guards the one difference that is documented: result and errno are as without us, and the limit starts anew.

    The kernel ends these calls with EINTR for having been stopped, and does not tell how much of the limit is left.
    Seen to fail (EINTR) for each without its number among those of tracee/interruption.py.
    """
    anew = 0
    for attempt, times in enumerate(TIMES):
        change, version = blocking.changes[attempt % 2]
        blocking.block(call, times)
        time.sleep(times * BEFORE)
        change(blocking.victim)
        outcome = blocking.outcome()
        assert outcome[:2] == TIMED_ANEW[call]
        assert outcome.seconds >= times * MILLISECONDS / 1000 - 0.01
        assert blocking.victim.number("version") == version
        # On a busy machine the change may come when the call is over.
        anew += outcome.seconds >= times * (BEFORE + MILLISECONDS / 1000)
        if anew == 2:
            return
    pytest.fail(f"{call}: the limit did not start anew, or the change came late, {len(TIMES) - anew} times")


def test_io_uring_enter_that_submits_and_waits(blocking):
    """Guards what is documented for io_uring_enter when it submits, too: it gives the number, perhaps before the event.

    The kernel gives the number submitted as soon as the thread is stopped: to make the call again would submit again.
    Seen to fail (the read of the next command does) with interruption() in tracee/interruption.py always 0.
    """
    for change, version in blocking.changes:
        blocking.block("io_uring_enter_submitting", UNHURRIED)
        change(blocking.victim)
        blocking.give_input("io_uring_enter_submitting")
        outcome = blocking.outcome()
        assert outcome[:2] == (1, 0)
        assert outcome.extra in (0, POLLIN)
        blocking.take_input_back()
        assert blocking.victim.number("version") == version

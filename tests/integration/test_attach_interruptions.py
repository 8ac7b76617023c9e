# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread that is blocked in a system call is borrowed to load the runtime: the call ends as without us.

It is diverted twice, through the bootstrap code and, for the livepatch, through the runtime. What is expected of each
call stands in test_hazard_interruptions.py and test_hazard_queued_signals.py.
"""

from __future__ import annotations

import errno
import os
import signal
import time

import pytest
from harness.blocked import version_patch
from harness.blocking import Blocking
from harness.livepatch import Livepatch
from harness.paths import RUNTIME
from harness.variant import PADDING_ONLY, Variant
from test_hazard_interruptions import (
    BEFORE,
    BY_INPUT,
    BY_SIGNAL,
    MILLISECONDS,
    READ_BY_CHILD,
    TIMED_ANEW,
    UNHURRIED,
    io_uring_allowed,
)
from test_hazard_queued_signals import HOW, NUMBERS, Shower, received

VARIANT = Variant(PADDING_ONLY)
# Each frame of the program hangs on its frame pointer.
FRAME_POINTERS = Variant(PADDING_ONLY, level="-O0")
# Of those whose time limit starts anew, one of each kind.
TIMED = ("epoll_wait", "sigtimedwait", "recv_within")


class Attaching(Livepatch):
    """Applies a livepatch to victims that have no runtime."""

    def apply(self, victim, tries=1):
        answer = self._trigger(victim, tries, "--runtime", RUNTIME, "--json")
        assert answer.json()["attached_now"], answer
        return answer


@pytest.fixture
def blocking(request, target, start, preforked, tmp_path):
    if "io_uring" in request.node.name and not io_uring_allowed():
        pytest.skip("this kernel, or a filter, forbids io_uring")
    victim = Blocking(
        target("blocked", getattr(request, "param", VARIANT)), lambda build, source: start(build, source, preload=()),
        lambda ulp_file: Attaching(preforked, ulp_file), tmp_path, MILLISECONDS,
    )
    yield victim
    victim.close()


@pytest.mark.parametrize("call", BY_INPUT)
def test_input_ends_it(call, blocking):
    """It is made again, and takes what comes then."""
    blocking.block(call, UNHURRIED)
    blocking.patch.apply(blocking.victim)
    blocking.give_input(call)
    assert blocking.outcome()[:3] == BY_INPUT[call]
    if call != "accept" and call not in READ_BY_CHILD:
        blocking.take_input_back()
    assert blocking.victim.number("version") == 2


@pytest.mark.parametrize("call", BY_SIGNAL)
def test_signal_ends_it(call, blocking):
    """The signal mask is as it was, and the signal is seen once.

    Seen to wait for ever with ulp_restart_settle() left out of the bootstrap code.
    """
    blocking.block(call, UNHURRIED)
    blocking.patch.apply(blocking.victim)
    os.kill(blocking.victim.pid, signal.SIGUSR1)
    assert blocking.outcome()[:3] == (-1, errno.EINTR, 1)
    assert blocking.victim.number("version") == 2


@pytest.mark.parametrize("call", TIMED)
def test_time_out(call, blocking):
    """Its limit starts anew, perhaps twice."""
    blocking.block(call, 4)
    time.sleep(BEFORE)
    blocking.patch.apply(blocking.victim)
    outcome = blocking.outcome()
    assert outcome[:2] == TIMED_ANEW[call]
    assert outcome.seconds >= 4 * MILLISECONDS / 1000 - 0.01
    assert blocking.victim.number("version") == 2


@pytest.mark.parametrize("blocking", [FRAME_POINTERS], indirect=True, ids=["frame-pointers"])
@pytest.mark.parametrize("call", ["accept", "sem_wait_forever", "epoll_pwait2"])
def test_frames_that_hang_on_a_register(call, blocking):
    """Nobody can see that of a thread that is blocked, so it is stopped twice: once to see, and once to be sent off.

    Seen to be refused, as every program was that keeps a frame pointer: *has a stack that cannot be unwound*.
    """
    test_input_ends_it(call, blocking)


@pytest.mark.parametrize("blocking", [FRAME_POINTERS], indirect=True, ids=["frame-pointers"])
def test_frames_that_hang_on_a_register_of_a_call_with_a_limit(blocking):
    test_time_out("sigtimedwait", blocking)


@pytest.mark.parametrize("how", HOW)
def test_queued_signals(how, target, start, preforked):
    """What is queued meanwhile comes afterwards, once, with its value, in order."""
    build = target("blocked", VARIANT)
    patch = Attaching(preforked, version_patch(build))
    for _each in range(3):
        victim = start(build, "queued/app.c", preload=())
        assert victim.ask("start " + how) == "started"
        shower = Shower(victim.pid)
        shower.start()
        try:
            patch.apply(victim)
        finally:
            shower.stop()
        came = received(victim)
        assert len(came) == len(shower.sent)
        for number in range(NUMBERS):
            assert [pair for pair in came if pair[0] == number] == [pair for pair in shower.sent if pair[0] == number]
        assert victim.number("version") == 2

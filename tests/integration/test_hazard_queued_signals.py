# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Queued real-time signals, and cancellations, that come while a thread is diverted: each once, in order."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from pathlib import Path

import pytest
from harness.held import hold
from harness.polling import wait_until

HOW = ("pause", "read", "spin", "handler")
NUMBERS = 4
READ = "0"


def queue(pid: int, number: int, value: int) -> None:
    """sigqueue(3): the signal SIGRTMIN + ``number`` with a value."""
    library = ctypes.CDLL(None, use_errno=True)
    library.sigqueue.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
    if library.sigqueue(pid, signal.SIGRTMIN + number, value):
        raise OSError(ctypes.get_errno(), "sigqueue")


@pytest.fixture
def build(variant, target):
    return target("blocked", variant)


@pytest.fixture
def patch(ulp_file, livepatch):
    return livepatch(ulp_file)


@pytest.fixture
def victim(build, start):
    return start(build, "queued/app.c")


def received(victim):
    """Ends the wait; the signals that came, as (number, value)."""
    os.kill(victim.pid, signal.SIGUSR1)
    lines = []
    while True:
        line = victim.receive()
        if line == "end":
            return lines
        lines.append(tuple(int(word) for word in line.split()))


class Shower(threading.Thread):
    """Queues signals all the time, the numbers in turn, the values counting up; a thousand wait at most."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.sent: list[tuple[int, int]] = []
        self.stopping = threading.Event()

    def pending(self) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("SigQ:")[2].split("/")[0])

    def run(self) -> None:
        while not self.stopping.wait(0.001):
            while self.pending() > 1000:
                self.stopping.wait(0.001)
            for number in range(NUMBERS):
                value = len(self.sent)
                queue(self.pid, number, value)
                self.sent.append((number, value))

    def stop(self) -> None:
        self.stopping.set()
        self.join()


@pytest.mark.parametrize("how", HOW)
def test_each_once_and_in_order(how, victim, patch):
    """Guards the signal mask of a diverted thread: what is queued meanwhile comes afterwards, once, with its value.

    The victim has one thread, which is diverted twenty times in a shower of signals. Of one number, all come in the
    order in which they were sent. Seen to fail with the mask not put back (nothing comes any more).
    """
    assert victim.ask("start " + how) == "started"
    shower = Shower(victim.pid)
    shower.start()
    for _cycle in range(10):
        patch.apply(victim)
        patch.revert(victim)
    shower.stop()
    came = received(victim)
    assert len(came) == len(shower.sent) > 40
    for number in range(NUMBERS):
        assert [pair for pair in came if pair[0] == number] == [pair for pair in shower.sent if pair[0] == number]
    assert victim.number("version") == 1


SENT = ((3, 0), (1, 1), (2, 2), (1, 3), (0, 4), (3, 5), (2, 6))


@pytest.mark.parametrize("how", ["pause", "read", "mixed"])
def test_in_the_order_of_the_kernel(how, victim, patch):
    """Guards the order between numbers: of those that came meanwhile, the lowest first, as after any other stop.

    The signals are queued while the thread is held in the middle of its diversion. With "mixed", every other number has
    SA_RESTART. Seen to fail with the signals let in from the highest down, and ("mixed") with those first that do not
    end the call.
    """
    def queue_all():
        for number, value in SENT:
            queue(victim.pid, number, value)

    patch.attach(victim)
    in_order = sorted(SENT)
    assert victim.ask("start " + how) == "started"
    os.kill(victim.pid, signal.SIGSTOP)
    wait_until(lambda: ") T " in Path(f"/proc/{victim.pid}/stat").read_text(), "stopped")
    queue_all()
    os.kill(victim.pid, signal.SIGCONT)
    assert received(victim) == in_order

    assert victim.ask("start " + how) == "started"
    if how != "pause":
        wait_until(lambda: victim.system_call() == READ, "blocked in read")
    hold(victim, victim.pid, queue_all)
    assert received(victim) == in_order


@pytest.mark.parametrize("how", ["deferred", "asynchronous"])
def test_cancelled_while_diverted(how, victim, patch):
    """Guards a cancellation that comes in the middle of the diversion of a thread that is blocked in read.

    It must not get lost: the call would be made again, and wait for ever. Seen to fail with the mask not put back.
    """
    patch.attach(victim)
    for _round in range(5):
        thread = victim.number("block " + how)
        wait_until(lambda: victim.system_call(thread) == READ, "blocked in read")  # noqa: B023 - called at once

        def cancel():
            assert victim.ask("cancel") == "sent"

        hold(victim, thread, cancel)
        assert victim.numbers("join") == [1, 1]
    patch.apply(victim)
    assert victim.number("version") == 2

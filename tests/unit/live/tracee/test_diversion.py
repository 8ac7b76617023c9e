# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A diverted thread sees nothing of it."""

from __future__ import annotations

import ctypes
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import ANSWER_SECONDS, compiled

from ansible_collections.libpulp.livepatch.plugins.module_utils.arch.system_calls import NUMBERS
from ansible_collections.libpulp.livepatch.plugins.module_utils.arch.x86_64 import registers
from ansible_collections.libpulp.livepatch.plugins.module_utils.process import procfs
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.maps import Mapping, read_maps
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee import custody, stack
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.diversion import Diversion, Errand
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.errors import ThreadEnded, ThreadRefused
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.interruption import interruption, make_again
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.borrowing import borrow
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.operations import settle

NO_PID = 2 ** 22 + 1
EPOLL_WAIT = NUMBERS["epoll_wait"]
MODES = ("nanosleep", "poll", "futex", "spin")
ROUNDS = 25


@pytest.fixture(name="only_main_thread")
def fixture_only_main_thread(monkeypatch):
    """Borrow nothing but the main thread, which is the one that looks out for disturbances."""
    monkeypatch.setattr(borrow, "candidates", lambda pid, round_number=0: [pid])


@pytest.mark.parametrize("mode", MODES)
def test_fifty_times(layout, mode, start, trigger, only_main_thread, monkeypatch):
    # Nobody waits here for the thread that computes to come to rest: it does not.
    monkeypatch.setattr(settle, "RUNNING_SECONDS", 0)
    victim = start(layout, mode)
    held = []
    for _round in range(ROUNDS):
        row = trigger(layout).apply(victim.pid)
        assert row.outcome in ("patched", "pending"), row
        held.append(row.held_us)
        assert victim.ask("answer") == "5001"
        row = trigger(layout).revert(victim.pid)
        assert row.outcome in ("reverted", "pending"), row
        held.append(row.held_us)
        assert victim.ask("answer") == "20"
    victim.goes_on()
    assert victim.end() == 0
    assert len(held) == 2 * ROUNDS
    # Some 75 us on an idle machine; this only catches a wait that has crept in, which none of them would be without.
    assert min(held) < 5000


def test_fifty_times_in_read(layout, start, trigger):
    victim = start(layout)
    for _round in range(ROUNDS):
        assert trigger(layout).apply(victim.pid).outcome == "patched"
        assert victim.ask("answer") == "5001"
        assert trigger(layout).revert(victim.pid).outcome == "reverted"
        assert victim.ask("answer") == "20"
    assert victim.end() == 0


WAITS_FOR_EVENTS = r"""
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
int main(void)
{
    struct epoll_event event;
    int epoll = epoll_create1(0);
    for (;;) {
        int result = epoll_wait(epoll, &event, 1, -1);
        printf("%d, error %d\n", result, errno);
        fflush(stdout);
    }
}
"""


def test_refused_thread_does_not_see_that_it_was_held(tmp_path):
    """Guards a thread that is found unfit once it is held, in a call that a stop ends with EINTR (signal(7)).

    Seen to fail with *-1, error 4* each time.
    """
    source, program = tmp_path / "waits.c", tmp_path / "waits"
    source.write_text(WAITS_FOR_EVENTS, encoding="utf-8")
    compiled("-O2", source, "-o", program)
    with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as process:
        try:
            for _each in range(20):
                deadline = time.monotonic() + 60
                while getattr(procfs.read_system_call(process.pid, process.pid), "number", None) != EPOLL_WAIT:
                    assert time.monotonic() < deadline
                # There is no request at address 0.
                refused = Diversion(process.pid, process.pid, Errand(0, 0, 1), read_maps(process.pid))
                with pytest.raises(ThreadRefused, match="cannot be read"):
                    refused.run()
            assert not select.select([process.stdout], [], [], 0.1)[0], process.stdout.readline()
        finally:
            process.kill()


def test_many_threads_at_once_and_a_shower_of_signals(padded, start, trigger, only_main_thread):
    victim = start(padded, "nanosleep")
    stop = threading.Event()

    def shower():
        while not stop.is_set():
            # Ignored by default, so that no call may end early because of it; but it wakes the thread in the kernel.
            os.kill(victim.pid, signal.SIGWINCH)
            time.sleep(0.0002)

    thread = threading.Thread(target=shower)
    thread.start()
    try:
        for _round in range(ROUNDS):
            assert trigger(padded).apply(victim.pid).outcome in ("patched", "pending")
            assert trigger(padded).revert(victim.pid).outcome in ("reverted", "pending")
    finally:
        stop.set()
        thread.join()
    assert victim.end() == 0


def tracer_of(pid, tid=None):
    return procfs.read_status(pid, tid).tracer_pid


# ------------------------------------------------------------------ custody


def test_custody_and_release(padded, start):
    victim = start(padded, "nanosleep")
    hold = custody.Custody(victim.pid, victim.pid)

    def work():
        with hold:
            return procfs.read_stat(victim.pid).state, tracer_of(victim.pid)

    assert custody.held(work) == ("t", os.getpid()) or custody.held(work)[0] == "t"
    assert tracer_of(victim.pid) == 0
    assert hold.held_ns > 0
    assert victim.end() == 0


HOG = """
import os, time
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
print(flush=True)
end = time.monotonic() + 0.7
while time.monotonic() < end:
    pass
"""


@pytest.mark.skipif(os.geteuid() != 0 or len(os.sched_getaffinity(0)) < 2, reason="needs root, and two processors")
def test_thread_that_gets_no_processor_is_waited_for(padded, start):
    """It does not sleep in the kernel. Seen to fail ("does not stop") with one wait of STOP_SECONDS."""
    victim = start(padded, "spin")
    processors = {min(os.sched_getaffinity(0))}
    os.sched_setaffinity(victim.pid, processors)
    with subprocess.Popen([sys.executable, "-c", HOG], stdout=subprocess.PIPE) as hog:
        os.sched_setaffinity(hog.pid, processors)
        hog.stdout.readline()

        def work():
            with custody.Custody(victim.pid, victim.pid):
                return procfs.read_stat(victim.pid).state

        assert custody.held(work) == "t"
        assert hog.wait() == 0
    assert victim.end() == 0


def test_exception_while_holding_lets_the_thread_go(padded, start):
    victim = start(padded, "nanosleep")

    def work():
        with custody.Custody(victim.pid, victim.pid):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        custody.held(work)
    assert tracer_of(victim.pid) == 0
    # Let go, it still has to be given a processor before it sleeps again.
    victim.wait(lambda: procfs.read_stat(victim.pid).state == "S", "it sleeps again")
    assert victim.end() == 0


def test_interrupt_while_holding_comes_when_the_thread_is_free(padded, start):
    victim = start(padded, "nanosleep")
    reached_end = []

    def work():
        with custody.Custody(victim.pid, victim.pid):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
            reached_end.append(True)

    with pytest.raises(KeyboardInterrupt):
        custody.held(work)
    assert reached_end == [True]
    assert tracer_of(victim.pid) == 0
    assert victim.end() == 0


def test_stopped_process_is_refused_and_stays_stopped(padded, start, trigger):
    victim = start(padded)
    os.kill(victim.pid, signal.SIGSTOP)
    while procfs.read_stat(victim.pid).state != "T":
        time.sleep(0.001)
    row = trigger(padded).apply(victim.pid)
    assert (row.outcome, row.held_us) == ("failed", None)
    assert "is stopped by a signal" in row.reason

    def work():
        with custody.Custody(victim.pid, victim.pid):
            raise AssertionError("a stopped thread was taken into custody")

    with pytest.raises(ThreadRefused, match="is stopped .SIGSTOP."):
        custody.held(work)
    # The kernel wakes it to let it go, and it stops again by itself.
    victim.wait(lambda: procfs.read_stat(victim.pid).state == "T", "it stops again")
    os.kill(victim.pid, signal.SIGCONT)
    assert victim.ask("answer") == "20"


def test_process_under_a_debugger(padded, start, trigger):
    victim = start(padded)
    done = threading.Event()
    ready = threading.Event()

    def debug():
        with custody.Custody(victim.pid, victim.pid):
            ready.set()
            done.wait(ANSWER_SECONDS)

    thread = threading.Thread(target=debug)
    thread.start()
    try:
        assert ready.wait(ANSWER_SECONDS)
        row = trigger(padded).apply(victim.pid)
        assert row.outcome == "failed"
        assert re.search(r"is traced by process \d+, a debugger", row.reason)
    finally:
        done.set()
        thread.join()
    assert trigger(padded).apply(victim.pid).outcome == "patched"


def test_thread_that_does_not_exist():
    def work():
        with custody.Custody(2 ** 22 + 1, 2 ** 22 + 1):
            pass

    with pytest.raises(ThreadEnded):
        custody.held(work)


def test_thread_killed_while_held(padded, start):
    victim = start(padded)
    hold = custody.Custody(victim.pid, victim.pid)

    def work():
        with hold:
            os.kill(victim.pid, signal.SIGKILL)
            time.sleep(0.05)

    custody.held(work)
    assert victim.process.wait(ANSWER_SECONDS) == -signal.SIGKILL


# ------------------------------------------------------------------- killed

# The kernel calls between taking a thread and letting it go; the victim that runs is asked for its rseq area, too.
STEPS = ("SEIZE", "INTERRUPT", "GETREGS", "GETREGSET", "GETSIGMASK", "write", "SETREGS", "SETSIGMASK", "DETACH")

INJECTOR = """
import os, signal, sys
sys.path[:0] = {path!r}
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import read_livepatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.mapped import MappedFiles
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee import diversion, requests
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.interruption import interruption, make_again
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.borrowing import borrow
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import Options
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.trigger import Trigger
step, number, livepatch, pid = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
send, write = requests.send, diversion.process_vm_writev
def sending(request, *arguments):
    result = send(request, *arguments)
    if step != "write" and request == getattr(requests, step):
        os.kill(os.getpid(), number)
    return result
def writing(*arguments):
    result = write(*arguments)
    if step == "write":
        os.kill(os.getpid(), number)
    return result
requests.send, diversion.process_vm_writev = sending, writing
borrow.candidates = lambda pid, round_number=0: [pid]
print(Trigger(read_livepatch(livepatch), MappedFiles(), Options()).apply(pid).outcome)
"""


@pytest.mark.parametrize(
    ("mode", "number"),
    [
        ("nanosleep", signal.SIGKILL), ("nanosleep", signal.SIGTERM), ("nanosleep", signal.SIGINT),
        ("spin", signal.SIGKILL),
    ],
)
@pytest.mark.parametrize("step", STEPS)
def test_injector_dies_after(step, mode, number, padded, start, trigger):
    victim = start(padded, mode)
    script = INJECTOR.format(path=sys.path)
    injector = subprocess.run(
        [sys.executable, "-c", script, step, str(int(number)), str(padded.livepatch), str(victim.pid)],
        check=False, capture_output=True, text=True, timeout=60,
    )
    if number == signal.SIGINT:
        assert "KeyboardInterrupt" in injector.stderr
    else:
        assert injector.returncode == -number, injector
    assert tracer_of(victim.pid) == 0
    victim.goes_on()
    # Whether the request was carried out depends on the step; now it must be.
    row = trigger(padded).apply(victim.pid)
    assert row.outcome in ("patched", "already_patched", "pending"), row
    assert victim.ask("answer") == "5001"
    assert victim.end() == 0


# ---------------------------------------------------------------- registers


@pytest.mark.parametrize(
    ("call", "result", "error", "again"),
    [
        (0, -512, 512, 0),
        (35, -516, 516, 219),
        (34, -514, 514, 34),
        (0, -513, 513, 0),
        (232, -4, 4, 232),
        (426, -4, 4, 426),
        (0, -4, 4, 0),
        (45, -4, 4, 45),
        (3, -4, 0, None),
        (0, 5, 0, None),
        (-1, -512, 0, None),
    ],
)
def test_interrupted_calls(call, result, error, again):
    found = registers.Registers(orig_rax=call % 2**64, rax=result % 2**64, rip=0x1002)
    assert interruption(found) == error
    if error:
        make_again(found, error)
        assert (found.rax, found.rip) == (again, 0x1000)


def test_diverted_registers():
    found = registers.Registers(eflags=0x40F02, cs=0x33)
    found.divert(0x5000, 0x7000)
    assert (found.rip, found.rsp, found.rbx, found.rax) == (0x5000, 0x7000, 0x7000, 0)
    assert found.orig_rax == 2**64 - 1
    assert found.eflags == 0x40F02 & ~(registers.FLAG_TRAP | registers.FLAG_DIRECTION | registers.FLAG_ALIGNMENT)
    assert ctypes.sizeof(found) == 27 * 8


def mapping(start, end, permissions="rw-p", path="", inode=0):
    return Mapping(start, end, permissions, 0, 0, inode, path, False)


GUARD = mapping(0x0F000, 0x10000, "---p")
STACK = mapping(0x10000, 0x20000)


@pytest.mark.parametrize(
    ("mappings", "main", "pointer", "thread_pointer", "room"),
    [
        # its own stack, its control block at the upper end
        ([GUARD, STACK], False, 0x18000, 0x1F000, 0x8000),
        # no guard, although its control block is there: perhaps one of several stacks in one mapping
        ([STACK], False, 0x18000, 0x1F000, 0),
        # an alternate signal stack somewhere in the heap
        ([mapping(0x10000, 0x20000, path="[heap]")], False, 0x18000, 0x1F000, 0),
        # no control block, no guard: perhaps an alternate signal stack
        ([STACK], False, 0x18000, 0x50000, 0),
        # what looks like a guard page may be the end of a heap of malloc
        ([mapping(0x3FFF000, 0x4000000, "---p"), mapping(0x4000000, 0x4100000)], False, 0x4080000, 0x50000, 0),
        # a guard page shows where the mapping ends, but perhaps not the first of several stacks of coroutines in it
        ([GUARD, STACK], False, 0x18000, 0x50000, 0),
        ([mapping(0x10000, 0x20000, path="[stack]")], True, 0x18000, 0x50000, 0x8000),
        ([mapping(0x10000, 0x20000, path="[stack]")], False, 0x18000, 0x50000, 0),
        ([mapping(0x10000, 0x20000, "r--p")], False, 0x18000, 0x1F000, 0),
        ([mapping(0x10000, 0x20000, path="/file", inode=5)], False, 0x18000, 0x1F000, 0),
        ([], True, 0x18000, 0x1F000, 0),
    ],
)
def test_room_on_a_stack(mappings, main, pointer, thread_pointer, room):
    assert stack.room_below(NO_PID, mappings, main, pointer, thread_pointer) == room

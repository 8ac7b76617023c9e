# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Seccomp filters: what they say, and what that means for a process that is to be patched."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time

import pytest
from conftest import compiled

from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import parse_description
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.pack import pack
from ansible_collections.libpulp.livepatch.plugins.module_utils.process import seccomp
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.maps import read_maps
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.procfs import NO_FILTERS, read_system_call
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee import seccomp_filters
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.diversion import Diversion, Errand
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.errors import StepFailed, ThreadRefused
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.glance import glance, registers_in_call
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.rseq import has_rseq
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.seccomp_filters import fetch_filters
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.attaching import attach
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.borrowing import borrow, seccomp_check

ALLOW, ERRNO_EPERM, KILL_PROCESS, KILL_THREAD = "0x7fff0000", "0x50001", "0x80000000", "0"
CLONE, MEMBARRIER, CLONE3, GETITIMER, RSEQ, RESTART_SYSCALL, COPY = "56", "324", "435", "36", "334", "219", "310"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the kernel shows filters to root only")


def program(*instructions):
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in instructions)


RETURN_A = (0x16, 0, 0, 0)


@pytest.mark.parametrize(
    ("instructions", "verdict"),
    [
        ([(0x06, 0, 0, 0x7FFF0000)], 0x7FFF0000),
        # the number, its architecture, and the low half of the second argument
        ([(0x20, 0, 0, 0), RETURN_A], 9),
        ([(0x20, 0, 0, 4), RETURN_A], 0xC000003E),
        ([(0x20, 0, 0, 24), RETURN_A], 0x1000),
        ([(0x80, 0, 0, 0), RETURN_A], 64),
        # if number >= 9 return 1, else 2
        ([(0x20, 0, 0, 0), (0x35, 0, 1, 9), (0x06, 0, 0, 1), (0x06, 0, 0, 2)], 1),
        ([(0x20, 0, 0, 0), (0x25, 0, 1, 9), (0x06, 0, 0, 1), (0x06, 0, 0, 2)], 2),
        ([(0x20, 0, 0, 0), (0x45, 0, 1, 2), (0x06, 0, 0, 1), (0x06, 0, 0, 2)], 2),
        ([(0x05, 0, 0, 1), (0x06, 0, 0, 1), (0x06, 0, 0, 2)], 2),
        # arithmetic: ((9 & 8) << 4) + 1, kept in memory and moved through X
        ([(0x20, 0, 0, 0), (0x54, 0, 0, 8), (0x64, 0, 0, 4), (0x04, 0, 0, 1), (0x02, 0, 0, 3), (0x61, 0, 0, 3),
          (0x87, 0, 0, 0), RETURN_A], 129),
        ([(0x00, 0, 0, 5), (0x07, 0, 0, 0), (0x00, 0, 0, 7), (0x1C, 0, 0, 0), RETURN_A], 2),
        ([(0x00, 0, 0, 1), (0x84, 0, 0, 0), RETURN_A], 0xFFFFFFFF),
    ],
)
def test_programs(instructions, verdict):
    assert seccomp.evaluate(program(*instructions), seccomp.encode(9, (0, 0x1000))) == verdict


def test_programs_that_the_kernel_would_not_take():
    for instructions in ([(0x00, 0, 0, 5)], [(0x40, 0, 0, 5), RETURN_A], [(0xF4, 0, 0, 5), RETURN_A]):
        with pytest.raises(ValueError, match=r"has no end|does not exist|not for seccomp"):
            seccomp.evaluate(program(*instructions), seccomp.encode(9))


@needs_root
def test_filters_are_those_of_the_process(padded, start):
    victim = start(padded, "commands", MEMBARRIER, KILL_PROCESS)
    (fetched,) = fetch_filters(victim.pid, victim.pid)
    assert seccomp.evaluate(fetched, seccomp.encode(int(MEMBARRIER))) == int(KILL_PROCESS, 16)
    assert seccomp.evaluate(fetched, seccomp.encode(0)) == int(ALLOW, 16)
    assert victim.ask("answer") == "20"


# Under a filter that allows everything, it waits in a call that fails merely because its thread was stopped, signal(7).
WAITS = """
import ctypes, os, select, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
code = ctypes.create_string_buffer(struct.pack("<HBBI", 6, 0, 0, 0x7FFF0000), 8)
program = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", 1, ctypes.addressof(code)), 16)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0
epoll = select.epoll()
epoll.register(0, select.EPOLLIN)
print("ready", flush=True)
found = libc.epoll_wait(epoll.fileno(), ctypes.create_string_buffer(12), 1, -1)
print(found, ctypes.get_errno(), flush=True)
"""
EPOLL_WAIT, CLOCK_NANOSLEEP = 232, 230


def shown_filters(pid):
    (fetched,) = fetch_filters(pid, pid)
    assert seccomp.evaluate(fetched, seccomp.encode(0)) == int(ALLOW, 16)


def no_filters_shown(pid):
    with pytest.raises(StepFailed):
        fetch_filters(pid, pid)


def area_for_sequences(pid):
    has_rseq(pid, pid, True, None)


@needs_root
@pytest.mark.parametrize("look_at", [shown_filters, no_filters_shown, area_for_sequences])
def test_wait_that_fails_where_its_thread_was_stopped(look_at, monkeypatch):
    """Guards what a process was waiting for, from a look at its filters. Seen to fail with EINTR, each of them."""
    if look_at is no_filters_shown:
        # As of a kernel that does not show them.
        monkeypatch.setattr(seccomp_filters.requests, "SECCOMP_GET_FILTER", 0x42FF)
        monkeypatch.setitem(seccomp_filters.requests.NAMES, 0x42FF, "PTRACE_SECCOMP_GET_FILTER")
    with subprocess.Popen([sys.executable, "-c", WAITS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            for _time in range(20):
                deadline = time.monotonic() + 60
                while getattr(read_system_call(process.pid, process.pid), "number", None) != EPOLL_WAIT:
                    assert process.poll() is None and time.monotonic() < deadline
                look_at(process.pid)
            process.stdin.write(b"x")
            process.stdin.flush()
            assert process.stdout.readline() == b"1 0\n"
        finally:
            process.kill()


@needs_root
def test_harmless_filter(padded, start, trigger):
    victim = start(padded, "commands", GETITIMER, ERRNO_EPERM)
    assert trigger(padded).apply(victim.pid).outcome == "patched"
    assert victim.ask("answer") == "5001"


@needs_root
def test_filter_with_a_fallback(padded, start, trigger):
    victim = start(padded, "commands", CLONE3, "0x50026")
    assert trigger(padded).apply(victim.pid).outcome == "patched"
    assert victim.ask("answer") == "5001"


@needs_root
@pytest.mark.parametrize("action", [ERRNO_EPERM, KILL_PROCESS])
def test_filter_against_copying(padded, start, trigger, action):
    """The runtime reads the objects' descriptions by another way.

    Seen to fail (the victim ends by SIGSYS) with abi.BLOCK_MAY_COPY for every thread.
    """
    victim = start(padded, "commands", COPY, action)
    assert trigger(padded).apply(victim.pid).outcome == "patched"
    assert victim.ask("answer") == "5001"
    assert trigger(padded).revert(victim.pid).outcome == "reverted"


@needs_root
@pytest.mark.parametrize(
    ("number", "action", "name"),
    [(MEMBARRIER, ERRNO_EPERM, "membarrier"), (MEMBARRIER, KILL_PROCESS, "membarrier"),
     (CLONE3, KILL_PROCESS, "clone3"), ("257", ERRNO_EPERM, "openat")],
)
def test_filter_that_denies(padded, start, trigger, number, action, name):
    victim = start(padded, "commands", number, action)
    row = trigger(padded).apply(victim.pid)
    assert row.outcome == "not_patchable"
    assert f"denies the system call {name}" in row.reason
    assert str(victim.pid) in row.reason
    assert victim.ask("answer") == "20"


@needs_root
def test_filter_that_came_after_rseq(padded, start, trigger, monkeypatch):
    """The C library ends a process in which a thread can't register what the one that starts it has registered.

    Seen to fail (the victim aborts) with rseq merely tolerated.
    """
    victim = start(padded, "commands", RSEQ, ERRNO_EPERM)
    row = trigger(padded).apply(victim.pid)
    assert row.outcome == "not_patchable"
    assert "denies the system call rseq" in row.reason
    assert victim.ask("answer") == "20"

    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0")
    without = start(padded, "commands", RSEQ, ERRNO_EPERM)
    assert trigger(padded).apply(without.pid).outcome == "patched"
    assert without.ask("answer") == "5001"


@needs_root
def test_unknown_filter_that_came_after_rseq(padded, start, trigger, monkeypatch):
    """The same where nobody can examine the filter: the runtime asks the kernel before it starts a thread.

    Seen to fail (the victim aborts) without ulp_restartable_is_denied().
    """
    monkeypatch.setattr(seccomp_check, "may_fetch", lambda: False)
    assuming = trigger(padded, seccomp="assume_errno", retries=3)
    victim = start(padded, "commands", RSEQ, ERRNO_EPERM)
    row = assuming.apply(victim.pid)
    assert (row.outcome, row.changed) == ("failed", False)
    assert "denies the system call rseq" in row.reason
    assert victim.ask("answer") == "20"
    # Its filter has nothing to say about rseq.
    other = start(padded, "commands", GETITIMER, ERRNO_EPERM)
    assert assuming.apply(other.pid).outcome == "patched"

    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0")
    without = start(padded, "commands", RSEQ, ERRNO_EPERM)
    assert assuming.apply(without.pid).outcome == "patched"
    assert without.ask("answer") == "5001"


@needs_root
@pytest.mark.parametrize("mode", ["nanosleep", "poll", "futex"])
def test_sleep_that_may_not_be_gone_on_with(padded, start, trigger, mode):
    """The thread that sleeps is looked at and left alone: its sleep begins anew, and the other thread serves.

    Seen to fail (the victim finds its sleep disturbed) without make_original_call_again() in fetch_filters().
    """
    victim = start(padded, mode, RESTART_SYSCALL, ERRNO_EPERM)
    for _time in range(3):
        assert trigger(padded).apply(victim.pid).outcome == "patched"
        assert victim.ask("answer") == "5001"
        assert trigger(padded).revert(victim.pid).outcome == "reverted"
    assert victim.end() == 0


@needs_root
def test_thread_whose_sleep_may_not_be_gone_on_with_is_not_diverted(padded, start, look):
    """Seen to fail (the victim finds its sleep disturbed) with the thread diverted all the same.

    On a busy machine, ten attempts in a row may find it awake: it is waited for.
    """
    victim = start(padded, "nanosleep", RESTART_SYSCALL, ERRNO_EPERM)
    state = look(victim).state
    refused = 0
    for _time in range(10):
        victim.wait(lambda: getattr(read_system_call(victim.pid, victim.pid), "number", None) == CLOCK_NANOSLEEP,
                    "it sleeps")
        errand = Errand(state.entry, state.request, 0)
        diversion = Diversion(victim.pid, victim.pid, errand, read_maps(victim.pid), restarts=False)
        try:
            diversion.run()
        except ThreadRefused as error:
            assert "restart_syscall" in str(error)
            refused += 1
    assert refused
    assert victim.end() == 0


@needs_root
def test_sleep_that_is_killed_when_gone_on_with(padded, start, trigger):
    """Even a look at the filter holds the thread. Seen to fail (killed) as the test before."""
    victim = start(padded, "nanosleep", RESTART_SYSCALL, KILL_PROCESS)
    row = trigger(padded).apply(victim.pid)
    assert (row.outcome, "denies the system call restart_syscall" in row.reason) == ("not_patchable", True)
    assert victim.end() == 0


@needs_root
@pytest.mark.parametrize("look_at", [
    lambda pid: glance(pid, pid, read_maps(pid)),
    lambda pid: registers_in_call(pid, pid, True, NO_FILTERS),
], ids=["where it is", "its registers"])
def test_sleeper_that_got_its_filter_since_it_was_examined(padded, start, look_at):
    """Whoever stops it for a moment does not know this filter.  Seen to fail: killed by restart_syscall(2)."""
    victim = start(padded, "nanosleep", RESTART_SYSCALL, KILL_PROCESS)
    for _time in range(10):
        victim.wait(lambda: getattr(read_system_call(victim.pid, victim.pid), "number", None) == CLOCK_NANOSLEEP,
                    "it sleeps")
        look_at(victim.pid)
    assert victim.end() == 0


@needs_root
def test_worker_that_a_filter_kills(padded, start, trigger, tmp_path):
    """What it held nobody lets go any more: the next attempt says so, instead of finding the runtime busy for ever.

    The call that is fatal is one of the patch library's own constructor, which nobody foresees.  Seen to fail (3001
    attempts, "is carrying out another request") without ulp_worker_is_lost().
    """
    source, library = tmp_path / "patch.c", tmp_path / "patch.so"
    source.write_text(
        "#include <sys/syscall.h>\n#include <unistd.h>\n"
        f"__attribute__((constructor)) static void made(void) {{ syscall({GETITIMER}, 0, 0); }}\n"
        "int new_answer(int value) { return value + 5000; }\n", encoding="utf-8"
    )
    compiled("-fPIC", "-shared", "-Wl,--build-id", source, "-o", library)
    description, livepatch = tmp_path / "fatal.dsc", tmp_path / "fatal.ulp"
    description.write_text(f"{library}\n@{padded.library}\nanswer:new_answer\n", encoding="utf-8")
    pack(parse_description(description), livepatch)
    layout = padded._replace(livepatch=livepatch)
    victim = start(layout, "commands", GETITIMER, KILL_THREAD)
    assert trigger(layout, timeout=2).apply(victim.pid).outcome == "pending"
    row = trigger(layout).apply(victim.pid)
    assert (row.outcome, row.changed) == ("failed", False)
    assert "was killed at its work; restart the process" in row.reason
    assert victim.ask("answer") == "20"


@needs_root
def test_check_mode_does_not_hold_a_thread_to_look_at_its_filter(padded, start, trigger, monkeypatch):
    from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee import requests

    victim = start(padded, "commands", MEMBARRIER, ERRNO_EPERM)
    monkeypatch.setattr(requests, "send", None)
    monkeypatch.setattr(requests, "require_binding", lambda: None)
    row = trigger(padded, check=True).apply(victim.pid)
    assert row.outcome == "patched"
    assert "is only looked at when the livepatch is applied" in row.reason


@needs_root
def test_filter_that_cannot_be_examined(padded, start, trigger, monkeypatch):
    """Refused without holding any thread, in check mode too; patched if the user says what the filter does."""
    victim = start(padded, "commands", GETITIMER, ERRNO_EPERM)
    free = start(padded)
    monkeypatch.setattr(seccomp_check, "may_fetch", lambda: False)
    monkeypatch.setattr(seccomp_check, "fetch_filters", None)
    for check in (True, False):
        row = trigger(padded, check=check).apply(victim.pid)
        assert (row.outcome, row.held_us) == ("not_patchable", None)
        assert "seccomp filter that cannot be examined from here" in row.reason
    assert victim.ask("answer") == "20"
    assert trigger(padded, check=True, seccomp="assume_errno").apply(victim.pid).outcome == "patched"
    assert trigger(padded, seccomp="assume_errno").apply(victim.pid).outcome == "patched"
    assert victim.ask("answer") == "5001"
    assert trigger(padded).apply(free.pid).outcome == "patched"


@needs_root
def test_who_may_examine_filters(as_nobody):
    """Root of the machine may, but not in a user namespace, nor under a filter (see the tests with podman)."""
    assert seccomp_filters.may_fetch()
    assert as_nobody(seccomp_filters.may_fetch) == "False"


@needs_root
@pytest.mark.parametrize("preload", [True, False], ids=["borrowed", "attached"])
@pytest.mark.parametrize("before", [None, (GETITIMER, ERRNO_EPERM)], ids=["its first", "one more"])
def test_filter_that_comes_after_the_look(padded, start, trigger, runtime, monkeypatch, preload, before):
    """A sandbox that is set up between the look at a thread's filters and the moment in which it is held.

    Seen to fail (the victim ends by SIGSYS), as a session of sshd did that was just being shut away.
    """
    victim = start(padded, "commands", *(before or ()), preload=preload)
    asking = attach if not preload else borrow
    looked = []

    def look_and_be_late(*arguments):
        permitted = seccomp_check.require_permitted(*arguments)
        if not looked:
            assert victim.ask(f"filter {CLONE} {KILL_PROCESS}") == "filtered"
        looked.append(permitted)
        return permitted

    monkeypatch.setattr(asking, "require_permitted", look_and_be_late)
    row = trigger(padded, runtime=str(runtime / "libpulp.so")).apply(victim.pid)
    assert (row.outcome, row.changed) == ("not_patchable", False), row
    assert "denies the system call clone" in row.reason
    assert len(looked) == 1
    assert victim.ask("answer") == "20"

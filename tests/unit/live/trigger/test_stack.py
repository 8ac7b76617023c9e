# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread that has too little stack left is not diverted, whatever lies below its stack."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.arch.address_space import PAGE_SIZE
from ansible_collections.libpulp.livepatch.plugins.module_utils.process import procfs
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.maps import read_maps
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.borrowing import borrow

READ, PAUSE = 0, 34
TINY, SMALL, LARGE = 1 << 14, 1 << 15, 1 << 20
LIMIT = 1 << 20


@pytest.fixture(name="only")
def fixture_only(monkeypatch):
    """A function that lets no thread be borrowed but one."""
    return lambda tid: monkeypatch.setattr(borrow, "candidates", lambda pid, round_number=0: [tid])


def switches(victim, thread):
    """How often the thread has been taken off its processor; one that sleeps is when it is stopped and goes on."""
    text = Path(f"/proc/{victim.pid}/task/{thread}/status").read_text(encoding="ascii")
    return sum(int(line.split()[1]) for line in text.splitlines() if "ctxt_switches:" in line)


def test_main_thread_near_the_limit_of_its_stack(padded, start, trigger):
    """Guards the limit to which the kernel lets a stack grow (RLIMIT_STACK).

    Seen to fail, with a victim that died by SIGSEGV, when the main stack counted as growing without one.
    """
    victim = start(padded, wrap=("prlimit", f"--stack={LIMIT}"))
    assert victim.ask("deep") == "deep"
    row = trigger(padded, retries=3).apply(victim.pid)
    assert victim.ask("answer") == "20"
    assert (row.outcome, row.changed) == ("failed", False)
    assert "has too little stack left" in row.reason
    assert victim.end() == 0


def test_main_thread_with_enough_below(padded, start, trigger):
    victim = start(padded, wrap=("prlimit", "--stack=unlimited"))
    assert trigger(padded).apply(victim.pid).outcome == "patched"
    assert victim.end() == 0


@pytest.mark.parametrize("attach", [False, True])
def test_main_thread_where_its_stack_ends_so_far(padded, start, trigger, runtime, attach):
    """Guards programs that wait, or compute, where their stack is deepest: it grows when somebody writes below.

    Seen to fail with *has too little stack left*, as it did for every other program of deep recursion.
    """
    victim = start(padded, preload=not attach)
    victim.send("edge")
    victim.wait(lambda: is_at_the_edge(victim), "it waits at the end of its stack")
    row = trigger(padded, attach=attach, runtime=str(runtime / "libpulp.so"), retries=20).apply(victim.pid)
    assert row.outcome == "patched", row.reason
    victim.process.stdin.write(b"x")
    victim.process.stdin.flush()
    assert victim.receive() == "back"
    assert victim.ask("answer") == "5001"
    assert victim.end() == 0


def is_at_the_edge(victim):
    """Whether the main thread waits with less of its stack mapped below than a page."""
    where = procfs.read_system_call(victim.pid, victim.pid)
    (stack,) = (mapping for mapping in read_maps(victim.pid) if mapping.path == "[stack]")
    return where is not None and where.number == READ and where.stack_pointer - stack.start < PAGE_SIZE


def assert_left_alone(victim, thread, patch):
    """An apply to a victim of which nobody else can be borrowed stops not even ``thread``, and changes nothing."""
    before = switches(victim, thread)
    row = patch.apply(victim.pid)
    assert switches(victim, thread) == before
    assert victim.ask("damage") == "0"
    assert (row.outcome, row.changed) == ("failed", False)
    assert "on a stack whose end cannot be told" in row.reason
    assert victim.end() == 0


def test_stack_without_a_guard_page(padded, start, trigger, only):
    """Guards what the program keeps below a stack that it brought itself (pthread_attr_setstack(3)).

    Seen to fail, with 1,500 bytes of it overwritten, when the mapping's start counted as the stack's.  Such a thread is
    not even stopped: seen to fail, 20 switches later, without has_no_known_end().
    """
    victim = start(padded)
    thread = victim.start_thread(f"part {SMALL}", PAUSE)
    only(thread)
    assert_left_alone(victim, thread, trigger(padded, retries=3))


def test_stack_of_one_of_several_coroutines(padded, start, trigger, only):
    """Guards stacks that lie one above the other in one mapping, with one guard page for all.

    Seen to fail, with 900 bytes of the other one overwritten, when a guard page below the mapping was enough.  Nor is
    such a thread stopped: seen to fail, eight switches later, without has_no_known_end().
    """
    victim = start(padded)
    thread = victim.start_thread("coroutine", PAUSE)
    only(thread)
    assert_left_alone(victim, thread, trigger(padded, retries=3))


def knows_guard_regions():
    """Whether the kernel shows guard regions in the page map, as from Linux 6.15 on."""
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2]) >= (6, 15)


@pytest.mark.skipif(not knows_guard_regions(), reason="the kernel does not tell where guard regions are")
@pytest.mark.parametrize(("size", "outcome"), [(SMALL, "failed"), (LARGE, "patched")])
def test_stack_with_a_guard_region(padded, start, trigger, only, size, outcome):
    """Guards threads of a C library whose guard pages are no mappings of their own (glibc 2.42, madvise(2)).

    Seen to fail, with a victim that died by SIGSEGV, when the mapping's start counted as the stack's.
    """
    victim = start(padded)
    only(victim.start_thread(f"part {size} guarded", PAUSE))
    row = trigger(padded, retries=3).apply(victim.pid)
    assert victim.ask("damage") == "0"
    assert row.outcome == outcome, row
    assert victim.end() == 0


@pytest.mark.parametrize(("size", "outcome"), [(TINY, "failed"), (LARGE, "patched")])
def test_alternate_stack_in_a_frame_of_the_thread(padded, start, trigger, only, size, outcome):
    """Guards what a signal interrupted, whose frames begin right below an alternate stack on the thread's own stack.

    Seen to fail, with 1,500 bytes of them overwritten, when the mapping's start counted as the stack's.
    """
    victim = start(padded)
    tid = victim.start_thread(f"alternate {size}", PAUSE)
    victim.ask("interrupt")

    def handled():
        where = procfs.read_system_call(victim.pid, tid)
        return where is not None and where.number == READ

    victim.wait(handled, "the signal is being handled")
    only(tid)
    row = trigger(padded, retries=3).apply(victim.pid)
    assert victim.ask("damage") == "0"
    assert row.outcome == outcome, row
    victim.ask("return")
    assert victim.end() == 0

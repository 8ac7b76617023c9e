# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which threads are pending, found out without touching any."""

from __future__ import annotations

import os
import struct
import time

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.process import migration, procfs
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.migration import Inside, first_inside
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.operations.settle import LOOK_SECONDS

READ, PAUSE = 0, 34


def once_alone(trigger, victim, threads):
    """The Row of a look at a victim that has so many threads when the runtime's own, which may be running, is gone."""
    victim.wait_for_threads(threads)
    return trigger.check(victim.pid)


def test_thread_inside_the_library_is_pending_until_it_leaves(layout, start, trigger):
    victim = start(layout)
    victim.start_thread("inside", READ)
    assert trigger(layout).apply(victim.pid).outcome == "pending"
    row = once_alone(trigger(layout), victim, 2)
    # Its stack is a thread's, and no coroutine's besides.
    assert (row.outcome, row.threads, row.threads_pending, row.coroutines) == ("pending", 2, 1, 0)
    assert f"1 of 2 threads of process {victim.pid}" in row.reason
    assert victim.ask("answer") == "5001"
    assert trigger(layout).check(victim.pid).outcome == "pending"
    assert victim.ask("release") == "20"
    row = trigger(layout).check(victim.pid)
    assert (row.outcome, row.threads, row.threads_pending) == ("already_patched", 1, 0)


def test_thread_outside_with_a_pointer_into_the_library_is_not_pending(layout, start, trigger):
    victim = start(layout)
    victim.start_thread("outside", PAUSE)
    assert trigger(layout).apply(victim.pid).outcome == "patched"
    row = once_alone(trigger(layout), victim, 2)
    assert (row.outcome, row.threads, row.threads_pending) == ("already_patched", 2, 0)


def test_pointers_count_where_nothing_else_can_be_told(layout, start, trigger, files, monkeypatch):
    victim = start(layout)
    victim.start_thread("outside", PAUSE)
    from ansible_collections.libpulp.livepatch.plugins.module_utils.process.errors import StateUnreadable
    from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.judgement import progress

    def unreadable(pid, *_arguments):
        raise StateUnreadable(pid, "no")

    monkeypatch.setattr(progress, "entry_points", unreadable)
    monkeypatch.setattr(progress, "unwind_as_far_as_told", lambda *_arguments: None)
    assert trigger(layout).apply(victim.pid).outcome == "pending"
    row = once_alone(trigger(layout), victim, 2)
    assert (row.outcome, row.threads_pending) == ("pending", 1)
    assert trigger(layout).check(victim.pid).threads_pending == 1


def wait_until_in_handler(victim, tid, before=None):
    """:param before: the stack pointer with which the thread was blocked in the same call."""

    def handled():
        where = procfs.read_system_call(victim.pid, tid)
        return where is not None and where.number == READ and where.stack_pointer != before

    victim.wait(handled, "the signal is being handled")


@pytest.mark.parametrize("place", ["elsewhere", "above"])
def test_thread_in_a_handler_on_an_alternate_stack(layout, start, trigger, place):
    """The library's frames are not on the stack that the thread is on, or lie below its stack pointer."""
    victim = start(layout)
    tid = victim.start_thread(f"handler {place}", READ)
    before = procfs.read_system_call(victim.pid, tid).stack_pointer
    victim.ask("interrupt")
    wait_until_in_handler(victim, tid, before)
    assert trigger(layout).apply(victim.pid).outcome == "pending"
    row = once_alone(trigger(layout), victim, 2)
    assert (row.outcome, row.threads_pending) == ("pending", 1)
    victim.ask("return")
    assert victim.ask("release") == "20"
    assert trigger(layout).check(victim.pid).outcome == "already_patched"


def test_stale_words_are_no_frames(layout, start, trigger):
    """Guards the look at the frames where a word on the stack leads into the library.

    Seen to fail (pending) without unwound().
    """
    victim = start(layout)
    victim.start_thread("stale", PAUSE)
    assert trigger(layout).apply(victim.pid).outcome == "patched"
    row = once_alone(trigger(layout), victim, 2)
    assert (row.outcome, row.threads, row.threads_pending) == ("already_patched", 2, 0)


def test_stale_words_below_a_signal_frame(layout, start, trigger):
    """The frames lead from the handler's stack to the one that it interrupted.

    Seen to fail (pending) without _interrupted().
    """
    victim = start(layout)
    tid = victim.start_thread("handler stale", PAUSE)
    victim.ask("interrupt")
    wait_until_in_handler(victim, tid)
    assert trigger(layout).apply(victim.pid).outcome == "patched"
    row = once_alone(trigger(layout), victim, 2)
    assert (row.outcome, row.threads, row.threads_pending) == ("already_patched", 2, 0)


def test_stale_words_count_where_the_frames_cannot_be_told(layout, start, trigger):
    """A frame that hangs on a register nobody has saved: not known is not outside.

    Seen to fail (patched) with the frames found so far given back by unwind().
    """
    victim = start(layout)
    victim.start_thread("frame pointer", PAUSE)
    assert trigger(layout).apply(victim.pid).outcome == "pending"
    row = once_alone(trigger(layout), victim, 2)
    assert (row.outcome, row.threads, row.threads_pending) == ("pending", 2, 1)


def test_stale_words_where_the_frames_are_known(layout, start, trigger):
    """A large array in a frame that code without unwind information has called: what lies in it is known to be none.

    Seen to fail (pending, for as long as the thread waits) with all words of such a stack searched.
    """
    victim = start(layout)
    victim.start_thread("below undescribed", PAUSE)
    assert trigger(layout).apply(victim.pid).outcome == "patched"
    row = once_alone(trigger(layout), victim, 2)
    assert (row.outcome, row.threads, row.threads_pending) == ("already_patched", 2, 0)


def test_stale_words_beyond_code_without_unwind_information(layout, start, trigger):
    """They count, and the row says what they are."""
    victim = start(layout)
    victim.start_thread("above undescribed", PAUSE)
    assert trigger(layout).apply(victim.pid).outcome == "pending"
    row = once_alone(trigger(layout), victim, 2)
    assert (row.outcome, row.threads, row.threads_pending) == ("pending", 2, 1)
    assert "the frames of 1 of them cannot all be told" in row.reason


def test_signal_frames_across_two_pieces(layout, start, trigger, monkeypatch):
    monkeypatch.setattr(migration, "CHUNK", 8)
    test_thread_in_a_handler_on_an_alternate_stack(layout, start, trigger, "elsewhere")


def test_memory_right_behind_a_stack_is_none_of_it(layout, start, trigger):
    """Guards that the search ends at the thread's control block.

    Seen to fail (pending) when it goes on into whatever mapping follows.
    """
    victim = start(layout)
    victim.start_thread("below", PAUSE)
    assert trigger(layout).apply(victim.pid).outcome == "patched"
    row = once_alone(trigger(layout), victim, 2)
    assert (row.outcome, row.threads, row.threads_pending) == ("already_patched", 2, 0)


def test_thread_that_never_sleeps_is_asked(layout, start, trigger):
    """A thread that computes for ever enters no library: borrowed itself, it looks at its stack and catches up.

    Seen to fail (pending for good) without _asking(), and without ulp_universe_catch_up().
    """
    victim = start(layout)
    victim.start_thread("spinning", None)
    for _time in range(2):
        # Where it gets no processor within two seconds, the row says so, and that another run makes sure.
        outcomes = [trigger(layout).apply(victim.pid).outcome]
        while outcomes[-1] == "pending" and len(outcomes) < 10:
            outcomes.append(trigger(layout).apply(victim.pid).outcome)
        assert outcomes[-1] in ("patched", "already_patched")
        row = once_alone(trigger(layout), victim, 2)
        assert (row.outcome, row.threads_pending) == ("already_patched", 0)
        while trigger(layout).revert(victim.pid).outcome == "pending":
            assert len(outcomes) < 20
            outcomes.append("pending")


def test_thread_that_computes_inside_is_told_to_run(layout, start, trigger):
    """Seen to fail ("may still be inside the library") without about_pending()'s look at those that run."""
    victim = start(layout)
    victim.start_thread("compute inside", None)
    assert trigger(layout).apply(victim.pid).outcome == "pending"
    row = once_alone(trigger(layout), victim, 2)
    assert (row.outcome, row.threads_pending) == ("pending", 1)
    assert "kept running whenever we looked" in row.reason
    assert victim.ask("release") == "20"
    assert trigger(layout).apply(victim.pid).outcome == "already_patched"


def test_call_that_the_library_waits_for_is_told_to_last(layout, start, trigger):
    """A main loop of the library's, or start code below main(): "when they next enter it" is never.

    Seen to fail without _called_back().
    """
    victim = start(layout)
    victim.start_thread("called back", READ)
    row = trigger(layout).apply(victim.pid)
    assert (row.outcome, row.threads_pending) == ("pending", 1)
    never = "1 of them will never take it while the call lasts in which the library has called the program back"
    assert never in row.reason
    assert victim.ask("release") == "20"
    victim.start_thread("inside", READ)
    row = trigger(layout).revert(victim.pid)
    assert (row.outcome, row.threads_pending) == ("pending", 1)
    assert "never" not in row.reason
    assert victim.ask("release") == "5001"


def test_thread_that_began_in_the_library_is_told_to_stay(layout, start, trigger):
    """As a library's own threads do: what they enter when they have left it, nobody will see.

    Seen to fail: they *take the livepatch when they have left it and enter it again*, and not a word more.
    """
    victim = start(layout)
    victim.start_thread("begin inside", READ)
    row = trigger(layout).apply(victim.pid)
    assert (row.outcome, row.threads_pending) == ("pending", 1)
    assert "1 of them began in the library, as its own threads do, and will never take it" in row.reason
    assert victim.ask("release") == "20"
    assert trigger(layout).check(victim.pid).outcome == "already_patched"
    victim.start_thread("inside", READ)
    row = trigger(layout).revert(victim.pid)
    assert (row.outcome, row.threads_pending) == ("pending", 1)
    assert "began in the library" not in row.reason
    assert victim.ask("release") == "5001"


def test_running_thread_is_waited_for_beside_one_that_is_inside(padded, start, trigger, monkeypatch):
    """Guards a thread that is on its way to rest when the livepatch is there, as a borrowed one is on a busy machine.

    Seen to fail (pending for good, when nobody is inside any more) with no time for it while another one is inside.
    """
    victim = start(padded)
    late = victim.start_thread("outside", PAUSE)
    victim.start_thread("inside", READ)
    original = migration._Census.outside
    since = []

    def outside(census, tid):
        if tid != late:
            return original(census, tid)
        since.append(time.monotonic())
        return None if since[-1] - since[0] < 2 * LOOK_SECONDS else original(census, tid)

    monkeypatch.setattr(migration._Census, "outside", outside)
    assert trigger(padded).apply(victim.pid).outcome == "pending"
    assert victim.ask("release") == "20"
    victim.wait_for_threads(2)
    assert trigger(padded).check(victim.pid).outcome == "already_patched"


def test_revert_leaves_the_same_thread_pending(layout, start, trigger):
    victim = start(layout)
    assert trigger(layout).apply(victim.pid).outcome == "patched"
    victim.start_thread("inside", READ)
    assert trigger(layout).revert(victim.pid).outcome == "pending"
    row = once_alone(trigger(layout), victim, 2)
    assert (row.outcome, row.threads_pending) == ("pending", 1)
    assert victim.ask("release") == "5001"
    assert victim.ask("answer") == "20"
    assert trigger(layout).check(victim.pid).outcome == "reverted"


def test_waiting_until_all_have_migrated(padded, start, trigger, monkeypatch):
    victim = start(padded)
    victim.start_thread("inside", READ)
    looks = []

    def examine(census, threads):
        """Have the thread come out when it has been seen inside."""
        judged = original(census, threads)
        if judged.kept and not looks:
            looks.append(victim.ask("release"))
        return judged

    original = migration._Census.examine
    monkeypatch.setattr(migration._Census, "examine", examine)
    row = trigger(padded, wait_migrated=120).apply(victim.pid)
    assert (row.outcome, row.threads_pending) == ("patched", 0)
    assert looks == ["20"]


def test_waiting_ends(padded, start, trigger):
    victim = start(padded)
    victim.start_thread("inside", READ)
    started = time.monotonic()
    assert trigger(padded, wait_migrated=0.3).apply(victim.pid).outcome == "pending"
    assert time.monotonic() - started >= 0.3


def test_record_of_an_earlier_thread_with_the_same_number_does_not_count(padded, start, trigger, look, monkeypatch):
    victim = start(padded)
    victim.start_thread("inside", READ)
    assert trigger(padded).apply(victim.pid).threads_pending == 1
    subject = look(victim)
    tid = max(procfs.thread_ids(victim.pid))
    census = migration._Census(subject, subject.state.patches[0], Inside(((0, 1),), frozenset))
    born_later = procfs.read_stat(victim.pid, tid).start_ticks + 100 * procfs.CLOCK_TICKS
    assert victim.ask("release") == "20"
    assert victim.ask("answer") == "5001"
    main = {victim.pid: procfs.read_stat(victim.pid).start_ticks}
    assert census.numbers(census.records(main)) == {victim.pid: 1}
    assert census.records({victim.pid: born_later}) == {}


def ranges(*pairs):
    return Inside(pairs, lambda: frozenset((0x7F0012345678,)))


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((1, 2, 3), None),
        ((0x7F0012345000,), 0x7F0012345000),
        ((0x7F0012344FFF, 0x7F0012346000), None),
        ((5, 0x7F0012345FFF), 0x7F0012345FFF),
        ((0x7F0012345678,), None),
        ((0x7F0013000000, 0x7F0014000000), 0x7F0014000000),
    ],
)
def test_words_on_a_stack(words, found):
    data = struct.pack(f"<{len(words)}Q", *words)
    inside = ranges((0x7F0012345000, 0x7F0012346000), (0x7F0013FFFFFF, 0x7F0014000001))
    assert first_inside(data, inside) == found


def test_words_are_aligned():
    data = b"\0" + struct.pack("<Q", 0x7F0012345000) + b"\0" * 7
    assert first_inside(data, ranges((0x7F0012345000, 0x7F0012346000))) is None


@pytest.mark.parametrize(("extent", "random"), [
    ((0x7F0000FFF000, 0x7F0003001000), 4), ((0x7F0000FFFF00, 0x7F000103FEF0), 3), ((0x7F0000FFFF00, 0x7F000103FF01), 3),
    ((0x7F0000FFFFF0, 0x7F0001000010), 1),
])
def test_search_agrees_with_a_plain_loop(extent, random):
    """Guards the search for wide and narrow ranges, which begin and end within a block; seen to fail off by one."""
    inside = ranges(extent)
    count = 0
    for _round in range(200):
        data = bytearray(os.urandom(512))
        for position in range(0, 512, 8):
            middle = (extent[0] + data[position] * (extent[1] - extent[0]) // 200 - 0x20) & -1 << 8 * random
            data[position + random:position + 8] = (middle >> 8 * random).to_bytes(8 - random, "little")
        expected = [
            word for (word,) in struct.iter_unpack("<Q", data)
            if any(start <= word < end for start, end in inside.ranges) and word not in inside.entry_points()
        ]
        count += len(expected)
        assert (first_inside(bytes(data), inside) in expected) if expected else first_inside(data, inside) is None
    assert count > 20


def test_main_thread_that_has_ended(layout, start, trigger, look):
    victim = start(layout, "orphan")
    while procfs.read_stat(victim.pid).state != "Z":
        time.sleep(0.01)
    assert look(victim).proc_tid != victim.pid
    # On a busy machine the thread may be on its way to its next wait for long.
    patient = trigger(layout, wait_migrated=20)
    row = patient.apply(victim.pid)
    assert row.outcome == "patched", row
    # /proc goes on listing the main one.
    assert once_alone(patient, victim, 2).threads == 1
    assert victim.ask("answer") == "5001"
    assert patient.revert(victim.pid).outcome == "reverted"
    assert victim.ask("answer") == "20"


def test_a_universe_is_settled_only_when_no_thread_is_behind_it(layout, start, trigger, look, files):
    from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.drive import drive
    from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.judgement.progress import (
        NOTHING_SETTLED,
        settled_universe,
    )

    def settled(domain):
        return drive(settled_universe(look(victim), domain, files))

    victim = start(layout)
    assert settled(None) == NOTHING_SETTLED
    victim.start_thread("inside", READ)
    trigger(layout).apply(victim.pid)
    assert settled(0) == NOTHING_SETTLED
    assert victim.ask("release") == "20"
    # A thread that still runs, on its way to its next wait, can't be told yet.
    victim.wait(lambda: settled(0) != NOTHING_SETTLED, "it can be told")
    assert settled(0).universe == 1

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the threads of a process that have not reached a universe yet, without stopping any.

A thread that passed the library's entry check has a record in the runtime's
thread table, which leads to its own number.  A thread with an older number, or
without a record, is judged by its stack: if no word from the stack pointer up
to the end of the stack lies in the library's code, it is outside the library.
That it takes the newest number at its next entry is certain only once the
runtime was told (trigger.operations.settle), since not every entry can prove by itself
where it comes from.  Until then it is pending too.

That is sound, not exact: an old word that lies about on the stack looks like a
return address.  So where there is one, the stack is unwound (unwinder), which
tells the frames from the rest.  Where that does not lead to the end of the stack,
the words beyond decide, and the thread counts as pending until they are overwritten.
"""

from __future__ import annotations

import struct
import time
from functools import cached_property
from typing import Callable

from .. import abi
from ..arch.frames import RED_ZONE, RESOLVER_SIZE, SIGNAL_POINTERS_SIZE, signal_pointers
from ..elf.ranges import joined
from ..named_tuple import NamedTuple
from .control_block import has_control_block
from .errors import ProcessGone, StateUnreadable
from .maps import MemoryMap, end_of_mapping, is_continued
from .memory import read_memory, read_ranges
from .namespaces import boot_time_ahead, inner_thread_id, shares_pid_namespace
from .procfs import (
    CLOCK_TICKS,
    ENDED_STATES,
    PF_IO_WORKER,
    SystemCall,
    read_stat,
    read_system_call,
    thread_ids,
    times_run,
)
from .unwinder import Unwound
from .words import lies_in, words_in

# A thread that runs is looked at again after so many seconds.
SAMPLE_SECONDS = 0.001
# Bytes of stack read at once, and the most that is read of one thread.
CHUNK = 1 << 18
STACK_LIMIT = 1 << 26

# At most this many threads are looked at each with a reading of the map of its own. Reading it takes time in
# proportion to the number of mappings, and so of threads: for every one of many that would be the square.
_FEW = 16
# Or as many more as cost so many lines of the map altogether: of a busy process each thread has run when the map is
# read again.
_MOST_LINES = 1 << 19


class Migration(NamedTuple):
    """How far the threads of a process are."""

    threads: int
    pending: tuple[int, ...]  # TIDs; as long as any thread is inside, or may be, only of those
    unsettled: bool = False  # the pending ones are outside: all that they need is to be settled
    running: tuple[int, ...] = ()  # TIDs of the pending ones of which no more could be told than that they were running
    inner: tuple[int, ...] = ()  # the pending ones, as TIDs in the process's own PID namespace


class _Evidence:
    """By what a thread was seen outside; it holds for as long as the map says the same."""

    def __init__(self):
        self.times_run = None  # procfs.times_run() then
        self.places = []  # pairs of an address and what MemoryMap.around() gave for it
        self.code = None  # the executable mappings, if they had a part in it

    def agrees(self, memory_map):
        """Whether another maps.MemoryMap says the same."""
        return all(memory_map.around(address) == lines for address, lines in self.places) and (
            self.code is None or self.code == memory_map.code
        )


class _Judgement(NamedTuple):
    """Which threads were not seen to have migrated, and why not: sets of TIDs."""

    kept: set  # inside, or to be settled was not enough for them
    unknown: set  # running
    outside: set  # not settled

    @property
    def behind(self):
        return self.kept | self.unknown | self.outside

    @property
    def migration(self):
        """The Migration, but for the count of threads."""
        pending = self.kept | self.unknown or self.outside
        unsettled = bool(pending) and pending == self.outside
        return Migration(0, tuple(sorted(pending)), unsettled, tuple(sorted(self.unknown)))


class Inside(NamedTuple):
    """What counts as being inside: address ranges (start, end), and words that do not count although in range.

    The ranges ascend and are disjoint.
    """

    ranges: tuple[tuple[int, int], ...]
    entry_points: Callable[[], frozenset]  # asked only when such a word turns up
    # Gives the unwinder.Unwound of a thread blocked at a procfs.SystemCall, by the executable mappings.
    frames: Callable[[SystemCall, list], Unwound | None] = lambda _where, _mappings: None


def inside_domain(state, domain, entry_points, frames, way_in=()):
    """The Inside of one domain.

    :param state: runtime.RuntimeState.
    :param domain: index of the domain.
    :param entry_points: function that gives the addresses through which a *new* entry leads into the
        domain's libraries: pointers to functions, which threads may well keep on their stacks.
    :param frames: function that gives the frames of a blocked thread, see Inside.
    :param way_in: addresses of single instructions that lead into functions without padding, see sites.way_in().
    """
    libraries = [library for library in state.libraries if library.domain == domain]
    ranges = [extent for library in libraries for extent in library.inside]
    # A thread may have jumped out of the library as its last act, and the loader be looking for where that leads.
    ranges += {(library.resolver, library.resolver + RESOLVER_SIZE) for library in libraries if library.resolver}
    ranges += [(patch.text_start, patch.text_end) for patch in state.patches if patch.domain == domain]
    ranges.append((state.text_start, state.text_end))
    ranges += [(address, address + 1) for address in way_in]
    return Inside(tuple(joined(ranges)), entry_points, frames)


def counts(word, inside):
    """Whether ``word``, found on a stack, may be an address to return to inside."""
    return lies_in(word, inside.ranges) and word not in inside.entry_points()


def first_inside(data, inside):
    """A word (8 bytes) of ``data`` that counts, or None."""
    return next((word for _position, word in words_in(data, inside.ranges) if word not in inside.entry_points()), None)


class _Census:
    """One process's threads, examined again and again until all is known or time is over."""

    def __init__(self, subject, patch, inside, *, by_stack=False):
        self.pid = subject.pid
        self.proc_tid = subject.proc_tid
        self.state = subject.state
        self.domain = patch.domain
        self.universe = patch.universe
        self._inside = inside
        self.by_stack = by_stack

    @cached_property
    def inside(self):
        """The Inside of the domain."""
        return self._inside()

    @cached_property
    def renumbered(self):
        """Whether the process numbers its threads otherwise than we do."""
        return not shares_pid_namespace(self.proc_tid)

    @cached_property
    def ahead(self):
        """Nanoseconds by which its clock is ahead of ours."""
        return boot_time_ahead(self.proc_tid)

    def survivors(self):
        """{TID: start in clock ticks after boot} of the threads that are alive."""
        alive = {}
        for tid in thread_ids(self.pid):
            try:
                stat = read_stat(self.pid, tid)
            except ProcessGone:
                continue
            if stat.state not in ENDED_STATES and not stat.flags & PF_IO_WORKER:
                alive[tid] = stat.start_ticks
        return alive

    def inner(self, tid):
        """The TID that thread ``tid`` has for itself; raises ProcessGone."""
        return inner_thread_id(self.pid, tid) if self.renumbered else tid

    def inner_of(self, tids):
        """The same for several; without those that have ended."""
        found = []
        for tid in tids:
            try:
                found.append(self.inner(tid))
            except ProcessGone:
                continue
        return tuple(found)

    def records(self, threads):
        """{TID: abi.THREAD record} of those ``threads`` ({TID: start}) that have a valid one."""
        keys = []
        for tid in threads:
            try:
                keys.append((tid, self.inner(tid)))
            except ProcessGone:
                continue
        size = abi.THREAD_WAYS * abi.THREAD.size
        sets = read_ranges(self.proc_tid, [
            (self.state.threads + inner % abi.THREAD_SETS * size, size) for _tid, inner in keys
        ])
        found = {}
        for (tid, inner), data in zip(keys, sets):
            # /proc counts in clock ticks: a record made within the thread's first tick may look older.
            born = (threads[tid] - 1) * 1000000000 // CLOCK_TICKS + self.ahead
            for record in abi.THREAD.unpack_array(data, 0, abi.THREAD_WAYS):
                if record.tid == inner and record.born_ns >= born:
                    found[tid] = record
        return found

    def numbers(self, records):
        """{TID: universe number} for threads with a record; a thread that ended meanwhile is left out."""
        offset = self.state.domains[self.domain].tls_offset
        found = {}
        for tid, record in records.items():
            try:
                data = read_memory(self.proc_tid, record.thread_pointer + offset, 8)
            except StateUnreadable:
                # The thread has ended and its memory is gone.
                continue
            found[tid] = struct.unpack("<Q", data)[0]
        return found

    def outside_of(self, tids):
        """Whether each of the threads is outside, {TID: as outside()}; without those that have ended."""
        found = {}
        if len(tids) > _FEW:
            memory_map = MemoryMap(self.proc_tid)
            found, tids = self.outside_by(memory_map, tids)
            # They run often: those for whom there is no time are looked at again like all that were running.
            found.update((tid, None) for tid in tids)
            tids = tids[:max(_MOST_LINES // len(memory_map.lines), _FEW)]
        for tid in tids:
            try:
                found[tid] = self.outside(tid)
            except ProcessGone:
                found.pop(tid, None)
        return found

    def outside_by(self, memory_map, tids):
        """The same by one reading of the map, and the list of those who ran before that could be confirmed."""
        found = {}
        evidence = {}
        for tid in tids:
            seen = _Evidence()
            try:
                found[tid] = self.outside(tid, memory_map, seen)
            except ProcessGone:
                continue
            if found[tid]:
                evidence[tid] = seen
        # Whoever has not run since was where it was while the map is read again.
        later = MemoryMap(self.proc_tid)
        return found, [
            tid for tid, seen in evidence.items() if self.has_run(tid, seen.times_run) or not seen.agrees(later)
        ]

    def has_run(self, tid, before):
        """Whether thread ``tid`` has run since times_run() gave ``before``, or has ended."""
        try:
            return times_run(self.pid, tid) != before
        except ProcessGone:
            return True

    def outside(self, tid, memory_map=None, seen=None):
        """True: the thread's stack shows it outside.  False: inside, or it may be.  None: it was running.

        :param memory_map: maps.MemoryMap; read while the thread is where it is when None.
        :param seen: an _Evidence, which is filled in.
        """
        seen = seen or _Evidence()
        seen.times_run = times_run(self.pid, tid)
        where = read_system_call(self.pid, tid)
        if where is None:
            return None
        memory_map = memory_map or MemoryMap(self.proc_tid)
        found = self.search(where, memory_map, seen) and not self.unwound(where, memory_map, seen)
        # It has not run in between, so what was read belongs together.
        if read_system_call(self.pid, tid) != where or times_run(self.pid, tid) != seen.times_run:
            return None
        return not found

    def unwound(self, where, memory_map, seen):
        """Whether the frames of a thread blocked at ``where`` (procfs.SystemCall) show it outside.

        Up to where they can be told other words are none, in whatever arrays they lie.
        """
        seen.code = memory_map.code
        told = self.inside.frames(where, memory_map.code)
        if told is None or any(lies_in(address, self.inside.ranges) for address in told.frames):
            return False
        return told.untold is None or (
            told.untold > where.stack_pointer and not self.search_from(told.untold, memory_map, seen)
        )

    def search(self, where, memory_map, seen):
        """Whether a thread blocked at ``where`` (procfs.SystemCall) may be inside."""
        return counts(where.instruction_pointer, self.inside) or self.search_from(where.stack_pointer, memory_map, seen)

    def search_from(self, stack_pointer, memory_map, seen):
        """Whether a word from there to the end of the stack may be an address to return to inside."""
        lines = memory_map.lines
        if end_of_mapping(lines, stack_pointer) is None:
            return True
        lowest: dict[int, int] = {}  # {end of a mapping: the lowest address in it that was searched}
        room = STACK_LIMIT
        pointers = [stack_pointer]
        while pointers:
            start = pointers.pop() & ~7
            end = end_of_mapping(lines, start)
            seen.places.append((start, memory_map.around(start)))
            if end is None:
                # No stack: what looked like a signal frame was none.
                continue
            limit = lowest.get(end, end)
            if start >= limit:
                continue
            room -= limit - start
            if room < 0:
                return True
            lowest[end] = start
            if self.search_range(start, limit, pointers):
                return True
            if limit == end and is_continued(lines, start) and not has_control_block(self.proc_tid, start, end):
                pointers.append(end)
        return False

    def search_range(self, address, end, pointers):
        """Whether a word between the addresses counts; adds the stack pointers in signal frames to ``pointers``.

        A handler may run on an alternate stack (sigaltstack(2)): then the interrupted frames lie elsewhere, and only
        the signal frame leads to them.
        """
        before = b""
        while address < end:
            size = min(CHUNK, end - address)
            try:
                data = read_memory(self.proc_tid, address, size)
            except StateUnreadable:
                return True
            if first_inside(data, self.inside) is not None:
                return True
            joined = before + data
            for stack_pointer, instruction_pointer in signal_pointers(joined):
                if counts(instruction_pointer, self.inside):
                    return True
                pointers.append(stack_pointer - RED_ZONE)
            before = joined[max(0, len(joined) - SIGNAL_POINTERS_SIZE):]
            address += size
        return False

    def has_kept(self, tid, numbers, records):
        """Whether the last entry of thread ``tid`` into the domain could not be proved to come from outside."""
        return tid in numbers and not self.by_stack and bool(records[tid].unprovable >> self.domain & 1)

    def examine(self, threads):
        """Look at ``threads`` ({TID: start}) once.

        :return: _Judgement.
        """
        records = self.records(threads)
        numbers = self.numbers(records)
        domain = self.state.domains[self.domain]
        judged = _Judgement(set(), set(), set())
        behind = [tid for tid in threads if numbers.get(tid, -1) < self.universe]
        for tid, outside in self.outside_of(behind).items():
            try:
                settled = self.by_stack or domain.is_settled(self.universe, self.inner(tid))
            except ProcessGone:
                continue
            if outside is None:
                judged.unknown.add(tid)
            elif not outside:
                judged.kept.add(tid)
            elif not settled:
                judged.outside.add(tid)
            elif self.has_kept(tid, numbers, records):
                # A coroutine, which is not believed.
                judged.kept.add(tid)
        return judged


def _all_settled(domain, universe):
    """Whether the runtime knows that every thread has ``universe`` or takes it at its next entry.

    It was told so, and no thread has kept an older number since anybody looked.
    """
    return domain.floor >= universe and domain.keeps == domain.floor_keeps


def pending_threads(subject, patch, inside, *, seconds=0.05, until_migrated=0.0, by_stack=False):
    """Which threads of a process have not reached the universe of a livepatch.

    A generator that gives the seconds to wait until it looks again, so that nobody else has to wait.

    :param subject: subject.Subject.
    :param patch: runtime.LoadedPatch, of that process.
    :param inside: function that gives what inside_domain() gives; called only if a thread has to be looked at.
    :param seconds: how long to sample a running thread until it blocks or shows its number.
    :param until_migrated: how long to wait, in seconds, for threads that are inside to come out.
    :param by_stack: look only at where the threads are, whatever their entries could prove so far.
    :return: Migration; what could not be told in time counts as pending.
    :raises ProcessGone: the process has ended.
    :raises ProcessForbidden: ptrace access is needed and not granted.
    """
    census = _Census(subject, patch, inside, by_stack=by_stack)
    started = time.monotonic()
    alive = census.survivors()
    if _all_settled(subject.state.domains[patch.domain], patch.universe):
        return Migration(len(alive), ())
    left = alive
    while True:
        judged = census.examine(left)
        elapsed = time.monotonic() - started
        wanted = set()
        if elapsed < max(seconds, until_migrated):
            wanted |= judged.unknown
        if elapsed < until_migrated:
            wanted |= judged.kept
        if not wanted:
            break
        yield SAMPLE_SECONDS if elapsed < 0.1 else 10 * SAMPLE_SECONDS
        now = census.survivors()
        # Those that were born since then begin with the oldest number, and are looked at like the others.
        left = {tid: start for tid, start in now.items() if tid in judged.behind or alive.get(tid) != start}
        alive = now
    found = judged.migration
    return found._replace(threads=len(alive), inner=census.inner_of(found.pending))

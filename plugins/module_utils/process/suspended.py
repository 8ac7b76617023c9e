# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stacks that no thread is on, with frames of a library: coroutines that were suspended in a callback from it.

No two coroutine libraries leave the same in memory: makecontext(3), boost.context
and libco save registers in different places, greenlet copies whole stacks to the
heap, setjmp(3) mangles what it saves.  What they have in common are the frames.
So all writable memory is searched for return addresses into the library; one
counts if the frame that it belongs to leads to another return address, as a
frame does and a stray word does not.  Stacks that were made for threads are left
out: the look at the threads judges those (migration).

A stack on which everything has ended looks the same until it is used again: the
number is of what may be there, and 0 is certain only if all could be searched.
"""

from __future__ import annotations

from ..elf.ranges import joined
from ..errors import UlpError
from ..named_tuple import NamedTuple
from .control_block import find_control_block
from .errors import ProcessGone, StateUnreadable
from .maps import mapping_at, read_maps, runtime_mapping
from .memory import read_memory
from .procfs import read_system_call, thread_ids
from .touched import touched
from .unwinder import caller_of, is_behind_call
from .words import words_in

# Bytes: so much of a process is searched, the smallest mappings first, for stacks are small; and read at once.
MOST_BYTES = 64 << 20
PIECE = 1 << 20
# More matches, mappings, and frames of a stack than these are not looked at.
MOST_WORDS = 4096
MOST_MAPPINGS = 4096
_MOST_FRAMES = 256
# What a thread that runs a coroutine has used of its stack before, below its stack pointer, in bytes.
_USED_BEFORE = 1 << 16
# Bytes at the upper end of a thread's stack that hold its control block.
_TOP_OF_A_STACK = 8192


class Suspended(NamedTuple):
    """What was found."""

    stacks: int
    complete: bool  # nothing was left out


def suspended_stacks(pid, proc_tid, ranges, files, most_bytes=MOST_BYTES):
    """Count them.

    :param proc_tid: a thread of process ``pid`` that has not ended.
    :param ranges: the library's code: a list of address ranges (start, end).
    :param files: mapped.MappedFiles.
    :param most_bytes: how much memory to search.
    :return: Suspended.
    :raises ProcessGone, ProcessForbidden: as maps.read_maps.
    """
    mappings = read_maps(proc_tid)
    ranges = tuple(joined(ranges))
    used = _used(pid)
    left = most_bytes
    stacks = 0
    complete = True
    words = MOST_WORDS
    records = _of_the_runtime(mappings)
    candidates = sorted(
        (mapping for mapping in mappings if _may_hold_stacks(mapping) and mapping.start != records),
        key=lambda mapping: mapping.end - mapping.start,
    )
    for index, mapping in enumerate(candidates):
        if index == MOST_MAPPINGS:
            return Suspended(stacks, False)
        if find_control_block(proc_tid, max(mapping.start, mapping.end - _TOP_OF_A_STACK), mapping.end) is not None:
            # As most threads' stacks: nothing lies right above it.
            continue
        if mapping.end - mapping.start > left:
            complete = False
            continue
        left -= mapping.end - mapping.start
        top = 0  # of the stack found last
        threads = None
        for address, word in _matches(proc_tid, mapping, ranges):
            words -= 1
            if words < 0:
                return Suspended(stacks, False)
            if address < top or _is_used(address, mapping, used):
                continue
            outer = _caller(proc_tid, address, word, mappings, files)
            if outer is None:
                continue
            if threads is None:
                threads = _end_of_threads_stacks(proc_tid, mapping)
            if address < threads:
                continue
            stacks += 1
            top = _top(proc_tid, outer, mappings, files)
    return Suspended(stacks, complete)


def _may_hold_stacks(mapping):
    # Whoever reads a file's memory may wait for whoever has the file.
    return mapping.readable and mapping.writable and not mapping.inode and mapping.path != "[stack]"


def _of_the_runtime(mappings):
    """Where the anonymous part of the runtime's data begins: its records of threads have such addresses in them."""
    runtime = runtime_mapping(mappings)
    if runtime is None:
        return None
    return max(mapping.end for mapping in mappings
               if (mapping.device, mapping.inode) == (runtime.device, runtime.inode))


def _end_of_threads_stacks(proc_tid, mapping):
    """Below this address a mapping consists of stacks that were made for threads, which may have ended since.

    The C library keeps the stacks of ended threads for others. Such a stack ends with a control block, and the kernel
    makes one mapping of it and of what happens to lie right above it; what lies below, its guard pages keep apart.
    """
    end = address = mapping.start
    while address is not None:
        end, address = address, find_control_block(proc_tid, address + 1, mapping.end)
    return end


def _used(pid):
    """The stack pointers of those threads that are blocked."""
    found = []
    for tid in thread_ids(pid):
        try:
            where = read_system_call(pid, tid)
        except ProcessGone:
            continue
        if where is not None:
            found.append(where.stack_pointer)
    return found


def _is_used(address, mapping, used):
    """Whether a thread is on the stack that ``address`` may belong to: then the look at that thread judges it."""
    return any(mapping.start <= pointer < mapping.end and address >= pointer - _USED_BEFORE for pointer in used)


def _matches(proc_tid, mapping, ranges):
    """(address, word) of the words in a mapping that lie in the ``ranges``, ascending."""
    for low, high in touched(proc_tid, mapping.start, mapping.end):
        for start in range(low, high, PIECE):
            try:
                data = read_memory(proc_tid, start, min(PIECE, high - start))
            except StateUnreadable:
                # It is gone, or a part of it is guarded.
                continue
            for position, word in sorted(words_in(data, ranges)):
                yield start + position, word


def _caller(proc_tid, address, return_address, mappings, files):
    """(return address, stack pointer) of the frame that the word at ``address`` leads to, if it is one; or None."""
    if not is_behind_call(proc_tid, return_address):
        return None
    try:
        found = caller_of(proc_tid, return_address, address, mappings, files)
    except UlpError:
        return None
    if found is None:
        return None
    outer, _pointer = found
    mapping = mapping_at(mappings, outer)
    return found if mapping is not None and mapping.executable and is_behind_call(proc_tid, outer) else None


def _top(proc_tid, frame, mappings, files):
    """How far up the frames lead: what lies below belongs to the same stack."""
    outer, pointer = frame
    for _frame in range(_MOST_FRAMES):
        found = _caller(proc_tid, pointer - 8, outer, mappings, files)
        if found is None:
            break
        outer, pointer = found
    return pointer

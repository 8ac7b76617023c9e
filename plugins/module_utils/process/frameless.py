# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A blocked thread in code without unwind information, such as Go's: what can be told by the words of its stack.

Every function that has been called has left its return address on the stack.
So where the only such words are those of the C library's two functions that
start a thread, no other function of it, of the loader or of an allocator is
being executed.  Words that are left from earlier calls make this refuse more
than it has to, never less.

This holds on a stack that the C library has made, between the stack pointer and
the thread's control block, and for a thread that has made its system call
itself: goroutines have stacks of their own, but the runtime of a Go program
with cgo waits for work, and watches over the others, on such stacks.
"""

from __future__ import annotations

from .control_block import find_control_block
from .unwinder import caller_of, frame_around, is_start_of_function
from .words import lies_in, words_in

# start_thread(), and what calls it in a new thread: clone3(), or clone().
_START_FRAMES = 2


def runs_outside(pid, where, stack, shared, mappings, files):
    """Whether a thread that is blocked is in none of what starting a thread needs, but for what started it.

    :param pid: a thread of the process that has not ended.
    :param where: procfs.SystemCall.
    :param stack: bytes from its stack pointer on.
    :param shared: ranges of addresses, ascending: safe_point.Grounds.shared.
    :param mappings: of the process, ascending (maps.Mapping).
    :param files: mapped.MappedFiles.
    :return: whether that is certain.
    :raises ProcessGone, ProcessForbidden: it cannot be looked at.
    """
    pointer = where.stack_pointer
    if pointer % 8 or lies_in(where.instruction_pointer, shared):
        return False
    control_block = find_control_block(pid, pointer, pointer + len(stack))
    if control_block is None:
        return False
    found = [
        (pointer + position, word) for position, word in sorted(words_in(stack[:control_block - pointer], shared))
        # Whoever has put the address of a function there has a pointer to it, and does not return.
        if not is_start_of_function(pid, mappings, word, files)
    ]
    if len(found) != _START_FRAMES:
        return False
    (address, inner), (_address, outer) = found
    around = frame_around(pid, mappings, outer - 1, files)
    called_by = caller_of(pid, inner, address, mappings, files)
    return around is not None and around[2].outermost and called_by is not None and called_by[0] == outer

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much stack a thread has left below its stack pointer.

The kernel tells neither the bounds of a thread's stack nor whether it is on an
alternate signal stack (sigaltstack(2)).  What can be seen is the mapping that
the stack pointer lies in, and whether the thread's own control block lies in
it too: the C library puts that at the upper end of the stacks it makes.  But
a program may bring a stack that is a part of a larger mapping
(pthread_attr_setstack(3)), so something has to show the lower end: a guard
page, which is a mapping of its own, or since glibc 2.42 a guard region within
the mapping (madvise(2), MADV_GUARD_INSTALL).

An alternate stack may well be a part of such a stack, an array in one of its
frames, or lie right above one in the same mapping: then what a signal
interrupted, or another thread, has its frames right below.  The frame that the
kernel writes for a signal says where the alternate stack is.
"""

from __future__ import annotations

from ..arch.address_space import PAGE_SIZE
from ..arch.frames import alternate_stacks
from ..process.control_block import find_control_block, owner
from ..process.maps import mapping_at
from ..process.namespaces import inner_thread_id
from ..process.pagemap import ENTRY_SIZE, read_pagemap
from ..process.procfs import read_bytes, text_lines

MAIN_STACK = "[stack]"
HEAP = "[heap]"
# glibc: HEAP_MAX_SIZE; a thread's own heap begins at a multiple of it, right behind what is reserved for another one.
ARENA_ALIGNMENT = 64 << 20
# Kernel: stack_guard_gap, how many bytes stay free between a stack that grows and what is below.
GROWTH_GAP = 256 * PAGE_SIZE

# Bytes: so far above a stack pointer the control block of a thread is looked for. Few stacks are larger.
_FARTHEST_CONTROL_BLOCK = 1 << 24
# Bytes: so far below a stack pointer a guard region is looked for.
_FARTHEST_GUARD = 1 << 30
# Documentation/admin-guide/mm/pagemap.rst: bit 58 of an entry says that its page is in a guard region.
_GUARD_BYTE, _GUARD_BIT = 7, 4
_IS_GUARD = bytes(1 if value & _GUARD_BIT else 0 for value in range(256))


def lowest_of_alternate_stack(words, stack_pointer):
    """The lowest address of the alternate signal stack (sigaltstack(2)) that a thread is on, or None.

    :param words: bytes of its stack from somewhere above ``stack_pointer`` on, from a multiple of 8.
    """
    for lowest, size in alternate_stacks(words):
        if lowest <= stack_pointer < lowest + size:
            return lowest
    return None


def lowest_of_main_stack(pid, mappings, main_stack):
    """The lowest address to which the kernel lets the main stack of ``pid`` grow (getrlimit(2), RLIMIT_STACK).

    :param mappings: of the process, ascending (maps.Mapping).
    :param main_stack: the one of them that it is.
    :raises ProcessGone, ProcessForbidden: as procfs.read_bytes().
    """
    lowest = 0
    for line in text_lines(read_bytes(pid, "limits")):
        name, _words, values = line.partition(b"Max stack size")
        if not name and values.split()[0] != b"unlimited":
            lowest = main_stack.end - int(values.split()[0])
    below = max((mapping.end for mapping in mappings if mapping.end <= main_stack.start), default=0)
    return min(max(lowest, below + GROWTH_GAP), main_stack.start)


def end_of_guard_region(pid, start, stack_pointer):
    """The end of the nearest guard region below ``stack_pointer``, or None where the kernel shows none.

    :param start: where to end looking; of a page.
    :return: an absolute address.
    """
    # The mapping may be as large as the address space, and the thread is held meanwhile.
    start = max(start, stack_pointer - _FARTHEST_GUARD & -PAGE_SIZE)
    count = (stack_pointer - start) // PAGE_SIZE + 1
    entries = read_pagemap(pid, start, count)
    if entries is None:
        return None
    last = entries[_GUARD_BYTE::ENTRY_SIZE].translate(_IS_GUARD).rfind(1)
    return start + (last + 1) * PAGE_SIZE if last >= 0 else None


def room_below(pid, mappings, tid_is_main, stack_pointer, thread_pointer):
    """Bytes of stack that the thread surely has below ``stack_pointer``, as far as they are mapped now.

    :param mappings: of the process, ascending (maps.Mapping).
    :param tid_is_main: whether it is the process's main thread.
    :param thread_pointer: its fs base.
    :return: bytes; 0 when it cannot be told.
    """
    mapping = mapping_at(mappings, stack_pointer - 1)
    if mapping is None or not mapping.writable:
        return 0
    room = stack_pointer - mapping.start
    if mapping.path == MAIN_STACK:
        # What is mapped of it now.
        return room if tid_is_main else 0
    if mapping.inode or mapping.path == HEAP:
        return 0
    if not stack_pointer <= thread_pointer < mapping.end:
        # A coroutine's stack, or an alternate signal stack: even where a guard page ends the mapping, there may be
        # others in between.
        return 0
    guard = end_of_guard_region(pid, mapping.start, stack_pointer)
    if guard is not None:
        # Nearer than what ends the mapping: such stacks may lie one above the other in it.
        return stack_pointer - guard
    if mapping.start % ARENA_ALIGNMENT == 0:
        # Memory of malloc, in which a stack may lie among other things.
        return 0
    below = mapping_at(mappings, mapping.start - 1)
    return room if below is not None and below.permissions.startswith("---") else 0


def has_no_known_end(pid, tid, mappings, stack_pointer):
    """Whether room_below() would be 0 for a thread that is blocked, as far as can be told without stopping it.

    The thread's fs base can't be seen from outside.  But it leads to a control
    block, and where none lies above the stack pointer, it does not lead there.

    :param pid: the process.
    :param tid: the thread.
    :param mappings: of the process, ascending (maps.Mapping).
    :param stack_pointer: the thread's.
    :return: False where only the fs base could tell.
    :raises ProcessGone, ProcessForbidden: as procfs.read_bytes().
    """
    mapping = mapping_at(mappings, stack_pointer - 1)
    if mapping is None:
        # It may be newer than the map.
        return False
    thread_pointer = 0  # anywhere else
    if mapping.writable and not mapping.inode and mapping.path not in (MAIN_STACK, HEAP):
        end = min(mapping.end, stack_pointer + _FARTHEST_CONTROL_BLOCK)
        control_block = find_control_block(tid, stack_pointer, end)
        if control_block is None and end < mapping.end:
            return False
        if control_block is not None and not _is_of_the_main_thread(control_block, pid, tid):
            thread_pointer = control_block
    return not room_below(tid, mappings, tid == pid, stack_pointer, thread_pointer)


def _is_of_the_main_thread(control_block, pid, tid):
    """Whether that is the main thread's control block, and not that of ``tid``.

    The loader puts it into memory with which the kernel may join a mapping right below: that of a coroutine's stack.
    """
    return tid != pid and owner(tid, control_block) == inner_thread_id(pid, pid)

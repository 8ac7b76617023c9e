# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much stack a thread has left below its stack pointer.

The kernel tells neither the bounds of a thread's stack nor whether it is on an
alternate signal stack (sigaltstack(2)).  What can be seen is the mapping that
the stack pointer lies in, and whether the thread's own control block lies in
it too: the C library puts that at the upper end of the stacks it makes.
"""

from __future__ import annotations

from ..process.maps import mapping_at

MAIN_STACK = "[stack]"
HEAP = "[heap]"
# glibc, malloc/arena.c: HEAP_MAX_SIZE.
ARENA_ALIGNMENT = 64 << 20


def room_below(mappings, tid_is_main, stack_pointer, thread_pointer):
    """Bytes of stack that the thread surely has below ``stack_pointer``.

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
        # What is mapped of it now.  It grows, but nobody else can make it grow.
        return room if tid_is_main else 0
    if mapping.inode or mapping.path == HEAP:
        return 0
    if stack_pointer <= thread_pointer < mapping.end:
        return room
    if mapping.start % ARENA_ALIGNMENT == 0:
        # Perhaps a heap of the C library's malloc; the one below it ends with a part that looks like a guard page.
        return 0
    below = mapping_at(mappings, mapping.start - 1)
    if below is not None and below.permissions.startswith("---"):
        # A guard page ends it: somebody made this mapping to be a stack.
        return room
    return 0

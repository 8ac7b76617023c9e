# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Are the hooks that the runtime has made still in the memory of the process?

The runtime shows what it relies on (struct ulp_hook in native/include/ulp/abi.h).  Others write code as well: a
uprobe puts an int3 over an instruction, and puts back the byte that the file has when it is taken off
(kernel/events/uprobes.c), whatever stood there when it came; debuggers and programs that restore their own code do
the like.
"""

from __future__ import annotations

import struct
from typing import Any
from zlib import crc32

from .. import abi
from ..arch import padding
from ..arch.address_space import END_OF_USER_SPACE
from ..named_tuple import NamedTuple
from .errors import StateUnreadable, StateUnsettled
from .memory import read_memory, read_present
from .runtime import PatchedLibrary, read_state
from .sites import kind_of

# What is at a hook that is not as the runtime left it.
BREAKPOINT = "breakpoint"  # an int3: a probe or a debugger is there now
ORIGINAL = "original"  # nothing but the code from before
CHANGED = "changed"  # anything else
UNMAPPED = "unmapped"  # no memory at all

_SLOT = struct.Struct("<Q")
# Pieces that take no more room than this many bytes each are read as one.
_DENSE = 512
# How often the runtime may change its hooks while we look at them.
_LOOKS = 20


class Undone(NamedTuple):
    """A hook that is not as the runtime left it."""

    library: PatchedLibrary
    function: int  # absolute address of the function's first instruction
    found: str  # BREAKPOINT, ORIGINAL, CHANGED or UNMAPPED
    repairable: bool  # whether the runtime can put it back without harm to a thread


def undone_hooks(proc_tid, state, domain):
    """The hooks of a domain that do not stand in memory any more.

    :param proc_tid: a thread of the process that has not ended.
    :param state: runtime.RuntimeState of the process.
    :param domain: index of the domain.
    :return: list of Undone, ascending by address within each library.
    :raises StateUnreadable: the tables of hooks make no sense.
    :raises StateUnsettled: they do not come to rest.
    :raises ProcessGone: the process has ended.
    :raises ProcessForbidden: ptrace access is needed and not granted.
    """
    for _look in range(_LOOKS):
        hooks: list[tuple] = []
        for library in state.libraries:
            if library.domain == domain:
                hooks += ((library, hook) for hook in hooks_of(proc_tid, state, library, len(hooks)))
        found = _undone(proc_tid, [(library, hook) for library, hook in hooks if hook.relied])
        if not found:
            return []
        # What a worker was changing meanwhile proves nothing.
        now = read_state(proc_tid, state.address)
        if now.sequence == state.sequence:
            return found
        state = now
    raise StateUnsettled(
        state.pid, f"the hooks of process {state.pid} do not come to rest: livepatches are being applied; try again"
    )


def hooks_of(proc_tid, state, library, others=0):
    """What the runtime relies on at the functions of one library (runtime.PatchedLibrary).

    :param others: how many hooks other libraries of the process are known to have.
    :return: list of named tuples of abi.HOOK; one that relies on nothing is not hooked now.
    :raises: as undone_hooks().
    """
    hooks: list[Any] = []
    address, count = library.hooks, library.hooks_count
    while address:
        # Each hook has a stub of its own.
        if not (address < END_OF_USER_SPACE and 0 < count <= state.stubs_size // abi.STUB_SIZE - others - len(hooks)):
            raise _damaged(state)
        layout = state.interface.hook
        data = read_memory(proc_tid, address, abi.HOOKS.size + count * layout.size)
        hooks += layout.unpack_array(data, abi.HOOKS.size, count)
        address, count = abi.HOOKS.unpack(data)
    for hook in hooks:
        kind = kind_of(hook)
        if kind is None or not kind.is_sound(hook, state.text_start, state.text_end):
            raise _damaged(state)
        start = kind.start(hook)
        if not (library.text_start <= start
                and start + hook.relied.bit_length() <= library.text_end
                and state.text_start <= hook.stub <= state.text_end - abi.STUB_SIZE
                and hook.slot < END_OF_USER_SPACE):
            raise _damaged(state)
    return hooks


def difference(found, expected):
    """What is at an entry where the bytes ``expected`` should be.

    :param found: bytes; None: there is no memory.
    :return: BREAKPOINT, CHANGED or UNMAPPED; None where nothing is wrong.
    """
    if found is None:
        return UNMAPPED
    if found == expected:
        return None
    differing = {byte for byte, other in zip(found, expected) if byte != other}
    return BREAKPOINT if padding.BREAKPOINT in differing else CHANGED


def _damaged(state):
    return StateUnreadable(
        state.pid, f"the runtime's table of hooks in process {state.pid} is damaged: restart the process"
    )


def _undone(proc_tid, hooks):
    """Those of ``hooks``, pairs of PatchedLibrary and hook, that are not as they were left."""
    if not hooks:
        return []
    needed = [kind_of(hook).elsewhere(hook) for _library, hook in hooks]
    pieces = [(piece.address, piece.size) for some in needed for piece in some]
    codes, slots, stubs = _read(proc_tid, [
        [(kind_of(hook).start(hook), hook.relied.bit_length()) for _library, hook in hooks],
        [(hook.slot, _SLOT.size) for _library, hook in hooks],
        [(hook.stub, abi.STUB_SIZE) for _library, hook in hooks],
    ])
    # Far from each other, as a rule.
    read = dict(zip(pieces, read_present(proc_tid, pieces) if pieces else ()))
    found = []
    for (library, hook), code, slot, stub, elsewhere in zip(hooks, codes, slots, stubs, needed):
        others = [read[piece.address, piece.size] for piece in elsewhere]
        if code is None or slot is None or stub is None or None in others:
            found.append(Undone(library, hook.function, UNMAPPED, False))
            continue
        passes = slot == _SLOT.pack(hook.stub)
        whole = crc32(stub) == hook.stub_checksum and all(
            crc32(other) == piece.checksum for other, piece in zip(others, elsewhere)
        )
        if passes and whole and code == hook.code[:len(code)]:
            continue
        differing = [
            index for index, byte in enumerate(code) if hook.relied >> index & 1 and byte != hook.code[index]
        ]
        if differing or not passes or not whole:
            found.append(_described(library, hook, code, differing, passes, whole))
    return found


def _read(proc_tid, kinds):
    """Pieces of memory, those that lie close together as one.

    :param kinds: lists of (address, size in bytes) pairs.
    :return: a list of bytes for each of the lists; None for what is not mapped.
    """
    spans = []
    for pieces in kinds:
        low = min(pieces)[0]
        spans.append((low, max(address + size for address, size in pieces) - low))
    dense = [size <= _DENSE * len(pieces) for (_low, size), pieces in zip(spans, kinds)]
    ranges = [[span] if one else pieces for span, one, pieces in zip(spans, dense, kinds)]
    data = read_present(proc_tid, [place for some in ranges for place in some])
    result = []
    position = 0
    for (low, _size), one, some, pieces in zip(spans, dense, ranges, kinds):
        read = data[position:position + len(some)]
        position += len(some)
        if one and read[0] is not None:
            (whole,) = read
            read = [whole[address - low:address - low + size] for address, size in pieces]
        elif one:
            read = read_present(proc_tid, pieces)
        result.append(read)
    return result


def _described(library, hook, code, differing, passes, whole):
    original = all(code[index] == hook.original[index] for index in differing)
    if any(code[index] == padding.BREAKPOINT for index in differing):
        what = BREAKPOINT
    elif differing and original and passes and whole:
        what = ORIGINAL
    else:
        what = CHANGED
    return Undone(library, hook.function, what, whole and original and not kind_of(hook).is_in_use(hook, differing))

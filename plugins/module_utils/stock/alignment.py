# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a function called with a stack that is not aligned, and does its replacement need one that is?

With ``-fipa-stack-alignment``, which is on from -O1, gcc does not align the stack for the call of a function whose
code it has seen, and which needs no alignment.  A replacement that calls another function, or keeps vectors on the
stack, needs it: the process would die of an instruction that takes aligned operands only.
"""

from __future__ import annotations

from typing import Container

from ..arch.disassembly import ENDS, direct_target, is_jump, operation, outline
from ..arch.frames import FRAME_POINTER, STACK_POINTER
from ..arch.stack_pointer import STACK_ALIGNMENT, aligns, lowered, needs_alignment
from ..elf.frames import FrameDescriptions
from ..named_tuple import NamedTuple
from .code import Code, Extent


class UnalignedCall(NamedTuple):
    """The code at link-time address ``place``, in the function at ``caller``, calls with a stack not aligned."""

    caller: int
    place: int


class _Depth(NamedTuple):
    """How far below its CFA a function's stack pointer is, in bytes.

    ``absolute``: it was aligned since, so that it does not matter how the function was entered.
    """

    below: int
    absolute: bool = False

    @property
    def is_odd(self) -> bool:
        return self.below % STACK_ALIGNMENT != 0


# Code that nobody can follow: as a compiler leaves it.
_ALIGNED = _Depth(0, True)


class StackAlignment:
    """Who aligns the stack in one file, and who needs that."""

    def __init__(self, code: Code) -> None:
        """
        :param code: Code.
        """
        self._code = code
        self._frames = FrameDescriptions(code.image)
        self._depths: dict[int, dict[int, _Depth]] = {}

    def unaligned_call(self, address: int, replaced: Container[int] = ()) -> UnalignedCall | None:
        """A call or jump that enters a function with a stack that is not aligned, or None: none is known.

        Direct calls are looked at, and how their functions are entered in turn.  What others call, by its name or a
        pointer, is entered aligned.

        :param address: the function's link-time address.
        :param replaced: callers that need not be asked: who calls the replacement is their replacement.
        """
        # (function, whether an entry there with an aligned stack is an entry without of the one asked for, the call)
        waiting: list[tuple[int, bool, UnalignedCall | None]] = [(address, False, None)]
        seen = {(address, False)}
        while waiting:
            callee, odd, last = waiting.pop(0)
            for place in self._code.entering(callee):
                caller = self._code.at(place)
                if caller is None or caller.start in replaced:
                    continue
                depth = self._before(caller, place)
                missed = odd != self._enters_odd(callee, place, depth)
                call = last or UnalignedCall(caller.start, place)
                if missed and (depth.absolute or self._is_entered_by_others(caller)):
                    return call
                if not depth.absolute and (caller.start, missed) not in seen:
                    seen.add((caller.start, missed))
                    waiting.append((caller.start, missed, call))
        return None

    def is_needed(self, address: int) -> bool:
        """Whether a call of the function at ``address`` needs a stack that is aligned: perhaps too often."""
        return self._is_needed(address, set())

    def _is_needed(self, address: int, known: set[int]) -> bool:
        extent = self._code.at(address)
        if extent is None or extent.start != address:
            return True
        if address in known:
            return False
        known.add(address)
        parts = self._code.parts(extent)
        begins = True
        for part in parts:
            for _place, _size, mnemonic, operands in outline(*self._code.read(part)):
                if begins and aligns(mnemonic, operands):
                    return False
                jumps = is_jump(mnemonic)
                begins = begins and not jumps
                if needs_alignment(mnemonic, operands):
                    return True
                if jumps or operation(mnemonic) == "call":
                    target = direct_target(operands)
                    if target is None:
                        if not jumps or not self._code.table_targets(part):
                            return True
                    elif not any(each.start <= target < each.end for each in parts) and self._is_needed(target, known):
                        return True
        return False

    def _enters_odd(self, callee: int, place: int, depth: _Depth) -> bool:
        """Whether a callee is entered unaligned, where its caller was entered aligned."""
        if place in self._code.calls.get(callee, ()):
            return depth.is_odd
        entry = self._frames.at(callee)
        # A part that the compiler has moved away begins in the middle of its function's frame.
        return (entry is not None and entry.base == STACK_POINTER
                and (depth.below - entry.offset) % STACK_ALIGNMENT != 0)

    def _is_entered_by_others(self, function: Extent) -> bool:
        start = function.start
        return start in self._code.exported or start in self._code.taken or not self._code.entering(start)

    # ------------------------------------------------------------- depths

    def _before(self, function: Extent, place: int) -> _Depth:
        """The depth before the instruction at ``place``."""
        frame = self._frames.at(place)
        if frame is None or frame.outermost:
            return _ALIGNED
        if frame.base == STACK_POINTER:
            return _Depth(frame.offset)
        if function.start not in self._depths:
            self._depths[function.start] = self._walk(function)
        return self._depths[function.start].get(place, _ALIGNED)

    def _walk(self, function: Extent) -> dict[int, _Depth]:
        """{address of an instruction: the depth before it}; the unwind information may count from other registers."""
        lines = {place: (size, mnemonic, operands) for place, size, mnemonic, operands
                 in outline(*self._code.read(function))}
        found: dict[int, _Depth] = {}
        waiting = [(function.start, _ALIGNED)]
        while waiting:
            place, depth = waiting.pop()
            while place in lines and place not in found:
                size, mnemonic, operands = lines[place]
                frame = self._frames.at(place)
                if frame is not None and frame.base == STACK_POINTER:
                    depth = _Depth(frame.offset)
                found[place] = depth
                name = operation(mnemonic)
                if is_jump(mnemonic):
                    target = direct_target(operands)
                    targets = self._code.table_targets(function) if target is None else (target,)
                    waiting.extend((each, depth) for each in targets)
                if name.startswith(ENDS) and name != "call":
                    break
                held = frame.offset if frame is not None and frame.base == FRAME_POINTER else None
                depth = _behind(depth, mnemonic, operands, held)
                place += size
        return found


def _behind(depth: _Depth, mnemonic: str, operands: str, held: int | None) -> _Depth:
    """The depth behind an instruction; ``held``: how many bytes the CFA lies above the frame pointer."""
    if aligns(mnemonic, operands):
        return _ALIGNED
    frame = None if held is None or depth.absolute else depth.below - held
    change = lowered(mnemonic, operands, frame)
    return _ALIGNED if change is None else depth._replace(below=depth.below + change)

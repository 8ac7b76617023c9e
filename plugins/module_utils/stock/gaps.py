# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaps: bytes between functions that nobody executes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Iterable

from ..arch.code import JUMP_SIZE, SHORT_JUMP_SIZE
from ..arch.disassembly import ENDS, is_padding, operation, outline
from ..elf.site import Gap
from .code import Code

# A longer run is something else than what aligns the next function.
_LONGEST = 64


class Gaps:
    """The gaps of a file; each piece of one is given out once."""

    def __init__(self, code: Code, taken: Iterable[tuple[int, int]]) -> None:
        """
        :param code: Code.
        :param taken: (start, end) of bytes that are needed as they are; link-time.
        """
        self._code = code
        self._free = [piece for gap in _gaps(code) for piece in _without(gap, sorted(taken))]

    def take(self, place: int) -> Gap | None:
        """A Gap that a ``jmp rel8`` at link-time address ``place`` reaches, or None; nobody else gets it."""
        behind = place + SHORT_JUMP_SIZE
        index = bisect_left(self._free, (behind - 128 - _LONGEST, 0))
        while index < len(self._free) and self._free[index][0] <= behind + 127:
            start, end = self._free[index]
            first = max(start, behind - 128)
            if first <= behind + 127 and first + JUMP_SIZE <= end:
                rest = [(start, first), (first + JUMP_SIZE, end)]
                self._free[index:index + 1] = [piece for piece in rest if piece[1] - piece[0] >= JUMP_SIZE]
                return Gap(first, self._code.image.read(first, JUMP_SIZE))
            index += 1
        return None


def _gaps(code: Code) -> list[tuple[int, int]]:
    """The (start, end) of all gaps of a file, ascending."""
    taken = sorted(code.taken)
    found = []
    for before, after in zip(code.extents, code.extents[1:]):
        start, end = before.end, after.start
        if not JUMP_SIZE <= end - start < _LONGEST or not code.last.get(start, "").startswith(ENDS):
            continue
        if code.next_begin(start - 1) != end or code.reached(start, end):
            continue
        if bisect_left(taken, start) != bisect_left(taken, end):
            continue
        if (code.image.is_executable_address(start) and code.image.end_of_segment(start) >= end
                and _is_filling(code.image.read(start, end - start))):
            found.append((start, end))
    return found


def _is_filling(code: bytes) -> bool:
    """Whether ``code`` (bytes) is nothing but what fills a gap."""
    position = 0
    for address, size, mnemonic, operands in outline(code, 0):
        if not is_padding(mnemonic) and (operation(mnemonic), operands) != ("xchg", "ax, ax"):
            return False
        position = address + size
    return position == len(code)


def _without(gap: tuple[int, int], taken: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What is left of ``gap``: pieces (start, end) that none of ``taken`` overlaps, in which a jump has room."""
    start, end = gap
    pieces = []
    for first, last in taken[max(0, bisect_right(taken, (start,)) - 1):]:
        if first >= end:
            break
        if last > start:
            pieces.append((start, first))
            start = max(start, last)
    pieces.append((start, end))
    return [piece for piece in pieces if piece[1] - piece[0] >= JUMP_SIZE]

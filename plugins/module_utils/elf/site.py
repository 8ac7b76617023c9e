# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites: places where a function that was compiled without padding can be diverted.

A site is one instruction.  Its first bytes become a jump, and no boundary between instructions behind it moves, so
that a thread that stands inside the function just goes on.  Three kinds, by what is written:

``pun``
    One byte, the opcode of ``jmp rel32`` (E9).  The four bytes behind it stay, and are the displacement.
``wide``
    E9 and as many bytes of the displacement as the instruction has, by one store inside an aligned word of 8 bytes.
``short``
    ``jmp rel8`` (EB) to a gap, bytes that nobody executes, which takes a ``jmp rel32``; by one store as well.

The instruction moves to a cell, from which the old function goes on.
"""

from __future__ import annotations

from ..arch.code import JUMP, PLAIN, RIP_RELATIVE
from ..named_tuple import NamedTuple

PUN = "pun"
WIDE = "wide"
SHORT = "short"
KINDS = (PUN, WIDE, SHORT)

INSTRUCTIONS = (PLAIN, RIP_RELATIVE, JUMP)

WORD = 8  # bytes that one store of the processor writes at once, where they are aligned
RETURN_ADDRESS = 8  # bytes: what the CFA is above the stack pointer at a function's first instruction


class Gap(NamedTuple):
    """Bytes that nobody executes: ``offset`` is their link-time address, ``original`` what they are (5 bytes)."""

    offset: int
    original: bytes


class Site(NamedTuple):
    """A place where a function can be diverted; see the module's text.

    ``kind``: one of KINDS.  ``offset``: the link-time address of the instruction, ``length`` its length in bytes.
    ``original``: the bytes at the site that must be there before it is changed: the instruction, and for a pun and a
    wide site no fewer than 5, since those behind it are the rest of the displacement.
    ``instruction``: one of INSTRUCTIONS; ``displacement``: the position in the instruction where a displacement
    begins, 0 for a plain one; it is 4 bytes long, or as long as what is left of a jump.
    ``cfa_before``, ``cfa_after``: bytes from the stack pointer to the canonical frame address before and after the
    instruction; ``cfa_before`` is 8 at a function's start, and 8 more behind each push.
    ``gap``: Gap of a short site, else None; no other site of the livepatch has it.
    ``overwrites``: the name of the register, one of arch.code.OF_CALLER, that the instruction changes and that a push
    before it has saved, or "".
    """

    kind: str
    offset: int
    length: int
    original: bytes
    instruction: str
    displacement: int
    cfa_before: int
    cfa_after: int
    gap: Gap | None = None
    overwrites: str = ""

    @property
    def end(self) -> int:
        """The link-time address behind the instruction."""
        return self.offset + self.length

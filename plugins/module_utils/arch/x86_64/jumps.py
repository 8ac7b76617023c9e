# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Direct jumps and calls in bytes, and jumps through words, of which a scan misses none.

A byte scan can't know where instructions begin, so it finds some where there are none.  All places and targets are
offsets from the first byte of the code, in bytes.

Source: Intel SDM volume 2 (CALL, Jcc, JMP).
"""

from __future__ import annotations

import re
from typing import Iterator

from .instructions import REL32

# JMP rel32 and rel8.
JUMP_OPCODE = b"\xe9"
SHORT_JUMP_OPCODE = b"\xeb"
JUMP_SIZE = 5  # bytes of jmp rel32
SHORT_JUMP_SIZE = 2  # bytes of jmp rel8

# Look-aheads find overlapping matches, too.
_JUMP32 = re.compile(rb"(?=(?:\xe9|\x0f[\x80-\x8f])(....))", re.DOTALL)
_JUMP8 = re.compile(rb"(?=[\xeb\x70-\x7f](.))", re.DOTALL)
_CALL = re.compile(rb"(?=\xe8(....))", re.DOTALL)
_CALL_OR_JUMP = re.compile(rb"(?=[\xe8\xe9](....))", re.DOTALL)
_JUMP_THROUGH_WORD = re.compile(rb"(?=\xff\x25(....))", re.DOTALL)


def long_jumps(code: bytes) -> Iterator[tuple[int, int]]:
    """(place, target) of the jumps that reach far, 4 bytes of displacement."""
    return _relative(_JUMP32, code)


def short_jumps(code: bytes) -> Iterator[tuple[int, int]]:
    """The same for those with 1 byte of displacement; two bytes look like one often enough."""
    for match in _JUMP8.finditer(code):
        displacement = match.group(1)[0]
        yield match.start(), match.start() + 2 + displacement - (256 if displacement > 127 else 0)


def calls(code: bytes) -> Iterator[tuple[int, int]]:
    """The same for calls."""
    return _relative(_CALL, code)


def calls_and_jumps(code: bytes) -> Iterator[tuple[int, int]]:
    """The same for calls and for unconditional jumps that reach far: how a compiler goes on in another function."""
    return _relative(_CALL_OR_JUMP, code)


def jumps_through_words(code: bytes) -> Iterator[tuple[int, int]]:
    """(place, offset of the word that holds the target) of such jumps."""
    return _relative(_JUMP_THROUGH_WORD, code)


def _relative(pattern: re.Pattern[bytes], code: bytes) -> Iterator[tuple[int, int]]:
    for match in pattern.finditer(code):
        yield match.start(), match.end(1) + REL32.unpack(match.group(1))[0]

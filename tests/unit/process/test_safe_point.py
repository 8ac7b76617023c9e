# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frames let a thread be started on top of them, if none of them waits; what of a stack may change meanwhile."""

from __future__ import annotations

import ctypes
import struct

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.process import safe_point
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.safe_point import (
    Grounds,
    differs,
    outside_from,
)

OWN, LIBRARY, EXIT, LOADER, ALLOCATOR, VDSO = (number << 12 for number in range(1, 7))
GROUNDS = Grounds(
    c_library=((LIBRARY, LOADER),), loader=((LOADER, ALLOCATOR),), allocator=((ALLOCATOR, VDSO),),
    program_allocates=False, kernel=((VDSO, VDSO + 4096),), code=((OWN, VDSO + 4096),), lock_calls=(),
    condition_calls=(), plain_calls=(),
    exits=((EXIT, LOADER),), shared=((LIBRARY, VDSO + 4096),),
)
BOTTOM = 0x7FFC00001238
WORDS = 1 << 17  # as many as are looked at
CODE = ((0x400000, 0x401000), (0x7F0000000000, 0x7F0000001000))
NO_ADDRESS, OF_CODE, OF_STACK = 12345, 0x400FFF, BOTTOM + 64


@pytest.mark.parametrize(
    ("frames", "outside"),
    [
        # main(), and a thread
        ([OWN, OWN, LIBRARY, LIBRARY, OWN], 0),
        ([OWN, OWN, LIBRARY, LIBRARY], 0),
        ([OWN, LIBRARY], 0),
        # from where on it is outside
        ([LIBRARY, OWN, LIBRARY, LIBRARY, OWN], 1),
        ([OWN, ALLOCATOR, OWN, LIBRARY, LIBRARY], 2),
        ([OWN, LOADER, OWN, OWN, LIBRARY, LIBRARY], 2),
        ([VDSO, OWN, LIBRARY, LIBRARY], 1),
        # called back, as by qsort
        ([OWN, LIBRARY, OWN, LIBRARY, LIBRARY, OWN], 2),
        # destructors and handlers of an end; a thread on its way into its function; a program that begins
        ([OWN, LIBRARY, LIBRARY, LIBRARY], None),
        ([OWN, EXIT, LIBRARY, OWN], None),
        ([LIBRARY, LIBRARY, LIBRARY], None),
        ([OWN], None),
    ],
)
def test_outside_from(frames, outside):
    """Seen to be 0 for the program that begins, of which nothing shows that the C library is ready."""
    assert outside_from(frames, GROUNDS) == outside


def picture(changes=(), rest=b""):
    words = [index * 3 for index in range(1024)] * (WORDS // 1024)
    for index, value in dict(changes).items():
        words[index] = value
    return ctypes.create_string_buffer(struct.pack(f"<{WORDS}Q", *words) + rest, 8 * WORDS + len(rest))


@pytest.mark.parametrize("where", [0, 31, 32, 70001, WORDS - 1])
@pytest.mark.parametrize(("value", "moved"), [(NO_ADDRESS, False), (OF_CODE, True), (OF_STACK, True)])
def test_one_word_that_has_changed(where, value, moved):
    """Guards where bytes are compared before words are."""
    assert differs(picture(), picture({where: value}), BOTTOM, CODE) == moved
    assert differs(picture({where: value}), picture(), BOTTOM, CODE) == moved


def test_what_the_kernel_writes_is_passed_over():
    """Guards the rest of a sleep, and events, beside a frame that has changed."""
    noise = dict.fromkeys(range(0, WORDS, 5000), NO_ADDRESS)
    assert not differs(picture(), picture(noise), BOTTOM, CODE)
    assert differs(picture(), picture({**noise, 100_001: OF_CODE}), BOTTOM, CODE)


def test_bytes_behind_the_last_word():
    assert not differs(picture(rest=b"abc"), picture(rest=b"abd"), BOTTOM, CODE)


def test_few_words_are_looked_at(monkeypatch):
    """Guards how long the thread is held. Seen to fail: all 131,072 words were looked at, in four milliseconds."""
    looked_at = []
    monkeypatch.setattr(safe_point, "lies_in", lambda word, ranges: looked_at.append(word) and False)
    assert not differs(picture(), picture({70001: NO_ADDRESS}), BOTTOM, CODE)
    assert len(looked_at) <= 2

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find addresses of code among the words of memory; ranges are (start, end), ascending and disjoint."""

from __future__ import annotations

import struct
from bisect import bisect_right
from functools import lru_cache

# Bytes: in so short a range, all words have one of five beginnings of six bytes at most.
_NARROW = 4 << 16
# So many low bytes are left out in longer ranges, and one less in short ones.
_WIDE = 3
# With more beginnings than these to look for, a loop over the words takes less time.
_MOST_BEGINNINGS = 256
_END = 1 << 64
# Bytes: what is shorter than this is found too often by chance.
_SHORTEST = 3
_WORD = struct.Struct("<Q")


def lies_in(address, ranges):
    """Whether ``address`` lies in one of ``ranges``."""
    index = bisect_right(ranges, (address, _END)) - 1
    return index >= 0 and address < ranges[index][1]


def words_in(data, ranges):
    """(position, word) of each aligned word (8 bytes) of ``data`` that lies in one of ``ranges``, in any order.

    :param data: bytes, from an address that is a multiple of 8 on.
    """
    data = data[:len(data) // 8 * 8]
    beginnings = _beginnings(tuple(ranges))
    if beginnings is None:
        for index, (word,) in enumerate(_WORD.iter_unpack(data)):
            if lies_in(word, ranges):
                yield 8 * index, word
        return
    word_at = _WORD.unpack_from
    for low, high in beginnings:
        # A last byte that is rare lets bytes.find skip: most of memory is zeros, and so is the end of each address.
        needle = high.to_bytes(8 - low, "little")
        needle = needle[:_SHORTEST] + needle[_SHORTEST:].rstrip(b"\0")
        # What does not even have each byte somewhere is passed over faster still.
        if not all(byte in data for byte in needle):
            continue
        position = data.find(needle, low)
        while position >= 0:
            past = position - low & 7
            if not past:
                (word,) = word_at(data, position - low)
                if lies_in(word, ranges):
                    yield position - low, word
            # Where the next word that could be one has these bytes.
            position = data.find(needle, position - past + 8)


# One search looks through many pieces of memory for the same, and many processes are searched side by side.
@lru_cache(maxsize=256)
def _beginnings(ranges):
    """The (count of low bytes left out, the high bytes as a number) that the words in ``ranges`` can have, a set.

    They are the same all over 64 KB, or 16 MB: bytes.find is a hundred times faster than a loop over the words, and the
    more bytes it looks for, the fewer other words it stops at.  Ranges that lie close together share them.  None: there
    are too many.
    """
    found = set()
    for start, end in ranges:
        low = _low_bytes(start, end)
        if ((end - start) >> 8 * low) > _MOST_BEGINNINGS:
            return None
        found.update((low, high) for high in range(start >> 8 * low, ((end - 1) >> 8 * low) + 1))
        if len(found) > _MOST_BEGINNINGS:
            return None
    return frozenset((low, high) for low, high in found if low == _WIDE or (_WIDE, high >> 8) not in found)


def _low_bytes(start, end):
    """How many of a word's low bytes differ within a range."""
    return _WIDE - 1 if end - start <= _NARROW else _WIDE

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find addresses of code among the words of memory; ranges are (start, end), ascending and disjoint."""

from __future__ import annotations

import struct
from bisect import bisect_right

# Bytes: in so short a range, all words have one of five beginnings of six bytes at most.
_NARROW = 4 << 16
# With more beginnings than these to look for, a loop over the words takes less time.
_MOST_BEGINNINGS = 256
_END = 1 << 64


def lies_in(address, ranges):
    """Whether ``address`` lies in one of ``ranges``."""
    index = bisect_right(ranges, (address, _END)) - 1
    return index >= 0 and address < ranges[index][1]


def words_in(data, ranges):
    """(position, word) of each aligned word (8 bytes) of ``data`` that lies in one of ``ranges``, in any order.

    :param data: bytes, from an address that is a multiple of 8 on.
    """
    data = data[:len(data) // 8 * 8]
    if sum((end - start >> 8 * _low_bytes(start, end)) + 1 for start, end in ranges) > _MOST_BEGINNINGS:
        for index, (word,) in enumerate(struct.iter_unpack("<Q", data)):
            if lies_in(word, ranges):
                yield 8 * index, word
        return
    for start, end in ranges:
        # The high bytes of a word are the same all over 64 KB, or 16 MB: bytes.find is a hundred times faster than a
        # loop, and the more bytes it looks for, the fewer other words it stops at.
        low = _low_bytes(start, end)
        for high in range(start >> 8 * low, ((end - 1) >> 8 * low) + 1):
            needle = high.to_bytes(8 - low, "little")
            position = data.find(needle, low)
            while position >= 0:
                if position % 8 == low:
                    word = int.from_bytes(data[position - low:position - low + 8], "little")
                    if start <= word < end:
                        yield position - low, word
                position = data.find(needle, position + 1)


def _low_bytes(start, end):
    """How many of a word's low bytes differ within a range, as words_in() counts."""
    return 2 if end - start <= _NARROW else 3

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The search for addresses of code finds what a look at each word finds, wherever the code lies."""

from __future__ import annotations

import random
import struct

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.process.words import lies_in, words_in

# A library, a program that is position independent, one that is not, and two ranges that share most of their bytes;
# what begins with zeros; what is longer than the beginnings that are looked for; addresses that only a kernel has.
RANGES = {
    "library": [(0x7F487E082000, 0x7F487E083000)],
    "program": [(0x5580A45F2000, 0x5580A45F3000)],
    "fixed address": [(0x401000, 0x47C000)],
    "zeros inside": [(0x7F0000000000, 0x7F0000001000)],
    "low": [(0x1000, 0x20000)],
    "two": [(0x7F487D802000, 0x7F487DD15000), (0x7F487E082000, 0x7F487E083000)],
    "long": [(0x7F4800000000, 0x7F5800000000)],
    "kernel": [(0xFFFFFFFF81000000, 0xFFFFFFFF81200000)],
}


def naive(data, ranges):
    words = struct.iter_unpack("<Q", data[:len(data) // 8 * 8])
    return [(8 * index, word) for index, (word,) in enumerate(words) if lies_in(word, ranges)]


@pytest.mark.parametrize("ranges", RANGES.values(), ids=RANGES)
def test_each_word_is_found_and_no_other(ranges):
    """Seen to fail with a search that went on 16 bytes behind a match, and with one that took unaligned matches."""
    source = random.Random(7)
    edges = [edge + offset for start, end in ranges for edge in (start, end) for offset in (-1, 0, 1)]
    near = [start + offset for start, _end in ranges for offset in (-0x100000, 0x800, 0x10000)]
    known = [word % (1 << 64) for word in (*edges, *near, 0, 1, 0x7F, 0x7F7F7F7F7F7F7F7F)]
    for length in (0, 7, 8, 64, 4096, 4099):
        for _each in range(20):
            # Most words of a process are zero; a stray one may lie across two words.
            data = bytearray(length)
            for _word in range(length // 64):
                place = source.randrange(max(length - 8, 1))
                place -= place % 8 if source.random() < 0.8 else 0
                data[place:place + 8] = struct.pack("<Q", source.choice(known))
            data = bytes(data[:length])
            assert sorted(words_in(data, ranges)) == naive(data, ranges)


@pytest.mark.parametrize("ranges", RANGES.values(), ids=RANGES)
def test_words_one_behind_the_other(ranges):
    data = struct.pack("<4Q", *[ranges[0][0] + 8] * 4)
    assert sorted(words_in(data, ranges)) == [(8 * index, ranges[0][0] + 8) for index in range(4)]

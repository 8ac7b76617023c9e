# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Control blocks of threads in memory, wherever they lie: no look at every place finds more."""

from __future__ import annotations

import random

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.arch.frames import control_blocks

SIZE = 3 << 16


def looked_for_everywhere(data, address):
    for position in range(0, len(data) - 23, 64):
        own = (address + position).to_bytes(8, "little")
        if data[position:position + 8] == own == data[position + 16:position + 24]:
            yield address + position


@pytest.mark.parametrize("address", [0x7FFFF000FFC0, 0x555555550000, 0x7F0000000040, 0x10000])
def test_as_looked_for_everywhere(address):
    """Seen to fail with a search that goes on behind what only looks like one, and at the end of 64 KB."""
    chance = random.Random(address)
    data = bytearray(SIZE)
    for _each in range(200):
        # Blocks, words that lead close by, and halves of blocks.
        position = 8 * chance.randrange(SIZE // 8 - 3)
        word = (address + position + chance.choice((0, 0, 0, 8, 64, -64))).to_bytes(8, "little")
        data[position:position + 8] = word
        if chance.random() < 0.7:
            data[position + 16:position + 24] = word
    for position in (0, 0x10000 - address % 0x10000, SIZE - 64, SIZE - 128):
        data[position:position + 24] = 3 * (address + position).to_bytes(8, "little")
    for size in (SIZE, SIZE - 41, SIZE - 40, 24, 23, 0):
        part = bytes(data[:size])
        assert list(control_blocks(part, address)) == list(looked_for_everywhere(part, address))
    assert len(list(control_blocks(bytes(data), address))) > 4

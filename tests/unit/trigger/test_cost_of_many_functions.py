# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a livepatch of many functions costs grows with their number; calls are counted, not time."""

from __future__ import annotations

import re
import sys
from collections import Counter

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.words import words_in
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.resolution.stock import code_of

FUNCTIONS = 100
# Each jumps to the one before it, so that what belongs to one is all that lies before.
HIDDEN = '__attribute__((noipa, visibility("hidden"))) int'
SOURCE = f"{HIDDEN} f0(int x) {{ return x; }}\n" + "".join(
    f"{HIDDEN} f{number}(int x) {{ return f{number - 1}(x + 1); }}\n" for number in range(1, FUNCTIONS))


def counted(function, *arguments):
    """What a call of ``function`` calls: {name: how often}."""
    calls: Counter[str] = Counter()

    def count(frame, event, argument):
        if event == "c_call":
            calls[argument.__name__] += 1
        elif event == "call":
            calls[frame.f_code.co_name] += 1

    sys.setprofile(count)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
    return calls


def test_memory_is_searched_once():
    """However many functions are replaced in a piece of code; seen to fail with 10 and 100 calls of bytes.find()."""
    base = 0x7F1234560000
    # An address near to all these functions: without it nothing would be looked for.
    memory = bytes(7992) + (base + 0x9000).to_bytes(8, "little")
    few, many = (
        counted(list, words_in(memory, [(base + 64 * index, base + 64 * index + 32) for index in range(count)]))
        for count in (10, 100))
    assert few["find"] == many["find"] > 0


def test_code_is_decoded_once(compile_file):
    """And once more for jumps that are computed, however many functions lead to it; seen to fail with 15,250 times."""
    image = ElfImage.open(compile_file(SOURCE, "-O2", "-fPIC", "-shared"))
    addresses = frozenset(symbol.value for symbol in image.symbols() if re.fullmatch(r"f\d+", symbol.name))
    assert len(addresses) == FUNCTIONS
    assert counted(code_of, image, addresses, {})["instruction_starts"] == 2 * FUNCTIONS

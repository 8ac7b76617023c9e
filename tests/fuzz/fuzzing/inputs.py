# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How inputs are made from sound ones (Hypothesis strategies)."""

from __future__ import annotations

import struct

from hypothesis import strategies as st

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage

# Numbers at which readers go wrong, as the fields of headers and tables hold them.
EDGES = [0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 1 << 20, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 47, (1 << 63) - 1,
         1 << 63, (1 << 64) - 4096, (1 << 64) - 1]


def field():
    """The bytes of a number of 1, 2, 4 or 8 bytes."""
    edges = st.sampled_from(EDGES)
    return st.tuples(st.one_of(edges, st.integers(0, (1 << 64) - 1)), st.sampled_from([1, 2, 4, 8])).map(
        lambda drawn: drawn[0].to_bytes(8, "little")[:drawn[1]])


def change():
    """What is written over some bytes."""
    return st.one_of(field(), st.binary(min_size=1, max_size=24))


def hot_ranges(data):
    """Where in a sound ELF file the headers and tables are: code and text are most of it, and hardly matter."""
    image = ElfImage.parse(data, "sound")
    # e_phoff and e_shoff of the gABI's Elf64_Ehdr.
    segments, sections = struct.unpack_from("<QQ", data, 32)
    ranges = [(0, 64), (segments, segments + 56 * len(image.segments)), (sections, len(data))]
    ranges += [
        (section.offset, section.offset + section.size) for section in image.sections
        if section.size and section.offset + section.size <= len(data)
    ]
    return [(start, min(end, len(data))) for start, end in ranges if start < min(end, len(data))]


@st.composite
def damaged_elf(draw, sounds):
    """One of the ELF files ``sounds``, overwritten in some places, and perhaps cut off."""
    sound = draw(st.sampled_from(sounds))
    data = bytearray(sound)
    ranges = hot_ranges(sound)
    for _count in range(draw(st.integers(0, 6))):
        start, end = draw(st.sampled_from(ranges))
        # Mostly whole fields.
        position = draw(st.one_of(st.integers(start, end - 1), st.integers(0, (end - 1 - start) // 8).map(
            lambda index, start=start: start + 8 * index)))
        piece = draw(change())
        data[position:position + len(piece)] = piece
    del data[len(sound):]
    if draw(st.integers(0, 15)) == 0:
        del data[draw(st.integers(0, len(data))):]
    return bytes(data)


@st.composite
def edited_text(draw, sounds, words):
    """One of the texts ``sounds`` (bytes), with pieces replaced, added or repeated: ``words``, or anything."""
    data = draw(st.sampled_from(sounds))
    piece = st.one_of(st.sampled_from(words), st.binary(max_size=8), st.text(max_size=6).map(
        lambda text: text.encode("utf-8", "surrogatepass")))
    for _count in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        new = draw(piece) * draw(st.sampled_from([1, 1, 1, 2, 2000]))
        data = data[:start] + new + data[end:]
    return data

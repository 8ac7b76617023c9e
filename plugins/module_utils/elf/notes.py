# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The notes of an ELF file: its build ID, and where trm.o is in it (gABI, chapter 5)."""

from __future__ import annotations

import struct
from typing import NamedTuple

NT_GNU_BUILD_ID = 3

_NOTE = struct.Struct("<III")
# Bytes, of all segments together: a linker writes some hundred.
_LONGEST_NOTES = 1 << 20


class Note(NamedTuple):
    """One ELF note; ``address`` is that of its descriptor."""

    name: bytes
    type: int
    descriptor: bytes
    address: int


def read_notes(image):
    """All notes of the PT_NOTE segments of an ElfImage, as a list of Note; raises BadElf."""
    segments = [segment for segment in image.segments if segment.type == "PT_NOTE"]
    image.require_few(sum(segment.filesz for segment in segments), _LONGEST_NOTES, "bytes of notes")
    return [note for segment in segments for note in _notes_of(image, segment)]


def _notes_of(image, segment):
    # gABI: the parts of a note are aligned to 4 bytes, or to 8 when the segment is.
    alignment = 8 if segment.align == 8 else 4
    data = bytes(image.data[segment.offset:segment.offset + segment.filesz])
    position = 0
    while position + _NOTE.size <= len(data):
        name_size, descriptor_size, kind = _NOTE.unpack_from(data, position)
        name_end = position + _NOTE.size + name_size
        start = _align(name_end, alignment)
        end = start + descriptor_size
        if end > len(data):
            raise image.bad("is damaged: a note is longer than its segment")
        yield Note(data[position + _NOTE.size:name_end], kind, data[start:end], segment.vaddr + start)
        position = _align(end, alignment)


def find_trm_descriptor(image):
    """As ElfImage.trm_descriptor()."""
    # Imported here so that reading ELF files does not drag in the runtime's interface.
    from ..abi import NOTE_NAME, NOTE_TRM, TRM

    for note in image.notes():
        if note.name == NOTE_NAME and note.type == NOTE_TRM:
            if len(note.descriptor) != 8:
                raise image.bad(f"is damaged: the note of trm.o has {len(note.descriptor)} bytes")
            version, distance = struct.unpack("<Ii", note.descriptor)
            if version != 1:
                raise image.bad(f"was linked with trm.o of version {version}; only version 1 is supported")
            address = note.address + 4 + distance
            for segment in image.segments:
                if (segment.type == "PT_LOAD" and segment.vaddr <= address
                        and address + TRM.size <= segment.vaddr + segment.memsz):
                    return address
            raise image.bad("is damaged: the note of trm.o leads out of the library")
    return None


def _align(value, alignment):
    return (value + alignment - 1) // alignment * alignment

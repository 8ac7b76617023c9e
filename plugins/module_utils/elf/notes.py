# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The notes of an ELF file: its build ID, and where trm.o is in it (gABI, chapter 5)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Iterator

from ..arch.code import TRM_FUNCTION_SIZES, is_trm_function
from ..errors import BadElf
from ..named_tuple import NamedTuple

if TYPE_CHECKING:
    from .headers import ProgramHeader
    from .image import ElfImage

NT_GNU_BUILD_ID = 3

_PF_W = 2

_NOTE = struct.Struct("<III")
_TRM = struct.Struct("<Qq")
# Bytes, of all segments together: a linker writes some hundred.
_LONGEST_NOTES = 1 << 20


class Note(NamedTuple):
    """One ELF note; ``address`` is that of its descriptor."""

    name: bytes
    type: int
    descriptor: bytes
    address: int


def read_notes(image: ElfImage) -> list[Note]:
    """All notes of the PT_NOTE segments of an ElfImage, as a list of Note; raises BadElf."""
    segments = [segment for segment in image.segments if segment.type == "PT_NOTE"]
    image.require_few(sum(segment.filesz for segment in segments), _LONGEST_NOTES, "bytes of notes")
    return [note for segment in segments for note in _notes_of(image, segment)]


def _notes_of(image: ElfImage, segment: ProgramHeader) -> Iterator[Note]:
    data = bytes(image.data[segment.offset:segment.offset + segment.filesz])
    for place in note_places(data, segment.align):
        if place.end > len(data):
            raise image.bad("is damaged: a note is longer than its segment")
        yield Note(place.name, place.type, data[place.start:place.end], segment.vaddr + place.start)


class NotePlace(NamedTuple):
    """Where the descriptor of a note is, in bytes from the start of its segment; it may end behind the segment."""

    name: bytes
    type: int
    start: int
    end: int


def note_places(data: bytes, alignment: int) -> Iterator[NotePlace]:
    """The notes of one PT_NOTE segment.

    The parts of a note are aligned to 4 bytes.  The gABI wants 8 in a segment that is aligned so.  Linux has one such
    note, NT_GNU_PROPERTY_TYPE_0 (x86-64 psABI, program property), whose parts are multiples of 8 long: both read it
    alike.  mold puts it into one segment with notes that are aligned to 4 bytes, and 8 would miss what follows these.

    :param data: the bytes of the segment.
    :param alignment: of the segment, in bytes.
    :return: iterator of NotePlace.
    """
    position = 0
    while position + _NOTE.size <= len(data):
        name_size, descriptor_size, kind = _NOTE.unpack_from(data, position)
        if name_size == 0 and alignment == 8 and position % 8 == 4:
            # Every note has a name: this is a gap before one that is aligned to 8 bytes.
            position += 4
            continue
        name_end = position + _NOTE.size + name_size
        start = _align(name_end)
        yield NotePlace(data[position + _NOTE.size:name_end], kind, start, start + descriptor_size)
        position = _align(start + descriptor_size)


def find_trm_descriptor(image: ElfImage) -> int | None:
    """As ElfImage.trm_descriptor()."""
    # Imported here so that reading ELF files does not drag in the runtime's interface.
    from ..abi import NOTE_NAME, NOTE_TRM

    for note in image.notes():
        if note.name == NOTE_NAME and note.type == NOTE_TRM:
            if len(note.descriptor) != 8:
                raise image.bad(f"is damaged: the note of trm.o has {len(note.descriptor)} bytes")
            version, distance = struct.unpack("<Ii", note.descriptor)
            if version != 1:
                raise image.bad(f"was linked with trm.o of version {version}; only version 1 is supported")
            address = note.address + 4 + distance
            if _is_trm_descriptor(image, address):
                return address
            return _find_moved_from(image)
    return None


def _find_moved_from(image: ElfImage) -> int:
    """What the note of trm.o led to before a tool such as patchelf moved the note: its distance is no longer right."""
    from ..abi import TRM

    first = struct.pack("<Q", 1)
    found = set()
    for segment in image.segments:
        if segment.type != "PT_LOAD" or segment.flags & _PF_W:
            continue
        data = image.data[segment.offset:segment.offset + segment.filesz]
        position = data.find(first)
        while position >= 0:
            address = segment.vaddr + position
            if address % 8 == 0 and position + TRM.size <= len(data) and _is_trm_descriptor(image, address):
                found.add(address)
            position = data.find(first, position + 1)
    if len(found) != 1:
        raise image.bad(
            "was changed by a tool that has moved the note of trm.o, and what it led to can't be told; do to it what"
            " that tool did when it is linked, or leave trm.o out")
    return found.pop()


def _is_trm_descriptor(image: ElfImage, address: int) -> bool:
    """Whether a struct ulp_trm is there, which leads to the function of trm.S."""
    from ..abi import TRM

    try:
        version, distance = _TRM.unpack(image.read(address, TRM.size))
        function = address + 8 + distance
        if version != 1 or not image.is_executable_address(function):
            return False
        return any(is_trm_function(image.read(function, size)) for size in TRM_FUNCTION_SIZES)
    except BadElf:
        return False


def _align(value: int) -> int:
    return (value + 3) // 4 * 4

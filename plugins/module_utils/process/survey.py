# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A first look at one ELF file: what every mapped library must be asked.

A look at a whole machine meets some hundred libraries of which one or two
matter.  So this reads a handful of header bytes through a file descriptor;
ElfImage checks more of the file, later, and only where it matters.

Anybody may map a file of his own making, so what is read of one is bounded: a
file that asks for more is EXCESSIVE, and is looked at no further.

Sources: System V gABI (headers, notes, dynamic section).
"""

from __future__ import annotations

import struct
from typing import Iterable

from ..arch.address_space import PAGE_SIZE
from ..arch.elf_format import MACHINE
from ..elf.contents import read_piece
from ..elf.headers import (
    ELFCLASS64,
    ELFDATA2LSB,
    HEADER_SIZE,
    PROGRAM_HEADER_SIZE,
    SECTION_HEADER_SIZE,
    decode_header,
    decode_program_headers,
    decode_section_headers,
)
from ..elf.notes import NT_GNU_BUILD_ID, note_places
from ..named_tuple import NamedTuple
from ..printable import printable

_DYNAMIC = struct.Struct("<qQ")

_PF_X = 1
_DT_STRTAB = 5
_DT_STRSZ = 10
_DT_SONAME = 14
# Bytes of one table, and of all that is read of one file: many times what a linker writes. A file may say that it has
# 65,535 notes of any size.
_LONGEST_TABLE = 1 << 16
MOST_BYTES = 1 << 18
# What is kept of a file is little, as thousands are remembered: linkers write some 14 program headers, and build IDs of
# 20 bytes.
_MOST_SEGMENTS = 128
_LONGEST_BUILD_ID = 64
# More bytes than any file name has.
_LONGEST_NAME = 1024


class LoadedSegment(NamedTuple):
    """A PT_LOAD, in bytes."""

    offset: int
    vaddr: int
    memsz: int


class Survey(NamedTuple):
    """What a first look at an ELF file tells.

    ``native``: it is 64-bit, little endian, and for the core's architecture; if not, nothing else is known, but
    ``obstacle``: why nobody can tell what the file is, words that go on after its name, or None.
    """

    native: bool
    build_id: str | None  # hexadecimal
    soname: str | None
    interpreter: bool  # PT_INTERP: a program that the dynamic loader starts
    padded: bool  # has __patchable_function_entries
    segments: tuple[LoadedSegment, ...]  # the executable ones
    text_start: int = 0  # link-time addresses around the executable segments
    text_end: int = 0
    data: tuple[LoadedSegment, ...] = ()  # those that are mapped, and not executable
    obstacle: str | None = None

    def load_bias(self, mapping):
        """What to add to link-time addresses, by an executable ``mapping`` (maps.Mapping) of the file.

        :return: bytes, or None when the mapping holds no executable segment (somebody mapped the file to read it).
        """
        for segment in self.segments:
            if segment.offset <= mapping.offset + (mapping.end - mapping.start) - 1:
                page = segment.offset & -PAGE_SIZE
                if page <= mapping.offset < segment.offset + segment.memsz:
                    return mapping.start - mapping.offset + segment.offset - segment.vaddr
        return None


FOREIGN = Survey(False, None, None, False, False, ())
UNREACHABLE = FOREIGN._replace(obstacle="cannot be reached any more by this user")
UNREADABLE = FOREIGN._replace(obstacle="cannot be read")
LEASED = FOREIGN._replace(obstacle="cannot be opened: a process holds a lease on it (fcntl(2))")
EXCESSIVE = FOREIGN._replace(obstacle="takes too long to examine: its headers refer to more than any linker writes")


class _Excess(Exception):
    """More is to be read than a survey reads."""


def survey(descriptor):
    """Look at the ELF file open at ``descriptor``.

    :return: Survey, or None for a file that is not ELF or is damaged (nobody runs such a file).
    """
    try:
        return _survey(_Reader(descriptor))
    except _Excess:
        return EXCESSIVE
    except (struct.error, ValueError):
        return None
    except OSError:
        return UNREADABLE


class _Reader:
    """Reads pieces of a file until it has read enough."""

    def __init__(self, descriptor):
        self._descriptor = descriptor
        self._left = MOST_BYTES

    def read(self, offset, size):
        """The ``size`` bytes at ``offset``, fewer at the end of the file.

        :raises _Excess: it is more than a survey reads.
        :raises ValueError: no file has such an offset.
        """
        self._left -= size
        if size > _LONGEST_TABLE or self._left < 0:
            raise _Excess
        return read_piece(self._descriptor, offset, size)


def _survey(reader):
    data = reader.read(0, HEADER_SIZE)
    if data[:4] != b"\x7fELF":
        return None
    if data[4] != ELFCLASS64 or data[5] != ELFDATA2LSB:
        return FOREIGN
    header = decode_header(data)
    if header.segment_count > _MOST_SEGMENTS:
        raise _Excess
    if header.machine != MACHINE:
        return FOREIGN
    segments = decode_program_headers(
        _table(reader, header.segments, header.segment_count, header.segment_size, PROGRAM_HEADER_SIZE)
    )
    executable = []
    others = []
    build_id = None
    dynamic: Iterable[tuple] = ()
    interpreter = False
    for segment in segments:
        if segment.type == "PT_LOAD" and segment.flags & _PF_X:
            executable.append(LoadedSegment(segment.offset, segment.vaddr, segment.memsz))
        elif segment.type == "PT_LOAD" and segment.filesz:
            others.append(LoadedSegment(segment.offset, segment.vaddr, segment.memsz))
        elif segment.type == "PT_NOTE" and build_id is None:
            build_id = _build_id(reader.read(segment.offset, segment.filesz), segment.align)
        elif segment.type == "PT_DYNAMIC":
            dynamic = _DYNAMIC.iter_unpack(
                reader.read(segment.offset, segment.filesz - segment.filesz % _DYNAMIC.size)
            )
        elif segment.type == "PT_INTERP":
            interpreter = True
    return Survey(
        native=True,
        build_id=build_id,
        soname=_soname(reader, dict(dynamic), segments),
        interpreter=interpreter,
        padded=b"__patchable_function_entries" in _section_names(reader, header),
        segments=tuple(executable),
        text_start=min((segment.vaddr for segment in executable), default=0),
        text_end=max((segment.vaddr + segment.memsz for segment in executable), default=0),
        data=tuple(others),
    )


def _table(reader, offset, count, entry_size, expected):
    """The bytes of a header table's entries."""
    if count and entry_size != expected:
        raise ValueError(f"entries of {entry_size} bytes")
    return reader.read(offset, expected * count)


def _build_id(notes, alignment):
    for place in note_places(notes, alignment):
        if place.type == NT_GNU_BUILD_ID and place.name == b"GNU\0" and place.end > place.start:
            if place.end - place.start > _LONGEST_BUILD_ID:
                raise _Excess
            return notes[place.start:place.end].hex()
    return None


def _soname(reader, dynamic, segments):
    if _DT_SONAME not in dynamic or _DT_STRTAB not in dynamic:
        return None
    address = dynamic[_DT_STRTAB]
    for segment in segments:
        if segment.type == "PT_LOAD" and segment.vaddr <= address < segment.vaddr + segment.filesz:
            start = dynamic[_DT_SONAME]
            size = min(dynamic.get(_DT_STRSZ, 0) - start, _LONGEST_NAME)
            place = segment.offset + address - segment.vaddr + start
            name = reader.read(place, max(size, 0)).partition(b"\0")[0]
            return printable(name.decode("utf-8", "replace"))
    return None


def _section_names(reader, header):
    if not header.section_count or header.names >= header.section_count:
        return b""
    place = header.sections + header.names * SECTION_HEADER_SIZE
    (names,) = decode_section_headers(_table(reader, place, 1, header.section_size, SECTION_HEADER_SIZE))
    return reader.read(names.offset, names.size)

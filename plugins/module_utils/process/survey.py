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
from typing import NamedTuple

from ..elf.contents import read_piece
from ..printable import printable

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_NOTE = struct.Struct("<III")
_DYNAMIC = struct.Struct("<qQ")

_ELFCLASS64 = 2
_ELFDATA2LSB = 1
_EM_X86_64 = 62
_PT_LOAD = 1
_PT_DYNAMIC = 2
_PT_INTERP = 3
_PT_NOTE = 4
_PF_X = 1
_DT_STRTAB = 5
_DT_STRSZ = 10
_DT_SONAME = 14
_NT_GNU_BUILD_ID = 3
# Bytes of one table, and of all that is read of one file: many times what a linker writes. A file may say that it has
# 65,535 notes of any size.
_LONGEST_TABLE = 1 << 16
MOST_BYTES = 1 << 18
# More bytes than any file name has.
_LONGEST_NAME = 4096


class LoadedSegment(NamedTuple):
    """A PT_LOAD, in bytes."""

    offset: int
    vaddr: int
    memsz: int


class Survey(NamedTuple):
    """What a first look at an ELF file tells.

    ``native``: it is 64-bit, little endian, for x86-64; if not, nothing else is known, but ``obstacle``: why nobody can
    tell what the file is, words that go on after its name, or None.
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
                page = segment.offset & ~0xFFF
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
    header = reader.read(0, _HEADER.size)
    if header[:4] != b"\x7fELF":
        return None
    if header[4] != _ELFCLASS64 or header[5] != _ELFDATA2LSB:
        return FOREIGN
    fields = _HEADER.unpack(header)
    machine, segment_offset, section_offset = fields[2], fields[5], fields[6]
    segment_size, segment_count, section_size, section_count, names_index = fields[9:14]
    if machine != _EM_X86_64:
        return FOREIGN
    segments = _table(reader, _SEGMENT, segment_offset, segment_size, segment_count)
    executable = []
    data = []
    build_id = None
    dynamic = ()
    interpreter = False
    for kind, flags, offset, vaddr, _paddr, filesz, memsz, align in segments:
        if kind == _PT_LOAD and flags & _PF_X:
            executable.append(LoadedSegment(offset, vaddr, memsz))
        elif kind == _PT_LOAD and filesz:
            data.append(LoadedSegment(offset, vaddr, memsz))
        elif kind == _PT_NOTE and build_id is None:
            build_id = _build_id(reader.read(offset, filesz), 8 if align == 8 else 4)
        elif kind == _PT_DYNAMIC:
            dynamic = _DYNAMIC.iter_unpack(reader.read(offset, filesz - filesz % _DYNAMIC.size))
        elif kind == _PT_INTERP:
            interpreter = True
    return Survey(
        native=True,
        build_id=build_id,
        soname=_soname(reader, dict(dynamic), segments),
        interpreter=interpreter,
        padded=b"__patchable_function_entries" in _section_names(
            reader, section_offset, section_size, section_count, names_index
        ),
        segments=tuple(executable),
        text_start=min((segment.vaddr for segment in executable), default=0),
        text_end=max((segment.vaddr + segment.memsz for segment in executable), default=0),
        data=tuple(data),
    )


def _table(reader, entry, offset, entry_size, count):
    if count and entry_size != entry.size:
        raise ValueError(f"entries of {entry_size} bytes")
    return list(entry.iter_unpack(reader.read(offset, entry.size * count)))


def _build_id(notes, alignment):
    position = 0
    while position + _NOTE.size <= len(notes):
        name_size, size, kind = _NOTE.unpack_from(notes, position)
        name = position + _NOTE.size
        start = (name + name_size + alignment - 1) // alignment * alignment
        if kind == _NT_GNU_BUILD_ID and notes[name:name + name_size] == b"GNU\0" and size:
            return notes[start:start + size].hex()
        position = (start + size + alignment - 1) // alignment * alignment
    return None


def _soname(reader, dynamic, segments):
    if _DT_SONAME not in dynamic or _DT_STRTAB not in dynamic:
        return None
    address = dynamic[_DT_STRTAB]
    for kind, _flags, offset, vaddr, _paddr, filesz, _memsz, _align in segments:
        if kind == _PT_LOAD and vaddr <= address < vaddr + filesz:
            start = dynamic[_DT_SONAME]
            size = min(dynamic.get(_DT_STRSZ, 0) - start, _LONGEST_NAME)
            name = reader.read(offset + address - vaddr + start, max(size, 0)).partition(b"\0")[0]
            return printable(name.decode("utf-8", "replace"))
    return None


def _section_names(reader, offset, entry_size, count, names_index):
    if not count or names_index >= count:
        return b""
    if entry_size != _SECTION.size:
        raise ValueError(f"entries of {entry_size} bytes")
    names = _SECTION.unpack(reader.read(offset + names_index * _SECTION.size, _SECTION.size))
    return reader.read(names[4], names[5])

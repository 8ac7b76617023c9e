# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three kinds of headers of a 64-bit little-endian ELF file, decoded.

Every look at a process needs them, so they are decoded with struct: importing
pyelftools' reader alone takes as long as looking at a hundred processes.  What
the numbers say is checked by whoever uses them.

Source: the System V gABI, chapters 4 and 5, with the GNU extensions of the
Linux Standard Base.
"""

from __future__ import annotations

import struct

from ..arch import elf_format
from ..named_tuple import NamedTuple

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")

HEADER_SIZE = _HEADER.size
PROGRAM_HEADER_SIZE = _PROGRAM_HEADER.size
SECTION_HEADER_SIZE = _SECTION_HEADER.size

ELFCLASS64 = 2
ELFDATA2LSB = 1

_FILE_TYPES = {0: "ET_NONE", 1: "ET_REL", 2: "ET_EXEC", 3: "ET_DYN", 4: "ET_CORE"}
_SEGMENT_TYPES = {
    0: "PT_NULL",
    1: "PT_LOAD",
    2: "PT_DYNAMIC",
    3: "PT_INTERP",
    4: "PT_NOTE",
    5: "PT_SHLIB",
    6: "PT_PHDR",
    7: "PT_TLS",
    0x6474E550: "PT_GNU_EH_FRAME",
    0x6474E551: "PT_GNU_STACK",
    0x6474E552: "PT_GNU_RELRO",
    0x6474E553: "PT_GNU_PROPERTY",
}
_SECTION_TYPES = {
    0: "SHT_NULL",
    1: "SHT_PROGBITS",
    2: "SHT_SYMTAB",
    3: "SHT_STRTAB",
    4: "SHT_RELA",
    5: "SHT_HASH",
    6: "SHT_DYNAMIC",
    7: "SHT_NOTE",
    8: "SHT_NOBITS",
    9: "SHT_REL",
    10: "SHT_SHLIB",
    11: "SHT_DYNSYM",
    14: "SHT_INIT_ARRAY",
    15: "SHT_FINI_ARRAY",
    16: "SHT_PREINIT_ARRAY",
    17: "SHT_GROUP",
    18: "SHT_SYMTAB_SHNDX",
    19: "SHT_RELR",
    0x6FFFFFF6: "SHT_GNU_HASH",
    0x6FFFFFFD: "SHT_GNU_verdef",
    0x6FFFFFFE: "SHT_GNU_verneed",
    0x6FFFFFFF: "SHT_GNU_versym",
    **elf_format.SECTION_TYPES,
}


class Header(NamedTuple):
    """The ELF header; offsets and sizes in bytes."""

    identification: bytes
    type: str  # ET_DYN and the like
    machine: int
    version: int
    entry: int  # link-time address
    segments: int  # offset of the program headers
    sections: int  # offset of the section headers
    flags: int
    size: int
    segment_size: int
    segment_count: int
    section_size: int
    section_count: int
    names: int  # index of the section that holds the sections' names


class ProgramHeader(NamedTuple):
    """One program header; sizes, offsets and addresses in bytes."""

    type: str  # PT_LOAD and the like
    flags: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int
    align: int


class SectionHeader(NamedTuple):
    """One section header; sizes, offsets and addresses in bytes."""

    name: int  # offset into the section that holds the names
    type: str  # SHT_PROGBITS and the like
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


def decode_header(data: bytes) -> Header:
    """The Header at the start of ``data`` (bytes); raises struct.error when it is shorter than HEADER_SIZE."""
    identification, kind, *rest = _HEADER.unpack_from(data)
    return Header(identification, _named(_FILE_TYPES, kind, "ET_"), *rest)


def decode_program_headers(data: bytes) -> list[ProgramHeader]:
    """The ProgramHeader entries that ``data`` holds, one after the other; raises struct.error for half an entry."""
    return [
        ProgramHeader(_named(_SEGMENT_TYPES, kind, "PT_"), flags, *rest)
        for kind, flags, *rest in _PROGRAM_HEADER.iter_unpack(data)
    ]


def decode_section_headers(data: bytes) -> list[SectionHeader]:
    """The SectionHeader entries that ``data`` holds, one after the other; raises struct.error for half an entry."""
    return [
        SectionHeader(name, _named(_SECTION_TYPES, kind, "SHT_"), *rest)
        for name, kind, *rest in _SECTION_HEADER.iter_unpack(data)
    ]


def _named(names: dict[int, str], number: int, prefix: str) -> str:
    return names.get(number) or f"{prefix}{number:#x}"

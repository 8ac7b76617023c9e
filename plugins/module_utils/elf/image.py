# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A validated view of one ELF file of the architecture that the core is for.

Whatever is wrong with the file becomes one BadElf sentence.  Headers, notes,
symbols and relocations are decoded by the modules of these names.

Source: the System V gABI (ELF header, sections, program headers, dynamic
section).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ..arch.address_space import END_OF_LINKED_SPACE
from ..arch.elf_format import MACHINE, NAME
from ..atomic_file import read_file
from ..errors import BadElf, NotPatchable
from ..named_tuple import NamedTuple
from .headers import (
    ELFCLASS64,
    ELFDATA2LSB,
    HEADER_SIZE,
    PROGRAM_HEADER_SIZE,
    SECTION_HEADER_SIZE,
    decode_header,
    decode_program_headers,
    decode_section_headers,
)
from .notes import NT_GNU_BUILD_ID, find_trm_descriptor, read_notes
from .relocations import read_relative_addresses, read_relocations
from .symbols import read_symbols, symbol_section

if TYPE_CHECKING:
    import os

    from .contents import FileContents
    from .headers import ProgramHeader
    from .notes import Note
    from .relocations import Relocation
    from .symbols import Symbol

PF_X = 1
PF_W = 2
SHF_WRITE = 1
SHF_ALLOC = 2
SHF_EXECINSTR = 4
SHN_LORESERVE = 0xFF00

DT_NEEDED = 1
DT_STRTAB = 5
DT_STRSZ = 10
DT_SONAME = 14
DT_FLAGS_1 = 0x6FFFFFFB

DF_1_PIE = 0x08000000

_DYNAMIC = struct.Struct("<qQ")

# More than any linker writes. A file may have 65,535 of either, and decoding them takes seconds.
_MOST_SEGMENTS = 1024
_MOST_SECTIONS = 4096
# Bytes of a section's names, and of the dynamic section.
_LONGEST_TABLE = 1 << 20
# Bytes of all names: any number of symbols may have the same one, however long.
_MOST_CHARACTERS = 1 << 26


class Section(NamedTuple):
    """One section header; sizes, offsets and addresses in bytes."""

    index: int  # type: ignore[assignment]  # a tuple's method, which nobody calls here
    name: str
    type: str
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


class ElfImage:
    """One ELF file, read into memory and checked.

    Attributes: ``name`` (what messages call the file), ``data`` (all its bytes, or a contents.FileContents), ``type``
    (``ET_DYN`` or ``ET_EXEC``), ``header`` (headers.Header), ``segments`` (list of headers.ProgramHeader), ``sections``
    (list of Section, empty when the file has no section headers).
    """

    def __init__(self, data: bytes | FileContents, name: object) -> None:
        self.name = str(name)
        self.data = data
        self._symbols: dict[str, list[Symbol]] = {}
        self._found: dict[str, Symbol | None] = {}
        self._dynamic: list[tuple[int, int]] | None = None
        self._notes: list[Note] | None = None
        self._characters = 0
        self._check_identity()
        self.header = decode_header(self.data[:HEADER_SIZE])
        self.type = self.header.type
        if self.type not in ("ET_DYN", "ET_EXEC"):
            raise self.bad(f"is neither a shared library nor an executable, but of type {self.type}")
        self.segments = self._read_segments()
        self.sections = self._read_sections()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> ElfImage:
        """Read and check the file at ``path``.

        :raises FileProblem: it cannot be read, or is no regular file.
        :raises BadElf: it is not a sound ELF library or executable.
        """
        return cls(read_file(path), path)

    @classmethod
    def parse(cls, data: bytes | FileContents, name: object) -> ElfImage:
        """Check ``data``, all bytes of a file that messages are to call ``name``, or its FileContents; BadElf."""
        return cls(data, name)

    def bad(self, what: str) -> BadElf:
        """A BadElf that says ``what`` about this file, to be raised by the caller."""
        return BadElf(f"{self.name} {what}")

    # ------------------------------------------------------------- headers

    def _check_identity(self) -> None:
        ident = bytes(self.data[:20])
        if ident[:4] != b"\x7fELF":
            raise self.bad("is not an ELF file")
        if len(self.data) < HEADER_SIZE:
            raise self.bad("is a truncated ELF file: it ends inside the ELF header")
        if ident[4] != ELFCLASS64:
            raise self.bad(f"is not a 64-bit ELF file; only {NAME} is supported")
        machine = int.from_bytes(ident[18:20], "little" if ident[5] == ELFDATA2LSB else "big")
        if ident[5] != ELFDATA2LSB or machine != MACHINE:
            raise self.bad(f"is built for another architecture (ELF machine {machine}); only {NAME} is supported")
        if ident[6] != 1:
            raise self.bad(f"has ELF version {ident[6]}; only version 1 exists")

    def _check_range(self, offset: int, size: int, what: str) -> None:
        if offset > len(self.data) or size > len(self.data) - offset:
            raise self.bad(f"is truncated or damaged: {what} lies beyond the end of the file")

    def require_few(self, count: int, most: int, what: str) -> None:
        """Refuse to decode more things, called ``what``, than take a bearable time; raises BadElf."""
        if count > most:
            raise self.bad(f"takes too long to examine: it has {count} {what}, more than {most}")

    def _table(self, offset: int, count: int, most: int, entry_size: int, expected: int, what: str) -> bytes:
        """The bytes of the ``count`` entries of a header table; ``what`` is one of them."""
        self.require_few(count, most, f"{what}s")
        if count == 0:
            return b""
        self._check_range(offset, count * entry_size, f"the {what} table")
        if entry_size != expected:
            raise self.bad(f"has {what} entries of {entry_size} bytes instead of {expected}")
        return self.data[offset:offset + count * entry_size]

    def _read_segments(self) -> list[ProgramHeader]:
        header = self.header
        segments = decode_program_headers(self._table(
            header.segments, header.segment_count, _MOST_SEGMENTS, header.segment_size, PROGRAM_HEADER_SIZE,
            "program header",
        ))
        for segment in segments:
            self._check_range(segment.offset, segment.filesz, f"a segment of type {segment.type}")
            if segment.type == "PT_LOAD":
                if segment.filesz > segment.memsz:
                    raise self.bad("is damaged: a segment is larger in the file than in memory")
                if segment.vaddr + segment.memsz >= END_OF_LINKED_SPACE:
                    raise self.bad("is damaged: a segment lies outside the address space")
        return segments

    def _read_sections(self) -> list[Section]:
        header = self.header
        entries = decode_section_headers(self._table(
            header.sections, header.section_count if header.sections else 0, _MOST_SECTIONS, header.section_size,
            SECTION_HEADER_SIZE, "section header",
        ))
        if not entries:
            return []
        for entry in entries:
            if entry.type not in ("SHT_NOBITS", "SHT_NULL"):
                self._check_range(entry.offset, entry.size, "a section")
        if header.names >= len(entries):
            raise self.bad("is damaged: its section name table does not exist")
        names = entries[header.names]
        if names.type != "SHT_STRTAB":
            raise self.bad("is damaged: its section names are not in a string table")
        self.require_few(names.size, _LONGEST_TABLE, "bytes of section names")
        strings = bytes(self.data[names.offset:names.offset + names.size])
        return [
            Section(index, self.string(strings, entry.name), *entry[1:]) for index, entry in enumerate(entries)
        ]

    def string(self, table: bytes, offset: int) -> str:
        """The string at ``offset`` of a string table's bytes; raises BadElf when it does not end there."""
        end = table.find(b"\0", offset)
        if offset > len(table) or end < 0:
            if offset == 0 and not table:
                return ""
            raise self.bad("is damaged: a name lies outside its string table")
        self._characters += end - offset
        self.require_few(self._characters, _MOST_CHARACTERS, "bytes of names")
        return table[offset:end].decode("utf-8", "backslashreplace")

    # ------------------------------------------------------------ contents

    def section(self, name: str) -> Section | None:
        """The first section called ``name``, or None."""
        for section in self.sections:
            if section.name == name:
                return section
        return None

    def section_data(self, section: Section) -> bytes:
        """The bytes of a section as the file holds them; none for SHT_NOBITS."""
        if section.type == "SHT_NOBITS":
            return b""
        return bytes(self.data[section.offset:section.offset + section.size])

    def offset_of(self, vaddr: int, size: int = 1) -> int:
        """The file offset of the ``size`` bytes at link-time address ``vaddr``.

        :raises BadElf: they do not lie in the file-backed part of one PT_LOAD segment.
        """
        for segment in self.segments:
            if (segment.type == "PT_LOAD" and segment.vaddr <= vaddr
                    and vaddr + size <= segment.vaddr + segment.filesz):
                return segment.offset + vaddr - segment.vaddr
        raise self.bad(f"is damaged: it refers to {size} bytes at address {vaddr:#x}, which it does not hold")

    def read(self, vaddr: int, size: int) -> bytes:
        """The ``size`` bytes at link-time address ``vaddr``; raises BadElf when the file does not hold them."""
        offset = self.offset_of(vaddr, size)
        return bytes(self.data[offset:offset + size])

    def end_of_segment(self, vaddr: int) -> int:
        """The link-time address behind the file-backed part of the segment that holds ``vaddr``, or BadElf."""
        self.offset_of(vaddr)
        return next(segment.vaddr + segment.filesz for segment in self.segments
                    if segment.type == "PT_LOAD" and segment.vaddr <= vaddr < segment.vaddr + segment.filesz)

    def executable_segments(self) -> list[ProgramHeader]:
        """The PT_LOAD segments that are executable."""
        return [segment for segment in self.segments if segment.type == "PT_LOAD" and segment.flags & PF_X]

    def code_sections(self) -> list[Section]:
        """The sections that hold instructions."""
        return [section for section in self.sections
                if section.flags & SHF_EXECINSTR and section.type != "SHT_NOBITS"]

    @property
    def text_range(self) -> tuple[int, int]:
        """(start, end) link-time addresses around all executable segments; raises BadElf when there is none."""
        segments = self.executable_segments()
        if not segments:
            raise self.bad("has no executable segment")
        return (
            min(segment.vaddr for segment in segments),
            max(segment.vaddr + segment.memsz for segment in segments),
        )

    def is_executable_address(self, vaddr: int) -> bool:
        """Whether link-time address ``vaddr`` lies in an executable segment."""
        return any(segment.vaddr <= vaddr < segment.vaddr + segment.memsz for segment in self.executable_segments())

    def is_writable_range(self, vaddr: int, size: int) -> bool:
        """Whether the ``size`` bytes at link-time address ``vaddr`` lie in one writable segment, RELRO or not."""
        return any(
            segment.type == "PT_LOAD" and segment.flags & PF_W
            and segment.vaddr <= vaddr and vaddr + size <= segment.vaddr + segment.memsz
            for segment in self.segments
        )

    # --------------------------------------------------------------- notes

    def notes(self) -> list[Note]:
        """All notes of the PT_NOTE segments, as a list of Note."""
        if self._notes is None:
            self._notes = read_notes(self)
        return self._notes

    @property
    def build_id(self) -> bytes | None:
        """The GNU build ID as bytes, or None."""
        for note in self.notes():
            if note.name == b"GNU\0" and note.type == NT_GNU_BUILD_ID and note.descriptor:
                return note.descriptor
        return None

    def require_build_id(self) -> bytes:
        """The GNU build ID as bytes; BadElf when there is none."""
        build_id = self.build_id
        if build_id is None:
            raise self.bad("has no build ID; link it with -Wl,--build-id")
        return build_id

    def require_sections(self) -> None:
        """Make sure that the file has the table by which its functions, and the jumps between them, are found.

        :raises NotPatchable: a tool has taken it away, which does not keep the loader from loading the file.
        """
        if not self.sections:
            raise NotPatchable(
                f"{self.name} has no section headers, by which its functions are found: a tool took them away, as"
                " llvm-strip --strip-sections and sstrip do; install the library with them")

    def trm_descriptor(self) -> int | None:
        """The link-time address of the library's struct ulp_trm (see abi.h), or None when trm.o is not in it.

        :raises BadElf: the note that leads to it is damaged.
        """
        return find_trm_descriptor(self)

    # ------------------------------------------------------- dynamic section

    def dynamic(self) -> list[tuple[int, int]]:
        """The dynamic section as a list of (tag, value), up to DT_NULL; empty for a static executable."""
        if self._dynamic is None:
            entries = []
            for segment in self.segments:
                if segment.type == "PT_DYNAMIC":
                    size = segment.filesz - segment.filesz % _DYNAMIC.size
                    self.require_few(size, _LONGEST_TABLE, "bytes in its dynamic section")
                    for tag, value in _DYNAMIC.iter_unpack(self.data[segment.offset:segment.offset + size]):
                        if tag == 0:
                            break
                        entries.append((tag, value))
                    break
            self._dynamic = entries
        return self._dynamic

    def dynamic_value(self, tag: int) -> int | None:
        """The value of the first dynamic section entry with number ``tag``, or None."""
        for number, value in self.dynamic():
            if number == tag:
                return value
        return None

    def _dynamic_strings(self, tag: int) -> list[str]:
        offsets = [value for number, value in self.dynamic() if number == tag]
        if not offsets:
            return []
        address, size = self.dynamic_value(DT_STRTAB), self.dynamic_value(DT_STRSZ)
        if address is None or size is None:
            raise self.bad("is damaged: its dynamic section names no string table")
        table = self.read(address, size)
        return [self.string(table, offset) for offset in offsets]

    @property
    def is_program(self) -> bool:
        """Whether it is a program, at a fixed address or position independent, and not a shared library."""
        return self.type == "ET_EXEC" or bool((self.dynamic_value(DT_FLAGS_1) or 0) & DF_1_PIE)

    @property
    def soname(self) -> str | None:
        """The shared object name (DT_SONAME), or None."""
        names = self._dynamic_strings(DT_SONAME)
        return names[0] if names else None

    @property
    def needed(self) -> list[str]:
        """The names of the libraries that this one needs (DT_NEEDED), a list of str."""
        return self._dynamic_strings(DT_NEEDED)

    # ------------------------------------------------------------- symbols

    def dynamic_symbols(self) -> list[Symbol]:
        """All entries of .dynsym, a list of Symbol; found through the section headers, so empty without them."""
        return self._symbol_table("SHT_DYNSYM")

    def symbols(self) -> list[Symbol]:
        """All entries of .symtab, a list of Symbol; empty for a stripped file."""
        return self._symbol_table("SHT_SYMTAB")

    def symbol_section(self, kind: str) -> Section | None:
        """The section of type ``SHT_DYNSYM`` or ``SHT_SYMTAB``, or None; raises BadElf when it is malformed."""
        return symbol_section(self, kind)

    def _symbol_table(self, kind: str) -> list[Symbol]:
        if kind not in self._symbols:
            self._symbols[kind] = read_symbols(self, kind)
        return self._symbols[kind]

    def find_dynamic_symbol(self, name: str) -> Symbol | None:
        """The defined dynamic symbol called ``name``, its default version if it has several, or None."""
        if name not in self._found:
            defined = [symbol for symbol in self.dynamic_symbols() if symbol.name == name and symbol.defined]
            # False comes before True.
            self._found[name] = min(defined, key=lambda symbol: symbol.hidden) if defined else None
        return self._found[name]

    # --------------------------------------------------------- relocations

    def relocations(self) -> list[Relocation]:
        """All dynamic relocations with addend (DT_RELA and DT_JMPREL), a list of Relocation."""
        return read_relocations(self)

    def relative_addresses(self) -> dict[int, int]:
        """Every place that the loader fills with an address of this file: {place: address}, both link-time.

        From R_RELATIVE relocations and from DT_RELR, where the file's contents are the addend.
        """
        return read_relative_addresses(self)

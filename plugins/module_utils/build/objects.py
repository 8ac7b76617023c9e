# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A relocatable object file, to be read and changed.

Source: the System V gABI, chapter 4.
"""

from __future__ import annotations

import struct

from ..arch.object_relocations import RELOCATIONS, SIZES
from ..atomic_file import read_file
from ..elf.headers import HEADER_SIZE, SECTION_HEADER_SIZE, decode_header, decode_section_headers
from ..errors import BadElf
from ..named_tuple import NamedTuple

SHN_LORESERVE = 0xFF00
SHN_COMMON = 0xFFF2
SHN_XINDEX = 0xFFFF
SHF_WRITE = 1
SHF_ALLOC = 2
SHF_EXECINSTR = 4
SHF_MERGE = 0x10
SHF_STRINGS = 0x20
SHF_TLS = 0x400

STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_SECTION, STT_FILE, STT_COMMON, STT_TLS, STT_GNU_IFUNC = 0, 1, 2, 3, 4, 5, 6, 10
STB_LOCAL, STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE = 0, 1, 2, 10
STV_DEFAULT, STV_INTERNAL, STV_HIDDEN, STV_PROTECTED = 0, 1, 2, 3

_SYMBOL = struct.Struct("<IBBHQQ")
_RELA = struct.Struct("<QQq")


class Symbol(NamedTuple):
    """One symbol; ``file`` is the name of the source file for a local one that tells."""

    index: int  # type: ignore[assignment]  # a tuple's method, which nobody calls here
    name: str
    type: int
    binding: int
    visibility: int
    section: int
    value: int
    size: int

    @property
    def defined(self) -> bool:
        """Whether it lies in a section of this file."""
        return 0 < self.section < SHN_LORESERVE


class Relocation(NamedTuple):
    """One relocation; ``position`` is where it stands in the file, ``kind`` the name of its type."""

    offset: int
    type: int
    symbol: int
    addend: int
    position: int

    @property
    def kind(self) -> str:
        """The type's name (arch.object_relocations), or its number."""
        return RELOCATIONS.get(self.type, str(self.type))

    @property
    def size(self) -> int:
        """How many bytes it changes."""
        return SIZES.get(self.kind, 4)


class ObjectSection(NamedTuple):
    """One section; ``relocations`` by offset, ``symbols`` that lie in it (functions, data, labels) by address."""

    index: int  # type: ignore[assignment]
    name: str
    type: str
    flags: int
    offset: int
    size: int
    link: int
    info: int
    entry_size: int
    relocations: list[Relocation]
    symbols: list[Symbol]

    @property
    def is_code(self) -> bool:
        """Whether it holds instructions."""
        return bool(self.flags & SHF_EXECINSTR)

    @property
    def is_constant(self) -> bool:
        """Whether what it holds never changes once the loader has filled it in."""
        return not self.flags & SHF_WRITE or self.name.startswith(".data.rel.ro")


class ObjectFile:
    """One relocatable object of our architecture, decoded.

    Attributes: ``path``, ``data`` (a bytearray), ``sections``, ``symbols``.
    """

    def __init__(self, path: str) -> None:
        """
        :raises FileProblem: it cannot be read.
        :raises BadElf: it is not a sound relocatable object.
        """
        self.path = path
        self.data = bytearray(read_file(path))
        if len(self.data) < HEADER_SIZE or self.data[:4] != b"\x7fELF":
            raise BadElf(f"{path} is not an ELF object")
        self.header = decode_header(bytes(self.data[:HEADER_SIZE]))
        if self.header.type != "ET_REL":
            raise BadElf(f"{path} is no relocatable object, but of type {self.header.type}")
        try:
            self._decode()
        except (struct.error, IndexError, ValueError) as error:
            raise BadElf(f"{path} is a damaged object ({error})") from error

    def _decode(self) -> None:
        start = self.header.sections
        # The numbers of a file with very many sections stand in the first section header.
        first = decode_section_headers(bytes(self.data[start:start + SECTION_HEADER_SIZE]))[0]
        count = self.header.section_count or first.size
        names = first.link if self.header.names == SHN_XINDEX else self.header.names
        entries = decode_section_headers(bytes(self.data[start:start + count * SECTION_HEADER_SIZE]))
        self.sections = [
            ObjectSection(index, self._string(entries[names].offset + entry.name), entry.type, entry.flags,
                          entry.offset, entry.size, entry.link, entry.info, entry.entry_size, [], [])
            for index, entry in enumerate(entries)
        ]
        self.symbols: list[Symbol] = []
        self.symbol_section: ObjectSection | None = None
        extended: list[int] = []
        for section in self.sections:
            if section.type == "SHT_SYMTAB_SHNDX":
                extended = list(struct.unpack_from(f"<{section.size // 4}I", self.data, section.offset))
        for section in self.sections:
            if section.type == "SHT_SYMTAB":
                self.symbol_section = section
                self._decode_symbols(section, extended)
        for section in self.sections:
            if section.type == "SHT_RELA" and 0 < section.info < len(self.sections) and not section.flags & SHF_ALLOC:
                found = self.sections[section.info].relocations
                for position in range(section.offset, section.offset + section.size, _RELA.size):
                    offset, info, addend = _RELA.unpack_from(self.data, position)
                    found.append(Relocation(offset, info & 0xFFFFFFFF, info >> 32, addend, position))
                found.sort()

    def _decode_symbols(self, section: ObjectSection, extended: list[int]) -> None:
        strings = self.sections[section.link].offset
        for index in range(section.size // _SYMBOL.size):
            name, info, other, place, value, size = _SYMBOL.unpack_from(
                self.data, section.offset + index * _SYMBOL.size)
            if place == SHN_XINDEX and extended:
                place = extended[index]
            kind = info & 15
            defined = 0 < place < len(self.sections) and place < SHN_LORESERVE
            label = self.sections[place].name if kind == STT_SECTION and defined else self._string(strings + name)
            symbol = Symbol(index, label, kind, info >> 4, other & 3, place, value, size)
            self.symbols.append(symbol)
            if defined and kind not in (STT_SECTION, STT_FILE):
                self.sections[place].symbols.append(symbol)
        for each in self.sections:
            each.symbols.sort(key=lambda symbol: (symbol.value, symbol.index))

    def _string(self, offset: int) -> str:
        return self.data[offset:self.data.index(0, offset)].decode("utf-8", "backslashreplace")

    def contents(self, section: ObjectSection) -> bytes:
        """The bytes of a section; none for what is zero in memory."""
        if section.type == "SHT_NOBITS":
            return b""
        return bytes(self.data[section.offset:section.offset + section.size])


class ObjectEditor:
    """Changes to an ObjectFile: relocations, bytes, visibilities, new symbols."""

    def __init__(self, file: ObjectFile) -> None:
        self.file = file
        if file.symbol_section is None:
            raise BadElf(f"{file.path} has no symbol table; is it an object file?")
        self._table = file.symbol_section
        strings = file.sections[self._table.link]
        self._strings = bytearray(file.data[strings.offset:strings.offset + strings.size])
        self._added: list[bytes] = []
        self._indices: dict[str, int] = {}

    def symbol(self, name: str, section: int = 0, value: int = 0, size: int = 0, kind: int = STT_NOTYPE,
               visibility: int = STV_HIDDEN) -> int:
        """The index of a new global symbol, undefined unless a section is given; the same again for the same name."""
        if name not in self._indices:
            self._added.append(_SYMBOL.pack(
                len(self._strings), STB_GLOBAL << 4 | kind, visibility, section, value, size))
            self._strings += name.encode() + b"\0"
            self._indices[name] = len(self.file.symbols) + len(self._added) - 1
        return self._indices[name]

    def relocate(self, relocation: Relocation, symbol: int, kind: int | None = None, addend: int | None = None,
                 offset: int | None = None) -> None:
        """Have a relocation mean another symbol, and be of another type, addend or place where they are given."""
        _RELA.pack_into(
            self.file.data, relocation.position, relocation.offset if offset is None else offset,
            symbol << 32 | (relocation.type if kind is None else kind),
            relocation.addend if addend is None else addend)

    def rename(self, symbol: Symbol, name: str) -> None:
        """Give a symbol another name."""
        struct.pack_into("<I", self.file.data, self._table.offset + symbol.index * _SYMBOL.size, len(self._strings))
        self._strings += name.encode() + b"\0"

    def hide(self, symbol: Symbol) -> None:
        """Make a global symbol invisible outside the file that is linked."""
        place = self._table.offset + symbol.index * _SYMBOL.size + 5
        self.file.data[place] = self.file.data[place] & ~3 | STV_HIDDEN

    def finish(self) -> bytes:
        """The bytes of the changed object."""
        data = bytearray(self.file.data)
        strings = self.file.sections[self._table.link]
        table = bytes(data[self._table.offset:self._table.offset + self._table.size]) + b"".join(self._added)
        for section, contents in ((self._table, table), (strings, bytes(self._strings))):
            data += b"\0" * (-len(data) % 8)
            # sh_offset and sh_size of its header.
            header = self.file.header.sections + section.index * SECTION_HEADER_SIZE
            struct.pack_into("<QQ", data, header + 24, len(data), len(contents))
            data += contents
        return bytes(data)

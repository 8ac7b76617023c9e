# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The symbol table of a stripped file, from where it was kept: the debug file, or the same code built again.

Sources: the System V gABI (ELF header, notes); the manual of gdb, "Debugging Information in Separate Files" (build ID
directories) and "Debugging information in a special section" (.gnu_debugdata).
"""

from __future__ import annotations

import lzma
import os
import struct
from typing import TYPE_CHECKING

from ..atomic_file import read_file
from ..errors import BadElf, FileProblem, NotPatchable
from ..named_tuple import NamedTuple
from .headers import HEADER_SIZE
from .image import ElfImage
from .notes import NT_GNU_BUILD_ID

if TYPE_CHECKING:
    from .image import Section
    from .symbols import Symbol

DEBUG_DIRECTORY = "/usr/lib/debug/.build-id"
_MINIMAL = ".gnu_debugdata"
# Bytes: a symbol table alone is never larger.
_LARGEST_MINIMAL = 1 << 27
_SEGMENT_COUNT = 56  # where e_phnum stands in the ELF header
_NOTE = struct.Struct("<III4s")


class SeparateSymbols(NamedTuple):
    """The symbols of a file, a list of Symbol, and the path they were read from; None: the file itself."""

    symbols: list[Symbol]
    path: str | None


def symbols_of(image: ElfImage, path: str | os.PathLike[str] | None = None) -> SeparateSymbols:
    """All symbols of a file, static functions included where anything tells them.

    :param image: ElfImage.
    :param path: a file with its symbol table: its debug file, or the same code built again.  None: look in the file,
        and in the debug directory.
    :return: SeparateSymbols.
    :raises FileProblem, BadElf: ``path`` cannot be read, or is no ELF file.
    :raises NotPatchable: ``path`` has no symbol table, or is not for this file.
    """
    if path is not None:
        other = _sections(read_file(path), path)
        require_same_code(image, other)
        if not other.symbols():
            raise NotPatchable(f"{path} has no symbol table; name the debug file of {image.name}, or that file"
                               " before it was stripped")
        return SeparateSymbols(image.dynamic_symbols() + other.symbols(), str(path))
    if image.symbols():
        return SeparateSymbols(image.dynamic_symbols() + image.symbols(), None)
    found = _in_debug_directory(image)
    if found is not None:
        return SeparateSymbols(image.dynamic_symbols() + found.symbols(), found.name)
    minimal = _minimal(image)
    return SeparateSymbols(image.dynamic_symbols() + (minimal.symbols() if minimal else []), None)


def require_same_code(image: ElfImage, other: ElfImage) -> None:
    """Make sure that the symbols of ``other`` are those of the code in ``image``; NotPatchable where they are not."""
    for section in image.code_sections():
        twin = other.section(section.name)
        if twin is None or (twin.address, twin.size) != (section.address, section.size):
            raise _differs(image, other, section)
        if twin.type == "SHT_NOBITS":
            # A debug file has no code, so its build ID must do.
            build_id = _build_id(other)
            if image.build_id is None or build_id != image.build_id:
                raise NotPatchable(
                    f"{other.name} is not the debug file of {image.name}: its build ID is"
                    f" {build_id.hex() if build_id else 'missing'},"
                    f" not {image.build_id.hex() if image.build_id else 'known'}")
        elif other.section_data(twin) != image.section_data(section):
            raise _differs(image, other, section)


def _sections(data: bytes, name: object) -> ElfImage:
    """The ElfImage of a file of which only the sections count: the segments of a debug file lie nowhere."""
    headless = bytearray(data)
    if len(data) >= HEADER_SIZE:
        struct.pack_into("<H", headless, _SEGMENT_COUNT, 0)
    return ElfImage.parse(bytes(headless), name)


def _build_id(other: ElfImage) -> bytes | None:
    """The build ID of what _sections() gave."""
    section = other.section(".note.gnu.build-id")
    if section is None or section.size < _NOTE.size:
        return None
    contents = other.section_data(section)
    name, size, kind, owner = _NOTE.unpack_from(contents.ljust(_NOTE.size, b"\0"))
    if (name, kind, owner) != (4, NT_GNU_BUILD_ID, b"GNU\0"):
        return None
    return contents[_NOTE.size:_NOTE.size + size] or None


def _differs(image: ElfImage, other: ElfImage, section: Section) -> NotPatchable:
    return NotPatchable(
        f"{other.name} is not the same code as {image.name}: their sections {section.name} differ; build it from the"
        " same source with the same compiler and options, or install the debug file")


def _in_debug_directory(image: ElfImage) -> ElfImage | None:
    """The debug file that the build ID leads to, or None."""
    if image.build_id is None:
        return None
    name = image.build_id.hex()
    path = os.path.join(DEBUG_DIRECTORY, name[:2], f"{name[2:]}.debug")
    if not os.path.exists(path):
        return None
    try:
        other = _sections(read_file(path), path)
        require_same_code(image, other)
    except (BadElf, FileProblem, NotPatchable):
        # Nobody has asked for that file; without it only exported functions have names.
        return None
    return other


def _minimal(image: ElfImage) -> ElfImage | None:
    """The compressed symbol table that some distributions leave in a stripped file, or None."""
    section = image.section(_MINIMAL)
    if section is None:
        return None
    try:
        contents = lzma.LZMADecompressor().decompress(image.section_data(section), _LARGEST_MINIMAL)
        other = _sections(contents, f"{image.name} ({_MINIMAL})")
        require_same_code(image, other)
    except (lzma.LZMAError, BadElf, NotPatchable):
        return None
    return other

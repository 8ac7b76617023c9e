# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Append a section to an ELF file without moving anything that is in it.

The new contents, a copy of the section names with one more, and a copy of the
section header table with one more go to the end of the file; only the ELF
header changes (gABI, chapter 4: e_shoff, e_shnum).  No segment covers them, so
the loader does not see them.
"""

from __future__ import annotations

import struct

from .image import SHN_LORESERVE, ElfImage

_SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
_SHT_PROGBITS = 1
_ELF_HEADER_E_SHOFF = 0x28
_ELF_HEADER_E_SHNUM = 0x3C
_ELF_HEADER_E_SHSTRNDX = 0x3E


def append_section(image: ElfImage, name: str, contents: bytes) -> bytes:
    """The bytes of a copy of ``image`` with one more section, which no segment loads.

    :param image: ElfImage with section headers and without a section of that name.
    :param name: the section's name.
    :param contents: its bytes.
    :raises BadElf: the file has no section headers, such a section already, or no room for one more.
    """
    if not image.sections:
        raise image.bad("has no section headers; use a file that was not stripped of them")
    if image.section(name) is not None:
        raise image.bad(f"already has a section {name}")
    if len(image.sections) + 1 >= SHN_LORESERVE:
        raise image.bad("has too many sections to take one more")
    data = bytearray(image.data[:])
    header_offset = struct.unpack_from("<Q", data, _ELF_HEADER_E_SHOFF)[0]
    names_index = struct.unpack_from("<H", data, _ELF_HEADER_E_SHSTRNDX)[0]
    headers = bytearray(data[header_offset:header_offset + len(image.sections) * _SECTION_HEADER.size])

    contents_offset = _append(data, contents, 8)
    old_names = image.section_data(image.sections[names_index])
    names_offset = _append(data, old_names + name.encode() + b"\0", 1)
    headers += _SECTION_HEADER.pack(
        len(old_names), _SHT_PROGBITS, 0, 0, contents_offset, len(contents), 0, 0, 1, 0)
    names_header = list(_SECTION_HEADER.unpack_from(headers, names_index * _SECTION_HEADER.size))
    names_header[4] = names_offset
    names_header[5] = len(old_names) + len(name) + 1
    _SECTION_HEADER.pack_into(headers, names_index * _SECTION_HEADER.size, *names_header)
    headers_offset = _append(data, headers, 8)
    struct.pack_into("<Q", data, _ELF_HEADER_E_SHOFF, headers_offset)
    struct.pack_into("<H", data, _ELF_HEADER_E_SHNUM, len(image.sections) + 1)
    return bytes(data)


def _append(data: bytearray, contents: bytes, alignment: int) -> int:
    data.extend(bytes(-len(data) % alignment))
    offset = len(data)
    data.extend(contents)
    return offset

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ELF headers, compared with what pyelftools makes of the machine's own programs and libraries."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.headers import (
    HEADER_SIZE,
    decode_header,
    decode_program_headers,
    decode_section_headers,
)

FILES = [
    Path(sys.executable).resolve(),
    Path("/bin/sh").resolve(),
    Path("/lib/x86_64-linux-gnu/libc.so.6").resolve(),
    Path("/lib64/ld-linux-x86-64.so.2").resolve(),
    next(Path("/usr/lib/gcc/x86_64-linux-gnu").glob("*/crtbegin.o")),
]


def number_or_name(value, prefix):
    return value if isinstance(value, str) else f"{prefix}{value:#x}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_as_pyelftools(path):
    """Seen to fail with two fields of a header exchanged."""
    data = path.read_bytes()
    header = decode_header(data)
    with path.open("rb") as stream:
        expected = ELFFile(stream)
        assert tuple(header)[1:] == (expected.header["e_type"], 62, 1, *(expected.header[name] for name in (
            "e_entry", "e_phoff", "e_shoff", "e_flags", "e_ehsize",
            "e_phentsize", "e_phnum", "e_shentsize", "e_shnum", "e_shstrndx",
        )))
        segments = decode_program_headers(
            data[header.segments:header.segments + header.segment_count * header.segment_size]
        )
        assert [tuple(segment) for segment in segments] == [
            (number_or_name(segment["p_type"], "PT_"), *(segment[name] for name in (
                "p_flags", "p_offset", "p_vaddr", "p_paddr", "p_filesz", "p_memsz", "p_align",
            )))
            for segment in expected.iter_segments()
        ]
        sections = decode_section_headers(
            data[header.sections:header.sections + header.section_count * header.section_size]
        )
        assert [tuple(section) for section in sections] == [
            (section["sh_name"], number_or_name(section["sh_type"], "SHT_"), *(section[name] for name in (
                "sh_flags", "sh_addr", "sh_offset", "sh_size", "sh_link", "sh_info", "sh_addralign", "sh_entsize",
            )))
            for section in expected.iter_sections()
        ]
        assert sections or path.suffix != ".o"


def test_numbers_without_a_name():
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF", 0xFE00, 62, 1, *range(10))
    assert decode_header(header).type == "ET_0xfe00"
    assert decode_program_headers(struct.pack("<IIQQQQQQ", 0x6FFFFFFA, *range(7)))[0].type == "PT_0x6ffffffa"


def test_half_a_header():
    with pytest.raises(struct.error):
        decode_header(b"\x7fELF" + bytes(HEADER_SIZE - 5))
    with pytest.raises(struct.error):
        decode_program_headers(bytes(57))
    with pytest.raises(struct.error):
        decode_section_headers(bytes(65))

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a file's headers say, few of its bytes are read, and no number is given to a system call that takes none."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.libpulp.livepatch.plugins.module_utils.atomic_file import read_file
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf import contents
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.contents import FileContents, read_piece
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.patchable import patchable_functions
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import BadElf, FileProblem
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.survey import (
    EXCESSIVE,
    MOST_BYTES,
    UNREADABLE,
    survey,
)

PT_LOAD, PT_DYNAMIC, PT_NOTE = 1, 2, 4
HUGE = (1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


def header(segments=(), offset=64, count=None, sections=0, section_count=0, names=0):
    """The ELF header of a shared library for x86-64 and its program headers."""
    first = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01" + bytes(9), 3, 62, 1, 0, offset, sections, 0, 64, 56,
        len(segments) if count is None else count, 64, section_count, names)
    return first + b"".join(segments)


def segment(kind, flags=4, offset=0, address=0, filesz=0, memsz=0, align=4096):
    return struct.pack("<IIQQQQQQ", kind, flags, offset, address, address, filesz, memsz, align)


@pytest.fixture(name="opened")
def fixture_opened(tmp_path):
    """A function that gives a descriptor of a file with those bytes, and of any length."""
    descriptors = []

    def opened(data, length=None):
        path = tmp_path / f"{len(descriptors)}"
        path.write_bytes(data)
        if length is not None:
            os.truncate(path, length)
        descriptors.append(os.open(path, os.O_RDONLY))
        return descriptors[-1]

    yield opened
    for descriptor in descriptors:
        os.close(descriptor)


@pytest.fixture(name="asked", autouse=True)
def fixture_asked(monkeypatch):
    """The sizes that the kernel was asked for, and so what memory we took."""
    sizes = []
    pread = os.pread

    def counting(descriptor, size, offset):
        sizes.append(size)
        return pread(descriptor, size, offset)

    monkeypatch.setattr(contents.os, "pread", counting)
    return sizes


SIXTEEN_MEGABYTES = 1 << 24
KINDS = {
    "program headers beyond any file": (header(offset=1 << 63, count=3), None),
    "section headers beyond any file": (header(sections=(1 << 64) - 64, section_count=3, names=1), None),
    "65,535 notes": (header([segment(PT_NOTE, filesz=SIXTEEN_MEGABYTES)] * 65535), EXCESSIVE),
    "many long notes": (header([segment(PT_NOTE, filesz=60000)] * 1000), EXCESSIVE),
    "notes that are too long together": (header([segment(PT_NOTE, filesz=60000)] * 100), EXCESSIVE),
    "one long note": (header([segment(PT_NOTE, filesz=SIXTEEN_MEGABYTES)]), EXCESSIVE),
    "a note beyond any file": (header([segment(PT_NOTE, offset=1 << 63, filesz=64)]), None),
    "a long dynamic section": (header([segment(PT_DYNAMIC, filesz=1 << 40)]), EXCESSIVE),
}


@pytest.mark.parametrize("data, found", KINDS.values(), ids=KINDS)
def test_survey_reads_little(opened, asked, data, found):
    """Guards everybody on the host from one file. Seen to fail with ``OverflowError``, and a terabyte of zeros read."""
    assert survey(opened(data, SIXTEEN_MEGABYTES)) is found
    assert sum(asked) <= MOST_BYTES


@pytest.mark.parametrize("data, found", KINDS.values(), ids=KINDS)
def test_image_reads_little(opened, asked, data, found):
    descriptor = opened(data, 1 << 40)
    with pytest.raises(BadElf, match="takes too long to examine|beyond the end of the file|damaged"):
        image = ElfImage.parse(FileContents(os.dup(descriptor), "x"), "x")
        image.notes()
        image.dynamic()
    assert sum(asked) <= 1 << 20


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_survey_of_any_numbers(tmp_path_factory, data):
    """Guards against a traceback, whichever field of the headers is absurd."""
    name = tmp_path_factory.getbasetemp() / "any"
    numbers = st.sampled_from(HUGE) | st.integers(0, 4096)
    kinds = st.sampled_from((PT_LOAD, PT_DYNAMIC, PT_NOTE))
    segments = [
        segment(data.draw(kinds), 5, *(data.draw(numbers) for _field in range(5)))
        for _each in range(data.draw(st.integers(0, 4)))
    ]
    name.write_bytes(header(
        segments, data.draw(st.just(64) | numbers), None, data.draw(numbers), data.draw(st.integers(0, 5)),
        data.draw(st.integers(0, 5))) + bytes(data.draw(st.integers(0, 4096))))
    descriptor = os.open(name, os.O_RDONLY)
    try:
        survey(descriptor)
        try:
            image = ElfImage.parse(FileContents(os.dup(descriptor), "x"), "x")
            image.notes()
            assert image.soname is None
            patchable_functions(image)
        except BadElf:
            pass
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("offset, size", [(1 << 63, 1), (-1, 1), (0, -1), (0, 1 << 62), ((1 << 63) - 1, 4)])
def test_no_number_reaches_the_system_call(opened, asked, offset, size):
    with pytest.raises(ValueError):
        read_piece(opened(b"x"), offset, size)
    assert asked == []


def test_contents_are_the_files(opened):
    data = bytes(range(256)) * 1024
    found = FileContents(os.dup(opened(data)), "x")
    assert len(found) == len(data)
    for start, end in ((0, 20), (5, 5), (65530, 65600), (0, 200000), (262140, 262144), (262140, 300000), (7, 3)):
        assert found[start:end] == data[start:end]
    assert found[:] == data
    assert found[-4:] == data[-4:]


def test_short_pieces_are_not_read_one_by_one(opened, asked):
    found = FileContents(os.dup(opened(bytes(1 << 16))), "x")
    for position in range(0, 1 << 16, 8):
        assert found[position:position + 8] == bytes(8)
    assert len(asked) == 1


def test_file_that_is_truncated_while_it_is_read(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(1 << 17))
    found = FileContents(os.open(path, os.O_RDONLY), "x")
    assert found[:16] == bytes(16)
    os.truncate(path, 100)
    with pytest.raises(BadElf, match="was truncated while it was read"):
        _nothing = found[1 << 16:(1 << 16) + 8]


def test_budget_of_one_file(opened, monkeypatch):
    """Guards against reading the same holes for ever."""
    monkeypatch.setattr(contents, "MOST_BYTES", 1 << 20)
    found = FileContents(os.dup(opened(b"", 1 << 40)), "x")
    with pytest.raises(BadElf, match="has a part of 1099511627776 bytes"):
        _nothing = found[:]
    found = FileContents(os.dup(opened(b"", 1 << 40)), "x")
    with pytest.raises(BadElf, match="makes us read more than 1048576 bytes"):
        for position in range(0, 1 << 40, 1 << 18):
            _nothing = found[position:position + (1 << 18)]


def test_file_of_ones_own_may_not_be_larger_than_memory_either(tmp_path):
    """Guards the command against a file with holes. Seen to fail with ``MemoryError``."""
    path = tmp_path / "holes"
    path.write_bytes(b"\x7fELF")
    os.truncate(path, 1 << 42)
    with pytest.raises(FileProblem, match="it is longer than 1073741824 bytes"):
        read_file(path)


def test_file_that_cannot_be_read_counts_as_one_of_which_nobody_can_tell(opened):
    reading = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        assert survey(reading) is UNREADABLE
    finally:
        os.close(reading)


def test_descriptor_is_closed_with_its_contents(opened):
    descriptor = os.dup(opened(b"x"))
    found = FileContents(descriptor, "x")
    assert found[:1] == b"x"
    del found
    with pytest.raises(OSError):
        os.fstat(descriptor)

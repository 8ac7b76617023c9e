# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mapped files are the files that are mapped, whatever lies at their paths now."""

from __future__ import annotations

import os
import shutil
import struct
import tracemalloc

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf import contents
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import BadElf
from ansible_collections.libpulp.livepatch.plugins.module_utils.process import mapped, maps
from ansible_collections.libpulp.livepatch.plugins.module_utils.process import survey as survey_module
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.errors import StateUnreadable
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.safe_point import survey_grounds
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.subject import examine
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.survey import UNREACHABLE, survey


def library_of(victim, files):
    libraries = files.libraries(victim.pid, maps.read_maps(victim.pid))
    return next(library for library in libraries if library.name == "libvictim.so")


def test_survey_agrees_with_the_thorough_reader(layout, start, files):
    image = ElfImage.open(layout.library)
    found = library_of(start(layout), files)
    assert found.survey.build_id == image.build_id.hex()
    assert found.survey.soname == image.soname == "libvictim.so"
    assert found.survey.padded
    assert not found.survey.interpreter
    assert found.text_start == found.base + image.text_range[0]
    assert found.text_end == found.base + image.text_range[1]
    assert not found.deleted


def test_load_bias_is_right(layout, start, files):
    from ansible_collections.libpulp.livepatch.plugins.module_utils.process.memory import read_memory

    victim = start(layout)
    found = library_of(victim, files)
    image = ElfImage.open(layout.library)
    address = image.find_dynamic_symbol("increment").value
    assert read_memory(victim.pid, found.base + address, 16) == image.read(address, 16)


@pytest.fixture(name="replaced")
def fixture_replaced(padded, tmp_path, start):
    """A victim whose library was replaced on disk after it had started."""
    for name in ("libvictim.so", "app", "victim.ulp"):
        shutil.copy(padded.directory / name, tmp_path / name)
    moved = padded._replace(directory=tmp_path, library=tmp_path / "libvictim.so", app=tmp_path / "app")
    victim = start(moved)
    newer = tmp_path / "newer"
    shutil.copy("/bin/true", newer)
    os.replace(newer, moved.library)
    return victim


def test_replaced_file_is_read_through_the_mapping(replaced, padded, files):
    found = library_of(replaced, files)
    assert found.deleted
    assert files.image(replaced.pid, found.mapping).build_id == ElfImage.open(padded.library).build_id


def test_replaced_file_without_the_right_to_follow_the_mapping(replaced, files, monkeypatch):
    monkeypatch.setattr(mapped, "_map_file", lambda pid, mapping: "/nonexistent")
    mapping = next(found for found in maps.read_code_maps(replaced.pid) if found.path.endswith("libvictim.so"))
    with pytest.raises(StateUnreadable, match=r"libvictim\.so cannot be reached any more"):
        mapped.open_mapped(replaced.pid, mapping)
    assert files.survey(replaced.pid, mapping) is UNREACHABLE
    assert files.loaded(replaced.pid, [mapping]) == ([], [(mapping, UNREACHABLE.obstacle)])


def test_map_that_has_changed_since_it_was_read(padded, start, files, monkeypatch):
    """Guards against a library that nobody sees because one of its mappings has gone.

    Seen to fail: no library, and nothing that may be one either.
    """
    victim = start(padded)
    mapping = next(found for found in maps.read_code_maps(victim.pid) if found.path.endswith("libvictim.so"))
    gone = mapping._replace(start=mapping.start, end=mapping.start + 0x1000, path="/nowhere")
    rest = mapping._replace(offset=mapping.offset + (1 << 30))
    real = mapped._map_file
    monkeypatch.setattr(
        mapped, "_map_file", lambda pid, mapping: "/nonexistent" if mapping == gone else real(pid, mapping))
    (library,), unidentified = files.loaded(victim.pid, [gone, rest])
    assert (library.mapping, unidentified) == (gone, [])


def test_path_is_good_enough_while_it_is_the_same_file(padded, start, files, monkeypatch):
    monkeypatch.setattr(mapped, "_map_file", lambda pid, mapping: "/nonexistent")
    victim = start(padded)
    assert library_of(victim, files).survey.build_id == ElfImage.open(padded.library).build_id.hex()


def test_library_is_read_once_for_all_processes(padded, start, files, monkeypatch):
    first, second = start(padded), start(padded)
    image = files.image(first.pid, library_of(first, files).mapping)
    monkeypatch.setattr(ElfImage, "parse", None)
    assert files.image(second.pid, library_of(second, files).mapping) is image


def test_file_is_not_opened_for_each_process(padded, start, files, monkeypatch):
    """Seen to fail with image() in place of named_image(): each process's runtime and livepatch were found anew."""
    first, second = start(padded), start(padded)
    image = files.named_image(first.pid, library_of(first, files).mapping)
    found = library_of(second, files).mapping
    monkeypatch.setattr(mapped, "find", None)
    assert files.named_image(second.pid, found) is image
    monkeypatch.setattr(mapped, "FRESH_SECONDS", 0.0)
    with pytest.raises(TypeError):
        files.named_image(second.pid, found)


@pytest.mark.parametrize("size", [0, 3, 63, 64, 200, 1000])
def test_survey_of_damaged_files(padded, tmp_path, size):
    part = tmp_path / "part"
    part.write_bytes(padded.library.read_bytes()[:size])
    with open(part, "rb") as stream:
        found = survey(stream.fileno())
    # Either it is seen to be damaged, or what it tells is what the file's remaining bytes say.
    assert found is None or found.build_id in (None, ElfImage.open(padded.library).build_id.hex())


@pytest.mark.parametrize("segments, build_id_size, name_size", [(1100, 20, 10), (100, 60000, 10), (127, 64, 60000)])
def test_survey_keeps_little(tmp_path, segments, build_id_size, name_size):
    """Guards memory, as one process may map thousands of such files.

    Seen to fail: a file of 1,100 segments took 300 KB, and one with a long build ID 120 KB, 16,384 times.
    """
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01" + bytes(9), 3, 62, 1, 0, 64, 0, 0, 64, 56,
                         segments + 3, 64, 0, 0)
    note = struct.pack("<III4s", 4, build_id_size, 3, b"GNU\0").ljust(build_id_size + 16, b"\xaa")
    dynamic = struct.pack("<6Q", 5, 1 << 40, 10, name_size, 14, 0)
    place = 1 << 16
    pieces = [(4, 0, place, note), (2, 0, place + len(note), dynamic),
              (1, 1 << 40, place + len(note) + len(dynamic), "\u20ac".encode() * (name_size // 3))]
    table = b"".join(struct.pack("<IIQQQQQQ", kind, 5, offset, address, 0, len(data), len(data), 8)
                     for kind, address, offset, data in pieces)
    table += b"".join(struct.pack("<IIQQQQQQ", 1, 5, number << 33, (1 << 41) + (number << 33), 0, 9, 1 << 32, 4096)
                      for number in range(segments))
    path = tmp_path / "large.so"
    path.write_bytes((header + table).ljust(place, b"\0") + b"".join(data for *_where, data in pieces))
    with open(path, "rb") as stream:
        tracemalloc.start()
        try:
            found = survey(stream.fileno())
            kept, _peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert found is not None
    assert kept * mapped._REMEMBERED < 150 << 20


@pytest.mark.parametrize("kind, size", [(4, 60000), (4, 1 << 24), (2, 60000), (2, 1 << 40)])
def test_survey_reads_little(tmp_path, monkeypatch, kind, size):
    """Guards the time of a look at files of others: 120 segments of notes, or of what the loader reads.

    Seen to read 7 MB, and to ask for a terabyte, without the bounds.
    """
    asked = []

    def read_piece(descriptor, offset, length):
        asked.append(length)
        return reading(descriptor, offset, length)

    reading = survey_module.read_piece
    monkeypatch.setattr(survey_module, "read_piece", read_piece)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01" + bytes(9), 3, 62, 1, 0, 64, 0, 0, 64, 56, 120, 64,
                         0, 0)
    path = tmp_path / "large.so"
    path.write_bytes(header + 120 * struct.pack("<IIQQQQQQ", kind, 5, 1 << 16, 1 << 16, 0, size, size, 8))
    os.truncate(path, 1 << 30)
    with open(path, "rb") as stream:
        survey(stream.fileno())
    assert asked and sum(asked) <= survey_module.MOST_BYTES


def test_survey_of_a_foreign_file(padded, tmp_path):
    data = bytearray(padded.library.read_bytes())
    data[18:20] = (183).to_bytes(2, "little")
    foreign = tmp_path / "aarch64"
    foreign.write_bytes(data)
    with open(foreign, "rb") as stream:
        assert not survey(stream.fileno()).native


def test_what_one_makes_us_read_leaves_the_others_enough(padded, start, files, monkeypatch):
    """Guards the limit for one file, which processes share.

    Seen to fail (after 49 processes that were given the runtime, the C library *makes us read more than*) with one
    limit for all processes.
    """
    monkeypatch.setattr(contents, "MOST_BYTES", 1 << 20)
    for _process in range(3):
        pid = start(padded).pid
        library = next(library for library in files.libraries(pid, maps.read_maps(pid)) if library.name == "libc.so.6")
        image = files.image(pid, library.mapping)
        for _time in range(8):
            assert len(image.data[0:1 << 16]) == 1 << 16
        with pytest.raises(BadElf, match="makes us read more than"):
            for _time in range(9):
                assert image.data[0:1 << 16]


def test_the_same_names_are_looked_up_once(padded, start, files, monkeypatch):
    """Guards what each process without the runtime costs: seen to fail with 19 MB read of the C library for each."""
    pieces = []

    def read_piece(descriptor, offset, size):
        pieces.append(size)
        return os.pread(descriptor, size, offset)

    def survey_of(pid):
        survey_grounds(examine(pid, files, absent=True), files)
        return sum(pieces)

    monkeypatch.setattr(contents, "read_piece", read_piece)
    first, second = start(padded, preload=False), start(padded, preload=False)
    assert survey_of(first.pid) == survey_of(second.pid) > 0

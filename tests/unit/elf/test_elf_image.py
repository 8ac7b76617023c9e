# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading ELF files: what gcc made is understood, and whatever is damaged gives one sentence."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.notes import note_places
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.post import rewrite
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import BadElf, FileProblem, UlpError

NATIVE = Path(__file__).resolve().parents[3] / "native"
TRM = NATIVE / "arch" / "x86_64" / "trm.S"

SOURCE = r"""
#include <stdlib.h>
static int __attribute__((noinline)) hidden(int x) { return x * x + 7; }
int visible(int x) { return hidden(x) + 1; }
int twice(int x) { return visible(x) * 2; }
void *table[] = { hidden, visible };
void *grab(int n) { return malloc(n); }
"""


def readelf(*arguments):
    return subprocess.run(
        ["readelf", "-W", *map(str, arguments)], check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


def test_what_the_compiler_made_is_understood(compile_library):
    path = compile_library(SOURCE, "-Wl,-soname,libvisible.so.3", "-Wl,--no-as-needed", "-lm")
    image = ElfImage.open(path)
    assert image.type == "ET_DYN"
    assert image.soname == "libvisible.so.3"
    assert "libm.so.6" in image.needed
    assert f"Build ID: {image.build_id.hex()}" in readelf("-n", path)
    visible = image.find_dynamic_symbol("visible")
    assert (visible.type, visible.binding, visible.visibility) == ("STT_FUNC", "STB_GLOBAL", "STV_DEFAULT")
    assert f"{visible.value:016x}" in readelf("--dyn-syms", path)
    assert image.find_dynamic_symbol("hidden") is None
    assert image.find_dynamic_symbol("malloc") is None  # imported, not defined
    hidden = next(symbol for symbol in image.symbols() if symbol.name == "hidden")
    assert image.text_range[0] <= hidden.value < image.text_range[1]
    assert hidden.value in image.relative_addresses().values()
    assert image.read(hidden.value, 2) == b"\x90\x90"


def test_relocations_packed_as_relr_are_read(compile_library):
    path = compile_library(SOURCE, "-Wl,-z,pack-relative-relocs")
    assert "RELR" in readelf("-d", path)
    image = ElfImage.open(path)
    hidden = next(symbol for symbol in image.symbols() if symbol.name == "hidden")
    assert hidden.value in image.relative_addresses().values()


def test_the_descriptor_of_trm_is_found(compile_file, compile_library, tmp_path):
    trm = tmp_path / "trm.o"
    subprocess.run(
        ["gcc", "-c", "-I", str(NATIVE / "include"), "-o", str(trm), str(TRM)], check=True)
    path = compile_library(SOURCE, str(trm))
    image = ElfImage.open(path)
    descriptor = next(symbol for symbol in image.symbols() if symbol.name == "descriptor")
    assert image.trm_descriptor() == descriptor.value
    assert image.read(image.trm_descriptor(), 8) == (1).to_bytes(8, "little")
    assert ElfImage.open(compile_library(SOURCE, name="without.so")).trm_descriptor() is None


# As of a library whose objects all say -fcf-protection; the property note is aligned to 8 bytes, the others to 4.
NOTES = r"""
__asm__(".pushsection .note.first, \"a\", @note\n .p2align 2\n .long 4, 4, 1\n .asciz \"ABC\"\n .long 7\n"
    ".popsection");
__asm__(".pushsection .note.second, \"a\", @note\n .p2align 2\n .long 4, 4, 2\n .asciz \"ABC\"\n .long 8\n"
    ".popsection");
__asm__(".pushsection .note.gnu.property, \"a\", @note\n .p2align 3\n .long 4, 16, 5\n .asciz \"GNU\"\n"
    ".long 0xc0000002, 4, 3, 0\n .popsection");
"""


@pytest.mark.parametrize("linker", ["bfd", "gold", "lld", "mold"])
def test_notes_of_both_alignments_are_read(linker, compile_library):
    """mold puts them into one segment.

    Seen to fail for mold with "is damaged: a note is longer than its segment", as for each of its programs.
    """
    image = ElfImage.open(compile_library(SOURCE + NOTES, "-nostartfiles", f"-fuse-ld={linker}"))
    notes = {(note.name, note.type): note.descriptor for note in image.notes()}
    assert {(b"ABC\0", 1), (b"ABC\0", 2), (b"GNU\0", 3), (b"GNU\0", 5)} == set(notes)
    assert (notes[b"ABC\0", 1][0], notes[b"ABC\0", 2][0], len(notes[b"GNU\0", 5])) == (7, 8, 16)
    assert f"Build ID: {notes[b'GNU' + bytes(1), 3].hex()}" in readelf("-n", image.name)


def test_gap_between_notes_is_no_note():
    """A linker may place the note that is aligned to 8 bytes last."""
    first = struct.pack("<III4sI", 4, 4, 1, b"ABC\0", 7)
    last = struct.pack("<III4sIIII", 4, 16, 5, b"GNU\0", 0xc0000002, 4, 3, 0)
    data = first + bytes(-len(first) % 8) + last
    assert [(place.type, data[place.start:place.end]) for place in note_places(data, 8)] == [
        (1, first[16:]), (5, last[16:])]


def test_the_descriptor_of_trm_is_found_where_its_note_was_moved(compile_library, tmp_path):
    """patchelf moves notes, and what they lead to by a distance is then elsewhere; there may be something else there.

    Seen to fail with "leads out of the library", and in a larger library with an address in the middle of nothing.
    """
    trm = tmp_path / "trm.o"
    subprocess.run(
        ["gcc", "-c", "-I", str(NATIVE / "include"), "-o", str(trm), str(TRM)], check=True)
    for number, more in enumerate(("", "const char filling[1 << 20] = {1};\n")):
        path = compile_library(SOURCE + more, str(trm), name=f"library{number}.so")
        image = ElfImage.open(path)
        before = image.trm_descriptor()
        note = next(note.address for note in image.notes() if note.name == b"ulp\0")
        subprocess.run(["patchelf", "--set-rpath", "/long" * 100, path], check=True)
        image = ElfImage.open(path)
        assert next(note.address for note in image.notes() if note.name == b"ulp\0") != note
        assert image.trm_descriptor() == before
        # Where it can't be told the sentence says what happened.
        data = bytearray(path.read_bytes())
        offset = image.offset_of(before, 16)
        data[offset:offset + 16] = bytes(16)
        with pytest.raises(BadElf, match="was changed by a tool that has moved the note of trm.o"):
            ElfImage.parse(bytes(data), "changed.so").trm_descriptor()


def test_a_library_without_section_headers_still_has_a_build_id(compile_library):
    path = compile_library(SOURCE)
    data = bytearray(path.read_bytes())
    data[0x28:0x30] = bytes(8)
    data[0x3c:0x40] = bytes(4)
    image = ElfImage.parse(bytes(data), "library")
    assert image.build_id == ElfImage.open(path).build_id
    assert image.sections == [] and image.dynamic_symbols() == []


@pytest.mark.parametrize(("content", "message"), [
    (b"", "is not an ELF file"),
    (b"#!/bin/sh\n", "is not an ELF file"),
    (b"\x7fELF\x02\x01\x01", "is a truncated ELF file"),
])
def test_files_that_are_not_elf_are_refused(tmp_path, content, message):
    path = tmp_path / "file.so"
    path.write_bytes(content)
    with pytest.raises(BadElf) as caught:
        ElfImage.open(path)
    assert str(caught.value).startswith(f"{path} {message}")


def test_a_missing_file_and_a_directory_are_refused(tmp_path):
    with pytest.raises(FileProblem, match=r"cannot read .*absent\.so: No such file"):
        ElfImage.open(tmp_path / "absent.so")
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", "/dev/zero"):
        with pytest.raises(FileProblem) as caught:
            ElfImage.open(path)
        assert str(caught.value) == f"cannot read {path}: it is not a regular file"


def test_other_classes_machines_and_types_are_refused(compile_file, tmp_path):
    elf32 = tmp_path / "elf32.o"
    source = tmp_path / "empty.s"
    source.write_text("nop\n", encoding="utf-8")
    subprocess.run(["as", "--32", "-o", str(elf32), str(source)], check=True)
    with pytest.raises(BadElf, match="is not a 64-bit ELF file"):
        ElfImage.open(elf32)
    relocatable = compile_file("int f(void) { return 1; }", "-c", name="object.o")
    with pytest.raises(BadElf, match="neither a shared library nor an executable, but of type ET_REL"):
        ElfImage.open(relocatable)
    data = bytearray(relocatable.read_bytes())
    data[18:20] = (183).to_bytes(2, "little")  # EM_AARCH64
    with pytest.raises(BadElf, match="built for another architecture"):
        ElfImage.parse(bytes(data), "object.o")


def test_a_library_without_build_id_says_how_to_get_one(compile_file):
    path = compile_file(SOURCE, "-shared", "-fPIC", "-Wl,--build-id=none")
    with pytest.raises(BadElf, match="has no build ID; link it with -Wl,--build-id"):
        ElfImage.open(path).require_build_id()


def read_everything(data):
    """Everything that any part of the core asks of a library."""
    image = ElfImage.parse(data, "library.so")
    image.symbols()
    image.dynamic_symbols()
    image.relocations()
    image.relative_addresses()
    image.trm_descriptor()
    return [image.soname, image.needed, image.text_range, rewrite(image, allow_untracked=True).functions]


@pytest.fixture(scope="module", name="sound")
def fixture_sound(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sound")
    (directory / "library.c").write_text(SOURCE, encoding="utf-8")
    (directory / "library.map").write_text("V1 { global: visible; twice; grab; local: *; };\n", encoding="utf-8")
    subprocess.run([
        "gcc", "-O2", "-g", "-fPIC", "-shared", "-fpatchable-function-entry=16,14", "-Wl,--build-id",
        f"-Wl,--version-script={directory}/library.map", "-o", str(directory / "library.so"),
        str(directory / "library.c")], check=True)
    data = (directory / "library.so").read_bytes()
    assert read_everything(data)[-1] == 4
    return data


def one_sentence(error, name):
    text = str(error)
    assert text and "\n" not in text and name in text


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_truncation_anywhere_gives_one_sentence(sound, data):
    length = data.draw(st.integers(0, len(sound) - 1))
    with pytest.raises(UlpError) as caught:
        read_everything(sound[:length])
    one_sentence(caught.value, "library.so")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_anywhere_gives_one_sentence_or_is_harmless(sound, data):
    damaged = bytearray(sound)
    # Headers and tables get most of the damage: code and text are most of the file, and hardly matter.
    image = ElfImage.parse(sound, "library.so")
    tables = [(0, 64 + 56 * len(image.segments)), (image.header.sections, len(sound))]
    tables += [(section.offset, section.offset + section.size) for section in image.sections if section.size]
    for _count in range(data.draw(st.integers(1, 6))):
        start, end = data.draw(st.sampled_from(tables))
        position = data.draw(st.integers(start, end - 1))
        change = data.draw(st.one_of(
            st.binary(min_size=1, max_size=8), st.sampled_from([b"\xff" * 8, b"\0" * 8, b"\xff\xff\xff\x7f"])))
        damaged[position:position + len(change)] = change
    try:
        read_everything(bytes(damaged[:len(sound)]))
    except UlpError as error:
        one_sentence(error, "library.so")


def test_a_missing_pyelftools_names_the_package(tmp_path):
    program = (
        "import sys; sys.modules['elftools'] = None\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.frames import FrameDescriptions\n"
        "from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage\n"
        "from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import MissingDependency\n"
        "image = ElfImage.open('/lib/x86_64-linux-gnu/libc.so.6')\n"
        "address = image.find_dynamic_symbol('qsort').value\n"
        "try:\n    FrameDescriptions(image).at(address)\nexcept MissingDependency as error:\n    print(error)\n")
    result = subprocess.run(
        [sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, encoding="utf-8", cwd=tmp_path)
    assert result.stdout.strip().endswith("install the package python3-pyelftools")

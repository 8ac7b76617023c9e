# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The linker that the role prepare_library puts in front of the host's, under real compilers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

ROOT = Path(__file__).resolve().parents[3]
ULP = ROOT / "build" / "ulp"
TRM = ROOT / "build" / "trm.o"
LINKER = ROOT / "roles" / "prepare_library" / "files" / "linker.py"
PADDING = "-fpatchable-function-entry=16,14"
SONAME = "-Wl,-soname,libanswer.so.1"


@pytest.fixture
def build(tmp_path):
    """Compile a library with the linker in front; returns the compiler's run, the library, and what was prepared."""
    front = tmp_path / "linker"
    front.mkdir()
    for name in ("ld", "ld.bfd", "ld.gold", "ld.lld"):
        (front / name).write_text("#!/usr/bin/python3 -I\n" + LINKER.read_text())
        (front / name).chmod(0o755)
    (tmp_path / "answer.c").write_text("int answer(void) { return 42; }\n")
    log, library = tmp_path / "prepared", tmp_path / "libanswer.so"
    environment = {
        **os.environ,
        "PREPARE_TRM": str(TRM),
        "PREPARE_COMMAND": str(ULP),
        "PREPARE_SONAMES": "libother* libanswer.so.*",
        "PREPARE_OPTIONS": "",
        "PREPARE_LOG": str(log),
        "PREPARE_REFUSED": str(tmp_path / "refused"),
    }

    def run(*options, compiler="gcc", form="-shared"):
        done = subprocess.run(
            [compiler, "-O2", "-fPIC", form, "-Wl,--build-id", f"-B{front}/", "-o", library, "answer.c", *options],
            cwd=tmp_path, env=environment, text=True, capture_output=True, check=False)
        return done, library, log.read_text().split() if log.exists() else []

    return run


def tracked(library):
    """How often the object that tracks entries was linked into a library; its descriptor is the library's alone."""
    with open(library, "rb") as file:
        symbols = ELFFile(file).get_section_by_name(".symtab").iter_symbols()
        return sum(symbol.name == "locate" for symbol in symbols)


@pytest.mark.parametrize("compiler, linker", [("gcc", "bfd"), ("gcc", "gold"), ("clang", "lld")])
def test_library_is_prepared_once(build, compiler, linker):
    """Flags come twice from libtool: with trm.o among them, the library would have it twice."""
    done, library, prepared = build(PADDING, SONAME, SONAME, f"-fuse-ld={linker}", compiler=compiler)
    assert done.returncode == 0, done.stderr
    assert prepared == ["libanswer.so.1"]
    assert tracked(library) == 1
    again = subprocess.run([ULP, "post", "--json", library], text=True, capture_output=True, check=True)
    assert '"changed": false' in again.stdout


def test_words_come_from_a_response_file(build, tmp_path):
    """As from a build system whose command lines are long."""
    (tmp_path / "words").write_text(f"{PADDING} '-Wl,-h,libanswer.so.1'\n")
    done, library, prepared = build("@words")
    assert done.returncode == 0, done.stderr
    assert prepared == ["libanswer.so.1"]
    assert tracked(library) == 1


@pytest.mark.parametrize("options", [(), ("-Wl,-soname,libunknown.so.1",)], ids=["no-soname", "another-soname"])
def test_other_libraries_are_only_linked(build, options):
    done, library, prepared = build(PADDING, *options)
    assert done.returncode == 0, done.stderr
    assert prepared == []
    assert tracked(library) == 0


def test_other_architectures_are_only_linked(build):
    """A package may build for 32 bits, too, and such a library can't have a 64-bit object. Here ld itself refuses."""
    done, _library, prepared = build(PADDING, SONAME, "-Wl,-m,elf_i386")
    assert done.returncode != 0
    assert "trm.o" not in done.stderr
    assert prepared == []


def test_programs_are_only_linked(build, tmp_path):
    (tmp_path / "answer.c").write_text("int main(void) { return 0; }\n")
    done, program, prepared = build(PADDING, SONAME, form="-pie")
    assert done.returncode == 0, done.stderr
    assert tracked(program) == 0
    assert prepared == []


def test_function_without_padding_fails_the_build(build, tmp_path):
    """The message names it; a library that is left lying there would pass for a good one in the next build.

    It is kept apart, too: a configure script that tries the linker hides it.  Seen with zlib's, which went on without a
    shared library, so that the build failed for another reason.
    """
    done, library, prepared = build(SONAME)
    assert done.returncode != 0
    assert "answer" in done.stderr
    assert "padding" in done.stderr
    assert not library.exists()
    assert prepared == []
    assert (tmp_path / "refused").read_text() in done.stderr
    assert "without padding" in (tmp_path / "refused").read_text()

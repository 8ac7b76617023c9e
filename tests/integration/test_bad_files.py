# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that cannot be used get one sentence that names them, and stay as they are."""

from __future__ import annotations

import os
import struct

import pytest
from harness import snapshot
from harness.library import run
from harness.paths import TARGETS, TRM
from harness.variant import PADDING

SOURCE = TARGETS / "blocked" / "library.c"
PATCH_SOURCE = TARGETS / "blocked" / "patch.c"


def link(path, *options, padding=True, build_id=True):
    """A shared library of the kind that post accepts, unless told otherwise."""
    flags = [PADDING] if padding else []
    run(["gcc", "-O2", "-fPIC", "-shared", *flags, "-Wl,--build-id" + ("" if build_id else "=none"),
         "-Wl,-soname,libblocked.so.1", *options, "-o", path, SOURCE])
    return path


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A library that post would accept: what the broken ones are made from."""
    return link(tmp_path_factory.mktemp("good") / "libblocked.so.1", TRM)


def not_elf(path, good):
    path.write_text("#!/bin/sh\nexit 0\n")


def empty(path, good):
    path.write_bytes(b"")


def header_only_half(path, good):
    path.write_bytes(good.read_bytes()[:40])


def header_only(path, good):
    path.write_bytes(good.read_bytes()[:64])


def half(path, good):
    data = good.read_bytes()
    path.write_bytes(data[:len(data) // 2])


def end_cut_off(path, good):
    path.write_bytes(good.read_bytes()[:-200])


def thirty_two_bit(path, good):
    run(["gcc", "-m32", "-O2", "-fPIC", "-shared", "-nostdlib", "-ffreestanding", PADDING, "-Wl,--build-id",
         "-x", "c", "-o", path, "/dev/null"])


def foreign_architecture(path, good):
    data = bytearray(good.read_bytes())
    struct.pack_into("<H", data, 18, 183)  # e_machine: EM_AARCH64
    path.write_bytes(data)


def big_endian(path, good):
    data = bytearray(good.read_bytes())
    data[5] = 2  # EI_DATA: ELFDATA2MSB
    path.write_bytes(data)


def object_file(path, good):
    run(["gcc", "-O2", "-fPIC", "-c", PADDING, "-o", path, SOURCE])


def no_padding(path, good):
    link(path, padding=False)


def no_build_id(path, good):
    link(path, TRM, build_id=False)


BROKEN = [not_elf, empty, header_only_half, header_only, half, end_cut_off, thirty_two_bit, foreign_architecture,
          big_endian, object_file]
UNSUITABLE = [no_padding, no_build_id]


@pytest.mark.parametrize("make", BROKEN + UNSUITABLE, ids=lambda make: make.__name__)
def test_post_refuses(make, good, ulp, tmp_path):
    """Guards the checks of the ELF reader, and that post writes only when it is sure."""
    path = tmp_path / "libbad.so"
    make(path, good)
    before = snapshot.of_directory(tmp_path)
    ulp.refuse("post", path, naming=path)
    ulp.refuse("post", path, "-o", tmp_path / "out.so", naming=path)
    assert snapshot.of_directory(tmp_path) == before


def test_post_of_what_is_not_a_file(ulp, tmp_path):
    ulp.refuse("post", tmp_path / "missing.so", naming=tmp_path / "missing.so")
    ulp.refuse("post", tmp_path, naming=tmp_path)
    assert snapshot.of_directory(tmp_path) == {}


def test_post_of_what_may_not_be_replaced(good, ulp, tmp_path):
    """Guards that a failure to write leaves neither half a library nor a temporary file behind."""
    directory = tmp_path / "there"
    directory.mkdir()
    path = directory / "libblocked.so.1"
    path.write_bytes(good.read_bytes())
    before = snapshot.of_directory(tmp_path)
    ulp.refuse("post", path, "-o", directory / "missing" / "out.so", naming=directory / "missing")
    assert snapshot.of_directory(tmp_path) == before


def test_post_twice_changes_nothing(good, ulp, tmp_path):
    """Already post-processed is not an error: exit 0, and the file is not even written again."""
    path = tmp_path / "libblocked.so.1"
    path.write_bytes(good.read_bytes())
    path.chmod(0o640)
    ulp.succeed("post", path)
    assert path.read_bytes() != good.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o640
    before = snapshot.of_directory(tmp_path)
    inode = path.stat().st_ino
    answer = ulp.succeed("post", path, "--json")
    assert answer.json()["changed"] is False
    assert snapshot.of_directory(tmp_path) == before
    assert path.stat().st_ino == inode


@pytest.fixture
def description(good, tmp_path):
    """A description that pack would accept, as lines; the tests break one thing of it."""
    target = tmp_path / "libblocked.so.1"
    target.write_bytes(good.read_bytes())
    patch = tmp_path / "patch.so"
    run(["gcc", "-O2", "-fPIC", "-shared", "-Wl,--build-id", "-DVERSION=2", "-o", patch, PATCH_SOURCE])
    return [str(patch), "@" + str(target), "version:patched_version"]


def refuse_description(ulp, directory, lines, naming):
    path = directory / "patch.dsc"
    path.write_text("\n".join(lines) + ("\n" if lines else ""))
    before = snapshot.of_directory(directory)
    ulp.refuse("pack", path, naming=naming)
    ulp.refuse("pack", path, "-o", directory / "out.ulp", naming=naming)
    assert snapshot.of_directory(directory) == before


def test_the_unbroken_description_is_packed(description, ulp, tmp_path):
    """What makes the tests below mean something: it is the one broken thing that is refused."""
    path = tmp_path / "patch.dsc"
    path.write_text("\n".join(description) + "\n")
    ulp.succeed("pack", path)
    first = (tmp_path / "patch.ulp").read_bytes()
    ulp.succeed("pack", path, "-o", tmp_path / "again.ulp")
    assert (tmp_path / "again.ulp").read_bytes() == first


# What to put in place of which line (or after the last), and what the sentence must name.
LINES = {
    "unknown function": (2, "no_such_function:patched_version", "no_such_function"),
    "unknown replacement": (2, "version:no_such_replacement", "no_such_replacement"),
    "duplicate pair": (3, "version:patched_version", "version"),
    "function replaced twice": (3, "version:patched_hidden_version", "version"),
    "no colon": (2, "version", "patch.dsc"),
    "no new name": (2, "version:", "patch.dsc"),
    "relative patch library": (0, "patch.so", "patch.so"),
    "relative target": (1, "@libblocked.so.1", "libblocked.so.1"),
    "target without the at sign": (1, "/nowhere/libblocked.so.1", "patch.dsc"),
}


@pytest.mark.parametrize("what", sorted(LINES))
def test_pack_refuses_a_line(what, description, ulp, tmp_path):
    """Guards the description's parser: the sentence has the file and the number of the line."""
    index, line, naming = LINES[what]
    description[index:index + 1] = [line]
    refuse_description(ulp, tmp_path, description, naming)
    answer = ulp.refuse("pack", tmp_path / "patch.dsc", naming=tmp_path / "patch.dsc")
    assert f":{index + 1}" in answer.errors or f"line {index + 1}" in answer.errors, answer


def test_pack_refuses_missing_files(description, ulp, tmp_path):
    patch, target, pair = description
    refuse_description(ulp, tmp_path, [str(tmp_path / "missing.so"), target, pair], tmp_path / "missing.so")
    refuse_description(ulp, tmp_path, [patch, f"@{tmp_path}/missing.so.1", pair], tmp_path / "missing.so.1")
    ulp.refuse("pack", tmp_path / "missing.dsc", naming=tmp_path / "missing.dsc")


def test_pack_refuses_what_says_nothing(description, ulp, tmp_path):
    patch, target, _pair = description
    for lines in ([], [patch], [patch, target], ["", "", ""]):
        refuse_description(ulp, tmp_path, lines, tmp_path / "patch.dsc")


# What has no padding is packed as it is.
@pytest.mark.parametrize("make", [*BROKEN, no_build_id], ids=lambda make: make.__name__)
def test_pack_refuses_a_bad_target(make, good, description, ulp, tmp_path):
    target = tmp_path / "libbad.so"
    make(target, good)
    refuse_description(ulp, tmp_path, [description[0], f"@{target}", description[2]], target)


@pytest.mark.parametrize("make", BROKEN, ids=lambda make: make.__name__)
def test_pack_refuses_a_bad_patch_library(make, good, description, ulp, tmp_path):
    patch = tmp_path / "badpatch.so"
    make(patch, good)
    refuse_description(ulp, tmp_path, [str(patch), *description[1:]], patch)


def test_dump_refuses_what_is_no_livepatch(good, description, ulp, tmp_path):
    """Guards the livepatch's reader: a plain library, a cut one, one whose metadata or code was changed."""
    path = tmp_path / "patch.dsc"
    path.write_text("\n".join(description) + "\n")
    ulp_file = tmp_path / "patch.ulp"
    ulp.succeed("pack", path, "-o", ulp_file)
    ulp.succeed("dump", ulp_file)

    bad = tmp_path / "bad.ulp"
    data = ulp_file.read_bytes()
    code = data.index(b"version")
    for broken in (
        good.read_bytes(),
        data[:len(data) // 2],
        data[:-1],
        b"",
        data.replace(b'"version"', b'"revsion"'),
        data[:code] + b"V" + data[code + 1:],
    ):
        bad.write_bytes(broken)
        ulp.refuse("dump", bad, naming=bad)
        ulp.refuse("trigger", "-p", os.getpid(), bad, naming=bad)
    ulp.refuse("dump", tmp_path / "missing.ulp", naming=tmp_path / "missing.ulp")


def test_usage(ulp):
    """Misuse is exit 2, with what is right on standard error."""
    for arguments in ((), ("no-such-verb",), ("trigger",), ("trigger", "-p", "one", "x.ulp"), ("post",)):
        answer = ulp.run(*arguments)
        assert answer.status == 2, str(answer)
        assert "usage" in answer.errors.lower(), str(answer)

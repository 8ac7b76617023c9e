# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the runtime needs of the C library is not replaced; the rest can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import NotPatchable
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import describe
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.pack import pack
from ansible_collections.libpulp.livepatch.plugins.module_utils.stock.code import Code
from ansible_collections.libpulp.livepatch.plugins.module_utils.stock.needed import LIBRARIES, ROOTS, needed_by_runtime

LIBRARIES_OF_THE_SYSTEM = Path("/usr/lib/x86_64-linux-gnu")
BUILD = Path(__file__).resolve().parents[3] / "build"


@pytest.fixture(scope="module", name="libc")
def fixture_libc():
    image = ElfImage.open(LIBRARIES_OF_THE_SYSTEM / "libc.so.6")
    return Code(image, image.dynamic_symbols())


@pytest.fixture(name="patch")
def fixture_patch(compile_library):
    return compile_library("int new_one(int x) { return x + 1; }", name="patch.so", padding=())


@pytest.mark.parametrize("path", [BUILD / "libpulp.so", LIBRARIES_OF_THE_SYSTEM / "libgcc_s.so.1"],
                         ids=["runtime", "libgcc_s"])
def test_all_that_is_imported_is_known(path, libc):
    """Whatever the runtime begins to use is refused from then on."""
    imported = {symbol.name for symbol in ElfImage.open(path).dynamic_symbols() if not symbol.defined and symbol.name}
    of_libc = {symbol.name for symbol in libc.image.dynamic_symbols() if symbol.defined}
    assert imported & of_libc <= set(ROOTS)


def test_what_can_be_replaced_and_what_not(libc):
    needed = needed_by_runtime(libc)
    addresses = {symbol.name: symbol.value for symbol in libc.image.dynamic_symbols() if symbol.defined}
    for name in ("getnetbyaddr", "wordexp", "strfmon", "inet_ntop", "printf", "getaddrinfo"):
        assert addresses[name] not in needed
    for name in ("malloc", "free", "dlopen", "pthread_create", "mmap", "abort"):
        assert addresses[name] in needed
    assert len(needed) < len(libc.extents) / 4


@pytest.mark.parametrize(("library", "function", "message"), [
    ("libc.so.6", "mmap", r"the runtime itself needs it \(.*mmap\)"),
    ("libc.so.6", "calloc", r"the runtime itself needs it \(calloc\)"),
    ("libgcc_s.so.1", "_Unwind_Backtrace", "the runtime itself needs it"),
    ("ld-linux-x86-64.so.2", "_dl_find_object", "it belongs to the loader"),
])
def test_a_livepatch_for_it_is_refused_by_name(patch, tmp_path, library, function, message):
    path = str(LIBRARIES_OF_THE_SYSTEM / library)
    with pytest.raises(NotPatchable, match=message) as caught:
        pack(describe(str(patch), path, {function: "new_one"}), tmp_path / "fix.ulp")
    assert caught.value.functions == [function]
    assert library in (*LIBRARIES, "ld-linux-x86-64.so.2")


@pytest.mark.parametrize("function", ["getnetbyaddr", "wordexp", "strfmon", "inet_ntop"])
def test_a_livepatch_for_the_c_library(patch, tmp_path, function):
    path = str(LIBRARIES_OF_THE_SYSTEM / "libc.so.6")
    assert pack(describe(str(patch), path, {function: "new_one"}), tmp_path / "fix.ulp").changed

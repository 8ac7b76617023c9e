# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every form that compilers and linkers give to a jump from one function of a library to another."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.jumps import jumped_imports
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.patchable import patchable_functions

sys.path.insert(0, str(Path(__file__).resolve().parent))

from jump_oracle import Disassembly

LIBRARY = r"""
int state;
DEFINED
int jumps(int k) { state = k; return jumped_to(k * 3); }
int calls(int k) { return called_only(k * 3) + 1; }
"""
DEFINED = r"""
__attribute__((noinline)) int jumped_to(int k) { __asm__ volatile(""); state++; return k + 1; }
__attribute__((noinline)) int called_only(int k) { __asm__ volatile(""); state += 2; return k + 2; }
"""
NAMES = ("jumps", "calls", "jumped_to", "called_only")
DECLARED = "int jumped_to(int k); int called_only(int k);"

COMPILED = {
    "gcc": ("gcc",),
    "gcc-cet": ("gcc", "-fcf-protection=full"),
    "gcc-noplt": ("gcc", "-fno-plt"),
    "gcc-noplt-cet": ("gcc", "-fno-plt", "-fcf-protection=full"),
    "gcc-register": ("gcc", "-fno-plt", "-mindirect-branch-register"),
    "gcc-force": ("gcc", "-mforce-indirect-call"),
    "gcc-large": ("gcc", "-mcmodel=large"),
    "gcc-thunk": ("gcc", "-fno-plt", "-mindirect-branch=thunk"),
    "gcc-thunk-inline": ("gcc", "-fno-plt", "-mindirect-branch=thunk-inline"),
    "gcc-thunk-extern": ("gcc", "-fno-plt", "-mindirect-branch=thunk-extern"),
    "clang": ("clang",),
    "clang-large": ("clang", "-mcmodel=large"),
    "clang-retpoline": ("clang", "-fno-plt", "-mretpoline"),
    "clang-retpoline-extern": ("clang", "-fno-plt", "-mretpoline", "-mretpoline-external-thunk"),
}
LINKED = {
    "plain": (),
    "now": ("-Wl,-z,now",),
    "symbolic": ("-Wl,-Bsymbolic",),
    "stripped": ("-Wl,-s",),
    "ibtplt": ("-Wl,-z,ibtplt",),
    "bndplt": ("-Wl,-z,bndplt",),
    "forceibt": ("-Wl,-z,force-ibt",),
    "retpolineplt": ("-Wl,-z,retpolineplt",),
    "retpolineplt-now": ("-Wl,-z,retpolineplt,-z,now",),
    "relr": ("-Wl,--pack-dyn-relocs=relr", "-Wl,-Bsymbolic"),
}
# What only some linkers know, and with which compilations it differs.
SPECIAL = [
    ("bfd", "ibtplt", "gcc-cet"), ("bfd", "ibtplt", "gcc"), ("bfd", "bndplt", "gcc"),
    ("lld", "forceibt", "gcc-cet"), ("lld", "retpolineplt", "gcc"), ("lld", "retpolineplt", "gcc-cet"),
    ("lld", "retpolineplt-now", "gcc"), ("lld", "retpolineplt", "clang"), ("lld", "relr", "gcc-noplt"),
    ("mold", "relr", "gcc-noplt"), ("mold", "relr", "gcc-thunk"),
]
USUAL = [("plain", compiled) for compiled in COMPILED] + [
    ("now", "gcc"), ("now", "gcc-cet"), ("symbolic", "gcc-noplt"), ("symbolic", "gcc-thunk"), ("stripped", "gcc"),
    ("stripped", "gcc-thunk"),
]
MATRIX = [(linker, *both) for linker in ("bfd", "gold", "lld", "mold") for both in USUAL] + SPECIAL


@pytest.fixture(name="link", scope="module")
def fixture_link(tmp_path_factory):
    """A function that links source text, compiled in a way of COMPILED, and gives the library."""
    directory = tmp_path_factory.mktemp("jump-forms")
    objects = {}

    def link(source, compiled, linker, linked=(), padding=("-fpatchable-function-entry=16,14",)):
        compiler, *flags = COMPILED[compiled]
        key = source, compiled, padding
        if key not in objects:
            objects[key] = directory / f"{len(objects)}.o"
            subprocess.run([compiler, "-O2", "-fPIC", *padding, *flags, "-x", "c", "-c", "-", "-o", objects[key]],
                           input=source, text=True, check=True)
        library = directory / "library.so"
        subprocess.run(["gcc", "-shared", f"-fuse-ld={linker}", *linked, "-Wl,--build-id", "-o", library,
                        objects[key]], check=True, stderr=subprocess.PIPE)
        return library

    return link


@pytest.mark.parametrize(("linker", "linked", "compiled"), MATRIX)
def test_jump_to_a_function_of_the_library(link, linker, linked, compiled):
    """What objdump shows to be jumped to is known, and a plain call is not taken for a jump.

    Seen to fail for all of mold, lld -z retpolineplt, -mindirect-branch-register, every thunk, and gcc -mcmodel=large.
    """
    path = link(LIBRARY.replace("DEFINED", DEFINED), compiled, linker, LINKED[linked])
    functions = {name: function for function in patchable_functions(ElfImage.open(path)) for name in function.names}
    if linked != "stripped":
        shown = Disassembly(path, NAMES)
        assert shown.jumped_to("jumps") == shown.addresses["jumped_to"]
        assert shown.jumped_to("calls") is None
    targets = {name for name, function in functions.items() if function.tail_target}
    # Where any address in a register may be jumped to, so may that of a function that is called through one.
    both = compiled in ("gcc-register", "gcc-large", "clang-large") or compiled.startswith("gcc-thunk")
    assert targets == ({"jumped_to", "called_only"} if both else {"jumped_to"})
    assert not any(function.tail_cycle for function in functions.values())


@pytest.mark.parametrize(("linker", "linked", "compiled"), [
    entry for entry in MATRIX if entry in SPECIAL or (
        entry[1] == "plain" and entry[2] in ("gcc", "gcc-cet", "gcc-noplt", "gcc-large", "clang-large",
                                             "gcc-thunk", "gcc-thunk-extern", "clang-retpoline"))])
def test_jump_to_an_import(link, linker, linked, compiled):
    """The same of what a patch library jumps to; seen to fail as above."""
    path = link(LIBRARY.replace("DEFINED", DECLARED), compiled, linker, LINKED[linked], padding=())
    shown = Disassembly(path, NAMES)
    assert shown.jumped_to("jumps") == "jumped_to"
    assert shown.jumped_to("calls") is None
    names = jumped_imports(ElfImage.open(path)) & {"jumped_to", "called_only"}
    both = re.search("register|large|thunk|retpoline", compiled)
    assert names == ({"jumped_to", "called_only"} if both else {"jumped_to"})


SIBLINGS = ("-fno-optimize-sibling-calls",)


@pytest.mark.parametrize("compiled", ["gcc", "gcc-noplt", "gcc-thunk", "gcc-thunk-extern", "clang-retpoline"])
def test_patch_library_without_jumps(link, compiled, monkeypatch):
    """What docs/patch-author.md recommends stays worth it: without sibling calls nothing is jumped to."""
    monkeypatch.setitem(COMPILED, "quiet", (*COMPILED[compiled], *SIBLINGS))
    path = link(LIBRARY.replace("DEFINED", DECLARED) + f"/* {compiled} */", "quiet", "bfd", padding=())
    assert not jumped_imports(ElfImage.open(path)) & {"jumped_to", "called_only"}

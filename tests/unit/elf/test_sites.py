# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the runtime is told of jumps that come from the patch library, and from other libraries of the livepatch."""

from __future__ import annotations

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils import abi
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.jumps import jumped_imports
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.patchable import patchable_functions
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.target import Target
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.resolution.request import (
    Beside,
    ResolvedLibrary,
    sites,
)

LIBRARY = r"""
__attribute__((noipa)) int plain(int k) { return k + 1; }
__attribute__((noipa)) int other(int k) { return k + 2; }
__attribute__((noipa)) static int implementation(int k) { return k + 3; }
static int (*resolve(void))(int) { return implementation; }
int chosen(int) __attribute__((ifunc("resolve")));
"""


@pytest.fixture(name="flags")
def fixture_flags(compile_library):
    """A function that gives {name: SITE_* flags} of the library's functions."""
    image = ElfImage.open(compile_library(LIBRARY))
    functions = patchable_functions(image)
    names = {function.address: function.label for function in functions}

    def flags(*arguments):
        resolved = ResolvedLibrary(Target("library.so", "", "", []), None, image, functions, False, None)
        return {names[address]: value for address, value in sites(resolved, *arguments)}

    return flags


@pytest.mark.parametrize("options", [(), ("-fno-plt", "-mindirect-branch=thunk")])
@pytest.mark.parametrize(("called", "expected"), [("plain", {"plain"}), ("chosen", {"implementation"})])
def test_jumps_of_the_patch_library(compile_library, flags, called, expected, options):
    """A jump to an IFUNC is one to what its resolver chooses; seen to fail for that."""
    patch = f"int {called}(int); int new_other(int k) {{ return {called}(k * 2); }}"
    names = jumped_imports(ElfImage.open(compile_library(patch, *options, padding=(), name="patch.so")))
    assert {name for name, value in flags(names).items() if value & abi.SITE_JUMPED} == expected


def test_jumps_of_other_libraries(flags):
    for circular in (False, True):
        found = flags(frozenset(), Beside(frozenset(("plain", "elsewhere")), circular))
        assert {name for name, value in found.items() if value & abi.SITE_TAIL} == {"plain"}
        assert bool(found["plain"] & abi.SITE_CYCLE) == circular

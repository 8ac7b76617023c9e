# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread that goes on by a jump in a function that was replaced meanwhile, in libraries of every linker."""

from __future__ import annotations

from functools import partial

import pytest
from harness.library import WARNINGS, Build, Hazard, run
from harness.livepatch import APPLIED
from harness.paths import TRM
from harness.variant import PADDING_ONLY, POST, Variant

REPLACED = dict.fromkeys(("version", "first_state", "chosen_implementation"), "new_version")
# Compiler, linker, flags; the unit tests go through all combinations.
FORMS = {
    "bfd": ("gcc", "bfd", ()),
    "gold": ("gcc", "gold", ()),
    "lld": ("gcc", "lld", ()),
    "lld-retpolineplt": ("gcc", "lld", ("-Wl,-z,retpolineplt",)),
    "lld-retpolineplt-now": ("gcc", "lld", ("-Wl,-z,retpolineplt,-z,now",)),
    "mold": ("gcc", "mold", ()),
    "bfd-ibtplt": ("gcc", "bfd", ("-fcf-protection=full", "-Wl,-z,ibtplt")),
    "bfd-noplt": ("gcc", "bfd", ("-fno-plt",)),
    "bfd-thunk": ("gcc", "bfd", ("-fno-plt", "-mindirect-branch=thunk")),
    "mold-thunk-inline": ("gcc", "mold", ("-fno-plt", "-mindirect-branch=thunk-inline")),
    "gold-register": ("gcc", "gold", ("-fno-plt", "-mindirect-branch-register")),
    "lld-retpoline": ("clang", "lld", ("-fno-plt", "-mretpoline")),
}


class Linked(Build):
    """The library, linked by another linker than that of the compiler."""

    def __init__(self, hazard, variant, ulp, linker, flags) -> None:
        self.linker = linker
        self.flags = flags
        super().__init__(hazard, variant, ulp)

    def _link(self) -> None:
        tracking = [TRM] if self.variant.post_processed else []
        run([self.variant.compilers[0], *WARNINGS, *self.variant.flags, *self.flags, *self.variant.patchable, "-fPIC",
             "-shared", f"-fuse-ld={self.linker}", "-Wl,--build-id", f"-Wl,-soname,{self.hazard.soname}",
             "-o", self.library, self.hazard.folder / "library.c", *tracking])


@pytest.mark.parametrize("mode", [POST, PADDING_ONLY])
@pytest.mark.parametrize("form", FORMS)
def test_jump_from_a_blocked_function_keeps_old(form, mode, tmp_path, preforked, start, livepatch):
    """Guards what the core finds of jumps: of those it missed, the parked thread gets 1000 at once.

    Seen to fail so: by name with mold, lld -z retpolineplt, -mindirect-branch-register and every thunk; through the
    table and by IFUNC with all.
    """
    compiler, linker, flags = FORMS[form]
    kind = partial(Linked, linker=linker, flags=flags)
    build = Hazard("jumping", tmp_path, kind=kind).build(Variant(mode, compiler), preforked)
    patch = livepatch(build.patch("patch", REPLACED))
    victim = start(build)
    assert victim.number("version") == 1
    assert victim.ask("park") == "4"

    patch.apply(victim)

    assert victim.number("version") == 1000
    assert victim.numbers("release") == [1, 1000] * 4
    patch.wait_for_check(victim, APPLIED)

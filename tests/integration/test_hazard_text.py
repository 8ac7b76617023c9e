# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions of every kind that a linker knows, and libraries linked in every way that changes how they are called."""

from __future__ import annotations

from functools import partial

import pytest
from harness.library import WARNINGS, Build, Hazard, run
from harness.livepatch import APPLIED, NOT_APPLIED
from harness.paths import TRM

# The names by which a description calls the functions, in the order in which the library calls them.
KINDS = ("first", "named", "weak", "versioned@TEXT_1", "versioned@@TEXT_2", "hidden", "local", "chosen_implementation",
         "crossing", "at_the_edge", "last")
INSIDE = 12  # alias is another name of named
OUTSIDE = 9
MANY = tuple(f"many_{number}" for number in range(100, 400))
WAYS = {
    "plain": (),
    "now": ("-Wl,-z,now",),
    "bsymbolic": ("-Wl,-Bsymbolic",),
    "no-plt": ("-fno-plt",),
    "lto": ("-flto",),
}


class Linked(Build):
    """The library, compiled and linked with extra flags, and with versions of its symbols."""

    def __init__(self, hazard, variant, ulp, flags) -> None:
        self.flags = flags
        super().__init__(hazard, variant, ulp)

    def _link(self) -> None:
        folder = self.hazard.folder
        tracking = [TRM] if self.variant.post_processed else []
        run([self.variant.compilers[0], *WARNINGS, *self.variant.flags, *self.flags, *self.variant.patchable,
             "-fPIC", "-shared", "-Wl,--build-id", f"-Wl,-soname,{self.hazard.soname}",
             f"-Wl,--version-script={folder / 'text.map'}", "-o", self.library, folder / "library.c", *tracking])


@pytest.fixture(scope="session")
def linked(tmp_path_factory, preforked):
    """The library, linked in one of WAYS, in one variant."""
    hazards = {way: Hazard("text", tmp_path_factory.mktemp(way), kind=partial(Linked, flags=flags))
               for way, flags in WAYS.items()}
    return lambda way, variant: hazards[way].build(variant, preforked)


def replace(names):
    return dict.fromkeys(names, "new_version")


@pytest.mark.parametrize("way", WAYS)
def test_every_kind_of_function(way, variant, linked, start, livepatch):
    """Guards that a function is found by its address, whatever leads to it: PLT, GOT, direct call, IFUNC, alias.

    Seen to fail each way with one slot for all functions of a request; with -Bsymbolic also with only post's
    trampolines switched on, not the entries.
    """
    build = linked(way, variant)
    patch = livepatch(build.patch("kinds", replace(KINDS)))
    victim = start(build)
    assert victim.numbers("inside") == [1] * INSIDE
    assert victim.numbers("outside") == [1] * OUTSIDE
    for _round in range(2):
        patch.apply(victim)
        assert victim.numbers("inside") == [2] * INSIDE
        assert victim.numbers("outside") == [2] * OUTSIDE
        patch.wait_for_check(victim, APPLIED)
        patch.revert(victim)
        assert victim.numbers("outside") == [1] * OUTSIDE
        assert victim.numbers("inside") == [1] * INSIDE
        patch.wait_for_check(victim, NOT_APPLIED)


def test_one_kind_changes_no_other(variant, linked, start, livepatch):
    """Guards the pairs of a livepatch: each function by itself, an old version apart from the new one.

    Seen to fail with symbols found without their version (the other version's function changes), and with one slot for
    all functions.
    """
    build = linked("plain", variant)
    victim = start(build)
    for position, name in enumerate(("first", "named", None, "weak", *KINDS[3:])):
        if name is None:
            continue
        patch = livepatch(build.patch(f"only{position}", replace([name])))
        patch.apply(victim)
        expected = [1] * INSIDE
        expected[position] = 2
        if name == "named":
            expected[2] = 2
        assert victim.numbers("inside") == expected, name
        patch.revert(victim)
    assert victim.numbers("inside") == [1] * INSIDE


def test_hundreds_of_functions_at_once(variant, linked, start, livepatch):
    """Guards the single publish: 300 functions are replaced while a thread calls them all in a loop, and none mixes.

    Seen to fail with stubs that compare with 1 instead of the patch's own number.
    """
    build = linked("plain", variant)
    patch = livepatch(build.patch("many", replace(MANY)))
    victim = start(build)
    assert victim.ask("start") == "started"
    for _cycle in range(10):
        patch.apply(victim)
        assert victim.numbers("latest") == [0, len(MANY)]
        patch.revert(victim)
        assert victim.numbers("latest") == [len(MANY), 0]
    assert victim.number("stop") == 0


def test_an_ifunc_itself_is_refused_by_name(variant, linked, preforked):
    """Guards a patch author's mistake: the resolver's choice was made at load time, so the IFUNC can't be replaced.

    Seen to fail (packed, as if all were well) with is_function() true of an IFUNC.
    """
    build = linked("plain", variant)
    library = build.directory / "kinds.so"
    build.patch("kinds", replace(KINDS))
    description = build.directory / "ifunc.dsc"
    description.write_text(f"{library}\n@{build.library}\nchosen:new_version\n")
    preforked.refuse("pack", description, naming="IFUNC")

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""C++ exceptions through the library: thrown in old code, in new code, through both, and their destructors."""

from __future__ import annotations


def objects_balance(victim):
    made, destroyed = victim.numbers("objects")
    assert made and made == destroyed
    return made


def test_thrown_in_new_code_through_old(variant, target, start, livepatch):
    """Guards that nothing on the stack is changed: a stolen return address ends in std::terminate here.

    Seen so with a slow path that puts a return address of its own in place of the caller's.
    """
    build = target("exceptions", variant)
    patch = livepatch(build.patch("inner", {"inner": "inner_new"}, source="patch_inner.cc", link=[build.library]))
    victim = start(build, "app.cc")
    assert victim.number("throw") == 1
    assert victim.number("catch") == 1
    # inner and outer
    assert objects_balance(victim) == 2 + 3

    patch.apply(victim)

    before = objects_balance(victim)
    assert victim.number("throw") == 2
    # inner's two and outer's one: the new code's destructors ran.
    assert objects_balance(victim) == before + 3
    assert victim.number("catch") == 2
    assert victim.number("fresh") == 2

    patch.revert(victim)

    assert victim.number("throw") == 1
    assert victim.number("catch") == 1
    assert victim.number("fresh") == 1
    objects_balance(victim)


def test_thrown_in_old_code_through_new(variant, target, start, livepatch):
    """Guards unwinding from old code through a patch library's frames that catch, rethrow and destroy.

    Seen to fail (std::terminate) with a slow path that puts a return address of its own in place of the caller's.
    """
    build = target("exceptions", variant)
    outer = livepatch(build.patch("outer", {"outer": "outer_new"}, source="patch_outer.cc", link=[build.library]))
    inner = livepatch(build.patch("inner", {"inner": "inner_new"}, source="patch_inner.cc", link=[build.library]))
    victim = start(build, "app.cc")
    assert victim.number("throw") == 1

    outer.apply(victim)
    assert victim.number("throw") == 11
    assert victim.number("catch") == 11
    # Both new: one patch library's exception through another's frame, and through old frames between.
    inner.apply(victim)
    assert victim.number("throw") == 12
    assert victim.number("fresh") == 12
    assert victim.number("catch") == 12
    outer.revert(victim)
    assert victim.number("throw") == 2
    inner.revert(victim)
    assert victim.number("throw") == 1
    objects_balance(victim)


def test_thread_parked_across_the_publish_throws(variant, target, start, livepatch):
    """Guards that leaving the library by exception counts as leaving: the next call gets the new function.

    Seen to fail with a thread that has once kept its number taken for inside from then on. What it throws within, with
    prove_by_stack() always saying OUTSIDE.
    """
    build = target("exceptions", variant)
    patch = livepatch(build.patch("inner", {"inner": "inner_new"}, source="patch_inner.cc", link=[build.library]))
    victim = start(build, "app.cc")
    assert victim.ask("park") == "parked"
    patch.apply(victim)
    assert victim.number("throw") == 2
    # Within: still the old universe, thrown through the library's old frames; then the new one.
    assert victim.numbers("release") == [1, 2]
    assert victim.ask("park") == "parked"
    patch.revert(victim)
    assert victim.numbers("release") == [2, 1]
    objects_balance(victim)

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several livepatches: their order, and which of them can't be dealt with together."""

from __future__ import annotations

import itertools

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import UlpError
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import Livepatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.target import FunctionPair, Target
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.together import (
    in_order,
    require_different,
    require_unambiguous,
)


def livepatch(name, *needs, build_id="aa", offset=0x1000, replaces=()):
    target = Target("libx.so.1", "/usr/lib/libx.so.1", build_id, [FunctionPair("f", "g", offset, 40, 0x100)])
    return Livepatch(
        f"/fixes/{name}.ulp", 1, name * 64, "", [target], [need * 64 for need in needs], {}, (0, 0), frozenset(),
        tuple(replaces))


A, B, C = livepatch("a"), livepatch("b", "a"), livepatch("c", "b")


@pytest.mark.parametrize("given", itertools.permutations((A, B, C)))
def test_what_is_needed_comes_first(given):
    assert in_order(given) == [A, B, C]
    # Each is known to come behind the other, if only through the third.
    require_unambiguous(given)


def test_otherwise_the_order_is_kept():
    others = [livepatch("e"), livepatch("d", "f")]
    assert in_order(others) == others


@pytest.mark.parametrize("pair", [
    (A, livepatch("b", build_id="bb")), (A, livepatch("b", offset=0x2000)), (A, livepatch("b", replaces=["a.ulp"])),
    (livepatch("b", replaces=["a" * 64]), A), (livepatch("b", replaces=["*"]), A), (A, B),
])
def test_clear(pair):
    require_unambiguous(pair)


@pytest.mark.parametrize("pair, said", [
    ((A, livepatch("b")), "both replace f of libx.so.1 with build ID aa"),
    ((A, C), "both replace f"),
    ((livepatch("a", replaces=["*"]), livepatch("b", offset=0x2000, replaces=["*"])), "replace each other"),
])
def test_not_clear(pair, said):
    for each in (pair, pair[::-1]):
        with pytest.raises(UlpError, match=said) as caught:
            require_unambiguous(each)
        assert all(livepatch.path in str(caught.value) for livepatch in pair)


def test_the_same_twice():
    require_different([A, B])
    with pytest.raises(UlpError, match="/fixes/a.ulp and /other/a.ulp are the same livepatch"):
        require_different([A, B, A._replace(path="/other/a.ulp")])

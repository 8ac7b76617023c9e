# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a normal run covers of the matrix of modes, levels, compilers and control-flow protection."""

from __future__ import annotations

from itertools import combinations, product

import pytest
from harness.variant import MODES, STOCK, chosen, every_variant

VALUES = (("gcc", "clang"), ("-O0", "-O2", "-O3"), (False, True))


def test_all_variants_are_all_combinations():
    everything = every_variant()
    assert len(everything) == len(set(everything)) == 36
    assert {tuple(variant) for variant in everything} == set(product((*MODES, STOCK), *VALUES))


@pytest.mark.parametrize("tests", range(1, 30))
def test_normal_run_covers_all_pairs(tests):
    """Guards the choice: each test in both modes, each hazard with every pair of level, compiler and protection.

    Seen to fail with control-flow protection on in all rows, and with one row less for a hazard of two tests.
    """
    hazard = [chosen(position, tests) for position in range(tests)]
    assert all({variant.mode for variant in variants} == set(MODES) for variants in hazard)
    seen = {tuple(variant)[1:] for variants in hazard for variant in variants}
    for one, other in combinations(range(len(VALUES)), 2):
        assert {(row[one], row[other]) for row in seen} == set(product(VALUES[one], VALUES[other]))


def test_normal_run_is_short():
    """Guards the time of a check: from three tests on, each runs twice."""
    assert [sum(len(chosen(position, tests)) for position in range(tests)) for tests in (1, 2, 3, 4, 10)] == [
        6, 8, 6, 8, 20]

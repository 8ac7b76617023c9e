# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a normal run covers of the matrix of modes, levels, compilers and control-flow protection."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path

import pytest
from harness.ran import Ran
from harness.variant import (
    MODES,
    STOCK,
    STOCK_BUILDS,
    USUAL,
    Variant,
    chosen,
    every_variant,
    of_nobody_prepared,
)

HERE = Path(__file__).resolve().parent

VALUES = (("gcc", "clang"), ("-O0", "-O2", "-O3"), (False, True))


def test_all_variants_are_all_combinations():
    everything = every_variant()
    assert len(everything) == len(set(everything)) == 50
    preloaded = {variant for variant in everything if not variant.attached}
    assert {tuple(variant)[:4] for variant in preloaded} == set(product((*MODES, STOCK), *VALUES))
    attached = {variant._replace(attached=False) for variant in everything if variant.attached}
    assert attached == {variant for variant in preloaded if variant.stock} | set(USUAL)


@pytest.mark.parametrize("tests", range(1, 30))
def test_normal_run_covers_all_pairs(tests):
    """Guards the choice: each test in both modes, each hazard with every pair of level, compiler and protection.

    Seen to fail with control-flow protection on in all rows, and with one row less for a hazard of two tests.
    """
    hazard = [chosen(position, tests) for position in range(tests)]
    assert all({variant.mode for variant in variants} == set(MODES) for variants in hazard)
    seen = {tuple(variant)[1:4] for variants in hazard for variant in variants}
    for one, other in combinations(range(len(VALUES)), 2):
        assert {(row[one], row[other]) for row in seen} == set(product(VALUES[one], VALUES[other]))


def test_normal_run_is_short():
    """Guards the time of a check: from three tests on, each runs twice."""
    assert [sum(len(chosen(position, tests)) for position in range(tests)) for tests in (1, 2, 3, 4, 10)] == [
        6, 8, 6, 8, 20]


def test_what_nobody_prepared_is_in_every_hazard():
    """Guards the choice in stock mode: what is not among all variants would be chosen, and never run."""
    hazards = [path.stem.partition("hazard_")[2] for path in HERE.glob("test_hazard_*.py")]
    everything = every_variant()
    for variant in map(of_nobody_prepared, hazards):
        assert variant.stock and variant.attached
        assert variant in everything
    assert set(STOCK_BUILDS) <= set(hazards)


def test_hazard_of_which_all_was_skipped_fails():
    """Seen to pass, in stock mode, a hazard of which every test was skipped."""
    ran = Ran()
    stock, attached = Variant(STOCK), Variant(STOCK, attached=True)
    for hazard, variant, skipped in (
        ("one", stock, True), ("one", stock._replace(compiler="clang"), False), ("two", stock, True),
        ("two", attached, False), ("two", Variant(MODES[0]), False), ("two", stock._replace(level="-O3"), True),
    ):
        ran.note(hazard, variant, skipped)
    assert ran.left_out == [f"two ({STOCK})"]

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways in which a hazard's victim can be built, and which of them a test sees in a normal run.

A variant is a mode (post-processed, padding only, or stock), an optimisation level, with or without control-flow
protection, and a compiler: 36 in all.  Fourteen of them, all in stock mode and the usual one of each other, are there a
second time with the runtime attached: the victim is started without it, and the first apply loads it.
``--every-variant`` runs every test in each.  A normal run chooses, by position
alone and so always the same: the six pairs of level and compiler are the rows of a covering array, in which
control-flow protection is set so that each of its values also meets each level and each compiler.  The tests of one
hazard (one file) take the rows in turn, each test one row post-processed and the opposite one with padding only.  Thus

* every test runs in these two modes, under two different levels or compilers;
* every hazard sees every pair of level and compiler, and with it every pair of any two of the three, in some mode.

A hazard of fewer than three tests gives each test more rows, until that is so.

In stock mode the library is built as distributions do, and all its functions are guards, so that the same is promised.
A normal run takes the first test of every hazard so, in one variant, and attached: nobody has prepared such a process.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .paths import RUNTIME

# What makes a function patchable: 14 bytes before it and 2 at its entry.
PADDING = "-fpatchable-function-entry=16,14"

POST = "post"
PADDING_ONLY = "padding"
STOCK = "stock"
# Those of a normal run: each test runs in both.
MODES = (POST, PADDING_ONLY)
PLUS_PLUS = {"gcc": "g++", "clang": "clang++"}


class Variant(NamedTuple):
    """One way."""

    mode: str
    compiler: str = "gcc"
    level: str = "-O2"
    protection: bool = False
    attached: bool = False

    @property
    def flags(self) -> tuple[str, ...]:
        """For whatever is compiled: the library, the patch library, the victim program."""
        return self.level, "-fcf-protection=" + ("full" if self.protection else "none")

    @property
    def patchable(self) -> tuple[str, ...]:
        """For the library: padding, and, as gcc aligns no function without optimisation, what makes it usable.

        Of a stock one gcc's callers must not know which registers a function leaves alone, or that it does not need
        the stack aligned: such functions are refused.
        """
        if self.stock:
            return ("-fno-ipa-ra", "-fno-ipa-stack-alignment") if self.compiler == "gcc" else ()
        return (PADDING, *(("-falign-functions=16",) if self.level == "-O0" else ()))

    @property
    def compilers(self) -> tuple[str, str]:
        """For C and for C++."""
        return self.compiler, PLUS_PLUS[self.compiler]

    @property
    def name(self) -> str:
        return "-".join([f"{self.mode}-{self.compiler}{self.level}", *(["cf"] if self.protection else []),
                         *(["attached"] if self.attached else [])])

    @property
    def post_processed(self) -> bool:
        return self.mode == POST

    @property
    def stock(self) -> bool:
        """As distributions build: without padding, and nothing of ours is linked in."""
        return self.mode == STOCK

    @property
    def preload(self) -> tuple[Path, ...]:
        """What the victim is started with."""
        return () if self.attached else (RUNTIME,)


# As people build: for the tests that are about something else than how the library was built.
USUAL = (Variant(POST), Variant(PADDING_ONLY))

# Each row is as far as can be from the one three places on, which the other mode takes.
ROWS = (
    ("gcc", "-O2", False),
    ("clang", "-O0", False),
    ("gcc", "-O3", True),
    ("clang", "-O2", True),
    ("gcc", "-O0", True),
    ("clang", "-O3", False),
)


# How a normal run builds the stock library of a hazard, where not as most distributions do: {hazard: its variant}.
STOCK_BUILDS = {
    "callback": Variant(STOCK, protection=True),
    "descriptors": Variant(STOCK, level="-O3"),
    "late": Variant(STOCK, "clang"),
    "leaving": Variant(STOCK, "clang"),
    "registers": Variant(STOCK, "clang"),
    "rewritten": Variant(STOCK, protection=True),
}


def of_nobody_prepared(hazard: str) -> Variant:
    """What a normal run takes of a hazard in stock mode."""
    return STOCK_BUILDS.get(hazard, Variant(STOCK))._replace(attached=True)


def every_variant() -> list[Variant]:
    """Three modes, three levels, with and without control-flow protection, two compilers; and what is attached."""
    built = [
        Variant(mode, compiler, level, protection)
        for mode in (*MODES, STOCK)
        for compiler in PLUS_PLUS
        for level in ("-O0", "-O2", "-O3")
        for protection in (False, True)
    ]
    return built + [variant._replace(attached=True) for variant in built if variant.stock or variant in USUAL]


def chosen(position: int, tests: int) -> set[Variant]:
    """The variants of a normal run for the test at ``position`` among the ``tests`` of its hazard."""
    rows_each = -(-len(ROWS) // (len(MODES) * tests))
    first = position * rows_each
    opposite = len(ROWS) // len(MODES)
    return {
        Variant(mode, *ROWS[(first + number + opposite * shift) % len(ROWS)])
        for number in range(rows_each)
        for shift, mode in enumerate(MODES)
    }

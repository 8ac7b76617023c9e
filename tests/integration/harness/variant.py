# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways in which a target library can be built."""

from __future__ import annotations

from typing import NamedTuple

# What makes a function patchable: 14 bytes before it and 2 at its entry.
PADDING = "-fpatchable-function-entry=16,14"

POST = "post"
PADDING_ONLY = "padding"


class Variant(NamedTuple):
    """One way: the mode, the flags, the compilers for C and C++."""

    mode: str
    flags: tuple[str, ...]
    compilers: tuple[str, str] = ("gcc", "g++")

    @property
    def name(self) -> str:
        words = [flag.lstrip("-").replace("fcf-protection", "cf").replace("=", "-") for flag in self.flags]
        return "-".join([self.mode, self.compilers[0], *words])

    @property
    def post_processed(self) -> bool:
        return self.mode == POST


# What a normal check covers: both modes as people build them, and the two extremes.
USUAL = (
    Variant(POST, ("-O2",)),
    Variant(PADDING_ONLY, ("-O2",)),
    Variant(POST, ("-O3", "-fcf-protection")),
    Variant(PADDING_ONLY, ("-O0", "-falign-functions=16", "-fcf-protection")),
)


def every_variant() -> list[Variant]:
    """Both modes, three levels, with and without control-flow protection, two compilers."""
    return [
        Variant(mode, (level, protection), compilers)
        for mode in (POST, PADDING_ONLY)
        for level in ("-O0", "-O2", "-O3")
        for protection in ("-fcf-protection", "-fcf-protection=none")
        for compilers in (("gcc", "g++"), ("clang", "clang++"))
    ]

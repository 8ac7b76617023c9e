# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Livepatches for the library of tests/targets/blocked, which most tests of the command patch, too."""

from __future__ import annotations

from pathlib import Path

from .library import Build

PAIRS = {name: "patched_" + name for name in ("version", "hidden_version", "pointed_version")}


def version_patch(build: Build, number: int = 2) -> Path:
    """The livepatch that has every version function give ``number``; unpatched they give 1."""
    return build.patch(f"patch{number}", PAIRS, flags=(f"-DVERSION={number}",))

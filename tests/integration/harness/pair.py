# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two libraries of tests/targets/two_libraries, and livepatches that patch one of them or both."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from .library import WARNINGS, Build, run
from .paths import TRM

UPPER = {"upper_version": "upper_version_new"}
LOWER = {"lower_version": "lower_version_new"}


class Pair(Build):
    """``library`` is upper, and needs lower."""

    def _link(self) -> None:
        self.lower = self._library("lower", [])
        self.library = self._library("upper", [self.lower])
        if self.variant.post_processed:
            self.ulp.succeed("post", self.lower)

    def _library(self, name: str, link: Sequence[Path]) -> Path:
        made = self.directory / f"{name}.o"
        library = self.directory / f"lib{name}.so.1"
        compiler = self.variant.compilers[0]
        run([compiler, *WARNINGS, *self.variant.flags, *self.variant.patchable, "-fPIC", "-c", "-o", made,
             self.hazard.folder / f"{name}.c"])
        tracking = [TRM] if self.variant.post_processed else []
        run([compiler, "-shared", "-Wl,--build-id", f"-Wl,-soname,{library.name}", "-o", library, made, *tracking,
             *link])
        return library

    def upper_patch(self, version: int) -> Path:
        return self.patch_of(f"upper{version}", {self.library: UPPER}, flags=(f"-DVERSION={version}",))

    def lower_patch(self, version: int) -> Path:
        return self.patch_of(f"lower{version}", {self.lower: LOWER}, flags=(f"-DVERSION={version}",))

    def both_patch(self, version: int) -> Path:
        """One livepatch that has both libraries' functions give ``version``."""
        return self.patch_of(f"both{version}", {self.library: UPPER, self.lower: LOWER},
                             flags=(f"-DVERSION={version}",))

    def program(self, source: str = "app.c", flags: Sequence[str] = ()) -> Path:
        return super().program(source, [*flags, "-Wl,--no-as-needed", self.lower])

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two target libraries of one hazard, and containers that patch one of them or both."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from .library import WARNINGS, Build, run
from .paths import TRM
from .variant import PADDING


class Pair(Build):
    """``upper.c`` and ``lower.c`` of a hazard's folder: ``library`` is upper, and needs lower."""

    def _link(self) -> None:
        self.lower = self._library("lower", [])
        self.library = self._library("upper", [self.lower])
        if self.variant.post_processed:
            self.ulp.succeed("post", self.lower)

    def _library(self, name: str, link: Sequence[Path]) -> Path:
        made = self.directory / f"{name}.o"
        library = self.directory / f"lib{name}.so.1"
        compiler = self.variant.compilers[0]
        run([compiler, *WARNINGS, *self.variant.flags, *self.variant.alignment, PADDING, "-fPIC", "-c", "-o", made,
             self.hazard.folder / f"{name}.c"])
        tracking = [TRM] if self.variant.post_processed else []
        run([compiler, "-shared", "-Wl,--build-id", f"-Wl,-soname,{library.name}", "-o", library, made, *tracking,
             *link])
        return library

    def patch_of(self, name: str, sections: dict[Path, dict[str, str]], flags: Sequence[str] = ()) -> Path:
        """The container with one ``@`` section for each library in ``sections``, with its pairs (old: new)."""
        if name not in self._patches:
            library = self.directory / f"{name}.so"
            run([self.variant.compilers[0], *WARNINGS, *flags, *self.variant.flags, "-fPIC", "-shared",
                 "-Wl,--build-id", "-o", library, self.hazard.folder / "patch.c"])
            lines = [str(library)]
            for target, pairs in sections.items():
                lines += [f"@{target}", *("{}:{}".format(*pair) for pair in pairs.items())]
            description = self.directory / f"{name}.dsc"
            description.write_text("\n".join(lines) + "\n")
            container = self.directory / f"{name}.ulp"
            self.ulp.succeed("pack", description, "-o", container)
            self._patches[name] = container
        return self._patches[name]

    def program(self, source: str = "app.c", flags: Sequence[str] = ()) -> Path:
        return super().program(source, [*flags, "-Wl,--no-as-needed", self.lower])

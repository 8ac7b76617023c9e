# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that are their own targets, made from tests/targets/program."""

from __future__ import annotations

from pathlib import Path

from .command import Ulp
from .library import WARNINGS, run
from .paths import TARGETS
from .variant import PADDING_ONLY, Variant

FOLDER = TARGETS / "program"
# At a fixed address, or position independent.
KINDS = {"fixed": ("-no-pie", "-fno-pie"), "pie": ("-pie", "-fPIE")}


class ProgramBuild:
    """The program in one variant and of one kind; the mode says nothing: it has padding, and is not post-processed."""

    def __init__(self, directory: Path, variant: Variant, kind: str, ulp: Ulp) -> None:
        self.directory = directory
        self.variant = variant
        self.ulp = ulp
        self.path = directory / "victim-program"
        self._patches: dict[str, Path] = {}
        link, position = KINDS[kind]
        padded = variant._replace(mode=PADDING_ONLY)
        run([variant.compiler, *WARNINGS, *variant.flags, *padded.patchable, position, link, "-rdynamic",
             "-Wl,--build-id", "-pthread", "-o", self.path, FOLDER / "app.c"])

    def strip(self) -> None:
        """Take the symbol table away; what -rdynamic exports stays."""
        run(["strip", "--strip-all", self.path])

    def description(self, name: str, version: int, functions: tuple[str, ...]) -> Path:
        """A description of a livepatch under which ``functions`` give ``version``; its library is built."""
        library = self.directory / f"{name}.so"
        run([self.variant.compiler, *WARNINGS, *self.variant.flags, f"-DVERSION={version}", "-fPIC", "-shared",
             "-Wl,--build-id", "-o", library, FOLDER / "patch.c"])
        description = self.directory / f"{name}.dsc"
        pairs = (f"{function}:patched_{function}" for function in functions)
        description.write_text("\n".join([str(library), f"@{self.path}", *pairs]) + "\n")
        return description

    def patch(self, name: str, version: int, functions: tuple[str, ...]) -> Path:
        """The file of that livepatch, from the cache when packed before."""
        if name not in self._patches:
            ulp_file = self.directory / f"{name}.ulp"
            self.ulp.succeed("pack", self.description(name, version, functions), "-o", ulp_file)
            self._patches[name] = ulp_file
        return self._patches[name]

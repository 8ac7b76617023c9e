# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Target libraries, patch libraries and livepatches, made from the sources in tests/targets."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Callable, Iterable, Mapping, Sequence

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.symbols import is_function
from ansible_collections.libpulp.livepatch.plugins.module_utils.stock.sites import SiteFinder

from .command import Ulp
from .paths import TARGETS, TRM
from .variant import Variant

# What the linker puts into each library.
_START = ("_init", "_fini", "deregister_tm_clones", "register_tm_clones", "__do_global_dtors_aux", "frame_dummy")
# Of the refusal where a caller may know which registers a function leaves alone.
_RELIES = " keeps a value in "
# So that new functions that are marked with KEEPING leave the registers alone (tests/targets/shapes.h).
_KEEPING = ("-mgeneral-regs-only", "-DKEEPS_REGISTERS")
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-g")


def run(command: Sequence[object]) -> str:
    """Run a tool; the test fails with what it said when it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert done.returncode == 0, "{}\n{}".format(" ".join(words), done.stdout)
    return done.stdout


def compiler_for(source: Path, compilers: tuple[str, str]) -> str:
    return compilers[1] if source.suffix == ".cc" else compilers[0]


@lru_cache(maxsize=None)
def guards(library: Path) -> list[list[str]]:
    """The functions of a library without padding that can be hooked, with all of their names.

    With all of them as guards a thread is inside for as long as it is in the library, as with padding.
    """
    image = ElfImage.open(library)
    named: dict[int, set[str]] = {}
    for symbol in image.symbols():
        if is_function(symbol) and symbol.name not in _START:
            named.setdefault(symbol.value, set()).add(symbol.name)
    found = SiteFinder(image, image.symbols()).find(named)
    return [sorted(named[address]) for address, function in found.items() if function.sites]


class Hazard:
    """One folder of tests/targets; ``kind`` builds each variant of it, in a folder of its own in ``directory``."""

    def __init__(
        self,
        name: str,
        directory: Path,
        sources: Iterable[str] = ("library.c",),
        flags: Sequence[str] = (),
        kind: Callable[[Hazard, Variant, Ulp], Build] | None = None,
    ) -> None:
        self.name = name
        self.directory = directory
        self.folder = TARGETS / name
        self.sources = tuple(sources)
        self.flags = tuple(flags)
        self.soname = f"lib{name}.so.1"
        self.kind = kind or Build
        self._built: dict[Variant, Build] = {}

    def build(self, variant: Variant, ulp: Ulp) -> Build:
        """The library and its patches for one variant, from the cache when it was built before."""
        if variant not in self._built:
            self._built[variant] = self.kind(self, variant, ulp)
        return self._built[variant]


class Build:
    """A hazard's library in one variant, and what belongs to it, made by the same compiler at the same level."""

    def __init__(self, hazard: Hazard, variant: Variant, ulp: Ulp) -> None:
        self.hazard = hazard
        self.variant = variant
        self.ulp = ulp
        self.directory = hazard.directory / variant.name
        self.directory.mkdir(parents=True)
        self.library = self.directory / hazard.soname
        self._patches: dict[tuple, Path] = {}
        self._programs: dict[str, Path] = {}
        self._link()
        if variant.post_processed:
            ulp.succeed("post", self.library)

    def _link(self) -> None:
        objects: list[object] = []
        for source in self.hazard.sources:
            path = self.hazard.folder / source
            made = self.directory / (path.stem + ".o")
            run([compiler_for(path, self.variant.compilers), *WARNINGS, *self.hazard.flags, *self.variant.flags,
                 *self.variant.patchable, "-fPIC", "-c", "-o", made, path])
            objects.append(made)
        if self.variant.post_processed:
            objects.append(TRM)
        linker = self.variant.compilers[any(source.endswith(".cc") for source in self.hazard.sources)]
        run([linker, "-shared", "-Wl,--build-id", "-Wl,-soname," + self.hazard.soname, "-pthread",
             "-o", self.library, *objects])

    def patch(
        self,
        name: str,
        pairs: dict[str, str],
        source: str | None = None,
        flags: Sequence[str] = (),
        link: Sequence[object] = (),
    ) -> Path:
        """The livepatch that replaces the library's functions ``pairs`` (old: new)."""
        return self.patch_of(name, {self.library: pairs}, source, flags, link)

    def patch_of(
        self,
        name: str,
        sections: Mapping[Path, Mapping[str, str]],
        source: str | None = None,
        flags: Sequence[str] = (),
        link: Sequence[object] = (),
    ) -> Path:
        """The livepatch with one ``@`` section for each library in ``sections``, from the cache when packed before.

        Tests share a build, and so the cache: another patch of the same name gets files of its own.
        """
        lines = []
        for target, pairs in sections.items():
            lines += [f"@{target}", *("{}:{}".format(*pair) for pair in pairs.items())]
            if self.variant.stock:
                lines += [f"guard {names[0]}" for names in guards(target) if not any(name in pairs for name in names)]
        key = (name, tuple(lines), source, tuple(flags), tuple(link))
        if key in self._patches:
            return self._patches[key]
        others = sum(other[0] == name for other in self._patches)
        stem = f"{name}-{others + 1}" if others else name
        source_path = self.hazard.folder / (source or "patch.c")
        library = self.directory / f"{stem}.so"
        command = [compiler_for(source_path, self.variant.compilers), *WARNINGS, *self.hazard.flags, *flags,
                   *self.variant.flags, "-fPIC", "-shared", "-Wl,--build-id", "-o", library, source_path, *link]
        run(command)
        description = self.directory / f"{stem}.dsc"
        description.write_text("\n".join([str(library), *lines]) + "\n")
        ulp_file = self.directory / f"{stem}.ulp"
        packed = self.ulp.run("pack", description, "-o", ulp_file)
        if self.variant.stock and _RELIES in packed.errors and "KEEPING" in source_path.read_text():
            # As the message advises.
            run([*command, *_KEEPING])
            packed = self.ulp.run("pack", description, "-o", ulp_file)
        if self.variant.stock and _RELIES in packed.errors:
            # A promise, too: what nobody can be sure of is refused, and nothing is left to test.
            pytest.skip(packed.errors)
        assert packed.status == 0, packed
        self._patches[key] = ulp_file
        return ulp_file

    def program(self, source: str = "app.c", flags: Sequence[str] = ()) -> Path:
        """A victim program, linked against the library by its soname, from the cache when built before."""
        if source not in self._programs:
            path = self.directory / "-".join([self.hazard.name, *Path(source).with_suffix("").parts])
            source_path = TARGETS / source if "/" in source else self.hazard.folder / source
            run([compiler_for(source_path, self.variant.compilers), *WARNINGS, *self.hazard.flags, *flags,
                 *self.variant.flags, "-pthread", "-o", path, source_path, self.library])
            self._programs[source] = path
        return self._programs[source]

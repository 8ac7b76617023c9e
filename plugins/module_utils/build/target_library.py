# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a name in an object file means in the library that was linked from it, and is to be patched.

A local name is searched for among those of the same source file: linkers keep the local symbols of an object together,
behind a symbol of type STT_FILE.  An exported name means what the library itself uses, which need not be its own: a
program may have a copy of the variable, or define the function as well.
"""

from __future__ import annotations

from typing import Callable

from ..arch.elf_format import R_DTPMOD, R_GLOB_DAT, R_TLSDESC, R_TPOFF
from ..elf.image import ElfImage
from ..elf.symbols import Symbol
from ..livepatch.binding import ADDRESS, SYMBOL, TLS, TLS_WORDS, WORD
from ..named_tuple import NamedTuple
from .meaning import Meaning
from .objects import STB_LOCAL, STT_FILE

_DT_SYMBOLIC = 16
_DT_FLAGS = 30
_DF_SYMBOLIC = 2

_KINDS = ("STT_FUNC", "STT_OBJECT", "STT_TLS", "STT_NOTYPE", "STT_GNU_IFUNC", "STT_COMMON")


class Reference(NamedTuple):
    """How the patch library gets at something of the target: the members of a livepatch.binding.Binding, but a slot."""

    kind: str
    name: str
    version: str
    offset: int
    addend: int


class Ambiguous(Exception):
    """The library has several things of the name, and nothing tells which is meant; the text says where."""


class TargetLibrary:
    """The symbols of a target.

    Attributes: ``image`` (elf.image.ElfImage of what runs), ``symbols`` (as given), ``exported`` ({name: Symbol of
    .dynsym}).
    """

    def __init__(self, image: ElfImage, symbols: list[Symbol],
                 is_static: Callable[[str, str], bool] = lambda file, name: False) -> None:
        """
        :param symbols: those of its .symtab, or of an unstripped library with the same code.
        :param is_static: whether a name is static in a source file, whose name is given first, without directory.
        """
        self.image = image
        self.symbols = symbols
        self._is_static = is_static
        self._files: list[tuple[str, dict[str, list[Symbol]]]] = []
        self._globals: dict[str, list[Symbol]] = {}
        self._locals: dict[str, list[tuple[str, Symbol]]] = {}
        self._groups: dict[str, dict[str, list[Symbol]]] = {}
        self._functions: dict[int, set[str]] = {}
        names = None
        file = ""
        for symbol in symbols:
            if symbol.type == "STT_FILE":
                names = {}
                file = symbol.name
                self._files.append((symbol.name, names))
            elif symbol.defined and symbol.type in _KINDS and symbol.section_index < len(image.sections):
                name = symbol.name.partition("@")[0]
                if symbol.type == "STT_FUNC":
                    self._functions.setdefault(symbol.value, set()).add(name)
                if symbol.binding != "STB_LOCAL":
                    self._globals.setdefault(name, []).append(symbol)
                    continue
                self._locals.setdefault(name, []).append((file, symbol))
                if names is not None:
                    names.setdefault(name, []).append(symbol)
        self.exported = {symbol.name: symbol for symbol in reversed(image.dynamic_symbols()) if symbol.defined}
        self.exported.update({symbol.name: symbol for symbol in image.dynamic_symbols()
                              if symbol.defined and not symbol.hidden})
        flags = image.dynamic_value(_DT_FLAGS) or 0
        self._binds_to_itself = (
            image.is_program or image.dynamic_value(_DT_SYMBOLIC) is not None or bool(flags & _DF_SYMBOLIC))
        self._got: dict[str, int] = {}
        self._tls_got: dict[str, int] = {}
        self._thread_offsets: dict[str | int, int] = {}
        self._descriptors: dict[str | int, int] = {}
        dynamic = image.dynamic_symbols()
        for relocation in image.relocations():
            if relocation.type == R_TPOFF and relocation.symbol == 0:
                self._thread_offsets.setdefault(relocation.addend, relocation.offset)
            elif relocation.type == R_TLSDESC and relocation.symbol == 0:
                self._descriptors.setdefault(relocation.addend, relocation.offset)
            if not 0 < relocation.symbol < len(dynamic):
                continue
            name = dynamic[relocation.symbol].name
            if relocation.type == R_GLOB_DAT:
                self._got.setdefault(name, relocation.offset)
            elif relocation.type == R_DTPMOD:
                self._tls_got.setdefault(name, relocation.offset)
            elif relocation.type == R_TPOFF:
                self._thread_offsets.setdefault(name, relocation.offset)
            elif relocation.type == R_TLSDESC:
                self._descriptors.setdefault(name, relocation.offset)

    def find(self, meaning: Meaning, name: str, is_local: bool) -> Symbol | None:
        """The Symbol of the target that ``name`` of a unit means, or None where it has no such thing.

        :param meaning: that of the unit before the diff, whose local names tell which of several files it is.
        :param is_local: whether the name is local to the unit.
        :raises Ambiguous: there are several.
        """
        if is_local:
            return _only(self._group(meaning).get(name, []), name)
        found = self._globals.get(name)
        if not found:
            # Hidden names become local when a library is linked.  A static one of another file is not meant.
            found = [symbol for file, symbol in self._locals.get(name, ())
                     if symbol.visibility != "STV_DEFAULT" or not file or not self._is_static(file, name)]
        return _only(found, name)

    def has(self, name: str) -> bool:
        """Whether any symbol has this name."""
        return name in self._globals or name in self._locals

    def names_at(self, address: int) -> list[str]:
        """The names of the function at an address."""
        return sorted(self._functions.get(address, ()))

    def _group(self, meaning: Meaning) -> dict[str, list[Symbol]]:
        """The local symbols of a unit, from the best match among files of its name."""
        path = meaning.file.path
        if path not in self._groups:
            names = {symbol.name for symbol in meaning.file.symbols if symbol.type == STT_FILE and symbol.name}
            mine = {symbol.name for symbol in [*meaning.functions.values(), *meaning.variables.values()]
                    if symbol.binding == STB_LOCAL}
            best: list[dict[str, list[Symbol]]] = []
            best_score = None
            for name, group in self._files:
                if name not in names:
                    continue
                # What it lacks may be gone when it was linked; what else it has is another file's.
                score = (-len(set(group) - mine), len(mine & set(group)))
                if best_score is None or score > best_score:
                    best, best_score = [group], score
                elif score == best_score:
                    best.append(group)
            merged: dict[str, list[Symbol]] = {}
            for group in best:
                for name, symbols in group.items():
                    merged.setdefault(name, []).extend(symbols)
            self._groups[path] = merged
        return self._groups[path]

    def is_preemptible(self, name: str, symbol: Symbol) -> bool:
        """Whether the library reaches a function or variable of its own by name, so that it may be another's."""
        exported = self.exported.get(name)
        return (not self._binds_to_itself and exported is not None and exported.visibility == "STV_DEFAULT"
                and symbol.binding != "STB_LOCAL")

    def reference(self, name: str, symbol: Symbol, addend: int = 0) -> Reference:
        """What the patch library has to use to mean what the target means by a function or variable of its own."""
        thread_local = symbol.type == "STT_TLS"
        if self.is_preemptible(name, symbol):
            version = self.exported[name].version or ""
            if thread_local and name in self._tls_got:
                return Reference(TLS_WORDS, name, "", self._tls_got[name], addend)
            if thread_local:
                return Reference(TLS, name, "", symbol.value, addend)
            if name in self._got:
                return Reference(WORD, name, "", self._got[name], addend)
            return Reference(SYMBOL, name, version, 0, addend)
        return Reference(TLS if thread_local else ADDRESS, name, "", symbol.value, addend)

    def thread_offset(self, name: str, symbol: Symbol) -> Reference | None:
        """The word of a library that holds how far from the thread pointer a thread-local variable lies.

        None: the library has none, since its own code finds the variable in another way.  Only where its own code does
        it like this is its storage in the block that every thread has from its start.
        """
        for key in (name, symbol.value) if self.is_preemptible(name, symbol) else (symbol.value, name):
            if key in self._thread_offsets:
                return Reference(WORD, name, "", self._thread_offsets[key], 0)
        return None

    def thread_descriptor(self, name: str, symbol: Symbol) -> Reference | None:
        """The address of the two words (a TLS descriptor) by which a library finds a thread-local variable.

        None: its own code finds the variable in another way.  Source: Oliva, Araujo, "Speeding Up Thread-Local Storage
        Access in Dynamic Libraries", https://www.fsfla.org/~lxoliva/writeups/TLS/RFC-TLSDESC-x86.txt
        """
        for key in (name, symbol.value) if self.is_preemptible(name, symbol) else (symbol.value, name):
            if key in self._descriptors:
                return Reference(ADDRESS, name, "", self._descriptors[key], 0)
        return None

    def module_descriptor(self) -> Reference | None:
        """The same of a library's first thread-local byte."""
        place = self._descriptors.get(0)
        return None if place is None else Reference(ADDRESS, "thread-local storage", "", place, 0)

    def thread_distance(self, symbol: Symbol) -> int | None:
        """How far behind the thread pointer a thread-local variable of a program lies, in bytes; None: a library.

        Known when a program is linked: its storage ends right below the thread pointer (AMD64 psABI, 3.4.2).
        """
        storage = [segment for segment in self.image.segments if segment.type == "PT_TLS"]
        if not self.image.is_program or not storage:
            return None
        align = max(storage[0].align, 1)
        return symbol.value - (storage[0].memsz + align - 1) // align * align


def _only(symbols: list[Symbol], name: str) -> Symbol | None:
    """The one thing that ``symbols`` are names of; of a versioned one the last, which is the default version."""
    if len({symbol.value for symbol in symbols}) > 1:
        default = [symbol for symbol in symbols if "@@" in symbol.name or "@" not in symbol.name]
        if len({symbol.value for symbol in default}) == 1:
            return default[0]
        places = ", ".join(f"{symbol.value:#x}" for symbol in symbols)
        raise Ambiguous(f"there are {len(symbols)} of the name {name}, at {places}")
    return symbols[0] if symbols else None

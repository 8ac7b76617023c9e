# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the functions of a target library that a description names."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING, Collection, Iterator

from ..abi import PAD_BEFORE
from ..elf.bodies import entries_to_guard
from ..elf.image import ElfImage
from ..elf.lost_padding import ENTRIES_LOST, functions_with_lost_entries
from ..elf.patchable import PatchableFunction, is_post_processed
from ..elf.separate_symbols import SeparateSymbols
from ..elf.site import Site
from ..elf.symbols import Symbol, is_function, symbol_label
from ..elf.unseen import UnseenEntries, unseen_entries
from ..errors import BadDescription, MissingDependency, NotPatchable, UlpError
from ..named_tuple import NamedTuple
from .target import FunctionPair

if TYPE_CHECKING:
    from ..stock.code import Code
    from ..stock.reliance import Reliance

# What compilers append to the name of a copy that they made of a function.
_CLONE_SUFFIXES = (".constprop.", ".isra.", ".part.")
_LOCAL = "STB_LOCAL"


class OldFunction(NamedTuple):
    """A function of the target: ``address`` link-time, ``size`` in bytes; ``sites`` and ``digest`` as in Guard."""

    address: int
    size: int
    sites: tuple[Site, ...] = ()
    digest: str = ""


class TargetFunctions:
    """Finds functions of a target library by name."""

    def __init__(self, image: ElfImage, symbols: list[Symbol]) -> None:
        """
        :param image: ElfImage of the target.
        :param symbols: its symbols.
        """
        self.image = image
        self.symbols: dict[str, list[Symbol]] = {}
        for symbol in symbols:
            if symbol.defined and symbol.type in ("STT_FUNC", "STT_GNU_IFUNC", "STT_NOTYPE", "STT_OBJECT"):
                for name in names_of(symbol):
                    self.symbols.setdefault(name, []).append(symbol)

    def address(self, name: str, where: str) -> int:
        """The link-time address of the function called ``name``.

        :param where: what a message begins with: ``file:line: ``, or nothing.
        :raises BadDescription: there is none, or more than one.
        :raises NotPatchable: it can't be replaced.
        """
        symbols = self.symbols.get(name, [])
        functions = [symbol for symbol in symbols if is_function(symbol)]
        addresses = sorted({self._address(symbol) for symbol in functions})
        if not addresses:
            raise self._unknown(name, symbols, where)
        if len(addresses) > 1:
            places = ", ".join(f"{address:#x}" for address in addresses)
            raise BadDescription(
                f"{where}{self.image.name} has several functions called {name} (at {places}), and their names do not"
                " tell which is meant")
        return addresses[0]

    def functions(self, wanted: dict[int, tuple[str, str]]) -> dict[int, OldFunction]:
        """What there is at the addresses that address() gave.

        :param wanted: {address: (name, where)}.
        :return: {address: OldFunction}.
        :raises NotPatchable: one can't be replaced.
        """
        raise NotImplementedError

    def require_registers_kept(self, patch: ElfImage, pairs: list[FunctionPair], wheres: dict[str, str]) -> None:
        """Make sure that no caller relies on a register that a replacement changes.

        :param patch: ElfImage of the patch library.
        :param pairs: list of target.FunctionPair.
        :param wheres: {name of an old function: what a message about it begins with}.
        :raises NotPatchable: one does.
        """

    def require_stack_aligned(self, patch: ElfImage, pairs: list[FunctionPair], wheres: dict[str, str]) -> None:
        """Make sure that each replacement is called with a stack that is aligned as it needs it.

        :param patch, pairs, wheres: as above.
        :raises NotPatchable: one is not.
        """

    def reliances(self, patch: ElfImage, pairs: list[FunctionPair]) -> Iterator[tuple[FunctionPair, Reliance]]:
        """The callers that rely on a register that a replacement changes.

        :param patch: ElfImage of the patch library.
        :param pairs: list of target.FunctionPair; callers that are replaced as well are not asked.
        :return: (target.FunctionPair, stock.reliance.Reliance) of each.
        """
        return iter(())

    def unseen_entries(self) -> UnseenEntries | None:
        """Why a process that runs the library would be refused (elf.unseen.UnseenEntries), or None."""
        return None

    def entries_to_guard(self, addresses: Collection[int]) -> dict[int, str]:
        """The functions without which threads would come unseen to those that are replaced or guarded.

        :param addresses: link-time addresses of the latter.
        :return: {link-time address: name}.
        :raises NotPatchable: nothing tells where one of the functions ends.
        """
        return {}

    def common_callers(self, addresses: Collection[int]) -> list[str]:
        """The functions in which a thread may run an old one first, and a new one then.

        :param addresses: link-time addresses of the functions that are replaced or guarded.
        :return: names, those nearest to what is replaced first; empty for a library that threads enter as a whole.
        """
        return []

    def clones(self, name: str) -> list[str]:
        """The names of the copies that the compiler made of the function ``name``."""
        return sorted(other for other in self.symbols if other.startswith(tuple(name + s for s in _CLONE_SUFFIXES)))

    def may_have_other_parameters(self, name: str) -> bool:
        """Whether the function ``name`` may lack parameters that its source has, as clang drops those of local ones."""
        if any(symbol.binding != _LOCAL for symbol in self.symbols.get(name, ()) if is_function(symbol)):
            return False
        compilers = self.image.section(".comment")
        return compilers is not None and b"clang" in self.image.section_data(compilers)

    def refused(self, name: str, where: str, why: str) -> NotPatchable:
        """A NotPatchable that says why the function called ``name`` can't be replaced."""
        return NotPatchable(f"{where}the function {name} of {self.image.name} cannot be replaced: {why}", [name])

    def _require_stack_aligned(self, patch: ElfImage, pairs: list[FunctionPair], wheres: dict[str, str],
                               code: Code | None = None) -> None:
        """require_stack_aligned(), by the target's ``code``; None: it is read if it is needed."""
        from ..stock.alignment import StackAlignment
        from ..stock.code import Code

        new = StackAlignment(Code(patch, patch.symbols() + patch.dynamic_symbols()))
        needing = [pair for pair in pairs if new.is_needed(pair.new_offset)]
        if not needing:
            return
        if code is None:
            code = Code(self.image, self.image.symbols() + self.image.dynamic_symbols())
        old = StackAlignment(code)
        replaced = {pair.old_offset for pair in pairs}
        for pair in needing:
            call = old.unaligned_call(pair.old_offset, replaced)
            if call is not None:
                raise NotPatchable(
                    f"{wheres[pair.old]}the function {pair.old} of {self.image.name} cannot be replaced by {pair.new}:"
                    f" {_label(code, call.caller)} does not align the stack for the call at {call.place:#x}, since"
                    f" {pair.old} needs no alignment, and {pair.new} does; compile {pair.new} with"
                    " __attribute__((force_align_arg_pointer)), or replace the caller, too",
                    [pair.old])

    def _address(self, symbol: Symbol) -> int:
        return symbol.value

    def _unknown(self, name: str, symbols: list[Symbol], where: str) -> UlpError:
        if any(symbol.type == "STT_GNU_IFUNC" for symbol in symbols):
            return self.refused(
                name, where, "it is chosen at load time (IFUNC); replace the implementation that is chosen")
        if symbols:
            return BadDescription(f"{where}{name} of {self.image.name} is not a function")
        clones = self.clones(name)
        if clones:
            return BadDescription(f"{where}{self.image.name} has {name} only as {', '.join(clones)}")
        return BadDescription(f"{where}{self.image.name} has no function {name}{self._hint()}")

    def _hint(self) -> str:
        """What an author can do about a function that has no name."""
        return "" if self.image.symbols() else (
            "; its symbol table is stripped, so only exported functions can be found")


class PaddedFunctions(TargetFunctions):
    """Those of a library that was compiled with padding."""

    def __init__(self, image: ElfImage, patchable: list[PatchableFunction]) -> None:
        """
        :param image: ElfImage of the target.
        :param patchable: its functions with padding.
        """
        super().__init__(image, image.symbols() + image.dynamic_symbols())
        self._patchable = {function.address: function for function in patchable}
        self._refused = {name: function for function in patchable if function.refusal is not None
                         for name in function.names}

    def functions(self, wanted: dict[int, tuple[str, str]]) -> dict[int, OldFunction]:
        found = {}
        for address, (name, where) in wanted.items():
            function = self._patchable.get(address) or self._refused.get(name)
            if function is None:
                lost = functions_with_lost_entries(self.image, list(self._patchable.values()))
                raise self.refused(name, where, "it was compiled " + (
                    f"with padding, {ENTRIES_LOST}" if name in lost else "without padding"))
            if function.refusal is not None:
                raise self.refused(name, where, function.refusal)
            found[address] = OldFunction(function.address, function.size)
        return found

    def require_stack_aligned(self, patch: ElfImage, pairs: list[FunctionPair], wheres: dict[str, str]) -> None:
        """As above, where Capstone is installed: a target with padding can be packed for without."""
        with contextlib.suppress(MissingDependency):
            self._require_stack_aligned(patch, pairs, wheres)

    def unseen_entries(self) -> UnseenEntries | None:
        if self.image.is_program or is_post_processed(self.image):
            return None
        return unseen_entries(self.image, list(self._patchable.values()))

    def _address(self, symbol: Symbol) -> int:
        """The function that a symbol leads to, through the trampoline of a post-processed library too."""
        function = self._patchable.get(symbol.value + PAD_BEFORE)
        return function.address if function is not None and function.trampoline else symbol.value


class StockFunctions(TargetFunctions):
    """Those of a library as the distribution ships it, without padding."""

    def __init__(self, image: ElfImage, symbols: SeparateSymbols) -> None:
        """
        :param image: ElfImage of the target.
        :param symbols: its symbols, with those of its debug file.
        :raises MissingDependency: Capstone is not installed.
        """
        super().__init__(image, symbols.symbols)
        # Only here, since nobody needs Capstone who only packs for libraries with padding.
        from ..stock.code import Code
        from ..stock.common_callers import common_callers
        from ..stock.needed import why_needed
        from ..stock.reliance import RegisterUse
        from ..stock.sites import SiteFinder

        self._code, self._register_use, self._why_needed = Code, RegisterUse, why_needed
        self._common_callers = common_callers
        self._finder = SiteFinder(image, symbols.symbols)
        self._complete = len(symbols.symbols) > len(image.dynamic_symbols())

    def functions(self, wanted: dict[int, tuple[str, str]]) -> dict[int, OldFunction]:
        found = self._finder.find(wanted)
        needed = self._why_needed(self._finder.code, wanted)
        for address, (name, where) in wanted.items():
            refusal = needed.get(address) or found[address].refusal
            if refusal is not None:
                raise self.refused(name, where, refusal)
        return {
            address: OldFunction(
                address, each.size, each.sites, hashlib.sha256(self.image.read(address, each.size)).hexdigest())
            for address, each in found.items()
        }

    def require_registers_kept(self, patch: ElfImage, pairs: list[FunctionPair], wheres: dict[str, str]) -> None:
        for pair, reliance in self.reliances(patch, pairs):
            caller = self._label(reliance.caller)
            raise NotPatchable(
                f"{wheres[pair.old]}the function {pair.old} of {self.image.name} cannot be replaced by {pair.new}:"
                f" {caller} keeps a value in {reliance.register} across the call at {reliance.place:#x}, since"
                f" {pair.old} leaves that register alone, and {pair.new} changes it; compile {pair.new} with"
                " __attribute__((no_caller_saved_registers)) and -mgeneral-regs-only, or replace the caller, too",
                [pair.old])

    def require_stack_aligned(self, patch: ElfImage, pairs: list[FunctionPair], wheres: dict[str, str]) -> None:
        self._require_stack_aligned(patch, pairs, wheres, self._finder.code)

    def reliances(self, patch: ElfImage, pairs: list[FunctionPair]) -> Iterator[tuple[FunctionPair, Reliance]]:
        old = self._register_use(self._finder.code)
        new = self._register_use(self._code(patch, patch.symbols() + patch.dynamic_symbols()))
        replaced = {pair.old_offset for pair in pairs}
        for pair in pairs:
            if old.kept(pair.old_offset):
                reliance = old.reliance(pair.old_offset, new.changed(pair.new_offset), replaced)
                if reliance is not None:
                    yield pair, reliance

    def entries_to_guard(self, addresses: Collection[int]) -> dict[int, str]:
        return {address: self._label(address) for address in sorted(entries_to_guard(self.image, addresses))}

    def common_callers(self, addresses: Collection[int]) -> list[str]:
        return [self._label(address) for address in self._common_callers(self._finder.code, addresses)]

    def _label(self, address: int) -> str:
        return _label(self._finder.code, address)

    def _hint(self) -> str:
        return "" if self._complete else (
            "; its symbol table is stripped, so only exported functions can be found: install its debug symbols, or"
            " name a file that has them (--symbols, symbols)")


def _label(code: Code, address: int) -> str:
    """What messages call the function at ``address``."""
    names = sorted(symbol_label(symbol) for symbol in code.functions.get(address, ()))
    return names[0] if names else f"the function at {address:#x}"


def names_of(symbol: Symbol) -> set[str]:
    """The names by which a description may call a symbol: ``foo``, and with its version ``foo@V1`` or ``foo@@V1``."""
    names = {symbol_label(symbol), symbol.name}
    if symbol.version:
        names.discard(symbol.name)
        names.update((symbol_label(symbol), f"{symbol.name}@{symbol.version}"))
        if not symbol.hidden:
            names.add(f"{symbol.name}@@{symbol.version}")
    return names

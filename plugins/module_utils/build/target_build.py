# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One target of a build: from its units to its livepatch."""

from __future__ import annotations

import hashlib
import os
from itertools import chain
from typing import Collection, Iterable, Iterator, Mapping, Sequence

from ..arch.elf_format import MACHINE
from ..atomic_file import read_file
from ..elf.headers import ELFCLASS64, HEADER_SIZE, decode_header
from ..elf.image import ElfImage
from ..elf.lost_padding import ENTRIES_LOST, functions_with_lost_entries
from ..elf.patchable import patchable_functions
from ..elf.separate_symbols import SeparateSymbols
from ..elf.symbols import Symbol, is_function
from ..errors import BadElf, NotPatchable, UlpError
from ..livepatch.livepatch import make_livepatch, parse_livepatch
from ..livepatch.target import FunctionPair, Guard, Target
from ..livepatch.target_functions import OldFunction, PaddedFunctions, StockFunctions, TargetFunctions
from ..named_tuple import NamedTuple
from ..printable import some
from .comparison import compare
from .composition import Composition, composition
from .errors import BuildFailed
from .extraction import Extracted, Source, extract
from .layouts import Compared, LayoutChange, check_layouts
from .linking import compile_medium, link, without_debug_information, wrapped_names
from .moving import Moves, meaning_of, renamed_units
from .new_variables import new_variables
from .objects import STB_LOCAL, ObjectFile
from .recording import Link, Records, Unit
from .refusals import ASSEMBLY, HOOK, LTO, MISMATCH, NOTHING, STRIPPED, UNRECORDED, Refusals
from .replacing import RELIANT, Replaced, UnitChange, functions_to_replace
from .running import differing_functions, layout_difference
from .shadows import included_by_assembler, with_shadow, with_shadows
from .slots import Slots
from .target_library import Ambiguous, TargetLibrary
from .work_tree import Built, WorkTree

_WHY_GUARDED = ", which it has to be, since what is replaced jumps to it and threads could come there unseen"


class Candidate(NamedTuple):
    """A file of the build that the diff changes: how it was linked, and what it is made of before and after.

    ``earlier``: {key of a unit after the diff: the one before it that it is, with another name}.
    """

    link: Link
    before: Composition
    after: Composition
    changes: list[UnitChange]
    earlier: dict[str, Unit]


class Made(NamedTuple):
    """A livepatch that was made; ``data`` are its bytes.

    ``replaced`` are the functions with the reason for each; ``copied``, the names of functions and constants that it
    has for itself; ``medium``, the sources that were compiled with the medium code model; ``layouts``, the types that
    change.
    """

    data: bytes
    patch_id: str
    target: Target
    replaced: list[Replaced]
    copied: list[str]
    medium: list[str]
    layouts: list[LayoutChange]
    warnings: list[str]


class Reached(NamedTuple):
    """A file of the build that the diff may change: how it was linked, and what it is made of before and after."""

    link: Link
    before: Composition
    after: Composition


def reached_targets(tree: WorkTree, built: Built) -> list[Reached]:
    """The linked files of a build of which a unit, or another object, may not be what it was."""
    after = built.before.followed_by(built.after)
    found = []
    for output, how in sorted(after.links.items()):
        if output not in built.before.links or _is_foreign(tree, output):
            continue
        old = composition(built.before.links[output], built.before)
        new = composition(how, after) if output in built.after.links else old.with_units_of(after)
        again = new.units.keys() & built.after.units.keys()
        if new.others != old.others or old.units.keys() - new.units.keys() or any(
                not _is_the_same(built.before.units.get(key), new.units[key]) for key in again):
            found.append(Reached(built.before.links[output], old, new))
    return found


def candidates(reached: list[Reached], tree: WorkTree, built: Built, refusals: Refusals) -> list[Candidate]:
    """Those of some linked files whose code or data the diff changes.

    :param refusals: takes units that cannot be compared.
    :raises BuildFailed: what was compiled before cannot be after the diff.
    """
    _compile_shadows(reached, built)
    found = []
    compared: dict[str, UnitChange | None] = {}
    for how, old, new in reached:
        earlier = renamed_units(old.units, new.units)
        changes = [change for key, unit in new.units.items()
                   if (change := _compared(key, unit, earlier.get(key), tree, built, compared, refusals)) is not None]
        vanished = old.units.keys() - new.units.keys() - {unit.key for unit in earlier.values()}
        if _others_differ(tree, old, new, refusals) or changes or vanished:
            found.append(Candidate(how, old, new, changes, earlier))
    return found


def _compile_shadows(reached: list[Reached], built: Built) -> None:
    """Compile the shadow objects that will be compared, as many at a time as there are processors."""
    wanted = {}
    for _how, _old, new in reached:
        for key in new.units.keys() & built.after.units.keys():
            before, unit = built.before.units.get(key), new.units[key]
            if not _is_the_same(before, unit):
                wanted.update((each.shadow, each) for each in (before, unit) if each is not None)
    with_shadows(wanted.values())


def foreign_targets(tree: WorkTree, built: Built) -> list[str]:
    """The names of files that the diff reaches, and that are for another machine, or for 32 bits."""
    return sorted({
        os.path.basename(output) for output, how in built.before.links.items()
        if composition(how, built.before).units.keys() & built.after.units.keys() and _is_foreign(tree, output)})


def _is_foreign(tree: WorkTree, output: str) -> bool:
    try:
        with open(tree.product_before(output), "rb") as stream:
            start = stream.read(HEADER_SIZE)
    except OSError:
        return False
    if len(start) < HEADER_SIZE or start[:4] != b"\x7fELF":
        return False
    return start[4] != ELFCLASS64 or decode_header(start).machine != MACHINE


def _compared(key: str, unit: Unit, earlier: Unit | None, tree: WorkTree, built: Built,
              compared: dict[str, UnitChange | None], refusals: Refusals) -> UnitChange | None:
    if key not in built.after.units:
        return None
    if key not in compared:
        compared[key] = _compare(key, unit, earlier or built.before.units.get(key), tree, refusals)
    return compared[key]


def _compare(key: str, unit: Unit, before: Unit | None, tree: WorkTree, refusals: Refusals) -> UnitChange | None:
    if _is_the_same(before, unit):
        return None
    recorded, unit = unit, with_shadow(unit)
    if recorded.shadow and not unit.shadow and unit.digest is None:
        # The package's own build did not get that far.
        raise BuildFailed(f"cannot compile {unit.name} after the diff: {unit.messages.strip()[-1500:]}")
    before = with_shadow(before) if before is not None else None
    for each in (before, unit):
        if each is None:
            continue
        if any(word.startswith("-flto") for word in each.arguments) and "-fno-lto" not in each.arguments:
            refusals.add(LTO, each.name, f"{each.name} is compiled for link-time optimisation: what its functions are"
                         " is decided when the library is linked; build with -fno-lto, library and livepatch")
            return None
        if each.shadow is None:
            what = f"could not be compiled a second time: {each.messages}" if each.messages else (
                "is assembly, and its object changes")
            refusals.add(ASSEMBLY, each.name, f"{each.name} {what}")
            return None
    for path in included_by_assembler(unit):
        if tree.has_changed(path):
            refusals.add(ASSEMBLY, unit.name, f"assembly in {unit.name} includes {os.path.basename(path)}, and that"
                         " changes")
            return None
    difference = compare(ObjectFile(str(before.shadow)) if before is not None else None, ObjectFile(str(unit.shadow)))
    return None if difference.is_empty else UnitChange(unit.name, key, difference)


def _is_the_same(before: Unit | None, after: Unit) -> bool:
    """Whether the build has made the same object again."""
    return before is not None and before.digest is not None and before.digest == after.digest and not after.left_out


def _others_differ(tree: WorkTree, old: Composition, new: Composition, refusals: Refusals) -> bool:
    """Refuse objects that changed, and that no compiler made that was recorded."""
    differ = False
    root = tree.path("tree") + os.sep
    for name, digest in new.others.items():
        if name.startswith(root) and old.others.get(name) != digest:
            shown = os.path.basename(name)
            refusals.add(UNRECORDED, shown, f"{shown} changes, and no program has made it that is recorded, such as a"
                         " compiler or a linker, but another, such as an assembler or objcopy")
            differ = True
    return differ


def make(
    candidate: Candidate, tree: WorkTree, built: Built, running: ElfImage, labels: dict[str, object],
    guards: Sequence[str], anew: Sequence[str], refusals: Refusals,
) -> Made | None:
    """Make the livepatch for one target; None where something is refused.

    :param running: elf.image.ElfImage of the library that runs.
    :param labels: for the metadata.
    :param guards: names of functions to hook without replacing them, as far as the target has them.
    :param anew: names of new variables, or patterns, that do not go on with those of earlier livepatches.
    """
    after = built.before.followed_by(built.after)
    product = ElfImage.open(tree.product_before(candidate.link.output))
    symbols = _symbols(product, tree.with_symbols(product.name), running, refusals)
    if not symbols:
        return None
    target = TargetLibrary(running, symbols, _Statics(candidate).has)
    unchanged = _Unchanged(candidate)
    replaced = functions_to_replace(candidate.changes, unchanged, _moves(candidate, refusals), target, refusals)
    layouts = check_layouts(
        [Compared(candidate.earlier.get(key) or candidate.before.units.get(key), built.after.units.get(key))
         for key in {**candidate.before.units, **candidate.after.units}],
        [each.name for each in replaced], target.exported, refusals)
    if refusals.refused:
        return None
    diversion = _diversion(running, target.symbols)
    differing = _differing(product, running)
    directory = tree.path("objects")
    wanted, warnings = _wanted_guards(guards, diversion)
    while True:
        olds, guarded = _old_functions(replaced, wanted, differing, diversion, refusals)
        replaced = [each for each in replaced if each.old.value in olds]
        if not replaced and not refusals.refused:
            refusals.add(NOTHING, os.path.basename(running.name),
                         f"{os.path.basename(running.name)} has no function that the diff changes, or none to replace")
        if refusals.refused:
            return None
        slots, extracted, medium = _extract(candidate, after, replaced, target, tree, refusals)
        if refusals.refused:
            return None
        patch = link(os.path.join(directory, "patch.so"), extracted, slots, after.units, candidate.link, target,
                     refusals, directory)
        if patch is None or refusals.refused:
            return None
        pairs = _pairs(extracted, patch, olds)
        more = _reliant_callers(diversion, patch, pairs, candidate.changes, unchanged, target, refusals)
        if not more:
            break
        replaced = sorted([*replaced, *more], key=lambda each: each.old.value)
    if refusals.refused:
        return None
    addresses = {symbol.name: symbol.value for symbol in patch.symbols() if symbol.defined}
    described_guards = tuple(Guard(name, *olds[address]) for address, name in sorted(guarded.items()))
    described = Target(
        running.soname or os.path.basename(running.name), os.path.abspath(running.name),
        running.require_build_id().hex(), pairs, described_guards, tuple(slots.bindings(addresses)),
        new_variables(extracted.brought, _sources(candidate.changes, replaced), after.units, tree.path("tree"),
                      addresses, anew))
    if refusals.allowed:
        labels = {**labels, "allowed": sorted({f"{each.kind}: {each.name}" for each in refusals.allowed})}
    data, patch_id = make_livepatch(patch, [described], labels=labels)
    parse_livepatch(data, patch.name)
    warnings += [*_unseen(running, diversion), *_mixing(running, diversion, olds)]
    return Made(data, patch_id, described, replaced, extracted.copied, medium, layouts, warnings)


def _wanted_guards(names: Sequence[str], diversion: TargetFunctions) -> tuple[dict[int, str], list[str]]:
    """({address: name} of the functions that the author wants guarded, why others can't be)."""
    wanted, warnings = {}, []
    for name in names:
        if isinstance(diversion, PaddedFunctions):
            warnings.append(f"{diversion.image.name} was built with padding, so threads are inside of it as a whole:"
                            f" {name} needs no guard")
            continue
        try:
            wanted[diversion.address(name, "")] = name
        except UlpError as error:
            warnings.append(f"{name} is not guarded: {error}")
    return wanted, warnings


def _mixing(running: ElfImage, diversion: TargetFunctions, inside: Collection[int]) -> list[str]:
    """A warning of the functions in which a thread may run old and new ones."""
    callers = diversion.common_callers(inside)
    if not callers:
        return []
    call = "calls" if len(callers) == 1 else "call"
    return [f"{some(callers)} of {running.name} {call} several of the functions that are replaced, directly or not; a"
            " thread that is in there when the livepatch is applied may run an old one first, and a new one then. If"
            f" they depend on each other, --guard {callers[0]} makes each call of that one visit"]


def _symbols(product: ElfImage, unstripped: str | None, running: ElfImage, refusals: Refusals) -> list[Symbol]:
    """The symbols to find things by: those of what runs, or of what was built where that has the same code.

    ``unstripped`` is the path of the product as it was before the build stripped it, None where it did not.  Empty
    where neither has a symbol table.  Without one, no static function would be found, and none be missed.
    """
    symbols = product.symbols()
    if unstripped is not None:
        whole = ElfImage.open(unstripped)
        symbols = whole.symbols() if layout_difference(whole, product) is None else symbols
    if not symbols and not running.symbols():
        name = os.path.basename(product.name)
        refusals.add(STRIPPED, name, f"{name} has no symbol table when its build is done, so nothing tells where its"
                     " functions are; build it without what removes them, what runs may be stripped (--running)")
        return []
    if product.build_id is not None and product.build_id == running.build_id:
        return symbols or running.symbols()
    name = os.path.basename(running.name)
    difference = layout_difference(product, running)
    if difference is not None:
        refusals.add(MISMATCH, name, f"{running.name} is not what was built from the source: {difference}; build with"
                     " the compiler, the flags and the directory that it was built with")
    return symbols if difference is None else running.symbols() or symbols


class _Unchanged(Iterable[UnitChange]):
    """The units of a target that the diff leaves alone, read when they are asked for."""

    def __init__(self, candidate: Candidate) -> None:
        changed = {change.key for change in candidate.changes}
        self._units = [unit for key, unit in candidate.after.units.items() if unit.shadow and key not in changed]
        self._read: list[UnitChange] | None = None

    def __iter__(self) -> Iterator[UnitChange]:
        if self._read is None:
            self._read = []
            for unit in with_shadows(self._units):
                if unit.shadow is None:
                    continue
                file = ObjectFile(str(unit.shadow))
                self._read.append(UnitChange(unit.name, unit.key, compare(file, file)))
        return iter(self._read)


class _Statics:
    """The static functions and variables that the units of a target had before the diff."""

    def __init__(self, candidate: Candidate) -> None:
        self._units: dict[str, list[Unit]] = {}
        for unit in candidate.before.units.values():
            self._units.setdefault(unit.name, []).append(unit)
        self._names: dict[str, set[str]] = {}

    def has(self, file: str, name: str) -> bool:
        """Whether ``name`` is static in a source file; few are ever asked for, and these are compiled once more."""
        file = os.path.basename(file)
        if file not in self._names:
            meanings = map(meaning_of, self._units.get(file, ()))
            self._names[file] = {
                symbol.name for meaning in meanings if meaning is not None
                for symbol in [*meaning.functions.values(), *meaning.variables.values()] if symbol.binding == STB_LOCAL}
        return name in self._names[file]


def _moves(candidate: Candidate, refusals: Refusals) -> Moves:
    """What units of a target have no more after the diff; assembly that vanishes is refused."""
    moves = Moves()
    for change in candidate.changes:
        difference = change.difference
        if difference.before is not None:
            moves.leave(change.source, difference.before, difference.gone, difference.gone_variables)
    renamed = {unit.key for unit in candidate.earlier.values()}
    for key, unit in candidate.before.units.items():
        if key in candidate.after.units or key in renamed:
            continue
        meaning = meaning_of(unit)
        if meaning is None:
            refusals.add(ASSEMBLY, unit.name, f"{unit.name} is gone, and was assembly")
        else:
            moves.vanish(unit, meaning)
    return moves


def _diversion(running: ElfImage, symbols: list[Symbol]) -> TargetFunctions:
    """Who finds the functions of what runs: of a library with padding, or of one without."""
    patchable = patchable_functions(running)
    if patchable:
        return PaddedFunctions(running, patchable)
    if functions_with_lost_entries(running, []):
        raise NotPatchable(f"{running.name} was built with padding, {ENTRIES_LOST}")
    return StockFunctions(running, SeparateSymbols(running.dynamic_symbols() + symbols, None))


def _differing(product: ElfImage, running: ElfImage) -> set[str]:
    """The functions whose code in what runs is other than what was compared."""
    if product.build_id == running.build_id or layout_difference(product, running) is not None:
        return set()
    return set(differing_functions(product, running))


def _old_functions(replaced: list[Replaced], guarded: Mapping[int, str], differing: set[str],
                   diversion: TargetFunctions, refusals: Refusals,
                   ) -> tuple[dict[int, OldFunction], dict[int, str]]:
    """({address: OldFunction} of those that can be diverted, {address: name} of the guards among them).

    The others are refused.  ``guarded`` are guards that the author wants.  Guards are found together with functions:
    two of them may want the same gap.
    """
    name = diversion.image.name
    wanted: dict[int, tuple[str, str]] = {}
    by_label: dict[str, Replaced] = {}
    for each in replaced:
        if each.old.name in differing:
            refusals.add(MISMATCH, each.old.name, f"{each.old.name} is other code in {name} than in what was built"
                         " from the source")
            continue
        # Static functions of several source files may have one name.
        label = each.old.name if each.old.name not in by_label else f"{each.old.name} at {each.old.value:#x}"
        wanted[each.old.value] = (label, "")
        by_label[label] = each
    while True:
        guards = {address: guard for address, guard in guarded.items() if address not in wanted}
        guards.update(diversion.entries_to_guard({*wanted, *guards}))
        watched = {address: (guard, "") for address, guard in guards.items()}
        try:
            return diversion.functions({**wanted, **watched}), guards
        except NotPatchable as error:
            # One is named at a time.
            refused = [by_label.pop(each) for each in error.functions if each in by_label]
            for each in refused:
                refusals.add(HOOK, each.old.name, f"{each.old.name} of {each.unit.source}: {error}")
                wanted.pop(each.old.value, None)
            if not refused:
                if not set(error.functions) & set(guards.values()):
                    raise
                for guard in error.functions:
                    why = "" if guard in guarded.values() else _WHY_GUARDED
                    refusals.add(HOOK, guard, f"{guard} can't be a guard{why}: {error}")
                return {}, {}


def _pairs(extracted: Extracted, patch: ElfImage, olds: dict[int, OldFunction]) -> list[FunctionPair]:
    """The FunctionPairs of the new functions, ascending by old offset."""
    pairs = []
    for name, each in extracted.names.items():
        symbol = patch.find_dynamic_symbol(name)
        if symbol is None:
            raise BadElf(f"{patch.name} lacks the function {name}, although it was linked into it")
        old = olds[each.old.value]
        pairs.append(FunctionPair(
            each.old.name.partition("@")[0], name, each.old.value, old.size or each.old.size, symbol.value, old.sites,
            old.digest))
    return sorted(pairs, key=lambda pair: pair.old_offset)


def _reliant_callers(diversion: TargetFunctions, patch: ElfImage, pairs: list[FunctionPair],
                     changes: list[UnitChange], unchanged: Iterable[UnitChange], target: TargetLibrary,
                     refusals: Refusals) -> list[Replaced]:
    """Callers that rely on a register that new code changes: to be replaced as well, compiled with the new code."""
    found: dict[int, Replaced] = {}
    for pair, reliance in diversion.reliances(patch, pairs):
        if reliance.caller in found:
            continue
        caller = _defined_at(reliance.caller, chain(changes, unchanged), target)
        if caller is None:
            refusals.add(HOOK, pair.old, f"{pair.old} leaves the register {reliance.register} alone, and the code at"
                         f" {reliance.place:#x} in {target.image.name} relies on that; it cannot be replaced as well,"
                         " since no source file that was compiled has it")
            continue
        found[reliance.caller] = caller
    return list(found.values())


def _defined_at(address: int, units: Iterable[UnitChange], target: TargetLibrary) -> Replaced | None:
    """The function of a unit that lies at an address of the target."""
    names = {symbol.name.partition("@")[0] for symbol in target.symbols
             if symbol.defined and symbol.value == address and is_function(symbol)}
    for unit in units:
        functions = unit.difference.after.functions
        for name in names & set(functions):
            try:
                old = unit.find(target, name, functions[name])
            except Ambiguous:
                continue
            if old is not None and old.value == address:
                return Replaced(name, unit, old, RELIANT)
    return None


def _unseen(running: ElfImage, diversion: TargetFunctions) -> list[str]:
    unseen = diversion.unseen_entries()
    if unseen is None:
        return []
    return [f"threads can enter {running.name} unseen through {some(unseen.names)} ({unseen.why}), so the livepatch"
            " will be refused when it is applied; build the library with padding throughout, or post-process it"]


def _extract(candidate: Candidate, after: Records, replaced: list[Replaced], target: TargetLibrary, tree: WorkTree,
             refusals: Refusals) -> tuple[Slots, Extracted, list[str]]:
    """(slots, what was extracted, sources compiled with the medium code model)."""
    medium: set[str] = set()
    directory = tree.path("objects")
    while True:
        sources = [_source(change, after.units[change.key], change.key in medium, directory)
                   for change in _sources(candidate.changes, replaced)]
        slots = Slots()
        trial = Refusals(refusals.patterns)
        extracted = extract(sources, replaced, target, slots, trial, wrapped_names(candidate.link))
        more = set(extracted.direct) - medium
        if not more:
            for refusal in [*trial.refused, *trial.allowed]:
                refusals.add(*refusal)
            for key in extracted.direct:
                refusals.add("reference", after.units[key].name, f"{after.units[key].name} accesses variables of"
                             f" {target.image.name} in a way that is not understood, in the medium code model as well")
            return slots, extracted, sorted(after.units[key].name for key in medium)
        medium |= more


def _sources(changes: list[UnitChange], replaced: list[Replaced]) -> list[UnitChange]:
    found = {change.key: change for change in changes}
    # Units without a difference of their own read constants of others.
    found.update((each.unit.key, each.unit) for each in replaced)
    return list(found.values())


def _source(change: UnitChange, unit: Unit, medium: bool, directory: str) -> Source:
    path = compile_medium(unit, directory) if medium else str(unit.shadow)
    taken = ObjectFile(without_debug_information(unit, path, directory + os.sep + "taken"))
    before = change.difference.before
    return Source(change, compare(before.file if before is not None else None, taken))


def contents_digest(path: str) -> str:
    """SHA-256 in hex of a file."""
    return hashlib.sha256(read_file(path)).hexdigest()

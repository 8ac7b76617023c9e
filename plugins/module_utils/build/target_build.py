# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One target of a build: from its units to its livepatch."""

from __future__ import annotations

import hashlib
import os
from typing import NamedTuple

from ..atomic_file import read_file
from ..elf.image import ElfImage
from ..elf.patchable import is_post_processed, patchable_functions
from ..elf.symbols import Symbol
from ..elf.unseen import unseen_entries
from ..errors import BadElf
from ..livepatch.container import build_container, parse_container
from ..livepatch.target import FunctionPair, Target
from ..printable import some
from .comparison import compare
from .composition import Composition, composition
from .extraction import Extracted, Source, extract
from .layouts import Compared, LayoutChange, check_layouts
from .linking import compile_medium, link, without_debug_information
from .objects import ObjectFile
from .recording import Link, Records, Unit
from .refusals import ASSEMBLY, HOOK, LTO, MISMATCH, NOTHING, Refusals
from .replacing import Replaced, UnitChange, functions_to_replace
from .running import differing_functions, layout_difference
from .slots import Slots
from .target_library import TargetLibrary
from .work_tree import Built, WorkTree


class Candidate(NamedTuple):
    """A file of the build that the diff changes: how it was linked, and what it is made of before and after."""

    link: Link
    before: Composition
    after: Composition
    changes: list[UnitChange]


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


def candidates(tree: WorkTree, built: Built, refusals: Refusals) -> list[Candidate]:
    """The linked files of a build whose code or data the diff changes.

    :param refusals: takes units that cannot be compared.
    """
    after = built.before.followed_by(built.after)
    found = []
    compared: dict[str, UnitChange | None] = {}
    for output, how in sorted(after.links.items()):
        if output not in built.before.links:
            continue
        old, new = composition(built.before.links[output], built.before), composition(how, after)
        changes = [change for key, unit in new.units.items()
                   if (change := _compared(key, unit, built, compared, refusals)) is not None]
        if _others_differ(tree, old, new, refusals) or changes:
            found.append(Candidate(built.before.links[output], old, new, changes))
    return found


def _compared(key: str, unit: Unit, built: Built, compared: dict[str, UnitChange | None],
              refusals: Refusals) -> UnitChange | None:
    if key not in built.after.units:
        return None
    if key not in compared:
        compared[key] = _compare(key, unit, built.before.units.get(key), refusals)
    return compared[key]


def _compare(key: str, unit: Unit, before: Unit | None, refusals: Refusals) -> UnitChange | None:
    if before is not None and before.digest is not None and before.digest == unit.digest:
        return None
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
    difference = compare(ObjectFile(str(before.shadow)) if before is not None else None, ObjectFile(str(unit.shadow)))
    return None if difference.is_empty else UnitChange(unit.name, key, difference)


def _others_differ(tree: WorkTree, old: Composition, new: Composition, refusals: Refusals) -> bool:
    """Refuse objects that changed, and that no compiler made that was recorded."""
    differ = False
    root = tree.path("tree") + os.sep
    for name, digest in new.others.items():
        if name.startswith(root) and old.others.get(name) != digest:
            shown = os.path.basename(name)
            refusals.add(ASSEMBLY, shown, f"{shown} changes, and was not made by a compiler that is recorded, but by an"
                         " assembler, say")
            differ = True
    return differ


def make(
    candidate: Candidate, tree: WorkTree, built: Built, running: ElfImage, labels: dict[str, object],
    refusals: Refusals,
) -> Made | None:
    """Make the livepatch for one target; None where something is refused.

    :param running: elf.image.ElfImage of the library that runs.
    :param labels: for the metadata.
    """
    after = built.before.followed_by(built.after)
    product = ElfImage.open(tree.product_before(candidate.link.output))
    target = TargetLibrary(running, _symbols(product, running, refusals))
    unchanged = (UnitChange(unit.name, key, compare(None, ObjectFile(unit.shadow)))
                 for key, unit in candidate.after.units.items()
                 if unit.shadow and key not in {change.key for change in candidate.changes})
    replaced = functions_to_replace(candidate.changes, unchanged, target, refusals)
    replaced = _check_hooks(replaced, product, running, refusals)
    layouts = check_layouts(
        [Compared(candidate.before.units.get(key), built.after.units.get(key))
         for key in {**candidate.before.units, **candidate.after.units}],
        [each.name for each in replaced], target.exported, refusals)
    warnings = _unseen(running)
    if not replaced:
        if not refusals.refused:
            refusals.add(NOTHING, os.path.basename(running.name),
                         f"{os.path.basename(running.name)} has no function that the diff changes")
        return None
    if refusals.refused:
        return None
    slots, extracted, medium = _extract(candidate, after, replaced, target, tree, refusals)
    if refusals.refused:
        return None
    directory = tree.path("objects")
    patch = link(os.path.join(directory, "patch.so"), extracted, slots, after.units, candidate.link, target, refusals,
                 directory)
    if refusals.refused:
        return None
    pairs = []
    for name, each in extracted.names.items():
        symbol = patch.find_dynamic_symbol(name)
        if symbol is None:
            raise BadElf(f"{patch.name} lacks the function {name}, although it was linked into it")
        pairs.append(FunctionPair(each.old.name.partition("@")[0], name, each.old.value, each.old.size, symbol.value))
    pairs.sort(key=lambda pair: pair.old_offset)
    addresses = {symbol.name: symbol.value for symbol in patch.symbols() if symbol.defined}
    described = Target(
        running.soname or os.path.basename(running.name), os.path.abspath(running.name),
        running.require_build_id().hex(), pairs, (), tuple(slots.bindings(addresses)))
    if refusals.allowed:
        labels = {**labels, "allowed": sorted({f"{each.kind}: {each.name}" for each in refusals.allowed})}
    data, patch_id = build_container(patch, [described], (), labels)
    parse_container(data, patch.name)
    return Made(data, patch_id, described, replaced, extracted.copied, medium, layouts, warnings)


def _symbols(product: ElfImage, running: ElfImage, refusals: Refusals) -> list[Symbol]:
    """The symbols to find things by: those of what runs, or of what was built where that has the same code."""
    if product.build_id is not None and product.build_id == running.build_id:
        return product.symbols() or running.symbols()
    name = os.path.basename(running.name)
    difference = layout_difference(product, running)
    if difference is not None:
        refusals.add(MISMATCH, name, f"{running.name} is not what was built from the source: {difference}; build with"
                     " the compiler, the flags and the directory that it was built with")
    return product.symbols() if difference is None else running.symbols() or product.symbols()


def _check_hooks(replaced: list[Replaced], product: ElfImage, running: ElfImage, refusals: Refusals) -> list[Replaced]:
    """Refuse what cannot be diverted, and functions whose code in what runs is other than what was compared."""
    differing: set[str] = set()
    if product.build_id != running.build_id and layout_difference(product, running) is None:
        differing.update(differing_functions(product, running))
    hooks = {function.address: function for function in patchable_functions(running)}
    kept = []
    for each in replaced:
        name = each.old.name
        function = hooks.get(each.old.value)
        if name in differing:
            refusals.add(MISMATCH, name, f"{name} is other code in {running.name} than in what was built from the"
                         " source")
        elif function is None or function.refusal is not None:
            why = "it was compiled without padding" if function is None else function.refusal
            refusals.add(HOOK, name, f"{name} of {each.unit.source} cannot be replaced in {running.name}: {why}")
        else:
            kept.append(each)
    return kept


def _unseen(running: ElfImage) -> list[str]:
    if running.is_program or is_post_processed(running):
        return []
    unseen = unseen_entries(running, patchable_functions(running))
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
        extracted = extract(sources, replaced, target, slots, trial)
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

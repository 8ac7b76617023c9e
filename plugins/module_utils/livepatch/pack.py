# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a livepatch from a description file."""

from __future__ import annotations

import hashlib
import json
import os
from fnmatch import fnmatchcase
from typing import Any, Collection

from ..abi import BUILD_ID_SIZE
from ..atomic_file import read_file, replace_file
from ..elf.image import ElfImage
from ..elf.lost_padding import ENTRIES_LOST, functions_with_lost_entries
from ..elf.patchable import patchable_functions
from ..elf.separate_symbols import SeparateSymbols, symbols_of
from ..elf.symbols import Symbol, is_function
from ..errors import BadDescription, BadElf, FileProblem, NotPatchable, UlpError
from ..named_tuple import NamedTuple
from ..printable import printable, some
from .binding import ADDRESS, TLS, Binding, fault_of, overlap_of
from .description import Description, TargetDescription
from .dump import metadata_fields
from .duplicates import duplicates
from .labels import mentioned, merged
from .livepatch import is_patch_id, is_replaceable, make_livepatch, parse_livepatch
from .metadata import canonical_json, parse_metadata
from .reference import meaning, word_of
from .target import FunctionPair, Guard, Target
from .target_functions import PaddedFunctions, StockFunctions, TargetFunctions, names_of


class PackResult(NamedTuple):
    """What ``pack`` did.

    ``changed`` says whether the livepatch at ``path`` was (in check mode: would be) written; ``patch_id`` is hex;
    ``targets`` is a list of target.Target; ``duplicates`` are the names that patch library and target both define,
    and that were allowed; ``warnings`` are sentences for the patch author; ``before`` and ``after`` are text about the
    livepatch at ``path`` to compare, empty when there is none; ``data`` are its bytes.
    """

    changed: bool
    path: str
    patch_id: str
    patch_build_id: str
    targets: list[Target]
    duplicates: list[str]
    warnings: list[str]
    before: str
    after: str
    data: bytes

    @property
    def functions(self) -> list[FunctionPair]:
        """All pairs of all targets, a list of target.FunctionPair."""
        return [pair for target in self.targets for pair in target.functions]

    @property
    def guards(self) -> list[Guard]:
        """All guards of all targets, a list of target.Guard."""
        return [guard for target in self.targets for guard in target.guards]


def default_destination(description: Description) -> str:
    """Where the livepatch of a Description goes unless told: beside the description file or the patch library."""
    base = description.patch_library if description.source is None else description.source
    root, extension = os.path.splitext(base)
    return (root if extension in (".dsc", ".so") else base) + ".ulp"


def pack(
    description: Description, destination: str | os.PathLike[str] | None = None, *,
    labels: dict[str, object] | None = None, dependencies: Collection[str] = (),
    allow_duplicates: Collection[str] = (), check: bool = False, symbols: Collection[str] = (),
    replaces: Collection[str] = (),
) -> PackResult:
    """Make the livepatch that a Description asks for.

    :param description: description.Description.
    :param destination: path of the livepatch; default_destination() when None.
    :param labels: JSON-able dict to store with it, besides what the description's comments mention.
    :param dependencies: patch IDs in hex that must be applied before.
    :param allow_duplicates: names, or patterns as for fnmatch(3), that patch library and target may both define.
    :param check: write nothing, only tell.
    :param symbols: paths of files with the symbol tables of targets without padding: debug files, or the same code
        built again.
    :param replaces: patch IDs in hex, or wildcards of names, of the livepatches whose place it takes.
    :return: PackResult; equal input gives equal bytes, and an equal file is left alone.
    :raises FileProblem: a file cannot be read or written.
    :raises BadElf: a library is damaged, or has no build ID.
    :raises BadDescription: a function does not exist or is ambiguous, or a path is missing.
    :raises NotPatchable: a function to be replaced cannot be, the patch library has copies that do harm, or a file
        with symbols is for none of the targets.
    :raises MissingDependency: a target was built without padding, and Capstone is not installed.
    """
    destination = str(destination or default_destination(description))
    _check_destination(description, destination)
    labels = _json_labels(merged(labels, map(mentioned, description.comments)))
    for dependency in dependencies:
        if not is_patch_id(dependency):
            raise BadDescription(
                f"{dependency} is not a patch ID; a dependency is given by the 64 hex digits that ulp dump shows")
    for replaced in replaces:
        if not is_replaceable(replaced):
            raise BadDescription(
                f"{replaced!r} does not say which livepatch is replaced; give a patch ID, or a name or its wildcard")
    patch = _open(description, description.patch_library, description.line, "patch library")
    warnings: list[str] = []
    allowed: dict[str, set[str]] = {}
    symbol_files = _SymbolFiles(symbols)
    targets = [
        _resolve_target(description, target, patch, warnings, allow_duplicates, allowed, symbol_files)
        for target in description.targets
    ]
    symbol_files.require_all_used()
    for index, target in enumerate(targets):
        for other in targets[:index]:
            if other.build_id == target.build_id:
                where = description.where(description.targets[index].line)
                raise BadDescription(
                    f"{where}{other.path} and {target.path} are the same library (build ID {target.build_id})")
    unused = {*allow_duplicates}.difference(*allowed.values())
    warnings.extend(f"{pattern} is allowed as a duplicate, but is not one" for pattern in sorted(unused))
    data, patch_id = make_livepatch(
        patch, targets, dependencies=dependencies, labels=labels, replaces=replaces)
    # Whoever applies it reads more of the patch library than was needed here: better refused now, by that file's name.
    parse_livepatch(data, description.patch_library)
    existing = read_file(destination) if os.path.exists(destination) else None
    changed = existing != data
    if changed and not check:
        replace_file(destination, data, template=description.patch_library)
    return PackResult(
        changed=changed,
        path=destination,
        patch_id=patch_id,
        patch_build_id=patch.require_build_id().hex(),
        targets=targets,
        duplicates=sorted(allowed),
        warnings=warnings,
        before=shown_livepatch(existing, destination),
        after=shown_livepatch(data, destination),
        data=data,
    )


def shown_livepatch(data: bytes | None, name: str) -> str:
    """The metadata of a livepatch with the bytes ``data``, indented, or what else is in that file; empty for None."""
    if data is None:
        return ""
    try:
        livepatch = parse_livepatch(data, name)
    except UlpError as error:
        return f"{error} (SHA-256 {hashlib.sha256(data).hexdigest()})\n"
    lines = json.dumps(metadata_fields(livepatch), indent=2, sort_keys=True, ensure_ascii=False).split("\n")
    # Shown as a diff, which Ansible prints as it is.
    return "\n".join(map(printable, lines)) + "\n"


def _check_destination(description: Description, destination: str) -> None:
    if os.path.isdir(destination):
        raise BadDescription(f"cannot write the livepatch to {destination}: it is a directory")
    inputs = [description.patch_library] + [target.path for target in description.targets]
    if description.source is not None:
        inputs.append(description.source)
    for path in inputs:
        if os.path.realpath(path) == os.path.realpath(destination):
            raise BadDescription(
                f"cannot write the livepatch to {destination}: that is one of the files it is made from")


def _json_labels(labels: dict[str, object] | None) -> dict[str, Any]:
    """The labels as they come back from JSON, so that what is written is canonical."""
    try:
        # Within the metadata they lie one level deeper.
        decoded = parse_metadata(json.dumps({"labels": labels or {}}, allow_nan=False))["labels"]
        canonical_json(decoded)
    except (TypeError, ValueError) as error:
        raise BadDescription(f"the labels cannot be written as JSON: {error}") from error
    except RecursionError as error:
        raise BadDescription("the labels cannot be written as JSON: they are nested too deep") from error
    if not isinstance(decoded, dict):
        raise BadDescription(f"the labels must be a dictionary, not {type(labels).__name__}")
    return decoded


def _open(
    description: Description, path: str, line: int, what: str, program_allowed: bool = False,
) -> ElfImage:
    where = description.where(line)
    if not os.path.exists(path):
        raise BadDescription(f"{where}the {what} {path} does not exist")
    try:
        image = ElfImage.open(path)
        if image.is_program and not program_allowed:
            raise image.bad("is a program, not a shared library")
        build_id = image.require_build_id()
        if len(build_id) > BUILD_ID_SIZE:
            raise image.bad(f"has a build ID of {len(build_id)} bytes; link it with -Wl,--build-id=sha1")
        image.require_sections()
    except (BadElf, FileProblem, NotPatchable) as error:
        error.args = (where + str(error),)
        raise
    return image


def _resolve_target(
    description: Description, target: TargetDescription, patch: ElfImage, warnings: list[str],
    allow_duplicates: Collection[str], allowed: dict[str, set[str]], symbols: _SymbolFiles,
) -> Target:
    image = _open(description, target.path, target.line, "target library", program_allowed=True)
    resolver = _functions_of(image, description.where(target.line), target, symbols)
    pairs = []
    wanted: dict[int, tuple[str, str]] = {}
    named = [(pair.old, pair.line) for pair in target.functions] + list(target.guards)
    for name, line in named:
        where = description.where(line)
        other, _where = wanted.setdefault(resolver.address(name, where), (name, where))
        if other != name:
            raise BadDescription(f"{where}{other} and {name} are two names of one function of {image.name}")
    guards = [(guard.name, resolver.address(guard.name, "")) for guard in target.guards]
    for address, name in resolver.entries_to_guard(wanted).items():
        where = description.where(target.line)
        warnings.append(
            f"{where}{name} of {image.name} becomes a guard as well, since a function that is replaced jumps to it:"
            " without it, threads could come to what is replaced unseen")
        wanted[address] = (name, where)
        guards.append((name, address))
    found = resolver.functions(wanted)
    addresses = {name: address for address, (name, _where) in wanted.items()}
    for function in target.functions:
        where = description.where(function.line)
        old = found[addresses[function.old]]
        new_offset = _resolve_new(patch, function.new, where)
        pairs.append(FunctionPair(
            function.old, function.new, old.address, old.size, new_offset, old.sites, old.digest))
        warnings.extend(
            f"{where}{image.name} also has {clone}, a copy of {function.old} that is not replaced"
            for clone in resolver.clones(function.old)
        )
        if resolver.may_have_other_parameters(function.old):
            warnings.append(
                f"{where}{function.old} of {image.name} is local, and clang compiles local functions without parameters"
                f" that they do not use: see in the code of its callers whether they pass what {function.new} takes")
    resolver.require_registers_kept(patch, pairs, dict(wanted.values()))
    resolver.require_stack_aligned(patch, pairs, dict(wanted.values()))
    described = sorted((Guard(name, *found[address]) for name, address in guards), key=lambda guard: guard.offset)
    unseen = resolver.unseen_entries()
    if unseen is not None:
        warnings.append(
            f"{description.where(target.line)}threads can enter {image.name} unseen through {some(unseen.names)}"
            f" ({unseen.why}), so the livepatch will be refused when it is applied; build the library with padding"
            " throughout, or post-process it"
        )
    _check_duplicates(description.where(target.line), patch, image, pairs, warnings, allow_duplicates, allowed)
    pairs.sort(key=lambda pair: pair.old_offset)
    soname = image.soname or os.path.basename(target.path)
    bindings = _bindings(description, target, image, patch, symbols)
    return Target(soname, target.path, image.require_build_id().hex(), pairs, tuple(described), bindings)


def _bindings(
    description: Description, target: TargetDescription, image: ElfImage, patch: ElfImage, symbols: _SymbolFiles,
) -> tuple[Binding, ...]:
    """What the ``#`` lines of a target ask for, ascending by slot."""
    bindings: list[Binding] = []
    known = symbols.static(image) if target.references else []
    for reference in target.references:
        try:
            if reference.offset:
                kind = TLS if reference.thread_local else ADDRESS
                binding = Binding(0, kind, reference.name, offset=reference.offset)
            else:
                binding = meaning(image, reference.name, reference.thread_local, known)
            slot = reference.slot or word_of(patch, reference.word, reference.thread_local)
        except BadDescription as error:
            raise BadDescription(description.where(reference.line) + str(error)) from error
        bindings.append(binding._replace(slot=slot))
        fault = fault_of(bindings[-1], patch) or overlap_of(bindings)
        if fault is not None:
            raise BadDescription(f"{description.where(reference.line)}{patch.name}: {fault}")
    return tuple(sorted(bindings, key=lambda binding: binding.slot))


def _functions_of(
    image: ElfImage, where: str, target: TargetDescription, symbols: _SymbolFiles,
) -> TargetFunctions:
    """Who finds functions in the target: with padding, or as the distribution ships it."""
    patchable = patchable_functions(image)
    if patchable:
        if target.guards:
            raise BadDescription(
                f"{where}{image.name} was built with padding, so {target.guards[0].name} cannot be a guard; replace it"
                " by a function of the same code instead")
        return PaddedFunctions(image, patchable)
    if functions_with_lost_entries(image, []):
        raise NotPatchable(f"{image.name} was built with padding, {ENTRIES_LOST}")
    return StockFunctions(image, symbols.of(image))


class _SymbolFiles:
    """The files with symbol tables that the author names; each is for one of the targets."""

    def __init__(self, paths: Collection[str]) -> None:
        self._refusals: dict[str, NotPatchable | None] = dict.fromkeys(paths)
        self._used: set[str] = set()

    def of(self, image: ElfImage) -> SeparateSymbols:
        """The symbols of a target."""
        found = []
        for path in self._refusals:
            try:
                found.append(symbols_of(image, path))
            except NotPatchable as error:
                self._refusals[path] = error
            else:
                self._used.add(path)
        return found[0] if found else symbols_of(image)

    def static(self, image: ElfImage) -> list[Symbol]:
        """The symbol table of a target, from its debug file where it has none; empty where there is none."""
        return image.symbols() or self.of(image).symbols[len(image.dynamic_symbols()):]

    def require_all_used(self) -> None:
        """Raise NotPatchable for a file that is for none of the targets."""
        for path, refusal in self._refusals.items():
            if path not in self._used:
                raise refusal or NotPatchable(
                    f"the symbols in {path} are not needed: no target was built without padding, or is stripped and"
                    " referred to")


def _check_duplicates(
    where: str, patch: ElfImage, image: ElfImage, pairs: list[FunctionPair], warnings: list[str],
    allow_duplicates: Collection[str], allowed: dict[str, set[str]],
) -> None:
    """Refuse what both define and does harm, and warn of the rest.

    :param allowed: dict that takes the names that were allowed: {name: the patterns that allow it}.
    """
    harmful: dict[str, list[str]] = {}
    harmless: dict[str, list[str]] = {}
    for duplicate in duplicates(patch, image, pairs):
        matching = {pattern for pattern in allow_duplicates if fnmatchcase(duplicate.name, pattern)}
        if matching:
            allowed.setdefault(duplicate.name, set()).update(matching)
        else:
            (harmful if duplicate.harmful else harmless).setdefault(duplicate.what, []).append(duplicate.name)
    if harmful:
        problems = "; ".join(f"{', '.join(names)}: {what}" for what, names in harmful.items())
        raise NotPatchable(
            f"{where}{patch.name} and {image.name} both define names that the patch library should take from the target"
            f" or call differently ({problems}); where copies are meant, allow them by name (--allow-duplicate,"
            " allow_duplicates)", sorted(name for names in harmful.values() for name in names))
    warnings.extend(
        printable(f"{where}{patch.name} and {image.name} both define {', '.join(names)}: {what}")
        for what, names in harmless.items())
    if not patch.symbols():
        warnings.append(
            f"{where}{patch.name} is stripped, so that of what it copies from {image.name} only exported names can be"
            " found; pack it before it is stripped")


def _resolve_new(patch: ElfImage, name: str, where: str) -> int:
    """The link-time address of the patch library's function ``name``, an exported one before a static one."""
    for table in (patch.dynamic_symbols(), patch.symbols()):
        symbols = [symbol for symbol in table if symbol.defined and name in names_of(symbol)]
        addresses = sorted({symbol.value for symbol in symbols if is_function(symbol)})
        if len(addresses) > 1:
            raise BadDescription(f"{where}{patch.name} has several functions called {name}")
        if addresses:
            if not patch.is_executable_address(addresses[0]):
                raise patch.bad(f"is damaged: its function {name} does not lie in code")
            return addresses[0]
        if any(symbol.type == "STT_GNU_IFUNC" for symbol in symbols):
            raise BadDescription(
                f"{where}the new function {name} of {patch.name} is chosen at load time (IFUNC); name the"
                " implementation")
    raise BadDescription(f"{where}{patch.name} has no function {name}")

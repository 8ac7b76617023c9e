# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a livepatch from a description file."""

from __future__ import annotations

import hashlib
import json
import os
from fnmatch import fnmatchcase
from typing import Any, Collection, NamedTuple

from ..abi import BUILD_ID_SIZE, PAD_BEFORE
from ..atomic_file import read_file, replace_file
from ..elf.image import ElfImage
from ..elf.lost_padding import ENTRIES_LOST, REMEDY, functions_with_lost_entries
from ..elf.patchable import PatchableFunction, is_post_processed, patchable_functions
from ..elf.symbols import Symbol, is_function, symbol_label
from ..elf.unseen import UnseenEntries, unseen_entries
from ..errors import BadDescription, BadElf, FileProblem, NotPatchable, UlpError
from ..printable import printable, some
from .binding import ADDRESS, TLS, Binding, fault_of, overlap_of
from .container import (
    build_container,
    canonical_json,
    is_patch_id,
    parse_container,
    parse_metadata,
)
from .description import Description, TargetDescription
from .dump import metadata_fields
from .duplicates import duplicates
from .reference import meaning, word_of
from .target import FunctionPair, Target

# What compilers append to the name of a copy that they made of a function.
_CLONE_SUFFIXES = (".constprop.", ".isra.", ".part.")


class PackResult(NamedTuple):
    """What ``pack`` did.

    ``changed`` says whether the container at ``path`` was (in check mode: would be) written; ``patch_id`` is hex;
    ``targets`` is a list of target.Target; ``duplicates`` are the names that patch library and target both define,
    and that were allowed; ``warnings`` are sentences for the patch author; ``before`` and ``after`` are text about the
    container at ``path`` to compare, empty when there is none; ``data`` are its bytes.
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


def default_destination(description: Description) -> str:
    """Where the container of a Description goes unless told: beside the description file or the patch library."""
    base = description.livepatch if description.source is None else description.source
    root, extension = os.path.splitext(base)
    return (root if extension in (".dsc", ".so") else base) + ".ulp"


def pack(
    description: Description, destination: str | os.PathLike[str] | None = None,
    labels: dict[str, object] | None = None, dependencies: Collection[str] = (),
    allow_duplicates: Collection[str] = (), check: bool = False,
) -> PackResult:
    """Make the container that a Description asks for.

    :param description: description.Description.
    :param destination: path of the container; default_destination() when None.
    :param labels: JSON-able dict to store with it.
    :param dependencies: patch IDs in hex that must be applied before.
    :param allow_duplicates: names, or patterns as for fnmatch(3), that patch library and target may both define.
    :param check: write nothing, only tell.
    :return: PackResult; equal input gives equal bytes, and an equal file is left alone.
    :raises FileProblem: a file cannot be read or written.
    :raises BadElf: a library is damaged, or has no build ID.
    :raises BadDescription: a function does not exist or is ambiguous, or a path is missing.
    :raises NotPatchable: a function to be replaced cannot be, or the patch library has copies that do harm.
    """
    destination = str(destination or default_destination(description))
    _check_destination(description, destination)
    labels = _json_labels(labels)
    for dependency in dependencies:
        if not is_patch_id(dependency):
            raise BadDescription(
                f"{dependency} is not a patch ID; a dependency is given by the 64 hex digits that ulp dump shows")
    patch = _open(description, description.livepatch, description.line, "patch library")
    warnings: list[str] = []
    allowed: dict[str, set[str]] = {}
    targets = [
        _resolve_target(description, target, patch, warnings, allow_duplicates, allowed)
        for target in description.targets
    ]
    for index, target in enumerate(targets):
        for other in targets[:index]:
            if other.build_id == target.build_id:
                where = description.where(description.targets[index].line)
                raise BadDescription(
                    f"{where}{other.path} and {target.path} are the same library (build ID {target.build_id})")
    unused = {*allow_duplicates}.difference(*allowed.values())
    warnings.extend(f"{pattern} is allowed as a duplicate, but is not one" for pattern in sorted(unused))
    data, patch_id = build_container(patch, targets, dependencies, labels)
    # Whoever applies it reads more of the patch library than was needed here: better refused now, by that file's name.
    parse_container(data, description.livepatch)
    existing = read_file(destination) if os.path.exists(destination) else None
    changed = existing != data
    if changed and not check:
        replace_file(destination, data, template=description.livepatch)
    return PackResult(
        changed=changed,
        path=destination,
        patch_id=patch_id,
        patch_build_id=patch.require_build_id().hex(),
        targets=targets,
        duplicates=sorted(allowed),
        warnings=warnings,
        before=_describe(existing, destination),
        after=_describe(data, destination),
        data=data,
    )


def _describe(data: bytes | None, name: str) -> str:
    """The metadata of a container with the bytes ``data``, indented, or what else is in that file; empty for None."""
    if data is None:
        return ""
    try:
        container = parse_container(data, name)
    except UlpError as error:
        return f"{error} (SHA-256 {hashlib.sha256(data).hexdigest()})\n"
    lines = json.dumps(metadata_fields(container), indent=2, sort_keys=True, ensure_ascii=False).split("\n")
    # Shown as a diff, which Ansible prints as it is.
    return "\n".join(map(printable, lines)) + "\n"


def _check_destination(description: Description, destination: str) -> None:
    if os.path.isdir(destination):
        raise BadDescription(f"cannot write the livepatch to {destination}: it is a directory")
    inputs = [description.livepatch] + [target.path for target in description.targets]
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
    except (BadElf, FileProblem) as error:
        error.args = (where + str(error),)
        raise
    return image


def _resolve_target(
    description: Description, target: TargetDescription, patch: ElfImage, warnings: list[str],
    allow_duplicates: Collection[str], allowed: dict[str, set[str]],
) -> Target:
    image = _open(description, target.path, target.line, "target library", program_allowed=True)
    resolver = _TargetFunctions(image)
    pairs = []
    by_address: dict[int, str] = {}
    for function in target.functions:
        where = description.where(function.line)
        old = resolver.resolve(function.old, where)
        other = by_address.setdefault(old.address, function.old)
        if other != function.old:
            raise BadDescription(f"{where}{other} and {function.old} are two names of one function of {image.name}")
        new_offset = _resolve_new(patch, function.new, where)
        pairs.append(FunctionPair(function.old, function.new, old.address, old.size, new_offset))
        warnings.extend(
            f"{where}{image.name} also has {clone}, a copy of {function.old} that is not replaced"
            for clone in resolver.clones(function.old)
        )
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
    bindings = _bindings(description, target, image, patch)
    return Target(soname, target.path, image.require_build_id().hex(), pairs, bindings=bindings)


def _bindings(
    description: Description, target: TargetDescription, image: ElfImage, patch: ElfImage,
) -> tuple[Binding, ...]:
    """What the ``#`` lines of a target ask for, ascending by slot."""
    bindings = []
    for reference in target.references:
        try:
            if reference.offset:
                kind = TLS if reference.thread_local else ADDRESS
                binding = Binding(0, kind, reference.name, offset=reference.offset)
            else:
                binding = meaning(image, reference.name, reference.thread_local)
            slot = reference.slot or word_of(patch, reference.word, reference.thread_local)
        except BadDescription as error:
            raise BadDescription(description.where(reference.line) + str(error)) from error
        bindings.append(binding._replace(slot=slot))
        fault = fault_of(bindings[-1], patch) or overlap_of(bindings)
        if fault is not None:
            raise BadDescription(f"{description.where(reference.line)}{patch.name}: {fault}")
    return tuple(sorted(bindings, key=lambda binding: binding.slot))


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


class _TargetFunctions:
    """Finds functions of a target library by name, in .symtab and .dynsym."""

    def __init__(self, image: ElfImage) -> None:
        self.image = image
        self.patchable = {function.address: function for function in patchable_functions(image)}
        if not self.patchable:
            if functions_with_lost_entries(image, []):
                raise NotPatchable(f"{image.name} was built with padding, {ENTRIES_LOST}")
            raise NotPatchable(
                f"{image.name} was built without padding, so none of its functions can be replaced; {REMEDY}")
        self.refused = {name: function for function in self.patchable.values() if function.refusal is not None
                        for name in function.names}
        self.symbols: dict[str, list[Symbol]] = {}
        for symbol in image.symbols() + image.dynamic_symbols():
            if symbol.defined and symbol.type in ("STT_FUNC", "STT_GNU_IFUNC", "STT_NOTYPE", "STT_OBJECT"):
                for name in _names(symbol):
                    self.symbols.setdefault(name, []).append(symbol)

    def resolve(self, name: str, where: str) -> PatchableFunction:
        """The PatchableFunction called ``name``; BadDescription or NotPatchable when it cannot be replaced."""
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
        function = self.patchable.get(addresses[0]) or self.refused.get(name)
        if function is None:
            lost = functions_with_lost_entries(self.image, list(self.patchable.values()))
            raise NotPatchable(
                f"{where}the function {name} of {self.image.name} cannot be replaced: it was compiled "
                + (f"with padding, {ENTRIES_LOST}" if name in lost else "without padding"), [name])
        if function.refusal is not None:
            raise NotPatchable(
                f"{where}the function {name} of {self.image.name} cannot be replaced: {function.refusal}", [name])
        return function

    def unseen_entries(self) -> UnseenEntries | None:
        """Why a process that runs the library would be refused (elf.unseen.UnseenEntries), or None."""
        if self.image.is_program or is_post_processed(self.image):
            return None
        return unseen_entries(self.image, list(self.patchable.values()))

    def clones(self, name: str) -> list[str]:
        """The names of the copies that the compiler made of the function ``name``."""
        return sorted(other for other in self.symbols if other.startswith(tuple(name + s for s in _CLONE_SUFFIXES)))

    def _address(self, symbol: Symbol) -> int:
        """The function that a symbol leads to, through the trampoline of a post-processed library too."""
        function = self.patchable.get(symbol.value + PAD_BEFORE)
        return function.address if function is not None and function.trampoline else symbol.value

    def _unknown(self, name: str, symbols: list[Symbol], where: str) -> UlpError:
        if any(symbol.type == "STT_GNU_IFUNC" for symbol in symbols):
            return NotPatchable(
                f"{where}the function {name} of {self.image.name} cannot be replaced: it is chosen at load time"
                " (IFUNC); replace the implementation that is chosen", [name])
        if symbols:
            return BadDescription(f"{where}{name} of {self.image.name} is not a function")
        clones = self.clones(name)
        if clones:
            return BadDescription(f"{where}{self.image.name} has {name} only as {', '.join(clones)}")
        hint = "" if self.image.symbols() else "; its symbol table is stripped, so only exported functions can be found"
        return BadDescription(f"{where}{self.image.name} has no function {name}{hint}")


def _names(symbol: Symbol) -> set[str]:
    """The names by which a description may call a symbol: ``foo``, and with its version ``foo@V1`` or ``foo@@V1``."""
    names = {symbol_label(symbol), symbol.name}
    if symbol.version:
        names.discard(symbol.name)
        names.update((symbol_label(symbol), f"{symbol.name}@{symbol.version}"))
        if not symbol.hidden:
            names.add(f"{symbol.name}@@{symbol.version}")
    return names


def _resolve_new(patch: ElfImage, name: str, where: str) -> int:
    """The link-time address of the patch library's function ``name``, an exported one before a static one."""
    for table in (patch.dynamic_symbols(), patch.symbols()):
        symbols = [symbol for symbol in table if symbol.defined and name in _names(symbol)]
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

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Post-process a library: make every exported function enterable through a trampoline before it.

The exported symbol moves 14 bytes down to the trampoline, ``jmp f``, which the
runtime later turns into the way through its entry check; the two nops at every
function's entry become one instruction, so that a thread can never stand
between them.  Nothing else moves: symbol hashes, versions and relocations go by
name and index, so they follow.
"""

from __future__ import annotations

import hashlib
import os
import struct
from typing import TYPE_CHECKING

from ..abi import PAD_BEFORE
from ..arch.address_space import END_OF_LINKED_SPACE
from ..arch.padding import ENTRY_NOPS, MERGED_ENTRY_NOP, NOP, TRAMPOLINE
from ..atomic_file import back_up_file, read_file, replace_file
from ..errors import BadElf, NotPatchable, UlpError
from ..named_tuple import NamedTuple
from ..printable import printable, some
from .image import ElfImage
from .lost_padding import ENTRIES_LOST, REMEDY, functions_with_lost_entries
from .patchable import patchable_functions
from .symbols import is_function, symbol_label
from .unseen import untracked_exports
from .unwind import extend_over_padding

if TYPE_CHECKING:
    from .patchable import PatchableFunction

_SYMBOL_SIZE = 24
_SYMBOL_VALUE_AND_SIZE = struct.Struct("<QQ")
_SYMBOL_VALUE_OFFSET = 8


class MovedSymbol(NamedTuple):
    """An exported symbol that post moves from its function to the trampoline; link-time addresses in bytes."""

    name: str
    function: int
    trampoline: int


class PostResult(NamedTuple):
    """What ``post_process`` did.

    ``changed``: whether the file at ``path`` was (in check mode: would be) written; ``build_id`` in hex;
    ``functions``: how many functions have padding; ``trampolines``: how many of them are entered through a
    trampoline; ``moved``: list of MovedSymbol, empty when the library was post-processed already; ``untracked``:
    names of the exported functions without padding that were accepted; ``unwind_gaps``: names of the functions whose
    unwind information could not be extended over their padding; ``warnings``: sentences for whoever builds the library;
    ``backup_file``: path of the backup, or None; ``before`` and ``after``: text about the file at
    ``path`` to compare, as describe_exports() gives it.
    """

    changed: bool
    path: str
    build_id: str
    functions: int
    trampolines: int
    moved: list[MovedSymbol]
    untracked: list[str]
    unwind_gaps: list[str]
    warnings: list[str]
    backup_file: str | None
    before: str
    after: str


def post_process(
    path: str | os.PathLike[str], destination: str | os.PathLike[str] | None = None, backup: bool = False,
    allow_untracked: bool = False, check: bool = False,
) -> PostResult:
    """Post-process the library at ``path``; a post-processed one comes out unchanged.

    :param path: the library.
    :param destination: where to write; ``path`` itself when None.
    :param backup: copy the file that is overwritten first.
    :param allow_untracked: accept exported functions without padding, which a thread can enter unnoticed.
    :param check: write nothing, only tell.
    :return: PostResult.
    :raises FileProblem: a file cannot be read or written.
    :raises BadElf: the file is no sound library, or has no build ID.
    :raises NotPatchable: it has no padding, or no section headers, or functions that cannot be handled, all of which
        are named.
    """
    target = str(path if destination is None else destination)
    if os.path.isdir(target):
        raise UlpError(f"cannot write the library to {target}: it is a directory")
    image = ElfImage.open(path)
    rewritten = rewrite(image, allow_untracked)
    existing: bytes | None = image.data[:]
    if destination is not None:
        existing = read_file(target) if os.path.exists(target) else None
    changed = existing != rewritten.data
    backup_file = None
    if changed and not check:
        if backup and existing is not None:
            backup_file = back_up_file(target)
        replace_file(target, rewritten.data, template=path)
    return PostResult(
        changed=changed,
        path=target,
        build_id=image.require_build_id().hex(),
        functions=rewritten.functions,
        trampolines=rewritten.trampolines,
        moved=rewritten.moved,
        untracked=rewritten.untracked,
        unwind_gaps=rewritten.unwind_gaps,
        warnings=rewritten.warnings,
        backup_file=backup_file,
        before=describe_exports(existing, target),
        after=describe_exports(rewritten.data, target),
    )


def describe_exports(data: bytes | None, name: str) -> str:
    """Text about the library with the bytes ``data``: its SHA-256, then where its exported functions begin.

    :param data: all bytes of the file, or None when there is no file, which gives an empty text.
    :param name: what to call it.
    """
    if data is None:
        return ""
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}"]
    try:
        symbols = [symbol for symbol in ElfImage.parse(data, name).dynamic_symbols() if is_function(symbol)]
    except BadElf as error:
        lines.append(str(error))
    else:
        # Shown as a diff, which Ansible prints as it is.
        lines.extend(sorted(printable(f"{symbol_label(symbol)} {symbol.value:#x}") for symbol in symbols))
    return "\n".join(lines) + "\n"


class Rewritten(NamedTuple):
    """A post-processed library in memory; the fields are those of PostResult, ``data`` all bytes of the file."""

    data: bytes
    functions: int
    trampolines: int
    moved: list[MovedSymbol]
    untracked: list[str]
    unwind_gaps: list[str]
    warnings: list[str]


def rewrite(image: ElfImage, allow_untracked: bool = False) -> Rewritten:
    """Post-process in memory; parameters, errors and result as for post_process.

    :return: Rewritten.
    """
    if image.is_program:
        raise image.bad("is a program, which needs no post-processing: padding alone makes its functions patchable")
    image.require_build_id()
    image.require_sections()
    functions = patchable_functions(image)
    lost = functions_with_lost_entries(image, functions)
    if not functions:
        raise NotPatchable(f"{image.name} was built " + (
            f"with padding, {ENTRIES_LOST}" if lost else f"without padding; {REMEDY}"))
    untracked = untracked_exports(image, functions)
    _refuse(image, functions, [] if allow_untracked else untracked, lost)

    data = bytearray(image.data[:])
    for function in functions:
        offset = image.offset_of(function.entry, len(ENTRY_NOPS))
        if data[offset:offset + len(ENTRY_NOPS)] == ENTRY_NOPS:
            data[offset:offset + len(ENTRY_NOPS)] = MERGED_ENTRY_NOP
        if function.exported:
            offset = image.offset_of(function.address - PAD_BEFORE, PAD_BEFORE)
            data[offset:offset + PAD_BEFORE] = TRAMPOLINE.ljust(PAD_BEFORE, NOP)
    unwind_gaps = extend_over_padding(image, data, functions)
    moved = _move_symbols(image, data, {function.address for function in functions if function.exported})
    return Rewritten(
        data=bytes(data),
        functions=len(functions),
        trampolines=sum(function.exported for function in functions),
        moved=moved,
        untracked=untracked,
        unwind_gaps=unwind_gaps,
        warnings=_warnings(image, functions, sorted(lost.difference(untracked))),
    )


def _refuse(
    image: ElfImage, functions: list[PatchableFunction], untracked: list[str], lost: set[str],
) -> None:
    """Raise NotPatchable when anything is in the way, with every function concerned.

    :param untracked: names of exported functions that no list of padding names.
    :param lost: names of functions that have padding all the same.
    """
    reasons: dict[str, list[str]] = {}
    for function in functions:
        if function.refusal is not None:
            reasons.setdefault(function.refusal, []).append(function.label)
    problems = [f"{some(names)}: {reason}" for reason, names in reasons.items()]
    for names, how in (([name for name in untracked if name in lost], f"and compiled with padding, {ENTRIES_LOST}"),
                       ([name for name in untracked if name not in lost], f"without padding; {REMEDY}")):
        if names:
            problems.append(
                f"{some(names)}: exported {how}, or allow untracked functions (--allow-untracked, allow_untracked)")
    if problems:
        concerned = [name for names in reasons.values() for name in names] + untracked
        raise NotPatchable(f"{image.name} cannot be post-processed ({'; '.join(problems)})", concerned)


def _move_symbols(image: ElfImage, data: bytearray, exported: set[int]) -> list[MovedSymbol]:
    """Lead the exported symbols of the functions at ``exported`` to their trampolines; returns the moved ones."""
    section = image.symbol_section("SHT_DYNSYM")
    if section is None:
        return []
    moved = []
    for symbol in image.dynamic_symbols():
        if is_function(symbol) and symbol.value in exported:
            trampoline = symbol.value - PAD_BEFORE
            if symbol.size >= END_OF_LINKED_SPACE:
                raise image.bad(f"is damaged: the function {symbol_label(symbol)} is larger than the address space")
            _SYMBOL_VALUE_AND_SIZE.pack_into(
                data, section.offset + symbol.index * _SYMBOL_SIZE + _SYMBOL_VALUE_OFFSET,
                trampoline, symbol.size + PAD_BEFORE if symbol.size else 0)
            moved.append(MovedSymbol(symbol_label(symbol), symbol.value, trampoline))
    return moved


def _warnings(image: ElfImage, functions: list[PatchableFunction], lost: list[str]) -> list[str]:
    taken = [function.label for function in functions if function.exported and function.address_taken]
    warnings = []
    if taken:
        warnings.append(
            f"{image.name} may take the address of {some(taken)} without the symbol table (-Bsymbolic, protected"
            " visibility): such a pointer is not equal to the one that other objects get")
    if lost:
        warnings.append(f"{image.name}: {some(lost)} can't be replaced; compiled with padding, {ENTRIES_LOST}")
    return [printable(warning) for warning in warnings]

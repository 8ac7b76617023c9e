# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a patch library defines although its target defines the same name.

A copy of a variable has a value of its own, so that new code silently works on
another state than old code.  A copy of a function that the target exports is
called in its place, and is not replaced with it.  What every library has of its
own (start files, the linker's marks), constants, and what C++ defines in every
file that uses it do no harm.

Sources: gABI, chapter 4 (symbol binding and visibility); the Itanium C++ ABI,
chapter 5.2 (vague linkage); ld.so(8) and dlopen(3) for which definition a name
is bound to.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Iterator

from ..arch.code import calls_and_jumps
from ..arch.elf_format import R_ADDRESS, R_GLOB_DAT, R_JUMP_SLOT
from ..elf.code_addresses import far_addresses, near_addresses
from ..elf.image import SHF_WRITE
from ..named_tuple import NamedTuple

if TYPE_CHECKING:
    from ..elf.image import ElfImage
    from ..elf.symbols import Symbol
    from .target import FunctionPair

_DATA = ("STT_OBJECT", "STT_COMMON", "STT_TLS")
_CODE = ("STT_FUNC", "STT_GNU_IFUNC")
_SHN_ABS = 0xFFF1

# What compilers append to the name of a static variable of a function, or of a copy or part of a function.
_NUMBERED = re.compile(r"\.(?:[0-9]+|(?:constprop|isra|part|cold|lto_priv|llvm|localalias|eh)(?:\.[0-9]+)*)$")
# What start files, linkers, compilers and their run-time libraries define in every file.
_EVERYWHERE = re.compile(
    r"_init|_fini|_edata|edata|_end|end|__bss_start|_DYNAMIC|_GLOBAL_OFFSET_TABLE_|_PROCEDURE_LINKAGE_TABLE_"
    r"|__GNU_EH_FRAME_HDR|__EH_FRAME_BEGIN__|__FRAME_END__|__TMC_(?:END|LIST)__|__dso_handle|__(?:start|stop)_.*"
    r"|__(?:CTOR|DTOR)_(?:LIST|END)__|(?:de)?register_tm_clones|frame_dummy|completed|__do_(?:global_dtors|init|fini)\w*"
    r"|__(?:do_global_dtors_aux_fini|frame_dummy_init)_array_entry|__initialized|__dso_local|DW\.ref\..*"
    r"|__\w+[hsdxt][fic][234]|__cpu_(?:model|features2|indicator_init)|__emutls_\w+"
    r"|__(?:odr_)?(?:asan|ubsan|tsan|msan|lsan|gcov|llvm|profc?|sancov|clang)_.*|asan\.module_\w+"
    r"|atexit|at_quick_exit|[lf]?stat(?:64)?|fstatat(?:64)?|mknod(?:at)?|(?:__)?pthread_atfork|__stack_chk_fail_local"
    r"|__x86_(?:indirect|return)_thunk.*|__x86\.get_pc_thunk.*|_GLOBAL__sub_.*|__cxx_global_.*|\..*|.*\$.*"
    # What <iostream> of libstdc++ defines wherever it is included: it counts its users.
    r"|_ZStL8__ioinit")
_START_FILES = re.compile(r"crt\w*\.(?:c|S|s|o)|crtstuff\.c")


class Duplicate(NamedTuple):
    """A name that both define, and ``what`` is wrong with that; ``harmful`` or only worth a warning."""

    name: str
    what: str
    harmful: bool


def duplicates(patch: ElfImage, target: ElfImage, pairs: list[FunctionPair]) -> list[Duplicate]:
    """What is defined by both.

    :param patch: ElfImage of the patch library.
    :param target: ElfImage of a target.
    :param pairs: list of target.FunctionPair, all of this target.
    :return: list of Duplicate, by name.
    """
    same = {pair.old for pair in pairs if pair.old == pair.new}
    replaced = {pair.old for pair in pairs}
    renamed = {pair.new: pair.old for pair in pairs}
    known = _definitions(target, {})
    found = {}
    for name, definition in _definitions(patch, renamed).items():
        other = known.get(name)
        if other is None or other.is_data != definition.is_data:
            continue
        if name in same:
            what = _refers_to_itself(patch, definition, name)
            harmful = True
        elif definition.is_data:
            what, harmful = _data(definition, other), True
        else:
            what, harmful = _code(definition, other, name in replaced)
        if what is not None:
            found[name] = Duplicate(name, what, harmful)
    return [found[name] for name in sorted(found)]


def _data(definition: _Definition, other: _Definition) -> str | None:
    if definition.constant and other.constant:
        return None
    if definition.unique and other.unique:
        # The loader makes one of all of them.
        return None
    if definition.vague and other.vague:
        return "weak variables, which are one with the target's only where that was not loaded by dlopen"
    return "new code would use variables of its own"


def _code(definition: _Definition, other: _Definition, replaced: bool) -> tuple[str | None, bool]:
    if replaced:
        return "functions that are replaced, of which new code would call the old or another copy", True
    if definition.vague and other.vague:
        return None, False
    if other.exported:
        return "new code would call functions of its own although it can call the target's", True
    return "functions of which new code has copies that are not replaced when the target's are", False


class _Definition(NamedTuple):
    """``addresses`` of a name's definitions; what they are; whether all of them are so."""

    addresses: frozenset[int]
    is_data: bool
    constant: bool
    unique: bool
    vague: bool
    exported: bool


def _definitions(image: ElfImage, renamed: dict[str, str]) -> dict[str, _Definition]:
    """{name: _Definition} for the functions and variables of a file that not every file has.

    :param renamed: {name of a new function: that of the one it replaces}, for clang calls the variable ``count`` of
        the function ``f`` ``f.count``.
    """
    names: dict[str, _Definition] = {}
    for symbol, exported in _named_symbols(image):
        if symbol.type not in _DATA + _CODE or not symbol.defined or symbol.section_index == _SHN_ABS:
            continue
        name = _NUMBERED.sub("", symbol.name.partition("@")[0])
        function, separator, variable = name.partition(".")
        if separator and symbol.type not in _CODE:
            name = f"{renamed.get(function, function)}.{variable}"
        if not name or _EVERYWHERE.fullmatch(name):
            continue
        unique = exported and symbol.binding == "STB_GNU_UNIQUE"
        is_data = symbol.type in _DATA
        # The names of variables at the top are not mangled.  A copy that the compiler has made of a function is local.
        mangled = is_data or name.startswith("_Z")
        copied = not is_data and name != symbol.name.partition("@")[0]
        # `ulp post` has moved what .dynsym says of a function, and not what .symtab does.
        weak = symbol.binding == "STB_WEAK" and (exported or not is_data)
        vague = unique or (mangled and (copied or weak))
        made = _Definition(
            frozenset((symbol.value,)), is_data, is_data and _is_constant(image, symbol), unique, vague, exported)
        known = names.get(name)
        names[name] = made if known is None else _both(known, made)
    return names


def _both(one: _Definition, other: _Definition) -> _Definition:
    """Of a symbol that stands in both tables .dynsym tells more."""
    if one.addresses == other.addresses and one.exported != other.exported:
        return one if one.exported else other
    return _Definition(
        one.addresses | other.addresses, one.is_data or other.is_data, one.constant and other.constant,
        one.unique and other.unique, one.vague and other.vague, one.exported or other.exported)


def _named_symbols(image: ElfImage) -> Iterator[tuple[Symbol, bool]]:
    """(Symbol, whether other files see it) for both symbol tables, but for the local ones of the start files."""
    for symbol in image.dynamic_symbols():
        yield symbol, True
    start_file = False
    for symbol in image.symbols():
        if symbol.type == "STT_FILE":
            start_file = _START_FILES.fullmatch(symbol.name) is not None
        elif not (start_file and symbol.binding == "STB_LOCAL"):
            yield symbol, False


def _is_constant(image: ElfImage, symbol: Symbol) -> bool:
    """Whether a variable cannot be written to once the loader has filled it in."""
    if symbol.type == "STT_TLS" or symbol.section_index >= len(image.sections):
        return False
    if not image.sections[symbol.section_index].flags & SHF_WRITE:
        return True
    return any(segment.type == "PT_GNU_RELRO" and segment.vaddr <= symbol.value < segment.vaddr + segment.memsz
               for segment in image.segments)


def _refers_to_itself(patch: ElfImage, definition: _Definition, name: str) -> str | None:
    """What is wrong with a new function that has the name of the old one, or None: its library does not refer to it.

    Who takes its address may call it later, as by a static pointer.
    """
    symbols = patch.dynamic_symbols()
    by_name = any(
        relocation.type in (R_GLOB_DAT, R_JUMP_SLOT, R_ADDRESS)
        and relocation.symbol < len(symbols) and symbols[relocation.symbol].name == name
        for relocation in patch.relocations())
    if by_name or not definition.addresses.isdisjoint(_referred_to(patch)):
        return "new functions with the name of the old one, which new code calls by that name, or takes the address of"
    return None


def _referred_to(image: ElfImage) -> Iterator[int]:
    """Every address of the file that its code calls, jumps to or takes, or that the loader writes into its data."""
    for section in image.code_sections():
        for _place, target in calls_and_jumps(image.section_data(section)):
            yield section.address + target
    yield from near_addresses(image)
    yield from far_addresses(image)
    yield from image.relative_addresses().values()

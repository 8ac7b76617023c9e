# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a target means by a name: where a variable or function that new code refers to is to be found in a process.

What nobody else sees, static and hidden names, lies at a fixed place in the target.  An exported name may mean
another object's definition: the program may have taken a copy of a variable, or may have a function of its own in
place of the library's.  Then the target itself asks the loader, and so its own word for the name is what counts.

Sources: ld.so(8) and the System V gABI, chapter 5, for how a name is bound; the AMD64 supplement for copy
relocations, the words of the GOT and the PLT; the ELF handling for thread-local storage, chapter 3.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterator, Sequence

from ..arch.elf_format import R_DTPMOD, R_GLOB_DAT, R_JUMP_SLOT
from ..elf.slots import slot_uses
from ..elf.symbols import symbol_label
from ..errors import BadDescription
from ..named_tuple import NamedTuple
from ..printable import some
from .binding import ADDRESS, SYMBOL, TLS, TLS_WORDS, WORD, Binding

if TYPE_CHECKING:
    from ..elf.image import ElfImage
    from ..elf.symbols import Symbol

_FUNCTIONS = ("STT_FUNC", "STT_GNU_IFUNC")
_DATA = ("STT_OBJECT", "STT_COMMON", "STT_NOTYPE")

DT_SYMBOLIC = 16
DT_FLAGS = 30
DF_SYMBOLIC = 2

# Between the name of a source file and that of what is static in it.
FILE_SEPARATOR = "/"


class Place(NamedTuple):
    """What one name of the symbol table stands for: ``file`` is the source file of a static one, or ""."""

    file: str
    symbol: Symbol


def meaning(
    image: ElfImage, name: str, thread_local: bool = False, symbols: Sequence[Symbol] | None = None,
) -> Binding:
    """What ``name`` means in a target, as a Binding whose slot is still to be given (``_replace(slot=...)``).

    :param image: ElfImage of the target.
    :param name: of a variable or function, with its version (``foo@V1``) if need be; a static one may have its
        source file before it, ``parser.c/count``.
    :param thread_local: whether a thread-local variable is meant.
    :param symbols: the symbol table, if it is not in the target itself: that of its debug file.
    :raises BadDescription: there is no such thing, or several; the message names the ways out.
    """
    wanted = ("STT_TLS",) if thread_local else _FUNCTIONS + _DATA
    if FILE_SEPARATOR not in name:
        exported = _exported(image, name, wanted)
        if exported is not None:
            return _as_the_loader_binds(image, exported, name)
    return _static(image, name, wanted, list(places(image.symbols() if symbols is None else symbols)))


# ------------------------------------------------------------- exported names


def _exported(image: ElfImage, name: str, wanted: tuple[str, ...]) -> Symbol | None:
    """The symbol of that name that other objects see, or that the target itself takes from others; or None."""
    plain, separator, version = name.partition("@")
    version = version.lstrip("@")
    found = [
        symbol for symbol in image.dynamic_symbols()
        if symbol.name == plain and symbol.binding != "STB_LOCAL"
        and (not symbol.defined or symbol.type in wanted)
        and (not separator or symbol.version == version)
    ]
    # Its own definition before one that it takes from elsewhere; of several, the default version.
    return min(found, key=lambda symbol: (not symbol.defined, symbol.hidden)) if found else None


def _as_the_loader_binds(image: ElfImage, symbol: Symbol, name: str) -> Binding:
    thread_local = symbol.type == "STT_TLS"
    words = {
        relocation.type: relocation.offset
        for relocation in image.relocations() if relocation.symbol == symbol.index and not relocation.addend
    }
    own = symbol.defined and _binds_to_itself(image, symbol)
    if thread_local:
        if R_DTPMOD in words and not own:
            return Binding(0, TLS_WORDS, name, offset=words[R_DTPMOD])
        if symbol.defined:
            return Binding(0, TLS, name, offset=symbol.value)
        raise BadDescription(
            f"{image.name} takes the thread-local variable {name} from another library, by a way that new code cannot"
            " use; refer to it in the library that defines it")
    if own and symbol.type != "STT_GNU_IFUNC":
        return Binding(0, ADDRESS, name, offset=symbol.value)
    if R_GLOB_DAT in words:
        return Binding(0, WORD, name, offset=words[R_GLOB_DAT])
    if R_JUMP_SLOT in words:
        # It is bound at the first call.  Whoever enters the stub gets there, before that and after.
        stubs = slot_uses(image, {words[R_JUMP_SLOT]: name}).stubs
        if stubs:
            return Binding(0, ADDRESS, name, offset=min(stubs))
        return Binding(0, WORD, name, offset=words[R_JUMP_SLOT])
    if not symbol.defined:
        raise BadDescription(f"{image.name} refers to {name}, but has no word for it that new code could use")
    return Binding(0, SYMBOL, symbol.name, symbol.version or "")


def _binds_to_itself(image: ElfImage, symbol: Symbol) -> bool:
    """Whether nobody can put another definition in the place of one that a file exports."""
    return (
        image.is_program or symbol.visibility != "STV_DEFAULT" or image.dynamic_value(DT_SYMBOLIC) is not None
        or bool((image.dynamic_value(DT_FLAGS) or 0) & DF_SYMBOLIC)
    )


# --------------------------------------------------------------- static names


def places(symbols: Sequence[Symbol]) -> Iterator[Place]:
    """What a symbol table, ``symbols``, defines, each with the source file that it is static in.

    The local symbols of a source file stand behind its STT_FILE (gABI, chapter 4); those of the linker behind one
    without a name.
    """
    file = ""
    for symbol in symbols:
        if symbol.type == "STT_FILE":
            file = symbol.name
        elif symbol.defined:
            yield Place(file if symbol.binding == "STB_LOCAL" else "", symbol)


def _static(image: ElfImage, name: str, wanted: tuple[str, ...], known: list[Place]) -> Binding:
    file, _separator, plain = name.rpartition(FILE_SEPARATOR)
    named = [
        place for place in known
        if symbol_label(place.symbol) == plain and (not file or place.file == file)
    ]
    found = {place.symbol.value: place for place in reversed(named) if place.symbol.type in wanted}
    if not found:
        raise BadDescription(_unknown(image, name, plain, named, wanted, known))
    if len(found) > 1:
        raise BadDescription(_ambiguous(image, name, plain, [found[address] for address in sorted(found)]))
    (place,) = found.values()
    if place.symbol.type == "STT_GNU_IFUNC":
        raise BadDescription(f"{name} of {image.name} is chosen at load time (IFUNC); refer to the implementation")
    kind = TLS if place.symbol.type == "STT_TLS" else ADDRESS
    return Binding(0, kind, name, offset=place.symbol.value)


def _ambiguous(image: ElfImage, name: str, plain: str, found: list[Place]) -> str:
    files = [place.file for place in found]
    shown = [
        f"{place.file + FILE_SEPARATOR if place.file else ''}{plain} at {place.symbol.value:#x}" for place in found]
    ways = "its address, as in #name:word:0x4010:0"
    if len({*files}) == len(files) and all(files):
        ways = f"{found[0].file}{FILE_SEPARATOR}{plain}, or {ways}"
    return f"{image.name} has several things called {name} ({', '.join(shown)}); say which by {ways}"


def _unknown(
    image: ElfImage, name: str, plain: str, named: list[Place], wanted: tuple[str, ...], known: list[Place],
) -> str:
    thread_local = "STT_TLS" in wanted
    if any(place.symbol.type == "STT_TLS" for place in named):
        return f"{name} of {image.name} is thread-local; refer to it by a line that begins with #%"
    if named and thread_local:
        return f"{name} of {image.name} is not thread-local; refer to it by a line that begins with # alone"
    if not known:
        return (f"{image.name} has no {name} that it exports; its symbol table is stripped, so that nothing static can"
                " be found by name: name its debug file by --symbols, or say where it is by its address, as in"
                " #name:word:0x4010:0")
    numbered = sorted({
        place.symbol.name for place in known
        if place.symbol.name.startswith(plain + ".") and place.symbol.type in wanted})
    if numbered:
        return f"{image.name} has {name} only as {some(numbered)}"
    elsewhere = sorted({
        place.file for place in known
        if place.file and place.symbol.name == plain and place.symbol.type in wanted})
    if elsewhere:
        return f"{image.name} has no {name}; it has {plain} in {some(elsewhere)}"
    return f"{image.name} has no {'thread-local variable' if thread_local else 'variable or function'} {name}"


# ------------------------------------------------------ words of the patch library


def word_of(patch: ElfImage, name: str, thread_local: bool) -> int:
    """The link-time address of the variable of a patch library that is to be filled.

    :param patch: ElfImage of the patch library.
    :param name: of a pointer, or, with ``thread_local``, of a ``tls_index``, two words.
    :raises BadDescription: there is none, or it is of another size, or may not be written to.
    """
    symbols = [symbol for symbol in patch.dynamic_symbols() + patch.symbols()
               if symbol.defined and symbol.type == "STT_OBJECT" and symbol_label(symbol) == name]
    found = {symbol.value: symbol for symbol in symbols}
    if not found:
        raise BadDescription(f"{patch.name} has no variable {name}")
    if len(found) > 1:
        raise BadDescription(
            f"{patch.name} has several variables called {name}, at {', '.join(map(hex, sorted(found)))}; rename one")
    (symbol,) = found.values()
    size = 16 if thread_local else 8
    if symbol.size != size:
        needed = "a tls_index, two words" if thread_local else "a pointer"
        raise BadDescription(
            f"the variable {name} of {patch.name} has {symbol.size} bytes, and should be {needed}, of {size}")
    if symbol.value % 8 or not patch.is_writable_range(symbol.value, size):
        raise BadDescription(
            f"the variable {name} of {patch.name} lies in read-only memory, so that nobody can fill it; declare it"
            " without const")
    return symbol.value

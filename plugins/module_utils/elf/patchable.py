# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The functions of a library that carry the padding of -fpatchable-function-entry=16,14.

The compiler lists the start of every function's padding in the section
``__patchable_function_entries``; the function's first instruction stands 14
bytes behind it (native/include/ulp/abi.h draws the layout).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import TYPE_CHECKING

from ..abi import LARGEST_OFFSET, PAD_BEFORE, PAD_ENTRY
from ..arch.padding import ENDBR64, ENTRY_NOPS, MERGED_ENTRY_NOP, TRAMPOLINE, is_nops
from ..named_tuple import NamedTuple
from .code_addresses import far_addresses, near_addresses
from .jumps import find_jumps
from .symbols import Symbol, is_function, symbol_label

if TYPE_CHECKING:
    from .image import ElfImage

SECTION_NAME = "__patchable_function_entries"

# More than a request to the runtime can name.
_MOST_FUNCTIONS = 1 << 18

# Where the next function lies nearer than this behind bare nops, the padding is simply longer than it should be.
_LONGEST_PADDING = 256


class PatchableFunction(NamedTuple):
    """One function with padding.

    ``address`` is that of its first instruction, link-time, in bytes; ``size`` its size in bytes, 0 when no symbol
    tells it; ``names`` all its symbols' names, sorted, an old version as ``foo@V1``; ``exported`` whether .dynsym
    defines it; ``endbr`` whether an endbr64 stands first; ``trampoline`` whether post wrote one before it;
    ``address_taken`` whether the library takes its address other than through .dynsym; ``tail_target`` whether code
    of the library may jump, not call, to it (both may be true without need, never false); ``tail_cycle`` whether such
    jumps alone may lead from it back to it; ``refusal`` why it cannot
    be patched, or None.
    """

    address: int
    size: int
    names: tuple[str, ...]
    exported: bool
    endbr: bool
    trampoline: bool
    address_taken: bool
    tail_target: bool
    tail_cycle: bool
    refusal: str | None

    @property
    def entry(self) -> int:
        """The link-time address of the two nops at the entry."""
        return self.address + (len(ENDBR64) if self.endbr else 0)

    @property
    def label(self) -> str:
        """What messages call the function: its first name, or its address."""
        return self.names[0] if self.names else f"the function at {self.address:#x}"


def unpadded_function(
    image: ElfImage, address: int, name: str | None = None, address_taken: bool = False,
) -> PatchableFunction:
    """The function at a link-time ``address`` of a file without padding, of which jumps to it are not known.

    :param name: what to call it.
    """
    return PatchableFunction(
        address=address, size=0, names=() if name is None else (name,), exported=False,
        endbr=image.read(address, len(ENDBR64)) == ENDBR64, trampoline=False, address_taken=address_taken,
        tail_target=False, tail_cycle=False, refusal=None,
    )


def padding_addresses(image: ElfImage) -> list[int]:
    """The link-time addresses at which the padding of the functions begins, ascending; empty without padding."""
    addresses: set[int] = set()
    relative = None
    for section in image.sections:
        if section.name != SECTION_NAME or section.type == "SHT_NOBITS":
            continue
        if relative is None:
            relative = image.relative_addresses()
        image.require_few(section.size // 8 + len(addresses), _MOST_FUNCTIONS, "functions with padding")
        data = image.section_data(section)
        for index, (content,) in enumerate(struct.iter_unpack("<Q", data[:len(data) // 8 * 8])):
            # In a shared library the loader fills the entry in, and the linker may leave zeros there.
            address = relative.get(section.address + 8 * index, content)
            if address:
                addresses.add(address)
    return sorted(addresses)


def is_post_processed(image: ElfImage) -> bool:
    """Whether ``post`` has rewritten the library: an exported function's symbol leads to its trampoline."""
    starts = set(padding_addresses(image))
    return any(
        is_function(symbol) and symbol.value in starts and image.read(symbol.value, 2) == TRAMPOLINE
        for symbol in image.dynamic_symbols()
    )


def patchable_functions(image: ElfImage) -> list[PatchableFunction]:
    """Every function with padding, those that cannot be patched included.

    :param image: ElfImage of a library.
    :return: list of PatchableFunction, ascending by address; empty for a library without padding.
    :raises BadElf: the library is damaged.
    """
    starts = padding_addresses(image)
    if not starts:
        return []
    trampolines = {start for start in starts if image.is_executable_address(start)
                   and image.read(start, 2) == TRAMPOLINE}
    symbols = _FunctionSymbols(image, trampolines)
    taken = addresses_taken(image)
    perhaps = far_addresses(image)
    jumps = find_jumps(image, starts, trampolines, _words(image), taken | perhaps)
    functions = []
    for start in starts:
        address = start + PAD_BEFORE
        endbr, refusal = _inspect(image, start, symbols)
        # Where padding of another length ends, so that a function that cannot be patched is still known.
        entered = symbols.nearest(start) if refusal and address not in symbols.names else address
        functions.append(PatchableFunction(
            address=address,
            size=symbols.sizes.get(address, 0),
            names=() if entered is None else tuple(sorted(symbols.names.get(entered, ()))),
            exported=entered in symbols.exported,
            endbr=endbr,
            trampoline=start in trampolines,
            # Calls look the same there, so nothing is refused for it.
            address_taken=entered in taken or (refusal is None and entered in perhaps),
            tail_target=address in jumps.targets,
            tail_cycle=address in jumps.cyclic,
            refusal=refusal,
        ))
    return functions


class _FunctionSymbols:
    """The library's functions by address, a trampoline's symbol counted as its function's."""

    def __init__(self, image: ElfImage, trampolines: set[int]) -> None:
        self.names: dict[int, set[str]] = {}
        self.sizes: dict[int, int] = {}
        self.exported: set[int] = set()
        for symbol in image.symbols():
            if is_function(symbol):
                self._add(symbol, symbol.value, symbol.size)
        for symbol in image.dynamic_symbols():
            if is_function(symbol):
                if symbol.value in trampolines:
                    address, size = symbol.value + PAD_BEFORE, max(symbol.size - PAD_BEFORE, 0)
                else:
                    address, size = symbol.value, symbol.size
                self._add(symbol, address, size)
                self.exported.add(address)
        self._addresses = sorted(self.names)

    def _add(self, symbol: Symbol, address: int, size: int) -> None:
        self.names.setdefault(address, set()).add(symbol_label(symbol))
        self.sizes[address] = max(size, self.sizes.get(address, 0))

    def next_address(self, address: int) -> int | None:
        """The lowest address of a function at or behind ``address``, or None."""
        index = bisect_right(self._addresses, address - 1)
        return self._addresses[index] if index < len(self._addresses) else None

    def nearest(self, start: int) -> int | None:
        """The address of the function that padding from ``start`` most likely belongs to, or None."""
        following = self.next_address(start)
        return None if following is None or following - start > _LONGEST_PADDING else following


def _inspect(image: ElfImage, start: int, symbols: _FunctionSymbols) -> tuple[bool, str | None]:
    """Whether an endbr64 stands first, and why the function cannot be patched or None."""
    address = start + PAD_BEFORE
    if address > LARGEST_OFFSET:
        return False, (f"it lies at {address:#x}, and only the first 4 GiB are within reach; link at address 0, without"
                       " -Ttext-segment and --image-base")
    if not image.is_executable_address(start):
        return False, "its padding does not lie in code"
    # A short function may stand at the very end of the code.
    end = min(start + PAD_BEFORE + len(ENDBR64) + PAD_ENTRY, image.end_of_segment(start))
    code = image.read(start, end - start)
    endbr = code.startswith(ENDBR64, PAD_BEFORE)
    entry = PAD_BEFORE + (len(ENDBR64) if endbr else 0)
    following = symbols.next_address(start)
    if following is not None and following != address and following - start <= _LONGEST_PADDING and (
            following < address or is_nops(image.read(address, following - address))):
        return endbr, f"its padding is {following - start} bytes long instead of {PAD_BEFORE}"
    padding = code[:PAD_BEFORE]
    if not is_nops(padding) and not (padding.startswith(TRAMPOLINE) and is_nops(padding[len(TRAMPOLINE):])):
        return endbr, f"there is something else than nops in its padding ({padding.hex()})"
    size = symbols.sizes.get(address, 0)
    if 0 < size < entry - PAD_BEFORE + PAD_ENTRY:
        return endbr, f"it is only {size} bytes long"
    nops = code[entry:entry + PAD_ENTRY]
    if nops not in (ENTRY_NOPS, MERGED_ENTRY_NOP):
        return endbr, f"there is something else than two nops at its entry ({nops.hex()})"
    if (start + entry) % 8 == 7:
        return endbr, ("its entry is not aligned, the two nops cross an 8-byte word; compile with -falign-functions=16;"
                       " gcc ignores that with -Os and for cold functions, which need __attribute__((aligned(16)))")
    return endbr, None


def addresses_taken(image: ElfImage) -> set[int]:
    """The link-time addresses that the library itself takes: a superset.

    From relative relocations (tables of function pointers, vtables) and from RIP-relative ``lea`` in code.  What
    goes through .dynsym (GOT, R_ADDRESS) is not in it.
    """
    return near_addresses(image).union(_words(image).values())


def _words(image: ElfImage) -> dict[int, int]:
    """{place: address} for all that the loader fills with addresses of the file, but for the lists of the padding."""
    listed: set[int] = set()
    for section in image.sections:
        # There may be one list for each function.
        if section.name == SECTION_NAME and section.type != "SHT_NOBITS":
            listed.update(range(section.address, section.address + section.size, 8))
    return {place: address for place, address in image.relative_addresses().items() if place not in listed}

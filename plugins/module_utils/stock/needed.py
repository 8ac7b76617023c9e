# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the runtime itself runs of the C library: none of it can be replaced under the runtime's feet.

While a livepatch is applied, the runtime's worker starts a thread, has the loader open the patch library, and unwinds
stacks.  A replacement in there would run, or be hooked, in the middle of that.  What these functions call in turn is
found in the code; a call through a pointer is followed where the address is taken in the function that calls.
"""

from __future__ import annotations

from typing import Iterable, Iterator

from ..arch.disassembly import direct_target, is_jump, loaded_address, operation, outline
from ..arch.elf_format import LOADER, R_IRELATIVE
from ..elf.slots import slot_uses
from .code import Code, Extent

LIBRARIES = ("libc.so.6", "libgcc_s.so.1")

# What the runtime and its bootstrap code import, and what libgcc_s does for unwinding; a test compares.
ROOTS = (
    "__cxa_finalize", "__register_atfork", "_dl_find_object", "abort", "calloc", "dl_iterate_phdr", "dlclose",
    "dlerror", "dlinfo", "dlmopen", "dlopen", "dlsym", "dlvsym", "free", "malloc", "memcpy", "memset",
    "pthread_attr_destroy", "pthread_attr_getstacksize", "pthread_attr_init", "pthread_attr_setdetachstate",
    "pthread_attr_setstacksize", "pthread_create", "pthread_getspecific", "pthread_key_create", "__pthread_key_create",
    "pthread_mutex_lock", "pthread_mutex_unlock", "pthread_once", "pthread_setspecific", "realloc", "strlen",
    # Of libgcc_s itself.
    "_Unwind_Backtrace", "_Unwind_Find_FDE", "_Unwind_GetIP", "_Unwind_GetCFA", "_Unwind_GetRegionStart",
)
# A process that comes here ends; what is called there, nobody runs who goes on.
_LAST_RESORTS = frozenset((
    "__assert_fail", "__assert", "__libc_fatal", "__libc_message", "__fortify_fail", "__stack_chk_fail", "__chk_fail",
    "__libc_assert_fail", "__malloc_assert",
))


def why_needed(code: Code, wanted: Iterable[int]) -> dict[int, str]:
    """Which of some functions the runtime needs, and why.

    :param code: Code of a file.
    :param wanted: link-time addresses of functions in it.
    :return: {address: the reason, as a refusal says it}; empty for a file that is none of these libraries.
    """
    if code.image.soname == LOADER:
        return dict.fromkeys(wanted, "it belongs to the loader, which the runtime needs at any moment")
    if code.image.soname not in LIBRARIES:
        return {}
    ways = needed_by_runtime(code)
    return {address: f"the runtime itself needs it ({' -> '.join(ways[address])})"
            for address in wanted if address in ways}


def needed_by_runtime(code: Code) -> dict[int, tuple[str, ...]]:
    """The functions of the C library or libgcc_s that the runtime needs.

    :param code: Code of that file.
    :return: {link-time address: the names on the way to it, from what the runtime calls on}.
    """
    names = {address: symbols[0].name.partition("@")[0] for address, symbols in code.functions.items()}
    by_name = {symbol.name.partition("@")[0]: address for address, symbols in code.functions.items()
               for symbol in symbols}
    stubs = _chosen_by_stubs(code)
    # Of an IFUNC, what its resolver may choose.
    roots = {**by_name, **code.resolver_names}
    found: dict[int, tuple[str, ...]] = {roots[name]: (name,) for name in ROOTS if name in roots}
    waiting = list(found)
    for address in waiting:
        if names.get(address) in _LAST_RESORTS:
            continue
        for callee in _called(code, address, stubs):
            if callee not in found:
                found[callee] = (*found[address], names.get(callee, f"the function at {callee:#x}"))
                waiting.append(callee)
    return found


def _called(code: Code, address: int, stubs: dict[int, int]) -> Iterator[int]:
    """The functions that one calls, jumps to, or takes the address of."""
    extent = code.at(address)
    if extent is None:
        return
    for part in code.parts(Extent(address, extent.end)):
        for target in _targets(code, part):
            other = code.at(stubs.get(target, target))
            if other is not None and other.start == stubs.get(target, target) != address:
                yield other.start


def _targets(code: Code, part: Extent) -> Iterable[int]:
    for place, size, mnemonic, operands in outline(*code.read(part)):
        if operation(mnemonic) == "call" or is_jump(mnemonic):
            target = direct_target(operands)
            if target is not None:
                yield target
            continue
        target = loaded_address(mnemonic, operands, place + size)
        if target is not None:
            yield target


def _chosen_by_stubs(code: Code) -> dict[int, int]:
    """{address in a stub: the resolver whose choice it leads to} for IFUNCs that a file calls itself."""
    return slot_uses(code.image, {
        relocation.offset: relocation.addend for relocation in code.image.relocations()
        if relocation.type == R_IRELATIVE}).stubs

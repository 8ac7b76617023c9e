# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Targets that were compiled without padding: which of their functions are hooked, and where in this process.

The livepatch brings for each function the sites at which it can be diverted
(elf.site).  Which of them serve is decided here: the jump must land on memory
that is free in this very process.  The runtime takes the first that it can have.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import NamedTuple
from weakref import WeakKeyDictionary

from .. import abi
from ..arch.code import JUMP_OPCODE
from ..arch.padding import ENDBR64
from ..elf.bodies import Bodies, bodies
from ..elf.patchable import PatchableFunction
from ..elf.site import JUMP, JUMP_SIZE, PLAIN, PUN, RIP_RELATIVE, WIDE
from ..errors import NotPatchable
from ..printable import some
from ..process.hooks import hooks_of
from ..process.landings import GOOD, NEAR_HEAP, AddressSpaceRoom

_INSTRUCTIONS = {PLAIN: abi.PUN_PLAIN, RIP_RELATIVE: abi.PUN_RELATIVE, JUMP: abi.PUN_JUMP}
_GUARD_IT = "make it a guard"
# Of a wide site, so many places to land are tried, and so many offered to the runtime.
_TRIED = 4096
_OFFERED = 4


class StockFunction(NamedTuple):
    """A function that is to be hooked; addresses are link-time."""

    name: str
    address: int
    size: int
    digest: str  # SHA-256 of its bytes, in hex
    sites: tuple  # of elf.site.Site, the best first


def stock_functions(target):
    """The StockFunction of every replaced function and guard of a livepatch.target.Target, ascending by address."""
    found = [
        StockFunction(pair.old, pair.old_offset, pair.old_size, pair.old_digest, pair.sites)
        for pair in target.functions
    ]
    found += [StockFunction(guard.name, guard.offset, guard.size, guard.digest, guard.sites)
              for guard in target.guards]
    return sorted(found, key=lambda function: function.address)


def hooked_before(subject, library):
    """Functions of a mapped.LoadedLibrary that the runtime knows from earlier livepatches: link-time addresses."""
    return frozenset(
        hook.function - library.base
        for known in subject.state.libraries if known.base == library.base
        for hook in hooks_of(subject.proc_tid, subject.state, known)
    )


class _Code(NamedTuple):
    """Functions of a file that are hooked together, as request.sites() wants them, and what belongs to them."""

    functions: list[PatchableFunction]
    bodies: Bodies


# What belongs to functions takes a while to find, and several processes run the same libraries.
_KNOWN: WeakKeyDictionary = WeakKeyDictionary()


def code_of(image, addresses, names):
    """The functions at ``addresses`` (frozenset of link-time ones), and their bodies.

    :param image: ElfImage of a file without padding.
    :param names: {address: name}, as far as they are known.
    :return: named tuple: ``functions`` (list of PatchableFunction, ascending), ``bodies`` (elf.bodies.Bodies).
    :raises NotPatchable: where one ends cannot be told, or threads could come back to it unseen.
    """
    known = _KNOWN.setdefault(image, {})
    if addresses not in known:
        functions = [_described(image, address, names.get(address)) for address in sorted(addresses)]
        known[addresses] = _Code(functions, bodies(image, functions, addresses, _GUARD_IT))
    return known[addresses]


def _described(image, address, name):
    function = PatchableFunction(
        address=address, size=0, names=() if name is None else (name,), exported=False,
        endbr=image.read(address, len(ENDBR64)) == ENDBR64, trampoline=False, address_taken=True, tail_target=False,
        tail_cycle=False, refusal=None,
    )
    # All that jumps lead to from there: if one leads back, it is a cycle.
    return function._replace(tail_cycle=bodies(image, [function], [address], _GUARD_IT).lead_to(address))


def require_code(path, image, functions):
    """Make sure that the file has the functions that the livepatch was made for.

    :param path: what messages call the file.
    :param functions: list of StockFunction.
    :raises NotPatchable: it has not, whatever its build ID.
    """
    changed = [
        function.name for function in functions
        if hashlib.sha256(image.read(function.address, function.size)).hexdigest() != function.digest
    ]
    if changed:
        raise NotPatchable(
            f"{path}: the code of {some(changed)} is not what the livepatch was made for, although the build ID is;"
            " the file was changed after it was linked", changed)


def puns(resolved, proc_tid, pid, functions):
    """The places where functions can be hooked in a process, for its runtime.

    :param resolved: request.ResolvedLibrary.
    :param proc_tid: the thread of it to look through.
    :param functions: list of StockFunction that are not hooked yet.
    :return: list of abi.REQUEST_PUN as bytes, ascending by function, the best of each first.
    :raises NotPatchable: one of them has none here.
    :raises ProcessUnpatchable: the process may not have so many mappings.
    """
    if not functions:
        return []
    room = AddressSpaceRoom(proc_tid)
    room.require_mappings(pid, len(functions))
    found = []
    for function in functions:
        offered = _offered(resolved, function, room)
        if not offered:
            raise NotPatchable(
                f"{resolved.library.path}: the function {function.name} cannot be replaced in process {pid}: no jump"
                " at its start would lead to free memory", [function.name])
        found += offered
    return found


def _offered(resolved, function, room):
    """The puns of one function: first those that land where nothing will grow to."""
    by_rank: dict[int, list[bytes]] = {GOOD: [], NEAR_HEAP: []}
    for site in function.sites:
        for code in _codes(site, room, resolved.library.base):
            rank = room.judge(_landing(resolved.library.base + site.offset, code))
            if rank in by_rank:
                by_rank[rank].append(_pun(resolved.image, function, site, code))
    return by_rank[GOOD] + by_rank[NEAR_HEAP]


def _landing(address, code):
    return address + JUMP_SIZE + int.from_bytes(code[1:], "little", signed=True)


def _codes(site, room, base):
    """The bytes that the site may get: of a pun one way, of a wide one as many as there are places to land."""
    if site.kind == PUN:
        return [JUMP_OPCODE + site.original[1:JUMP_SIZE]]
    if site.kind != WIDE:
        # Into a gap: no runtime can yet.
        return []
    changed = min(site.length, JUMP_SIZE) - 1
    rest = site.original[1 + changed:JUMP_SIZE]
    values = 1 << 8 * changed
    # Spread over all that there are, from the largest on: with four bytes these lead downwards.
    step = max(values // _TRIED, 1) | 1
    found = []
    for value in range(values - 1, -1, -step):
        code = JUMP_OPCODE + value.to_bytes(changed, "little") + rest
        if room.judge(_landing(base + site.offset, code)) == GOOD:
            found.append(code)
            if len(found) == _OFFERED:
                break
    return found


def _pun(image, function, site, code):
    size = max(function.size, site.offset + max(JUMP_SIZE, site.length) - function.address)
    written = 1 if site.kind == PUN else min(site.length, JUMP_SIZE)
    return abi.REQUEST_PUN.pack(
        function=function.address,
        site=site.offset,
        size=size,
        checksum=zlib.crc32(image.read(function.address, size)),
        frame_before=site.cfa_before,
        frame_after=site.cfa_after,
        code=code,
        written=written,
        length=site.length,
        instruction=_INSTRUCTIONS[site.instruction],
        displacement=site.displacement,
    )

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
from itertools import chain, islice
from weakref import WeakKeyDictionary

from ... import abi
from ...arch.address_space import PAGE_SIZE
from ...arch.code import JUMP_OPCODE, JUMP_SIZE, SHORT_JUMP_OPCODE, SHORT_JUMP_SIZE
from ...elf.bodies import Bodies, bodies, reached_code
from ...elf.patchable import PatchableFunction, addresses_taken, unpadded_function
from ...elf.site import JUMP, PLAIN, PUN, RIP_RELATIVE, SHORT, WIDE
from ...errors import NotPatchable
from ...named_tuple import NamedTuple
from ...printable import some
from ...process.hooks import hooks_of
from ...process.landings import GOOD, NEAR_HEAP, AddressSpaceRoom

_INSTRUCTIONS = {PLAIN: abi.PUN_PLAIN, RIP_RELATIVE: abi.PUN_RELATIVE, JUMP: abi.PUN_JUMP}
_GUARD_IT = "make it a guard"
# Bytes of a site that change, where the instruction does not tell.
_WRITTEN = {PUN: 1, SHORT: SHORT_JUMP_SIZE}
# Bytes that a jump leads, at most, and how much of that is left for gaps of the same library that lie elsewhere.
_REACH = (1 << 31) - 2 * PAGE_SIZE
_FOR_OTHERS = 1 << 27
# Bytes from one landing to the next, where they share a page.
_LANDING_ROOM = 16
# Of a wide site, so many places to land are tried, and of each site so many offered to the runtime.
_TRIED = 1024
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
        taken = addresses_taken(image)
        functions = _with_cycles(image, [
            unpadded_function(image, address, names.get(address), address in taken) for address in sorted(addresses)])
        known[addresses] = _Code(functions, bodies(image, functions, addresses, _GUARD_IT))
    return known[addresses]


def _with_cycles(image, functions):
    """The PatchableFunctions of a file, which say whether jumps alone may lead from them back to them.

    All are known by name, so that none is taken for a part of another one, as code without a name may be.
    """
    return [
        function._replace(tail_cycle=reached_code(image, functions, [function.address]).lead_to(function.address))
        for function in functions
    ]


def require_code(path, image, functions):
    """Make sure that the file has the functions that the livepatch was made for.

    :param path: what messages call the file.
    :param functions: list of StockFunction.
    :raises NotPatchable: it has not, whatever its build ID.
    """
    changed = [
        function.name for function in functions
        if hashlib.sha256(image.read(function.address, function.size)).hexdigest() != function.digest
        or any(image.read(gap.offset, len(gap.original)) != gap.original for gap in _gaps(function))
    ]
    if changed:
        raise NotPatchable(
            f"{path}: the code of {some(changed)} is not what the livepatch was made for, although the build ID is;"
            " the file was changed after it was linked", changed)


def _gaps(function):
    return [site.gap for site in function.sites if site.gap is not None]


def puns(resolved, proc_tid, pid, functions, interface):
    """The places where functions can be hooked in a process, for its runtime.

    :param resolved: request.ResolvedLibrary.
    :param proc_tid: the thread of it to look through.
    :param functions: list of StockFunction that are not hooked yet.
    :param interface: the abi.Interface that the runtime speaks.
    :return: list of abi.REQUEST_PUN as bytes, ascending by function, the best of each first.
    :raises NotPatchable: one of them has none here.
    :raises ProcessUnpatchable: the process may not have so many mappings.
    """
    if not functions:
        return []
    room = AddressSpaceRoom(proc_tid)
    room.require_mappings(pid, len(functions))
    choice = _Choice(room, resolved.library.base, interface)
    found = []
    for function in functions:
        offered = _offered(resolved, function, choice, room)
        if not offered:
            raise NotPatchable(
                f"{resolved.library.path}: the function {function.name} cannot be replaced in process {pid}:"
                f" {_why_not(function, interface)}", [function.name])
        found += offered
    return found


def _why_not(function, interface):
    if not interface.knows_gaps and any(site.kind == SHORT for site in function.sites):
        return ("no jump at its start alone would lead to free memory, and the runtime in the process, which is of an"
                " older version, cannot go by way of a gap; restart the process with the newer one")
    if not all(_is_known(site, interface) for site in function.sites):
        return ("only instructions that change a saved register could become a jump to free memory, and the runtime in"
                " the process, which is of an older version, cannot move those; restart the process with the newer one")
    return "no jump at its start would lead to free memory"


def _offered(resolved, function, choice, room):
    """The puns of one function: first those that land where nothing will grow to."""
    by_rank: dict[int, list[bytes]] = {GOOD: [], NEAR_HEAP: []}
    gaps = sum(site.kind == SHORT for site in function.sites)
    for site in function.sites:
        for code in choice.codes(site, max(_OFFERED // gaps, 1) if site.kind == SHORT else _OFFERED):
            rank = room.judge(_landing(resolved.library.base, site, code))
            if rank in by_rank:
                by_rank[rank].append(_pun(resolved.image, function, site, code))
    return by_rank[GOOD] + by_rank[NEAR_HEAP]


def _is_known(site, interface):
    """Whether a runtime that speaks ``interface`` can hook a function there."""
    if site.kind == SHORT and not interface.knows_gaps:
        return False
    return not site.overwrites or interface.knows_saved_registers


def _landing(base, site, code):
    """Where ``code`` leads, once it is written at the site: by way of the gap, if there is one."""
    start, jump = (site.offset, 0) if site.gap is None else (site.gap.offset, SHORT_JUMP_SIZE)
    distance = int.from_bytes(code[jump + len(JUMP_OPCODE):jump + JUMP_SIZE], "little", signed=True)
    return base + start + JUMP_SIZE + distance


class _Choice:
    """What is written at the sites of one library, as far as there is a choice where the jumps land."""

    def __init__(self, room, base, interface):
        """
        :param room: AddressSpaceRoom.
        :param base: load bias.
        :param interface: abi.Interface.
        """
        self._room = room
        self._base = base
        self._interface = interface
        self._used: dict[int, int] = {}  # {page: how many landings of this request are on it}

    def codes(self, site, most):
        """The bytes that the site may get: of a pun one way, of others one for each of ``most`` good places to land."""
        if not _is_known(site, self._interface):
            return []
        if site.kind == PUN:
            return [JUMP_OPCODE + site.original[1:JUMP_SIZE]]
        if site.kind == WIDE:
            return self._wide(site, most)
        return list(islice(self._short(site), most))

    def _wide(self, site, most):
        changed = min(site.length, JUMP_SIZE) - 1
        rest = site.original[1 + changed:JUMP_SIZE]
        values = 1 << 8 * changed
        # Spread over all that there are.
        step = max(values // _TRIED, 1) | 1
        found = []
        for value in range(0, values, step):
            code = JUMP_OPCODE + value.to_bytes(changed, "little") + rest
            if self._room.judge(_landing(self._base, site, code)) == GOOD:
                found.append(code)
        # And far from each other: what the process maps next, be it the runtime itself, lies next to what is there.
        count = min(most, len(found))
        return [found[(2 * index + 1) * len(found) // (2 * count)] for index in range(count)]

    def _short(self, site):
        """The jump from a gap leads anywhere: so landings share pages."""
        behind = self._base + site.gap.offset + JUMP_SIZE
        reach = range(behind - _REACH, behind + _REACH)
        distance = site.gap.offset - (site.offset + SHORT_JUMP_SIZE)
        short = SHORT_JUMP_OPCODE + distance.to_bytes(1, "little", signed=True) + JUMP_OPCODE
        fresh = (page for page in self._room.vacant_pages(reach.start + _FOR_OTHERS, reach.stop - _FOR_OTHERS)
                 if page not in self._used)
        known = [page for page, count in self._used.items() if page in reach and count < PAGE_SIZE // _LANDING_ROOM]
        for page in chain(known, fresh):
            place = page + self._used.get(page, 0) * _LANDING_ROOM
            self._used[page] = self._used.get(page, 0) + 1
            yield short + (place - behind).to_bytes(JUMP_SIZE - len(JUMP_OPCODE), "little", signed=True)


def _pun(image, function, site, code):
    size = function.size
    if site.gap is None:
        # The displacement may stick out of a very short one.
        size = max(size, site.offset + max(JUMP_SIZE, site.length) - function.address)
    compared = image.read(function.address, size)
    if site.gap is not None:
        compared += image.read(site.gap.offset, JUMP_SIZE)
    return abi.REQUEST_PUN.pack(
        function=function.address,
        site=site.offset,
        size=size,
        checksum=zlib.crc32(compared),
        frame_before=site.cfa_before,
        frame_after=site.cfa_after,
        code=code,
        written=_WRITTEN.get(site.kind, min(site.length, JUMP_SIZE)),
        length=site.length,
        instruction=_INSTRUCTIONS[site.instruction],
        displacement=site.displacement,
        gap=site.gap.offset if site.gap is not None else 0,
    )

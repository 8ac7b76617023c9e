# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runtime's state block in another process (struct ulp_state in native/include/ulp/abi.h).

Only memory is read; the process notices nothing.
"""

from __future__ import annotations

import struct
from collections import namedtuple
from typing import Any

from .. import abi
from ..errors import BadElf
from ..named_tuple import NamedTuple
from ..printable import printable
from .claims import Claims, require_header
from .errors import ProcessStarting, StateUnreadable, StateUnsettled
from .instances import livepatches_of
from .mapped import with_remedy
from .memory import read_memory, read_ranges
from .procfs import text_lines

STATE_SYMBOL = "ulp_state"
# How often to try to read the block in one piece. The worker changes it within microseconds.
_READINGS = 20
# As much as the runtime has, in bytes; what is read of a process is bounded by it.
_LARGEST_STUB_POOL = 1 << 22
# More than a request can name, of all libraries together.
_MOST_BODIES = 1 << 16


class Result(NamedTuple):
    """The runtime's answer to one request."""

    nonce: int
    stage: int  # abi.STAGE_*
    error: int  # abi.OK, abi.BUSY, ...
    entry_ns: int
    worker_ns: int
    universe: int
    detail: str


class Domain(NamedTuple):
    """Libraries that share one universe number."""

    universe: int
    tls_offset: int  # bytes from a thread's thread pointer to its own number
    slow_entries: int
    kept: int
    unprovable: int
    library_count: int
    floor: int  # whoever has an older number takes the newest at its next entry, unless it kept one since
    floor_keeps: int  # what keeps was when that was seen
    keeps: int  # entries at which a thread kept a number that is not the newest
    coroutines: int  # entries on a stack that the thread was not started with
    seen: int  # what floor is of all threads, this is of all but those excepted
    seen_keeps: int
    excepted: frozenset[int]  # TIDs in the process's own PID namespace
    hooked_again: int  # the number from which on hooks that something else had undone stand again; 0: never
    suspended: int  # stacks that no thread was on, with frames of the libraries, before the last apply or revert

    def is_settled(self, universe, tid):
        """Whether thread ``tid``, by the number that it has for itself, takes ``universe`` at its next entry."""
        return self.floor >= universe or (self.seen >= universe and tid not in self.excepted)


class PatchedLibrary(NamedTuple):
    """A library that the runtime has hooked."""

    base: int
    text_start: int
    text_end: int
    domain: int
    post_processed: bool
    hooked: int
    build_id: str  # hexadecimal
    name: str
    bodies: tuple[tuple[int, int], ...] | None  # the code that alone counts as inside; None: all of it does
    hooks: int  # address of the newest table of hooks; 0: there is none
    hooks_count: int  # how many are in that
    stock: bool = False  # compiled without padding
    resolver: int = 0  # the loader's function that finds where a jump out of it leads, the first time, or 0

    @property
    def inside(self):
        """The addresses (start, end) of the code that a thread is inside of."""
        return ((self.text_start, self.text_end),) if self.bodies is None else self.bodies


class LoadedPatch(NamedTuple):
    """A livepatch that the runtime has loaded, for one copy of its target; a reverted one stays loaded."""

    patch_id: str  # hexadecimal; the same for all copies
    instance_id: str  # hexadecimal; of the first copy the patch ID, see process.instances
    applied: bool
    applied_universe: int
    reverted_universe: int
    loaded_ns: int  # CLOCK_REALTIME
    text_start: int
    text_end: int
    domain: int
    functions: int
    name: str
    hooked_again: int  # of its domain

    @property
    def universe(self):
        """The number that a thread must have reached to see the patch as it is now: applied or reverted.

        A thread that came in while hooks were undone has an earlier one of the same patch, and proves nothing by it.
        """
        return max(self.applied_universe if self.applied else self.reverted_universe, self.hooked_again)


class RuntimeState(NamedTuple):
    """A consistent copy of a process's state block."""

    pid: int
    address: int
    version: str
    interface: abi.Interface  # what the runtime speaks
    entry: int
    request: int
    request_capacity: int
    threads: int
    messages: int
    sequence: int  # of the lock under which this was read
    stubs_size: int  # bytes
    text_start: int
    text_end: int
    attached: bool  # loaded while the process ran, not when it started
    last_error: int
    domains: tuple[Domain, ...]
    libraries: tuple[PatchedLibrary, ...]
    patches: tuple[LoadedPatch, ...]

    def patch(self, patch_id):
        """The LoadedPatch with this ID (hexadecimal), or None; that of the first copy, where there are several."""
        return next(iter(self.instances(patch_id)), None)

    def instances(self, patch_id):
        """The LoadedPatch with this ID (hexadecimal) of each copy of its target, the first one first."""
        return [patch for patch in self.patches if patch.patch_id == patch_id]


# Of a process that has none.
NO_RUNTIME = RuntimeState(
    pid=0, address=0, version="", interface=abi.INTERFACES[abi.ABI_VERSION], entry=0, request=0, request_capacity=0,
    threads=0, messages=0, sequence=0, stubs_size=0, text_start=0, text_end=0, attached=False, last_error=0,
    domains=(), libraries=(), patches=(),
)


def state_address(pid, mapping, files):
    """The address of the state block.

    :param mapping: what maps.runtime_mapping() found.
    :param files: mapped.MappedFiles.
    :raises StateUnreadable: the file is not the runtime, whatever its name, or it cannot be reached.
    """
    found = files.survey(pid, mapping)
    if found is not None and found.obstacle is not None:
        what = f"the runtime in process {pid} is of {mapping.path}, which {found.obstacle}"
        raise StateUnreadable(pid, with_remedy(pid, what, found.obstacle))
    base = found.load_bias(mapping) if found and found.native else None
    try:
        symbol = files.named_image(pid, mapping).find_dynamic_symbol(STATE_SYMBOL) if base is not None else None
    except BadElf as error:
        raise StateUnreadable(pid, f"the runtime in process {pid} is of a damaged file: {error}") from error
    if symbol is None:
        raise StateUnreadable(
            pid, f"{mapping.path} in process {pid} is not the livepatch runtime: it has no {STATE_SYMBOL}"
        )
    return base + symbol.value


def _check_header(pid, header):
    if header.magic == 0:
        raise ProcessStarting(pid, f"process {pid} is only just starting; try again in a moment")
    if header.magic != abi.STATE_MAGIC:
        raise StateUnreadable(pid, f"the runtime's state block in process {pid} is damaged: restart the process")
    interface = abi.INTERFACES.get(header.abi_version)
    if interface is None:
        raise StateUnreadable(
            pid,
            f"the runtime in process {pid} speaks version {header.abi_version} of the interface, and this tool versions"
            f" {min(abi.INTERFACES)} to {abi.ABI_VERSION}; use the tool of that runtime, or restart the process with"
            " this one's",
        )
    if (header.size != interface.state.size or header.domain_count > abi.DOMAINS or header.library_count > abi.LIBRARIES
            or header.patch_count > abi.PATCHES):
        raise StateUnreadable(pid, f"the runtime's state block in process {pid} is damaged: restart the process")
    return interface


_ARRAYS = ("results", "domains", "libraries", "patches")
_BEHIND_ARRAYS = "attached"
# How many domains, libraries and patches to read along with the header: most processes have no more.
_FIRST_COUNTS = (2, 2, 4)
_HEADER_FIELDS = [field for field in abi.STATE.offsets if field not in (*_ARRAYS, _BEHIND_ARRAYS)]
_HEADER = struct.Struct(f"<QIIII{abi.VERSION_SIZE}s10QIIII")
_Header: Any = namedtuple("_Header", _HEADER_FIELDS)  # type: ignore[misc]


class _Pieces(NamedTuple):
    """A state block, not decoded yet."""

    header: Any
    domains: bytes
    libraries: bytes
    patches: bytes
    attached: bytes
    after: int  # the sequence number when all of that had been read


def _read_pieces(pid, address, counts, interface):
    """The _Pieces with so many entries of the three arrays."""
    offsets = interface.state.offsets
    sizes = interface.domain.size, interface.library.size, abi.PATCH.size
    # One call copies the pieces in this order: what the first and the last agree on was at rest between.
    behind = offsets.get(_BEHIND_ARRAYS)
    data, domains, libraries, patches, attached, after = read_ranges(pid, [
        (address, _HEADER.size),
        *((address + offsets[name], count * size) for name, count, size in zip(_ARRAYS[1:], counts, sizes)),
        # No earlier version could be loaded into a running process.
        (address + (behind or 0), 8 if behind is not None else 0),
        (address + offsets["sequence"], 4),
    ])
    header = _Header._make(_HEADER.unpack(data))
    return _Pieces(header, domains, libraries, patches, attached, int.from_bytes(after, "little"))


def read_state(pid, address, memory_map=None) -> RuntimeState:
    """A consistent copy of the state block at ``address`` of process ``pid``, read under its sequence lock.

    Nothing is in it that the process's memory map contradicts.

    :param memory_map: a maps.MemoryMap that was read not long ago, if there is one.
    :raises StateUnreadable: there is none, it is of another version, or damaged.
    :raises StateUnsettled: it was being changed: look again in a moment.
    :raises ProcessGone: the process has ended.
    :raises ProcessForbidden: ptrace access is needed and not granted.
    """
    counts = _FIRST_COUNTS
    claims = Claims(pid, memory_map)
    interface = _interface_of(pid, address, claims)
    for _each in range(_READINGS):
        pieces = _read_pieces(pid, address, counts, interface)
        header = pieces.header
        spoken = _check_header(pid, header)
        if spoken is not interface:
            interface = spoken
            continue
        needed = header.domain_count, header.library_count, header.patch_count
        if any(count > had for count, had in zip(needed, counts)):
            counts = needed
            continue
        if header.sequence % 2 == 0 and header.sequence == pieces.after:
            return _decode(address, pieces, interface, claims)
    raise StateUnsettled(
        pid, f"the state of process {pid} does not come to rest: a livepatch is being applied; try again"
    )


def _interface_of(pid, address, claims):
    """The abi.Interface that the runtime speaks, or may; the state block is made sure to be the runtime's memory."""
    newest = abi.INTERFACES[abi.ABI_VERSION]
    try:
        claims.require_data(address, newest.state.size, "state block")
        return newest
    except StateUnreadable:
        # The block of another version may be shorter.
        claims.require_data(address, _HEADER.size, "state block")
        interface = _check_header(pid, _Header._make(_HEADER.unpack(read_memory(pid, address, _HEADER.size))))
        if interface is newest:
            raise
        claims.require_data(address, interface.state.size, "state block")
        return interface


def _read_bodies(pid, raw, claims, room):
    """The bodies of one library, or None when all of it counts.  A table, once shown, never changes."""
    if not raw.flags & abi.LIBRARY_BY_BODIES:
        return None
    if not raw.bodies:
        return ()
    claims.require_table(raw.bodies, abi.BODIES.size, "table of functions")
    count = abi.BODIES.unpack(read_memory(pid, raw.bodies, abi.BODIES.size)).count
    # Each library could have a long table of its own.
    if not count <= room:
        raise claims.refused("table of functions")
    claims.require_table(raw.bodies, abi.BODIES.size + count * abi.BODY.size, "table of functions")
    data = read_memory(pid, raw.bodies + abi.BODIES.size, count * abi.BODY.size)
    found = tuple((body.start, body.end) for body in abi.BODY.unpack_array(data, 0, count))
    behind = raw.text_start
    for start, end in found:
        if not behind <= start < end <= raw.text_end:
            raise claims.refused("table of functions")
        behind = end
    return found


def _decode(address, pieces, interface, claims):
    """The RuntimeState in _Pieces; raises FalseClaim where the map (claims.Claims) contradicts it."""
    require_header(claims, pieces.header)
    state = _decoded(address, pieces, interface, claims)
    for library in state.libraries:
        claims.require_code(library.text_start, library.text_end, f"code of {library.name}")
        if library.resolver:
            claims.require_code(library.resolver, library.resolver + 1, "dynamic loader")
    for patch in state.patches:
        claims.require_code(patch.text_start, patch.text_end, f"code of {patch.name}")
    # Whoever owns the process can write anything there.
    if any(item.domain >= len(state.domains) for item in (*state.libraries, *state.patches)):
        raise StateUnreadable(
            state.pid, f"the runtime's state block in process {state.pid} is damaged: restart the process")
    return state


def _excepted(raw):
    count = min(raw.excepted_count, abi.EXCEPTED)
    return frozenset(struct.unpack_from(f"<{count}I", raw.excepted))


def _decoded(address, pieces, interface, claims):
    pid, header = claims.pid, pieces.header
    raw_libraries = interface.library.unpack_array(pieces.libraries, 0, header.library_count)
    if sum(raw.flags & abi.LIBRARY_PROGRAM for raw in raw_libraries) > abi.LIBRARY_PROGRAM:
        raise claims.refused("program")
    all_bodies: list[tuple | None] = []
    room = _MOST_BODIES
    for raw in raw_libraries:
        all_bodies.append(_read_bodies(pid, raw, claims, room))
        room -= len(all_bodies[-1] or ())
    raw_domains = interface.domain.unpack_array(pieces.domains, 0, header.domain_count)
    hooked_again = {index: raw.hooked_again for index, raw in enumerate(raw_domains)}
    raw_patches = abi.PATCH.unpack_array(pieces.patches, 0, header.patch_count)
    patch_ids = livepatches_of([raw.id.hex() for raw in raw_patches])
    return RuntimeState(
        pid=pid,
        address=address,
        version=abi.text(header.runtime_version),
        interface=interface,
        entry=header.entry,
        request=header.request,
        request_capacity=header.request_capacity,
        threads=header.threads,
        messages=header.messages,
        sequence=header.sequence,
        stubs_size=min(header.stubs_size, _LARGEST_STUB_POOL),
        text_start=header.text_start,
        text_end=header.text_end,
        attached=bool(int.from_bytes(pieces.attached, "little")),
        last_error=header.last_error,
        domains=tuple(
            Domain(
                raw.universe, raw.tls_offset, raw.slow_entries, raw.kept, raw.unprovable, raw.library_count,
                raw.floor, raw.floor_keeps, raw.keeps, raw.coroutines, raw.seen,
                raw.seen_keeps, _excepted(raw), raw.hooked_again, raw.suspended,
            )
            for raw in raw_domains
        ),
        libraries=tuple(
            PatchedLibrary(
                raw.base, raw.text_start, raw.text_end, raw.domain,
                bool(raw.flags & abi.LIBRARY_POST_PROCESSED), raw.hooked,
                raw.build_id[:raw.build_id_size].hex(), abi.text(raw.name), own_bodies,
                raw.hooks, raw.hooks_count, bool(raw.flags & abi.LIBRARY_STOCK), raw.resolver,
            )
            for raw, own_bodies in zip(raw_libraries, all_bodies)
        ),
        patches=tuple(
            LoadedPatch(
                patch_id, raw.id.hex(), raw.status == abi.PATCH_APPLIED, raw.applied_universe, raw.reverted_universe,
                raw.loaded_ns, raw.text_start, raw.text_end, raw.domain, raw.functions, abi.text(raw.name),
                hooked_again.get(raw.domain, 0),
            )
            for patch_id, raw in zip(patch_ids, raw_patches)
        ),
    )


def read_result(pid, address, nonce):
    """The runtime's answer to the request ``nonce``, or None: there is none yet.

    :param address: of the state block.
    :raises: as read_state, but for the sequence lock, which results do not have.
    """
    data = read_memory(pid, address + abi.STATE.offsets["results"], abi.RESULTS * abi.RESULT.size)
    own = nonce.to_bytes(abi.RESULT.sizes["nonce"], "little")
    for start in range(0, len(data), abi.RESULT.size):
        if not data.startswith(own, start + abi.RESULT.offsets["nonce"]):
            continue
        raw = abi.RESULT.unpack(data, start)
        if raw.stage != abi.STAGE_EMPTY:
            return Result(
                raw.nonce, raw.stage, raw.error, raw.entry_ns, raw.worker_ns, raw.universe, abi.text(raw.detail)
            )
    return None


def read_messages(pid, state):
    """The runtime's own messages, oldest first: a list of lines, printable.

    :raises: as read_memory.
    """
    raw = abi.MESSAGES.unpack(read_memory(pid, state.messages, abi.MESSAGES.size))
    size = len(raw.data)
    if raw.written <= size:
        data = raw.data[:raw.written]
    else:
        end = raw.written % size
        # The first line has lost its beginning.
        data = (raw.data[end:] + raw.data[:end]).partition(b"\n")[2]
    # The names of files are in them, and the process can write anything there.
    return [printable(line.decode("utf-8", "replace")) for line in text_lines(data)]

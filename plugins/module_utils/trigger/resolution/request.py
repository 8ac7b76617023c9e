# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The request that the runtime gets: everything resolved, so that the process has nothing to look up.

Layout: struct ulp_request in native/include/ulp/abi.h.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import Sequence
from weakref import WeakKeyDictionary

from ... import abi
from ...elf.bodies import Bodies
from ...elf.image import ElfImage
from ...elf.jumps import jumped_imports
from ...elf.patchable import PatchableFunction
from ...elf.ranges import joined
from ...elf.unseen import unseen_entries
from ...errors import NotPatchable
from ...livepatch.binding import ADDRESS, KINDS, SYMBOL, WORD
from ...livepatch.target import Target
from ...named_tuple import NamedTuple
from ...printable import some
from ...process.mapped import LoadedLibrary


class ResolvedLibrary(NamedTuple):
    """A target with everything that the request says about it."""

    target: Target
    library: LoadedLibrary
    image: ElfImage
    functions: list[PatchableFunction]
    post_processed: bool
    bodies: Bodies | None  # None: all of its code counts as inside
    puns: tuple[bytes, ...] | None = None  # with sites: where functions can be hooked here, as abi.REQUEST_PUN


def program_roots(match, functions, state, jumps):
    """The functions of a program that a thread may be inside of: this livepatch's, and those of earlier ones.

    :param match: resolve.Match.
    :param functions: what elf.patchable.patchable_functions() gave.
    :param state: process.runtime.RuntimeState.
    :param jumps: as for sites().
    :return: frozenset of link-time addresses.
    """
    base = match.library.base
    earlier = Bodies(tuple(joined(
        (start - base, end - base)
        for hooked in state.libraries if hooked.base == base
        for start, end in hooked.bodies or ()
    )), frozenset())
    roots = {pair.old_offset for pair in match.target.functions}
    bound = bound_functions(match.target)
    jumps = jumps | bound.names
    for function in functions:
        led_to = function.address in bound.addresses or not jumps.isdisjoint(_plain_names(function))
        if led_to or earlier.hold(function.address):
            roots.add(function.address)
    return frozenset(roots)


def _plain_names(function):
    """The names of a PatchableFunction without versions."""
    return {name.partition("@")[0] for name in function.names}


class BoundFunctions(NamedTuple):
    """What new code reaches by bindings: it may call it, jump to it, or hand on its address."""

    addresses: frozenset[int]  # link-time, of first instructions; some are those of variables
    names: frozenset[str]  # of symbols


def bound_functions(target):
    """The BoundFunctions of a livepatch.target.Target."""
    places = {binding.offset + binding.addend for binding in target.bindings if binding.kind == ADDRESS}
    return BoundFunctions(
        # A post-processed library exports the trampoline.
        frozenset(places | {place + abi.PAD_BEFORE for place in places}),
        frozenset(binding.name.partition("@")[0] for binding in target.bindings if binding.kind in (WORD, SYMBOL)),
    )


class Beside(NamedTuple):
    """What the other libraries of a livepatch do to one: who is inside of one is inside of all.

    ``names``: the symbols that their code may jump to; ``circular``: whether jumps may lead from it to them as well.
    """

    names: frozenset[str] = frozenset()
    circular: bool = False


_ALONE = Beside()

# What code of an image jumps to takes a while to find, and several processes run the same libraries.
_JUMPED: WeakKeyDictionary = WeakKeyDictionary()


def _jumped(image):
    if image not in _JUMPED:
        _JUMPED[image] = jumped_imports(image)
    return _JUMPED[image]


def _beside(resolved, libraries):
    """The Beside of one of ``libraries`` (list of ResolvedLibrary)."""
    others = [other.image for other in libraries if other is not resolved]
    if not others:
        return _ALONE
    return Beside(
        frozenset().union(*map(_jumped, others)),
        any(image.find_dynamic_symbol(name) for name in _jumped(resolved.image) for image in others),
    )


def sites(resolved, jumps, beside=_ALONE):
    """The places where a library is entered.

    :param resolved: ResolvedLibrary.
    :param jumps: names of the symbols that the patch library may jump to: the functions that it replaces lead there.
    :param beside: Beside.
    :return: list of (link-time address of the function, abi.SITE_* flags), ascending.
    :raises NotPatchable: a function that is to be replaced cannot be hooked, or one that threads enter.
    """
    replaced = {pair.old_offset: pair for pair in resolved.target.functions}
    bodies = resolved.bodies
    bound = bound_functions(resolved.target)
    jumps = jumps | bound.names
    chosen = {symbol.name for symbol in resolved.image.dynamic_symbols() if symbol.type == "STT_GNU_IFUNC"}
    found = []
    for function in resolved.functions:
        pair = replaced.pop(function.address, None)
        if function.refusal is not None:
            if pair is not None:
                raise NotPatchable(
                    f"{resolved.library.path}: the function {pair.old} cannot be replaced: {function.refusal}",
                    [pair.old],
                )
            continue
        if bodies is not None:
            # Whatever else it calls of its own makes no difference.
            flags = abi.SITE_ENTRY if bodies.hold(function.address) else 0
            if resolved.puns is not None:
                flags |= abi.SITE_PUN
            tail_target = bodies.lead_to(function.address)
        else:
            flags = abi.SITE_TRAMPOLINE if function.trampoline else 0
            address_taken = function.address_taken or function.address in bound.addresses
            if pair is not None or address_taken or not resolved.post_processed:
                flags |= abi.SITE_ENTRY
            tail_target = function.tail_target
        if not flags:
            continue
        if function.endbr and resolved.puns is None:
            flags |= abi.SITE_ENDBR
        if tail_target:
            flags |= abi.SITE_TAIL
        if function.tail_cycle:
            flags |= abi.SITE_CYCLE
        names = _plain_names(function)
        if function.address_taken:
            # It may be what an IFUNC resolver chooses.
            names |= chosen
        if not beside.names.isdisjoint(names):
            flags |= abi.SITE_TAIL | (abi.SITE_CYCLE if beside.circular else 0)
        # From a replacement perhaps back to what it replaces, or to what may jump to that.
        if function.address in bound.addresses or not jumps.isdisjoint(names):
            flags |= abi.SITE_JUMPED
        found.append((function.address, flags))
    if replaced:
        names = [pair.old for pair in replaced.values()]
        raise NotPatchable(
            f"{resolved.library.path}: no padding at the address of {', '.join(names)}; pack the livepatch again", names
        )
    if bodies is None and not resolved.post_processed:
        _require_seen_entries(resolved)
    return found


def _require_seen_entries(resolved):
    unseen = unseen_entries(resolved.image, resolved.functions)
    if unseen is not None:
        raise NotPatchable(
            f"{resolved.library.path}: threads can enter the library unseen through {some(unseen.names)}"
            f" ({unseen.why}); build it with padding throughout, or post-process it",
            unseen.names,
        )


class _Writer:
    """Tables one behind the other, each aligned to 8 bytes; offsets count from the start of the request."""

    def __init__(self, start):
        self.data = bytearray()
        self.start = start

    def add(self, table):
        self.data += b"\0" * (-len(self.data) % 8)
        offset = self.start + len(self.data)
        self.data += table
        return offset

    def add_string(self, text):
        return self.add(os.fsencode(text) + b"\0")


# The version of the interface from which on the runtime carries out all that is asked for here.
_ABLE_SINCE = 5
_NEWEST = abi.INTERFACES[abi.ABI_VERSION]


class Request(NamedTuple):
    """What the runtime is asked for."""

    operation: int  # abi.APPLY, abi.REVERT or abi.SETTLE
    livepatch: object  # livepatch.livepatch.Livepatch
    path: str  # of the livepatch, absolute, as the process sees it; "": it is given the bytes
    libraries: Sequence[ResolvedLibrary]  # none where it is applied already
    settled: object  # judgement.progress.Settled, of the domain concerned
    interface: abi.Interface = _NEWEST  # which the runtime speaks
    suspended: int = 0  # how many stacks are suspended inside
    replaced: Sequence[str] = ()  # instance IDs in hex of those that are taken back in the same publish
    instance_id: str = ""  # in hex, as process.instances makes it; "": the livepatch's own ID


def build_request(request, nonce):
    """The bytes of a Request.

    :param nonce: not 0; the same must stand in the diversion block.
    :raises NotPatchable: a function that is to be replaced cannot be hooked, or the runtime is too old for it.
    """
    interface, livepatch, libraries = request.interface, request.livepatch, request.libraries
    settled, replaced = request.settled, request.replaced
    _require_able(interface, libraries, replaced)
    writer = _Writer(interface.request.size)
    records = writer.add(b"\0" * (interface.request_library.size * len(libraries)))
    described = b"".join(
        _library(writer, resolved, livepatch.jumps, _beside(resolved, libraries), interface)
        for resolved in libraries)
    position = records - writer.start
    writer.data[position:position + len(described)] = described
    patch_path = writer.add_string(request.path)
    patch_name = writer.add_string(os.path.basename(livepatch.path))
    excepted = writer.add(struct.pack(f"<{len(settled.excepted)}I", *settled.excepted))
    replaced_table = writer.add(b"".join(map(bytes.fromhex, replaced)))
    build_id = bytes.fromhex(livepatch.patch_build_id)
    header = interface.request.pack(
        magic=abi.REQUEST_MAGIC,
        abi_version=interface.version,
        size=writer.start + len(writer.data),
        nonce=nonce,
        checksum=zlib.crc32(writer.data),
        operation=request.operation,
        patch_id=bytes.fromhex(request.instance_id or livepatch.patch_id),
        patch_build_id=build_id,
        patch_build_id_size=len(build_id),
        patch_path=patch_path,
        patch_name=patch_name,
        library_count=len(libraries),
        libraries=records,
        settled=settled.universe,
        settled_keeps=settled.keeps,
        excepted=excepted,
        excepted_count=len(settled.excepted),
        suspended=request.suspended,
        replaced=replaced_table,
        replaced_count=len(replaced),
    )
    return header + bytes(writer.data)


def _require_able(interface, libraries, replaced):
    """Make sure that the runtime knows all that it is asked for; raises NotPatchable."""
    if interface.version >= _ABLE_SINCE:
        return
    lacks = []
    if any(library.puns is not None for library in libraries):
        lacks.append("replace functions without padding")
    if any(library.target.bindings for library in libraries):
        lacks.append("bind what a livepatch takes from its target")
    if replaced:
        lacks.append("replace one livepatch by another")
    if lacks:
        raise NotPatchable(
            f"the runtime in the process is of an older version (interface {interface.version}), which cannot"
            f" {' or '.join(lacks)}; restart the process with the newer one", [])


def _library(writer, resolved, jumps, beside, interface):
    places = sites(resolved, jumps, beside)
    site_table = writer.add(b"".join(
        abi.REQUEST_SITE.pack(function=address, flags=flags) for address, flags in places
    ))
    replacements = sorted((pair.old_offset, pair.new_offset) for pair in resolved.target.functions)
    replacement_table = writer.add(b"".join(
        abi.REQUEST_REPLACEMENT.pack(function=old, replacement=new) for old, new in replacements
    ))
    ranges = resolved.bodies.ranges if resolved.bodies is not None else ()
    body_table = writer.add(b"".join(abi.BODY.pack(start=start, end=end) for start, end in ranges))
    bindings = _bindings(writer, resolved.target.bindings)
    puns = resolved.puns or ()
    pun_table = writer.add(b"".join(puns))
    build_id = bytes.fromhex(resolved.target.build_id)
    trm = resolved.image.trm_descriptor()
    return interface.request_library.pack(
        base=resolved.library.base,
        text_start=resolved.library.text_start,
        text_end=resolved.library.text_end,
        trm=resolved.library.base + trm if trm is not None else 0,
        build_id=build_id,
        build_id_size=len(build_id),
        flags=_library_flags(resolved),
        name=writer.add_string(resolved.library.name),
        sites=site_table,
        site_count=len(places),
        replacements=replacement_table,
        replacement_count=len(replacements),
        bodies=body_table,
        body_count=len(ranges),
        bindings=bindings,
        binding_count=len(resolved.target.bindings),
        puns=pun_table,
        pun_count=len(puns),
    )


def _bindings(writer, bindings):
    """The offset of the table of ``bindings``, a sequence of livepatch.binding.Binding."""
    # Many refer to the same few names and versions.
    strings = {text: writer.add_string(text) for text in sorted(
        {binding.name for binding in bindings} | {binding.version for binding in bindings})}
    return writer.add(b"".join(
        abi.REQUEST_BINDING.pack(
            slot=binding.slot, offset=binding.offset, addend=binding.addend, kind=KINDS[binding.kind],
            name=strings[binding.name], version=strings[binding.version],
        ) for binding in bindings
    ))


def _library_flags(resolved):
    if resolved.bodies is not None:
        return (abi.LIBRARY_PROGRAM if resolved.image.is_program else 0) | (
            abi.LIBRARY_STOCK if resolved.puns is not None else 0)
    return abi.LIBRARY_POST_PROCESSED if resolved.post_processed else 0


def new_nonce():
    """A random 64-bit number that is not 0."""
    while True:
        (nonce,) = struct.unpack("<Q", os.urandom(8))
        if nonce:
            return nonce

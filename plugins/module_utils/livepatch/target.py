# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The targets of a livepatch: which functions of which libraries it replaces, as its metadata say so.

Formats 2 and 3 have members that format 1 has not.  Each is left out where it would be empty, and a livepatch is of the
oldest format that can say what there is to say, so that older tools read it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Iterable, Iterator

from ..abi import BUILD_ID_SIZE, LARGEST_OFFSET
from ..elf.site import Site
from ..named_tuple import NamedTuple
from .binding import MEMBERS as BINDING_MEMBERS
from .binding import Binding, Filled, fault_of, overlap_of
from .members import (
    FORMAT_VERSION,
    LATER_FORMAT_VERSION,
    LATEST_FORMAT_VERSION,
    Members,
    damaged,
    decode_members,
    leave_out_empty,
)
from .new_data import NewVariable, decode_variable, variable_fields
from .site import MOST_SITES, decode_site, site_fields

if TYPE_CHECKING:
    from ..elf.image import ElfImage

BUILD_ID = re.compile(rf"([0-9a-f]{{2}}){{1,{BUILD_ID_SIZE}}}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class FunctionPair(NamedTuple):
    """A function and what replaces it; offsets are link-time addresses, relative to the load bias, in bytes.

    ``old_offset`` is that of the old function's first instruction, not of its padding.  ``sites`` are where a function
    without padding can be diverted, the best first; a function with padding has none.  One with sites has an
    ``old_digest``: the SHA-256 of its ``old_size`` bytes, in hex, which tells whether a process runs that code.
    """

    old: str
    new: str
    old_offset: int
    old_size: int
    new_offset: int
    sites: tuple[Site, ...] = ()
    old_digest: str = ""


class Guard(NamedTuple):
    """A function that is not replaced, but counts as inside: what is called below it sees one version of all.

    ``offset``, ``size``, ``digest`` and ``sites`` as the members of a FunctionPair.
    """

    name: str
    offset: int
    size: int
    sites: tuple[Site, ...]
    digest: str


class Target(NamedTuple):
    """A library whose functions are replaced.

    ``build_id`` in hex; ``functions`` ascending by old offset; ``guards`` ascending by offset; ``bindings``, what words
    of the patch library stand for in this target, ascending by slot; ``variables``, those that the livepatch brings
    along for this target, by name.
    """

    soname: str
    path: str
    build_id: str
    functions: list[FunctionPair]
    guards: tuple[Guard, ...] = ()
    bindings: tuple[Binding, ...] = ()
    variables: tuple[NewVariable, ...] = ()

    @property
    def has_sites(self) -> bool:
        """Whether it was compiled without padding, so that its functions are diverted at sites."""
        return any(pair.sites for pair in self.functions)


_TARGET_MEMBERS = Members(
    "a target", {"soname": str, "path": str, "build_id": str, "functions": list}, {"guards": list, "bindings": list},
    {"variables": list})
_FUNCTION_MEMBERS = Members(
    "a function", {"old": str, "new": str, "old_offset": int, "old_size": int, "new_offset": int},
    {"sites": list, "old_digest": str})
_GUARD_MEMBERS = Members("a guard", {"name": str, "offset": int, "size": int, "sites": list, "digest": str}, {})


def needed_format(targets: list[Target]) -> int:
    """The oldest format that can say what there is to say."""
    if any(target.variables for target in targets):
        return LATEST_FORMAT_VERSION
    needed = any(target.has_sites or target.guards or target.bindings for target in targets)
    return LATER_FORMAT_VERSION if needed else FORMAT_VERSION


def target_fields(target: Target) -> dict[str, Any]:
    """A Target as a JSON-able dict, with the members that a livepatch leaves out where they are empty."""
    return dict(
        target._asdict(),
        functions=[pair_fields(pair) for pair in target.functions],
        guards=[dict(guard._asdict(), sites=_all_site_fields(guard.sites)) for guard in target.guards],
        bindings=[binding._asdict() for binding in target.bindings],
        variables=[variable_fields(variable) for variable in target.variables],
    )


def pair_fields(pair: FunctionPair) -> dict[str, Any]:
    """A FunctionPair as a JSON-able dict, with the members that a livepatch leaves out where they are empty."""
    return dict(pair._asdict(), sites=_all_site_fields(pair.sites))


def _all_site_fields(sites: Iterable[Site]) -> list[dict[str, Any]]:
    return [site_fields(site) for site in sites]


def encode_target(target: Target) -> dict[str, Any]:
    """A Target as a livepatch holds it: without the members of a later format that are empty."""
    fields = target_fields(target)
    leave_out_empty(fields, _TARGET_MEMBERS)
    for function in fields["functions"]:
        leave_out_empty(function, _FUNCTION_MEMBERS)
    return fields


def decode_target(path: object, value: object, image: ElfImage, version: int) -> Target:
    """The Target that a member of the metadata stands for.

    :param path: what messages call the livepatch.
    :param value: the JSON value.
    :param image: ElfImage of the livepatch.
    :param version: its format version.
    :raises BadLivepatch: it is malformed.
    """
    fields = decode_members(path, value, _TARGET_MEMBERS, version)
    if not BUILD_ID.fullmatch(fields["build_id"]):
        raise damaged(path, "the build ID of a target is malformed")
    functions = [_decode_pair(path, function, image, version) for function in fields["functions"]]
    offsets = [pair.old_offset for pair in functions]
    if not offsets:
        raise damaged(path, f"it names no function of {fields['soname']}")
    if offsets != sorted(set(offsets)):
        raise damaged(path, f"the functions of {fields['soname']} are not in order")
    guards = tuple(_decode_guard(path, guard, version) for guard in fields.get("guards", ()))
    starts = [guard.offset for guard in guards]
    if starts != sorted(set(starts)) or not set(starts).isdisjoint(offsets):
        raise damaged(path, f"the guards of {fields['soname']} are not in order")
    bindings = tuple(_decode_binding(path, binding, image, version) for binding in fields.get("bindings", ()))
    if list(bindings) != sorted(bindings, key=lambda binding: binding.slot):
        raise damaged(path, f"the bindings of {fields['soname']} are not in order")
    variables = tuple(decode_variable(path, variable, image, version) for variable in fields.get("variables", ()))
    names = [variable.name for variable in variables]
    if names != sorted(set(names)):
        raise damaged(path, f"the new variables of {fields['soname']} are not in order")
    target = Target(fields["soname"], fields["path"], fields["build_id"], functions, guards, bindings, variables)
    if target.has_sites != all(pair.sites for pair in functions) or (guards and not target.has_sites):
        raise damaged(path, f"only some functions of {fields['soname']} have sites")
    _check_overlaps(path, target)
    return target


def _decode_pair(path: object, value: object, image: ElfImage, version: int) -> FunctionPair:
    fields = decode_members(path, value, _FUNCTION_MEMBERS, version)
    name = fields["old"]
    _check_extent(path, name, fields["old_offset"], fields["old_size"])
    if not image.is_executable_address(fields["new_offset"]):
        raise damaged(path, f"the function {fields['new']} does not lie in its code")
    if ("sites" in fields) != ("old_digest" in fields):
        raise damaged(path, f"the function {name} has sites, but no digest, or the reverse")
    if "sites" in fields:
        fields["sites"] = _decode_sites(
            path, name, fields["old_offset"], fields["old_size"], fields["sites"], fields["old_digest"])
    return FunctionPair(**fields)


def _decode_guard(path: object, value: object, version: int) -> Guard:
    fields = decode_members(path, value, _GUARD_MEMBERS, version)
    _check_extent(path, fields["name"], fields["offset"], fields["size"])
    fields["sites"] = _decode_sites(
        path, fields["name"], fields["offset"], fields["size"], fields["sites"], fields["digest"])
    return Guard(**fields)


def _decode_binding(path: object, value: object, image: ElfImage, version: int) -> Binding:
    binding = Binding(**decode_members(path, value, BINDING_MEMBERS, version))
    fault = fault_of(binding, image)
    if fault is not None:
        raise damaged(path, fault)
    return binding


def require_separate_words(path: object, targets: list[Target]) -> None:
    """Make sure that no two bindings or new variables of a livepatch fill the same word; raises BadLivepatch."""
    overlap = overlap_of([
        *(binding for target in targets for binding in target.bindings),
        *(Filled(word.slot, word.size, variable.name)
          for target in targets for variable in target.variables for word in variable.words)])
    if overlap is not None:
        raise damaged(path, overlap)


def _check_extent(path: object, name: str, offset: int, size: int) -> None:
    if not 0 <= offset <= LARGEST_OFFSET:
        raise damaged(path, f"the offset of the function {name} is out of range")
    if not 0 <= size <= LARGEST_OFFSET:
        raise damaged(path, f"the size of the function {name} is out of range")


def _decode_sites(
    path: object, name: str, offset: int, size: int, values: list[object], digest: str,
) -> tuple[Site, ...]:
    if not _DIGEST.fullmatch(digest):
        raise damaged(path, f"the digest of the function {name} is malformed")
    if not 1 <= len(values) <= MOST_SITES:
        raise damaged(path, f"the function {name} has {len(values)} sites, and may have {MOST_SITES}")
    sites = []
    for value in values:
        try:
            site = decode_site(value)
        except ValueError as error:
            raise damaged(path, f"a site of the function {name} is wrong: {error}") from error
        if not offset <= site.offset <= site.end <= offset + size:
            raise damaged(path, f"a site of the function {name} lies outside of the function")
        sites.append(site)
    return tuple(sites)


def _check_overlaps(path: object, target: Target) -> None:
    """What is written for one function is nothing that another one needs."""
    taken = sorted(
        part
        for offset, size, sites in [
            *((pair.old_offset, pair.old_size, pair.sites) for pair in target.functions if pair.sites),
            *((guard.offset, guard.size, guard.sites) for guard in target.guards),
        ]
        for part in _parts(offset, size, sites)
    )
    for (_start, end), (start, _end) in zip(taken, taken[1:]):
        if start < end:
            raise damaged(path, f"functions or gaps of {target.soname} overlap")


def _parts(offset: int, size: int, sites: tuple[Site, ...]) -> Iterator[tuple[int, int]]:
    """The (start, end) of a function with the displacement that may stick out of it, and of the gaps of its sites."""
    yield offset, max(offset + size, *(site.offset + len(site.original) for site in sites))
    for site in sites:
        if site.gap is not None:
            yield site.gap.offset, site.gap.offset + len(site.gap.original)

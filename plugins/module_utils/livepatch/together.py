# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several livepatches that are dealt with together: their order, and which of them can't be.

Most are the same fix for several builds of a library, and no process gets more than one of those.  What is said here
is about the others: livepatches of one build.
"""

from __future__ import annotations

import os
from typing import Sequence

from ..errors import UlpError
from .livepatch import Livepatch


def in_order(livepatches: Sequence[Livepatch]) -> list[Livepatch]:
    """The livepatches as given, but each behind those that it depends on."""
    by_id = {livepatch.patch_id: livepatch for livepatch in livepatches}
    ordered: dict[str, Livepatch] = {}

    def add(livepatch: Livepatch) -> None:
        for patch_id in livepatch.dependencies:
            # Nobody depends on itself, not even in a circle: its ID is a checksum that covers what it depends on.
            if patch_id in by_id and patch_id not in ordered:
                add(by_id[patch_id])
        ordered.setdefault(livepatch.patch_id, livepatch)

    for livepatch in livepatches:
        add(livepatch)
    return list(ordered.values())


def require_different(livepatches: Sequence[Livepatch]) -> None:
    """Make sure that no livepatch is there twice, in two files; raises UlpError, which names both."""
    seen: dict[str, Livepatch] = {}
    for livepatch in livepatches:
        other = seen.setdefault(livepatch.patch_id, livepatch)
        if other is not livepatch:
            raise UlpError(f"{other.path} and {livepatch.path} are the same livepatch; leave one of them out")


def require_unambiguous(livepatches: Sequence[Livepatch]) -> None:
    """Make sure that it is clear which livepatch a function of a build is to be replaced by.

    Of two that replace the same one, one must depend on the other, or replace it.

    :raises UlpError: it is not; names both files.
    """
    by_id = {livepatch.patch_id: livepatch for livepatch in livepatches}
    needs = {livepatch.patch_id: _needed(livepatch, by_id) for livepatch in livepatches}
    for number, later in enumerate(livepatches):
        for earlier in livepatches[:number]:
            if shares_target(earlier, later) and takes_place(earlier, later) and takes_place(later, earlier):
                raise UlpError(f"{earlier.path} and {later.path} replace each other; leave one of them out")
            if takes_place(earlier, later) or takes_place(later, earlier):
                continue
            if earlier.patch_id in needs[later.patch_id] or later.patch_id in needs[earlier.patch_id]:
                continue
            replaced = _replaced(earlier)
            common = sorted(replaced.keys() & _replaced(later).keys())
            if common:
                raise UlpError(
                    f"{earlier.path} and {later.path} both replace {replaced[common[0]]} with build ID {common[0][0]},"
                    " and neither replaces the other or depends on it; leave one of them out"
                )


def takes_place(livepatch: Livepatch, other: Livepatch) -> bool:
    """Whether ``livepatch`` says that it takes the place of ``other``."""
    return livepatch.is_replacement_of(other.patch_id, os.path.basename(other.path))


def shares_target(livepatch: Livepatch, other: Livepatch) -> bool:
    """Whether both are for one build of a library."""
    return bool({its.build_id for its in livepatch.targets} & {its.build_id for its in other.targets})


def _needed(livepatch: Livepatch, by_id: dict[str, Livepatch]) -> set[str]:
    """The IDs of what it depends on, directly or not, as far as that is in ``by_id``."""
    needed: set[str] = set()
    for patch_id in livepatch.dependencies:
        needed.add(patch_id)
        if patch_id in by_id:
            needed |= _needed(by_id[patch_id], by_id)
    return needed


def _replaced(livepatch: Livepatch) -> dict[tuple[str, int], str]:
    """What a livepatch replaces: {(build ID, address): words for the function}."""
    return {
        (target.build_id, pair.old_offset): f"{pair.old} of {target.soname}"
        for target in livepatch.targets for pair in target.functions
    }

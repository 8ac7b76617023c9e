# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other livepatches that are applied to a process: those that this one needs, and those that need it."""

from __future__ import annotations

from ...elf.contents import FileContents
from ...errors import UlpError
from ...livepatch.livepatch import parse_livepatch
from ...process.mapped import open_mapped
from ...process.maps import mapping_at
from .undone import undoing


def neighbours(subject, livepatch):
    """The livepatches, other than ``livepatch`` (livepatch.livepatch.Livepatch), that are applied to a process.

    :param subject: process.subject.Subject.
    :return: a generator of pairs of process.runtime.LoadedPatch and Livepatch.
    :raises UlpError: the file of one cannot be read any more.
    """
    for patch in subject.state.patches:
        if not patch.applied or patch.patch_id == livepatch.patch_id:
            continue
        other = livepatch_of(subject, patch)
        if other is not None:
            yield patch, other


def livepatch_of(subject, patch):
    """The livepatch.livepatch.Livepatch of a process.runtime.LoadedPatch; None where it is not mapped any more.

    :raises UlpError: its file cannot be read any more.
    """
    mapping = mapping_at(subject.mappings, patch.text_start)
    if mapping is None:
        return None
    return parse_livepatch(FileContents(open_mapped(subject.proc_tid, mapping), mapping.path), mapping.path)


def replaced_functions(livepatch):
    """What a livepatch.livepatch.Livepatch replaces: a set of (build ID of the library, link-time address)."""
    return {(target.build_id, pair.old_offset) for target in livepatch.targets for pair in target.functions}


def require_dependencies(subject, livepatch, files, domain, presumed=frozenset()):
    """Make sure that what ``livepatch`` depends on is applied to the process, all of it; raises UlpError.

    :param files: process.mapped.MappedFiles.
    :param domain: index of the domain that ``livepatch`` is for, whose hooks are looked at by themselves; or None.
    :param presumed: the IDs of those that count as applied, whatever the process says.
    """
    for patch_id in livepatch.dependencies:
        if patch_id in presumed:
            continue
        patch = subject.state.patch(patch_id)
        if patch is None or not patch.applied:
            raise UlpError(
                f"{livepatch.path} depends on the livepatch {patch_id[:16]}, which is not applied to"
                f" process {subject.pid} ({subject.name}); apply that first"
            )
        undone = undoing(subject, patch.domain, files) if patch.domain != domain else None
        if undone is not None:
            raise UlpError(
                f"{livepatch.path} depends on the livepatch {patch.name}, and in process {subject.pid}"
                f" ({subject.name}), {undone.reason}; {undone.remedy}, that one first"
            )


def require_independence(subject, livepatch, presumed=frozenset()):
    """Make sure that nothing that is applied to the process depends on ``livepatch``; raises UlpError.

    :param presumed: the IDs of those that count as reverted, whatever the process says.
    """
    for patch, other in neighbours(subject, livepatch):
        if livepatch.patch_id in other.dependencies and patch.patch_id not in presumed:
            raise UlpError(
                f"the livepatch {patch.name}, applied to process {subject.pid} ({subject.name}),"
                " depends on this one; revert that first"
            )

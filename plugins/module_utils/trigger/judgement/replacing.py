# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One livepatch in place of others: which of those that a process has go, in the very moment in which it comes."""

from __future__ import annotations

from ...errors import UlpError
from .neighbours import neighbours


def replaced_patches(job, subject, domain):
    """The process.runtime.LoadedPatch that are to be taken back when the livepatch is applied or reverted.

    Those are the ones that it says it replaces, or, with Options.replace, all of its targets but those of the same run.

    :param job: job.Job.
    :param subject: process.subject.Subject.
    :param domain: index of the domain of the livepatch's targets; None: nothing of them has been patched yet.
    """
    livepatch = job.livepatch
    companions = {other.patch_id for other in job.companions}
    return [
        patch for patch in subject.state.patches
        if patch.applied and patch.domain == domain and patch.patch_id != livepatch.patch_id
        and ((job.options.replace and patch.patch_id not in companions)
             or livepatch.is_replacement_of(patch.patch_id, patch.name))
    ]


def require_replaceable(job, subject, replaced):
    """Make sure that nothing that stays depends on what goes; raises UlpError.

    :param replaced: what replaced_patches() gave.
    """
    going = {patch.patch_id: patch.name for patch in replaced}
    for patch_id in job.livepatch.dependencies:
        if patch_id in going:
            raise UlpError(
                f"{job.livepatch.path} depends on the livepatch {going[patch_id]}, in whose place it was to be applied")
    require_nothing_left(job, subject, going)


def require_nothing_left(job, subject, going):
    """Make sure that no livepatch that stays in the process depends on one of ``going``, {patch ID: name}; UlpError."""
    if not going:
        return
    for patch, other in neighbours(subject, job.livepatch):
        needed = [going[patch_id] for patch_id in other.dependencies if patch_id in going]
        if needed and patch.patch_id not in going:
            raise UlpError(
                f"the livepatch {patch.name}, applied to process {subject.pid} ({subject.name}), depends on"
                f" {needed[0]}, which was to go; revert {patch.name} first, too")


def in_place_of(replaced):
    """What a row says of the livepatches ``replaced``; "" where there are none."""
    return f"in place of {' and '.join(patch.name for patch in replaced)}" if replaced else ""

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply a livepatch to one process.

The way of one apply: Trigger.apply() drives attempt.attempt(), which calls apply() below, again where the process
has become another program meanwhile.  apply() looks at the process.  Where the livepatch is not all there,
carry_out.carry_out() makes sure that it can be, loads the runtime if there is none (attach), and has a request
carried out: exchange.exchange() writes it, borrow.Borrower finds a thread that hands it to the runtime, and verdict
makes the Row of the answer.
"""

from __future__ import annotations

from ...errors import UlpError
from ...named_tuple import NamedTuple
from ...process.runtime import LoadedPatch
from .. import outcome
from ..judgement.applicability import examine_concerned, with_additional_builds, with_leftovers, with_origin
from ..judgement.replacing import replaced_patches
from ..judgement.sessions import with_sessions
from ..judgement.undone import Undoing, undoing
from .as_asked import looking_and_settling


class Found(NamedTuple):
    """What a process has of the livepatch before it is applied."""

    applied: bool
    covered: bool  # it is applied to all libraries that it is for, not to earlier ones alone
    undone: Undoing | None  # what somebody else has done to the hooks of these libraries
    replaced: list[LoadedPatch]  # other livepatches, which go when it comes
    domain: int | None  # of the libraries; None: none has been hooked

    @property
    def is_all_there(self):
        """Whether nothing has to be done."""
        return self.covered and self.undone is None and not self.replaced


def apply(job, pid, proc_tid, name):
    """Apply the livepatch to process ``pid``; a generator, as trigger.operations.attempt wants it."""
    subject, resolution, row = examine_concerned(job, pid, proc_tid, name, job.options.attach)
    if row is not None:
        return row
    if resolution.copies:
        # Few processes need this.
        from .copies import apply_to_copies

        row = yield from apply_to_copies(job, subject, resolution)
    else:
        row = yield from apply_to(job, subject, resolution)
    row = with_origin(with_sessions(with_additional_builds(row, resolution)), subject)
    return (yield from with_leftovers(job, subject, row))


def apply_to(job, subject, resolution):
    """Apply it to the libraries of a process, no one of which is there twice; a generator, as trigger.drive wants it.

    :param job: job.Job.
    :param subject: process.subject.Subject.
    :param resolution: resolve.Resolution.
    :return: Row.
    :raises UlpError: it cannot be applied; why.
    """
    pid = subject.pid
    found = _found(job, subject, resolution)
    if found.is_all_there:
        return (yield from looking_and_settling(job, subject, outcome.ALREADY_PATCHED))
    if found.undone is not None and not found.undone.repairable:
        raise UlpError(f"process {pid} ({subject.name}): {found.undone.reason}; {found.undone.remedy}")
    # A process that has the livepatch need not wait for this to be imported.
    from .carry_out import carry_out

    return (yield from carry_out(job, subject, resolution, found))


def _found(job, subject, resolution):
    patch = job.patch_in(subject)
    applied = patch is not None and patch.applied
    domain = domain_of(subject, resolution)
    return Found(
        applied=applied,
        covered=applied and resolution.is_covered(patch),
        undone=None if domain is None else undoing(subject, domain, job.files),
        replaced=replaced_patches(job, subject, domain),
        domain=domain,
    )


def domain_of(subject, resolution):
    """Index of the domain in which libraries that the livepatch is for have been hooked before, or None."""
    bases = {match.library.base for match in resolution.matches}
    return next((hooked.domain for hooked in subject.state.libraries if hooked.base in bases), None)

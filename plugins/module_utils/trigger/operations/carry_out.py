# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry out an apply in a process that does not have all of the livepatch yet: apply.apply() has looked."""

from __future__ import annotations

from ... import abi
from ...process.runtime import NO_RUNTIME
from ...process.subject import require_available
from .. import outcome
from ..attaching.attach import attach, rehearse
from ..borrowing.room import require_memory
from ..borrowing.seccomp_check import require_no_strict_thread, seccomp_reservation
from ..judgement.neighbours import require_dependencies
from ..judgement.replacing import in_place_of, require_replaceable
from ..judgement.taking_over import taken_over
from ..judgement.untouched import require_untouched
from ..outcome import Row
from ..resolution.libraries import resolved_library
from ..resolution.request import sites
from .exchange import exchange
from .reapply import reapply, require_repeatable


def carry_out(job, subject, resolution, found):
    """First whatever can refuse, and nothing is touched; then the change.  A generator, as trigger.drive wants it.

    :param job: job.Job.
    :param subject: process.subject.Subject.
    :param resolution: resolve.Resolution.
    :param found: apply.Found.
    :return: Row.
    :raises UlpError: it cannot be applied; why.
    """
    require_dependencies(subject, job.livepatch, job.files, found.domain, job.presumed)
    require_replaceable(job, subject, found.replaced)
    require_available(subject.pid, subject.proc_tid)
    require_memory(subject, job.livepatch)
    require_no_strict_thread(subject.pid)
    libraries = [resolved_library(job, subject, match) for match in resolution.matches]
    for library in libraries:
        yield from require_untouched(subject, library, sites(library, job.livepatch.jumps), job.options.timeout)
    libraries, shared = taken_over(job, subject, libraries)
    anew = found.applied and not found.covered
    if anew:
        yield from require_repeatable(job, subject, libraries)
    by_path = job.source.is_within_reach(subject)
    if job.options.check:
        row = _rehearsed(job, subject)
    elif anew:
        row = yield from reapply(job, subject, libraries)
    else:
        row = yield from _first_time(job, subject, libraries, None if by_path else job.source.contents())
    # An apply anew takes the hooks off and puts them back whoever had undone them.
    repaired = found.undone.repaired if found.undone is not None and (job.options.check or not anew) else ""
    for reason in (repaired, in_place_of(found.replaced), shared):
        row = _with_reason(row, reason)
    return row


def _rehearsed(job, subject):
    """The Row of check mode: what would be done, without touching the process."""
    pid, absent = subject.pid, subject.state is NO_RUNTIME
    reservation = (
        rehearse(job, subject) if absent else seccomp_reservation(pid, subject.proc_tid, job.options.seccomp))
    return Row(
        pid, subject.name, outcome.PATCHED, reservation, changed=True, attached=absent, attached_now=absent)


def _first_time(job, subject, libraries, contents):
    """Apply it, with the runtime loaded before if the process has none; a generator.

    :param contents: the bytes of the livepatch for a process that cannot load the file; else None.
    """
    if subject.state is not NO_RUNTIME:
        return (yield from exchange(job, subject, abi.APPLY, libraries, outcome.PATCHED, contents))
    attached = yield from attach(job, subject)
    row = yield from exchange(job, attached.subject, abi.APPLY, libraries, outcome.PATCHED, contents)
    return _with_reason(row._replace(held_us=max(row.held_us or 0.0, attached.held_us)), attached.reservation)


def _with_reason(row, reason):
    """The Row, if anything was done, with a further reason; "" is none."""
    if not reason or not row.changed:
        return row
    return row._replace(reason="; ".join(filter(None, (row.reason, reason))))

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of a process that was sent a request whose end nobody has heard of.

A process carries a request out even if whoever sent it is gone.  So its state
is looked at, and the row says what is there.
"""

from __future__ import annotations

import signal

from ...errors import UlpError
from ...faults import unexpected
from ...process.errors import ProcessGone, ProcessUnpatchable
from ...process.procfs import fatal_signal
from ...process.subject import at_rest, examine
from .. import outcome
from ..judgement.applicability import resolution_in
from ..judgement.verdict import verdict_by_reading
from ..outcome import Row, combined

UNKNOWN = "it was sent a request before, and whether it has carried that out cannot be told; check it later"
# The signals by which the kernel, or the C library, ends a process in which something is wrong.
_FAULTS = (
    signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV, signal.SIGSYS,
)


def aftermath(job, pid, success):
    """The Row of a process in which the livepatch is as it should be by now; None: it is not.

    A generator, as trigger.drive wants it.

    :param job: job.Job.
    :param success: outcome.PATCHED or REVERTED: what the request was to make of it.
    :raises UlpError: that cannot be told.
    """
    return (yield from at_rest(lambda: _look_at(job, pid, success)))


def _look_at(job, pid, success):
    subject = examine(pid, job.files)
    instances = subject.state.instances(job.livepatch.patch_id)
    applied = success == outcome.PATCHED
    as_wanted = [patch for patch in instances if patch.applied == applied]
    if not as_wanted:
        return None
    count = len(instances)
    if applied:
        count = max(count, len(resolution_in(subject.proc_tid, job.livepatch, job.files, job.companions).copies))
    if len(as_wanted) < count:
        return Row(
            pid, subject.name, outcome.FAILED, changed=True,
            reason=f"process {pid} ({subject.name}) has loaded the library {count} times, and the livepatch is"
                   f" {'applied to' if applied else 'reverted in'} {len(as_wanted)} of these copies alone; run again")
    rows = []
    for patch in instances:
        its = job._replace(source=job.source.as_instance(patch.instance_id))
        rows.append((yield from verdict_by_reading(its, subject, success)))
    return combined(rows)._replace(changed=True)


def as_found(job, row, success):
    """``row`` of a process for which something went wrong after it was sent a request, with what it has made of that.

    A generator; arguments as aftermath().
    """
    try:
        found = yield from aftermath(job, row.pid, success)
    except (ProcessGone, ProcessUnpatchable):
        # It has ended, or become a program without the runtime: there is nothing that could be patched.
        return row
    except UlpError:
        return unknown(row)
    except Exception as error:  # noqa: BLE001 - nothing that a process shows may end the run
        unexpected(error, f"process {row.pid} ({row.name})")
        return unknown(row)
    return row if found is None else found


def unknown(row):
    """``row``, of a process that may be another than before: nobody can tell."""
    return row._replace(outcome=outcome.FAILED, changed=True, reason=f"{row.reason}; {UNKNOWN}")


def ended(row):
    """``row`` of a process that was sent a request, or given the runtime, and has ended before more was known.

    As a rule it ended by itself, as sessions and helpers do all the time. Where it broke down, what it was given may
    be the reason.
    """
    process = f"process {row.pid} ({row.name})"
    number = fatal_signal(row.pid)
    if number in _FAULTS:
        return row._replace(
            outcome=outcome.FAILED, changed=True,
            reason=f"{process} was ended by {signal.Signals(number).name} while it was being dealt with, which may be"
                   " because of the livepatch; find out before it is applied to others",
        )
    return row._replace(
        outcome=outcome.NOT_APPLICABLE, changed=True,
        reason=f"{process} ended while it was being dealt with",
    )


def credited(row, success):
    """``row`` of a process that was sent a request before it was looked at: what it has now it has from that."""
    if row.outcome == outcome.ALREADY_PATCHED and success == outcome.PATCHED:
        return row._replace(outcome=outcome.PATCHED, changed=True)
    if row.outcome == outcome.PENDING or (row.outcome == outcome.REVERTED and success == outcome.REVERTED):
        return row._replace(changed=True)
    return row

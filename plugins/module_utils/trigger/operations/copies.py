# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A library that a process has loaded several times: each copy is patched by itself.

The copies share nothing but the file's contents.  So each gets an instance of
the patch library (process.instances), a domain and a request of its own, one
after the other.  The process counts as patched when all of them are.
"""

from __future__ import annotations

from ... import abi
from ...errors import UlpError
from ...named_tuple import NamedTuple
from ...printable import printable, some
from ...process.instances import instance_id
from ...process.runtime import NO_RUNTIME
from ...process.subject import examining
from .. import outcome
from ..job import Job
from ..judgement.progress import renewed
from ..outcome import Row, combined
from ..resolution.resolve import Match, Resolution
from .apply import apply_to
from .check import check_state
from .revert import revert_instance


class Copy(NamedTuple):
    """One copy of the target, with what is asked of it alone."""

    job: Job
    match: Match
    resolution: Resolution
    domain: int | None  # None: it has not been hooked

    @property
    def path(self):
        """The file that it was loaded from, printable."""
        return printable(self.match.library.path)

    def patch_in(self, subject):
        """Its process.runtime.LoadedPatch in a process.subject.Subject, if it is applied; else None."""
        patch = self.job.patch_in(subject)
        return patch if patch is not None and patch.applied else None


def copies_of(job, subject, resolution):
    """The Copy of each of ``resolution.copies``, the first one first; arguments as apply_to_copies()."""
    domains = {library.base: library.domain for library in subject.state.libraries}
    patch = subject.state.patch(job.livepatch.patch_id)
    first = resolution.copies[0] if patch is None else None
    found = []
    for match in resolution.copies:
        base = match.library.base
        domain = domains.get(base)
        if patch is not None and domain == patch.domain:
            first = match
        own = job.livepatch.patch_id if match is first else instance_id(job.livepatch.patch_id, base)
        found.append(Copy(
            job._replace(source=job.source.as_instance(own)), match, resolution.for_copy(match), domain))
    return sorted(found, key=lambda copy: copy.match is not first)


def apply_to_copies(job, subject, resolution):
    """Apply it to each copy; a generator, as trigger.drive wants it.

    :param job: job.Job.
    :param subject: process.subject.Subject.
    :param resolution: resolve.Resolution with ``copies``.
    :return: Row.
    :raises UlpError: it cannot be applied to one of them, so that none was touched.
    """
    copies = copies_of(job, subject, resolution)
    _require_room(job, subject, copies)
    _require_dependencies(job, subject, copies)
    would_be = []
    for copy in copies:
        dry = copy.job._replace(options=job.options._replace(check=True))
        would_be.append((yield from apply_to(dry, subject, copy.resolution)))
    if any(row.outcome in outcome.WITHOUT for row in would_be):
        return _of_copies(copies, _left_alone(would_be))
    to_do = any(row.changed or row.threads_pending for row in would_be)
    if job.options.check or not to_do:
        return _of_copies(copies, would_be)
    rows: list[Row] = []
    for copy in copies:
        # What was begun is not left half done for a signal or a kill switch.
        changed = any(row.changed for row in rows)
        rows.append((yield from _applied(copy, subject, changed)))
        if rows[-1].outcome in outcome.WITHOUT:
            break
        subject = yield from _as_it_is_now(job, subject)
        if copy.patch_in(subject) is None:
            # It is still being loaded, and the first one has to come first: see process.instances.
            break
    row = _of_copies(copies, rows)
    if row.outcome in outcome.WITHOUT and row.changed:
        row = row._replace(outcome=outcome.FAILED, reason=f"{row.reason}; {_told(copies, subject)}")
    return row


def _applied(copy, subject, begun):
    """The Row of one copy; what goes wrong is in it if other copies have been patched before (``begun``)."""
    if not begun:
        return (yield from apply_to(copy.job, subject, copy.resolution))
    try:
        return (yield from apply_to(copy.job.resolute, subject, copy.resolution))
    except UlpError as error:
        return Row(subject.pid, subject.name, outcome.FAILED, str(error))


def _as_it_is_now(job, subject):
    """The Subject, with what an apply to another copy has changed; a generator."""
    if subject.state is not NO_RUNTIME:
        return (yield from renewed(subject))
    found = yield from examining(subject.pid, job.files, job.options.attach)
    if found.random_bytes != subject.random_bytes:
        # It has become another program, which has to be looked at anew.
        from ...process.random_bytes import replaced

        raise replaced(subject)
    return found


def check_copies(job, subject, resolution, judge):
    """The Row of a process that has loaded the target several times; arguments as check.check_state()."""
    copies = copies_of(job, subject, resolution)
    having = [copy for copy in copies if copy.patch_in(subject)]
    if having and len(having) < len(copies):
        return Row(
            subject.pid, subject.name, outcome.FAILED,
            f"process {subject.pid} ({subject.name}): {_told(copies, subject)}; apply it again")
    rows = []
    for copy in copies:
        rows.append((yield from check_state(copy.job, subject, copy.resolution, judge)))
    return _of_copies(copies, rows)


def revert_instances(job, subject, instances):
    """Revert it in each copy; a generator, as trigger.drive wants it.

    :param job: job.Job.
    :param subject: process.subject.Subject.
    :param instances: list of process.runtime.LoadedPatch, of the livepatch.
    :return: Row.
    """
    jobs = [job._replace(source=job.source.as_instance(patch.instance_id)) for patch in instances]
    would_be = []
    for its in jobs:
        dry = its._replace(options=job.options._replace(check=True))
        would_be.append((yield from revert_instance(dry, subject)))
    if any(row.outcome in outcome.WITHOUT for row in would_be):
        return combined(_left_alone(would_be))
    if job.options.check:
        return combined(would_be)
    rows: list[Row] = []
    for its in jobs:
        begun = any(row.changed for row in rows)
        rows.append((yield from revert_instance(its.resolute if begun else its, subject)))
        subject = yield from renewed(subject)
    return combined(rows)


def _left_alone(rows):
    """The rows of a dry run in which one copy refuses: then nothing is done to the others either."""
    return [
        row._replace(changed=False, attached=row.attached and not row.attached_now, attached_now=False) for row in rows
    ]


def _require_room(job, subject, copies):
    """Make sure that the runtime has room for all copies, before the first is patched; raises UlpError."""
    state = subject.state
    new = sum(copy.domain is None for copy in copies)
    to_load = sum(copy.job.patch_in(subject) is None for copy in copies)
    if (len(state.libraries) + new > abi.LIBRARIES or len(state.domains) + new > abi.DOMAINS
            or len(state.patches) + to_load > abi.PATCHES):
        raise UlpError(
            f"process {subject.pid} ({subject.name}) has loaded {copies[0].match.library.name} {len(copies)} times, and"
            f" the runtime can patch {abi.LIBRARIES} libraries of a process and load {abi.PATCHES} livepatches; restart"
            " the process with the fixed library")


def _require_dependencies(job, subject, copies):
    """Make sure that what the livepatch depends on is applied to all copies, if to any; raises UlpError."""
    domains = {copy.domain for copy in copies if copy.domain is not None}
    for patch_id in job.livepatch.dependencies:
        if patch_id in job.presumed:
            continue
        having = {patch.domain for patch in subject.state.instances(patch_id) if patch.applied}
        lacking = [copy.path for copy in copies if copy.domain not in having]
        if lacking and having & domains:
            raise UlpError(
                f"{job.livepatch.path} depends on the livepatch {patch_id[:16]}, which in process {subject.pid}"
                f" ({subject.name}) is not applied to {some(lacking)}; apply that again first")


def _told(copies, subject):
    """Which copies have the livepatch and which do not, in words."""
    having = [copy.path for copy in copies if copy.patch_in(subject)]
    lacking = [copy.path for copy in copies if not copy.patch_in(subject)]
    return (f"of the {len(copies)} copies of {copies[0].match.library.name} that it has loaded,"
            f" {_have(having)} the livepatch and {_have(lacking)} not")


def _have(paths):
    return f"{some(paths)} {'has' if len(paths) == 1 else 'have'}"


def _of_copies(copies, rows):
    """The Row of the process by the Row of each Copy; a reason that is not true of all copies names its own."""
    if len({row.reason for row in rows}) > 1:
        rows = [row._replace(reason=f"{row.reason} ({copy.path})") if row.reason else row
                for copy, row in zip(copies, rows)]
    return combined(rows)

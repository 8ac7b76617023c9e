# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply a livepatch to one process."""

from __future__ import annotations

from .. import abi
from ..errors import UlpError
from ..process.runtime import NO_RUNTIME
from ..process.subject import require_available
from . import outcome
from .applicability import examine_concerned, with_additional_builds, with_origin
from .attach import attach, rehearse
from .cut_off import told
from .exchange import exchange
from .neighbours import require_dependencies
from .outcome import Row
from .reapply import reapply, require_repeatable
from .replacing import in_place_of, replaced_patches, require_replaceable
from .request import ResolvedLibrary, program_roots, sites
from .seccomp_check import require_no_strict_thread, seccomp_reservation
from .sessions import with_sessions
from .settle import looking_and_settling
from .stock import code_of, hooked_before, puns, require_code, stock_functions
from .undone import undoing
from .untouched import require_untouched


def apply(job, pid, proc_tid, name):
    """Apply the livepatch to process ``pid``; a generator, as trigger.attempt wants it."""
    subject, resolution, row = examine_concerned(job, pid, proc_tid, name, job.options.attach)
    if row is None:
        row = with_sessions(with_additional_builds((yield from _apply_to(job, subject, resolution)), resolution))
        row = yield from told(job, subject, with_origin(row, subject))
    return row


def _apply_to(job, subject, resolution):
    pid, proc_tid, name = subject.pid, subject.proc_tid, subject.name
    patch = job.patch_in(subject)
    applied = patch is not None and patch.applied
    covered = applied and resolution.is_covered(patch)
    domain = domain_of(subject, resolution)
    undone = None if domain is None else undoing(subject, domain, job.files)
    replaced = replaced_patches(job, subject, domain)
    if covered and undone is None and not replaced:
        return (yield from looking_and_settling(job, subject, outcome.ALREADY_PATCHED))
    if undone is not None and not undone.repairable:
        raise UlpError(f"process {pid} ({name}): {undone.reason}; {undone.remedy}")
    require_dependencies(subject, job.container, job.files, domain, job.presumed)
    require_replaceable(job, subject, replaced)
    require_available(pid, proc_tid)
    require_no_strict_thread(pid)
    libraries = [resolved_library(job, subject, match) for match in resolution.matches]
    for library in libraries:
        yield from require_untouched(subject, library, sites(library, job.container.jumps), job.options.timeout)
    anew = applied and not covered
    if anew:
        yield from require_repeatable(job, subject, libraries)
    by_path = job.source.is_within_reach(subject)
    absent = subject.state is NO_RUNTIME
    if job.options.check:
        reservation = rehearse(job, subject) if absent else seccomp_reservation(pid, proc_tid, job.options.seccomp)
        row = Row(pid, name, outcome.PATCHED, reservation, changed=True, attached=absent, attached_now=absent)
    elif anew:
        return _with_reason((yield from reapply(job, subject, libraries)), in_place_of(replaced))
    else:
        contents = None if by_path else job.source.contents()
        if absent:
            attached = yield from attach(job, subject)
            subject = attached.subject
        row = yield from exchange(job, subject, abi.APPLY, libraries, outcome.PATCHED, contents)
        if absent:
            row = _with_reason(row._replace(held_us=max(row.held_us or 0.0, attached.held_us)), attached.reservation)
    return _with_reason(_with_repair(row, undone), in_place_of(replaced))


def domain_of(subject, resolution):
    """Index of the domain in which libraries that the livepatch is for have been hooked before, or None."""
    bases = {match.library.base for match in resolution.matches}
    return next((hooked.domain for hooked in subject.state.libraries if hooked.base in bases), None)


def _with_reason(row, reason):
    """The Row, if anything was done, with a further reason; "" is none."""
    if not reason or not row.changed:
        return row
    return row._replace(reason="; ".join(filter(None, (row.reason, reason))))


def _with_repair(row, undone):
    """The Row, which also tells of hooks that were put back."""
    return _with_reason(row, undone.repaired if undone is not None else "")


def resolved_library(job, subject, match):
    """The request.ResolvedLibrary of a resolve.Match."""
    image = job.files.image(subject.proc_tid, match.library.mapping)
    if match.target.has_sites:
        return _stock_library(subject, match, image)
    functions = job.files.functions(subject.proc_tid, match.library.mapping)
    bodies = None
    if image.is_program:
        roots = program_roots(match, functions, subject.state, job.container.jumps)
        bodies = job.files.bodies(subject.proc_tid, match.library.mapping, roots)
    return ResolvedLibrary(
        match.target,
        match.library,
        image,
        functions,
        job.files.is_post_processed(subject.proc_tid, match.library.mapping),
        bodies,
    )


def _stock_library(subject, match, image):
    """The same for a target without padding: where its functions can be hooked in this process is decided here."""
    library = match.library
    wanted = stock_functions(match.target)
    require_code(library.path, image, wanted)
    hooked = hooked_before(subject, library)
    names = {function.address: function.name for function in wanted}
    code = code_of(image, hooked.union(names), names)
    resolved = ResolvedLibrary(match.target, library, image, code.functions, False, code.bodies, ())
    offered = puns(
        resolved, subject.proc_tid, subject.pid, [each for each in wanted if each.address not in hooked],
        subject.state.interface.knows_gaps)
    return resolved._replace(puns=tuple(offered))

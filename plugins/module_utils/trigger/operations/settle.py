# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make sure threads seen outside really take the new universe on their next entry.

A thread that is outside takes the newest universe at its next entry, so it is
not pending; but some entries can prove nothing by themselves (through a
pointer, to a function to which the library also jumps).  Such a thread would
keep its number for ever, against what was reported of it.  Once the runtime
is told who was seen outside, their next entries need no proof.
"""

from __future__ import annotations

import time

from ... import abi
from ...errors import UlpError
from ...named_tuple import NamedTuple
from ...process.errors import ProgramReplaced
from ...process.hooks import hooks_of
from ...process.subject import has_ended
from ..borrowing.borrow import Borrower
from ..borrowing.leave import Interrupted, Vetoed
from ..judgement.progress import look, renewed
from ..judgement.verdict import verdict_by_reading
from ..outcome import REVERTED
from ..resolution.request import Request, build_request

# Not worth more: what is missed here is told by the next look as pending.
TIMEOUT_SECONDS = 2.0
# The thread that was borrowed may still be on its way back, where nothing can be said of it.
LOOK_SECONDS = 0.2
# On a busy machine threads that are outside may have to wait for a processor before they come to rest.
RUNNING_SECONDS = 1.0
LOOK_PAUSE = 0.01
# Threads that compute all the time are asked themselves: how many of them, and how often each.
MOST_ASKED = 16
ASKED_TIMES = 3
# How often the runtime is told what was seen, while threads keep their numbers between the look and that.
TOLD_TIMES = 5


class Settling(NamedTuple):
    """What came of it."""

    for_all: bool  # every thread is settled, not all but those inside
    held_us: float | None  # the longest time that a thread was held
    asked: bool = False  # threads were borrowed, and may have caught up
    failure: str = ""  # why the runtime could not be told, or could not do what follows from that; words


def settle_threads(job, subject, row, success):
    """Settle all threads, and look again where that does not do.

    :param row: the Row that says what was seen of them.
    :param success: the outcome when no thread is pending.
    :return: Row.
    :raises ProgramReplaced: the process is another program by now.
    :raises UlpError: it has ended, and threads of it were pending.
    """
    changed = row.changed
    try:
        subject = yield from renewed(subject)
        settled = yield from _settled(job, subject)
        held_us = max(row.held_us or 0, settled.held_us or 0) or None
        # Otherwise the row says so already, and who is still inside has been waited for.
        if settled.for_all == bool(row.threads_pending) or (settled.asked and row.threads_pending):
            row = yield from verdict_by_reading(job, (yield from renewed(subject)), success)
        row = row._replace(held_us=held_us, changed=changed)
        return (yield from _with_failure(job, subject, row, settled.failure)) if settled.failure else row
    except UlpError as error:
        if row.threads_pending > 0 if has_ended(subject.pid) else isinstance(error, ProgramReplaced):
            raise
        # A veto or a signal came, or the process had all when it ended: what was done before stands.
        return row


def _settled(job, subject):
    """The Settling of all threads; a generator."""
    try:
        return (yield from settling(subject, job.patch_in(subject), job.livepatch, job.files, job.options))
    except (ProgramReplaced, Interrupted, Vetoed):
        raise
    except UlpError as error:
        if has_ended(subject.pid):
            raise
        return Settling(False, None, failure=str(error))


def _with_failure(job, subject, row, failure):
    """``row``, which says what follows from it that settling came to nothing, if anything does; a generator."""
    if row.unsettled:
        return row._replace(reason=f"{row.reason}; this time that failed: {failure}")
    subject = yield from renewed(subject)
    if row.outcome == REVERTED and _has_idle_hooks(subject, job.patch_in(subject).domain):
        who = f"process {subject.pid} ({subject.name})"
        left = f"the hooks in {who} stay, which changes nothing but the way to its old functions: {failure}"
        return row._replace(reason="; ".join(filter(None, (row.reason, left))))
    return row


def _has_idle_hooks(subject, domain):
    """Whether there are hooks that are taken back once nothing is replaced any more, and nothing is."""
    state = subject.state
    return (
        not state.domains[domain].suspended
        and not any(patch.applied for patch in state.patches if patch.domain == domain)
        and any(
            hook.relied for library in state.libraries if library.domain == domain and library.stock
            for hook in hooks_of(subject.proc_tid, state, library)
        )
    )


def settling(subject, patch, livepatch, files, options):
    """Do so for the domain of ``patch``: for all threads, or for all but those that are inside.

    A generator, as trigger.drive wants it.

    :param subject: process.subject.Subject with its state as it is now.
    :param patch: process.runtime.LoadedPatch.
    :param livepatch: livepatch.livepatch.Livepatch of that patch.
    :param files: process.mapped.MappedFiles.
    :param options: Options.
    :return: Settling.
    :raises: as trigger.borrowing.borrow.Borrower.run.
    """
    domain = subject.state.domains[patch.domain]
    if domain.floor >= domain.universe:
        return Settling(domain.keeps == domain.floor_keeps, None)
    started = time.monotonic()
    seen = yield from look(subject, patch.domain, files, options.sample)
    while seen.settled.excepted and time.monotonic() - started < (RUNNING_SECONDS if seen.running else LOOK_SECONDS):
        yield LOOK_PAUSE
        subject = yield from renewed(subject)
        seen = yield from look(subject, patch.domain, files, options.sample)
    patient = options._replace(timeout=min(options.timeout, TIMEOUT_SECONDS), announce=None, note_sent=None)
    held_us = None
    # A program with coroutines may be inside the library on another stack than that of the thread.
    if seen.running and seen.settled.universe and not domain.coroutines:
        held_us = yield from _asking(subject, patch, files, livepatch, seen, patient)
        subject = yield from renewed(subject)
        seen = yield from look(subject, patch.domain, files, options.sample)
    for _time in range(TOLD_TIMES):
        if not _is_worth_telling(seen, subject.state.domains[patch.domain]):
            break
        answer = yield from Borrower(subject, files, _saying(subject, patch, livepatch, seen.settled), patient).run()
        held_us = max(held_us or 0.0, answer.held_us or 0.0) or None
        result = answer.result
        if result is None or result.stage != abi.STAGE_DONE:
            return Settling(False, held_us, asked=True, failure=_failure(subject, answer))
        if result.universe >= seen.settled.universe:
            return Settling(not seen.settled.excepted, held_us, asked=True)
        # A thread has kept its number since the look, which makes that void.
        subject = yield from renewed(subject)
        seen = yield from look(subject, patch.domain, files, options.sample)
    return Settling(False, held_us, asked=held_us is not None)


def _failure(subject, answer):
    """Why ``answer`` (borrow.Answer) is not the one that was wanted, in words."""
    if answer.result is None:
        why = answer.refusal or "all its threads sleep in the kernel"
        return f"no thread of process {subject.pid} ({subject.name}) could be borrowed: {why}"
    if answer.result.stage in (abi.STAGE_STARTED, abi.STAGE_WAITS):
        return f"the runtime was still at it after {TIMEOUT_SECONDS:g} seconds"
    return abi.error_sentence(answer.result.error)


def _saying(subject, patch, livepatch, settled):
    """The function of a nonce that gives the bytes of a request which says what is settled."""
    request = Request(
        abi.SETTLE, livepatch, livepatch.path, [], settled, subject.state.interface, instance_id=patch.instance_id)
    return lambda nonce: build_request(request, nonce)


def _asking(subject, patch, files, livepatch, seen, options):
    """Borrow threads that never rest themselves: each looks at its own stack, and catches up if it is outside.

    :return: the longest time that one was held, in microseconds, or None.
    """
    held_us = 0.0
    for tid in seen.running[:MOST_ASKED]:
        borrower = Borrower(
            subject, files, _saying(subject, patch, livepatch, seen.settled), options._replace(retries=ASKED_TIMES - 1),
            only=tid,
        )
        answer = yield from borrower.run()
        held_us = max(held_us, answer.held_us or 0.0)
    return held_us or None


def _is_worth_telling(seen, domain):
    """Whether the runtime does not know of threads that are outside."""
    excepted = seen.settled.excepted
    if not excepted:
        return True
    # A thread that has kept its number since then is not believed until it is seen again.
    known = domain.seen >= seen.settled.universe and domain.keeps == domain.seen_keeps
    known = known and domain.excepted.issubset(excepted)
    return seen.others > 0 and len(excepted) <= abi.EXCEPTED and not known

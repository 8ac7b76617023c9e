# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell the runtime which threads were seen outside.

A thread that is outside takes the newest universe at its next entry, so it is
not pending; but some entries can prove nothing by themselves (through a
pointer, to a function to which the library also jumps).  Such a thread would
keep its number for ever, against what was reported of it.  Once the runtime
knows what was seen here, its next entry needs no proof.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from .. import abi
from .borrow import Borrower
from .progress import look, renewed
from .request import build_request

# Not worth more: what is missed here is told by the next look as pending.
TIMEOUT_SECONDS = 2.0
# The thread that was borrowed may still be on its way back, where nothing can be said of it.
LOOK_SECONDS = 0.2
# On a busy machine threads that are outside may have to wait for a processor before they come to rest.
RUNNING_SECONDS = 1.0
LOOK_PAUSE = 0.01


class Settling(NamedTuple):
    """What came of it."""

    done: bool  # for all threads
    held_us: float | None  # the longest time that a thread was held
    partly: bool = False  # for all but those that are inside, or may be


def settling(subject, patch, container, files, options):
    """Do so for the domain of ``patch``: for all threads, or for all but those that are inside.

    A generator, as trigger.drive wants it.

    :param subject: process.subject.Subject with its state as it is now.
    :param patch: process.runtime.LoadedPatch.
    :param container: livepatch.container.Container of that patch.
    :param files: process.mapped.MappedFiles.
    :param options: Options.
    :return: Settling.
    :raises: as trigger.borrow.Borrower.run.
    """
    domain = subject.state.domains[patch.domain]
    if domain.floor >= domain.universe:
        return Settling(domain.keeps == domain.floor_keeps, None)
    started = time.monotonic()
    seen = look(subject, patch.domain, files, options.sample)
    while seen.settled.excepted and time.monotonic() - started < (RUNNING_SECONDS if seen.running else LOOK_SECONDS):
        yield LOOK_PAUSE
        subject = renewed(subject)
        seen = look(subject, patch.domain, files, options.sample)
    if not _is_worth_telling(seen, subject.state.domains[patch.domain]):
        return Settling(False, None)

    def build(nonce):
        return build_request(abi.SETTLE, nonce, container, container.path, [], seen.settled)

    patience = min(options.timeout, TIMEOUT_SECONDS)
    answer = yield from Borrower(subject, files, build, options._replace(timeout=patience)).run()
    result = answer.result
    told = result is not None and result.stage == abi.STAGE_DONE and result.universe >= seen.settled.universe
    return Settling(told and not seen.settled.excepted, answer.held_us, told and bool(seen.settled.excepted))


def _is_worth_telling(seen, domain):
    """Whether the runtime does not know of threads that are outside."""
    excepted = seen.settled.excepted
    if not excepted:
        return True
    # A thread that has kept its number since then is not believed until it is seen again.
    known = domain.seen >= seen.settled.universe and domain.keeps == domain.seen_keeps
    known = known and domain.excepted.issubset(excepted)
    return seen.others > 0 and len(excepted) <= abi.EXCEPTED and not known

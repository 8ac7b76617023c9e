# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell the runtime that every thread was seen outside.

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
from .progress import settled_universe
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

    done: bool
    held_us: float | None  # the longest time that a thread was held


def settling(subject, patch, container, files, options):
    """Do so for the domain of ``patch``, if no thread is inside.

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
    settled = settled_universe(subject, patch.domain, files, options.sample)
    while not settled.universe:
        if time.monotonic() - started > (RUNNING_SECONDS if settled.running else LOOK_SECONDS):
            return Settling(False, None)
        yield LOOK_PAUSE
        settled = settled_universe(subject, patch.domain, files, options.sample)

    def build(nonce):
        return build_request(abi.SETTLE, nonce, container, container.path, [], settled)

    patience = min(options.timeout, TIMEOUT_SECONDS)
    answer = yield from Borrower(subject, build, options._replace(timeout=patience)).run()
    result = answer.result
    done = result is not None and result.stage == abi.STAGE_DONE and result.universe >= settled.universe
    return Settling(done, answer.held_us)

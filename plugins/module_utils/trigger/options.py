# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How hard to try."""

from __future__ import annotations

from typing import Callable

from ..defaults import ATTACH, EXAMINE, EXAMINE_SECONDS, RETRIES, RUNTIME, TIMEOUT_SECONDS
from ..named_tuple import NamedTuple
from .judgement.progress import SAMPLE_SECONDS


class Options(NamedTuple):
    """Limits of one operation on one process."""

    timeout: float = TIMEOUT_SECONDS  # seconds until the runtime must have answered
    retries: int = RETRIES  # how often to ask again after a thread could not serve
    wait_migrated: float = 0.0  # seconds to wait until no thread is pending
    sample: float = SAMPLE_SECONDS  # seconds to watch a running thread until it can be judged
    seccomp: str = EXAMINE  # EXAMINE or ASSUME_ERRNO
    examine_timeout: float = EXAMINE_SECONDS  # seconds for which one process may keep the others waiting
    # Take back what else is applied to the livepatch's targets, in the moment in which it is applied or reverted.
    replace: bool = False
    attach: bool = ATTACH  # load the runtime into a process that was started without it
    runtime: str = RUNTIME  # path of the runtime's file
    check: bool = False  # say what would be done; touch nothing
    # Asked before every attempt: why no further one may be made, as a sentence, or None.
    veto: Callable[[], str | None] | None = None
    # Asked likewise, of process PID: why it is to be left alone, if it has become another program since the decision to
    # deal with it, as a sentence, or None.
    reconsider: Callable[[int], str | None] | None = None
    # Asked likewise: the name of the signal that asks us to end, or None.
    interrupted: Callable[[], str | None] | None = None
    # Called before a thread is sent off with a request to apply or revert the livepatch.
    announce: Callable[[], None] | None = None
    # Called when one has been sent off, with that or to load the runtime (True), and when it came to nothing (False).
    note_sent: Callable[[bool], None] | None = None

    # Why the runtime must not be loaded into process PID that was started without, as a sentence, or None.
    forbids_attaching: Callable[[int], str | None] | None = None
    # Writes down, before a thread of it is held, that the runtime is to be loaded into process PID; it is told the
    # program's name and the SHA-256 of the runtime, too.
    record_attaching: Callable[[int, str, str], None] | None = None
    # Called before a thread is sent off that is to load the runtime.
    announce_attaching: Callable[[], None] | None = None
    # Called when the runtime has been loaded.
    note_attached: Callable[[], None] | None = None

    @property
    def resolute(self):
        """The same, for what must not be left half done: nothing but a failure keeps it from being finished."""
        return self._replace(veto=None, reconsider=None, interrupted=None)

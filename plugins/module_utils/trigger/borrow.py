# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Getting one request carried out by a process: borrow its threads in turn until one could serve."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from .. import abi
from ..errors import UlpError
from ..process.maps import read_maps
from ..process.memory import write_memory
from ..process.procfs import confirm
from ..process.runtime import Result
from ..tracee.diversion import Diversion
from ..tracee.errors import ThreadRefused
from ..tracee.stepping import step_out
from .answer import await_result
from .request import new_nonce
from .seccomp_check import require_permitted
from .threads import candidates

# After a round in which no thread could serve, seconds.
_PAUSE = 0.001
# The last resort: so many threads are stepped out of the C library, each for so many seconds at the most.
_STEP_ATTEMPTS = 8
_STEP_SECONDS = 0.03
# Of the time limit, the part that is kept for it.
_STEP_SHARE = 0.25
_LIBRARIES_TO_LEAVE = ("libc.so", "libc-", "ld-linux", "libpthread", "libjemalloc", "libtcmalloc", "libmimalloc")


class Answer(NamedTuple):
    """What the runtime said last."""

    result: Result | None  # None: no thread could be borrowed, or the one that was has not run
    held_us: float | None  # the longest time that a thread was held
    attempts: int
    refusal: str  # why the last thread could not be borrowed, or ""


class Borrower:
    """Carries one request to one process."""

    def __init__(self, subject, build, files, options):
        """
        :param subject: process.subject.Subject.
        :param build: function of a nonce that gives the request's bytes.
        :param files: process.mapped.MappedFiles.
        :param options: Options.
        """
        self.subject = subject
        self.build = build
        self.files = files
        self.options = options
        self.held_ns = 0
        self.attempts = 0
        self.refusal = ""
        self.permitted = set()

    def run(self):
        """Ask until the request is carried out or has failed for good, or the limits are reached.

        :return: Answer.
        :raises ProcessGone: the process has ended.
        :raises ProcessUnpatchable: a seccomp filter denies what patching needs.
        """
        started = time.monotonic()
        deadline = started + self.options.timeout
        result = self._ask_in_turn(started + self.options.timeout * (1 - _STEP_SHARE), deadline)
        if result is None or (result.stage == abi.STAGE_REFUSED and result.error == abi.UNSAFE):
            result = self._step_and_ask(deadline) or result
        return Answer(result, self.held_ns / 1000 if self.held_ns else None, self.attempts, self.refusal)

    def _ask_in_turn(self, until, deadline):
        result = None
        round_number = 0
        while True:
            for tid in candidates(self.subject.pid, round_number):
                if self.attempts > self.options.retries or time.monotonic() > until:
                    return result
                answer = self._ask(tid, deadline)
                if answer is not None:
                    result = answer
                    if not self._is_retryable(answer):
                        return answer
            if self.attempts > self.options.retries or time.monotonic() > until:
                return result
            round_number += 1
            time.sleep(_PAUSE)
            confirm(self.subject.identity)

    def _step_and_ask(self, deadline):
        ranges = self._ranges_to_leave()
        result = None
        for tid in candidates(self.subject.pid)[:_STEP_ATTEMPTS]:
            if time.monotonic() > deadline:
                break
            answer = self._ask(tid, deadline, lambda custody: step_out(custody, ranges, _STEP_SECONDS))
            if answer is not None:
                result = answer
                if not self._is_retryable(answer):
                    break
        return result

    def _ranges_to_leave(self):
        return [
            (library.text_start, library.text_end)
            for library in self.files.libraries(self.subject.via, self.subject.mappings)
            if os.path.basename(library.path).startswith(_LIBRARIES_TO_LEAVE)
        ]

    @staticmethod
    def _is_retryable(result):
        return result.stage in (abi.STAGE_REFUSED, abi.STAGE_FAILED) and abi.is_retryable(result.error)

    def _ask(self, tid, deadline, prepare=None):
        """Send thread ``tid`` off with the request; Result, or None when it was not sent."""
        subject, state = self.subject, self.subject.state
        self.attempts += 1
        nonce = new_nonce()
        try:
            if tid not in self.permitted:
                require_permitted(subject.pid, tid)
                self.permitted.add(tid)
            diversion = Diversion(subject.pid, tid, state.entry, nonce, read_maps(subject.via))
            write_memory(subject.via, state.request, self.build(nonce))
            confirm(subject.identity)
            diverted = diversion.run(prepare)
        except ThreadRefused as error:
            self.refusal = str(error)
            return None
        self.held_ns = max(self.held_ns, diverted.held_ns)
        result = await_result(subject.via, state.address, nonce, deadline)
        if result is None:
            # The thread has not run since. Take the request back, so that nothing happens later unseen.
            write_memory(subject.via, state.request, b"\0" * abi.REQUEST.size)
            result = await_result(subject.via, state.address, nonce, time.monotonic() + _PAUSE)
            if result is None:
                raise UlpError(
                    f"thread {tid} of process {subject.pid} did not run within {self.options.timeout:g} seconds;"
                    " the request was taken back and nothing was changed"
                )
        return result

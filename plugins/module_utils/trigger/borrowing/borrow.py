# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Get a process to carry out one request: borrow its threads in turn until one can serve."""

from __future__ import annotations

import errno
import time
from typing import Any

from ... import abi
from ...errors import UlpError
from ...named_tuple import NamedTuple
from ...process.address_space import AddressSpace
from ...process.errors import NotMapped, ProcessGone, ProcessUnpatchable
from ...process.maps import read_maps
from ...process.patience import Patience
from ...process.procfs import confirm, thread_ids
from ...process.runtime import Result
from ...process.subject import goes_on_without
from ...tracee.diversion import Diversion, Errand
from ...tracee.errors import FiltersChanged, StepFailed, ThreadRefused
from ..resolution.request import new_nonce
from .answer import await_result
from .delivery import Delivery
from .leave import require_leave
from .refusals import Refusals
from .seccomp_check import require_permitted
from .threads import candidates

# After a round in which no thread could serve, seconds.
_PAUSE = 0.001
# A process whose threads are all but always inside malloc or printf takes hundreds of attempts. Then, in seconds:
_PATIENT_AFTER = 1000
_PATIENT_PAUSE = 0.005
# While another request is being carried out, each pause is twice as long as the one before, up to so many seconds.
_LONGEST_PAUSE_WHEN_BUSY = 0.25
# When for so long, in seconds (process.patience), no thread was worth to be asked again, none will be.
_STILL = 1.0
_UNDER_WAY = (abi.STAGE_STARTED, abi.STAGE_WAITS)


class Answer(NamedTuple):
    """What the runtime said last."""

    result: Result | None  # None: no thread could be borrowed, or the one that was has not run
    held_us: float | None  # the longest time that a thread was held
    attempts: int
    refusal: str  # why the last thread could not be borrowed, or ""


class Borrower:
    """Carries one request to one process."""

    def __init__(self, subject, files, build, options, *, contents=None, only=None, makes_file=False):
        """
        :param subject: process.subject.Subject.
        :param files: process.mapped.MappedFiles.
        :param build: function of a nonce that gives the request's bytes.
        :param options: Options.
        :param contents: the bytes of the livepatch for a process that is to be given them; else None.
        :param makes_file: whether the runtime is going to make a file in memory.
        :param only: the TID of the one thread that is to serve, and to catch up with it; None: whichever can.
        """
        self.subject = subject
        self.only = only
        self.build = build
        self.options = options
        self.contents = contents
        self.makes_file = makes_file or contents is not None
        self.held_ns = 0
        self.attempts = 0
        self.refusal = ""
        self.space: Any = None  # the AddressSpace, while it is at work
        self.permitted = {}  # seccomp_check.Permitted of the TIDs whose filters were looked at
        self.barred = set()  # TIDs that the kernel does not let us trace
        self.pause_when_busy = _PAUSE
        self.refusals = Refusals(subject.proc_tid, subject.pid, files)
        self.mappings_of_round = None  # what is read once for all threads that are looked at in one round
        self.mappings_are_of = None  # the TID of the thread before whose look they were read

    def run(self):
        """Ask until the request is carried out or has failed for good, or the limits are reached.

        A generator, as trigger.drive wants it.

        :return: Answer.
        :raises ProcessGone: the process has ended.
        :raises ProgramReplaced: it has become another program.
        :raises ProcessUnpatchable: a seccomp filter denies what patching needs, or no thread is on a usual stack.
        :raises Vetoed: before the request was carried out, there came a veto.
        :raises Interrupted: likewise, a signal that asks us to end.
        """
        deadline = time.monotonic() + self.options.timeout
        with AddressSpace(self.subject) as self.space:
            result = yield from self._ask_in_turn(deadline)
        return Answer(result, self.held_ns / 1000 if self.held_ns else None, self.attempts, self.refusal)

    def _ask_in_turn(self, deadline):
        result = None
        round_number = 0
        patience = Patience(self.subject.pid, _STILL)
        while True:
            asked = False
            tids = candidates(self.subject.pid, round_number) if self.only is None else [self.only]
            if tids and self.barred.issuperset(tids):
                return result
            self.mappings_of_round = None
            for tid in tids:
                if tid in self.barred or self._is_foreseen(tid):
                    continue
                if self._is_over(deadline):
                    return result
                require_leave(self.options, self.subject, "a thread of {process} could serve")
                asked = True
                answer = yield from self._ask(tid, deadline)
                if answer is None:
                    # It may have taken long to stop; meanwhile other processes have their turn.
                    yield 0
                else:
                    result = answer
                    if not self._is_retryable(answer):
                        return answer
                    if answer.error == abi.BUSY:
                        # Whoever is asked would say the same.
                        break
            if self._is_over(deadline) or self.refusals.repeat_themselves:
                return result
            if asked:
                patience = Patience(self.subject.pid, _STILL)
            elif tids and patience.is_over():
                self._require_usual_stack(result)
                return result
            round_number += 1
            yield self._pause(result)
            confirm(self.subject.identity)

    def _pause(self, result):
        """Seconds until the next round."""
        if result is not None and result.error == abi.BUSY:
            self.pause_when_busy = min(2 * self.pause_when_busy, _LONGEST_PAUSE_WHEN_BUSY)
            return self.pause_when_busy
        self.pause_when_busy = _PAUSE
        return _PAUSE if self.attempts < _PATIENT_AFTER else _PATIENT_PAUSE

    def _is_foreseen(self, tid):
        try:
            refuses = self.refusals.are_known_from_outside(tid, lambda: self._mappings_of_round(tid))
        except ProcessGone:
            return True
        if refuses and not self.attempts:
            # Nobody has refused yet, so it is the stack.
            self.refusal = f"thread {tid} of process {self.subject.pid} is on a stack whose end cannot be told"
        return refuses

    def _mappings_of_round(self, tid):
        if self.mappings_of_round is None:
            self.mappings_of_round = self._mappings()
            self.mappings_are_of = tid
        return self.mappings_of_round

    def _newest_mappings(self, tid):
        """The mappings for thread ``tid``, which is asked next: nothing has happened since it was looked at."""
        if self.mappings_of_round is not None and self.mappings_are_of == tid:
            return self.mappings_of_round
        return self._mappings()

    def _require_usual_stack(self, result):
        """Raise ProcessUnpatchable if all threads are on stacks that the program has made itself."""
        if result is None and self.refusals.all_for_their_stacks(thread_ids(self.subject.pid)):
            raise ProcessUnpatchable(
                self.subject.pid,
                f"every thread of process {self.subject.pid} ({self.subject.name}) is on a stack of the program's own,"
                " as those of coroutines and of goroutines are, whose end cannot be told",
            )

    def _is_over(self, deadline):
        return self.attempts > self.options.retries or time.monotonic() > deadline

    def _flags(self, permitted):
        return (0 if self.only is None else abi.BLOCK_CATCH_UP) | (abi.BLOCK_MAY_COPY if permitted.copy else 0)

    @staticmethod
    def _is_retryable(result):
        return result.stage in (abi.STAGE_REFUSED, abi.STAGE_FAILED) and abi.is_retryable(result.error)

    def _ask(self, tid, deadline):
        """Send thread ``tid`` off with the request; Result, or None when it was not sent."""
        subject, state = self.subject, self.subject.state
        self.attempts += 1
        nonce = new_nonce()
        try:
            if tid not in self.permitted:
                self.permitted[tid] = require_permitted(
                    subject.pid, tid, self.makes_file, self.options.seccomp
                )
            errand = Errand(state.entry, state.request, nonce, self._flags(self.permitted[tid]))
            diversion = Diversion(
                subject.pid, tid, errand, self._newest_mappings(tid), restarts=self.permitted[tid].restart,
                filters=self.permitted[tid].filters)
            self.space.write(state.request, self.build(nonce))
            confirm(subject.identity)
            if self.options.announce is not None:
                self.options.announce()
            diverted = diversion.run()
        except StepFailed as error:
            self.refusal = str(error)
            if error.error == errno.EPERM:
                self.barred.add(tid)
            self.refusals.note(tid, StepFailed, (error.step, error.error))
            return None
        except ProcessGone:
            # The thread has ended since it was listed, or the whole process: which, the next line says.
            confirm(subject.identity)
            self.refusal = f"thread {tid} of process {subject.pid} has ended"
            return None
        except ThreadRefused as error:
            if isinstance(error, FiltersChanged):
                del self.permitted[tid]
            self.refusal = str(error)
            self.refusals.note(tid, type(error))
            return None
        self.held_ns = max(self.held_ns, diverted.held_ns)
        self._note_sent(True)
        delivery = None if self.contents is None else Delivery(subject.pid, subject.proc_tid, self.contents)
        result = yield from self._await(nonce, deadline, delivery, self.options.interrupted)
        if result is None:
            # The thread has not run since. Take the request back, so that nothing happens later unseen.
            self.space.write(state.request, b"\0" * abi.REQUEST.size)
            result = yield from self._await(nonce, time.monotonic() + _PAUSE, delivery)
            if result is not None and result.stage in _UNDER_WAY:
                # It had just begun.
                result = yield from self._await(nonce, deadline, delivery)
            if result is None:
                require_leave(self.options, subject, "the thread of {process} that was to serve had run")
                raise UlpError(
                    f"thread {tid} of process {subject.pid} did not run within {self.options.timeout:g} seconds;"
                    " the request was taken back and nothing was changed"
                )
        if delivery is not None and not delivery.delivered and result.stage in _UNDER_WAY:
            raise UlpError(
                f"process {subject.pid} ({subject.name}) did not ask for the bytes of the livepatch within"
                f" {self.options.timeout:g} seconds; it will not get them, and nothing was changed"
            )
        if self._is_retryable(result):
            self._note_sent(False)
        if result.stage == abi.STAGE_REFUSED and result.error != abi.BUSY:
            self.refusals.note(tid, result.error, result.detail)
        return result

    def _note_sent(self, sent):
        if self.options.note_sent is not None:
            self.options.note_sent(sent)

    def _mappings(self):
        """The mappings of the process.

        :raises NotMapped: the main thread, through which they were to be read, has ended, but not the process.
        """
        subject = self.subject
        found = read_maps(subject.proc_tid)
        if not found and goes_on_without(subject.proc_tid, subject.pid):
            # Without a map, every stack would look strange, and no thread could serve.
            raise NotMapped(
                subject.pid, f"the main thread of process {subject.pid} ({subject.name}) has ended; run again"
            )
        return found

    def _await(self, nonce, deadline, delivery, interrupted=None):
        """As answer.await_result()."""
        try:
            return (yield from await_result(
                self.subject.proc_tid, self.subject.state.address, nonce, deadline, delivery, interrupted))
        except NotMapped:
            # Then it has an address space in which there is no such memory.
            self.space.require_present()
            raise

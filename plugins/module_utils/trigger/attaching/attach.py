# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load the runtime into a process that was started without it.

Until a thread is sent off nothing is written; from then on the process finishes
by itself, whatever becomes of us.  Who comes next finds the claim (struct
ulp_bootstrap_words in native/include/ulp/abi.h), and whether its worker lives.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import secrets
import time
from typing import Any

from ... import abi
from ...errors import UlpError
from ...named_tuple import NamedTuple
from ...printable import printable
from ...process.errors import ProcessGone, ProcessUnpatchable, ProgramReplaced, RuntimeAbsent
from ...process.maps import read_maps, runtime_mapping
from ...process.memory import read_memory
from ...process.namespaces import can_load, inner_thread_id, sees_itself_in_proc
from ...process.patience import Patience
from ...process.procfs import confirm, explained, read_system_call, thread_ids
from ...process.running import Rows, Running
from ...process.safe_point import (
    IN_ALLOCATOR_OF_PROGRAM,
    NOT_UNWOUND,
    STACK_LIMIT,
    look_at_blocked,
    survey_grounds,
)
from ...process.subject import examine, require_available
from ...process.unwinder import hangs_on_register
from ...tracee.bootstrap import Bootstrap, Candidate, Claim, Surroundings
from ...tracee.errors import FiltersChanged, MovedOn, StepFailed, ThreadRefused
from ...tracee.glance import registers_in_call
from ..borrowing.answer import GRACE
from ..borrowing.delivery import Delivery
from ..borrowing.leave import Interrupted, require_leave
from ..borrowing.seccomp_check import require_no_strict_thread, require_permitted, seccomp_reservation
from ..borrowing.threads import candidates
from ..drive import grown
from .clearance import clear, is_called_at_fork
from .cut_off import left_behind, stays
from .layout import is_room, is_withdrawn, lay_out, read_words

_MOVED_ON = "has moved on since it was looked at"
_BEFORE_LOADING = "the runtime was loaded into {process}"
_TAKEN_BACK = "the request was taken back"
_MAY_LOAD = "its loader is busy, and may still load it, which changes nothing else"
_PAUSE = 0.001
# A thread that runs is stopped so often, altogether, until one is found at a safe point.
_MOST_STOPS = 500
# So often a thread is stopped for its registers at one place: it may have moved on since, and come back.
_MOST_FRUITLESS = 20
# After so many of them deeper stacks are read, too, which takes up to a millisecond.
_QUICK_STOPS = 50
# When no thread was where its stack can be told in so many rounds, and seconds (process.patience), none will be.
_HOPELESS_ROUNDS = 200
_HOPELESS_SECONDS = 2.0
# The answer comes when the loader is done, in milliseconds.
_ANSWER_PAUSE = 0.0005
_HALF = 32
_LOW = (1 << _HALF) - 1
_UNDER_WAY = (abi.BOOTSTRAP_STARTED, abi.BOOTSTRAP_WAITS)
# A worker that has not said its TID for so long, in seconds, has not been started.
_LOST_SECONDS = 5.0


class Attached(NamedTuple):
    """The runtime is in the process."""

    subject: object  # process.subject.Subject, examined anew
    held_us: float  # the longest time that a thread was held, microseconds
    reservation: str  # what else has to be said, a sentence, or ""


def rehearse(job, subject):
    """What would be done, as a sentence with what cannot be foreseen; raises as attach() for what can."""
    runtime, layout, reservation = _examined(job, subject)
    way = "from its file" if layout.by_path else "from bytes that it is given"
    return "; ".join(filter(None, (
        f"would attach: load the runtime {runtime.path} into process {subject.pid} ({subject.name}) {way}, if that has"
        " static thread-local storage left",
        reservation,
    )))


def attach(job, subject):
    """Load the runtime into a process; a generator, as trigger.drive wants it.

    :param job: job.Job.
    :param subject: process.subject.Subject of a process without the runtime.
    :return: Attached.
    :raises ProcessUnpatchable: that cannot be done.
    :raises UlpError: it was not done.
    :raises Vetoed, Interrupted: no attempt may be made any longer.
    """
    runtime, layout, _reservation = _examined(job, subject)
    options = job.options
    if options.record_attaching is not None:
        options.record_attaching(subject.pid, subject.name, runtime.digest)
    attempt = _Attempt(job, subject, runtime, layout)
    with attempt:
        try:
            yield from attempt.run()
        except UlpError as error:
            left = None
            with contextlib.suppress(UlpError):
                left = yield from attempt.take_back()
            if left is not None:
                error.args = (f"{error}; {stays(left)}", *error.args[1:])
            raise
        if options.note_attached is not None:
            options.note_attached()
        found = examine(subject.pid, job.files)
        _require_build(found, job.files, runtime)
        cleared = yield from clear(found, layout.place, attempt.memory)
    return Attached(found, attempt.held_ns / 1000, "" if cleared else (
        f"the code that loaded the runtime stays behind the C library's code at {layout.place.address:#x}, as a thread"
        " may be in it, or the kernel lets nobody write to code any more"
    ))


def _examined(job, subject):
    """(RuntimeFile, Layout, what cannot be foreseen); raises ProcessUnpatchable."""
    pid, proc_tid = subject.pid, subject.proc_tid
    why = job.options.forbids_attaching(pid) if job.options.forbids_attaching is not None else None
    if why is not None:
        raise RuntimeAbsent(
            pid, f"process {pid} ({subject.name}) was started without the livepatch runtime, and {why}"
        )
    require_available(pid, proc_tid)
    require_no_strict_thread(pid)
    try:
        runtime = job.source.runtime(job.options.runtime)
    except UlpError as error:
        raise RuntimeAbsent(
            pid,
            f"process {pid} ({subject.name}) was started without the livepatch runtime, which cannot be loaded into it:"
            f" {error}; install the runtime there, or say where it is (--runtime)",
        ) from error
    by_path = can_load(proc_tid, runtime.path)
    layout = lay_out(subject, read_maps(proc_tid), job.files, runtime, by_path)
    if not layout.by_path and not sees_itself_in_proc(proc_tid):
        raise ProcessUnpatchable(
            pid,
            f"process {pid} ({subject.name}) cannot load the runtime {runtime.path}, which it does not see or may not"
            " read, and has no /proc through which it could be given the bytes; mount proc there",
        )
    return runtime, layout, seccomp_reservation(pid, proc_tid, job.options.seccomp)


def _require_build(subject, files, runtime):
    mapping = runtime_mapping(subject.mappings)
    found = files.survey(subject.proc_tid, mapping) if mapping is not None else None
    if found is None or found.build_id != runtime.build_id:
        raise UlpError(
            f"process {subject.pid} ({subject.name}) has loaded another runtime than {runtime.path}: its build ID is"
            f" {found.build_id if found else None} and not {runtime.build_id}"
        )


class _Attempt:
    """One process that is given the runtime.  A context manager: leaving it closes what was opened."""

    def __init__(self, job, subject, runtime, layout):
        self.job = job
        self.options = job.options
        self.subject = subject
        self.runtime = runtime
        self.layout = layout
        self.held_ns = 0
        self.tries = 0
        self.why = "no thread could be looked at"
        self.reason_found = False  # whether that says what is in the way, and not only that a thread moves on
        self.memory = -1
        self.permitted = {}
        # TIDs of those that had a stack which cannot be unwound when they were last seen blocked.
        self.frameless = set()
        self.fruitless: dict = {}  # {TID: (procfs.SystemCall, why its registers did not help there, how often)}
        self.barred = set()
        # What _look() has found: mappings of code, safe_point.Grounds by them, rows, and {TID: Running}.
        self.code: list = []
        self.grounds: Any = None
        self.rows = Rows()
        self.running: dict = {}
        # Whether a thread of this round was where its stack can be told, and how long there was none.
        self.hopeful = False
        self.patience = Patience(subject.pid, _HOPELESS_SECONDS)
        self.hopeless_rounds = 0
        self._opened = contextlib.ExitStack()

    def __enter__(self):
        subject = self.subject
        try:
            self.memory = os.open(f"/proc/{subject.proc_tid}/mem", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise explained(subject.pid, error) from error
        self._opened.callback(os.close, self.memory)
        try:
            # It may have executed another program since it was examined: then this is other memory.  Or another tool
            # has loaded the runtime since.
            if runtime_mapping(read_maps(subject.proc_tid)) is not None or not self._is_same_memory():
                raise ProgramReplaced(
                    subject.pid, f"process {subject.pid} ({subject.name}) has changed since it was examined; run again"
                )
        except BaseException:
            self._opened.close()
            raise
        return self

    def __exit__(self, kind, error, trace):
        self._opened.close()

    def _is_same_memory(self):
        code = [(mapping.start, mapping.device, mapping.inode) for mapping in self.subject.mappings]
        now = [(mapping.start, mapping.device, mapping.inode) for mapping in read_maps(self.subject.proc_tid)]
        confirm(self.subject.identity)
        return set(code) <= set(now)

    def _locked(self):
        """One tool at a time, as far as they see the same /proc; the claim is what decides.  A generator.

        Whoever can open a file can lock it (flock(2)), so it is one that only those can open who may trace the process.
        """
        pid, name = self.subject.pid, self.subject.name
        deadline = time.monotonic() + self.options.timeout
        while True:
            try:
                fcntl.flock(self.memory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                pass
            except OSError:
                # A kernel that does not lock such files.
                return
            require_leave(self.options, self.subject, _BEFORE_LOADING)
            if time.monotonic() > deadline:
                raise UlpError(f"another tool is loading the runtime into process {pid} ({name}); run again")
            yield _PAUSE
            confirm(self.subject.identity)

    # ---------------------------------------------------------------- claims

    def _words(self):
        words = read_words(self.subject.proc_tid, self.layout.words)
        if words.claim and words.begun != words.claim & _LOW and not is_withdrawn(words):
            # The claim has just been made: the rest is an earlier attempt's.
            words = words._replace(stage=abi.BOOTSTRAP_STARTED, thread=0, worker=0)
        return words

    def _is_ours(self, claim):
        """Whether a claim was made in this process, and not in the one that it was forked from."""
        return claim >> _HALF == self.subject.identity.start_ticks & _LOW

    def _standing(self, words):
        """Whether whoever made the claim is still at work."""
        if not words.claim or is_withdrawn(words) or not self._is_ours(words.claim) or words.stage not in _UNDER_WAY:
            return False
        tids = self._inner_thread_ids()
        return words.worker in tids if words.worker else not words.thread or words.thread in tids

    def _inner_thread_ids(self):
        """The TIDs of the threads in the PID namespace of the process; of one that ends meanwhile, or not."""
        found = set()
        for tid in thread_ids(self.subject.pid):
            with contextlib.suppress(ProcessGone):
                found.add(inner_thread_id(self.subject.pid, tid))
        return found

    def _settled(self, deadline):
        """Wait while another attempt is under way; a generator that returns the words."""
        waited_since = time.monotonic()
        while True:
            words = self._words()
            if not self._standing(words):
                return words
            now = time.monotonic()
            if not words.worker and now - waited_since > _LOST_SECONDS:
                return words
            require_leave(self.options, self.subject, _BEFORE_LOADING)
            if now > deadline:
                raise UlpError(
                    f"process {self.subject.pid} ({self.subject.name}) is being given the runtime by another tool, and"
                    " that does not come to an end; run again"
                )
            yield _PAUSE

    # --------------------------------------------------------------- attempts

    def run(self):
        """Send a thread off, and wait for the worker; a generator."""
        yield from self._locked()
        deadline = time.monotonic() + self.options.timeout
        round_number = 0
        yield from self._settled(deadline)
        yield from self._make_room()
        while True:
            words = yield from self._settled(deadline)
            if self._is_ours(words.claim) and words.stage == abi.BOOTSTRAP_LOADED:
                # Another tool was faster.
                return
            tids = [tid for tid in candidates(self.subject.pid, round_number) if tid not in self.barred]
            mappings = self._look()
            for tid in tids:
                require_leave(self.options, self.subject, _BEFORE_LOADING)
                if self._is_exhausted(deadline):
                    break
                nonce = self._new_claim()
                if self._send_off(tid, nonce, words.claim, mappings):
                    if (yield from self._await(tid, nonce, deadline)):
                        return
                    break
                if tid in self.running:
                    # It may have taken long to stop; meanwhile other processes have their turn.
                    yield 0
                    mappings = self._look()
            self._require_hope()
            if self._is_exhausted(deadline) or not (tids or round_number < 100):
                raise UlpError(
                    f"no thread of process {self.subject.pid} ({self.subject.name}) could be borrowed to load the"
                    f" runtime: {self.why}; nothing was changed; run again, at best while one of its threads waits, or"
                    " preload the runtime when it is started next"
                )
            round_number += 1
            # Threads that do the same again and again are to be met at all points of it.
            yield _PAUSE * random.uniform(0.5, 1.5) * (1 + round_number // 100)
            confirm(self.subject.identity)

    def _require_hope(self):
        """Raise ProcessUnpatchable if no thread has been where its stack can be told for long."""
        if self.hopeful:
            self.hopeful, self.hopeless_rounds = False, 0
            self.patience = Patience(self.subject.pid, _HOPELESS_SECONDS)
            return
        self.hopeless_rounds += 1
        if self.patience.is_over() and self.hopeless_rounds > _HOPELESS_ROUNDS:
            raise ProcessUnpatchable(
                self.subject.pid,
                f"process {self.subject.pid} ({self.subject.name}) cannot be given the runtime while it runs:"
                f" {self.why}, and it is the same with all of its threads; nothing was changed; restart it with"
                f" LD_PRELOAD set to {self.runtime.path}",
            )

    def _make_room(self):
        """Take away what an attempt with another build of the runtime, or another path, has left; a generator."""
        subject, place = self.subject, self.layout.place
        left = left_behind(subject, self.job.files)
        if left is None or left.address != place.address or is_room(left.code, place.code):
            return
        if is_called_at_fork(subject, left):
            raise UlpError(
                f"process {subject.pid} ({subject.name}) was forked while another runtime was being loaded, by code at"
                f" {left.address:#x} to which its own forks may still lead; take that runtime, or restart the process"
            )
        if not (yield from clear(subject, left, self.memory)):
            raise UlpError(
                f"an attach to process {subject.pid} ({subject.name}) was cut off, and a thread may still be in the"
                f" code that it has left at {left.address:#x}; run again"
            )

    def take_back(self):
        """Take away the code of an attempt that came to nothing, unless it is being run.

        A generator that returns the tracee.bootstrap.Place of what stays, or None.
        """
        place = self.layout.place
        left = left_behind(self.subject, self.job.files)
        if left is None or left.address != place.address:
            return None
        at_work = self._standing(self._words())
        return left if at_work or not (yield from clear(self.subject, place, self.memory)) else None

    def _is_exhausted(self, deadline):
        return self.tries > min(self.options.retries, _MOST_STOPS) or time.monotonic() > deadline

    def _look(self):
        """The mappings of the process, by which ``grounds`` and what is known of its threads are brought up to date."""
        mappings = read_maps(self.subject.proc_tid)
        code = [mapping for mapping in mappings if mapping.executable]
        if code != self.code:
            self.code, self.grounds = code, survey_grounds(self.subject, self.job.files)
            self.rows, self.running = Rows(), {}
        return mappings

    def _new_claim(self):
        nonce = secrets.randbelow(abi.BOOTSTRAP_WITHDRAWN - 1) + 1
        return (self.subject.identity.start_ticks & _LOW) << _HALF | nonce

    def _send_off(self, tid, nonce, expected, mappings):
        """Whether thread ``tid`` was sent off; ``mappings`` are those of this round, by which threads are ruled out."""
        subject, grounds = self.subject, self.grounds
        proof = None
        try:
            where = read_system_call(subject.pid, tid)
            if tid not in self.permitted:
                self.permitted[tid] = require_permitted(
                    subject.pid, tid, not self.layout.by_path, self.options.seccomp
                )
            if where is None and grounds.program_allocates:
                # Wherever it would be stopped: one that waits may tell more.
                self._note(f"thread {tid} {IN_ALLOCATOR_OF_PROGRAM}")
                return False
            if where is None:
                if tid not in self.running:
                    self.running[tid] = Running(self.rows, grounds)
                proof = self.running[tid]
                if proof.is_in_vain:
                    self._note(f"thread {tid} runs in code without unwind information")
                    return False
                self.hopeful = self.hopeful or tid not in self.frameless
                if self.tries > _QUICK_STOPS:
                    proof.limit = STACK_LIMIT
            else:
                proof, why = self._proof_of_blocked(tid, where, mappings)
                if why == NOT_UNWOUND:
                    self.frameless.add(tid)
                else:
                    self.frameless.discard(tid)
                    self.hopeful = True
                if proof is None:
                    self._note(f"thread {tid} {why}", passing=why == _MOVED_ON)
                    return False
            self.tries += 1
            candidate = Candidate(
                subject.pid, tid, inner_thread_id(subject.pid, tid), proof, self.permitted[tid].restart,
                self.permitted[tid].filters)
            bootstrap = Bootstrap(
                candidate, self.layout.place, Claim(nonce, expected),
                Surroundings(self.memory, grounds.code, read_maps(subject.proc_tid)),
            )
            confirm(subject.identity)
            if self.options.announce_attaching is not None:
                self.options.announce_attaching()
            try:
                diverted = bootstrap.run()
            finally:
                self.held_ns = max(self.held_ns, bootstrap.custody.held_ns)
        except StepFailed as error:
            self._note(str(error))
            if error.error == errno.EPERM:
                self.barred.add(tid)
            return False
        except ThreadRefused as error:
            self._note(str(error), passing=isinstance(error, MovedOn))
            if isinstance(error, FiltersChanged):
                del self.permitted[tid]
            if isinstance(proof, Running):
                proof.study(subject.proc_tid, mappings, self.job.files)
            return False
        except ProcessGone:
            confirm(subject.identity)
            self._note(f"thread {tid} has ended", passing=True)
            return False
        if diverted is not None and self.job.options.note_sent is not None:
            self.job.options.note_sent(True)
        return diverted is not None

    def _note(self, why, passing=False):
        """``why`` a thread was not sent off; ``passing``: that says nothing of the next time."""
        if not passing or not self.reason_found:
            self.why = why
        self.reason_found = self.reason_found or not passing

    def _proof_of_blocked(self, tid, where, mappings):
        """As safe_point.look_at_blocked(); for frames that hang on its registers the thread is stopped for a moment."""
        subject, grounds, files = self.subject, self.grounds, self.job.files
        proof, why = look_at_blocked(subject.proc_tid, where, grounds, mappings, files)
        if why != NOT_UNWOUND or not hangs_on_register(subject.proc_tid, where, files, mappings):
            return proof, why
        before, last, count = self.fruitless.get(tid, (None, "", 0))
        if before == where and count >= _MOST_FRUITLESS:
            return None, last
        self.tries += 1
        permitted = self.permitted[tid]
        registers, held_ns = registers_in_call(subject.pid, tid, permitted.restart, permitted.filters)
        self.held_ns = max(self.held_ns, held_ns)
        # A sleep goes on by another call.
        again = read_system_call(subject.pid, tid)
        if registers is None or again is None or again[1:] != where[1:]:
            return None, _MOVED_ON
        proof, why = look_at_blocked(subject.proc_tid, where, grounds, mappings, files, registers)
        if proof is None:
            self.fruitless[tid] = again, why, count + 1 if before == again else 1
            return None, why
        return proof._replace(number=again.number), why

    def _await(self, tid, nonce, deadline):
        """Whether the runtime was loaded on this attempt; False: another tool's claim was first.  A generator."""
        subject = self.subject
        delivery = Delivery(subject.pid, subject.proc_tid, self.runtime.contents, "livepatch runtime")
        started = time.monotonic()
        while True:
            words = self._words()
            if words.claim == nonce and words.stage not in _UNDER_WAY:
                return self._judged(words)
            if words.claim == nonce and words.stage == abi.BOOTSTRAP_WAITS and not delivery.delivered:
                delivery.deliver(words.descriptor)
            if words.claim != nonce and self._standing(words):
                return False
            if words.claim == nonce and words.worker and not self._standing(words):
                # It may have ended since.
                words = self._words()
                if words.stage in _UNDER_WAY:
                    raise UlpError(
                        f"the thread that was to load the runtime into process {subject.pid} ({subject.name}) has been"
                        " killed; nothing was changed"
                    )
                continue
            if words.claim != nonce and time.monotonic() - started > GRACE:
                self._unless_interrupted(tid, nonce)
            if time.monotonic() > deadline:
                begun = self._withdraw(nonce)
                raise UlpError(
                    f"process {subject.pid} ({subject.name}) did not load the runtime within"
                    f" {self.options.timeout:g} seconds; {_MAY_LOAD if begun else _TAKEN_BACK}"
                )
            yield grown(_ANSWER_PAUSE, time.monotonic() - started)
            confirm(subject.identity)

    def _unless_interrupted(self, tid, nonce):
        """Raise Interrupted if a signal asks us to end: thread ``tid`` has not run, and nothing is done for us yet."""
        signal = self.options.interrupted() if self.options.interrupted is not None else None
        if signal is not None:
            begun = self._withdraw(nonce)
            raise Interrupted(
                f"{signal} came before thread {tid} of process {self.subject.pid} ({self.subject.name}), which was to"
                f" load the runtime, had run; {_MAY_LOAD if begun else _TAKEN_BACK}"
            )

    def _withdraw(self, nonce):
        """Neither a thread that has not run yet nor a worker that has not begun goes on; whether one had begun."""
        with contextlib.suppress(OSError):
            # Another value than the thread expects, whatever was withdrawn before.
            os.pwrite(self.memory, (nonce | abi.BOOTSTRAP_WITHDRAWN).to_bytes(8, "little"), self.layout.words)
        return read_words(self.subject.proc_tid, self.layout.words).begun == nonce & _LOW

    def _judged(self, words):
        pid, name = self.subject.pid, self.subject.name
        if words.stage == abi.BOOTSTRAP_LOADED:
            return True
        if words.stage == abi.BOOTSTRAP_NO_THREAD:
            raise UlpError(
                f"process {pid} ({name}) cannot start a thread to load the runtime: {os.strerror(words.error)}"
            )
        if words.stage == abi.BOOTSTRAP_NO_RSEQ:
            raise ProcessUnpatchable(
                pid,
                f"process {pid} ({name}) runs under a seccomp filter that denies the system call rseq, which it made"
                " before the filter was there: the C library would end the process when it starts a thread to load the"
                " runtime; nothing was changed in it",
            )
        if words.stage == abi.BOOTSTRAP_NO_FILE:
            why = os.strerror(words.error) if words.error else "they did not come in time"
            raise UlpError(f"process {pid} ({name}) could not be given the bytes of the runtime: {why}")
        detail = read_memory(
            self.subject.proc_tid, self.layout.words + abi.BOOTSTRAP_WORDS.offsets["detail"], self.layout.detail_size
        ).split(b"\0")[0].decode("utf-8", "replace")
        raise ProcessUnpatchable(
            pid,
            f"process {pid} ({name}) cannot load the runtime: {printable(detail)}; nothing was changed in it",
        )

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Worker processes that look at other processes, and their watcher: a process that never answers does not hold us up.

There is one worker as a rule, which does everything.  One that sits in the
same step for long is left to it, and another one takes what has not been begun
yet; when its time is over it is killed.  What else it had begun is begun
anew.  Where all workers sit in long steps, what they are at is put off until
everybody else has been served: no number of processes that never answer keeps
those for long that do.

A process may have been sent a request by then, which it carries out
whether or not somebody waits for it: such tasks are marked, so that what is
found is told as what it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import termios
import time
from collections import Counter

from ..errors import UlpError
from ..faults import tell
from ..named_tuple import NamedTuple
from ..process.own_waiting import is_runnable
from ..termination import SIGNALS
from ..trigger.drive import WIDTH
from .charge import Estimate
from .task import (
    BEGUN,
    OVERDUE,
    OVERSIZED,
    RAISED,
    RECORD_SIZE,
    TOLD,
    TOUCHES,
    Task,
    messages,
    restored,
)
from .worker import MOST_MEMORY, Notice, Slot, Ties, become_worker, limit_memory, private_memory

# How many workers there are at most, if all but one sit in a step that does not end.
_MOST = 8
# A step of so many seconds is long: another worker takes over what has not been begun.
LONG_STEP = 0.5
# All processes that were put off get, together, this many times as long as one process gets.
_SECOND_LOOKS = 6
# After so many processes that took too long, others are taken to do so, and there are as many workers as may be.
_CROWD = 3
# After a signal, so many seconds are given to what has sent no process anything yet.
_GRACE = 0.3
# The longest time between two looks at whether a signal has come.
_TICK = 0.1
# How long a killed worker is waited for, in seconds: one that sits in a read cannot always be killed at once.
_REAPING = 0.2
_LONGEST_REAPING = 2.0
# How many workers in a row may end by themselves without a process to blame.
_LOSSES = 5
# How many workers may have too little memory for a process before it is the one to blame: of those that had all memory,
# and of those that shared it with others.
_TRIES = 3
_TRIES_WITH_OTHERS = 24
# Bytes that a worker gets at least, whatever those have that were killed and cannot end.
_LEAST_MEMORY = MOST_MEMORY // _MOST
_PIECE = 1 << 16
# Records that fit into a pipe in one write, pipe(7).
_RECORDS = select.PIPE_BUF // RECORD_SIZE


class Answer(NamedTuple):
    """How a task ended."""

    task: Task
    value: object = None  # what the operation returned, if it did
    # Why it did not: one of the following, or None.
    problem: str | None = None
    signal: int = 0  # with LOST: the signal that ended the worker


LATE = "late"  # it has taken too long
CROWDED_OUT = "crowded out"  # it has taken long, and so have too many others
TOO_LARGE = "too large"  # it has taken too much memory, in several workers
LOST = "lost"  # the worker that did it has ended
CUT_SHORT = "cut short"  # a signal asked us to end at once; only of tasks that had sent a process something


class _Member:
    """One worker, seen from outside."""

    def __init__(self, pid, pipe, slot):
        self.pid = pid
        self.pipe = pipe
        self._slot = slot
        self._estimate = Estimate(pid)
        self.begun = set()  # numbers of tasks
        self._received = b""

    def step(self):
        """(number of the task, seconds that its steps are charged) of the step that is under way, or None."""
        step = self._slot.step()
        return None if step is None else (step.number, step.spent + self._estimate.seconds(step.number, step.began))

    def messages(self):
        """What it has said since; None: it has ended."""
        try:
            data = os.read(self.pipe, _PIECE)
        except BlockingIOError:
            return []
        if not data:
            return None
        found, self._received = messages(self._received + data)
        return found


class Pool:
    """A context manager: leaving it ends the workers."""

    def __init__(self, prepare, seconds, interruption=None, width=WIDTH):
        """
        :param prepare: called in each worker with the worker.Worker; gives a function of a Task that gives a generator,
            as trigger.drive wants it, which returns the task's result.
        :param seconds: how long one process may keep others waiting.
        :param interruption: interruption.Interruption, if what is begun is to be finished when a signal comes.
        :param width: how many tasks a worker may have begun at a time.
        """
        self._prepare = prepare
        self._seconds = seconds
        self._interruption = interruption
        self._width = width
        self._notice = Notice()
        self._members = []
        self._ended = []  # PIDs of killed workers
        self._open = {}  # {number: Task} of those that have no answer yet
        self._backlog = []  # numbers of those that the queue had no room for
        self._put_off = []  # numbers of those that wait until everybody else has been served
        self._second_looks = set()  # numbers of all that were ever put off
        self._second_looks_end = None  # when there is no time left for those
        self._count = 0
        self._interrupted_at = None
        self._lost_at = None  # when a worker ended that may have taken a task out of the queue, and not told us
        self._losses = 0
        # How many workers had too little memory, by number of the task: of those that had all, and of the others.
        self._oversized: Counter = Counter()
        self._cramped: Counter = Counter()
        self._late = 0  # how many processes have taken too long
        self._failure = None  # what is wrong with the tool's own side
        self._reader = self._writer = -1

    def __enter__(self):
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        return self

    def __exit__(self, kind, error, trace):
        for member in list(self._members):
            os.kill(member.pid, signal.SIGKILL)
            self._dismiss(member)
        os.close(self._reader)
        os.close(self._writer)
        started = time.monotonic()
        while self._reap():
            elapsed = time.monotonic() - started
            # Those that only wait for a processor, on a busy host, end as soon as they get one.
            if elapsed > _REAPING and not (elapsed < _LONGEST_REAPING and any(map(is_runnable, self._ended))):
                break
            time.sleep(0.001)

    @property
    def pids(self):
        """The PIDs of all workers, those that could not be killed yet included."""
        return {member.pid for member in self._members}.union(self._ended)

    def run(self, tasks, to_the_end=False):
        """Have ``tasks`` done.

        A generator of Answer, in the order in which they end.  After a signal (``interruption``), tasks that have not
        begun have none.

        :param to_the_end: do not let the first signal keep anything from being done.
        :raises: what an operation raised: it ends the run.
        """
        self._interrupted_at = self._second_looks_end = None
        for task in tasks:
            self._add(task)
        while self._open and self._failure is None and not self._is_over(to_the_end):
            yield from self._crowd_out()
            self._feed()
            yield from self._make_room()
            self._employ()
            yield from self._listen()
            yield from self._judge()
        if self._open:
            yield from self._cut_short()
        self._notice.put_up(0)
        if self._failure is not None:
            raise self._failure

    # ------------------------------------------------------------ tasks

    def _add(self, task):
        self._count += 1
        self._open[self._count] = task
        self._backlog.append(self._count)

    def _feed(self):
        """Put into the queue what it has room for."""
        if self._put_off and len(self._put_off) == len(self._open):
            self._second_looks_end = time.monotonic() + _SECOND_LOOKS * self._seconds
            if self._cramped:
                # They have nothing to do, and keep what they have read.
                for member in list(self._members):
                    self._end(member)
            self._backlog += self._put_off
            del self._put_off[:]
        while self._backlog and self._interrupted_at is None:
            some = self._backlog[:_RECORDS]
            try:
                os.write(self._writer, b"".join(self._open[number].packed(number) for number in some))
            except BlockingIOError:
                return
            del self._backlog[:len(some)]

    def _is_over(self, to_the_end):
        """Whether a signal has come and nothing is left that has to be finished, or may be."""
        if self._interruption is None or not self._interruption.number:
            return False
        if self._interruption.urgent:
            return True
        if to_the_end:
            return False
        if self._interrupted_at is None:
            self._interrupted_at = time.monotonic()
            self._notice.put_up(self._interruption.number)
        waited = time.monotonic() - self._interrupted_at
        if waited < _TICK:
            # Somebody may just be beginning one.
            return False
        begun = [self._open[number] for member in self._members for number in member.begun]
        return not any(task.touched for task in begun) if waited > _GRACE else not begun

    def _cut_short(self):
        """End what a signal has overtaken; Answers for what had sent a process something."""
        answers = []
        for member in list(self._members):
            answers += self._end(member)
        for number, task in list(self._open.items()):
            if task.touched:
                answers.append(self._answer(number, CUT_SHORT))
        self._open.clear()
        del self._backlog[:], self._put_off[:]
        self._empty_queue()
        return answers

    def _empty_queue(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.read(self._reader, _PIECE)

    def _crowd_out(self):
        """Give up those that were put off, when there is no time left for them; Answers."""
        if self._second_looks_end is None or time.monotonic() < self._second_looks_end:
            return []
        # Nobody else's are in it by then.
        self._empty_queue()
        left = self._second_looks.intersection(self._open) - self._begun()
        return [self._answer(number, CROWDED_OUT) for number in sorted(left)]

    # ------------------------------------------------------------ workers

    def _begun(self):
        """The numbers of the tasks that somebody has begun."""
        return {number for member in self._members for number in member.begun}

    def _waiting(self):
        """The numbers of the tasks that somebody should begin."""
        return set() if self._interrupted_at is not None else self._open.keys() - self._begun().union(self._put_off)

    def _employ(self):
        """See to it that somebody does what has not been begun."""
        for _each in range(self._wanted()):
            # A handler must run neither in the child, where it would lead into our callers, nor before that is known.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            try:
                self._hire()
            except OSError as error:
                # As long as there is one, it may well do the rest.
                if self._members:
                    return
                raise UlpError(
                    f"no worker process can be started: {error.strerror}; allow this user, or this control group, more"
                    " processes and open files (ulimit -u, ulimit -n, pids.max), and run again"
                ) from error
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _wanted(self):
        """How many workers are wanted, in addition to those that there are."""
        many = self._late >= _CROWD or self._second_looks
        # As a rule there is one, which is not stuck: then it does not matter how much is waiting.
        if not many and not all(map(self._is_stuck, self._members)):
            return 0
        room = min(_MOST - len(self._members), len(self._waiting()))
        # If none of them will do, twice as many may.
        return room if many else min(room, max(len(self._members), 1))

    def _hire(self):
        """Start a worker."""
        slot = Slot()
        reader, writer = os.pipe()
        parent = os.getpid()
        most = self._most_memory(len(self._members) + 1)
        try:
            pid = os.fork()
        except OSError:
            os.close(reader)
            os.close(writer)
            raise
        if pid == 0:
            ties = Ties(self._reader, writer, slot, self._notice, self._seconds)
            become_worker(parent, ties, self._prepare, width=self._width, most=most)
        self._members.append(_Member(pid, reader, slot))
        os.close(writer)
        os.set_blocking(reader, False)
        self._share_memory()

    def _share_memory(self):
        """Divide what memory is left among all workers, in addition to what each has taken."""
        for member in self._members:
            limit_memory(member.pid, self._most_memory(len(self._members), member.pid))

    def _most_memory(self, count, pid=None):
        """Bytes of data and stack that worker ``pid`` of ``count``, or a new one, may have with what it has from us."""
        own = private_memory("self")
        # What was killed and sits in a read has its memory still.
        taken = {each: max(private_memory(each) - own, 0) for each in self.pids}
        left = max(MOST_MEMORY - sum(taken.values()), 0)
        return own + max(taken.get(pid, 0) + left // count, _LEAST_MEMORY)

    def _make_room(self):
        """Put off what the workers are at, where all sit in long steps and others wait; Answers."""
        if len(self._members) < _MOST or not all(map(self._is_stuck, self._members)) or not self._waiting():
            return []
        answers = []
        for member in list(self._members):
            step = member.step()
            # Each once, so that this has an end.
            if step is None or step[0] not in member.begun or step[0] in self._second_looks:
                continue
            if any(self._open[number].touched for number in member.begun):
                continue
            answers += self._end(member)
            if step[0] in self._open:
                self._backlog.remove(step[0])
                self._put_off.append(step[0])
                self._second_looks.add(step[0])
        return answers

    @staticmethod
    def _is_stuck(member):
        step = member.step()
        return step is not None and step[1] > LONG_STEP

    def _listen(self):
        """Wait for what the workers say; Answers."""
        poll = select.poll()
        for member in self._members:
            poll.register(member.pipe, select.POLLIN)
        if self._backlog and self._interrupted_at is None:
            poll.register(self._writer, select.POLLOUT)
        ready = {descriptor for descriptor, _event in poll.poll(1000 * _TICK)}
        answers = []
        for member in list(self._members):
            if member.pipe in ready:
                said = member.messages()
                if said is None:
                    answers += self._bury(member)
                else:
                    answers += self._understand(member, said)
        return answers

    def _understand(self, member, said):
        answers = []
        for kind, number, value in said:
            if kind == TOLD:
                tell(value)
            elif kind == RAISED:
                self._failure = self._failure or restored(value)
            elif number not in self._open:
                continue
            elif kind == BEGUN:
                member.begun.add(number)
            elif kind == TOUCHES:
                self._open[number] = self._open[number]._replace(touched=True)
            elif kind == OVERSIZED:
                # The worker ends. It may be others that have filled it.
                self._losses = 0
                answers += self._have_too_little_memory(member, number)
            else:
                member.begun.discard(number)
                self._losses = 0
                answers.append(self._answer(number, LATE if kind == OVERDUE else None, value))
        return answers

    def _have_too_little_memory(self, member, number):
        """Worker ``member`` has too little memory for a task, and ends; an Answer, if no other one will have more."""
        if len(self._members) > 1:
            self._cramped[number] += 1
        else:
            self._oversized[number] += 1
        if self._oversized[number] == _TRIES or self._cramped[number] == _TRIES_WITH_OTHERS:
            member.begun.discard(number)
            return [self._answer(number, TOO_LARGE)]
        if len(self._members) > 1:
            # Until the others have ended, or have nothing to do.
            member.begun.discard(number)
            self._put_off.append(number)
        return []

    def _answer(self, number, problem, value=None, number_of_signal=0):
        for waiting in (self._backlog, self._put_off):
            with contextlib.suppress(ValueError):
                waiting.remove(number)
        self._late += problem == LATE
        return Answer(self._open.pop(number), value, problem, number_of_signal)

    def _judge(self):
        """Kill the workers whose time is over; Answers."""
        answers = []
        for member in list(self._members):
            step = member.step()
            if step is None or step[1] <= self._patience(step[0]):
                continue
            answers += self._end(member)
            if step[0] in self._open:
                late = self._answer(step[0], LATE)
                # What a signal has overtaken was not late, and is as it was.
                if step[1] > self._seconds or late.task.touched:
                    answers.append(late)
        self._recover()
        self._reap()
        return answers

    def _recover(self):
        """Find the task that a worker had taken out of the queue when it ended, before it could tell us."""
        if self._lost_at is None or self._backlog or any(member.begun for member in self._members):
            return
        if time.monotonic() - self._lost_at > LONG_STEP and not self._queued():
            self._lost_at = None
            self._backlog = sorted(self._open.keys() - self._put_off)

    def _queued(self):
        """How many bytes of tasks are in the queue."""
        return int.from_bytes(fcntl.ioctl(self._reader, termios.FIONREAD, bytes(4)), "little")

    def _reap(self):
        """Take leave of killed workers; those that have not ended yet."""
        self._ended = [pid for pid in self._ended if os.waitpid(pid, os.WNOHANG)[0] == 0]
        return self._ended

    def _patience(self, number):
        """How long, in seconds, the steps of this task may take."""
        task = self._open.get(number)
        if self._interrupted_at is not None and (task is None or not task.touched):
            return min(self._seconds, _GRACE)
        return self._seconds

    def _end(self, member):
        """Kill a worker; Answers to what it had said before.  What it had begun is to be begun anew."""
        os.kill(member.pid, signal.SIGKILL)
        answers = []
        poll = select.poll()
        poll.register(member.pipe, select.POLLIN)
        # Until the kernel has closed its end it may still do something, unless it sits in a read for good.
        while poll.poll(1000 * _REAPING):
            said = member.messages()
            if said is None:
                break
            answers += self._understand(member, said)
        self._dismiss(member)
        return answers

    def _dismiss(self, member):
        self._members.remove(member)
        self._ended.append(member.pid)
        self._lost_at = time.monotonic()
        os.close(member.pipe)
        self._backlog[:0] = sorted(member.begun)
        self._share_memory()

    def _bury(self, member):
        """Deal with a worker that has ended without being told to; Answers."""
        step = member.step()
        _pid, status = os.waitpid(member.pid, 0)
        self._dismiss(member)
        self._ended.remove(member.pid)
        if step is None or step[0] not in self._open:
            self._losses += 1
            if self._losses > _LOSSES:
                self._failure = UlpError(
                    f"{self._losses} worker processes have ended by themselves, the last one with status {status}; see"
                    " what ends processes on this machine, and run again"
                )
            return []
        return [self._answer(step[0], LOST, None, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)]

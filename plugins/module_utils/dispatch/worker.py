# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process of ours that looks at other processes, and may be killed at any time.

A file or memory of somebody else may never answer a read, and then nothing but
the end of the reader ends the read.  So everything that belongs to others is
read here; dispatch.pool watches, kills and replaces.  What this process says
before it does something is what is known when it is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import mmap
import os
import resource
import select
import signal
import struct
import syslog
import time

from ..faults import listeners
from ..named_tuple import NamedTuple
from ..termination import SIGNALS
from ..trigger.drive import drive_all
from .charge import Meter
from .task import BEGUN, DONE, OVERDUE, OVERSIZED, RAISED, RECORD_SIZE, TOLD, TOUCHES, message, portable, unpacked

# Steps up to so many seconds are not counted against a process: with so many everybody gets a turn.
_SHORT_STEP = 0.05
# Bytes of memory that all workers together may take, beyond what they have from their parent: many times what honest
# processes need.
MOST_MEMORY = 96 << 20
_PR_SET_PDEATHSIG = 1
# How many processes, besides others, are waited for that do not answer a request; how many files each takes at most.
_MOST_RESTING = 128
FILES_OF_EACH = 4
# Ctrl-Z, and what a terminal sends to a job in the background.
_PAUSING = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)

_STEP = struct.Struct("<Qdd")


class Step(NamedTuple):
    """What a worker is at."""

    number: int  # of the task
    spent: float  # seconds that earlier steps of that task were charged
    began: float  # time.monotonic()


class Slot:
    """Memory that a worker shares with its watcher: what it is at, and since when."""

    def __init__(self):
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)

    def begin(self, number, spent):
        """A step of task ``number`` begins, whose earlier steps were charged ``spent`` seconds."""
        _STEP.pack_into(self._memory, 0, number, spent, 0.0)
        _STEP.pack_into(self._memory, 0, number, spent, time.monotonic())

    def end(self):
        """The step is over."""
        _STEP.pack_into(self._memory, 0, 0, 0.0, 0.0)

    def step(self):
        """The Step that is under way, or None."""
        seen = _STEP.unpack_from(self._memory, 0)
        if seen[2] == 0.0 or _STEP.unpack_from(self._memory, 0) != seen:
            return None
        return Step(*seen)


class Notice:
    """Memory that all workers share: the number of the signal that asks us to end, 0 for none."""

    def __init__(self):
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)

    def put_up(self, number):
        """Tell the workers of signal ``number``; 0 takes that back."""
        self._memory[0] = number

    @property
    def name(self):
        """The signal's name, or None."""
        return signal.Signals(self._memory[0]).name if self._memory[0] else None


class Ties(NamedTuple):
    """What ties a worker to its pool."""

    queue: int  # descriptor to read tasks from; does not block
    pipe: int  # descriptor to write messages to
    slot: Slot
    notice: Notice
    seconds: float  # how much the steps of one task may be charged (dispatch.charge)


class Worker:
    """The worker, seen from inside."""

    def __init__(self, ties):
        """
        :param ties: Ties.
        """
        self._queue = ties.queue
        self._pipe = ties.pipe
        self._slot = ties.slot
        self._notice = ties.notice
        self._seconds = ties.seconds
        self._meter = Meter()
        self._tasks = select.poll()
        self._tasks.register(ties.queue, select.POLLIN)
        self._under_way = 0
        self._number = 0  # of the task whose step is being done
        self._unsaid = b""  # results that go with what is said next: it follows at once

    def announce(self):
        """The process that is being dealt with is sent a request: trigger.options.Options.announce."""
        self._say(TOUCHES, self._number)

    def interrupted(self):
        """The name of the signal that asks us to end, or None: trigger.options.Options.interrupted."""
        return self._notice.name

    def run(self, perform, width):
        """Do tasks until there is nobody any more who could want one.

        :param perform: function of a task.Task that gives a generator as trigger.drive wants it, which returns the
            task's result.
        :param width: as for trigger.drive.drive_all.
        """
        drive_all(self._operations(perform), width, _room_for_resting(width))

    def _operations(self, perform):
        while True:
            record = self._next_record()
            if record == b"":
                return
            yield None if record is None else self._timed(perform, *unpacked(record))

    def _next_record(self):
        """The next task's record; None: there is none at the moment; nothing: there will be none."""
        while True:
            if self._notice.name is None:
                with contextlib.suppress(BlockingIOError):
                    return os.read(self._queue, RECORD_SIZE)
            self._say_all()
            if self._under_way:
                return None
            if self._notice.name is None:
                self._tasks.poll()
            else:
                # Whoever put up the notice takes it back or ends us.
                time.sleep(_SHORT_STEP)

    def _timed(self, perform, number, task):
        """The operation of one task, whose steps are counted."""
        self._under_way += 1
        self._say(BEGUN, number)
        operation = perform(task)
        spent = 0.0
        while True:
            self._say_all()
            self._number = number
            self._slot.begin(number, spent)
            self._meter.begin()
            try:
                pause = next(operation)
            except StopIteration as stop:
                # Every message wakes whoever started us.
                self._unsaid += message(DONE, number, stop.value)
                break
            except MemoryError:
                # What it has kept of other processes goes with this worker, and may have been most of it.
                self._slot.end()
                self._say(OVERSIZED, number)
                os._exit(0)
            except Exception as error:  # noqa: BLE001 - raised again where it ends the run
                self._say(RAISED, number, portable(error))
                break
            finally:
                self._slot.end()
            step = self._meter.seconds()
            spent += step if step > _SHORT_STEP else 0.0
            if spent > self._seconds:
                operation.close()
                self._say(OVERDUE, number)
                break
            yield pause
        self._under_way -= 1

    def fail(self, error):
        """Something is wrong with the worker itself."""
        self._say(RAISED, 0, portable(error))

    def tell(self, text):
        """Give ``text`` to the listeners of the process that started the worker."""
        self._say(TOLD, 0, text)

    def _say(self, kind, number, value=None):
        self._unsaid += message(kind, number, value)
        self._say_all()

    def _say_all(self):
        while self._unsaid:
            self._unsaid = self._unsaid[os.write(self._pipe, self._unsaid):]


def become_worker(parent, ties, prepare, *, width, most):
    """What a child process does from its fork on; never returns.

    :param parent: the PID of the process that forked.
    :param ties: Ties.
    :param prepare: function of the Worker that gives ``perform``; see Worker.run.
    :param width: as for Worker.run.
    :param most: bytes of data and stack that it may have.
    """
    try:
        _cut_loose(parent, ties.queue, ties.pipe)
        limit_memory(0, most)
        worker = Worker(ties)
        listeners[:] = [worker.tell]
        try:
            worker.run(prepare(worker), width)
        except Exception as error:  # noqa: BLE001 - raised again where it ends the run
            worker.fail(error)
    finally:
        # Whatever this process has inherited to be done at its end is not its own to do: buffered output, say.
        os._exit(0)


def _cut_loose(parent, queue, pipe):
    """Keep nothing of the parent but what is needed, and end when it does."""
    # Who asks the parent to end, or to pause, may ask the whole group; it is the parent that decides.  If this process
    # paused, a thread that it holds would, too.
    for number in (*SIGNALS, *_PAUSING):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)
    # Left to itself, syslog(3) would take whatever gets the number next for its socket, and close it: Ansible has it
    # open in every module.
    syslog.closelog()
    # A worker that cannot be killed, as it sits in a read, must not keep open what others wait for the end of.
    null = os.open(os.devnull, os.O_RDWR)
    # Where the parent was started without one of these, a pipe has got its number.
    for standard in {0, 1, 2} - {queue, pipe}:
        os.dup2(null, standard)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in (queue, pipe):
            with contextlib.suppress(OSError):
                os.close(int(name))
    # No collection of garbage has to look at what is there already, and copy its pages for that.
    gc.freeze()


def _room_for_resting(width):
    """How many processes may be waited for that do not answer, besides ``width`` others."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_RESTING if soft == resource.RLIM_INFINITY else max(
        min(_MOST_RESTING, soft // FILES_OF_EACH - width), 0)


def private_memory(pid):
    """Bytes of data and stack that process ``pid`` has; 0 when it has let go of them, or does not exist."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as stream:
            # proc_pid_statm(5): pages.
            return int(stream.read().split()[5]) * mmap.PAGESIZE
    except (OSError, IndexError):
        return 0


def limit_memory(pid, most):
    """Have the kernel refuse worker ``pid`` more than ``most`` bytes of data and stack, as a process may show any size.

    :param pid: 0: this very process.
    """
    with contextlib.suppress(OSError):
        # What the user has set for us holds for it, too.
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if soft != resource.RLIM_INFINITY:
            most = min(soft, most)
        resource.prlimit(pid, resource.RLIMIT_DATA, (most, hard))

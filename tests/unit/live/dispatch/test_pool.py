# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers, as real processes, with tasks that never end, end the worker, or cannot be begun."""

from __future__ import annotations

import contextlib
import mmap
import os
import resource
import signal
import threading
import time
from itertools import islice

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch import pool as pool_module
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.pool import (
    CROWDED_OUT,
    LATE,
    LOST,
    TOO_LARGE,
    Pool,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.task import Task
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.unanswered import why
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.worker import (
    MOST_MEMORY,
    private_memory,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import UlpError
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.own_waiting import OwnWaiting
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.custody import held

# Seconds: for ever, as far as the pool is concerned.
FOR_EVER = 600
# More than there may be workers.
MANY = 20
HONEST = 1 << 20


def doing(what):
    """What a Pool is to be made with: each task does ``what`` with its PID, but the honest ones, which just end."""
    def perform(task):
        if task.pid < HONEST:
            what(task.pid)
        # Now the worker itself looks at how long that took.
        yield 0
        return task.pid

    return lambda _worker: perform


def tasks(count, *more):
    """``count`` tasks that do something, and honest ones after them."""
    return [Task(0, pid) for pid in (*range(1, count + 1), *more)]


def hang(_pid):
    time.sleep(FOR_EVER)


def test_those_that_answer_come_before_all_that_do_not():
    """Guards everybody else's turn; seen to fail: the first answer was that the first one is late."""
    with Pool(doing(hang), FOR_EVER) as pool:
        first = next(pool.run(tasks(MANY, HONEST)))
    assert (first.task.pid, first.problem) == (HONEST, None)


def test_many_that_do_not_answer_have_an_end(monkeypatch):
    """Guards the time of a run. Seen to hang: each was given all of its time, however many there were."""
    monkeypatch.setattr(pool_module, "_SECOND_LOOKS", 0)
    count = 3 * pool_module._MOST
    with Pool(doing(hang), FOR_EVER) as pool:
        # Those that are looked at again when the time is over still have theirs.
        honest, *others = islice(pool.run(tasks(count, HONEST)), 1 + count - pool_module._MOST)
    assert honest.task.pid == HONEST
    assert {answer.problem for answer in others} == {CROWDED_OUT}
    assert len({answer.task.pid for answer in others}) == len(others)
    assert all("takes too long to examine" in why(answer, "app", FOR_EVER) for answer in others)


def test_those_that_were_put_off_are_looked_at_again(tmp_path):
    """Guards processes that are slow but honest, among many that do not answer."""
    def slow_the_first_time(pid):
        mark = tmp_path / str(pid)
        if not mark.exists():
            mark.touch()
            hang(pid)

    with Pool(doing(slow_the_first_time), FOR_EVER) as pool:
        answers = list(pool.run(tasks(pool_module._MOST, HONEST)))
    assert {(answer.value, answer.problem) for answer in answers} == {
        (pid, None) for pid in (*range(1, pool_module._MOST + 1), HONEST)
    }


def spin(_pid):
    while True:
        pass


def test_one_that_keeps_the_worker_busy():
    """Guards everybody else; seen to hang with only the time counted in which the worker sits in a call."""
    with Pool(doing(spin), 1) as pool:
        answers = {answer.task.pid: answer.problem for answer in pool.run(tasks(1, HONEST))}
    assert answers == {1: LATE, HONEST: None}


@contextlib.contextmanager
def crowded_processor():
    """A processor that two processes of ours keep busy for ever: its number."""
    number = min(os.sched_getaffinity(0))
    children = []
    try:
        for _each in range(2):
            child = os.fork()
            if child == 0:
                os.sched_setaffinity(0, {number})
                spin(0)
            children.append(child)
        yield number
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


# Seconds.
PATIENCE = 1


def starve(processor, waited):
    """Give others the precedence on that processor, and execute until ``waited()`` is twice the patience."""
    os.nice(19)
    os.sched_setaffinity(0, {processor})
    while waited() < 2 * PATIENCE:
        pass


def test_worker_that_waits_for_a_processor():
    """Guards honest processes on a busy host.

    Seen to fail, as late, with the time on the wall: 14 of 20 processes of a dispatch beside twelve busy ones.
    """
    with crowded_processor() as processor, Pool(
        doing(lambda _pid: starve(processor, OwnWaiting().seconds)), PATIENCE
    ) as pool:
        (answer,) = pool.run(tasks(1))
    assert answer.problem is None


def test_worker_whose_tracer_thread_waits_for_a_processor():
    """Guards the same while a thread of the worker holds one of the process; seen to fail, as late."""
    def start(processor):
        # As for a user whose threads cannot be urgent.
        os.sched_setscheduler = never
        held(lambda: starve(processor, OwnWaiting().seconds))

    def never(*_arguments):
        raise PermissionError

    with crowded_processor() as processor, Pool(doing(lambda _pid: start(processor)), PATIENCE) as pool:
        (answer,) = pool.run(tasks(1))
    assert answer.problem is None


def test_each_that_ends_the_worker_has_an_answer_of_its_own():
    """Guards everybody else; seen to fail, with ``ChildProcessError``, when a sixth one did so."""
    with Pool(doing(lambda _pid: os.kill(os.getpid(), signal.SIGSEGV)), FOR_EVER) as pool:
        answers = list(pool.run(tasks(MANY, HONEST)))
    assert {(answer.task.pid, answer.problem, answer.signal) for answer in answers} == {
        *((pid, LOST, signal.SIGSEGV) for pid in range(1, MANY + 1)), (HONEST, None, 0)
    }


def test_each_that_takes_too_much_memory_has_an_answer_of_its_own():
    """Guards the machine, and everybody else's rows. Seen to fail: each got the memory that it asked for."""
    with Pool(doing(lambda _pid: len(bytearray(2 * MOST_MEMORY))), FOR_EVER) as pool:
        answers = list(pool.run(tasks(MANY, HONEST)))
    assert {(answer.task.pid, answer.problem) for answer in answers} == {
        *((pid, TOO_LARGE) for pid in range(1, MANY + 1)), (HONEST, None)
    }
    assert "takes too much memory" in why(answers[0], "app", FOR_EVER) or answers[0].task.pid == HONEST


def test_memory_that_others_have_filled():
    """Guards honest ones behind others that fill a worker.

    Seen to fail, with ``too large`` of every eighth one, where the first worker with too little memory decides.
    """
    kept = []

    def fill(_pid):
        try:
            # Not a bytearray, of which each byte would be written.
            kept.append(mmap.mmap(-1, MOST_MEMORY // 8, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        except OSError as error:
            raise MemoryError from error

    with Pool(doing(fill), FOR_EVER) as pool:
        answers = list(pool.run(tasks(MANY, HONEST)))
    assert {answer.problem for answer in answers} == {None}
    assert len(answers) == MANY + 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_memory_of_all_together():
    """Guards the machine from eight workers that take what they get.

    Seen to fail, at 700 MB, with a limit of 96 MB for each.
    """
    def take_all(_pid):
        kept = []
        with contextlib.suppress(OSError):
            while True:
                kept.append(mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        time.sleep(FOR_EVER)

    most = 0
    stopping = threading.Event()

    def watch(pool):
        nonlocal most
        before: dict = {}
        while not stopping.wait(0.01):
            own = private_memory("self")
            now = {pid: max(private_memory(pid) - own, 0) for pid in pool.pids}
            # Each only grows until it is ended, so between two looks it had the lesser of both at least.  One look does
            # not tell: while it is taken, some end, and others take what those have left.
            most = max(most, sum(min(size, before.get(pid, 0)) for pid, size in now.items()))
            before = now

    with Pool(doing(take_all), 20) as pool:
        watcher = threading.Thread(target=watch, args=(pool,))
        watcher.start()
        try:
            for answer in pool.run(tasks(pool_module._MOST, HONEST)):
                if answer.task.pid == HONEST:
                    break
        finally:
            stopping.set()
            watcher.join()
    # The first one had it all before there were others, which get the least that there is.
    assert MOST_MEMORY // 2 < most < 2 * MOST_MEMORY


def test_large_one_among_many_that_do_not_answer():
    """Guards an honest process that needs much memory while others keep workers that have their share of it.

    Seen to fail, as too large, with three tries in whatever worker.
    """
    large = HONEST - 1

    def take_half(pid):
        if pid != large:
            hang(pid)
        try:
            mmap.mmap(-1, MOST_MEMORY // 2, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
        except OSError as error:
            raise MemoryError from error

    with Pool(doing(take_half), 2) as pool:
        answers = {answer.task.pid: answer.problem for answer in pool.run(tasks(pool_module._MOST, large, HONEST))}
    assert (answers.pop(large), answers.pop(HONEST)) == (None, None)
    assert set(answers.values()) <= {LATE, CROWDED_OUT}
    assert len(answers) == pool_module._MOST


@contextlib.contextmanager
def limits_restored():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        yield before
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_no_worker_can_be_started():
    """Guards the user's understanding; seen to fail with ``OSError``, and a traceback in a module."""
    with limits_restored() as (_soft, hard), Pool(doing(hang), FOR_EVER) as pool:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        with pytest.raises(UlpError, match="no worker process can be started: Too many open files"):
            list(pool.run(tasks(1)))


def test_no_second_worker_can_be_started():
    """Guards those that the first worker can still serve; seen to fail, with the error, before they had their turn."""
    def take_files_away(_pid):
        resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        time.sleep(FOR_EVER)

    with limits_restored() as before, Pool(doing(take_files_away), 2) as pool:
        answers = pool.run(tasks(1, HONEST))
        assert next(answers).problem == LATE
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert next(answers).value == HONEST


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_started_without_standard_streams(closed):
    """Guards who is started by a daemon that has closed them; seen to fail: each worker cut its own pipes off."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for descriptor in closed:
                os.close(descriptor)
            with Pool(doing(hang), FOR_EVER) as pool:
                status = 0 if next(pool.run(tasks(0, HONEST))).value == HONEST else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which thread to borrow first.

The best one sleeps in a system call that can simply be made again.  One that
is in epoll_wait or its kin will do, but its time limit starts anew; one that
runs may be anywhere, so that the runtime may refuse it.

The worker inherits the scheduling of the thread that starts it.  From one of a
real-time policy (sched(7)) it would load and write code with that priority, on
the same processors, while the thread itself waits for it.
"""

from __future__ import annotations

import os

from ...process.errors import ProcessError
from ...process.procfs import PF_IO_WORKER, read_stat, read_system_call, thread_ids
from ...tracee.interruption import EINTR_WHEN_STOPPED

# More threads than these are not looked at in one round.
ROUND = 64

_SLEEPING, _RUNNING, _TIMED_ANEW = range(3)
_HOLDABLE = ("S", "R")
_SCHED_DEADLINE = 6  # Python has no name for it; such a thread cannot start another one at all
_REAL_TIME = (os.SCHED_FIFO, os.SCHED_RR, _SCHED_DEADLINE)
# In so many rounds they are left in peace where there are others.
PATIENT_ROUNDS = 200


def candidates(pid, round_number=0):
    """TIDs of ``pid`` that may be held, the most suitable first.

    :param round_number: with more threads than ROUND, later rounds look at other ones.
    :return: a list, perhaps empty: all threads sleep uninterruptibly.
    :raises ProcessGone: the process has ended.
    :raises ProcessForbidden: it belongs to somebody else.
    """
    tids = thread_ids(pid)
    first = round_number * ROUND % len(tids)
    ranked: list[tuple] = []
    real_time: list[tuple] = []
    for tid in (tids[first:] + tids[:first])[:ROUND]:
        try:
            stat = read_stat(pid, tid)
            if stat.state in _HOLDABLE and not stat.flags & PF_IO_WORKER:
                kind = real_time if stat.policy in _REAL_TIME else ranked
                kind.append((_rank(read_system_call(pid, tid)), tid))
        except ProcessError:
            # It ended meanwhile; if the whole process did, the next look says so.
            continue
    # Stable, and turned a little each round: a thread that refused comes later next time.
    ranked.sort(key=lambda pair: pair[0])
    if not ranked or round_number >= PATIENT_ROUNDS:
        ranked += sorted(real_time, key=lambda pair: pair[0])
    return [tid for _rank_of, tid in ranked]


def _rank(where):
    if where is None or where.number < 0:
        return _RUNNING
    if where.number in EINTR_WHEN_STOPPED:
        return _TIMED_ANEW
    return _SLEEPING

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which thread is borrowed first."""

from __future__ import annotations

import os

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.process import procfs
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.borrowing.threads import (
    PATIENT_ROUNDS,
    candidates,
)

PAUSE = 34


def make_real_time(tid):
    try:
        os.sched_setscheduler(tid, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        pytest.skip("this user may not give a thread a real-time policy")


def test_real_time_threads_come_last(padded, start):
    """Guards a thread of a real-time policy, from which the worker would inherit it.

    Seen to fail, with the real-time thread first, without a look at the policy.
    """
    victim = start(padded)
    others = [victim.start_thread("outside", PAUSE) for _thread in range(2)]
    # On a busy machine the main thread may still be on its way to its next wait.
    victim.wait(lambda: candidates(victim.pid) == [victim.pid, *others], "all threads rest")
    make_real_time(victim.pid)
    assert procfs.read_stat(victim.pid, victim.pid).policy == os.SCHED_FIFO
    assert candidates(victim.pid) == others
    assert candidates(victim.pid, PATIENT_ROUNDS)[-1] == victim.pid
    for tid in others:
        make_real_time(tid)
    assert candidates(victim.pid) == [victim.pid, *others]


def test_worker_has_no_real_time_policy(padded, start, trigger):
    victim = start(padded)
    victim.start_thread("outside", PAUSE)
    make_real_time(victim.pid)
    assert trigger(padded).apply(victim.pid).outcome == "patched"
    assert victim.ask("answer") == "5001"
    assert victim.end() == 0

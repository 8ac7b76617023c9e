# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many processes that never answer a request do not keep those of other users waiting."""

from __future__ import annotations

import os
import signal

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.dispatch import dispatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.result import PATCH
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.select import Chosen, Selection, by_turns
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.procfs import read_status
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.borrowing import borrow
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.drive import WIDTH
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import Options

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has processes of several users")


@needs_root
def test_each_user_has_a_turn():
    """Guards the one process of a user against hundreds of another; seen to be the last with the order of PIDs."""
    children = []
    try:
        for user in (*WIDTH * (65533,), 65534, 65532):
            child = os.fork()
            if child == 0:
                os.setuid(user)
                signal.pause()
                os._exit(0)
            children.append(child)
        for child in children:
            while read_status(child).uid == 0:
                pass
        chosen = [Chosen(pid, False) for pid in sorted(children)]
        ordered = by_turns(chosen)
        assert sorted(ordered) == chosen
        assert {each.pid for each in ordered[:3]} == {children[0], children[-2], children[-1]}
        # Among those of one user nothing changes.
        assert [each.pid for each in ordered if each.pid in children[:WIDTH]] == sorted(children[:WIDTH])
        # One that has ended is passed on to who finds that out.
        gone = Chosen(1 << 22, True)
        assert gone in by_turns([*chosen, gone])
        assert by_turns(chosen[-WIDTH:]) == chosen[-WIDTH:]
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def test_one_behind_many_that_never_answer(padded, start, monkeypatch, calls):
    """Guards everybody behind more silent processes than are asked at a time.

    Seen to fail: it had its turn when the time of the first of them was over.
    """
    silent = [start(padded) for _each in range(WIDTH)]
    honest = start(padded)
    pids = {victim.pid for victim in silent}

    def await_result(proc_tid, address, nonce, *others):
        if proc_tid not in pids:
            calls.note()
        # There is no answer to such a request.
        for pause in waiting(proc_tid, address, nonce + 1, *others):
            if len(calls):
                break
            yield pause
        else:
            raise AssertionError("nobody else had a turn in all that time")
        return (yield from waiting(proc_tid, address, nonce, *others))

    waiting = borrow.await_result
    monkeypatch.setattr(borrow, "await_result", await_result)
    result = dispatch(padded.livepatch, PATCH, Selection((*pids, honest.pid)), Options(timeout=30))
    rows = {row.pid: row for row in result.rows}
    assert rows[honest.pid].outcome == "patched"
    assert {row.outcome for row in result.rows} == {"patched"}

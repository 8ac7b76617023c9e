# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that lives in the handler of a signal is given the runtime where that is safe: see handled.c."""

from __future__ import annotations

import pytest
from test_attach_killed import code_of_c_library, runtimes

# Generous: the victim shares the processors with everything else.
SECONDS = 60
# Until nothing is to be expected any more.
HOPELESS_SECONDS = 3
# So often on a busy machine.
TIMES = 10


@pytest.fixture(name="handled")
def fixture_handled(of_source):
    """A function that starts the victim in one of its modes."""
    return lambda mode: of_source("handled", mode, "-O2", "-fno-omit-frame-pointer")


def test_interrupted_call_without_a_lock(handled, padded, runtime, trigger):
    """Guards PostgreSQL's helpers, where both come together: a frame pointer that only a stop shows, and a handler.

    Seen to fail: *has a stack that cannot be unwound*, and, with its registers, *is called back by the C library*.
    """
    victim = handled("sigprocmask")
    row = trigger(padded, runtime=str(runtime / "libpulp.so"), timeout=SECONDS).apply(victim.pid)
    assert (row.outcome, row.attached) == ("patched", True), row.reason
    assert victim.ask("answer") == "5001"
    assert victim.end() == 0


def test_interrupted_call_that_may_hold_a_lock(handled, padded, runtime, trigger):
    """Guards the process; seen to attach where every call of the C library counted as one without a lock.

    Also seen to fail, with status 1: epoll_wait(2) was interrupted in stops after which the thread was not borrowed.
    """
    victim = handled("raise")
    code = code_of_c_library(victim)
    for _time in range(TIMES):
        row = trigger(padded, runtime=str(runtime / "libpulp.so"), timeout=HOPELESS_SECONDS).apply(victim.pid)
        assert (row.outcome, row.attached) == ("failed", False), row
        # Beside much other work it may not have come to wait, and nobody has seen more than that it runs.
        if "since it was looked at" not in row.reason:
            break
    # Seen to say that its stack cannot be unwound, from the second look on; and that it has entered a call since it was
    # looked at, when the last reason counted, and not the one that stays.
    assert "is called back by the C library" in row.reason
    assert runtimes(victim) == 0
    assert code_of_c_library(victim) == code
    assert victim.ask("answer") == "20"
    assert victim.end() == 0

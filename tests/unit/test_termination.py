# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals that ask the program to end, in the moment in which there is something new to clean up."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.build.commands import in_session
from ansible_collections.libpulp.livepatch.plugins.module_utils.termination import Terminated, postponed, raising


class Interrupted(subprocess.Popen):
    """The signal comes when the child is at work and its parent not yet told of it, as on a busy machine."""

    started: list = []

    def __init__(self, command, **options):
        super().__init__(command, **options)
        self.started.append(self.pid)
        os.kill(os.getpid(), signal.SIGTERM)


def test_child_is_ended_that_had_just_begun(monkeypatch):
    """Seen to fail, with the child left running, once in a whole run of the tests: the signal came in Popen()."""
    # What pytest itself starts is not concerned.
    with monkeypatch.context() as patched, pytest.raises(Terminated, match="interrupted by SIGTERM"), raising():
        patched.setattr(subprocess, "Popen", Interrupted)
        with in_session(["/bin/sleep", "1000"]):
            pytest.fail("it was not interrupted")
    (pid,) = Interrupted.started
    left = Path(f"/proc/{pid}").exists()
    if left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def test_signal_counts_when_it_is_no_longer_postponed():
    """It is raised by the outermost, and only once.  (Under nohup(1) SIGHUP is none of them.)"""
    steps = []
    with pytest.raises(Terminated) as raised, raising():
        with postponed():
            with postponed():
                os.kill(os.getpid(), signal.SIGTERM)
                steps.append("inner")
            steps.append("outer")
        steps.append("after")
    assert steps == ["inner", "outer"]
    assert raised.value.number == signal.SIGTERM
    with raising(), postponed():
        pass

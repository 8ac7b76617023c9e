# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for a process: longer where it gets no processor, but not for ever."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.process import patience
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.own_waiting import processor
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.patience import Patience

SPINS = "print(flush=True)\nwhile True: pass"
WAITS = "import sys; print(flush=True); sys.stdin.read()"


@pytest.fixture(name="process")
def fixture_process():
    """A function that starts a Python program; it has printed a line, and is killed at the end."""
    started = []

    def start(program):
        started.append(subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        started[-1].stdout.readline()
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.communicate()


@pytest.fixture(name="clock")
def fixture_clock(monkeypatch):
    """A list with the one time that it is for whoever waits, in seconds."""
    now = [0.0]
    monkeypatch.setattr(patience.time, "monotonic", lambda: now[0])
    return now


def waits_for_a_processor(pid):
    end = time.perf_counter() + 60
    while not processor(pid).runnable:
        assert time.perf_counter() < end


def test_process_that_gets_no_processor(process, clock):
    """Guards what is said on a busy host; seen to fail with seconds counted alone."""
    pid = process(SPINS).pid
    wait = Patience(pid, 3600)
    waits_for_a_processor(pid)
    assert not wait.is_over()
    clock[0] = 3601
    assert not wait.is_over()
    clock[0] = 4 * 3600 + 1
    assert wait.is_over()


def test_process_that_executes_and_gets_nowhere(process, clock):
    """Guards the end of the wait for one that goes on for ever."""
    pid = process(SPINS).pid
    wait = Patience(pid, 0.01)
    assert not wait.is_over()
    before = processor(pid).executed
    end = time.perf_counter() + 60
    while processor(pid).executed < before + 0.02:
        assert time.perf_counter() < end
    clock[0] = 0.02
    assert wait.is_over()


def test_process_that_waits_for_something_else(process, clock):
    """Guards the end of the wait for one that was stopped or killed in the middle."""
    waiting = process(WAITS)
    wait = Patience(waiting.pid, 2)
    end = time.perf_counter() + 60
    while processor(waiting.pid).runnable:
        assert time.perf_counter() < end
    assert not wait.is_over()
    clock[0] = 2.1
    assert wait.is_over()
    waiting.kill()
    waiting.wait()
    wait = Patience(waiting.pid, 2)
    assert not wait.is_over()
    clock[0] += 2.1
    assert wait.is_over()

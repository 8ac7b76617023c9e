# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody is stopped but the thread that is diverted, and that one no longer than it must be."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
from harness.command import Ulp
from harness.paths import COMMAND
from harness.polling import wait_until

THREADS = 8
CYCLES = 10
PAIRS = {"make": "make_new", "use": "use_new"}
# Waiting until the thread stands still: how often it is asked depends on the machine.
WAITING = ("wait4", "sched_yield", "clock_nanosleep")
# What is asked of a thread that is blocked in a system call, in this order.
HELD = [
    "PTRACE_SEIZE", "PTRACE_INTERRUPT",
    "PTRACE_GETREGS", "process_vm_readv",
    # Its seccomp filters, and whether its system calls come to the program, which strace may not know by name.
    "pread64", "ptrace",
    "PTRACE_GETREGSET",
    # The stack, as far as it is in use, for the frame of a signal; one for each 32 KB of it.
    "process_vm_readv",
    "PTRACE_GETSIGMASK", "process_vm_readv",
    "process_vm_writev", "PTRACE_SETREGS", "PTRACE_SETSIGMASK", "PTRACE_DETACH",
]


def voluntary_switches(victim, threads):
    """How often each thread has given up its processor by itself, which a thread that is stopped does too."""
    counts = {}
    for thread in threads:
        status = Path(f"/proc/{victim.pid}/task/{thread}/status").read_text()
        counts[thread] = int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return counts


def test_no_thread_but_the_diverted_one_is_stopped(variant, target, start, repeated):
    """Guards all threads that compute: in many applies and reverts none is taken off its processor for another one.

    A thread that is stopped, by ptrace or by a signal, counts one voluntary switch; one that only computes counts none,
    however busy the machine is.  At the end the process is stopped once, to see that it would have been seen.  Seen to
    fail, by one for each apply and revert, with all threads seized for a moment in Diversion._hold().
    """
    build = target("contract", variant)
    patch = repeated(build.patch("layout", PAIRS))
    victim = start(build)
    idle = victim.threads()
    assert victim.ask(f"start {THREADS}") == str(THREADS)
    computing = [thread for thread in victim.threads() if thread not in idle]
    assert len(computing) == THREADS

    def each():
        """A sleeping thread is diverted before one that runs: so the main thread, once it sleeps again."""
        for operation in (patch.apply, patch.revert):
            wait_until(lambda: all(victim.system_call(thread) != "running" for thread in idle), "the others sleep")
            operation(victim)

    each()
    assert victim.numbers("latest") == [1] * THREADS
    before = voluntary_switches(victim, computing)
    diverted = voluntary_switches(victim, idle)
    for _cycle in range(CYCLES):
        each()
    after = voluntary_switches(victim, computing)
    # On a busy machine a computing one is diverted now and then, where the main thread does not stop soon enough, or
    # where it is late with its next entry. Stopped along with others, each would count all applies and reverts, which
    # are twice CYCLES.
    stops = sorted(after[thread] - before[thread] for thread in computing)
    assert stops[len(stops) // 2] < CYCLES, stops
    assert all(count > diverted[thread] for thread, count in voluntary_switches(victim, idle).items())

    def stopped_once():
        os.kill(victim.pid, signal.SIGSTOP)
        os.kill(victim.pid, signal.SIGCONT)
        return all(count > after[thread] for thread, count in voluntary_switches(victim, computing).items())

    wait_until(stopped_once, "a stop of all threads is seen")
    assert victim.numbers("latest") == [1] * THREADS


def while_held(trace):
    """The system calls of a thread that holds another one, from the first request to the last, for each that does."""
    holders = list(dict.fromkeys(line.split()[0] for line in trace if "ptrace(PTRACE_SEIZE" in line))
    return [held_by(holder, trace) for holder in holders]


def held_by(holder, trace):
    calls = []
    for line in trace:
        match = re.match(r"(\d+) +(?:<\.\.\. )?(\w+)(?:\((PTRACE_\w+))?", line)
        if not match or match.group(1) != holder or "resumed>" in line:
            continue
        if match.group(3) == "PTRACE_SEIZE" or calls:
            calls.append(match.group(3) or match.group(2))
        if match.group(3) == "PTRACE_DETACH":
            break
    return ["ptrace" if call == "PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG" else call
            for call in calls if call not in WAITING]


def test_nothing_is_done_while_a_thread_is_held_that_could_be_done_before(variant, target, start, livepatch, tmp_path):
    """Guards the held time where it can be counted: by system calls, not by a clock.

    Seen to fail with the process's mappings read while the thread was held.
    """
    if not shutil.which("strace"):
        pytest.fail("strace is not installed: apt-get install strace")
    build = target("contract", variant)
    patch = livepatch(build.patch("layout", PAIRS))
    victim = start(build)
    patch.attach(victim)
    trace = tmp_path / "trace"
    traced = Ulp(("strace", "-f", "-qq", "-o", trace, sys.executable, str(COMMAND)))
    traced.succeed("trigger", "-p", victim.pid, patch.ulp_file)
    # A thread that could not serve at that moment, or did not stop soon enough, is followed by the next.
    sequences = while_held(trace.read_text().splitlines())
    assert HELD in sequences, sequences
    assert all(calls == HELD[:len(calls)] for calls in sequences), sequences
    assert victim.number("call") == 2
    patch.revert(victim)

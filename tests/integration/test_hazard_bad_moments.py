# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying and reverting while every thread of the process is at a moment at which nothing may be done on it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from harness.livepatch import APPLIED, NOT_APPLIED
from harness.polling import DEADLINE

KINDS = ("malloc", "loader", "fork", "vfork", "spawn", "printf", "stdio_lock", "qsort", "threads", "signals")
JEMALLOC = Path("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2")
THREADS = 2
# These threads are hardly ever outside the C library: now and then none can serve within the time limit.
TRIES = 5
# Threads that spin on all cores leave the rest of the machine, and so the command, what it needs.
YIELDING = ("nice", "-n", "10")
PAIRS = {"make": "make_new", "use": "use_new"}
SOURCE = "bad_moments/app.c"


class Child(NamedTuple):
    """A process that the victim forked, as far as Livepatch wants to know it."""

    pid: int
    process: subprocess.Popen


def apply_and_revert(victim, patch, kind, rounds):
    """The victim must do everything right meanwhile: it ends itself with a message when it finds a thing wrong."""
    assert victim.ask(f"start {kind} {THREADS}") == kind
    everyone = THREADS + 1
    made = 0
    for _cycle in rounds:
        made += 1
        patch.apply(victim, TRIES)
        assert victim.numbers("latest") == [2] * everyone
        patch.revert(victim, TRIES)
        assert victim.numbers("latest") == [1] * everyone
    old, new, bad, done = victim.numbers("stop")
    assert bad == 0, f"{bad} of {old + new + bad} calls mixed the layouts"
    assert old and new and done >= 4 * made


@pytest.mark.parametrize("kind", KINDS)
def test_busy(kind, variant, cycles, target, start, repeated):
    """Guards the safe point: a thread inside the allocator, the loader or stdio does not start the worker.

    500 applies and reverts over all kinds in a normal run, 10,000 in a soak.

    And what the worker itself does while all others go on: it loads, allocates and writes code of its own.  Seen to
    fail (a deadlock on the allocator's lock) with every point taken for a safe one in ulp_entry().
    """
    build = target("contract", variant)
    patch = repeated(build.patch("layout", PAIRS))
    victim = start(build, SOURCE, wrap=YIELDING)
    apply_and_revert(victim, patch, kind, cycles.part(40, least=13))


@pytest.mark.parametrize("kind", KINDS)
def test_busy_with_another_malloc(kind, variant, cycles, target, start, repeated):
    """Guards that the allocator is found where it is: with jemalloc preloaded, not in the C library.

    10,000 applies and reverts over all kinds in a soak. Seen to fail (threads: a deadlock on the C library's lock of
    thread stacks) with every point taken for a safe one in ulp_entry(). Not seen to fail (malloc, --cycles 8000)
    with jemalloc alone left out of the safe point.
    """
    build = target("contract", variant)
    patch = repeated(build.patch("layout", PAIRS))
    victim = start(build, SOURCE, wrap=YIELDING, preload=(*variant.preload, JEMALLOC))
    assert JEMALLOC.name in victim.mapped()
    apply_and_revert(victim, patch, kind, cycles.part(40, least=3))


def test_child_that_goes_on_is_patched_itself(variant, target, start, livepatch):
    """Guards the runtime in a forked child: it has the state of its parent, and a life of its own from there on.

    Seen to fail with the functions' slots in memory that parent and child share.
    """
    build = target("contract", variant)
    patch = livepatch(build.patch("layout", PAIRS))
    victim = start(build, SOURCE)

    child = Child(victim.number("fork outside"), victim.process)
    patch.apply(child)
    assert victim.number("child") == 2
    patch.wait_for_check(child, APPLIED)
    assert patch.check(victim) == NOT_APPLIED
    patch.revert(child)
    assert victim.number("child") == 1
    assert victim.number("reap") == 0

    patch.apply(victim)
    child = Child(victim.number("fork outside"), victim.process)
    assert victim.number("child") == 2
    patch.wait_for_check(child, APPLIED)
    patch.revert(child)
    assert victim.number("child") == 1
    patch.wait_for_check(child, NOT_APPLIED)
    patch.wait_for_check(victim, APPLIED)
    patch.apply(child)
    assert victim.number("child") == 2
    patch.revert(victim)
    assert victim.number("child") == 2
    assert victim.number("reap") == 0
    patch.wait_for_check(victim, NOT_APPLIED)


def test_child_forked_inside_the_library(variant, target, start, livepatch):
    """Guards that a child which was forked in the middle of a library call ends that call as its parent began it.

    Seen to fail (layouts mixed) with prove_by_stack() always saying OUTSIDE.
    """
    build = target("contract", variant)
    patch = livepatch(build.patch("layout", PAIRS))
    victim = start(build, SOURCE)

    child = Child(victim.number("fork inside"), victim.process)
    patch.apply(child)
    assert victim.number("between") == 1
    assert victim.number("child") == 2
    patch.wait_for_check(child, APPLIED)
    assert victim.number("reap") == 0

    patch.apply(victim)
    child = Child(victim.number("fork inside"), victim.process)
    patch.revert(child)
    assert victim.number("between") == 2
    assert victim.number("child") == 1
    patch.wait_for_check(child, NOT_APPLIED)
    assert victim.number("reap") == 0
    patch.revert(victim)


@pytest.mark.parametrize("kind", ["malloc", "printf", "loader"])
def test_exit_meanwhile(kind, variant, target, start, livepatch):
    """Guards a process in exit(): what comes then is carried out or refused, and the process ends as it would.

    Seen to fail (a deadlock on the allocator's lock) with every point taken for a safe one in ulp_entry().
    """
    build = target("contract", variant)
    patch = livepatch(build.patch("layout", PAIRS))
    victim = start(build, SOURCE, wrap=YIELDING)
    assert victim.ask(f"start {kind} {THREADS}") == kind
    patch.apply(victim)
    # The handler counts changes from what the main thread got last.
    assert victim.numbers("latest") == [2] * (THREADS + 1)
    victim.send("leave")
    carried_out = 0
    while victim.process.poll() is None:
        for options in (("--revert",), ()):
            answer = patch.ulp.run("trigger", "-p", victim.pid, patch.ulp_file, "--timeout", DEADLINE, *options)
            assert answer.status in (0, 1), str(answer)
            carried_out += answer.status == 0
    # The handler waits for two; the answer to the last one may be lost with the process.
    assert carried_out
    victim.finish()

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A child from the very moment in which the runtime is loaded: its forks may still lead into the code that did that."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path

import pytest
from conftest import compiled
from harness.polling import wait_until
from harness.victim import Victim
from test_attach_killed import runtimes
from test_worker_lives import WAITING

from ansible_collections.libpulp.livepatch.plugins.module_utils import abi
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.procfs import read_system_call
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.subject import examine
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.attaching import cut_off
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.attaching.clearance import clear
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.attaching.layout import read_words
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.drive import drive

PYTHON = "/usr/bin/python3"
FUTEX = 202
# One thread keeps the loader's lock, in a constructor.  A fork that waits for the loader in vain gives a child that
# takes the orders from there on; the parent waits for its end.
VICTIM = r"""
import ctypes, os, sys, threading
answer = ctypes.CDLL(sys.argv[1]).answer
dlopen = ctypes.CDLL(None).dlopen
syscall = ctypes.CDLL(None).syscall
print("ready", flush=True)
for line in sys.stdin:
    if line == "hold\n":
        threading.Thread(target=dlopen, args=(sys.argv[2].encode(), 2), daemon=True).start()
    elif line in ("fork at once\n", "clone at once\n"):
        # Python's own locks are in order: nobody else runs Python code then.
        child = os.fork() if line.startswith("fork") else syscall(56, 17, 0, 0, 0, 0)
        if child == 0:
            print(os.getpid(), flush=True)
        else:
            os._exit(os.waitpid(child, 0)[1] != 0)
    elif line == "fork\n":
        child = os.fork()
        if child == 0:
            os._exit(0)
        print(os.waitpid(child, 0)[1], flush=True)
    else:
        print(answer(1), flush=True)
"""

pytestmark = pytest.mark.skipif(not os.access(PYTHON, os.X_OK), reason="needs the distribution's python3")


def cleared(subject, place):
    """What attach.clear() returns."""
    memory = os.open(f"/proc/{subject.pid}/mem", os.O_RDWR)
    try:
        return drive(clear(subject, place, memory))
    finally:
        os.close(memory)


@pytest.fixture(name="victim")
def fixture_victim(padded, tmp_path):
    """It holds the loader's lock until the file ``go`` is there."""
    (tmp_path / "slow.c").write_text(WAITING, encoding="utf-8")
    compiled("-fPIC", "-shared", f'-DDIRECTORY="{tmp_path}"', tmp_path / "slow.c", "-o", tmp_path / "slow.so")
    victim = Victim([PYTHON, "-I", "-c", VICTIM, padded.library, tmp_path / "slow.so"], preload=[])
    try:
        victim.send("hold")
        wait_until((tmp_path / "entered").exists, "the loader's lock is held")
        yield victim
    finally:
        (tmp_path / "go").touch()
        victim.kill()


def worker_waits(victim, files):
    """Whether the worker is in the loader: the process's forks wait for it then."""
    place = cut_off.left_behind(examine(victim.pid, files, absent=True), files)
    words = place and read_words(victim.pid, abi.BOOTSTRAP.unpack(place.code[:abi.BOOTSTRAP.size]).words)
    return words and words.worker and getattr(read_system_call(victim.pid, words.worker), "number", None) == FUTEX


def no_more_threads(pid):
    size = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))


def test_child_of_that_moment_forks_itself(victim, padded, runtime, trigger, files, tmp_path):
    """The code to which the child's forks lead is left, until an attempt of its own has taken them from there.

    Seen to take the code away: the child ended by SIGSEGV when it forked next.
    """
    path = str(runtime / "libpulp.so")
    rows = []
    attaching = threading.Thread(
        target=lambda: rows.append(trigger(padded, runtime=path, timeout=120).apply(victim.pid)))
    try:
        attaching.start()
        wait_until(lambda: worker_waits(victim, files), "the worker waits for the loader's lock")
        child = int(victim.ask("fork at once"))
        (tmp_path / "go").touch()
        attaching.join()
        assert rows[0].outcome == "patched" and rows[0].attached, rows
        assert runtimes(victim) == 1

        place = cut_off.left_behind(examine(child, files, absent=True), files)
        words = read_words(child, abi.BOOTSTRAP.unpack(place.code[:abi.BOOTSTRAP.size]).words)
        assert words.stage == abi.BOOTSTRAP_REFUSED, "its forks wait for a worker that it does not have"
        assert not cleared(examine(child, files, absent=True), place)
        assert victim.ask("fork") == "0"
        no_more_threads(child)
        row = trigger(padded, runtime=path, timeout=60).apply(child)
        resource.prlimit(child, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert row.outcome in ("failed", "not_patchable") and not row.changed, row
        assert victim.ask("fork") == "0"
        assert victim.ask("answer") == "20"

        row = trigger(padded, runtime=path, timeout=60).apply(child)

        assert (row.outcome, row.attached, row.reason) == ("patched", True, ""), row
        assert cut_off.left_behind(examine(child, files), files) is None
        assert victim.ask("fork") == "0"
        assert victim.ask("answer") == "5001"
    finally:
        (tmp_path / "go").touch()
        attaching.join()


@pytest.mark.parametrize("way", ["fork", "clone"])
def test_child_of_an_attempt_that_was_given_up(way, victim, padded, runtime, trigger, files):
    """Its forks lead into the code still, as the worker that would have taken the handlers away is not in it.

    Without fork(), as by clone(2), not even the handler runs that says so.

    Seen to fail: the next attempt, which came to nothing either, took the code away, and the child ended by SIGSEGV
    when it forked next.
    """
    path = str(runtime / "libpulp.so")
    # On a busy machine it may take longer until a thread is borrowed at all.
    rows = []
    while len(rows) < 5 and not (rows and "its loader is busy, and may still load it" in rows[-1].reason):
        rows.append(trigger(padded, runtime=path, timeout=2 ** len(rows)).apply(victim.pid))
        assert (rows[-1].outcome, rows[-1].changed) == ("failed", False), rows
    assert "its loader is busy, and may still load it" in rows[-1].reason, rows

    child = int(victim.ask(f"{way} at once"))
    place = cut_off.left_behind(examine(child, files, absent=True), files)
    assert not cleared(examine(child, files, absent=True), place)
    no_more_threads(child)
    row = trigger(padded, runtime=path, timeout=60).apply(child)
    resource.prlimit(child, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert row.outcome in ("failed", "not_patchable") and not row.changed, row
    assert victim.ask("fork") == "0"
    assert victim.ask("answer") == "20"

    if way == "clone":
        # Its loader is locked for good.
        return
    row = trigger(padded, runtime=path, timeout=60).apply(child)

    assert (row.outcome, row.attached, row.reason) == ("patched", True, ""), row
    assert cut_off.left_behind(examine(child, files), files) is None
    assert victim.ask("fork") == "0"
    assert victim.ask("answer") == "5001"

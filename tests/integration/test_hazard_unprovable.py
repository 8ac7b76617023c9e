# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries that can prove nothing by themselves: what was reported of their threads must come true."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from harness import apart
from harness.blocked import version_patch
from harness.livepatch import APPLIED, NOT_APPLIED, PENDING
from harness.paths import COMMAND
from harness.variant import STOCK, Variant

from ansible_collections.libpulp.livepatch.plugins.module_utils import abi
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import read_livepatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.mapped import MappedFiles
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.operations import settle
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.operations.settle import LOOK_SECONDS
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import Options
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.resolution.request import build_request
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.trigger import Trigger

PAIRS = {"version": "patched_version", "hidden_version": "jumping_hidden_version"}


def test_patch_library_that_jumps_to_what_it_replaces(variant, target, start, livepatch):
    """A thread that enters only by a function to which the patch library may jump has the new version at once.

    Guards the settle request: seen to fail without it. What jumped_since adds is held by
    native/tests/test_settle_request.c alone.
    """
    build = target("blocked", variant)
    victim, patch = start(build), livepatch(build.patch("jumping", PAIRS, source="jumping.c"))
    assert victim.number("version") == 1
    for _time in range(3):
        patch.apply(victim)
        assert patch.check(victim) == APPLIED
        assert victim.number("version") == 2
        assert patch.check(victim) == APPLIED
        patch.revert(victim)
        assert patch.check(victim) == NOT_APPLIED
        assert victim.number("version") == 1
        assert patch.check(victim) == NOT_APPLIED


# One more than the runtime remembers as excepted (ULP_EXCEPTED).
TOO_MANY = 33


@pytest.fixture
def applied(variant, target, start, livepatch):
    """A victim with two idle threads and a livepatch, which every thread has."""
    build = target("blocked", variant)
    victim, patch = start(build), livepatch(build.patch("jumping", PAIRS, source="jumping.c"))
    assert victim.ask("crowd 2") == "2"
    patch.apply(victim)
    assert victim.numbers("ask") == [2, 2]
    assert victim.number("version") == 2
    return victim, patch


def park(victim, threads):
    for thread in range(threads):
        assert victim.number(f"park {thread} hold") == 2


def release(victim, threads):
    for thread in range(threads):
        assert victim.ask(f"release {thread}").split()[0] == "2"


def test_outside_but_not_settled_is_pending(applied):
    """Of threads that are outside nothing is promised where their next entry may keep the number.

    Guards Domain.is_settled(): seen to fail (check says "not applied", and the threads get the livepatch's version once
    more) with it always True. Guards that a further revert settles: seen to fail without looking_and_settling().
    """
    victim, patch = applied
    park(victim, TOO_MANY)
    patch.revert(victim)
    release(victim, TOO_MANY)
    answer = patch.ulp.run("check", "-p", victim.pid, patch.ulp_file)
    assert answer.status == PENDING, str(answer)
    assert "3 of 3 threads" in answer.output + answer.errors
    assert "revert it again" in answer.output + answer.errors
    assert victim.numbers("ask") == [2, 2]
    assert patch.check(victim) == PENDING
    patch.revert(victim)
    assert patch.check(victim) == NOT_APPLIED
    assert victim.numbers("ask") == [1, 1]
    assert victim.number("version") == 1


def test_others_are_settled_while_one_is_inside(applied):
    """Threads that are outside migrate, whatever their entries could prove, while another one stays inside.

    Seen to fail (the two get the livepatch's version once more) with prove_by_look() proving nothing. Guards the
    exception: seen to fail (the thread that goes on by a jump gets another version than it began with) with excepted()
    always false.
    """
    victim, patch = applied
    park(victim, 1)
    # It will leave the library's last frame by a jump, which cannot be told from an entry.
    assert victim.number("park 1 relay") == 2
    patch.revert(victim)
    answer = patch.ulp.run("check", "-p", victim.pid, patch.ulp_file)
    assert answer.status == PENDING, str(answer)
    assert "2 of 5 threads" in answer.output + answer.errors
    assert victim.numbers("ask") == [1, 1]
    assert victim.number("version") == 1
    # What it saw before, what it returned, and what it goes on to by name and directly.
    assert victim.numbers("release 0")[:4] == [2, 2, 2, 2]
    assert victim.numbers("release 1")[:2] == [2, 2]
    assert patch.check(victim) == NOT_APPLIED


def test_settled_although_threads_enter_between_the_look_and_the_request(applied, monkeypatch):
    """Threads that keep their numbers after they were looked at make the look void; another one is taken.

    Seen to fail (pending, and for ever: "revert it again") where the runtime was told once.
    """
    victim, patch = applied
    seen_by_threads = []
    look = settle.look

    # On a busy machine the thread that was borrowed is still on its way back for long.
    for limit in ("LOOK_SECONDS", "RUNNING_SECONDS", "TIMEOUT_SECONDS"):
        monkeypatch.setattr(settle, limit, 60.0)

    def look_and_enter(*arguments):
        seen = yield from look(*arguments)
        if not seen_by_threads and not seen.settled.excepted:
            seen_by_threads.append(victim.numbers("ask"))
        return seen

    monkeypatch.setattr(settle, "look", look_and_enter)
    row = Trigger(read_livepatch(patch.ulp_file), MappedFiles(), Options()).revert(victim.pid)
    assert seen_by_threads == [[2, 2]]
    assert (row.outcome, row.threads_pending) == ("reverted", 0), row
    assert victim.numbers("ask") == [1, 1]


def test_settling_that_fails_is_told(applied, monkeypatch):
    """The threads are looked at again, and the row says why. Seen to fail with nothing of it in the row."""
    victim, patch = applied

    def of_another_version(request, nonce):
        data = bytearray(build_request(request, nonce))
        data[abi.REQUEST.offsets["abi_version"]] ^= 0x80
        return bytes(data)

    monkeypatch.setattr(settle, "build_request", of_another_version)
    row = Trigger(read_livepatch(patch.ulp_file), MappedFiles(), Options()).revert(victim.pid)
    assert (row.outcome, row.threads_pending) == ("pending", 3), row
    why = abi.error_sentence(abi.BAD_VERSION)
    assert row.reason.endswith(f"revert it again; this time that failed: {why}"), row
    monkeypatch.undo()
    patch.revert(victim)
    assert patch.check(victim) == NOT_APPLIED
    assert victim.numbers("ask") == [1, 1]


def test_hooks_that_cannot_be_taken_back_are_told(target, start, livepatch):
    """Since the livepatch was applied the process has denied itself what some hooks need to be written.

    Seen to fail with nothing of it in the row.
    """
    build = target("blocked", Variant(STOCK))
    victim, patch = apart.starter(start, build, "sandbox/app.c", ())(), livepatch(version_patch(build))
    patch.apply(victim)
    answer = victim.ask("mdwe")
    if answer != "denied":
        pytest.skip(f"this kernel has no PR_SET_MDWE: {answer}")
    row = patch.ulp.succeed("trigger", "--json", "-p", victim.pid, patch.ulp_file, "--revert").json()
    assert (row["outcome"], row["threads_pending"]) == ("reverted", 0), row
    assert row["reason"].startswith("the hooks in process"), row
    assert row["reason"].endswith("the process does not let its code be changed"), row
    assert victim.number("version") == 1
    patch.apply(victim)
    assert victim.number("version") == 2


@pytest.mark.parametrize("entered", [False, True], ids=["idle", "entered"])
def test_settled_when_the_last_one_comes_out(applied, entered):
    """Guards that who waits for threads to come out has the others settled then, also such as have kept their number.

    Seen to fail (pending, after the whole time) without looking_and_settling() in _wait_for_migration(); where the
    others have entered meanwhile, also with those taken for inside whose last entry proved nothing.
    """
    victim, patch = applied
    park(victim, TOO_MANY)
    dispatch = subprocess.Popen(
        [sys.executable, COMMAND, "dispatch", "revert", patch.ulp_file, str(victim.pid), "--json",
         "--wait-migrated", "60"],
        stdout=subprocess.PIPE, text=True)
    patch.wait_for_check(victim, PENDING)
    # Until the command has given up to settle at once, and does nothing but wait.
    time.sleep(2 * LOOK_SECONDS + 1)
    if entered:
        assert victim.numbers("ask") == [2, 2]
    release(victim, TOO_MANY)
    rows = json.loads(dispatch.communicate(timeout=120)[0])
    assert [(row["outcome"], row["threads_pending"]) for row in rows] == [("reverted", 0)]
    assert victim.numbers("ask") == [1, 1]
    assert victim.number("version") == 1


@pytest.mark.parametrize("threads", [1, TOO_MANY])
def test_entry_that_nobody_foresees(threads, variant, target, start, livepatch):
    """What is told of a thread that is outside holds for any entry, not only for those of which something is known.

    The library may jump to version(), and so does the program: an entry of the program's proves nothing, which shows
    only when one is made. Seen to fail with threads counted only where such functions are known (check says "applied",
    and the one that is idle, and a new one, get the old version).
    """
    build = target("blocked", variant)
    victim, patch = start(build, "wrapped.c"), livepatch(version_patch(build, 2))
    assert victim.ask("worker") == "started"
    for _thread in range(threads):
        assert victim.ask("park") == "1"
    patch.apply(victim)
    for _thread in range(threads):
        assert victim.ask("release") == "1"
    if threads == TOO_MANY:
        assert patch.check(victim) == PENDING
        patch.apply(victim)
    assert patch.check(victim) == APPLIED
    assert victim.number("fresh") == 2
    assert victim.number("ask") == 2

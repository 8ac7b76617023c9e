# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several processes at once: each gets the outcome that is true for it, and nothing is done twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from harness import snapshot
from harness.blocked import version_patch
from harness.livepatch import APPLIED, NOT_APPLIED, PENDING
from harness.modules import module, run_module
from harness.paths import COMMAND, RUNTIME
from harness.polling import wait_until
from harness.variant import USUAL


@pytest.fixture
def build(mode_variant, target):
    return target("blocked", mode_variant)


def dispatch(ulp, operation, ulp_file, *pids, status=0):
    """The rows by PID, of a run that must exit with ``status``."""
    answer = ulp.run("dispatch", operation, ulp_file, *pids, "--json")
    assert answer.status == status, str(answer)
    return {row["pid"]: row for row in answer.json()}


def outcomes(rows):
    return {pid: row["outcome"] for pid, row in rows.items()}


def test_dispatch_to_several_processes(build, ulp_file, start, ulp):
    """Guards idempotence: the second run finds what the first did and touches nothing.

    Seen to fail (each runtime is asked, and refuses) with an apply that does not look whether the livepatch is there.
    """
    victims = [start(build) for _number in range(4)]
    pids = [victim.pid for victim in victims]
    for victim in victims:
        assert victim.ask("crowd 2") == "2"
    rows = dispatch(ulp, "patch", ulp_file, *pids)
    assert outcomes(rows) == dict.fromkeys(pids, "patched")
    for row in rows.values():
        assert row["threads_pending"] == 0
        assert row["held_us"] > 0
    assert [victim.number("version") for victim in victims] == [2] * 4
    for victim in victims:
        victim.wait_for_threads(3)

    before = [snapshot.of_process(victim) for victim in victims]
    messages = [ulp.succeed("messages", "-p", pid).output for pid in pids]
    rows = dispatch(ulp, "patch", ulp_file, *pids)
    assert outcomes(rows) == dict.fromkeys(pids, "already_patched")
    assert {row["threads"] for row in rows.values()} == {3}
    assert [ulp.succeed("messages", "-p", pid).output for pid in pids] == messages
    assert [snapshot.of_process(victim) for victim in victims] == before
    assert outcomes(dispatch(ulp, "check", ulp_file, *pids)) == dict.fromkeys(pids, "already_patched")

    assert outcomes(dispatch(ulp, "revert", ulp_file, *pids)) == dict.fromkeys(pids, "reverted")
    assert [victim.number("version") for victim in victims] == [1] * 4
    for victim in victims:
        victim.wait_for_threads(3)
    before = [snapshot.of_process(victim) for victim in victims]
    dispatch(ulp, "revert", ulp_file, *pids)
    assert [snapshot.of_process(victim) for victim in victims] == before


def test_dispatch_tells_processes_apart(build, ulp_file, start, ulp):
    """Guards the outcomes: one process that can be patched does not hide another that cannot, and the reverse.

    Seen to fail with the outcome already_patched for a process that has not loaded the library.
    """
    good = start(build)
    bare = start(build, preload=())
    with subprocess.Popen(["sleep", "infinity"], env=dict(os.environ, LD_PRELOAD=str(RUNTIME))) as other:
        try:
            wait_until(lambda: RUNTIME.name in Path(f"/proc/{other.pid}/maps").read_text(), "the runtime is mapped")
            rows = dispatch(ulp, "patch", ulp_file, good.pid, bare.pid, other.pid, status=1)
        finally:
            other.kill()
    assert outcomes(rows) == {good.pid: "patched", bare.pid: "not_patchable", other.pid: "not_applicable"}
    assert "runtime" in rows[bare.pid]["reason"]
    assert (good.number("version"), bare.number("version")) == (2, 1)
    assert outcomes(dispatch(ulp, "revert", ulp_file, good.pid)) == {good.pid: "reverted"}


def test_dry_run_touches_nothing(build, ulp_file, start, ulp):
    """Guards check mode: it says what would be done.

    Seen to fail with the question for it left out before an apply.
    """
    victim = start(build)
    before = snapshot.of_process(victim)
    answer = ulp.succeed("dispatch", "patch", ulp_file, victim.pid, "--dry-run", "--json")
    assert [row["outcome"] for row in answer.json()] == ["patched"]
    assert snapshot.of_process(victim) == before
    assert victim.number("version") == 1


def test_wait_migrated(build, ulp_file, start, preforked, livepatch):
    """Guards that "patched" is said only of a process whose every thread is: one parked inside makes it pending.

    Seen to fail with every stack that is looked at taken for one that leads outside.
    """
    patch = livepatch(ulp_file)
    victim = start(build)
    assert victim.number("park 0 hold") == 1
    rows = dispatch(preforked, "patch", ulp_file, victim.pid)
    assert rows[victim.pid]["outcome"] == "pending"
    assert rows[victim.pid]["threads_pending"] == 1
    assert patch.check(victim) == PENDING
    assert victim.numbers("release 0") == [1, 1, 1, 1, 1, 2]
    answer = preforked.succeed("dispatch", "patch", ulp_file, victim.pid, "--wait-migrated", 20, "--json")
    assert [row["outcome"] for row in answer.json()] == ["already_patched"]
    assert patch.check(victim) == APPLIED
    assert outcomes(dispatch(preforked, "revert", ulp_file, victim.pid)) == {victim.pid: "reverted"}
    assert patch.check(victim) == NOT_APPLIED


def test_process_that_ends_while_it_is_waited_for(ulp_file, start, livepatch, build):
    """Guards that a row still says whose it is: the livepatch was applied to it, and it is gone.

    Seen to fail (a row without a name) with what the last look found alone.
    """
    victim = start(build)
    assert victim.number("park 0 hold") == 1
    process = subprocess.Popen(
        [sys.executable, COMMAND, "dispatch", "patch", ulp_file, str(victim.pid), "--json", "--wait-migrated", "60"],
        stdout=subprocess.PIPE, text=True)
    livepatch(ulp_file).wait_for_check(victim, PENDING)
    victim.kill()
    (row,) = json.loads(process.communicate(timeout=120)[0])
    assert process.returncode == 1, str(row)
    assert (row["pid"], row["name"], row["outcome"]) == (victim.pid, "blocked-app", "not_applicable")
    # It is pending before the command begins to wait for that: its threads are settled first.
    assert row["reason"] in [
        f"process {victim.pid} (blocked-app) ended while it was {what}" for what in ("pending", "being dealt with")]


@pytest.fixture
def other_build(target, start):
    """A victim with another build of the same library."""
    return start(target("blocked", USUAL[1]))


@pytest.fixture
def unconcerned():
    """A process that has the runtime and does not load the library."""
    with subprocess.Popen(["sleep", "infinity"], env=dict(os.environ, LD_PRELOAD=str(RUNTIME))) as process:
        wait_until(lambda: RUNTIME.name in Path(f"/proc/{process.pid}/maps").read_text(), "the runtime is mapped")
        yield process
        process.kill()


def test_a_process_asked_for_that_the_livepatch_is_not_for(target, other_build, unconcerned, ulp):
    """Guards the exit status: who asks for one process must not take "nothing to do" for "is patched".

    Seen to fail with exit 0 when ``named`` is left out of Dispatched.
    """
    ulp_file = version_patch(target("blocked", USUAL[0]))
    for pid, what in ((other_build.pid, "already_fixed_on_disk"), (unconcerned.pid, "not_applicable")):
        for words in (("dispatch", "patch", ulp_file, pid), ("dispatch", "check", ulp_file, pid),
                      ("trigger", "-p", pid, ulp_file), ("trigger", "-p", pid, ulp_file, "--revert"),
                      ("check", "-p", pid, ulp_file)):
            ulp.refuse(*words, naming=pid)
            assert what in ulp.run(*words, "--json").output
        # It is without the livepatch, which is what was asked for.
        assert outcomes(dispatch(ulp, "revert", ulp_file, pid)) == {pid: what}
    # Nobody asked for these two: they are no reason to fail.
    assert outcomes(dispatch(ulp, "patch", ulp_file, "--name", "sleep"))[unconcerned.pid] == "not_applicable"
    assert outcomes(dispatch(ulp, "check", ulp_file, "--name", "sleep"))[unconcerned.pid] == "not_applicable"
    ulp.refuse("dispatch", "patch", ulp_file, other_build.pid, "--exclude", "name=*", naming="exclude")


def test_exit_status_of_dispatch_check(build, ulp_file, start, preforked, ulp):
    """Guards that it is that of ``ulp check``: 1 without the livepatch, 3 pending, 0 applied, 1 reverted.

    Seen to fail, with exit 0 for all of them, when the status is that of patch and revert.
    """
    victims = [start(build), start(build)]
    first, second = (victim.pid for victim in victims)
    dispatch(preforked, "check", ulp_file, first, second, status=NOT_APPLIED)
    assert victims[1].number("park 0 hold") == 1
    dispatch(preforked, "patch", ulp_file, first)
    dispatch(preforked, "check", ulp_file, first, status=APPLIED)
    answer = ulp.run("dispatch", "check", ulp_file, first, second)
    assert answer.status == NOT_APPLIED
    assert str(second) in answer.errors and str(first) not in answer.errors
    dispatch(preforked, "patch", ulp_file, second)
    dispatch(preforked, "check", ulp_file, first, second, status=PENDING)
    assert victims[1].numbers("release 0") == [1, 1, 1, 1, 1, 2]
    dispatch(preforked, "check", ulp_file, first, second, status=APPLIED)
    dispatch(preforked, "revert", ulp_file, first)
    dispatch(preforked, "check", ulp_file, first, second, status=NOT_APPLIED)
    assert "reverted" in ulp.refuse("dispatch", "check", ulp_file, first, naming=first).errors


def test_module_check_tells_of_a_process_that_the_livepatch_is_not_for(target, other_build, unconcerned):
    """Guards ``applied``: seen to be true of both when only processes concerned counted, whoever was asked for."""
    ulp_file = version_patch(target("blocked", USUAL[0]))
    for pid, what in ((other_build.pid, "already_fixed_on_disk"), (unconcerned.pid, "not_applicable")):
        result = module("ulp_check", patch=ulp_file, pids=[pid])
        assert (result["applied"], result["outcomes"]) == (False, {what: 1})
        result, warnings = run_module("ulp_dispatch", patch=ulp_file, pids=[pid])
        assert (result["changed"], result["outcomes"]) == (False, {what: 1})
        assert f"process {pid} " in warnings
        assert str(pid) not in run_module("ulp_dispatch", patch=ulp_file, pids=[pid], state="absent")[1]


def test_modules_are_idempotent(target, start):
    """Guards ``changed``: true only when a process was changed; check mode tells it beforehand and changes nothing.

    Seen to fail with an apply that does not ask for check mode (it patches), with an apply or a revert that does not
    look whether the livepatch is there, and with ``changed`` true of every run that has a row.
    """
    build = target("blocked", USUAL[0])
    ulp_file = version_patch(build)
    victim = start(build)
    arguments = {"patch": ulp_file, "pids": [victim.pid]}
    assert module("ulp_check", **arguments)["applied"] is False
    assert module("ulp_dispatch", "--check", state="present", **arguments)["changed"] is True
    assert victim.number("version") == 1
    result = module("ulp_dispatch", state="present", **arguments)
    assert (result["changed"], result["processes"][0]["outcome"]) == (True, "patched")
    assert victim.number("version") == 2
    for options in ((), ("--check",)):
        result = module("ulp_dispatch", *options, state="present", **arguments)
        assert (result["changed"], result["processes"][0]["outcome"]) == (False, "already_patched")
    assert module("ulp_check", **arguments)["applied"] is True
    assert module("ulp_dispatch", state="absent", **arguments)["changed"] is True
    assert victim.number("version") == 1
    assert module("ulp_dispatch", state="absent", **arguments)["changed"] is False


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_without_standard_streams(target, start, ulp, closed):
    """Guards the exit status where a daemon has closed the standard streams.

    Seen to fail: worker processes closed their own pipes, which had got those numbers, and with ``AttributeError``,
    when all was done, without standard output.
    """
    build = target("blocked", USUAL[0])
    ulp_file = version_patch(build)
    victim = start(build)
    for operation, version in (("patch", 2), ("revert", 1)):
        words = [*ulp.command, "dispatch", operation, str(ulp_file), str(victim.pid)]
        done = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", *words], stderr=subprocess.PIPE, text=True,
                              check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert victim.number("version") == version

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many processes at once, facts, and the command."""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import time
from collections import Counter

import pytest
from harness.foreign_memory import write_memory

from ansible_collections.libpulp.livepatch.plugins.module_utils import abi
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch import facts
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.deal import Dealer
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.dispatch import _Work, dispatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.facts import gather
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.interruption import SIGNALS
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.policy import Policy
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.result import (
    CHECK,
    PATCH,
    REVERT,
    count_outcomes,
    state_text,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.rules import parse_exclude
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.select import Selection, choose
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.task import Task
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.errors import ProcessGone
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.procfs import ENDED_STATES, read_stat
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.subject import has_ended
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.borrowing import borrow
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.drive import drive
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.operations import carry_out, settle
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import Options

NO_PID = 2 ** 22 + 1


def rows_by_pid(result):
    return {row.pid: row for row in result.rows}


def test_every_process_that_runs_the_library(layouts, start):
    padded = layouts["padded"]
    victims = [start(padded) for _index in range(3)]
    unprepared = start(padded, preload=False)
    other = start(layouts["posted"])
    result = dispatch(padded.livepatch, PATCH, Selection(), Options())
    rows = rows_by_pid(result)
    assert {rows[victim.pid].outcome for victim in victims} == {"patched"}
    assert rows[unprepared.pid].outcome == "not_patchable"
    assert rows[other.pid].outcome == "already_fixed_on_disk"
    assert os.getppid() not in rows
    assert result.changed
    assert result.failures == []
    assert list(rows) == sorted(rows)
    assert not result.applied
    for victim in victims:
        assert victim.ask("answer") == "5001"
    before, after = state_text(result, False), state_text(result, True)
    assert before.count("not applied") == 3
    assert "not applied" not in after

    again = dispatch(padded.livepatch, PATCH, Selection(), Options())
    assert not again.changed
    # Others may run on this machine.
    mine = [row for row in again.rows if row.pid in {found.pid for found in (*victims, unprepared, other)}]
    assert count_outcomes(mine) == {"already_patched": 3, "not_patchable": 1, "already_fixed_on_disk": 1}
    assert state_text(again, False) == ""
    pids = tuple(victim.pid for victim in victims)
    assert dispatch(padded.livepatch, CHECK, Selection(pids), Options()).applied

    back = dispatch(padded.livepatch, REVERT, Selection(pids), Options())
    assert count_outcomes(back.rows) == {"reverted": 3}
    assert "not applied" in state_text(back, True)
    assert not dispatch(padded.livepatch, CHECK, Selection(pids), Options()).applied


def test_named_processes(padded, start):
    victim, other = start(padded), start(padded)
    selection = Selection(pids=(victim.pid, NO_PID))
    result = dispatch(padded.livepatch, PATCH, selection, Options())
    rows = rows_by_pid(result)
    assert list(rows) == [victim.pid, NO_PID]
    assert rows[NO_PID].outcome == "failed"
    assert result.failures == result.unmet == [rows[NO_PID]]
    assert other.ask("answer") == "20"
    assert victim.ask("answer") == "5001"


def test_process_that_cannot_be_patched_is_a_failure_only_if_it_was_asked_for(padded, start):
    victim = start(padded, preload=False)
    result = dispatch(padded.livepatch, PATCH, Selection(pids=(victim.pid,)), Options())
    assert [row.pid for row in result.failures] == [victim.pid]
    result = dispatch(padded.livepatch, PATCH, Selection(), Options())
    assert victim.pid in rows_by_pid(result)
    assert result.failures == []


def test_names_and_exclusion(padded, start):
    victim = start(padded)
    result = dispatch(padded.livepatch, PATCH, Selection(names=("no such*",)), Options())
    assert result.rows == []
    result = dispatch(
        padded.livepatch, PATCH, Selection(names=("ap?",)), Options(), Policy(exclude=parse_exclude(["a*"]))
    )
    assert rows_by_pid(result)[victim.pid].outcome == "excluded"
    assert victim.ask("answer") == "20"
    result = dispatch(padded.livepatch, PATCH, Selection(), Options(), Policy(exclude=parse_exclude(["app"])))
    assert rows_by_pid(result)[victim.pid].outcome == "excluded"
    result = dispatch(padded.livepatch, PATCH, Selection(names=("ap?",)), Options())
    assert rows_by_pid(result)[victim.pid].outcome == "patched"


def test_choice_never_contains_this_process():
    assert os.getpid() not in [candidate.pid for candidate in choose(Selection())]
    assert choose(Selection(pids=(os.getpid(),))) == []


def test_revert_of_what_has_no_runtime(padded, start):
    """Guards a revert that was asked for: where nothing is applied nothing has failed; seen as not_patchable."""
    patched, bare = start(padded), start(padded, preload=False)
    pids = (patched.pid, bare.pid)
    dispatch(padded.livepatch, PATCH, Selection((patched.pid,)), Options())
    result = dispatch(padded.livepatch, REVERT, Selection(pids), Options())
    rows = rows_by_pid(result)
    assert rows[patched.pid].outcome == "reverted"
    assert rows[bare.pid].outcome == "not_applicable"
    assert "without the livepatch runtime, so that there is nothing to revert" in rows[bare.pid].reason
    assert (result.failures, result.unmet) == ([], [])
    assert dispatch(padded.livepatch, CHECK, Selection((bare.pid,)), Options()).rows[0].outcome == "not_patchable"


def test_check_mode(padded, start):
    victim = start(padded)
    result = dispatch(padded.livepatch, PATCH, Selection((victim.pid,)), Options(check=True))
    assert result.changed
    assert result.rows[0].outcome == "patched"
    assert victim.ask("answer") == "20"


def test_waiting_for_all_processes_together(padded, start):
    victims = [start(padded) for _index in range(2)]
    for victim in victims:
        victim.start_thread("inside", 0)
    pids = tuple(victim.pid for victim in victims)
    result = dispatch(padded.livepatch, PATCH, Selection(pids), Options(wait_migrated=0.4))
    assert count_outcomes(result.rows) == {"pending": 2}
    assert all(row.changed and row.held_us for row in result.rows)
    for victim in victims:
        assert victim.ask("release") == "20"
    result = dispatch(padded.livepatch, PATCH, Selection(pids), Options(wait_migrated=60))
    assert count_outcomes(result.rows) == {"already_patched": 2}


@pytest.mark.parametrize("by_number", [False, True])
@pytest.mark.parametrize("operation", [CHECK, PATCH, REVERT])
def test_process_that_ends_while_it_is_waited_for(padded, start, monkeypatch, operation, by_number):
    """Guards a look at processes that come and go: one that has ended is no failure, and nothing is left to patch.

    It has a row if it was asked for by PID, or if it was changed.  Seen to fail by name, with a row that makes the
    whole run fail.
    """
    victim, staying = start(padded), start(padded)
    pids = (victim.pid, staying.pid)
    if operation == REVERT:
        dispatch(padded.livepatch, PATCH, Selection(pids), Options())
    victim.start_thread("inside", 0)
    if operation == CHECK:
        dispatch(padded.livepatch, PATCH, Selection(pids), Options())
    original = _Work.wait

    def wait(work, *arguments):
        assert work.rows[0].outcome == "pending"
        victim.process.kill()
        victim.wait(lambda: has_ended(victim.pid), "it has ended")
        return original(work, *arguments)

    monkeypatch.setattr(_Work, "wait", wait)
    selection = Selection(pids) if by_number else Selection(names=("app",))
    result = dispatch(padded.livepatch, operation, selection, Options(wait_migrated=60))
    *ended, other = result.rows
    assert other.outcome == {CHECK: "already_patched", PATCH: "patched", REVERT: "reverted"}[operation]
    assert [(row.outcome, row.reason, row.threads_pending) for row in ended] == (by_number or operation != CHECK) * [
        ("not_applicable", f"process {victim.pid} (app) ended while it was pending", 0)]
    assert all(row.changed == (operation != CHECK) for row in ended)
    assert result.failures == []
    # It was asked to have the livepatch, and nobody can say that it has.
    assert [row.pid for row in result.unmet] == (by_number and operation != REVERT) * [victim.pid]


@pytest.mark.parametrize("attached", [False, True])
@pytest.mark.parametrize("operation", [PATCH, REVERT])
def test_process_that_ends_while_its_threads_are_settled(padded, start, monkeypatch, runtime, operation, attached):
    """Guards a session that ends right after the livepatch has come, with nobody waiting for its threads.

    Seen to fail with the row pending, which says to apply the livepatch again: to a process that is not there.
    """
    victim = start(padded, preload=not attached)
    options = Options(attach=True, runtime=str(runtime / "libpulp.so"))
    selection = Selection(names=("app",))
    if operation == REVERT:
        dispatch(padded.livepatch, PATCH, selection, options)

    def settling(*arguments):
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait(lambda: has_ended(victim.pid), "it has ended")
        return original(*arguments)

    original = settle.settling
    monkeypatch.setattr(settle, "settling", settling)
    result = dispatch(padded.livepatch, operation, selection, options)
    (row,) = result.rows
    assert (row.outcome, row.threads_pending, row.changed) == ("not_applicable", 0, True), row
    assert row.reason == f"process {victim.pid} (app) ended while it was being dealt with"
    assert result.failures == []


def test_process_that_ends_while_it_is_attached_to(padded, start, monkeypatch, runtime):
    """Guards a session that ends between the load of the runtime and that of the livepatch; seen to fail as failed."""
    victim = start(padded, preload=False)
    start(padded)

    def exchange(job, subject, *others):
        if subject.pid == victim.pid:
            os.kill(victim.pid, signal.SIGKILL)
            victim.wait(lambda: has_ended(victim.pid), "it has ended")
        return original(job, subject, *others)

    original = carry_out.exchange
    monkeypatch.setattr(carry_out, "exchange", exchange)
    options = Options(attach=True, runtime=str(runtime / "libpulp.so"))
    result = dispatch(padded.livepatch, PATCH, Selection(names=("app",)), options)
    ended, other = result.rows
    assert other.outcome == "patched"
    assert (ended.outcome, ended.changed, ended.attached) == ("not_applicable", True, True), ended
    assert ended.reason == f"process {victim.pid} (app) ended while it was being dealt with"
    assert result.failures == []


# How it is chosen; by its name, too, it must not vanish from the report.
CHOICES = {"by PID": lambda pid: Selection((pid,)), "by name": lambda _pid: Selection(names=("app",)),
           "all": lambda _pid: Selection()}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=["is killed", "breaks down"])
@pytest.mark.parametrize("choice", sorted(CHOICES))
def test_process_that_ends_before_it_answers(padded, start, monkeypatch, choice, number):
    """Guards the report of what was done to a process: what ends at its request may have ended because of it.

    Seen to fail by name, and where all are meant, with no row at all.
    """
    victim, other = start(padded), start(padded)

    def await_result(proc_tid, *others):
        if proc_tid == victim.pid:
            os.kill(victim.pid, number)
            victim.wait(lambda: has_ended(victim.pid), "it has ended")
        return (yield from waiting(proc_tid, *others))

    waiting = borrow.await_result
    monkeypatch.setattr(borrow, "await_result", await_result)
    result = dispatch(padded.livepatch, PATCH, CHOICES[choice](victim.pid), Options())
    rows = {row.pid: row for row in result.rows}
    row = rows[victim.pid]
    assert row.changed
    if number == signal.SIGKILL:
        assert (row.outcome, row.reason) == (
            "not_applicable", f"process {victim.pid} (app) ended while it was being dealt with")
        assert result.failures == []
    else:
        assert row.outcome == "failed" and "was ended by SIGSEGV while it was being dealt with" in row.reason
        assert [failed.pid for failed in result.failures] == [victim.pid]
    assert choice == "by PID" or rows[other.pid].outcome == "patched"


def test_process_that_ends_when_nothing_was_sent(padded, start, monkeypatch):
    """Guards a run over processes that come and go: it is in no row, as no thread of it went off."""
    victim, other = start(padded), start(padded)
    ask = borrow.Borrower._ask

    def end_first(borrower, *others):
        if borrower.subject.pid == victim.pid:
            os.kill(victim.pid, signal.SIGKILL)
            victim.wait(lambda: has_ended(victim.pid), "it has ended")
        return (yield from ask(borrower, *others))

    monkeypatch.setattr(borrow.Borrower, "_ask", end_first)
    result = dispatch(padded.livepatch, PATCH, Selection(names=("app",)), Options())
    assert [(row.pid, row.outcome) for row in result.rows] == [(other.pid, "patched")]


def test_signal_while_no_thread_can_serve(padded, start, look, monkeypatch, tmp_path, calls):
    """Guards a process that has not served yet: it goes on as it was, and the ledger says so.

    Seen to fail, with 20 attempts instead of one, without the question for a signal in trigger.borrowing.borrow.
    """
    victim = start(padded)
    # So its runtime refuses every request: it holds that it carries out another one.
    state = look(victim).state
    write_memory(victim.pid, state.address + abi.STATE.offsets["owner"], struct.pack("<I", victim.pid))
    command = os.getpid()

    def await_result(proc_tid, address, nonce, *others):
        if calls.note() == 1:
            os.kill(command, signal.SIGTERM)
        result = yield from waiting(proc_tid, address, nonce, *others)
        assert (result.stage, result.error) == (abi.STAGE_REFUSED, abi.BUSY)
        # Until the command has told the worker.
        yield 0.2
        return result

    waiting = borrow.await_result
    monkeypatch.setattr(borrow, "await_result", await_result)
    ledger = tmp_path / "ledger.jsonl"
    selection = Selection(pids=(victim.pid,))
    before = [signal.getsignal(number) for number in SIGNALS]
    result = dispatch(padded.livepatch, PATCH, selection, Options(retries=19), Policy(ledger=str(ledger)))
    assert [signal.getsignal(number) for number in SIGNALS] == before
    (row,) = result.rows
    assert (row.outcome, row.changed, len(calls)) == ("failed", False, 1)
    assert row.reason.startswith("SIGTERM came before")
    assert result.signal == signal.SIGTERM
    assert [json.loads(line)["reason"] for line in ledger.read_text().splitlines()] == [row.reason]
    assert victim.ask("answer") == "20"


def test_process_that_ends_between_two_looks_is_left_out(padded, start, monkeypatch):
    victim = start(padded)
    concerned = Dealer._is_concerned

    def is_concerned(dealer, pid):
        answer = concerned(dealer, pid)
        if pid == victim.pid:
            os.kill(pid, signal.SIGKILL)
            while read_stat(pid).state not in ENDED_STATES:
                time.sleep(0.001)
        return answer

    monkeypatch.setattr(Dealer, "_is_concerned", is_concerned)
    assert victim.pid not in rows_by_pid(dispatch(padded.livepatch, PATCH, Selection(), Options()))


# -------------------------------------------------------------------- facts


def test_facts(layout, start, trigger):
    victim, bare = start(layout), start(layout, preload=False)
    facts = gather()
    (process,) = [found for found in facts["processes"] if found["pid"] == victim.pid]
    (library,) = process["libraries"]
    assert library["path"] == str(layout.library)
    assert library["post_processed"] == (layout.name == "posted")
    assert (library["universe"], library["patches"], process["patches"]) == (0, [], [])
    assert process["runtime_version"] in facts["runtime_versions"]
    (refused,) = [found for found in facts["unpatchable"] if found["pid"] == bare.pid]
    assert "started without the livepatch runtime" in refused["reason"]
    assert not any("kernel thread" in found["reason"] for found in facts["unpatchable"])
    trigger(layout).apply(victim.pid)
    victim.start_thread("inside", 0)
    victim.wait_for_threads(2)
    (process,) = gather(Selection((victim.pid,)))["processes"]
    (patch,) = process["patches"]
    assert (patch["status"], patch["name"], patch["libraries"]) == ("applied", "victim.ulp", ["libvictim.so"])
    assert process["libraries"][0]["patches"] == [patch["patch_id"]]
    assert (process["threads"], process["threads_pending"]) == (2, 0)
    trigger(layout).revert(victim.pid)
    (process,) = gather(Selection((victim.pid,)))["processes"]
    assert process["patches"][0]["status"] == "reverted"
    assert process["threads_pending"] == 1
    json.dumps(process)


def test_facts_of_a_process_that_does_not_exist():
    with pytest.raises(ProcessGone):
        gather(Selection((NO_PID,)))


def test_facts_of_many_patched_processes_are_cheap(padded, start):
    """Guards that what processes share is read once, and of each process little: 200 take a tenth of a second then.

    Counted in calls, which do not depend on the load of the machine: about 1,070 for each process, of which 90 look
    at its hooks, and 200 hold its state block against its memory map. Seen to fail, with 2,900, when surveys and
    images were not remembered, and now and then, with 1,300, when each search in the map parsed its lines again: how
    many lines a search meets depends on where the kernel put the libraries.
    """
    selection = Selection(tuple(start(padded).pid for _index in range(20)))
    assert count_outcomes(dispatch(padded.livepatch, PATCH, selection, Options()).rows) == {"patched": 20}

    # What a worker does, without the worker, in which nobody could count.
    facts_of = facts.facts_of(selection)

    def calls(pids):
        """How many calls the facts of these processes take."""
        events = Counter()
        sys.setprofile(lambda _frame, event, _argument: events.update((event,)))
        try:
            found = [drive(facts_of(Task(0, pid, True))) for pid in pids]
        finally:
            sys.setprofile(None)
        assert [len(process["patches"]) for (process,) in found] == [1] * len(pids)
        return events["call"] + events["c_call"]

    # The first process is the one for which files are read.
    calls(selection.pids[:1])
    each = calls(selection.pids[1:]) / 19
    assert each < 1300


# ------------------------------------------------------------------ command


def test_command_from_library_to_messages(layouts, ulp, start, tmp_path):
    posted = layouts["posted"]
    status, output, errors = ulp("post", "--json", posted.library, "-o", tmp_path / "copy.so")
    assert (status, errors) == (0, [])
    assert json.loads(output)["trampolines"] == 4
    status, output, errors = ulp("pack", posted.directory / "victim.dsc", "-o", tmp_path / "victim.ulp")
    assert (status, errors) == (0, [])
    livepatch = tmp_path / "victim.ulp"
    assert livepatch.read_bytes() == posted.livepatch.read_bytes()
    status, output, errors = ulp("dump", "--json", livepatch)
    assert json.loads(output)["targets"][0]["soname"] == "libvictim.so"

    victim = start(posted)
    status, output, errors = ulp("check", "-p", victim.pid, livepatch)
    assert (status, errors) == (1, [f"ulp: the livepatch is not applied to process {victim.pid} (app)"])
    status, output, errors = ulp("trigger", "-p", victim.pid, livepatch, "--json")
    assert (status, errors) == (0, [])
    row = json.loads(output)
    assert list(row) == [
        "attached", "attached_now", "container", "coroutines", "held_us", "name", "outcome", "patch_id", "pid",
        "reason", "threads", "threads_pending"]
    assert row["outcome"] == "patched"
    assert ulp("check", "-p", victim.pid, livepatch)[0] == 0
    status, output, errors = ulp("list", "-p", victim.pid)
    assert status == 0
    assert "victim.ulp applied" in output
    status, output, errors = ulp("list", "--json")
    assert victim.pid in [process["pid"] for process in json.loads(output)["processes"]]
    status, output, errors = ulp("dispatch", "revert", livepatch, victim.pid)
    assert (status, errors) == (0, [])
    assert "reverted" in output
    victim.start_thread("inside", 0)
    assert ulp("trigger", "-p", victim.pid, livepatch)[0] == 0
    assert ulp("check", "-p", victim.pid, livepatch)[0] == 3
    assert ulp("trigger", "-p", victim.pid, livepatch, "--revert")[0] == 0
    status, output, errors = ulp("check", "-p", victim.pid, livepatch)
    assert (status, errors) == (1, [f"ulp: the livepatch was reverted in process {victim.pid} (app)"]) or status == 3
    status, output, errors = ulp("messages", "-p", victim.pid)
    assert status == 0
    done = [line.split()[1] for line in output.splitlines()]
    assert [what for what in done if what != "settle"] == ["apply", "revert", "apply", "revert"]


def test_command_refuses(padded, ulp, start, tmp_path):
    victim = start(padded, preload=False)
    text = tmp_path / "text"
    text.write_text("no ELF file", encoding="utf-8")
    for arguments, naming in (
        (("trigger", "-p", victim.pid, padded.livepatch), str(victim.pid)),
        (("trigger", "-p", NO_PID, padded.livepatch), str(NO_PID)),
        (("trigger", "-p", victim.pid, text), str(text)),
        (("trigger", "-p", victim.pid, tmp_path / "missing.ulp"), "missing.ulp"),
        (("trigger", "-p", victim.pid, padded.library), "not a livepatch"),
        (("check", "-p", NO_PID, padded.livepatch), str(NO_PID)),
        (("dispatch", "patch", padded.livepatch, NO_PID), str(NO_PID)),
        (("list", "-p", NO_PID), str(NO_PID)),
        (("messages", "-p", NO_PID), str(NO_PID)),
        (("post", text), str(text)),
        (("pack", text), str(text)),
        (("dump", text), str(text)),
    ):
        status, _output, errors = ulp(*arguments)
        assert (status, len(errors)) == (1, 1), (arguments, errors)
        assert naming in errors[0], (arguments, errors)


def test_command_usage(ulp, padded):
    for arguments in (
        (), ("unknown",), ("trigger", padded.livepatch), ("trigger", "-p", "x", padded.livepatch),
        ("dispatch", "twist", padded.livepatch), ("trigger", "-p", "1", padded.livepatch, "--timeout", "-1"),
    ):
        status, _output, errors = ulp(*arguments)
        assert status == 2, arguments
        assert errors
    assert ulp("--help")[0] == 0

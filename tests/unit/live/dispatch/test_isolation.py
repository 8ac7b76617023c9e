# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One process that goes wrong, never answers or forks: the others are served, and what is said is true."""

from __future__ import annotations

import os
import signal
import time

import pytest
from harness.polling import wait_until

from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch import again
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.deal import Dealer
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.dispatch import dispatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.facts import gather
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.policy import Guard, Policy
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.result import CHECK, PATCH, REVERT
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.rules import parse_exclude
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.select import Selection
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.worker import MOST_MEMORY
from ansible_collections.libpulp.livepatch.plugins.module_utils.process import subject
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.procfs import (
    process_ids,
    read_bytes,
    read_stat,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.random_bytes import random_bytes
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.subject import has_ended
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.bootstrap import Bootstrap
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.borrowing import borrow
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.judgement import applicability
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.operations import exchange
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import Options
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.trigger import Trigger

# Seconds: for ever, as far as the tools are concerned.
FOR_EVER = 600
PATIENT = Options(examine_timeout=1)


def rows_of(result):
    return {row.pid: row for row in result.rows}


def pids(*victims):
    return Selection(tuple(victim.pid for victim in victims))


@pytest.fixture(name="stuck")
def fixture_stuck(monkeypatch, calls):
    """A function that has the tools never come back from ``name`` of a module where it is about one process."""

    def stuck(victim, module, name, about):
        original = getattr(module, name)

        def never_answer(*arguments, **options):
            if about(*arguments) == victim.pid:
                calls.note()
                time.sleep(FOR_EVER)
            return original(*arguments, **options)

        monkeypatch.setattr(module, name, never_answer)

    return stuck


# ------------------------------------------------------------------ hanging


@pytest.mark.parametrize("operation", [PATCH, REVERT, CHECK])
def test_others_are_served_while_one_never_answers(padded, start, stuck, operation):
    """Guards everybody else; seen to hang for ever with dispatch() reading in its own process."""
    before, hanging, after = victims = [start(padded) for _each in range(3)]
    if operation != PATCH:
        dispatch(padded.livepatch, PATCH, pids(*victims), Options())
    stuck(hanging, applicability, "examine", lambda pid, *_others: pid)
    rows = rows_of(dispatch(padded.livepatch, operation, pids(*victims), PATIENT))
    done = {PATCH: "patched", REVERT: "reverted", CHECK: "already_patched"}[operation]
    assert [rows[victim.pid].outcome for victim in (before, after)] == [done, done]
    row = rows[hanging.pid]
    assert (row.outcome, row.changed, row.name) == ("failed", False, "app")
    assert "takes too long to examine" in row.reason


def test_facts_of_others_while_one_never_answers(padded, start, stuck, monkeypatch):
    """Guards facts and list; seen to hang for ever with gather() reading in its own process."""
    from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch import facts as gathering

    hanging, other = start(padded), start(padded)
    stuck(hanging, gathering, "examine", lambda pid, *_others: pid)
    facts = gather(pids(hanging, other), examine_timeout=1)
    assert [process["pid"] for process in facts["processes"]] == [other.pid]
    ((pid, reason),) = [(found["pid"], found["reason"]) for found in facts["unpatchable"]]
    assert pid == hanging.pid
    assert "takes too long to examine" in reason


def test_many_that_never_answer_are_waited_for_together(padded, start, monkeypatch, calls):
    """Guards the time of a run among many such processes; seen to fail, each by itself, with one worker at a time."""
    hanging = [start(padded) for _each in range(6)]
    other = start(padded)
    original = applicability.examine

    def answer_when_all_hang(pid, files, *others):
        if pid != other.pid:
            calls.note()
            while len(calls) < len(hanging):
                time.sleep(0.01)
        return original(pid, files, *others)

    monkeypatch.setattr(applicability, "examine", answer_when_all_hang)
    result = dispatch(padded.livepatch, PATCH, pids(*hanging, other), Options(examine_timeout=40))
    assert {row.outcome for row in result.rows} == {"patched"}


def test_process_that_is_left_alone_does_not_fail_the_run(padded, start, stuck):
    """Guards the way out for who meets such a process in every run: to exclude it."""
    hanging, other = start(padded), start(padded)
    stuck(hanging, applicability, "read_code_maps", lambda proc_tid: proc_tid)
    policy = Policy(exclude=parse_exclude(["name=app"]))
    result = dispatch(padded.livepatch, PATCH, Selection(), PATIENT, policy)
    assert [rows_of(result)[victim.pid].outcome for victim in (hanging, other)] == ["excluded", "excluded"]


def test_request_is_carried_out_although_nobody_waits_for_it(padded, start, stuck):
    """Guards *changed*, where the tools hang after the request was sent.

    Seen to fail, with "failed" and no change, without the look at what became of it (deal.FIND_OUT).
    """
    victim = start(padded)
    stuck(victim, exchange, "verdict_on_answer", lambda _job, subject, *_others: subject.pid)
    row = rows_of(dispatch(padded.livepatch, PATCH, pids(victim), PATIENT))[victim.pid]
    assert (row.outcome, row.changed) == ("patched", True)
    assert victim.ask("answer") == "5001"


def test_process_that_was_being_attached_to_when_the_tools_hang(padded, start, stuck, runtime):
    """Guards the look at what has become of it: there is no runtime to be asked. Seen to fail: it ended the run."""
    victim, other = start(padded, preload=False), start(padded)
    stuck(victim, Bootstrap, "run", lambda bootstrap: bootstrap.pid)
    options = PATIENT._replace(runtime=str(runtime / "libpulp.so"))
    rows = rows_of(dispatch(padded.livepatch, PATCH, pids(victim, other), options))
    assert (rows[victim.pid].outcome, rows[victim.pid].changed) == ("failed", True)
    assert "whether it has carried that out cannot be told" in rows[victim.pid].reason
    assert rows[other.pid].outcome == "patched"
    assert victim.ask("answer") == "20"


def test_process_that_ends_when_nobody_waits_for_its_answer(padded, start, monkeypatch):
    """Guards the same where the tools hang, and the process ends. Seen to fail, with no row."""
    victim, other = start(padded), start(padded)

    def verdict_on_answer(job, subject, *others):
        if subject.pid == victim.pid:
            os.kill(victim.pid, signal.SIGKILL)
            time.sleep(FOR_EVER)
        return (yield from original(job, subject, *others))

    original = exchange.verdict_on_answer
    monkeypatch.setattr(exchange, "verdict_on_answer", verdict_on_answer)
    rows = rows_of(dispatch(padded.livepatch, PATCH, Selection(names=("app",)), PATIENT))
    assert (rows[victim.pid].outcome, rows[victim.pid].changed) == ("not_applicable", True)
    assert rows[victim.pid].reason == f"process {victim.pid} (app) ended while it was being dealt with"
    assert rows[other.pid].outcome == "patched"


def test_request_of_a_worker_that_had_to_be_killed_for_another(padded, start, monkeypatch, calls):
    """Guards *changed* of a process whose request was under way when another one kept the worker.

    Seen to fail, with "already_patched" and no change, without Task.touched.
    """
    sent, hanging = start(padded), start(padded)
    waiting = borrow.await_result

    def await_result(proc_tid, address, nonce, *others):
        if proc_tid == sent.pid and calls.note() == 1:
            result = yield from waiting(proc_tid, address, nonce, *others)
            # Nobody has heard of it when the worker is killed.
            yield 2 * FOR_EVER
            return result
        return (yield from waiting(proc_tid, address, nonce, *others))

    def never_answer(pid, files, *others):
        if pid == hanging.pid:
            while len(calls) == 0:
                time.sleep(0.001)
            time.sleep(FOR_EVER)
        return subject.examine(pid, files, *others)

    monkeypatch.setattr(borrow, "await_result", await_result)
    monkeypatch.setattr(applicability, "examine", never_answer)
    rows = rows_of(dispatch(padded.livepatch, PATCH, pids(sent, hanging), PATIENT))
    assert (rows[sent.pid].outcome, rows[sent.pid].changed) == ("patched", True)
    assert rows[hanging.pid].outcome == "failed"


def test_no_worker_is_left(padded, start, stuck):
    """Guards the machine against what the tools leave there."""
    hanging = start(padded)
    stuck(hanging, applicability, "examine", lambda pid, *_others: pid)
    dispatch(padded.livepatch, PATCH, pids(hanging), PATIENT)
    left = [pid for pid in process_ids() if _parent(pid) == os.getpid() and pid != hanging.pid]
    # One that was killed and gets no processor is not waited for for ever; it ends when it gets one.
    wait_until(lambda: all(map(has_ended, left)), "no worker is left")


def _parent(pid):
    try:
        return read_stat(pid).parent
    except Exception:  # noqa: BLE001 - it has ended
        return None


# ---------------------------------------------------------------- unexpected


def test_unexpected_exception_ends_in_the_row(padded, start, monkeypatch, faults_met):
    """Guards everybody else; seen to fail, with the exception, without the nets in deal and attempt."""
    strange, stranger, other = start(padded), start(padded), start(padded)
    original = applicability.examine
    errors = {strange.pid: OverflowError("int too large"), stranger.pid: RecursionError("too deep")}

    def examine(pid, files, *others):
        if pid in errors:
            raise errors[pid]
        return original(pid, files, *others)

    monkeypatch.setattr(applicability, "examine", examine)
    rows = rows_of(dispatch(padded.livepatch, PATCH, pids(strange, stranger, other), Options()))
    assert rows[other.pid].outcome == "patched"
    for victim in (strange, stranger):
        assert rows[victim.pid].outcome == "failed"
        assert "a fault of this tool" in rows[victim.pid].reason
    assert "Traceback" in faults_met[0]
    faults_met.clear()


def test_too_little_memory_ends_in_the_row(padded, start, monkeypatch):
    """Guards everybody else, and the one who reads it: seen to fail, with "a fault of this tool"."""
    large, other = start(padded), start(padded)
    original = applicability.examine

    def examine(pid, files, *others):
        if pid == large.pid:
            bytearray(2 * MOST_MEMORY)
        return original(pid, files, *others)

    monkeypatch.setattr(applicability, "examine", examine)
    rows = rows_of(dispatch(padded.livepatch, PATCH, pids(large, other), Options()))
    assert (rows[other.pid].outcome, rows[large.pid].outcome, rows[large.pid].changed) == ("patched", "failed", False)
    assert "takes too much memory to examine" in rows[large.pid].reason


def test_unexpected_exception_before_anything_is_known(padded, start, monkeypatch, faults_met):
    """Guards the same for a process that nobody asked for; seen to fail with the exception."""
    strange, other = start(padded), start(padded)
    original = Dealer._is_concerned

    def is_concerned(dealer, pid):
        if pid == strange.pid:
            raise KeyError("Uid")
        return original(dealer, pid)

    monkeypatch.setattr(Dealer, "_is_concerned", is_concerned)
    rows = rows_of(dispatch(padded.livepatch, PATCH, Selection(), Options()))
    assert (rows[strange.pid].outcome, rows[other.pid].outcome) == ("failed", "patched")
    faults_met.clear()


def test_unexpected_exception_after_the_request(padded, start, monkeypatch, faults_met):
    """Guards *changed*; seen to fail, with "failed" and no change, without the look at what became of it."""
    victim = start(padded)

    def verdict_on_answer(*_arguments):
        yield 0.0
        raise ValueError("not that")

    monkeypatch.setattr(exchange, "verdict_on_answer", verdict_on_answer)
    row = rows_of(dispatch(padded.livepatch, PATCH, pids(victim), Options()))[victim.pid]
    assert (row.outcome, row.changed) == ("patched", True)
    faults_met.clear()


def test_unexpected_exception_in_facts(padded, start, monkeypatch, faults_met):
    """Guards everybody else's facts; seen to fail with the exception."""
    from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch import facts as gathering

    strange, other = start(padded), start(padded)
    original = gathering.container

    def container(pid):
        if pid == strange.pid:
            raise IndexError
        return original(pid)

    monkeypatch.setattr(gathering, "container", container)
    facts = gather(pids(strange, other))
    assert [process["pid"] for process in facts["processes"]] == [other.pid]
    assert [found["pid"] for found in facts["unpatchable"]] == [strange.pid]
    faults_met.clear()


@pytest.mark.parametrize("debug", [False, True])
def test_traceback_is_printed_when_asked_for(padded, start, monkeypatch, capsys, faults_met, debug):
    """Guards what a report of a fault needs, and who does not ask; seen to fail with no traceback from the worker."""
    from ansible_collections.libpulp.livepatch.plugins.module_utils.command.main import main
    from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch import facts as gathering

    def container(_pid):
        raise IndexError("a strange thing")

    victim = start(padded)
    monkeypatch.setattr(gathering, "container", container)
    assert main(["list", "-p", str(victim.pid), *(["--debug"] if debug else [])]) == 1
    printed = capsys.readouterr().err
    assert "a fault of this tool: IndexError: a strange thing" in printed
    assert ("Traceback" in printed) == debug
    faults_met.clear()


# ------------------------------------------------------------------- forking


def fork(victim):
    """Have the victim fork a child, from a worker, which has not inherited our end of the pipe; the child's PID."""
    before = set(process_ids())
    with open(f"/proc/{victim.pid}/fd/0", "wb") as stream:
        stream.write(b"fork\n")
    while True:
        for pid in set(process_ids()) - before:
            if _parent(pid) == victim.pid:
                return pid


APPS = Selection(names=("app",))


@pytest.fixture(name="dispatch_meanwhile")
def fixture_dispatch_meanwhile(padded, monkeypatch, calls):
    """A function that dispatches to all APPS, while something is done once, before ``victim`` is dealt with."""

    def dispatch_meanwhile(operation, victim, act):
        if operation != PATCH:
            dispatch(padded.livepatch, PATCH, APPS, Options())
        original = Guard.reason

        def reason(guard, pid):
            if pid == victim.pid and calls.note() == 1:
                act()
            return original(guard, pid)

        monkeypatch.setattr(Guard, "reason", reason)
        return dispatch(padded.livepatch, operation, APPS, Options())

    return dispatch_meanwhile


@pytest.mark.parametrize("operation", [PATCH, REVERT])
def test_child_that_is_forked_meanwhile(padded, start, dispatch_meanwhile, operation):
    """Guards children of processes that are not patched yet; seen to fail, without a row, with one pass."""
    victim = start(padded)
    result = dispatch_meanwhile(operation, victim, lambda: fork(victim))
    child = int(victim.receive())
    done = "patched" if operation == PATCH else "reverted"
    assert [(row.pid, row.outcome, row.changed) for row in result.rows] == [
        (pid, done, True) for pid in sorted((victim.pid, child))
    ]
    assert result.incomplete is None
    # A look at everybody says the same.
    assert dispatch(padded.livepatch, CHECK, APPS, Options()).applied == (operation == PATCH)


@pytest.mark.parametrize("operation", [PATCH, CHECK, REVERT])
def test_process_that_ends_meanwhile(padded, start, dispatch_meanwhile, operation):
    """Guards a run over processes that come and go: one that has ended is no failure where no PID was given.

    Seen to fail the check, with "process 4711 (app) has ended already and is a zombie".
    """
    ending, staying = start(padded), start(padded)

    def end():
        os.kill(ending.pid, signal.SIGKILL)
        ending.wait(lambda: has_ended(ending.pid), "it has ended")

    result = dispatch_meanwhile(operation, ending, end)
    done = {PATCH: "patched", CHECK: "already_patched", REVERT: "reverted"}
    assert [(row.pid, row.outcome) for row in result.rows] == [(staying.pid, done[operation])]
    assert result.failures == []


LAUNCHER = ("sh", "-c", 'echo launching; read -r _go; exec "$@"', "sh")


def launch(launcher):
    """Have a LAUNCHER execute the program, from a worker."""
    with open(f"/proc/{launcher.pid}/fd/0", "wb") as stream:
        stream.write(b"go\n")
    launcher.wait(lambda: _is_up(launcher.pid), "it has executed the program")


def _is_up(pid):
    return read_stat(pid).name == "app" and read_stat(pid).state == "S" and b"libvictim" in read_bytes(pid, "maps")


@pytest.mark.parametrize("operation", [PATCH, REVERT])
def test_program_that_is_executed_meanwhile(padded, start, dispatch_meanwhile, operation):
    """Guards what has kept its PID since a pass looked at it; seen to fail, without its row, with PIDs compared."""
    launcher = start(padded, wrap=LAUNCHER, first="launching")
    victim = start(padded)
    result = dispatch_meanwhile(operation, victim, lambda: launch(launcher))
    assert launcher.receive() == "ready"
    done = [("patched", True), ("patched", True)]
    if operation == REVERT:
        done = [("reverted", True), ("not_applicable", False)]
    rows = rows_of(result)
    assert [(rows[each.pid].outcome, rows[each.pid].changed) for each in (victim, launcher)] == done
    assert launcher.ask("answer") == ("5001" if operation == PATCH else "20")
    assert result.incomplete is None


@pytest.mark.parametrize("operation", [PATCH, REVERT])
@pytest.mark.parametrize("why", ["another name was asked for", "it is held"])
def test_program_that_is_not_meant_and_takes_the_place_of_one_that_is(
    padded, start, trigger, monkeypatch, tmp_path, operation, why
):
    """Guards what is held, or was not asked for: the decision was about the program before.

    Seen to fail, with that patched.
    """
    launcher = start(padded, wrap=LAUNCHER, first="launching")
    original = getattr(Trigger, "applying" if operation == PATCH else "reverting")

    def after_the_decision(which, pid, *others):
        if pid == launcher.pid:
            launch(launcher)
            if operation == REVERT:
                # By somebody else.
                assert trigger(padded).apply(pid).changed
        return original(which, pid, *others)

    monkeypatch.setattr(Trigger, original.__name__, after_the_decision)
    selection, policy = Selection(names=("sh",)), Policy()
    if why == "it is held":
        hold = tmp_path / "hold"
        hold.write_text("name=app\n")
        selection, policy = Selection(pids=(launcher.pid,)), Policy(hold_file=str(hold))
    result = dispatch(padded.livepatch, operation, selection, Options(), policy)
    rows = rows_of(result)
    if why == "it is held":
        assert rows[launcher.pid].outcome == "excluded"
        assert "is left alone by" in rows[launcher.pid].reason
    else:
        assert launcher.pid not in rows
    assert not result.changed
    launcher.expect("ready")
    assert launcher.ask("answer") == ("20" if operation == PATCH else "5001")


@pytest.mark.parametrize("wrap", [(), ("setarch", "-R")], ids=["random addresses", "the same addresses"])
@pytest.mark.parametrize("operation", [PATCH, REVERT])
def test_program_that_executes_itself_when_it_is_done(padded, start, monkeypatch, calls, operation, wrap):
    """Guards the new program of a process that has its row; seen to run the old function, its row being "patched".

    Where all lies where it lay, also seen with the program told by its addresses alone.
    """
    victim = start(padded, wrap=wrap)
    names = Selection(names=("app",))
    if operation == REVERT:
        dispatch(padded.livepatch, PATCH, names, Options())
    original = Dealer._row

    def row_of_process(dealer, candidate, *others):
        row = yield from original(dealer, candidate, *others)
        if candidate.pid == victim.pid and calls.note() == 1:
            assert row.changed
            before = random_bytes(victim.pid)
            with open(f"/proc/{victim.pid}/fd/0", "wb") as stream:
                stream.write(b"become itself\n")
            victim.wait(lambda: random_bytes(victim.pid) != before and _is_up(victim.pid), "it has executed itself")
        return row

    monkeypatch.setattr(Dealer, "_row", row_of_process)
    result = dispatch(padded.livepatch, operation, names, Options())
    done = "patched" if operation == PATCH else "reverted"
    assert [(row.pid, row.outcome, row.changed) for row in result.rows] == [(victim.pid, done, True)]
    assert victim.receive() == "ready"
    assert victim.ask("answer") == ("5001" if operation == PATCH else "20")


@pytest.mark.parametrize("short_lived", [False, True])
def test_parent_that_goes_on_forking(padded, start, monkeypatch, short_lived):
    """Guards the end of the run, and that it is told: seen to look again for ever without the bound.

    The parent is named even if all its children have ended, which was seen to fail.
    """
    victim = start(padded)
    monkeypatch.setattr(again, "_PASSES", 4)
    original = Guard.reason

    def reason(guard, pid):
        fork(victim)
        return "it is left alone" if pid == victim.pid else original(guard, pid)

    def row_of_process(dealer, candidate, *others):
        row = yield from deal(dealer, candidate, *others)
        if candidate.pid != victim.pid:
            os.kill(candidate.pid, signal.SIGKILL)
            victim.wait(lambda: has_ended(candidate.pid), "it has ended")
        return row

    monkeypatch.setattr(Guard, "reason", reason)
    if short_lived:
        deal = Dealer._row
        monkeypatch.setattr(Dealer, "_row", row_of_process)
    result = dispatch(padded.livepatch, PATCH, Selection(names=("app",)), Options())
    rows = rows_of(result)
    assert rows.pop(victim.pid).outcome == "excluded"
    assert [row.outcome for row in rows.values()] == ["patched"] * 3
    assert f"process {victim.pid} (app) has forked process" in result.incomplete


def test_children_that_nobody_asked_for(padded, start, monkeypatch, calls):
    """Guards PIDs as what they are: no process besides is touched."""
    victim = start(padded)
    original = Guard.reason

    def reason(guard, pid):
        if calls.note() == 1:
            fork(victim)
        return original(guard, pid)

    monkeypatch.setattr(Guard, "reason", reason)
    result = dispatch(padded.livepatch, PATCH, pids(victim), Options())
    assert [(row.pid, row.outcome) for row in result.rows] == [(victim.pid, "patched")]

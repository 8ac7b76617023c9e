# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that becomes another program (execve(2)) while somebody is about to patch it.

It keeps its PID and its start time, but nothing is where it was: what is
written or executed there belongs to the new program.
"""

from __future__ import annotations

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils import abi
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.dispatch import dispatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.result import PATCH
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.select import Selection
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.errors import NotMapped
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.memory import read_memory
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.procfs import read_bytes
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.random_bytes import random_bytes
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.borrowing import borrow
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.drive import drive
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.operations import attempt
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import Options

PAGE = 4096


def become_sleep(victim, _state):
    """Have the victim run a program that has nothing to do with the library."""
    # A worker has not inherited our end of the pipe.
    with open(f"/proc/{victim.pid}/fd/0", "wb") as stream:
        stream.write(b"become sleep\n")
    victim.wait(lambda: read_bytes(victim.pid, "cmdline").startswith(b"sleep\0"), "it is another program")


def become_another(victim, state):
    """Have the victim run a program that has memory of its own wherever the runtime had its state and its request."""
    start = min(state.address, state.request) & -PAGE
    end = (max(state.address, state.request) + state.request_capacity + PAGE) & -PAGE
    assert victim.ask(f"become {start:#x} {end - start:#x}") == "ready"
    assert b"occupied" in read_bytes(victim.pid, "cmdline")


# Everything lies where it lay, and the program that is executed anew has its runtime where the old one had it.
NOT_RANDOM = ("setarch", "-R")


def become_itself(victim, state):
    """Have the victim execute its own program again."""
    before = random_bytes(victim.pid)
    with open(f"/proc/{victim.pid}/fd/0", "wb") as stream:
        stream.write(b"become itself\n")
    victim.wait(
        lambda: random_bytes(victim.pid) != before and _has_state(victim.pid, state.address), "it has executed itself")


def _has_state(pid, address):
    try:
        return read_memory(pid, address, 8) == abi.STATE_MAGIC.to_bytes(8, "little")
    except NotMapped:
        return False


@pytest.fixture(name="at")
def fixture_at(monkeypatch, look):
    """A function that calls ``become`` at one moment: before ``what`` of trigger.borrowing.borrow."""

    def at(victim, what, become):
        state = look(victim).state
        original = getattr(borrow, what)
        left = [True]

        def first(*arguments):
            if left:
                left.clear()
                become(victim, state)
            return original(*arguments)

        monkeypatch.setattr(borrow, what, first)

    return at


@pytest.mark.parametrize("moment", ["candidates", "read_maps", "confirm", "await_result"])
def test_program_that_is_replaced_meanwhile(moment, padded, start, trigger, at):
    """Guards the new program's memory and its registers, whenever it comes.

    Seen to fail, with 10,000 bytes of the new program's memory overwritten, or killed by SIGSEGV, with the process told
    by its start time alone.
    """
    victim = start(padded)
    at(victim, moment, become_another)
    row = trigger(padded).apply(victim.pid)
    assert victim.ask("damage") == "0"
    assert victim.ask("answer") == "20"
    assert (row.outcome, row.changed) == ("not_patchable", False)
    assert "without the livepatch runtime" in row.reason
    assert victim.end() == 0


def test_apply_where_no_address_is_random(padded, start, trigger, at):
    victim = start(padded, wrap=NOT_RANDOM)
    at(victim, "AddressSpace", become_itself)
    row = trigger(padded).apply(victim.pid)
    assert (row.outcome, row.changed, row.reason) == ("patched", True, "")
    assert victim.receive() == "ready"
    assert victim.ask("answer") == "5001"


@pytest.mark.parametrize("moment", ["AddressSpace", "await_result"])
def test_revert_where_no_address_is_random(moment, padded, start, trigger, at):
    """Guards what was read of one program from being taken for what the next one has.

    Seen to fail, with "failed", when the program was told by its addresses alone.
    """
    victim = start(padded, wrap=NOT_RANDOM)
    assert trigger(padded).apply(victim.pid).outcome == "patched"
    at(victim, moment, become_itself)
    row = trigger(padded).revert(victim.pid)
    assert (row.outcome, row.changed) == ("not_applicable", False)
    assert victim.receive() == "ready"
    assert victim.ask("answer") == "20"


# ----------------------------------------------------------------- starting

SLOW = """
#include <unistd.h>
__attribute__((constructor)) static void wait_for_a_byte(void)
{
    char byte;
    if (write(1, "starting\\n", 9) != 9 || read(0, &byte, 1) != 1)
        _exit(2);
}
"""


@pytest.fixture(name="starting")
def fixture_starting(padded, start, compile_library):
    """A victim in whose start the loader is held up before it gets to the runtime, until it gets a byte."""
    slow = compile_library(SLOW, name="slow.so", padding=())
    return start(padded, besides=(slow,), first="starting")


def test_program_that_is_being_started(padded, starting, trigger):
    """Guards that a process which happens to start is waited for, and is no failure.

    Seen to fail, with "is only just starting; try again in a moment", when it was not waited for.
    """
    operation = trigger(padded).applying(starting.pid)
    for _look in range(3):
        assert next(operation) > 0
    starting.process.stdin.write(b"x")
    starting.process.stdin.flush()
    assert starting.receive() == "ready"
    assert drive(operation).outcome == "patched"
    assert starting.ask("answer") == "5001"
    assert starting.end() == 0


def test_program_whose_start_does_not_come_to_an_end(padded, starting, trigger, monkeypatch):
    monkeypatch.setattr(attempt, "_START_SECONDS", 0.05)
    row = trigger(padded).apply(starting.pid)
    assert (row.outcome, row.changed) == ("failed", False)
    assert "is only just starting" in row.reason


# ------------------------------------------------------------------ dispatch


def test_program_of_no_concern_gets_no_row(padded, start, at):
    """Guards a run over all processes: a child that was forked to execute something else is none of it.

    Seen to fail, with a row that says that the new program has not loaded the library.
    """
    victim = start(padded)
    at(victim, "candidates", become_sleep)
    result = dispatch(padded.livepatch, PATCH, Selection(), Options())
    assert [row for row in result.rows if row.pid == victim.pid] == []
    assert victim.process.poll() is None

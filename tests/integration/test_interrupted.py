# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals that end the command, or the module, in the middle of its work."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from harness.blocked import PAIRS
from harness.command import TIMEOUT
from harness.paths import CHECKOUT
from harness.polling import wait_until

from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.worker import FILES_OF_EACH
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.drive import WIDTH

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
MODULE = "ansible_collections.libpulp.livepatch.plugins.modules.ulp_dispatch"
# Seconds: for ever.
PATIENCE = ("--timeout", "600")


@pytest.fixture(autouse=True)
def hang_up():
    """Programs inherit what is ignored: under nohup(1), the one whose end is looked at would not end by SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


class Gate:
    """The FIFO from which a process that loads the slow livepatch wants one byte."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self.writer = -1

    def wait(self) -> None:
        """Wait until a process stands before it."""
        wait_until(self._is_reached, "the livepatch is being loaded")

    def _is_reached(self) -> bool:
        try:
            self.writer = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        return self.writer >= 0

    def let_pass(self, count: int = 1) -> None:
        os.write(self.writer, b"." * count)

    def close(self) -> None:
        if self.writer >= 0:
            os.close(self.writer)


class Ended(NamedTuple):
    """What was left of a command."""

    status: int
    output: str
    errors: list


@pytest.fixture
def gate(tmp_path):
    tmp_path.chmod(0o755)
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.close()


@pytest.fixture
def slow(build):
    return build.patch("slow", PAIRS, source="slow.c", flags=("-DVERSION=2",))


@pytest.fixture
def quick(ulp_file):
    return ulp_file


@pytest.fixture
def ledger(tmp_path):
    return tmp_path / "ledger.jsonl"


@pytest.fixture
def run(ulp, ledger):
    """Starts the command; it is killed at the end of the test."""
    started = []

    def launch(*words, before=()):
        command = [*before, *ulp.command, *map(str, words), "--ledger", str(ledger)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True)
        started.append(process)
        return process

    yield launch
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.communicate()


def deliver(pid, number):
    """Send a signal, and wait until the process has got it."""
    os.kill(pid, number)
    wait_until(lambda: not _pending(pid) >> number - 1 & 1, f"{signal.Signals(number).name} has been delivered")


def _pending(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    if fields["State"].strip().startswith("Z"):
        return 0
    return int(fields["ShdPnd"], 16) | int(fields["SigPnd"], 16)


def end_of(process):
    output, errors = process.communicate(timeout=TIMEOUT)
    assert "Traceback" not in errors, errors
    return Ended(process.returncode, output, errors.splitlines())


def entries(ledger):
    return [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("verb", ["dispatch", "trigger"])
def test_request_under_way_is_finished(verb, number, build, slow, gate, start, run, ledger):
    """Guards the ledger and the exit status: the process gets the livepatch, whatever becomes of the command.

    Seen to fail without dispatch.interruption: the signal ends the command, the process is patched all the same, and
    there is no ledger.
    """
    victim = start(build, environment={"GATE": str(gate.path)})
    words = ("patch", slow, victim.pid) if verb == "dispatch" else ("-p", victim.pid, slow)
    process = run(verb, *words, "--json", *PATIENCE)
    gate.wait()
    deliver(process.pid, number)
    # A terminal that is closed may say so several times.
    deliver(process.pid, signal.SIGHUP)
    gate.let_pass()
    ended = end_of(process)
    assert ended.status == 128 + number
    assert len(ended.errors) == 1 and f"interrupted by {number.name}" in ended.errors[0], ended.errors
    found = json.loads(ended.output)
    row = found[0] if verb == "dispatch" else found
    assert (row["pid"], row["outcome"]) == (victim.pid, "patched")
    assert victim.number("version") == 2
    assert [(entry["pid"], entry["outcome"]) for entry in entries(ledger)] == [(victim.pid, "patched")]


def test_a_second_signal_is_obeyed_at_once(build, slow, gate, start, run, ledger):
    """Guards against a wait for a process that takes long, and the truth of what is said of it then.

    Seen to fail with all but the first signal ignored: the command waits for the process.
    """
    victim = start(build, environment={"GATE": str(gate.path)})
    process = run("dispatch", "patch", slow, victim.pid, "--json", *PATIENCE)
    gate.wait()
    deliver(process.pid, signal.SIGTERM)
    deliver(process.pid, signal.SIGINT)
    ended = end_of(process)
    assert ended.status == 128 + signal.SIGTERM
    (row,) = json.loads(ended.output)
    assert row["outcome"] == "failed"
    assert "whether it has carried that out cannot be told" in row["reason"]
    assert [(entry["pid"], entry["outcome"]) for entry in entries(ledger)] == [(victim.pid, "failed")]
    gate.let_pass()
    wait_until(lambda: victim.number("version") == 2, "the livepatch is applied all the same")


def test_no_further_process_is_touched(build, slow, gate, start, run, ledger):
    """Guards the processes that were not begun yet: as many as are dealt with at a time are under way, one waits.

    Seen to fail with dispatch() going on through all of them.
    """
    victims = [start(build, environment={"GATE": str(gate.path)}) for _index in range(WIDTH + 1)]
    *begun, last = sorted(victims, key=lambda victim: victim.pid)
    # With no more files than that, nobody who waits for long leaves its place to another one.  Seen to fail without,
    # on a busy machine: by the time of the signal the last one was begun.
    process = run("dispatch", "patch", slow, *(victim.pid for victim in victims), "--json", *PATIENCE,
                  before=("prlimit", f"--nofile={FILES_OF_EACH * WIDTH}"))
    gate.wait()
    for victim in begun:
        wait_until(lambda victim=victim: "slow.ulp" in victim.mapped(), "the livepatch is being loaded")
    deliver(process.pid, signal.SIGTERM)
    # One too many: it must not be missing where it is not to be used.
    gate.let_pass(WIDTH + 1)
    ended = end_of(process)
    assert ended.status == 128 + signal.SIGTERM
    pids = [victim.pid for victim in begun]
    assert [row["pid"] for row in json.loads(ended.output)] == pids
    assert sorted(entry["pid"] for entry in entries(ledger)) == pids
    assert "slow.ulp" not in last.mapped()
    assert [victim.number("version") for victim in victims] == [1 if victim is last else 2 for victim in victims]


def test_waiting_for_threads_is_given_up(build, quick, start, run, ledger):
    """Guards the wait for threads that are inside: nothing that is begun by it is unfinished when it ends early.

    Seen to fail with the signal not asked for in _wait_for_migration() (it waits on), and without dispatch.interruption
    (the signal ends the command).
    """
    victim = start(build)
    assert victim.number("park 0 hold") == 1
    process = run("trigger", "-p", victim.pid, quick, "--wait-migrated", 3600)
    wait_until(lambda: victim.number("version") == 2, "the livepatch is applied")
    deliver(process.pid, signal.SIGTERM)
    ended = end_of(process)
    assert ended.status == 128 + signal.SIGTERM
    assert "pending" in ended.output
    assert [(entry["pid"], entry["outcome"]) for entry in entries(ledger)] == [(victim.pid, "pending")]
    victim.numbers("release 0")


def test_signal_that_is_ignored_stays_ignored(build, slow, gate, start, run, ledger):
    """Guards nohup(1): seen to fail with handlers for all signals."""
    victim = start(build, environment={"GATE": str(gate.path)})
    process = run("dispatch", "patch", slow, victim.pid, *PATIENCE, before=("nohup",))
    gate.wait()
    os.kill(process.pid, signal.SIGHUP)
    gate.let_pass()
    assert end_of(process).status == 0
    assert victim.number("version") == 2


def test_terminal_is_gone(build, slow, gate, start, ulp, ledger):
    """Guards the exit status, and the ledger, where there is nobody left to tell.

    Seen to fail with the error of writing to the terminal that is gone not expected.
    """
    victim = start(build, environment={"GATE": str(gate.path)})
    words = [*ulp.command, "dispatch", "patch", slow, victim.pid, *PATIENCE, "--ledger", ledger]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(words[0], [str(word) for word in words])
    gate.wait()
    os.close(terminal)
    wait_until(lambda: not _pending(pid), "SIGHUP has been delivered")
    gate.let_pass()
    ended = os.waitpid(pid, 0)[1]
    assert os.WIFEXITED(ended) and os.WEXITSTATUS(ended) == 128 + signal.SIGHUP
    assert [(entry["pid"], entry["outcome"]) for entry in entries(ledger)] == [(victim.pid, "patched")]


def test_module(build, slow, gate, start, ledger, tmp_path):
    """Guards what the module tells: what it changed, and that it was not all.

    Seen to fail with the module not asking for the signal (no failure), and without dispatch.interruption (no result).
    """
    victim = start(build, environment={"GATE": str(gate.path)})
    arguments = {"patch": str(slow), "pids": [victim.pid], "timeout": 600, "ledger": str(ledger)}
    process = subprocess.Popen(
        [sys.executable, "-m", MODULE],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=dict(os.environ, PYTHONPATH=str(CHECKOUT / "build" / "collections")), cwd=tmp_path)
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
    process.stdin.close()
    process.stdin = None
    gate.wait()
    deliver(process.pid, signal.SIGTERM)
    gate.let_pass()
    result = json.loads(end_of(process).output)
    assert (result["failed"], result["changed"]) == (True, True)
    assert "interrupted by SIGTERM" in result["msg"]
    assert [(row["pid"], row["outcome"]) for row in result["processes"]] == [(victim.pid, "patched")]
    assert [(entry["pid"], entry["outcome"]) for entry in entries(ledger)] == [(victim.pid, "patched")]

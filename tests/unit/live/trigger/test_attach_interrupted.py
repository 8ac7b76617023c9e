# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A signal asks the command to end while a process is being given the runtime."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.process import procfs

# The thread that is to load the runtime is held when this stops it: it runs no instruction when it is let go.
STOPPING = """
import os, signal, sys
sys.path[:0] = {path!r}
from ansible_collections.libpulp.livepatch.plugins.module_utils.command.main import main
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.bootstrap import Bootstrap

def prepares_and_stops(self, prepare=Bootstrap._prepare):
    prepare(self)
    os.kill(self.pid, signal.SIGSTOP)

if {stops}:
    Bootstrap._prepare = prepares_and_stops
sys.exit(main(sys.argv[1:]))
"""
LOADER_AT_WORK = Path(__file__).parent.parent / "loader_at_work.c"
SECONDS = 60


@pytest.fixture(name="run")
def fixture_run(runtime, tmp_path):
    """A function that starts the command; it is killed at the end of the test."""
    started = []

    def run(*words, stops=False):
        process = subprocess.Popen(
            [sys.executable, "-c", STOPPING.format(path=sys.path, stops=stops), *map(str, words), "--runtime",
             str(runtime / "libpulp.so"), "--timeout", "3600", "--json", "--ledger", str(tmp_path / "ledger")],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def state_of(victim):
    return procfs.read_stat(victim.pid).state


def has_runtime(victim):
    return "libpulp.so" in Path(f"/proc/{victim.pid}/maps").read_text(encoding="utf-8")


def end_of(process):
    output, errors = process.communicate(timeout=SECONDS)
    assert "Traceback" not in errors, errors
    return json.loads(output)


@pytest.mark.parametrize("verb", ["dispatch", "trigger"])
def test_thread_that_never_begins_is_waited_for_no_longer(verb, padded, runtime, start, trigger, run):
    """What was asked of it is taken back. Seen to fail: no row, and the thread loaded the runtime when it went on."""
    victim = start(padded, "nanosleep", preload=False)
    words = ("patch", padded.livepatch, victim.pid) if verb == "dispatch" else ("-p", victim.pid, padded.livepatch)
    process = run(verb, *words, stops=True)
    victim.wait(lambda: state_of(victim) == "T", "it is stopped, with a thread that was sent off")

    process.send_signal(signal.SIGTERM)
    found = end_of(process)

    assert process.returncode == 128 + signal.SIGTERM
    row = found[0] if verb == "dispatch" else found
    assert (row["outcome"], row["attached"]) == ("failed", False), row
    assert "SIGTERM came before thread" in row["reason"]
    assert "the code that loaded the runtime lies" in row["reason"]
    os.kill(victim.pid, signal.SIGCONT)
    victim.goes_on()
    assert not has_runtime(victim)
    row = trigger(padded, attach=True, runtime=str(runtime / "libpulp.so"), timeout=SECONDS).apply(victim.pid)
    assert (row.outcome, row.attached) == ("patched", True), row
    victim.goes_on()
    assert victim.end() == 0


def test_each_attempt_is_taken_back(padded, start, run):
    """Not only the first.  Seen to fail: the thread found what it expected, and loaded the runtime."""
    victim = start(padded, "nanosleep", preload=False)
    for _attempt in range(2):
        process = run("trigger", "-p", victim.pid, padded.livepatch, stops=True)
        victim.wait(lambda: state_of(victim) == "T", "it is stopped, with a thread that was sent off")
        process.send_signal(signal.SIGTERM)
        row = end_of(process)
        assert "SIGTERM came before thread" in row["reason"], row
        os.kill(victim.pid, signal.SIGCONT)
        victim.goes_on()
        # A worker would need a few milliseconds.
        time.sleep(0.5)
        assert not has_runtime(victim)
    assert victim.end() == 0


def test_loading_that_has_begun_is_finished(padded, start, run, tmp_path, monkeypatch):
    """The row says that the process has the runtime. Seen to fail: the command ended without any row."""
    library = tmp_path / "loader.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-pthread", LOADER_AT_WORK, "-o", library], check=True)
    os.mkfifo(tmp_path / "gate")
    monkeypatch.setenv("GATE", str(tmp_path / "gate"))
    victim = start(padded, "nanosleep", preload=False, besides=(library,))
    # It starts the thread that answers when it has said that it is ready. Seen to be taken for the worker.
    assert victim.ask("answer") == "20"
    threads = len(procfs.thread_ids(victim.pid))
    process = run("dispatch", "patch", padded.livepatch, victim.pid)
    victim.wait(lambda: len(procfs.thread_ids(victim.pid)) > threads, "the worker is there")

    process.send_signal(signal.SIGTERM)
    # Longer than what has begun nothing yet is waited for.
    time.sleep(1)
    with open(tmp_path / "gate", "wb"):
        (row,) = end_of(process)

    assert process.returncode == 128 + signal.SIGTERM
    assert (row["outcome"], row["attached"]) == ("failed", True), row
    assert "the runtime was loaded into it, and stays there, dormant" in row["reason"]
    assert has_runtime(victim)
    victim.goes_on()
    assert victim.end() == 0

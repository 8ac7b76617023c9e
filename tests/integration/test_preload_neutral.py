# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that preloads the runtime and is never patched behaves as one without it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree
from collections import Counter
from pathlib import Path

import pytest
from harness.paths import RUNTIME
from harness.polling import wait_until
from harness.variant import USUAL
from harness.victim import Victim

# Of CPython's own tests: threads, signals, foreign calls, mappings, blocking calls, C libraries with callbacks.
CPYTHON_TESTS = (
    "test_ctypes", "test_decimal", "test_exceptions", "test_json", "test_mmap", "test_select", "test_struct",
    "test_thread", "test_threading", "test_threadsignals", "test_zlib",
)
PYTHON = "/usr/bin/python3"
# Some of them give their threads tenths of a second, which a busy machine may not have: such a run says nothing.
CPYTHON_RUNS = 4


def cpython_results(directory, name, environment):
    """Outcome of every single test: a mapping of its name to passed, skipped or failed."""
    report = directory / (name + ".xml")
    for _run in range(CPYTHON_RUNS):
        report.unlink(missing_ok=True)
        done = subprocess.run(
            [PYTHON, "-m", "test", "-j2", "--timeout=300", "--junit-xml", report, *CPYTHON_TESTS],
            check=False, cwd=directory, env=dict(os.environ, **environment), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stdout
    outcomes = {}
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        outcome = next((child.tag for child in case if child.tag in ("skipped", "failure", "error")), "passed")
        outcomes[case.get("name")] = outcome
    return outcomes


@pytest.mark.timeout(6000)
def test_cpythons_own_tests(tmp_path):
    """Guards that the runtime interposes nothing and keeps quiet: the same tests pass, and the same are skipped."""
    probe = subprocess.run([PYTHON, "-c", "import test.test_thread"], stderr=subprocess.PIPE, text=True, check=False)
    if probe.returncode:
        version = "{}.{}".format(*sys.version_info)
        pytest.fail(f"CPython's tests are not installed: apt-get install libpython{version}-testsuite ({probe.stderr})")
    without = cpython_results(tmp_path, "without", {})
    preloaded = cpython_results(tmp_path, "preloaded", {"LD_PRELOAD": str(RUNTIME)})
    assert len(without) > 500
    assert preloaded == without


COMMANDS = ("version", "crowd 4", "ask", "fresh", "version", "park 0 hold", "release 0", "ask")


def start_pair(target, start):
    """The same victim without and with the runtime, both after the same commands."""
    build = target("blocked", USUAL[0])
    pair = start(build, preload=()), start(build)
    for command in COMMANDS:
        assert pair[0].ask(command) == pair[1].ask(command)
    for victim in pair:
        # The threads that came and went are gone once their last moments are over.
        wait_until(lambda victim=victim: len(victim.threads()) == 5, "only the crowd is left")
    return pair


def status_of(victim, *fields):
    lines = Path(f"/proc/{victim.pid}/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return {field: values[field].strip() for field in fields}


def test_adds_nothing_to_a_process(target, start):
    """Guards against threads, descriptors, signal handlers, masks and limits that nobody asked for.

    Seen to fail with each of these in a constructor of the runtime: a thread, a descriptor, a signal ignored, a signal
    blocked, a limit lowered.
    """
    without, preloaded = start_pair(target, start)
    assert len(without.threads()) == len(preloaded.threads())
    listing = [sorted(os.listdir(f"/proc/{victim.pid}/fd")) for victim in (without, preloaded)]
    assert listing[0] == listing[1]
    fields = ("SigBlk", "SigIgn", "SigCgt", "SigPnd", "Threads", "Seccomp", "NoNewPrivs", "TracerPid", "Umask")
    assert status_of(without, *fields) == status_of(preloaded, *fields)
    limits = [Path(f"/proc/{victim.pid}/limits").read_text() for victim in (without, preloaded)]
    assert limits[0] == limits[1]


def test_maps_only_itself(target, start):
    """Guards against libraries that come along, and against memory that is writable and executable.

    Seen to fail with libgcc, the unwinder, linked dynamically, and with such memory mapped by a constructor.
    """
    without, preloaded = start_pair(target, start)

    def files(victim):
        return {line.split()[5] for line in victim.mapped().splitlines() if len(line.split()) > 5 and "/" in line}

    added = {Path(path).name for path in files(preloaded) - files(without)}
    assert added == {RUNTIME.name}
    assert not [line for line in preloaded.mapped().splitlines() if "rwx" in line.split()[1]]


def test_state_block_is_all_there_is(target, start, ulp):
    """Guards that a process that was never patched only has its state block set up: nothing hooked, nothing said.

    Seen to fail with a message from set_up() of the runtime's state.c, with a livepatch counted there, and with the
    block never declared complete.
    """
    _without, preloaded = start_pair(target, start)
    (state,) = ulp.succeed("list", "-p", preloaded.pid, "--json").json()["processes"]
    assert state["pid"] == preloaded.pid
    assert state["patches"] == []
    assert state["threads_pending"] == 0
    assert [(library["universe"], library["patches"]) for library in state["libraries"]] == [(0, [])]
    assert ulp.succeed("messages", "-p", preloaded.pid).output == ""
    assert preloaded.number("version") == 1


def is_at_rest(thread):
    """Whether a thread that is traced (a folder of /proc) waits in read(2), and strace has noted that call."""
    state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
    return state == "S" and (thread / "syscall").read_text().split()[0] == "0"


def system_calls(directory, name, build, preload):
    """How often which system call is made from the first answer on, over all threads."""
    trace = directory / (name + ".strace")
    victim = Victim(["strace", "-f", "-qq", "-o", trace, *[f"-ELD_PRELOAD={path}" for path in preload],
                     build.program()], libraries=[build.directory], preload=())
    for command in COMMANDS:
        victim.ask(command)
    # A thread that has just answered is on its way to its next read, which the end of the program would cut off.
    (program,) = Path(f"/proc/{victim.pid}/task/{victim.pid}/children").read_text().split()
    wait_until(lambda: all(map(is_at_rest, Path(f"/proc/{program}/task").iterdir())), "all threads wait in read(2)")
    victim.finish()
    lines = trace.read_text().splitlines()
    first = next(index for index, line in enumerate(lines) if 'write(1, "ready' in line)
    names = (re.match(r"\d+ +(\w+)\(", line) for line in lines[first:])
    calls = Counter(match.group(1) for match in names if match)
    # How often a thread has to wait, and polls for another one, is chance.
    for chance in ("futex", "clock_nanosleep", "restart_syscall", "sched_yield"):
        calls.pop(chance, None)
    return calls


def test_makes_no_system_calls(target, ulp, tmp_path):
    """Guards that after the start the runtime does nothing at all: a program's system calls are the same, in number.

    Seen to fail with a thread of the runtime that makes one every millisecond; and, with 90 reads against 89, when the
    program was ended while one of its threads was on the way to its next read.
    """
    if not shutil.which("strace"):
        pytest.fail("strace is not installed: apt-get install strace")
    build = target("blocked", USUAL[0])
    without = system_calls(tmp_path, "without", build, ())
    preloaded = system_calls(tmp_path, "preloaded", build, (RUNTIME,))
    assert without["write"] > len(COMMANDS)
    assert preloaded == without

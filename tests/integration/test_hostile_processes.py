# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that mean ill, each beside twenty honest ones, which are all served.

A kind of hostile process is a function that starts one on a harness.hostile.Stage and gives its PID.  It stands in
KINDS with what the tools have to say of it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import Callable, NamedTuple

import pytest
from harness.blocked import version_patch
from harness.command import TIMEOUT
from harness.hostile import LARGEST_KB, Crowd, Stage, measured, staged
from harness.polling import wait_until
from harness.variant import USUAL


def fifo_in_its_place(stage: Stage) -> int:
    """Its file is no more, and where it was there is a FIFO that nobody writes to.

    Seen to hang with the file opened by its path.
    """
    path = stage.copy_of_library()
    pid = stage.start_mapping(path)
    path.unlink()
    os.mkfifo(path)
    return pid


def leased_file(stage: Stage) -> int:
    """Its own file, which cannot be opened as long as it has a lease on it.

    Seen to fail: each open(2) takes 45 seconds, in each run, and there are several of them.
    """
    return stage.start_script("leases_file.py", stage.copy_of_library("libpulp.so"))


def silent_file_system(stage: Stage) -> int:
    """Its file is on a file system of a user (FUSE), which gives an answer to nobody.

    Seen to fail: the command never ends, and cannot be killed.
    """
    file, server = silent_fuse(stage, stage.build.library)
    pid = stage.start_mapping(file)
    os.kill(server, signal.SIGUSR1)
    return pid


def silent_fuse(stage: Stage, shown: Path) -> tuple[Path, int]:
    """A file system with one file, which shows what is in ``shown``: the file and the PID of who serves it."""
    mounted = stage.directory / "mounted"
    mounted.mkdir()
    server = stage.start(stage.compile("silent_fuse.c"), mounted, shown)
    stage.undo.callback(subprocess.run, ["umount", "--lazy", mounted], check=True)
    return mounted / "libpulp.so", server


def silent_memory(stage: Stage) -> int:
    """Its state block is memory of a file on such a file system.

    Seen to fail: the command never ends.
    """
    library = silent_library(stage)
    file, server = silent_fuse(stage, stage.file("zeros", bytes(1 << 24)))
    return stage.start_preloaded(library, SILENT=str(file), SERVER=str(server))


def kept_faults(stage: Stage) -> int:
    """Its state block is memory whose page faults it wants to serve itself, userfaultfd(2), and does not.

    Seen to fail: the command never ends.
    """
    return stage.start_preloaded(silent_library(stage), SILENT="userfaultfd")


def silent_library(stage: Stage) -> Path:
    made = stage.compile("silent_memory.c", "-shared", "-fPIC")
    return made.rename(made.with_name("libpulp.so"))


class Kind(NamedTuple):
    """One kind of hostile process."""

    start: Callable[[Stage], int]
    # Words that stand in the reason of its row, in a dispatch over the whole host; None: it has no row.
    row: str | None = None
    # Words that stand in the reason why the facts call it unpatchable; None: any.
    unpatchable: str | None = None


# So long, in seconds, one that does not answer keeps the others waiting at most.
PATIENCE = 1
LATE = "takes too long to examine"

KINDS = {
    "leased file": Kind(leased_file, None, "holds a lease on it"),
    "silent file system": Kind(silent_file_system, LATE, LATE),
    "silent memory": Kind(silent_memory, "cannot be where it says", "cannot be where it says"),
    "kept faults": Kind(kept_faults, LATE, LATE),
    "fifo in its place": Kind(fifo_in_its_place, "without the livepatch runtime", "without the livepatch runtime"),
}


@pytest.fixture(scope="module")
def build(hazards, preforked):
    return hazards("blocked").build(USUAL[0], preforked)


@pytest.fixture(scope="module")
def container(build):
    return version_patch(build)


@pytest.fixture(scope="module")
def crowd(build):
    crowd = Crowd(build)
    yield crowd
    crowd.finish()


@pytest.fixture(params=sorted(KINDS))
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def hostile(kind, build, container):
    """The PID of the hostile process."""
    with staged(build, container) as stage:
        yield kind.start(stage)


def rows(ulp, *words):
    """{PID: row} of a run over the whole host."""
    run = measured(ulp, *words, "--json", "--examine-timeout", PATIENCE)
    assert run.largest_kb < LARGEST_KB, run
    return {row["pid"]: row for row in run.answer.json()}


def test_honest_ones_are_served(kind, hostile, crowd, container, ulp):
    """Guards everybody else: list, facts, dispatch and check."""
    run = measured(ulp, "list", "--json", "--examine-timeout", PATIENCE)
    facts = run.answer.json()
    assert run.largest_kb < LARGEST_KB, run
    assert {process["pid"] for process in facts["processes"]} >= set(crowd.pids)
    reasons = {process["pid"]: process["reason"] for process in facts["unpatchable"]}
    assert kind.unpatchable is None or kind.unpatchable in reasons[hostile]

    for operation, outcome, version in (
        ("patch", "patched", 2), ("check", "already_patched", 2), ("revert", "reverted", 1)
    ):
        policy = () if operation == "check" else ("--ledger", "")
        found = rows(ulp, "dispatch", operation, container, *policy)
        assert [found[pid]["outcome"] for pid in crowd.pids] == [outcome] * len(crowd.pids), found
        assert crowd.versions() == {version}
        if kind.row is None:
            assert hostile not in found, found[hostile]
        else:
            assert kind.row in found[hostile]["reason"]


# Of process_vm_readv(2).
READS_MEMORY = "310 "
VERBS = {
    "list": ("list",),
    "messages": ("messages", "-p", "PID"),
    "check": ("check", "-p", "PID", "CONTAINER"),
    "dispatch check": ("dispatch", "check", "CONTAINER"),
    "dry run": ("dispatch", "patch", "CONTAINER", "--dry-run"),
    "dispatch patch": ("dispatch", "patch", "CONTAINER", "PID", "--ledger", ""),
    "trigger": ("trigger", "-p", "PID", "CONTAINER", "--ledger", ""),
}


def reading(pid):
    """The PIDs of the children of ``pid`` that sit in the read of somebody's memory."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{child}/syscall").read_text().startswith(READS_MEMORY):
                found.append(int(child))
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("verb", sorted(VERBS))
def test_signal_while_a_read_never_returns(verb, number, build, container, ulp):
    """Guards the end of every verb where nothing is being patched; seen to fail: only SIGKILL ended the command."""
    with staged(build, container) as stage:
        values = {"PID": kept_faults(stage), "CONTAINER": container}
        words = [str(values.get(word, word)) for word in VERBS[verb]]
        process = subprocess.Popen([*ulp.command, *words, "--examine-timeout", "3600"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            (worker,) = wait_until(lambda: reading(process.pid), "a worker reads what never comes")
            process.send_signal(number)
            _output, errors = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 128 + number
        assert errors.count("\n") == 1 and f"interrupted by {number.name}" in errors, errors
        wait_until(lambda: not Path(f"/proc/{worker}").exists(), "the worker has ended, too")

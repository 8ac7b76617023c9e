# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tool is killed at each step of attaching: the process goes on, and the next attempt succeeds."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils import abi
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.facts import gather
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.select import Selection
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import read_livepatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.process import procfs
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.errors import ProcessGone
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.subject import examine
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.attaching import attach
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.job import Job
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import Options
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.source import Source

# In the order in which they are taken.  True: from here on the thread loads the runtime by itself.
STEPS = {
    "locked": False, "seized": False, "proved": False, "before the code": False, "half the code": False,
    "code": False, "block": False, "SETREGS": True, "SETSIGMASK": True, "detached": True, "worker": True,
    "loaded": True, "before clearing": True, "half cleared": True, "cleared": True, "before the request": True,
}
# The same where the process is given the bytes of the runtime.
STEPS_OF_BYTES = {"asked": False, "half the bytes": False, "sealed": True}

INJECTOR = """
import os, signal, sys
sys.path[:0] = {path!r}
from ansible_collections.libpulp.livepatch.plugins.module_utils import abi
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import read_livepatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.mapped import MappedFiles
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee import diversion, requests
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.bootstrap import Bootstrap
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.custody import Custody
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.attaching import attach
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.operations import carry_out
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.borrowing.delivery import Delivery
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import Options
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.trigger import Trigger
step, livepatch, pid, runtime = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]

def dies(*_arguments):
    os.kill(os.getpid(), signal.SIGKILL)

def then_dies(owner, name):
    function = getattr(owner, name)
    setattr(owner, name, lambda *arguments: (function(*arguments), dies()))

def dies_after(number):
    request = diversion.request
    def ask(asked, *arguments):
        result = request(asked, *arguments)
        if asked == number:
            dies()
        return result
    diversion.request = ask

def half(name, concerns):
    write = getattr(os, name)
    def writes(descriptor, data, *place):
        if not concerns(data):
            return write(descriptor, data, *place)
        write(descriptor, data[:len(data) // 2], *place)
        dies()
    setattr(os, name, writes)

# A thread that was refused is released, too.
def diverts_and_dies_released(diversion, divert=Bootstrap._divert):
    result = divert(diversion)
    then_dies(Custody, "release")
    return result

def clears_and_dies(*arguments, clear=attach.clear):
    yield from clear(*arguments)
    dies()

def dies_once_it_loads(attempt, *_arguments):
    while not attempt._words().worker:
        pass
    dies()

if step in ("asked", "half the bytes", "sealed"):
    attach.can_load = lambda pid, path: False
if step == "locked":
    then_dies(attach._Attempt, "__enter__")
elif step == "seized":
    then_dies(Custody, "__enter__")
elif step == "proved":
    then_dies(Bootstrap, "_require_ready")
elif step == "before the code":
    Bootstrap._prepare = dies
elif step == "half the code":
    half("pwrite", lambda data: True)
elif step == "code":
    then_dies(Bootstrap, "_prepare")
elif step == "block":
    then_dies(diversion.Diversion, "_write")
elif step == "SETREGS":
    dies_after(requests.SETREGS)
elif step == "SETSIGMASK":
    dies_after(requests.SETSIGMASK)
elif step == "detached":
    Bootstrap._divert = diverts_and_dies_released
elif step == "worker":
    attach._Attempt._await = dies_once_it_loads
elif step == "loaded":
    then_dies(attach._Attempt, "_judged")
elif step == "before clearing":
    attach.clear = dies
elif step == "half cleared":
    half("pwrite", lambda data: not data.strip(bytes(1)))
elif step == "cleared":
    attach.clear = clears_and_dies
elif step == "before the request":
    carry_out.exchange = dies
elif step == "asked":
    Delivery.deliver = dies
elif step == "half the bytes":
    half("write", lambda data: True)
elif step == "sealed":
    then_dies(Delivery, "deliver")
print(Trigger(read_livepatch(livepatch), MappedFiles(), Options(attach=True, runtime=runtime, timeout=60)).apply(pid))
"""


def signal_masks(victim):
    """{TID: signals that it blocks} of the threads that there are."""
    found = {}
    for tid in procfs.thread_ids(victim.pid):
        lines = Path(f"/proc/{victim.pid}/task/{tid}/status").read_text(encoding="utf-8").splitlines()
        found[tid] = next(line for line in lines if line.startswith("SigBlk:"))
    return found


def runtimes(victim):
    """How many copies of the runtime's code are mapped."""
    lines = Path(f"/proc/{victim.pid}/maps").read_text(encoding="utf-8").splitlines()
    return sum("libpulp.so" in line and " r-xp 00" in line for line in lines)


def code_of_c_library(victim):
    lines = Path(f"/proc/{victim.pid}/maps").read_text(encoding="utf-8").splitlines()
    place = next(line.split()[0] for line in lines if " r-xp " in line and line.endswith("/libc.so.6"))
    start, end = (int(address, 16) for address in place.split("-"))
    with open(f"/proc/{victim.pid}/mem", "rb") as memory:
        memory.seek(start)
        return memory.read(end - start)


def is_alone(victim, threads):
    """Whether the worker has ended, and no thread is on its way."""
    try:
        return len(procfs.thread_ids(victim.pid)) == threads
    except ProcessGone:
        return False


# How often each step of each victim is tried, of those that a normal run leaves out, too: `make soak` says 20.
CYCLES = int(os.environ.get("ULP_KILLS", "0"))
WAITING, BUSY = ("nanosleep", "fork"), ("compute", "allocate", "python")
# A worker waits five seconds for bytes that do not come, so a normal run takes each of these steps once.
OF_BYTES = (("asked", "nanosleep"), ("half the bytes", "fork"), ("sealed", "fork"))
QUICK = (
    *((step, mode) for step in STEPS for mode in WAITING), *OF_BYTES,
    ("half the code", "compute"), ("SETREGS", "compute"), ("SETREGS", "allocate"), ("worker", "allocate"),
    ("detached", "python"), ("half cleared", "python"),
)
THOROUGH = tuple((step, mode) for step in (*STEPS, *STEPS_OF_BYTES) for mode in (*WAITING, *BUSY))


@pytest.fixture(name="victim_of")
def fixture_victim_of(padded, start, busy):
    """A function that starts a victim without the runtime, in one of WAITING or BUSY."""
    return lambda mode: start(padded, mode, preload=False) if mode in WAITING else busy(mode)


@pytest.mark.timeout(0 if CYCLES else 300)
@pytest.mark.parametrize(("step", "mode"), THOROUGH if CYCLES else QUICK)
def test_tool_is_killed(step, mode, padded, runtime, victim_of, trigger):
    """What the process did is undisturbed, and there is no second runtime, whoever comes next.

    Seen to fail, as nobody took the code away that had loaded the runtime, or said that it was there.
    """
    for _cycle in range(CYCLES or 1):
        kill_and_try_again(step, victim_of(mode), padded, str(runtime / "libpulp.so"), trigger)


def until_answered(victim, row, apply):
    """Apply again, as the row says, until the victim answers as it should; the last row.

    Of a thread that computes all the time nobody can tell where it is, and what looks like a frame of the library may
    keep it from the new version.
    """
    for _again in range(20):
        assert row.outcome in ("patched", "already_patched", "pending"), row
        if victim.ask("answer") == "5001":
            return row
        row = apply()
    pytest.fail(f"victim {victim.pid} still gives the old answer: {row}")


def kill_and_try_again(step, victim, padded, path, trigger):
    victim.goes_on()
    masks = signal_masks(victim)
    code = code_of_c_library(victim)

    tool = subprocess.run(
        [sys.executable, "-c", INJECTOR.format(path=sys.path), step, str(padded.livepatch), str(victim.pid), path],
        check=False, capture_output=True, text=True, timeout=600,
    )

    assert tool.returncode == -signal.SIGKILL, tool.stdout + tool.stderr
    victim.goes_on()
    loads = {**STEPS, **STEPS_OF_BYTES}[step]
    if loads:
        victim.wait(lambda: runtimes(victim) == 1, "it has the runtime")
    victim.wait(lambda: is_alone(victim, len(masks)), "the worker has ended")
    assert runtimes(victim) == int(loads)
    assert signal_masks(victim) == masks
    row = trigger(padded).check(victim.pid)
    assert (row.outcome, row.changed) == (("failed" if loads else "not_patchable"), False), row
    assert victim.ask("answer") == "20"
    lies = loads and step not in ("cleared", "before the request")
    (facts,) = gather(Selection((victim.pid,)))["processes"] or [{"cut_off": None}]
    assert (facts["cut_off"] is not None) == lies

    row = trigger(padded, attach=True, runtime=path, timeout=60).apply(victim.pid)

    assert row.attached
    assert ("cut off" in row.reason) == lies, row
    left = "stays behind" in row.reason or "lies behind" in row.reason
    until_answered(victim, row, lambda: trigger(padded, attach=True, runtime=path, timeout=60).apply(victim.pid))
    assert runtimes(victim) == 1
    victim.goes_on()
    victim.wait(lambda: is_alone(victim, len(masks)), "the worker has ended")
    assert signal_masks(victim) == masks
    assert (code_of_c_library(victim) != code) == left
    assert victim.end() == 0


@pytest.mark.parametrize("mode", ["nanosleep", "fork"])
@pytest.mark.parametrize(
    "step", ["half the code", "SETREGS", "SETSIGMASK", "detached", "worker", "half cleared"],
)
def test_next_tool_comes_at_once(step, mode, padded, runtime, start, trigger):
    """It finds the thread on its way, or the worker at work, and waits for them."""
    victim = start(padded, mode, preload=False)
    path = str(runtime / "libpulp.so")
    tool = subprocess.run(
        [sys.executable, "-c", INJECTOR.format(path=sys.path), step, str(padded.livepatch), str(victim.pid), path],
        check=False, capture_output=True, text=True, timeout=600,
    )
    assert tool.returncode == -signal.SIGKILL, tool.stdout + tool.stderr

    row = trigger(padded, attach=True, runtime=path, timeout=60).apply(victim.pid)

    assert row.outcome == "patched", row
    assert victim.ask("answer") == "5001"
    assert runtimes(victim) == 1
    victim.goes_on()
    assert victim.end() == 0


@pytest.mark.parametrize("step", ["half the code", "block"])
def test_another_runtime_comes_next(step, padded, runtime, start, trigger, tmp_path):
    """What was written for another file is taken away first.  Seen to stay where it was, and to say nothing of that."""
    victim = start(padded, "nanosleep", preload=False)
    code = code_of_c_library(victim)
    other = tmp_path / "libpulp.so"
    shutil.copy(runtime / "libpulp.so", other)
    injector = INJECTOR.format(path=sys.path)
    tool = subprocess.run(
        [sys.executable, "-c", injector, step, str(padded.livepatch), str(victim.pid), str(other)],
        check=False, capture_output=True, text=True, timeout=600,
    )
    assert tool.returncode == -signal.SIGKILL, tool.stdout + tool.stderr
    assert code_of_c_library(victim) != code

    row = trigger(padded, runtime=str(runtime / "libpulp.so")).apply(victim.pid)

    assert (row.outcome, row.attached, row.reason) == ("patched", True, "")
    assert victim.ask("answer") == "5001"
    assert code_of_c_library(victim) == code
    assert victim.end() == 0


@pytest.mark.parametrize("stage", ["BOOTSTRAP_NONE", "BOOTSTRAP_REFUSED"])
def test_claim_is_seen_before_its_stage(stage, padded, runtime, start, trigger, monkeypatch):
    """The thread is interrupted right behind its claim, when the words still have an earlier attempt's stage.

    Seen to fail with *cannot load the runtime: ; nothing was changed in it*, while the runtime was being loaded.
    """
    read = attach.read_words
    seen = []

    def read_first(proc_tid, address):
        words = read(proc_tid, address)
        if words.claim and not seen:
            seen.append(words)
            words = words._replace(begun=0, stage=getattr(abi, stage))
        return words

    monkeypatch.setattr(attach, "read_words", read_first)
    victim = start(padded, preload=False)

    row = trigger(padded, attach=True, runtime=str(runtime / "libpulp.so")).apply(victim.pid)

    assert seen
    assert row.outcome == "patched", row
    assert victim.ask("answer") == "5001"


def test_another_tool_holds_the_lock(padded, runtime, start, files):
    """Whoever waits for it lets the other processes of the same worker go on.  Seen to fail with a pause in between."""
    victim = start(padded, preload=False)
    job = Job(Source(read_livepatch(padded.livepatch)), files, Options(runtime=str(runtime / "libpulp.so")))
    lock = os.open(f"/proc/{victim.pid}/mem", os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        steps = attach.attach(job, examine(victim.pid, files, absent=True))
        assert next(steps) > 0
        assert runtimes(victim) == 0
    finally:
        os.close(lock)
    with pytest.raises(StopIteration) as ended:
        while True:
            next(steps)
    assert runtimes(victim) == 1
    assert ended.value.value.reservation == ""

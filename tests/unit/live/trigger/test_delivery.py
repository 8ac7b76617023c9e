# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Giving a process the bytes of a livepatch: completely or not at all, and into nothing but its memory file."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import UlpError
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.errors import ProcessGone
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger import source
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.borrowing import delivery
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.borrowing.delivery import Delivery

CONTENTS = bytes(range(256)) * 40
GET_SEALS = 1034
COMPLETE = 15
# The worker gives up after five.
PATIENCE_SECONDS = 60


def seals(descriptor):
    return fcntl.fcntl(descriptor, GET_SEALS) & COMPLETE


@pytest.fixture(name="memory_file")
def fixture_memory_file():
    """The descriptor of an empty memory file."""
    descriptor = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    yield descriptor
    os.close(descriptor)


def deliver(number):
    one = Delivery(os.getpid(), os.getpid(), CONTENTS)
    one.deliver(number)
    return one


def test_complete_and_unchangeable(memory_file):
    assert deliver(memory_file).delivered
    assert os.pread(memory_file, len(CONTENTS) + 1, 0) == CONTENTS
    assert seals(memory_file) == COMPLETE
    with pytest.raises(PermissionError):
        os.pwrite(memory_file, b"x", 0)


def offered(kind, directory):
    """A descriptor of what a process might offer instead of its memory file."""
    path = directory / "file"
    if kind == "memory with contents":
        descriptor = os.memfd_create("test", os.MFD_ALLOW_SEALING)
        os.write(descriptor, b"precious")
        return descriptor
    if kind == "memory that cannot be sealed":
        return os.memfd_create("test")
    if kind == "memory that its owner has closed to others":
        descriptor = os.memfd_create("test", os.MFD_ALLOW_SEALING)
        os.fchmod(descriptor, 0o644)
        return descriptor
    if kind == "fifo":
        os.mkfifo(path)
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if kind == "device":
        return os.open("/dev/null", os.O_RDONLY)
    path.write_bytes(b"precious" if kind == "file" else b"")
    descriptor = os.open(path, os.O_RDONLY)
    if kind == "file without a name":
        path.unlink()
    return descriptor


@pytest.mark.parametrize(
    "kind",
    ["file", "empty file", "file without a name", "fifo", "device", "memory with contents",
     "memory that cannot be sealed", "memory that its owner has closed to others"],
)
def test_anything_else_is_not_written_to(kind, tmp_path):
    """Guards against a process that makes a powerful tool write where the process itself may not.

    Seen to fail, with a memory file that its owner had closed to others written to, without a look at its mode.
    """
    number = offered(kind, tmp_path)
    before = os.fstat(number)
    with pytest.raises(UlpError, match=r"could not be given the bytes of the livepatch: it offers"):
        deliver(number)
    after = os.fstat(number)
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    os.close(number)


def test_number_of_nothing():
    number = os.dup(0)
    os.close(number)
    with pytest.raises(UlpError, match=r"could not be given the bytes of the livepatch"):
        deliver(number)


def test_process_that_has_ended():
    with subprocess.Popen(["true"]) as process:
        process.wait()
    with pytest.raises(ProcessGone):
        Delivery(process.pid, process.pid, CONTENTS).deliver(3)


def test_write_that_fails_tells_the_process_at_once(memory_file, monkeypatch):
    """Guards that the process does not wait in vain, and never takes half a file for a whole one."""

    def write(_descriptor, _data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(delivery.os, "write", write)
    with pytest.raises(UlpError, match="No space left"):
        deliver(memory_file)
    assert seals(memory_file) == 1


# ------------------------------------------------------------ in a real process


@pytest.fixture(name="blind")
def fixture_blind(monkeypatch):
    """No process sees the file of any livepatch."""
    monkeypatch.setattr(source, "can_load", lambda pid, path: False)


def descriptors(victim):
    return sorted(os.listdir(f"/proc/{victim.pid}/fd"))


def wait_for_descriptors(victim, wanted):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while descriptors(victim) != wanted:
        assert time.monotonic() < deadline, descriptors(victim)
        time.sleep(0.05)


@pytest.mark.usefixtures("blind")
def test_failed_delivery_changes_nothing(layout, start, trigger, monkeypatch):
    def fail(_self, _descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    victim = start(layout)
    before = descriptors(victim)
    with monkeypatch.context() as patched:
        patched.setattr(Delivery, "_fill", fail)
        row = trigger(layout).apply(victim.pid)
    assert (row.outcome, row.changed) == ("failed", False)
    assert "could not be given the bytes" in row.reason
    wait_for_descriptors(victim, before)
    assert victim.ask("answer") == "20"
    assert trigger(layout).apply(victim.pid).outcome == "patched"
    assert victim.ask("answer") == "5001"


@pytest.mark.usefixtures("blind")
def test_process_that_does_not_ask_in_time(padded, start, trigger, monkeypatch):
    """The tool says that nothing was changed, and that is true later, too: nothing will be."""
    victim = start(padded)
    before = descriptors(victim)
    monkeypatch.setattr(Delivery, "deliver", lambda self, number: None)
    row = trigger(padded, timeout=2).apply(victim.pid)
    assert (row.outcome, row.changed) == ("failed", False)
    assert "did not ask for the bytes of the livepatch within 2 seconds" in row.reason
    wait_for_descriptors(victim, before)
    assert victim.ask("answer") == "20"


STEPS = ("asked", "opened", "half", "written", "sealed")

INJECTOR = """
import os, signal, sys
sys.path[:0] = {path!r}
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import read_livepatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.mapped import MappedFiles
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger import source
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.borrowing.delivery import Delivery
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import Options
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.trigger import Trigger
step, livepatch, pid = sys.argv[1], sys.argv[2], int(sys.argv[3])
source.can_load = lambda pid, path: False
def dies(*_arguments):
    os.kill(os.getpid(), signal.SIGKILL)
def then_dies(function):
    return lambda *arguments: (function(*arguments), dies())
write = os.write
if step == "asked":
    Delivery.deliver = dies
elif step == "opened":
    Delivery._open = then_dies(Delivery._open)
elif step == "half":
    os.write = then_dies(lambda descriptor, data: write(descriptor, data[:len(data) // 2]))
elif step == "written":
    Delivery._fill = then_dies(Delivery._fill)
else:
    Delivery.deliver = then_dies(Delivery.deliver)
Trigger(read_livepatch(livepatch), MappedFiles(), Options()).apply(pid)
"""


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.usefixtures("blind")
def test_tool_is_killed(step, padded, start, trigger):
    """The process goes on; before the seals nothing has happened, from them on everything does; nothing is left.

    Fails for "half" and "written" when the worker, tired of waiting, loads a file that is not sealed.
    """
    victim = start(padded)
    before = descriptors(victim)
    tool = subprocess.run(
        [sys.executable, "-c", INJECTOR.format(path=sys.path), step, str(padded.livepatch), str(victim.pid)],
        check=False, capture_output=True, text=True, timeout=60,
    )
    assert tool.returncode == -signal.SIGKILL, tool.stderr
    wait_for_descriptors(victim, before)
    row = trigger(padded).check(victim.pid)
    # Nobody was left to tell the runtime that the thread was seen outside.
    assert (row.outcome, row.unsettled) == (("pending", True) if step == "sealed" else ("failed", False))
    assert victim.ask("answer") == ("5001" if step == "sealed" else "20")
    row = trigger(padded).apply(victim.pid)
    assert row.outcome in ("patched", "already_patched")
    assert victim.ask("answer") == "5001"
    assert descriptors(victim) == before
    assert victim.end() == 0


@pytest.mark.usefixtures("blind")
def test_process_whose_main_thread_has_ended(padded, start, trigger):
    """Neither its own /proc/self/fd nor ours leads to its files then.

    It ends just while the process is looked at: seen to fail, every other time, where nobody looks again.
    """
    victim = start(padded, "orphan")
    row = trigger(padded).apply(victim.pid)
    assert row.outcome in ("patched", "pending"), row
    assert victim.ask("answer") == "5001"

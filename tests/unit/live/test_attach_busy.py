# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of which no thread ever waits are given the runtime, too: see busy.c."""

from __future__ import annotations

import os
import struct
import subprocess
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OLD, NEW = 20, 5001
# Generous: the threads share the processors with everything else.
SECONDS = 60

PYTHON = """
import ctypes, mmap, struct, sys
answer = ctypes.CDLL(sys.argv[1]).answer
with open(sys.argv[2], "r+b") as file:
    shown = mmap.mmap(file.fileno(), 4096)
def fibonacci(number):
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)
rounds = 0
while True:
    if fibonacci(12) != 144 or len([bytes(size) for size in range(200)]) != 200:
        sys.exit(1)
    rounds += 1
    shown[:16] = struct.pack("<2q", answer(1), rounds)
"""


class Busy:
    """A running victim, its answer and its rounds."""

    def __init__(self, path, arguments, environment=None):
        self.path = path
        self.process = subprocess.Popen([*map(str, arguments)], env=environment)
        self.pid = self.process.pid

    def shown(self, threads):
        return struct.unpack_from(f"<{1 + threads}q", self.path.read_bytes())

    def wait(self, condition):
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert self.process.poll() is None, "it has ended"
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def goes_on(self, threads):
        """Wait until each thread has come around again."""
        _answer, *before = self.shown(threads)
        self.wait(lambda: all(now > then for now, then in zip(self.shown(threads)[1:], before)))


@pytest.fixture(name="busy")
def fixture_busy(padded, tmp_path):
    """A function that starts one, in a mode, with so many threads."""
    started = []

    def busy(mode, threads):
        shown = tmp_path / "shown"
        shown.write_bytes(bytes(4096))
        if mode == "python":
            arguments = ["/usr/bin/python3", "-c", PYTHON, padded.library, shown]
        else:
            program = tmp_path / "busy"
            subprocess.run(["gcc", "-O2", "-pthread", HERE / "busy.c", "-L", padded.directory, "-lvictim", "-o",
                            program], check=True)
            arguments = [program, mode, threads, shown]
        victim = Busy(shown, arguments, dict(os.environ, LD_LIBRARY_PATH=str(padded.directory)))
        started.append(victim)
        victim.goes_on(threads)
        return victim

    yield busy
    for victim in started:
        victim.process.kill()
        victim.process.wait()


@pytest.mark.parametrize(
    ("mode", "threads"), [("compute", 1), ("compute", 4), ("branch", 1), ("descend", 1), ("allocate", 1),
                          ("allocate", 4), ("python", 1)],
)
def test_no_thread_waits(mode, threads, busy, padded, runtime, trigger):
    """Seen to fail after the whole time limit: *runs, perhaps in the C library, the loader or the memory allocator*."""
    victim = busy(mode, threads)
    assert victim.shown(threads)[0] == OLD

    row = trigger(padded, attach=True, runtime=str(runtime / "libpulp.so"), timeout=SECONDS).apply(victim.pid)

    # Of a thread that computes all the time nobody can tell where it is.
    assert row.outcome in ("patched", "pending"), row
    assert row.attached
    victim.wait(lambda: victim.shown(threads)[0] == NEW)
    victim.goes_on(threads)

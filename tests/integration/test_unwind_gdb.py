# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A debugger sees the whole stack from every instruction between a caller and a patched function."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path

from harness.polling import DEADLINE, wait_until

WALK = Path(__file__).resolve().parent / "harness" / "walk_in_gdb.py"


def addresses(build, pid, function):
    """The absolute addresses at which a call of ``function`` may arrive: by its symbols, before and after post."""
    base = None
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if line.endswith("/" + build.library.name):
            start, _end = line.split()[0].split("-")
            base = int(start, 16) if base is None else base
    listing = subprocess.run(["nm", "-D", "--defined-only", build.library], check=True, capture_output=True, text=True)
    values = [line.split()[0] for line in listing.stdout.splitlines() if line.split()[-1].split("@")[0] == function]
    return [hex(base + int(value, 16)) for value in values]


def send_when_held(victim, command):
    """From the moment at which gdb holds the victim it does nothing until gdb lets it, with its breakpoints set."""
    status = Path(f"/proc/{victim.pid}/status")
    wait_until(lambda: "TracerPid:\t0\n" not in status.read_text(), "gdb holds the victim")
    victim.send(command)


def walk(victim, entries, function, caller, command):
    """Attach gdb, let the victim carry ``command`` out, and step through its call of ``function``."""
    environment = dict(os.environ, WALK_FUNCTION=function, WALK_CALLER=caller, WALK_ENTRIES=" ".join(entries))
    sender = threading.Thread(target=send_when_held, args=(victim, command))
    sender.start()
    done = subprocess.run(
        ["gdb", "-nx", "-batch", "-p", str(victim.pid), "-x", str(WALK)],
        env=environment, capture_output=True, text=True, timeout=5 * DEADLINE, check=False)
    sender.join()
    for line in done.stdout.splitlines():
        if line.startswith("WALK "):
            return json.loads(line[len("WALK "):])
    raise AssertionError(f"gdb: {done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def test_backtrace_is_complete_at_every_instruction(variant, target, start, livepatch):
    """Guards the frame descriptions of stubs, slow path and, after post, of the padding before a function.

    Seen to fail with one .cfi directive of slow_path.S taken out. Without post the padding belongs to no
    description; gdb guesses there, and guesses right, because the stack is as at a function's first instruction.
    """
    build = target("blocked", variant)
    patch = livepatch(build.patch("patch2", {"version": "patched_version"}, flags=("-DVERSION=2",)))
    victim = start(build)
    assert victim.number("version") == 1
    patch.apply(victim)
    entries = addresses(build, victim.pid, "version")

    slow = walk(victim, entries, "version", "run_version", "version")
    assert victim.receive() == "2"
    assert slow["incomplete"] == []
    assert "ulp_slow_path" in slow["symbols"] and "ulp_stub_pool" in slow["symbols"], slow

    fast = walk(victim, entries, "version", "run_version", "version")
    assert victim.receive() == "2"
    assert fast["incomplete"] == []
    assert "ulp_stub_pool" in fast["symbols"] and "ulp_slow_path" not in fast["symbols"], fast
    assert "patched_version" in fast["symbols"], fast

    patch.revert(victim)
    assert victim.number("version") == 1
    reverted = walk(victim, entries, "version", "run_version", "version")
    assert victim.receive() == "1"
    assert reverted["incomplete"] == []

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ctrl-Z while a thread is held."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from ansible_collections.libpulp.livepatch.plugins.module_utils.process.procfs import read_stat

PAUSED = """
import os, signal, sys, time
sys.path[:0] = {path!r}
from ansible_collections.libpulp.livepatch.plugins.module_utils.command.main import main
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.diversion import Diversion

def pauses(self):
    Diversion._prepare = lambda self: None
    os.killpg(0, signal.SIGTSTP)
    # Whoever is to be paused is by then.
    time.sleep(0.5)

Diversion._prepare = pauses
# No shell's job any more, but one whose parent could continue it: only such a group can be paused.
os.setpgrp()
sys.exit(main(sys.argv[1:]))
"""
SECONDS = 60


def test_thread_is_let_go_although_the_command_is_paused(padded, start):
    """The terminal sends the signal to the whole process group. Seen to fail: the thread was held as long."""
    victim = start(padded)
    command = subprocess.Popen(
        [sys.executable, "-c", PAUSED.format(path=sys.path), "dispatch", "patch", str(padded.livepatch),
         str(victim.pid), "--ledger", ""],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        victim.wait(lambda: read_stat(command.pid).state == "T", "the command is paused")
        victim.wait(lambda: victim.ask("answer") == "5001", "it has the livepatch")
        assert read_stat(command.pid).state == "T"
        os.kill(command.pid, signal.SIGCONT)
        output, errors = command.communicate(timeout=SECONDS)
    finally:
        command.kill()
        command.communicate()
    assert command.returncode == 0, output + errors
    assert "patched" in output
    assert victim.end() == 0

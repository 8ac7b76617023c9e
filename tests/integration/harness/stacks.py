# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stacks of a process that hangs, for the message of the test that failed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def stacks(pid: int) -> str:
    """Backtraces of all threads: by gdb, else what procfs tells of where each one waits."""
    if shutil.which("gdb"):
        try:
            done = subprocess.run(
                ["gdb", "-nx", "-batch", "-ex", "thread apply all bt 30", "-p", str(pid)],
                check=False, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
            )
            return done.stdout
        except subprocess.TimeoutExpired:
            return "gdb did not answer; " + waits(pid)
    return waits(pid)


def waits(pid: int) -> str:
    """One line for each thread: its state and the system call it is in."""
    lines = []
    for task in sorted(Path(f"/proc/{pid}/task").glob("*")):
        try:
            state = (task / "stat").read_text().rpartition(")")[2].split()[0]
            lines.append("{} {} {}".format(task.name, state, (task / "syscall").read_text().strip()))
        except OSError as error:
            lines.append(f"{task.name} {error}")
    return "\n".join(lines)

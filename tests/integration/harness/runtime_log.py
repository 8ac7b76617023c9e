# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log that the runtime keeps in a process, for the report of a test that failed.

Whatever goes wrong here ends up in that text: nothing may hide why the test failed, nor keep the next one waiting.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Iterator

import psutil

from .paths import COMMAND

# Seconds for one process. The command itself gives up earlier on one that does not answer.
PATIENCE = 20
# Of a crowd, a few tell what happened to all.
MOST = 8
# Seconds for all processes together.
PATIENCE_FOR_ALL = 60

# Servers of the tests and other programs that nobody wants to patch.
_NO_VICTIM = "was started without the livepatch runtime"


def runtime_log(pid: int) -> str:
    """What ``ulp messages`` prints for process ``pid``, or the sentence that says why it can't."""
    try:
        done = subprocess.run([sys.executable, str(COMMAND), "messages", "-p", str(pid)], check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=PATIENCE)
    except (OSError, subprocess.SubprocessError) as error:
        return f"ulp messages -p {pid}: {error}\n"
    return done.stdout.decode(errors="replace") or "(nothing)\n"


def logs_of_victims() -> Iterator[tuple[str, str]]:
    """(heading, log) for each process that this one has started, or that such a one has, and that has the runtime.

    A test's victims are among them, and the children that they have forked, for as long as they live.
    """
    end = time.monotonic() + PATIENCE_FOR_ALL
    shown = 0
    try:
        processes = psutil.Process().children(recursive=True)
    except psutil.Error as error:
        yield "log of the runtime", f"the victims can't be listed: {error}\n"
        return
    for process in processes:
        if shown == MOST or time.monotonic() > end:
            yield "log of the runtime", "there may be more victims, whose logs are left out\n"
            return
        try:
            name = process.name()
        except psutil.Error:
            continue
        text = runtime_log(process.pid)
        if _NO_VICTIM not in text:
            shown += 1
            yield f"log of the runtime in {name} (PID {process.pid})", text

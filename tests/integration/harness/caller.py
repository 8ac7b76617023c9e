# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that loads a library, and calls whichever of its functions it is asked to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Sequence

from .paths import RUNTIME

PROGRAM = """\
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
print("loaded", flush=True)
for line in sys.stdin:
    name, value = line.split()
    print(getattr(library, name)(int(value)), flush=True)
"""


class Caller:
    """The process, which has the runtime, and has loaded the library."""

    def __init__(self, library: Path) -> None:
        self.program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(library)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "LD_PRELOAD": str(RUNTIME)})
        assert self.program.stdout.readline() == "loaded\n"
        self.pid = self.program.pid

    def lines(self, calls: Sequence[tuple[str, int]]) -> list[str]:
        """As many lines as there are ``calls``, pairs of a function and its argument: their results."""
        self.program.stdin.write("".join(f"{name} {value}\n" for name, value in calls))
        self.program.stdin.flush()
        return [self.program.stdout.readline() for _call in calls]

    def ask(self, name: str, value: int) -> int:
        """What the function makes of the value."""
        return int(self.lines([(name, value)])[0])

    def close(self) -> None:
        """End it."""
        self.program.kill()
        self.program.communicate()

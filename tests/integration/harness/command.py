# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``ulp``, run as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, NamedTuple

from .paths import COMMAND

TIMEOUT = 120


class Answer(NamedTuple):
    """What one run of ``ulp`` gave."""

    arguments: tuple
    status: int
    output: str
    errors: str

    def json(self) -> Any:
        return json.loads(self.output)

    def __str__(self) -> str:
        return f"ulp {' '.join(self.arguments)}: exit {self.status}\n{self.output}{self.errors}"


class Ulp:
    """Runs ``build/ulp``.  ``wrap`` is put before the command: ``setpriv ...``, say."""

    def __init__(self, command=(sys.executable, str(COMMAND)), wrap: tuple = ()) -> None:
        self.command = tuple(wrap) + tuple(command)

    def run(self, *arguments: object, timeout: float = TIMEOUT) -> Answer:
        """Run it and give back what happened, whatever it was."""
        words = tuple(str(word) for word in arguments)
        done = subprocess.run(
            self.command + words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        answer = Answer(words, done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr, str(answer)
        return answer

    def succeed(self, *arguments: object, timeout: float = TIMEOUT) -> Answer:
        """Run it; it must exit with 0."""
        answer = self.run(*arguments, timeout=timeout)
        assert answer.status == 0, str(answer)
        return answer

    def refuse(self, *arguments: object, status: int = 1, naming: object = "") -> Answer:
        """Run it; it must refuse with ``status`` and one sentence on standard error that has ``naming`` in it."""
        answer = self.run(*arguments)
        lines = answer.errors.splitlines()
        assert answer.status == status, str(answer)
        assert len(lines) == 1, "not one sentence: " + str(answer)
        assert str(naming) in lines[0], f"does not name {naming}: {answer}"
        return answer

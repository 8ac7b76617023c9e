# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``ulp``, run as a user runs it."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from .paths import COMMAND
from .stacks import waits

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
        answer = self._run(tuple(str(word) for word in arguments), timeout)
        assert "Traceback" not in answer.errors, str(answer)
        return answer

    def _run(self, words: tuple[str, ...], timeout: float) -> Answer:
        done = subprocess.run(
            self.command + words,
            check=False, stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        return Answer(words, done.returncode, done.stdout, done.stderr)

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


class PreforkedUlp(Ulp):
    """The same command from the same file, without the time that a start of Python takes."""

    def __init__(self) -> None:
        super().__init__()
        self.server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("prefork.py")), str(COMMAND)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _run(self, words: tuple[str, ...], timeout: float) -> Answer:
        self.server.stdin.write(json.dumps(words) + "\n")
        self.server.stdin.flush()
        if not select.select([self.server.stdout], [], [], timeout)[0]:
            report = waits(self.server.pid)
            self.server.kill()
            raise AssertionError(f"ulp {' '.join(words)} did not end in {timeout:.0f} s\n{report}")
        answer = json.loads(self.server.stdout.readline())
        return Answer(words, answer["status"], answer["output"], answer["errors"])

    def close(self) -> None:
        self.server.stdin.close()
        self.server.wait(TIMEOUT)
        self.server.stdout.close()

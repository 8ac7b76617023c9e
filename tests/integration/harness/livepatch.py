# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying, reverting and checking, as the hazard tests do it over and over."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from pathlib import Path

from .command import TIMEOUT, Answer, Ulp
from .paths import COMMAND, RUNTIME
from .polling import DEADLINE, wait_until
from .stacks import stacks
from .victim import Victim

APPLIED = 0
NOT_APPLIED = 1
PENDING = 3
# Seconds for one apply: a busy machine may keep a victim's threads from running for that long.
PATIENCE = 60
# What an apply or a revert that was carried out ends with.
CARRIED_OUT = ("patched", "reverted", "pending")


class Livepatch:
    """One livepatch and what is done with it."""

    def __init__(self, ulp: Ulp, ulp_file: Path) -> None:
        self.ulp = ulp
        self.ulp_file = ulp_file

    def apply(self, victim: Victim, tries: int = 1) -> Answer:
        """Apply it; that must work, within so many tries: one that could not borrow a thread says so."""
        return self._trigger(victim, tries)

    def revert(self, victim: Victim, tries: int = 1) -> Answer:
        """Revert it; that must work likewise."""
        return self._trigger(victim, tries, "--revert")

    def _trigger(self, victim: Victim, tries: int, *options: str) -> Answer:
        answer = self.attempt(victim, *options)
        if answer.status and tries > 1 and "was not at a point where it could be borrowed" in answer.errors:
            # Nothing has changed; the message says so, and to try again is all that there is to do.
            return self._trigger(victim, tries - 1, *options)
        if answer.status:
            messages = self.ulp.run("messages", "-p", victim.pid)
            raise AssertionError(f"{answer}\n{messages}\n{victim.process.poll()}")
        return answer

    def attach(self, victim: Victim) -> None:
        """Have a victim that was started without the runtime get it, for a test that needs it before any livepatch."""
        if RUNTIME.name not in victim.mapped():
            self.apply(victim)
            self.revert(victim)

    def attempt(self, victim: Victim, *options: str) -> Answer:
        """Apply it once, or do what ``options`` say: what came of it."""
        return self.ulp.run("trigger", "-p", victim.pid, self.ulp_file, "--timeout", PATIENCE,
                            "--runtime", RUNTIME, *options)

    def check(self, victim: Victim) -> int:
        """The exit status of ``ulp check``."""
        return self.ulp.run("check", "-p", victim.pid, self.ulp_file).status

    def wait_for_check(self, victim: Victim, status: int, deadline: float = DEADLINE) -> None:
        """Poll ``ulp check`` until it answers ``status``."""
        said = []

        def answers():
            said[:] = [self.ulp.run("check", "-p", victim.pid, self.ulp_file)]
            return said[0].status == status

        try:
            wait_until(answers, f"ulp check -p {victim.pid} answers {status}", deadline)
        except AssertionError as error:
            messages = self.ulp.run("messages", "-p", victim.pid)
            raise AssertionError(f"{error}\n{said[0]}\n{messages}\n{stacks(victim.pid)}") from None


class Repeated(Livepatch):
    """The same for tests that do it hundreds of times: by one process that has read the livepatch and the libraries."""

    def __init__(self, ulp: Ulp, ulp_file: Path) -> None:
        super().__init__(ulp, ulp_file)
        self.server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("repeat.py")), str(COMMAND), str(ulp_file), str(RUNTIME)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def attempt(self, victim: Victim, *options: str) -> Answer:
        words = ("revert" if options else "apply", str(victim.pid))
        self.server.stdin.write(" ".join(words) + "\n")
        self.server.stdin.flush()
        if not select.select([self.server.stdout], [], [], TIMEOUT)[0]:
            self.server.kill()
            raise AssertionError(f"{' '.join(words)} did not end in {TIMEOUT:.0f} s\n{stacks(victim.pid)}")
        outcome, reason, _held = json.loads(self.server.stdout.readline())
        return Answer(words, int(outcome not in CARRIED_OUT), outcome, reason)

    def close(self) -> None:
        self.server.stdin.close()
        self.server.wait(TIMEOUT)
        self.server.stdout.close()

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying, reverting and checking, as the hazard tests do it over and over."""

from __future__ import annotations

from pathlib import Path

from .command import Answer, Ulp
from .polling import DEADLINE, wait_until
from .victim import Victim

APPLIED = 0
NOT_APPLIED = 1
PENDING = 3


class Livepatch:
    """One container and what is done with it."""

    def __init__(self, ulp: Ulp, container: Path) -> None:
        self.ulp = ulp
        self.container = container

    def apply(self, victim: Victim, tries: int = 1) -> Answer:
        """Apply it; that must work, within so many tries: one that could not borrow a thread says so."""
        return self._trigger(victim, tries)

    def revert(self, victim: Victim, tries: int = 1) -> Answer:
        """Revert it; that must work likewise."""
        return self._trigger(victim, tries, "--revert")

    def _trigger(self, victim: Victim, tries: int, *options: str) -> Answer:
        answer = self.ulp.run("trigger", "-p", victim.pid, self.container, "--timeout", 20, *options)
        if answer.status and tries > 1 and "was not at a point where it could be borrowed" in answer.errors:
            # Nothing has changed; the message says so, and to try again is all that there is to do.
            return self._trigger(victim, tries - 1, *options)
        if answer.status:
            messages = self.ulp.run("messages", "-p", victim.pid)
            raise AssertionError(f"{answer}\n{messages}\n{victim.process.poll()}")
        return answer

    def check(self, victim: Victim) -> int:
        """The exit status of ``ulp check``."""
        return self.ulp.run("check", "-p", victim.pid, self.container).status

    def wait_for_check(self, victim: Victim, status: int, deadline: float = DEADLINE) -> None:
        """Poll ``ulp check`` until it answers ``status``."""
        wait_until(lambda: self.check(victim) == status, f"ulp check -p {victim.pid} answers {status}",
                   deadline)

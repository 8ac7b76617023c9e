# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A diversion that is held up on purpose, so that something surely happens in the middle of it."""

from __future__ import annotations

import random
from typing import Callable

from ansible_collections.libpulp.livepatch.plugins.module_utils import abi
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.mapped import MappedFiles
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.maps import read_maps
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.subject import examine
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.diversion import Diversion, Errand
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.errors import ThreadRefused

from .foreign_memory import write_memory
from .polling import wait_until
from .victim import Victim


class HeldDiversion(Diversion):
    """Does ``meanwhile()`` when the thread has its new registers and mask, and has not been let go."""

    def __init__(self, victim: Victim, thread: int, meanwhile: Callable[[], None]) -> None:
        subject = examine(victim.pid, MappedFiles())
        # No request but its nonce: the thread goes all the way to the worker and back, and nothing changes.
        nonce, buffer = random.getrandbits(63) | 1, subject.state.request
        write_memory(subject.proc_tid, buffer, abi.REQUEST.size * b"\0")
        write_memory(subject.proc_tid, buffer + abi.REQUEST.offsets["nonce"], nonce.to_bytes(8, "little"))
        super().__init__(
            victim.pid, thread, Errand(subject.state.entry, buffer, nonce), read_maps(subject.proc_tid))
        self.meanwhile = meanwhile

    def _hold(self) -> None:
        with self.custody:
            self._divert()
            self.meanwhile()
            self.custody.release()


def hold(victim: Victim, thread: int, meanwhile: Callable[[], None]) -> None:
    """Divert ``thread`` so. On a busy machine it may not stop soon enough for the tool, which asks again later."""

    def held() -> bool:
        try:
            HeldDiversion(victim, thread, meanwhile).run()
        except ThreadRefused:
            return False
        return True

    wait_until(held, f"thread {thread} could be diverted")

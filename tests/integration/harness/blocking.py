# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one-threaded victim that is blocked in a system call whenever a patch comes."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Callable, NamedTuple

from .blocked import version_patch
from .library import Build
from .livepatch import Livepatch
from .polling import wait_until

# System call numbers of x86-64, and what the victim calls those that it makes in more than one way.
NUMBERS = {
    "read": 0, "poll": 7, "select": 23, "epoll_wait": 232, "nanosleep": 35, "clock_nanosleep": 230, "futex": 202,
    "sem_wait": 202, "condition": 202, "pause": 34, "sigsuspend": 130, "ppoll": 271, "pselect": 270,
    "epoll_pwait2": 441, "semtimedop": 220, "sigtimedwait": 128, "accept": 43, "accept_within": 43,
    "recv_within": 45, "read_within": 0, "waitpid": 61, "sem_wait_forever": 202, "futex_forever": 202,
    "io_uring_enter": 426, "io_uring_enter_within": 426, "io_uring_enter_submitting": 426,
}
# What the C library of some systems makes instead.
OTHERWISE = {"nanosleep": 230, "select": 270}


class Outcome(NamedTuple):
    """What a call gave back, and how long it took."""

    result: int
    error: int
    extra: int
    seconds: float


class Blocking:
    """The victim with its input, a FIFO, and a patch that is applied and reverted in turn."""

    def __init__(
        self,
        build: Build,
        start: Callable[..., object],
        livepatch: Callable[[Path], Livepatch],
        directory: Path,
        milliseconds: int,
    ) -> None:
        self.patch = livepatch(version_patch(build))
        self.victim = start(build, "blocking/app.c")
        self.milliseconds = milliseconds
        self.socket = directory / "socket"
        fifo = directory / "input"
        os.mkfifo(fifo)
        assert self.victim.number(f"open {fifo}") == 1
        assert self.victim.number(f"listen {self.socket}") == 1
        self.fifo = os.open(fifo, os.O_RDWR)

    @property
    def changes(self) -> tuple:
        """What is done to the victim, and the version that it has then."""
        return (self.patch.apply, 2), (self.patch.revert, 1)

    def block(self, call: str, times: int = 1) -> None:
        """Have it make the call, and wait until it is blocked there.

        :param times: how much longer than usual the call's limit is.
        """
        self.victim.send(f"block {call} {self.milliseconds * times}")
        self.victim.expect("blocking")
        numbers = {str(NUMBERS[call]), str(OTHERWISE.get(call))}
        wait_until(lambda: self.victim.system_call() in numbers, "blocked in " + call)

    def give_input(self, call: str) -> None:
        """Let come what the call waits for."""
        if call == "accept":
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(self.socket))
        else:
            os.write(self.fifo, b"abc")

    def take_input_back(self) -> None:
        """What the call has not read itself must still be there."""
        assert os.read(self.fifo, 16) == b"abc"

    def outcome(self) -> Outcome:
        result, error, microseconds, extra = (int(word) for word in self.victim.receive().split())
        return Outcome(result, error, extra, microseconds / 1e6)

    def close(self) -> None:
        os.close(self.fifo)

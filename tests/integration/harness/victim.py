# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A victim program under test: commands in, one line back for each, and a clean end or a failed test."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from pathlib import Path
from typing import Sequence

from .paths import RUNTIME
from .polling import DEADLINE, wait_until
from .runtime_log import runtime_log
from .stacks import stacks


class VictimError(AssertionError):
    """The victim hung, crashed, or answered what it must not."""


class Victim:
    """A process that a test has started, preloaded with the runtime unless ``preload`` is empty."""

    def __init__(
        self,
        arguments: Sequence[object],
        libraries: Sequence[Path] = (),
        preload: Sequence[Path] = (RUNTIME,),
        environment: dict[str, str] | None = None,
        user: int | None = None,
        first: str = "ready",
    ) -> None:
        """
        :param first: what it says first, when it can be sent commands.
        """
        self.name = Path(str(arguments[-1])).name
        values = dict(os.environ, **(environment or {}))
        values.pop("LD_PRELOAD", None)
        if preload:
            values["LD_PRELOAD"] = ":".join(str(path) for path in preload)
        if libraries:
            values["LD_LIBRARY_PATH"] = ":".join(str(path) for path in libraries)
        options = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        self.process = subprocess.Popen(
            [str(word) for word in arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=values,
            **options,
        )
        self.pid = self.process.pid
        self._received = b""
        os.set_blocking(self.process.stdout.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.process.stdout, selectors.EVENT_READ)
        self.expect(first)

    # ------------------------------------------------------------ talking

    def send(self, command: str) -> None:
        """Send one command without waiting for its answer."""
        try:
            self.process.stdin.write(command.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise VictimError(self._death(f"when it was sent {command!r}")) from None

    def receive(self, deadline: float = DEADLINE) -> str:
        """The next line; the test fails, with the stacks, when none comes within ``deadline`` seconds."""
        end = time.monotonic() + deadline
        while b"\n" not in self._received:
            rest = end - time.monotonic()
            if rest <= 0:
                raise VictimError(
                    f"{self.name} (PID {self.pid}) did not answer in {deadline:.0f} s; "
                    f"it had said {self._received!r}\n{stacks(self.pid)}")
            if not self._selector.select(min(rest, 1.0)):
                continue
            # Not through the stream, which may keep a part of what it has read where select() does not see it.
            chunk = os.read(self.process.stdout.fileno(), 65536)
            if not chunk:
                raise VictimError(self._death("instead of answering"))
            self._received += chunk
        line, _newline, self._received = self._received.partition(b"\n")
        return line.decode()

    def ask(self, command: str, deadline: float = DEADLINE) -> str:
        """Send one command and give back its answer."""
        self.send(command)
        return self.receive(deadline)

    def numbers(self, command: str, deadline: float = DEADLINE) -> list[int]:
        """Send one command whose answer is a line of integers."""
        return [int(word) for word in self.ask(command, deadline).split()]

    def number(self, command: str, deadline: float = DEADLINE) -> int:
        """Send one command whose answer is one integer."""
        return int(self.ask(command, deadline))

    def expect(self, answer: str, deadline: float = DEADLINE) -> None:
        """The next line must be ``answer``."""
        line = self.receive(deadline)
        if line != answer:
            raise VictimError(f"{self.name} said {line!r}, not {answer!r}")

    # ------------------------------------------------------------- looking

    def threads(self) -> list[int]:
        return sorted(int(name) for name in os.listdir(f"/proc/{self.pid}/task"))

    def wait_for_threads(self, count: int) -> None:
        """Wait until only so many threads are left: the one that has carried out a request ends after its answer."""
        wait_until(lambda: len(self.threads()) == count, f"{self.name} (PID {self.pid}) has {count} threads")

    def system_call(self, thread: int | None = None) -> str:
        """The number of the system call that a thread is blocked in, or ``running``."""
        path = f"/proc/{self.pid}/task/{thread or self.pid}/syscall"
        return Path(path).read_text().split()[0]

    def mapped(self) -> str:
        return Path(f"/proc/{self.pid}/maps").read_text()

    # -------------------------------------------------------------- ending

    def _complaints(self) -> str:
        """What it wrote to standard error; not what is still to come: a child that it has forked may keep that open."""
        os.set_blocking(self.process.stderr.fileno(), False)
        return (self.process.stderr.read() or b"").decode(errors="replace")

    def _death(self, when: str) -> str:
        status = self.process.wait(DEADLINE)
        errors = self._complaints()
        how = f"by signal {signal.Signals(-status).name}" if status < 0 else f"with {status}"
        return f"{self.name} (PID {self.pid}) ended {how} {when}: {errors}"

    def finish(self) -> None:
        """End it; it must end by itself, with 0, and must not have complained."""
        if self.process.poll() is None:
            try:
                self.process.stdin.write(b"quit\n")
                self.process.stdin.close()
            except BrokenPipeError:
                pass  # it died meanwhile: its status tells
        try:
            status = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            report = f"{stacks(self.pid)}\nlog of the runtime:\n{runtime_log(self.pid)}"
            self.kill()
            raise VictimError(f"{self.name} (PID {self.pid}) did not end\n{report}") from None
        if status:
            raise VictimError(self._death("at its end"))
        errors = self._complaints()
        self.close()
        if errors:
            raise VictimError(f"{self.name} complained: {errors}")

    def kill(self) -> None:
        """End it at once; for a test that has failed already, or that needs a dead process."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE)
        self.close()

    def close(self) -> None:
        self._selector.close()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if not stream.closed:
                # Unsent commands of a victim that is gone.
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

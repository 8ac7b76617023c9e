# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the target's own tests under its livepatch.

The command runs in the tree as it was built before the diff, with the runtime and a *gate* preloaded.  The gate is a
small library in place of the C library's __libc_start_main(): when constructors have run, and main() is next, it says
so on a socket, and waits for the answer.  Meanwhile the livepatch is applied to the process, so that even a test of a
millisecond is patched from the first instruction of main() on.  (In a constructor it would be too early: the loader's
first frame has no unwind information.)  Where a process loads the target later, it is patched as soon as that is seen.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
from typing import Any

from ..errors import FileProblem
from ..livepatch.livepatch import read_livepatch
from ..named_tuple import NamedTuple
from ..process.errors import ProcessError
from ..process.mapped import MappedFiles
from ..process.procfs import read_stat
from ..process.subject import has_ended
from ..trigger import outcome
from ..trigger.options import Options
from ..trigger.trigger import Trigger
from .commands import last_lines, run
from .errors import BuildFailed
from .limits import Limits

_GATE = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
static int (*real_main)(int, char **, char **);
static void wait_at_gate(void)
{
    const char *path = getenv("ULP_TEST_GATE");
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char answer;
    int gate;
    if (path == NULL || strlen(path) >= sizeof(address.sun_path))
        return;
    gate = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, path);
    if (gate >= 0 && connect(gate, (struct sockaddr *)&address, sizeof(address)) == 0)
        while (read(gate, &answer, 1) < 0)
            ;
    close(gate);
}
static int main_behind_gate(int argc, char **argv, char **environment)
{
    wait_at_gate();
    return real_main(argc, argv, environment);
}
int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*loader_fini)(void), void *stack_end)
{
    int (*start)(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void), void (*)(void),
                 void *) = dlsym(RTLD_NEXT, "__libc_start_main");
    real_main = main;
    return start(main_behind_gate, argc, argv, init, fini, loader_fini, stack_end);
}
"""
# Between two looks at processes that may have loaded the target meanwhile.
_AGAIN = 0.2
_CREDENTIALS = struct.Struct("=iII")


class Verdict(NamedTuple):
    """What came of a test that succeeded: how many ``processes`` it started, and how many of them were ``patched``."""

    command: str
    processes: int
    patched: int


def run_under(livepatches: list[str], command: str, directory: str, libraries: list[str], runtime: str, scratch: str,
              limits: Limits) -> Verdict:
    """Run ``command`` with the shell in ``directory``, under ``livepatches``, the paths of such.

    :param libraries: directories with the targets, for LD_LIBRARY_PATH.
    :param runtime: path of libpulp.so.
    :param scratch: a directory for the log and the gate.
    :param limits: what it may take.
    :raises BuildFailed: it fails, takes more, or says nothing about the livepatch: no process of it was patched, or
        one could not be.
    """
    gate = os.path.join(scratch, "gate.so")
    source = os.path.join(scratch, "gate.c")
    log = os.path.join(scratch, "test.log")
    # A socket's name may have 107 bytes, which the directory's alone may be.
    place = f"/proc/self/fd/{os.open(scratch, os.O_PATH | os.O_CLOEXEC)}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with open(source, "w", encoding="utf-8") as stream:
            stream.write(_GATE)
        run(["cc", "-O2", "-fPIC", "-shared", "-w", "-o", gate, source, "-ldl"],
            "compile what stops the processes of the test", "gcc")
        name = os.path.join(scratch, "gate")
        if os.path.lexists(name):
            os.unlink(name)
        listener.bind(f"{place}/gate")
        listener.listen(128)
        path = os.pathsep.join([*libraries, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])])
        environment = {**os.environ, "LD_PRELOAD": f"{os.path.abspath(runtime)} {gate}",
                       "ULP_TEST_GATE": f"/proc/{os.getpid()}/fd/{place.rpartition('/')[2]}/gate"}
        if path:
            environment["LD_LIBRARY_PATH"] = path
        return _Run(livepatches, listener, command, log).run(directory, environment, limits)
    except OSError as error:
        raise FileProblem("write", scratch, error) from error
    finally:
        listener.close()
        os.close(int(place.rpartition("/")[2]))


def _start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since the machine did; None if it has ended."""
    try:
        stat = read_stat(pid)
    except ProcessError:
        return None
    return None if stat.state in ("Z", "X") else int(stat.start_ticks)


class _Run:
    def __init__(self, livepatches: list[str], listener: socket.socket, command: str, log: str) -> None:
        self.triggers = [Trigger(read_livepatch(path), MappedFiles(), Options()) for path in livepatches]
        self.listener = listener
        self.command = command
        self.log = log
        self.seen: set[int] = set()
        self.patched: set[int] = set()
        # {(PID, start time): triggers whose target it has not loaded yet}
        self.later: dict[tuple[int, int], list[Trigger]] = {}
        self.failures: list[str] = []

    def run(self, directory: str, environment: dict[str, str], limits: Limits) -> Verdict:
        with open(self.log, "wb") as stream:
            process = subprocess.Popen(["/bin/sh", "-c", self.command], cwd=directory, env=environment,
                                       stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
                                       start_new_session=True)
            try:
                while process.poll() is None:
                    limits.require(f"the test {self.command!r}", self.log)
                    self.serve()
            finally:
                # What it has left behind, too.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return self.verdict(process.returncode)

    def serve(self) -> None:
        """Patch who waits at the gate; else look at those again that may have loaded the target."""
        ready, _writable, _failed = select.select([self.listener], [], [], _AGAIN)
        if ready:
            connection, _address = self.listener.accept()
            with connection:
                credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
                pid = _CREDENTIALS.unpack(credentials)[0]
                self.seen.add(pid)
                self.patch(pid, _start_time(pid), self.triggers)
            return
        for (pid, started), triggers in list(self.later.items()):
            del self.later[pid, started]
            # The number may be another's by now.
            if started == _start_time(pid):
                self.patch(pid, started, triggers)

    def patch(self, pid: int, started: int | None, triggers: list[Trigger]) -> None:
        """Apply what can be applied now, and note what may be later."""
        left = []
        for trigger in triggers:
            row: Any = trigger.apply(pid)
            if row.outcome in (outcome.PATCHED, outcome.ALREADY_PATCHED):
                self.patched.add(pid)
            elif row.outcome == outcome.NOT_APPLICABLE:
                left.append(trigger)
            elif started is not None and started == _start_time(pid) and not has_ended(pid):
                self.failures.append(f"process {pid} ({row.outcome}: {row.reason})")
        if left and started is not None:
            self.later[pid, started] = left

    def verdict(self, status: int) -> Verdict:
        if status:
            raise BuildFailed(f"the test {self.command!r} fails under the livepatch (status {status}); {self.log} ends"
                              f" with:\n{last_lines(self.log)}")
        if self.failures:
            raise BuildFailed(f"the test {self.command!r} ran without the livepatch in {self.failures[0]}"
                              + (f" and {len(self.failures) - 1} more" if len(self.failures) > 1 else ""))
        if not self.patched:
            raise BuildFailed(f"the test {self.command!r} says nothing about the livepatch: none of its"
                              f" {len(self.seen)} processes runs the very library that it is for")
        return Verdict(self.command, len(self.seen), len(self.patched))

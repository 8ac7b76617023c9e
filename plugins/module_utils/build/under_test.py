# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the target's own tests under its livepatch.

The command runs in the tree as it was built before the diff, with the runtime and a *gate* preloaded.  The gate is a
small library in place of the C library's __libc_start_main(): when constructors have run, and main() is next, it says
so on a socket, and waits for the answer.  Meanwhile the livepatch is applied to the process, so that even a test of a
millisecond is patched from the first instruction of main() on.  (In a constructor it would be too early: the loader's
first frame has no unwind information.)  Where a process loads the target later, it is patched as soon as that is seen.

A process that is patched comes to the gate again when it ends, and so do those that it has forked.  Then the kernel
tells whether code of the livepatch was ever executed there.  A process that a signal ends does not come.  Each gets a
copy of the livepatch, since the kernel's answer is about pages, which processes that load one file share.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
from typing import Any, Mapping

from ..counted import counted
from ..errors import FileProblem
from ..livepatch.livepatch import Livepatch, read_livepatch
from ..named_tuple import NamedTuple
from ..process.errors import ProcessError
from ..process.mapped import MappedFiles
from ..process.procfs import read_stat
from ..process.random_bytes import RandomBytes, random_bytes
from ..process.referenced import forget_references, has_executed
from ..process.subject import has_ended
from ..trigger import outcome
from ..trigger.borrowing.delivery import MAPPED_AS
from ..trigger.options import Options
from ..trigger.trigger import Trigger
from .commands import in_session, inherited_environment, last_lines, run
from .errors import BuildFailed
from .limits import Limits

_GATE = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
static int (*real_main)(int, char **, char **);
static int comes_again;
static pid_t has_come;
static int wait_at_gate(char why)
{
    const char *path = getenv("ULP_TEST_GATE");
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char answer;
    ssize_t size = 0;
    int gate;
    if (path == NULL || strlen(path) >= sizeof(address.sun_path))
        return 0;
    gate = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, path);
    if (gate >= 0 && connect(gate, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        send(gate, &why, 1, MSG_NOSIGNAL) == 1)
        while ((size = read(gate, &answer, 1)) < 0)
            ;
    close(gate);
    return size == 1;
}
static void come_again(void)
{
    /* A child of vfork() shares the variable, and has another number. */
    if (!comes_again || has_come == getpid())
        return;
    has_come = getpid();
    wait_at_gate('e');
}
/* exit() comes by the handler, and calls a name of the C library's own after that. */
void _exit(int status)
{
    come_again();
    for (;;)
        syscall(SYS_exit_group, status);
}
void _Exit(int status)
{
    _exit(status);
}
static int main_behind_gate(int argc, char **argv, char **environment)
{
    comes_again = wait_at_gate('b');
    if (comes_again)
        atexit(come_again);
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
# What a process says at the gate, and what tells it to come again.
_ENDS = b"e"
_COME_AGAIN = b"a"
# Between two looks at processes that may have loaded the target meanwhile, and how long one may take to say a letter,
# in seconds.
_AGAIN = 0.2
_SPEAKS = 30
_CREDENTIALS = struct.Struct("=iII")


class Verdict(NamedTuple):
    """What came of a test that succeeded.

    ``processes``: how many it started; ``patched``: how many of them were; ``reached``: in how many processes, forked
    ones as well, code of a livepatch was executed, None where the kernel does not tell.
    """

    command: str
    processes: int
    patched: int
    reached: int | None


def shown_counts(test: Mapping[str, Any]) -> str:
    """What came of a test as a phrase; ``test``: the fields of a Verdict, or of one that an earlier release kept."""
    reached = test.get("reached")
    ran = "whether new code was executed is not known" if reached is None else f"new code executed in {reached}"
    return f"{counted(test['patched'], 'process', 'es')} patched of {test['processes']}, {ran}"


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
        environment = {**inherited_environment(), "LD_PRELOAD": f"{os.path.abspath(runtime)} {gate}",
                       "ULP_TEST_GATE": f"/proc/{os.getpid()}/fd/{place.rpartition('/')[2]}/gate"}
        if path:
            environment["LD_LIBRARY_PATH"] = path
        return _Run(livepatches, listener, command, log).run(directory, environment, limits)
    except OSError as error:
        raise FileProblem("write", scratch, error) from error
    finally:
        listener.close()
        os.close(int(place.rpartition("/")[2]))


def _program(pid: int) -> tuple[int, RandomBytes] | None:
    """What tells a process, and the program that it executes, from every other; None if it has ended."""
    try:
        stat = read_stat(pid)
        return None if stat.state in ("Z", "X") else (int(stat.start_ticks), random_bytes(pid))
    except ProcessError:
        return None


class _Tested:
    """A livepatch for the processes of the test, of which each loads a copy of its own."""

    def __init__(self, livepatch: Livepatch, files: MappedFiles) -> None:
        self.livepatch = livepatch
        self.files = files
        start = os.path.realpath(livepatch.path) + "."
        # How the memory map calls the copies: by their paths, or as memory_file.c does where a process sees no file.
        self.mapped_as = [start, MAPPED_AS + os.path.basename(start)]
        self._copies = 0
        self._next: Trigger | None = None

    def apply(self, pid: int) -> Any:
        """Apply a copy of it; the row of the trigger.

        :raises OSError: the copy cannot be written.
        """
        if self._next is None:
            self._copies += 1
            copy = f"{self.mapped_as[0]}{self._copies}"
            shutil.copyfile(self.livepatch.path, copy)
            self._next = Trigger(self.livepatch._replace(path=copy), self.files, Options())
        row: Any = self._next.apply(pid)
        if row.outcome != outcome.NOT_APPLICABLE:
            # A process that has loaded it does not need the name any more.
            self.remove_copy()
        return row

    def remove_copy(self) -> None:
        """Remove the copy that no process has loaded yet."""
        if self._next is not None:
            os.unlink(self._next.livepatch.path)
            self._next = None


class _Run:
    def __init__(self, livepatches: list[str], listener: socket.socket, command: str, log: str) -> None:
        files = MappedFiles()
        self.livepatches = [_Tested(read_livepatch(path), files) for path in livepatches]
        self.listener = listener
        self.command = command
        self.log = log
        self.seen: set[int] = set()
        self.patched: set[int] = set()
        # {(PID, its program): those whose target it has not loaded yet}
        self.later: dict[tuple[int, tuple[int, RandomBytes]], list[_Tested]] = {}
        self.reached: set[int] = set()
        self.is_told = True  # whether the kernel tells what was executed
        self.failures: list[str] = []

    def run(self, directory: str, environment: dict[str, str], limits: Limits) -> Verdict:
        with open(self.log, "wb") as stream:
            try:
                with in_session(["/bin/sh", "-c", self.command], cwd=directory, env=environment,
                                stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT) as process:
                    try:
                        while process.poll() is None:
                            limits.require(f"the test {self.command!r}", self.log)
                            self.serve()
                    finally:
                        # What it has left behind, too.
                        with contextlib.suppress(ProcessLookupError):
                            os.killpg(process.pid, signal.SIGKILL)
            finally:
                for livepatch in self.livepatches:
                    livepatch.remove_copy()
        return self.verdict(process.returncode)

    def serve(self) -> None:
        """Patch who waits at the gate; else look at those again that may have loaded the target."""
        ready, _writable, _failed = select.select([self.listener], [], [], _AGAIN)
        if ready:
            connection, _address = self.listener.accept()
            with connection:
                credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
                pid = _CREDENTIALS.unpack(credentials)[0]
                self.answer(connection, pid)
            return
        for (pid, program), livepatches in list(self.later.items()):
            del self.later[pid, program]
            # The number may be another's by now, and another program goes through the gate itself, unless it is to run
            # without the livepatch (env -u LD_PRELOAD).
            if program == _program(pid):
                self.patch(pid, program, livepatches)

    def answer(self, connection: socket.socket, pid: int) -> None:
        """Deal with a process that waits at the gate; when the connection is closed, it goes on."""
        connection.settimeout(_SPEAKS)
        try:
            why = connection.recv(1)
        except OSError:
            why = b""
        if why == _ENDS:
            self.look(pid)
            return
        self.seen.add(pid)
        program = _program(pid)
        self.patch(pid, program, self.livepatches)
        if pid in self.patched or (pid, program) in self.later:
            with contextlib.suppress(OSError):
                connection.send(_COME_AGAIN, socket.MSG_NOSIGNAL)

    def look(self, pid: int) -> None:
        """Note whether a process has executed code of a livepatch up to now."""
        found = has_executed(pid, [path for livepatch in self.livepatches for path in livepatch.mapped_as])
        if found:
            self.reached.add(pid)
        elif found is None and pid in self.patched and not has_ended(pid):
            self.is_told = False

    def patch(self, pid: int, program: tuple[int, RandomBytes] | None, livepatches: list[_Tested]) -> None:
        """Apply what can be applied now, and note what may be later."""
        left = []
        if pid in self.patched:
            # By another livepatch, before this one's target was loaded.
            self.look(pid)
        for livepatch in livepatches:
            row = livepatch.apply(pid)
            if row.outcome in (outcome.PATCHED, outcome.ALREADY_PATCHED):
                self.patched.add(pid)
            elif row.outcome == outcome.NOT_APPLICABLE:
                left.append(livepatch)
            elif program is not None and program == _program(pid) and not has_ended(pid):
                self.failures.append(f"process {pid} ({row.outcome}: {row.reason})")
        if left and program is not None:
            self.later[pid, program] = left
        if pid in self.patched and not forget_references(pid) and not has_ended(pid):
            self.is_told = False

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
        return Verdict(self.command, len(self.seen), len(self.patched), len(self.reached) if self.is_told else None)

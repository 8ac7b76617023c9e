# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a function in a process with mounts and process IDs of its own, of which nothing is left when it ends.

Three processes: the *outer* one leaves the namespaces of its parent; the *first* one has the process ID 1 in the new
ones, reaps, and ends with its parent, however that ends; the *worker* runs the function.  When the first process ends,
the kernel kills all others of its namespace, and with the last of them their mounts are gone.

An ordinary user stays that user: a user namespace gives the worker the right to mount under the user's own ID, until it
gives that up.

Sources: namespaces(7), pid_namespaces(7), user_namespaces(7), mount_namespaces(7), pivot_root(2), capabilities(7).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import threading
import traceback
from typing import Any, Callable, NoReturn

from ..errors import FileProblem, UlpError
from ..termination import SIGNALS
from .errors import BuildFailed

_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWPID = 0x20000, 0x10000000, 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_REC, MS_UNBINDABLE = 1024, 2048, 4096, 16384, 1 << 17
_MS_PRIVATE, MS_RELATIME = 1 << 18, 1 << 21
_MNT_DETACH = 2
# capget(2): the version, with 64 capabilities in two sets of three words of 32 bits.
_CAPABILITY_VERSION = 0x20080522
_FAILED = 1

Message = Any

_libc = ctypes.CDLL(None, use_errno=True)


def run_apart(act: Callable[[Callable[[Message], None]], None], listen: Callable[[Message], None]) -> None:
    """Call ``act(send)`` in a process with namespaces of its own, and ``listen`` with whatever it sends.

    The mounts that it makes are seen by itself and by what it starts.  It shares the caller's memory as of now, and
    nothing of what it changes.

    :param act: sends what JSON can hold.
    :raises UlpError: ``act`` raises one, or the process ends before ``act`` does.
    """
    reading, writing = os.pipe()
    alive, keep = os.pipe()
    outer = os.fork()
    if outer == 0:
        os.close(reading)
        os.close(keep)
        _end(_outer, act, writing, alive)
    os.close(writing)
    os.close(alive)
    last: Message = None
    try:
        with open(reading, encoding="utf-8") as stream:
            for line in stream:
                last = json.loads(line)
                if "message" in last:
                    listen(last["message"])
    finally:
        os.close(keep)
        os.waitpid(outer, 0)
    if last is None or "message" in last:
        raise BuildFailed("the process that builds was killed; see whether memory ran out")
    if last["error"] is not None:
        raise BuildFailed(last["error"])


def _end(function: Callable[..., int], *arguments: Any) -> NoReturn:
    """Call a function in a process that was just forked, and end the process with what it returns."""
    status = _FAILED
    try:
        status = function(*arguments)
    finally:
        # Nothing of the parent's is to be flushed or cleaned up.
        os._exit(status)


def _outer(act: Callable[[Callable[[Message], None]], None], writing: int, alive: int) -> int:
    # Ctrl-C is for the parent, which then ends all of it.
    os.setsid()
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    user, group = os.geteuid(), os.getegid()
    try:
        _call("unshare", _CLONE_NEWNS | _CLONE_NEWPID | (_CLONE_NEWUSER if user else 0))
        if user:
            for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"),
                               ("gid_map", f"{group} {group} 1")):
                with open(f"/proc/self/{name}", "w", encoding="ascii") as stream:
                    stream.write(text)
        # Else what is mounted here would be seen outside.
        _call("mount", b"none", b"/", None, ctypes.c_ulong(_MS_PRIVATE | MS_REC), None)
    except OSError as error:
        _report(writing, {"error": (
            f"cannot make namespaces to build in: {error.strerror}; " + (
                "let ordinary users have user namespaces (sysctl user.max_user_namespaces, and"
                " kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)"
                if user else "it takes CAP_SYS_ADMIN, which root has outside of containers"))})
        return _FAILED
    first = os.fork()
    if first == 0:
        _end(_first, act, writing, alive)
    os.close(writing)
    os.close(alive)
    os.waitpid(first, 0)
    return 0


def _first(act: Callable[[Callable[[Message], None]], None], writing: int, alive: int) -> int:
    worker = os.fork()
    if worker == 0:
        os.close(alive)
        _end(_work, act, writing)
    os.close(writing)

    def watch() -> None:
        # Nobody writes there: it ends when the parent does, or has enough.
        os.read(alive, 1)
        os._exit(_FAILED)

    threading.Thread(target=watch, daemon=True).start()
    while os.waitpid(-1, 0)[0] != worker:
        pass
    return 0


def _work(act: Callable[[Callable[[Message], None]], None], writing: int) -> int:
    try:
        act(lambda message: _report(writing, {"message": message}))
        _report(writing, {"error": None})
        return 0
    except UlpError as error:
        _report(writing, {"error": error.args[0]})
    except OSError as error:
        _report(writing, {"error": str(error)})
    except BaseException:  # noqa: BLE001  (reported)
        _report(writing, {"error": f"an error of ulp itself, please report it: {traceback.format_exc()}"})
    return _FAILED


def _report(writing: int, line: Message) -> None:
    with open(os.dup(writing), "w", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def _call(name: str, *arguments: Any) -> None:
    """Call a function of the C library; OSError if it returns anything but 0."""
    if getattr(_libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """mount(2).

    :raises FileProblem: it fails; names ``target``.
    """
    try:
        _call("mount", os.fsencode(source), os.fsencode(target), kind.encode() if kind else None,
              ctypes.c_ulong(flags), options.encode())
    except OSError as error:
        raise FileProblem("mount", target, error) from error


def change_root(directory: str) -> None:
    """Make ``directory``, where something is mounted, the root, and leave nothing of the old one.

    :raises FileProblem: it cannot be done.
    """
    try:
        os.chdir(directory)
        _call("pivot_root", b".", b".")
        _call("umount2", b".", _MNT_DETACH)
        os.chdir("/")
    except OSError as error:
        raise FileProblem("change the root to", directory, error) from error


def give_up_capabilities() -> None:
    """Be an ordinary process of an ordinary user again; root stays what it is.

    A process with capabilities is closed to those of the same user without any (ptrace(2), "Ptrace access mode
    checking"), and the processes of a test reach this one by its descriptors.

    :raises FileProblem: the kernel refuses.
    """
    if os.geteuid() == 0:
        return
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    try:
        _call("capset", header, none)
    except OSError as error:
        raise FileProblem("give up the capabilities of", "the process that builds", error) from error

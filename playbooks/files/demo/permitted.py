# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether processes can be livepatched here at all, found out before anything is built.

Prints what ulp_dispatch has to be told about seccomp filters: "examine", or "assume_errno" where a filter is in force
that nobody here may examine, as in a container. Exits with 1 and one sentence where nothing can be patched.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

# ptrace(2)
PTRACE_SEIZE = 0x4206
# seccomp(2)
SECCOMP_MODE_FILTER = "2"

DENIED = (
    "ptrace(2) is denied here ({error}), and without it no process can be patched: start a container with"
    " --cap-add=SYS_PTRACE; elsewhere run this as root, or set kernel.yama.ptrace_scope to 0."
)
BITS = "The demonstration needs a 64-bit Python on x86-64, as the runtime does: this is {machine}."


def stranger():
    """The PID of a process of ours that is no child of ours, like a service; it waits for a signal."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        if not os.fork():
            # Should nobody end it.
            signal.alarm(60)
            os.write(writing, str(os.getpid()).encode("ascii"))
            os.close(writing)
            signal.pause()
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, encoding="ascii") as pipe:
        return int(pipe.read())


def refusal():
    """Why a process of ours may not be traced, as the C library words the error; None: it may."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    pid = stranger()
    try:
        if libc.ptrace(PTRACE_SEIZE, pid, None, None):
            return os.strerror(ctypes.get_errno())
        return None
    finally:
        # A tracer that ends lets go of its tracees.
        os.kill(pid, signal.SIGKILL)


def seccomp_mode():
    """What /proc/self/status says of seccomp(2), or "" where the kernel has none."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
        return next((line.split()[1] for line in lines if line.startswith("Seccomp:")), "")


def main():
    machine = os.uname().machine
    if machine != "x86_64" or sys.maxsize < 1 << 32:
        sys.exit(BITS.format(machine=machine))
    error = refusal()
    if error is not None:
        sys.exit(DENIED.format(error=error))
    # Who is under a filter may look at nobody's.
    sys.stdout.write("assume_errno\n" if seccomp_mode() == SECCOMP_MODE_FILTER else "examine\n")


if __name__ == "__main__":
    main()

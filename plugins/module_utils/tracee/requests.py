# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ptrace(2) requests, sent through python-ptrace's generic binding.

python-ptrace has no calls for PTRACE_SEIZE and what came with it, so the
numbers stand here (linux/ptrace.h).
"""

from __future__ import annotations

import errno
import re
from functools import lru_cache

from ..errors import MissingDependency
from .errors import StepFailed, ThreadEnded

POKEDATA = 5
CONT = 7
SINGLESTEP = 9
GETREGS = 12
SETREGS = 13
DETACH = 17
GETREGSET = 0x4204
SEIZE = 0x4206
INTERRUPT = 0x4207
GETSIGMASK = 0x420A
SETSIGMASK = 0x420B
SECCOMP_GET_FILTER = 0x420C
GET_RSEQ_CONFIGURATION = 0x420F
GET_SYSCALL_USER_DISPATCH_CONFIG = 0x4211

NAMES = {
    POKEDATA: "PTRACE_POKEDATA",
    CONT: "PTRACE_CONT",
    SINGLESTEP: "PTRACE_SINGLESTEP",
    GETREGS: "PTRACE_GETREGS",
    SETREGS: "PTRACE_SETREGS",
    DETACH: "PTRACE_DETACH",
    GETREGSET: "PTRACE_GETREGSET",
    SEIZE: "PTRACE_SEIZE",
    INTERRUPT: "PTRACE_INTERRUPT",
    GETSIGMASK: "PTRACE_GETSIGMASK",
    SETSIGMASK: "PTRACE_SETSIGMASK",
    SECCOMP_GET_FILTER: "PTRACE_SECCOMP_GET_FILTER",
    GET_RSEQ_CONFIGURATION: "PTRACE_GET_RSEQ_CONFIGURATION",
    GET_SYSCALL_USER_DISPATCH_CONFIG: "PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG",
}

# Event in the high half of a wait status: the stop that PTRACE_INTERRUPT asked for, or a group-stop.
EVENT_STOP = 128
# waitpid(2): wait for threads that are not children too.
WALL = 0x40000000

_NUMBER = re.compile(r"error #(\d+)")


@lru_cache(maxsize=None)
def _binding():
    """python-ptrace's function and its exception, imported only where a thread is to be held."""
    try:
        from ptrace import PtraceError
        from ptrace.binding.func import ptrace
    except ImportError as error:
        raise MissingDependency("ptrace (python-ptrace)", "python3-ptrace") from error
    return ptrace, PtraceError


def require_binding():
    """Raise MissingDependency when python-ptrace is not installed."""
    _binding()


def send(number, tid, address, data):
    """ptrace(2), as it is; raises PtraceError of python-ptrace."""
    function, _error = _binding()
    return function(number, tid, address, data)


def request(number, pid, tid, address=0, data=0):
    """Send one ptrace request for thread ``tid`` of ``pid``.

    :return: what ptrace(2) returned.
    :raises ThreadEnded: there is no such thread, or it is not stopped and ours.
    :raises StepFailed: the kernel refused otherwise.
    """
    _function, refused = _binding()
    try:
        return send(number, tid, address, data)
    except refused as error:
        code = error.errno or _number_in(str(error))
        if code == errno.ESRCH:
            raise ThreadEnded(pid, tid) from error
        raise StepFailed(pid, tid, NAMES[number], code) from error


def _number_in(message):
    # The C binding of python-ptrace tells the error number only in its message.
    match = _NUMBER.search(message)
    return int(match.group(1)) if match else 0

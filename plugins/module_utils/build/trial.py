# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove a livepatch on a process of its own: apply it, check it, revert it, and see that the process is still well."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import IO, cast

from ..livepatch.livepatch import read_livepatch
from ..named_tuple import NamedTuple
from ..process.mapped import MappedFiles
from ..trigger import outcome
from ..trigger.options import Options
from ..trigger.trigger import Trigger
from .commands import in_session
from .errors import BuildFailed

_SECONDS = 60
_PROCESSES = 8
# Loads the library, and answers each line until there are no more.
_PROGRAM = """\
import ctypes, sys
ctypes.CDLL(sys.argv[1])
print("loaded", flush=True)
for line in sys.stdin:
    print("well", flush=True)
"""


class Proof(NamedTuple):
    """What was proved: the ``steps`` that went well, in order; ``refusals``, by processes that were tried before."""

    steps: list[str]
    refusals: int = 0


class NotApplied(BuildFailed):
    """The livepatch cannot be applied to a trial process, which is as it was."""


def prove(livepatch: str, target: str, runtime: str, search: list[str]) -> Proof:
    """Prove ``livepatch``, the path of one, on a process of its own; arguments as for _prove().

    A jump at the start of a function without padding leads to memory that is free in one process, and not in another:
    several are tried.

    :raises NotApplied: none of them takes it.
    :raises BuildFailed: a step does not do what it should; the message says which.
    """
    tries = _PROCESSES if any(each.has_sites for each in read_livepatch(livepatch).targets) else 1
    for refusals in range(tries - 1):
        try:
            return _prove(livepatch, target, runtime, search)._replace(refusals=refusals)
        except NotApplied:
            continue
    return _prove(livepatch, target, runtime, search)._replace(refusals=tries - 1)


def _prove(livepatch: str, target: str, runtime: str, search: list[str]) -> Proof:
    """Apply ``livepatch``, the path of one, to a process that has loaded ``target``, check it, and revert it.

    :param runtime: path of libpulp.so, which the process has preloaded.
    :param search: directories with libraries that the target needs.
    :raises NotApplied: it does not take it.
    :raises BuildFailed: a step does not do what it should.
    """
    path = os.pathsep.join([*search, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])])
    environment = {**os.environ, "LD_PRELOAD": os.path.abspath(runtime), "LD_LIBRARY_PATH": path,
                   "PYTHONDONTWRITEBYTECODE": "1"}
    with in_session([sys.executable, "-S", "-c", _PROGRAM, target], env=environment, stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            return Proof(_steps(process, livepatch, target))
        finally:
            process.kill()
            process.communicate()


def _steps(process: subprocess.Popen[bytes], livepatch: str, target: str) -> list[str]:
    steps = []
    _expect(process, b"loaded", f"load {target}")
    trigger = Trigger(read_livepatch(livepatch), MappedFiles(), Options())
    for step, act, wanted in (
        ("applied", trigger.apply, outcome.PATCHED),
        ("checked", trigger.check, outcome.ALREADY_PATCHED),
        ("well while patched", None, None),
        ("reverted", trigger.revert, outcome.REVERTED),
        ("well after the revert", None, None),
    ):
        if act is None:
            _ask(process, step)
        else:
            row = act(process.pid)
            if row.outcome != wanted and step == "applied" and not row.changed:
                raise NotApplied(f"no trial process takes the livepatch: {row.reason}")
            if row.outcome != wanted:
                raise BuildFailed(f"the livepatch was not {step} in a trial process: {row.reason or row.outcome}")
        steps.append(step)
    return steps


def _ask(process: subprocess.Popen[bytes], step: str) -> None:
    requests = cast(IO[bytes], process.stdin)
    try:
        requests.write(b"?\n")
        requests.flush()
    except OSError:
        # It is gone; what it says will tell.
        pass
    _expect(process, b"well", f"be {step}")


def _expect(process: subprocess.Popen[bytes], word: bytes, what: str) -> None:
    timer = threading.Timer(_SECONDS, process.kill)
    timer.start()
    try:
        line = cast(IO[bytes], process.stdout).readline().strip()
    finally:
        timer.cancel()
    if line != word:
        process.kill()
        _output, messages = process.communicate()
        raise BuildFailed(f"the trial process does not {what}: "
                          + (messages.decode("utf-8", "replace").strip()[-800:] or f"it ended ({process.returncode})"))

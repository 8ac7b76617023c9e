# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a program of the build, within limits, and with its output in a log."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import Any, Iterator, Mapping, Sequence

from ..errors import FileProblem, MissingProgram
from ..termination import postponed
from .errors import BuildFailed
from .limits import LOOK_SECONDS, Limits

_SHOWN = 1500
# GNU make manual, 5.7.2: what a make(1) hands down to those that its rules start.
_OF_MAKE = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKE_TERMOUT", "MAKE_TERMERR")


def inherited_environment() -> dict[str, str]:
    """Our environment, but for what a make(1) that has started us means for its own rules.

    Its flags hold variables of its command line, which would replace those of the package, and a job server that is
    none of the package's.
    """
    of_make = _OF_MAKE if "MAKELEVEL" in os.environ else ()
    return {name: value for name, value in os.environ.items() if name not in of_make}


def run(command: Sequence[str], what: str, package: str = "binutils", directory: str | None = None,
        environment: Mapping[str, str] | None = None) -> str:
    """Run a tool and return its output.

    :param what: what it does, for the message: ``link the patch library``.
    :param package: the Debian package that has it.
    :param environment: what to add to the environment.
    :raises BuildFailed: it fails.
    :raises MissingProgram: it is not installed.
    """
    try:
        done = subprocess.run(list(command), cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, env={**os.environ, **(environment or {})})
    except FileNotFoundError as error:
        raise MissingProgram(command[0], package) from error
    output = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        raise BuildFailed(f"cannot {what}: {os.path.basename(command[0])} says: {output.strip()[-_SHOWN:]}")
    return output


@contextlib.contextmanager
def in_session(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own.  If it still runs when the context is left, all of that session is ended.

    :param options: of subprocess.Popen.
    """
    process = None
    try:
        # From here on a signal finds it.
        with postponed():
            process = subprocess.Popen(list(command), start_new_session=True, **options)
        yield process
    finally:
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def run_logged(command: str, what: str, directory: str, environment: Mapping[str, str], log: str, limits: Limits,
               ) -> int:
    """Run a command of the shell with its output in the file ``log``, and return its exit status.

    All that it has started is ended when it goes beyond its limits.

    :raises BuildFailed: it does.
    :raises FileProblem: the log cannot be written.
    """
    try:
        stream = open(log, "ab")  # noqa: SIM115  (closed below)
    except OSError as error:
        raise FileProblem("write", log, error) from error
    with stream:
        stream.write(f"+ {command}\n".encode(errors="surrogateescape"))
        stream.flush()
        with in_session(["/bin/sh", "-e", "-c", command], cwd=directory, env=dict(environment),
                        stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT) as process:
            while True:
                try:
                    return process.wait(LOOK_SECONDS)
                except subprocess.TimeoutExpired:
                    limits.require(what, log)


def last_lines(log: str, most: int = 12) -> str:
    """The end of a log, for a message: indented lines."""
    with open(log, "rb") as stream:
        return "\n".join(f"  {line}" for line in stream.read().decode("utf-8", "replace").splitlines()[-most:])

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that mean ill, made from tests/targets/hostile, and the honest ones beside them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator, NamedTuple, Sequence

from ansible_collections.libpulp.livepatch.plugins.module_utils.process.errors import ProcessError
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.procfs import process_ids, read_stat

from .command import TIMEOUT, Answer, Ulp
from .library import WARNINGS, Build, run
from .paths import BUILD, RUNTIME, TARGETS
from .victim import Victim

FOLDER = TARGETS / "hostile"
# Of honest processes beside each hostile one.
CROWD = 20
# The most memory that a run may use, in kilobytes, whatever a process shows it.
LARGEST_KB = 250 * 1024


class Stage:
    """Where one hostile process appears: a directory of its own, and what has to be undone when it is over.

    ``build`` is the library that the honest ones run, and that ``ulp_file`` is for.
    """

    def __init__(self, directory: Path, build: Build, ulp_file: Path, undo: contextlib.ExitStack) -> None:
        self.directory = directory
        self.build = build
        self.ulp_file = ulp_file
        self.undo = undo
        self._processes: list[subprocess.Popen] = []

    def file(self, name: str, contents: bytes) -> Path:
        """A file in the directory."""
        path = self.directory / name
        path.write_bytes(contents)
        return path

    def copy_of_library(self, name: str = "copy.so") -> Path:
        """A copy of the library itself: whoever maps that is of concern."""
        return self.file(name, self.build.library.read_bytes())

    def compile(self, source: str, *flags: object) -> Path:
        """The program, or with ``-shared`` the library, of a C file in tests/targets/hostile."""
        made = self.directory / Path(source).stem
        run(["gcc", *WARNINGS, "-O2", "-pthread", f"-I{TARGETS.parent.parent / 'native' / 'include'}", "-o", made,
             FOLDER / source, *flags])
        return made

    def start(self, *words: object, environment: dict[str, str] | None = None) -> int:
        """Start a program that says ``ready`` when it has become what it is for; its PID.  It is killed at the end."""
        process = subprocess.Popen(
            [str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=dict(os.environ, **(environment or {})), cwd=self.directory)

        self._processes.append(process)
        said = process.stdout.readline()
        assert said == "ready\n", f"{words[0]} said {said!r} instead of ready"
        return process.pid

    def end(self) -> None:
        """End all that were started.  One may wait for another as long as that lives, so all are killed first."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
            process.stdin.close()
            process.stdout.close()

    def start_script(self, name: str, *words: object) -> int:
        """Start a Python script of tests/targets/hostile; its PID."""
        return self.start(sys.executable, FOLDER / name, *words)

    def start_mapping(self, *files: Path) -> int:
        """Start a process that has mapped the files executable; its PID."""
        return self.start_script("maps_file.py", *files)

    def start_preloaded(self, library: Path, **environment: str) -> int:
        """Start the program that honest ones run, with another library in the runtime's place; its PID."""
        victim = Victim([self.build.program()], libraries=[self.build.directory], preload=(library,),
                        environment=environment)
        self._processes.append(victim.process)
        self.undo.callback(victim.close)
        return victim.pid


@contextlib.contextmanager
def staged(build: Build, ulp_file: Path) -> Iterator[Stage]:
    """A Stage, which is cleared away at the end."""
    with contextlib.ExitStack() as undo:
        directory = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="ulp-hostile-", dir=BUILD)))
        stage = Stage(directory, build, ulp_file, undo)
        try:
            yield stage
        finally:
            stage.end()


class Crowd:
    """The honest processes; they must all end well."""

    def __init__(self, build: Build, count: int = CROWD) -> None:
        program = build.program()
        self.victims = [Victim([program], libraries=[build.directory], preload=(RUNTIME,)) for _each in range(count)]
        self.pids = [victim.pid for victim in self.victims]

    def versions(self) -> set[int]:
        """What the function that the livepatch replaces gives them."""
        return {victim.number("version") for victim in self.victims}

    def finish(self) -> None:
        for victim in self.victims:
            victim.finish()


class Measured(NamedTuple):
    """One run of the command beside a hostile process."""

    answer: Answer
    largest_kb: int  # the most memory that all processes of the run had together
    seconds: float


def measured(ulp: Ulp, *words: object, timeout: float = TIMEOUT) -> Measured:
    """Run the command, which must end by itself in time and without a traceback."""
    started = time.monotonic()
    arguments = tuple(str(word) for word in words)
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(ulp.command + arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        status, largest_kb = _wait(process, started + timeout, arguments)
        output.seek(0)
        errors.seek(0)
        answer = Answer(arguments, status, output.read(), errors.read())
    assert "Traceback" not in answer.errors, str(answer)
    return Measured(answer, largest_kb, time.monotonic() - started)


def _wait(process: subprocess.Popen, deadline: float, words: Sequence[str]):
    """The exit status, and the most memory that one process had, or all together as seen meanwhile."""
    together = 0
    while True:
        together = max(together, _memory_of_all(process.pid))
        found, status, usage = os.wait4(process.pid, os.WNOHANG)
        if found:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, max(usage.ru_maxrss, together)
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise AssertionError(f"ulp {' '.join(words)} did not end in time")
        time.sleep(0.01)


def _memory_of_all(pid: int) -> int:
    """Kilobytes that ``pid`` and its children have, each page that they share counted once."""
    return sum(_proportional_kb(each) for each in process_ids() if each == pid or _parent(each) == pid)


def _parent(pid: int) -> int:
    try:
        return read_stat(pid).parent
    except ProcessError:
        return 0


def _proportional_kb(pid: int) -> int:
    """"Pss:" of proc_pid_smaps(5); 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `ulp build` takes for a fix of one function of a large library, beside the library's own build."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path

FILES = 10
UNIT = """\
int function_{number}(int v)
{{
    calls++;
    return v * {factor} + shared + calls;
}}
"""


def measure_building(ulp, runtime, functions):
    """{step: [seconds by the clock, seconds on a processor]}.

    The steps are the library's ``own build``, the ``first livepatch``, and ``another livepatch`` of the same library,
    which takes the build before the diff from the first.

    :param ulp: path of the command.
    :param runtime: path of libpulp.so, for the proof.
    :param functions: how many the library has, in ten files.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "source"
        source.mkdir()
        each = functions // FILES
        for file in range(FILES):
            numbers = range(file * each, (file + 1) * each)
            text = "extern int shared;\nstatic int calls;\n" + ("int shared;\n" if file == 0 else "")
            (source / f"{file}.c").write_text(
                text + "".join(UNIT.format(number=number, factor=number + 3) for number in numbers))
        objects = " ".join(f"{file}.o" for file in range(FILES))
        (source / "Makefile").write_text(
            f"libmany.so: {objects}\n\tgcc -shared -Wl,--build-id -Wl,-soname,libmany.so -o $@ {objects}\n"
            "%.o: %.c\n\tgcc -O2 -fPIC -fpatchable-function-entry=16,14 -c $<\n")
        taken = {}
        plain = folder / "plain"
        subprocess.run(["cp", "-r", source, plain], check=True)
        taken["own build"] = _timed(["make", "-s", "-C", plain])
        for step, number in (("first livepatch", each), ("another livepatch", 2 * each)):
            changed = source / f"{number // each}.c"
            old = changed.read_text()
            (folder / "new.c").write_text(old.replace(f"v * {number + 3} ", f"v * {number + 4} "))
            diff = subprocess.run(["diff", "-u", "--label", f"a/{changed.name}", "--label", f"b/{changed.name}",
                                   changed, folder / "new.c"], stdout=subprocess.PIPE, check=False).stdout
            (folder / "fix.diff").write_bytes(diff)
            taken[step] = _timed([
                ulp, "build", "--source", source, "--build", "make -s", "--diff", folder / "fix.diff", "--work",
                folder / "work", "--runtime", runtime, "--as-root", "-o", folder / "out"])
        return taken


def _timed(command):
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    subprocess.run([os.fspath(word) for word in command], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    wall = time.monotonic() - start
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return [wall, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime]


def print_building(taken, functions):
    """Print what measure_building() has measured."""
    print(f"\n{f'a livepatch for a library of {functions} functions':52} {'s':>7} {'on a processor':>15}")
    for step, (wall, processor) in taken.items():
        print(f"{step:52} {wall:7.2f} {processor:15.2f}")

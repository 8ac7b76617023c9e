# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`ulp build` of C++: exceptions, templates, virtual functions, run-time types, inline variables."""

from __future__ import annotations

import shutil
import subprocess
import sys

from harness.command import Ulp
from harness.paths import RUNTIME, TARGETS

# Text of tests/targets/cplusplus, and what a fix makes of it.
FIX = {
    "shape.cc": {
        "seen[shape.name()]++;": """\
if (shape.area() < 0)
        throw Refused("negative area of " + shape.name() + " " + typeid(shape).name());
    if (shape.area() == 49)
        throw Refused("seven");
    seen[shape.name()]++;""",
        "new Circle(size)": "new Circle(size + 1)",
    },
    "shape.hh": {"if (each > best)": "if (each >= best && each < 90000)"},
}
PROGRAM = """\
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
print("loaded", flush=True)
for line in sys.stdin:
    before = library.counted()
    print(library.run(int(line)), library.other(int(line)), library.counted() - before, flush=True)
"""
VALUES = (0, 1, 2, 5, 7, 8, 9, 20, 300, 301)


def start(library):
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(library)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "loaded\n"
    return process


def results(process):
    answers = []
    for value in VALUES:
        process.stdin.write(f"{value}\n")
        process.stdin.flush()
        answers.append(process.stdout.readline())
    return answers


def test_patched_results_are_those_of_the_rebuilt_library(tmp_path):
    """Exceptions leave new code for old handlers, types and counters are those of the library."""
    source, fixed = tmp_path / "source", tmp_path / "fixed"
    shutil.copytree(TARGETS / "cplusplus", source)
    shutil.copytree(source, fixed)
    for name, replacements in FIX.items():
        text = (fixed / name).read_text()
        for old, new in replacements.items():
            assert old in text
            text = text.replace(old, new)
        (fixed / name).write_text(text)
    done = subprocess.run(["diff", "-ru", "source", "fixed"], cwd=tmp_path, stdout=subprocess.PIPE, check=False)
    (tmp_path / "fix.diff").write_bytes(done.stdout)
    subprocess.run(["make", "-s"], cwd=fixed, check=True)
    answer = Ulp().succeed("build", "--source", source, "--build", "make", "--diff", tmp_path / "fix.diff", "--work",
                           tmp_path / "work", "--runtime", RUNTIME, "--as-root", "--json", "-o", tmp_path / "out")
    (target,) = answer.json()["targets"]
    names = [function["name"] for function in target["functions"]]
    assert names == ["_ZN6shapes4madeEii", "_ZN6shapes7inspectERKNS_5ShapeE",
                     "_ZN6shapes7largestIiEET_RKSt6vectorIS1_SaIS1_EE"]
    processes = [start(tmp_path / "work" / "before" / "libshapes.so"), start(fixed / "libshapes.so"),
                 start(tmp_path / "work" / "before" / "libshapes.so")]
    try:
        patched, rebuilt, plain = processes
        assert results(patched) == results(plain)
        Ulp().succeed("trigger", "--attach", "--runtime", RUNTIME, "-p", patched.pid, target["path"])
        assert results(patched) == results(rebuilt) != results(plain)
        Ulp().succeed("trigger", "-p", patched.pid, target["path"], "--revert")
        assert results(patched) == results(plain)
    finally:
        for process in processes:
            process.kill()
            process.communicate()

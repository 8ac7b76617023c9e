# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`ulp build` compiles a second time what it compares, and nothing else: a large package takes long enough once."""

from __future__ import annotations

import os
import shutil

import pytest
from harness.command import Ulp
from harness.paths import RUNTIME

OTHERS = 12
MAKEFILE = f"""\
PARTS = $(patsubst %,part%.o,{' '.join(map(str, range(OTHERS)))})
all: libfix.so app libunused.a
libfix.so: fix.o user.o $(PARTS)
\tgcc -shared -Wl,--build-id -Wl,-soname,libfix.so -o $@ $^
app: app.o libfix.so
\tgcc -o $@ $^
libunused.a: unused.o
\tar rc $@ $^
%.o: %.c
\tgcc -O2 -g -fPIC -fpatchable-function-entry=16,14 -c $<
"""
FIX = """\
#include "box.h"
int fix(int v) { struct box box = {.value = v, .scale = SCALE}; return box_of(&box) + v; }
"""
COUNTING = """\
#!/bin/sh
case " $* " in
*" -E "* | *slots.s*) ;;
*" -c "*) echo "$*" >> {log} ;;
esac
exec {compiler} "$@"
"""


@pytest.fixture(name="compilations")
def fixture_compilations(tmp_path, monkeypatch):
    """A function that builds with a text of FIX replaced; returns (its answer, how often a compiler compiled)."""
    tree, log = tmp_path / "source", tmp_path / "compiled"
    tree.mkdir()
    (tree / "Makefile").write_text(MAKEFILE)
    (tree / "box.h").write_text("#define SCALE 1\nstruct box { int value, scale; };\nint box_of(const struct box *);\n")
    (tree / "fix.c").write_text(FIX)
    (tree / "user.c").write_text('#include "box.h"\nint box_of(const struct box *box) { return box->scale; }\n')
    (tree / "app.c").write_text('#include "box.h"\nint fix(int);\nint main(void) { return fix(SCALE); }\n')
    for name in ("unused", *(f"part{number}" for number in range(OTHERS))):
        (tree / f"{name}.c").write_text(f"int {name}(int v) {{ return v + 1; }}\n")
    counting = tmp_path / "counting" / "gcc"
    counting.parent.mkdir()
    counting.write_text(COUNTING.format(log=log, compiler=shutil.which("gcc")))
    counting.chmod(0o755)
    monkeypatch.setenv("PATH", f"{counting.parent}{os.pathsep}{os.environ['PATH']}")

    def compilations(file, old, new):
        text = (tree / file).read_text()
        assert old in text
        (tmp_path / "fix.patch").write_text(
            f"--- a/{file}\n+++ b/{file}\n@@ -1,{text.count(chr(10))} +1,{text.replace(old, new).count(chr(10))} @@\n"
            + "".join(f"-{line}\n" for line in text.splitlines())
            + "".join(f"+{line}\n" for line in text.replace(old, new).splitlines()))
        log.write_text("")
        answer = Ulp().run(
            "build", "--source", tree, "--build", "make", "--diff", tmp_path / "fix.patch", "--work", tmp_path / "work",
            "--runtime", RUNTIME, "--as-root", "--json", "-o", tmp_path / "out")
        return answer, len(log.read_text().splitlines())

    return compilations


def test_what_a_fix_does_not_reach_is_compiled_once(compilations):
    """Seen to fail: 34 compilations, as each unit had its shadow object, those of the program and of no target too."""
    answer, count = compilations("fix.c", "+ v;", "+ v + (v > 1000);")
    assert answer.status == 0, str(answer)
    # The package's own, then fix.c by make, and for the comparison before and after.
    units = OTHERS + len(("fix", "user", "app", "unused"))
    assert count == units + 3
    answer, count = compilations("fix.c", "+ v;", "+ v + (v > 2000);")
    assert answer.status == 0, str(answer)
    # What it was before is compared as it stands.
    assert count == 2


def test_of_a_type_that_changes_its_users_are_compiled(compilations):
    """A structure that fix.c alone was compiled with again; that user.c has it, too, is seen all the same."""
    answer, count = compilations(
        "fix.c", '#include "box.h"',
        "#define SCALE 1\nstruct box { int scale, value; };\nint box_of(const struct box *);")
    assert answer.status == 1
    (refusal,) = answer.json()["refused"]
    assert (refusal["kind"], refusal["name"]) == ("layout", "box")
    assert "box_of (user.c)" in refusal["reason"]
    # The unit that names it, besides the three of the fix.
    assert count == OTHERS + len(("fix", "user", "app", "unused")) + 4


def test_where_a_library_changes_programs_are_not_compared(compilations):
    """Those of nghttp2 take minutes, and read a header of its library.  Seen to fail with two compilations more."""
    answer, count = compilations("box.h", "SCALE 1", "SCALE 2")
    assert answer.status == 0, str(answer)
    report = answer.json()
    assert [target["name"] for target in report["targets"]] == ["libfix.so"]
    assert any(" app " in warning for warning in report["warnings"])
    # The Makefile does not know the header, so these are the shadow objects of fix.c and user.c, before and after.
    assert count == OTHERS + len(("fix", "user", "app", "unused")) + 4


def test_a_make_that_has_started_us_is_nothing_to_the_package(compilations, monkeypatch):
    """A variable of its command line is no variable of the package's.  Seen to fail: *No rule for 'none'*."""
    monkeypatch.setenv("MAKELEVEL", "1")
    monkeypatch.setenv("MAKEFLAGS", "k -- PARTS=none")
    answer, _count = compilations("fix.c", "+ v;", "+ v + (v > 1000);")
    assert answer.status == 0, str(answer)
    monkeypatch.setenv("MAKEFLAGS", " -j3 --jobserver-auth=fifo:/nonexistent")
    answer, count = compilations("fix.c", "+ v;", "+ v + (v > 1000);")
    assert (answer.status, count) == (0, 0), str(answer)

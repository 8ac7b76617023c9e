# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixes that move code between source files, change who sees a name, or use one that another file has as well.

What a patched process answers is compared with what the rebuilt library answers.
"""

from __future__ import annotations

import shutil
import subprocess

import pytest
from harness.caller import Caller
from harness.command import Ulp

from ansible_collections.libpulp.livepatch.plugins.module_utils.build.build import Request, build
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.work_tree import Recipe

STATE = """\
static int count = 5;
static __attribute__((noinline)) int add(int v) { count += v; return count; }
int bump(int v) { return add(v); }
int peek(int v) { return count + v; }
"""
FILES = {
    "Makefile": """\
C = gcc -DSTEP=1 -O2 -fPIC -fpatchable-function-entry=16,14 -falign-functions=16
OBJECTS = $(patsubst %.c,%.o,$(wildcard *.c))
lib.so: $(OBJECTS)
\tgcc -shared -Wl,--build-id -Wl,-soname,lib.so -Wl,--wrap,checked -o $@ $(OBJECTS)
%.o: %.c
\t$(C) -c $<
""",
    "state.c": STATE,
    "left.c": """\
static int limit = 7;
static __attribute__((noinline)) int verify(int v) { return v * 3; }
static __attribute__((noinline)) int abs(int v) { return v * 1000; }
int left(int v) { limit += v; return verify(v) + limit + abs(v); }
int shown = 3;
int show(int v) { shown += v; return shown; }
static int kept = 9;
int keep(int v) { kept += v; return kept; }
""",
    "right.c": "int right(int v) { return v; }\n",
    "flags.c": "int step(int v) { return v + STEP; }\n",
    "wrap.c": """\
int checked(int v);
int __real_checked(int v);
int __wrap_checked(int v) { return __real_checked(v) + 1000; }
int wrapped(int v) { return checked(v) + 1; }
""",
    "wrapped.c": "int checked(int v) { return v * 2; }\n",
    "set.c": """\
struct entry { int number; };
#define ENTRY(name, number) static const struct entry name __attribute__((used, section("entries"))) = {number}
ENTRY(one, 1);
ENTRY(two, 2);
extern const struct entry __start_entries[], __stop_entries[];
int total(int v)
{
    for (const struct entry *each = __start_entries; each < __stop_entries; each++)
        v += each->number;
    return v;
}
""",
}

# As git-diff(1) writes it with --binary.
BINARY = b"""\
diff --git a/tests/odd.bin b/tests/odd.bin
new file mode 100644
index 0000000..f76dd23
GIT binary patch
literal 2
JcmZQzVE_RD0RR91

literal 0
HcmV?d00001

"""


@pytest.fixture(name="directory", scope="module")
def fixture_directory(tmp_path_factory):
    """A directory with the tree, and what the first build of it leaves for all tests."""
    directory = tmp_path_factory.mktemp("moved")
    (directory / "tree").mkdir()
    for name, text in FILES.items():
        (directory / "tree" / name).write_text(text)
    return directory


@pytest.fixture(name="report")
def fixture_report(directory, tmp_path):
    """A function that builds with other files, {name: text, or None for one that is gone}, and returns the report."""

    def report(more=b"", **files):
        shutil.copytree(directory / "tree", tmp_path / "a")
        shutil.copytree(directory / "tree", tmp_path / "b")
        for name, text in files.items():
            path = tmp_path / "b" / name.replace("_", ".")
            path.unlink(missing_ok=True)
            if text is not None:
                path.write_text(text)
        (tmp_path / "fix.patch").write_bytes(subprocess.run(
            ["diff", "-urN", "a", "b"], cwd=tmp_path, stdout=subprocess.PIPE, check=False).stdout + more)
        return build(Request(Recipe(str(directory / "tree"), "make"), [str(tmp_path / "fix.patch")],
                             str(tmp_path / "out"), str(directory / "work")), lambda step: None).fields

    return report


def refused(fields):
    """What was refused, as (kind, name)."""
    return [(refusal["kind"], refusal["name"]) for refusal in fields["refused"]]


def answers(directory, fields, before, calls):
    """(what a process answers that is patched after the calls ``before``, what the rebuilt library does)."""
    assert not fields["refused"], fields["refused"]
    (target,) = fields["targets"]
    patched = Caller(directory / "work" / "before" / "lib.so")
    rebuilt = Caller(directory / "work" / "tree" / "lib.so")
    try:
        for caller in (patched, rebuilt):
            caller.lines(before)
        Ulp().succeed("trigger", "-p", patched.pid, target["path"])
        return patched.lines(calls), rebuilt.lines(calls)
    finally:
        for caller in (patched, rebuilt):
            caller.close()


def test_a_file_that_gets_another_name(directory, report):
    """Its static variables go on, and its static functions are replaced.

    Seen to fail: count began at 5 again.
    """
    fields = report(state_c=None, renamed_c=STATE.replace("count + v", "count + v + 100"))
    patched, rebuilt = answers(directory, fields, [("bump", 10)], [("peek", 0), ("bump", 1), ("peek", 1)])
    assert patched == rebuilt == ["115\n", "16\n", "117\n"]


def test_names_that_become_static_or_no_longer_are_and_names_of_others(directory, report):
    """Seen to fail: shown began at 3 again; verify() of left.c was replaced by that of right.c, which had the limit of
    left.c, too; right() called the abs() of left.c; and what is wrapped was called without its wrapper."""
    fields = report(
        left_c=FILES["left.c"].replace("int shown", "static int shown").replace("shown += v", "shown += 2 * v").replace(
            "static int kept", '__attribute__((visibility("hidden"))) int kept'),
        right_c="""\
extern int abs(int);
extern __attribute__((visibility("hidden"))) int kept;
__attribute__((visibility("hidden"))) int limit = 1000;
__attribute__((visibility("hidden"), noinline)) int verify(int v) { return v + 500; }
int right(int v) { int (*volatile call)(int) = abs; return verify(v) + limit++ + kept++ + call(-v); }
""",
        wrap_c=FILES["wrap.c"].replace("checked(v) + 1;", "checked(v) + 2;").replace("+ 1000", "+ 2000"))
    patched, rebuilt = answers(
        directory, fields, [("left", 1), ("keep", 1)],
        [("show", 0), ("left", 1), ("right", 2), ("right", 2), ("keep", 3), ("left", 2), ("wrapped", 5)])
    assert patched == rebuilt
    assert sorted(each["name"] for each in fields["targets"][0]["functions"]) == [
        "__wrap_checked", "right", "show", "wrapped"]


def test_a_static_variable_that_moves_to_another_file(report):
    """Seen to fail: it started anew."""
    fields = report(state_c="int nothing(int v) { return v; }\n", right_c=FILES["right.c"] + STATE)
    assert refused(fields) == [("renamed variable", "count")]
    assert "count of right.c is new and seems to be count of state.c, which is gone" in str(fields["refused"])


def test_a_file_that_vanishes_with_what_is_exported(report):
    """Seen to fail: what remained was built."""
    fields = report(state_c=None, right_c="int right(int v) { return v + 1; }\n")
    assert refused(fields) == [("vanished function", "bump"), ("vanished function", "peek")]


def test_flags_of_a_makefile_that_objects_do_not_depend_on(directory, report):
    """Seen to fail: nothing was compiled again, and the diff was said to change nothing.

    So was a diff refused that has a binary file in it, as a fix with a test has.
    """
    fields = report(Makefile=FILES["Makefile"].replace("-DSTEP=1", "-DSTEP=5"), more=BINARY)
    assert answers(directory, fields, [], [("step", 1)]) == (["6\n"], ["6\n"])
    assert [each["name"] for each in fields["targets"][0]["functions"]] == ["step"]
    assert "has a binary diff of tests/odd.bin, which is left as it is" in str(fields["warnings"])


@pytest.mark.parametrize("old, new, name", [
    ("ENTRY(two, 2);", "ENTRY(two, 2); ENTRY(three, 3);", "three"), ("ENTRY(two, 2);", "ENTRY(two, 3);", "two"),
    ("ENTRY(two, 2);", "", "two")])
def test_a_section_that_is_read_as_a_whole(report, old, new, name):
    """Seen to fail: total() was replaced, and went on without what is new."""
    fields = report(set_c=FILES["set.c"].replace(old, new).replace("return v", "return v + 1"))
    assert refused(fields) == [("constant", name)]

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One livepatch after another: the second goes on with the variables that the first has brought into a process."""

from __future__ import annotations

import subprocess

import pytest
from harness.caller import Caller
from harness.command import Ulp
from harness.paths import RUNTIME

SOURCE = """\
@NEW@
static int calls;
int fix(int v)
{
    calls++;
    return v;
}
int other(int v)
{
    return v + calls;
}
"""
MAKEFILE = """\
libagain.so: again.o
\t@LINKER@ -shared -Wl,--build-id -Wl,-soname,libagain.so -o $@ again.o
again.o: again.c
\t@COMPILER@ -O2 -g -fPIC @PADDING@ -c again.c
"""
PADDING = "-fpatchable-function-entry=16,14"
# Static, exported, of a function, an array that is counted from before its start, and a pointer to one of them.
FIRST = {
    "@NEW@": "static int seen;\nint visible = 100;\nstatic int table[4];\nstatic int *volatile where = &seen;",
    "    calls++;\n": (
        "    static int inner = 40;\n    calls++;\n    seen += v;\n    visible++;\n    inner++;\n"
        "    for (int i = 1; i <= 4; i++)\n        table[i - 1] += i;\n"
        "    return *where * 100000 + inner * 1000 + visible + table[v & 3];\n"),
}
# What the first one has, and more; a static variable more makes the compiler number the others anew.
SECOND = {
    "@NEW@": FIRST["@NEW@"] + "\nstatic int late;",
    "    calls++;\n": "    static int before = 1;\n    before++;\n" + FIRST["    calls++;\n"],
    "    return v + calls;\n": "    static int inner;\n    late++;\n    inner--;\n"
                               "    return seen * 100 + late * 10 + inner + v;\n",
}


class Maker:
    """Builds livepatches of a source with some text replaced; ``library`` is what they are for."""

    def __init__(self, directory, compiler="gcc", padding=PADDING, source=SOURCE):
        self.source = source
        self.directory = directory
        self.tree = directory / "source"
        self.tree.mkdir()
        linker = compiler.split()[0]
        (self.tree / "Makefile").write_text(
            MAKEFILE.replace("@LINKER@", linker).replace("@COMPILER@", compiler).replace("@PADDING@", padding))
        (self.tree / "again.c").write_text(source.replace("@NEW@", ""))
        self.library = directory / "work" / "before" / "libagain.so"

    def build(self, changes, *options):
        """The report on the livepatch that makes ``changes``, {old text: new text}; it stays where it is."""
        text = self.source
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        (self.directory / "new.c").write_text(text.replace("@NEW@", ""))
        done = subprocess.run(["diff", "-u", "--label", "a/again.c", "--label", "b/again.c", "source/again.c", "new.c"],
                              cwd=self.directory, stdout=subprocess.PIPE, check=False)
        (self.directory / "fix.patch").write_bytes(done.stdout)
        output = self.directory / f"fix-{len(list(self.directory.glob('fix-*.ulp')))}.ulp"
        answer = Ulp().run(
            "build", "--source", self.tree, "--build", "make", "--diff", self.directory / "fix.patch", "--work",
            self.directory / "work", "--runtime", RUNTIME, "--as-root", "--no-proof", "--json", "-o", output, *options)
        assert answer.status == 0, str(answer)
        (target,) = answer.json()["targets"]
        return target


@pytest.fixture(name="start")
def fixture_start():
    """A function that starts a Caller."""
    started = []

    def start(library):
        started.append(Caller(library))
        return started[-1]

    yield start
    for process in started:
        process.close()


@pytest.mark.parametrize("compiler, padding", [("gcc", ""), ("clang", PADDING)])
def test_a_later_livepatch_goes_on_with_the_variables_of_an_earlier_one(tmp_path, start, compiler, padding):
    """Beside it, and in its place; whichever stays, and whoever comes back, all use the variables of the first.

    Seen to fail with the initial values after the second apply.
    """
    maker = Maker(tmp_path, compiler, padding)
    first = maker.build(FIRST)["path"]
    target = maker.build(SECOND)
    second = target["path"]
    assert [(each["name"], each["size"], each["obstacle"]) for each in target["variables"]] == [
        ("again.c/fix()::before", 4, ""), ("again.c/fix()::inner", 4, ""), ("again.c/late", 4, ""),
        ("again.c/other()::inner", 4, ""), ("again.c/seen", 4, ""), ("again.c/table", 16, ""),
        ("again.c/where", 8, ""), ("visible", 4, "")]
    process = start(maker.library)
    ulp = Ulp()
    assert process.ask("fix", 3) == 3
    ulp.succeed("trigger", "-p", process.pid, first)
    assert process.ask("fix", 3) == 3 * 100000 + 41 * 1000 + 101 + 4
    expected = ulp.succeed("dispatch", "--json", "patch", second, process.pid, "--dry-run").json()
    (row,) = ulp.succeed("dispatch", "--json", "patch", second, process.pid).json()
    assert row["reason"] == expected[0]["reason"]
    assert row["reason"].startswith("goes on with again.c/fix()::inner and again.c/seen and again.c/table and ")
    assert process.ask("fix", 2) == 5 * 100000 + 42 * 1000 + 102 + 6
    # What only the second has, and one of another function that has the name of one of the first.
    assert process.ask("other", 7) == 500 + 10 - 1 + 7
    # The first goes; what it brought stays.
    ulp.succeed("trigger", "-p", process.pid, first, "--revert")
    assert process.ask("fix", 1) == 6 * 100000 + 43 * 1000 + 103 + 6
    ulp.succeed("trigger", "-p", process.pid, second, "--revert")
    assert process.ask("fix", 1) == 1
    ulp.succeed("trigger", "-p", process.pid, first)
    assert process.ask("fix", 1) == 7 * 100000 + 44 * 1000 + 104 + 8
    ulp.succeed("dispatch", "patch", second, process.pid, "--replace")
    assert process.ask("fix", 1) == 8 * 100000 + 45 * 1000 + 105 + 10
    assert process.ask("other", 0) == 800 + 20 - 2


def test_a_variable_that_cannot_go_on_is_refused_or_starts_anew(tmp_path, start):
    """By size, by type, and where it is thread-local; nothing is changed.  Seen to fail with exit status 0."""
    maker = Maker(tmp_path)
    body = "    calls++;\n    seen += v;\n    return seen;\n"
    first = maker.build({"@NEW@": "static int seen;\nstatic __thread int mine;",
                         "    calls++;\n": "    mine++;\n" + body})["path"]
    process = start(maker.library)
    ulp = Ulp()
    ulp.succeed("trigger", "-p", process.pid, first)
    assert process.ask("fix", 5) == 5
    for new, line, why in (
        ("static long seen;", "", "it has 4 bytes there, and 8 here"),
        ("static float seen;", "", "it is of another type there"),
        ("static int seen;\nstatic __thread int mine;", "    mine += 2;\n", "it is thread-local"),
    ):
        changes = {"@NEW@": new, "    calls++;\n": line + body.replace("+=", "+= 10 *")}
        later = maker.build(changes)["path"]
        for options in (("--dry-run",), ()):
            answer = ulp.run("dispatch", "--json", "patch", later, process.pid, *options)
            (row,) = answer.json()
            assert (answer.status, row["outcome"]) == (1, "failed")
            assert why in row["reason"] and "has from the livepatch fix-0.ulp already" in row["reason"]
        assert process.ask("fix", 0) == 5
        anew = maker.build(changes, "--anew", "again.c/*")["path"]
        ulp.succeed("trigger", "-p", process.pid, anew)
        assert process.ask("fix", 1) == 10
        ulp.succeed("trigger", "-p", process.pid, anew, "--revert")


def test_variables_of_functions_that_nobody_can_tell_apart(tmp_path, start):
    """Both functions are a part of a third one, and gcc calls their variables count.0 and count.1.

    Seen to fail with a variable that started anew, as it had another name in the metadata.
    """
    def new(name):
        return f"static inline int {name}(void) {{ static int count; return ++count; }}"

    maker = Maker(tmp_path)
    first = maker.build({"@NEW@": new("one"), "    return v;\n": "    return v + 10 * one();\n"})["path"]
    later = maker.build({"@NEW@": f"{new('two')}\n{new('one')}",
                         "    return v;\n": "    return v + 10 * one() + 100 * two();\n"})
    assert [each["obstacle"] for each in later["variables"]] == ["several variables have that name"]
    process = start(maker.library)
    ulp = Ulp()
    ulp.succeed("trigger", "-p", process.pid, first)
    assert process.ask("fix", 1) == 11
    answer = ulp.run("trigger", "-p", process.pid, later["path"])
    assert answer.status == 1 and "several variables have that name" in answer.errors
    assert process.ask("fix", 1) == 21


def test_a_static_variable_of_another_directory(tmp_path, start):
    """Two source files of one name, and each livepatch changes one of them.  Seen to fail with 6 + 5."""
    tree, old = tmp_path / "source", "int {name}(int v)\n{{\n    return v;\n}}\n"
    for name in ("one", "two"):
        (tree / name).mkdir(parents=True)
        (tree / name / "again.c").write_text(old.format(name=name))
    (tree / "Makefile").write_text(
        "libagain.so: one.o two.o\n\tgcc -shared -Wl,--build-id -Wl,-soname,libagain.so -o $@ one.o two.o\n"
        f"%.o: %/again.c\n\tgcc -O2 -g -fPIC {PADDING} -c -o $@ $<\n")
    for name in ("one", "two"):
        (tmp_path / f"{name}.patch").write_text(
            f"--- a/{name}/again.c\n+++ b/{name}/again.c\n@@ -1,4 +1,5 @@\n+static int seen;\n int {name}(int v)\n {{\n"
            "-    return v;\n+    return seen += v;\n }\n")

    def build(name, *options):
        output = tmp_path / f"{name}{len(options)}.ulp"
        Ulp().succeed("build", "--source", tree, "--build", "make", "--diff", tmp_path / f"{name}.patch", "--work",
                      tmp_path / "work", "--as-root", "--no-proof", "-o", output, *options)
        return output

    ulp = Ulp()
    first, second = build("one"), build("two")
    process = start(tmp_path / "work" / "before" / "libagain.so")
    ulp.succeed("trigger", "-p", process.pid, first)
    assert process.ask("one", 5) == 5
    answer = ulp.run("trigger", "-p", process.pid, second)
    assert answer.status == 1 and "or of a source file in another directory" in answer.errors
    ulp.succeed("trigger", "-p", process.pid, build("two", "--anew", "again.c/seen"))
    assert process.ask("two", 6) == 6 and process.ask("one", 5) == 10


CPLUSPLUS = """\
#include <string>
@NEW@
std::string *made(int v) { return new std::string(v, 'x'); }
extern "C" int fix(int v)
{
    return v;
}
"""


def test_objects_of_cplusplus(tmp_path, start):
    """An object of a function is made once, by whichever livepatch comes first: its guard is a variable as well.

    Seen to fail with a string that was made again.
    """
    maker = Maker(tmp_path, "g++ -x c++", source=CPLUSPLUS)
    new = ("namespace kept { static struct { long a, b; } pair; struct nothing {} none; }\n"
           "static std::string *last;\ninline int &shared() { static int value = 7; return value; }\n"
           "struct __attribute__((packed)) { char odd; long *to; } packed_away;")
    body = """    static std::string seen = std::string(v, 'x');
    seen += "xx";
    kept::pair.b += v;
    last = &seen;
    shared()++;
    packed_away.odd++;
    return kept::pair.b * 100 + last->size() + 10000 * shared();
"""
    first = maker.build({"@NEW@": new, "    return v;\n": body})
    assert all(not each["obstacle"] for each in first["variables"]), first["variables"]
    assert {"again.c/_ZGVZ3fixE4seen", "again.c/_ZZ3fixE4seen"} <= {each["name"] for each in first["variables"]}
    second = maker.build({"@NEW@": new, "    return v;\n": "    v *= 2;\n" + body})["path"]
    third = maker.build({"@NEW@": new.replace("long a, b", "double a, b"), "    return v;\n": body})["path"]
    process = start(maker.library)
    ulp = Ulp()
    ulp.succeed("trigger", "-p", process.pid, first["path"])
    assert process.ask("fix", 3) == 80000 + 300 + 5
    ulp.succeed("trigger", "-p", process.pid, second)
    assert process.ask("fix", 1) == 90000 + 500 + 7
    answer = ulp.run("trigger", "-p", process.pid, third)
    assert answer.status == 1 and "it is of another type there" in answer.errors


def test_a_livepatch_that_does_not_tell_of_its_variables(tmp_path, start):
    """As those from before, and those packed by hand: they are found by name and size.  Seen to fail with 1."""
    maker = Maker(tmp_path)
    body = "    calls++;\n    seen += v;\n    return seen;\n"
    code = tmp_path / "again.c"
    code.write_text("static int seen;\nint fixed(int v) { seen += v; return seen; }\n")
    later = maker.build({"@NEW@": "static int seen;", "    calls++;\n": body})["path"]
    subprocess.run(["gcc", "-O2", "-fPIC", "-shared", "-Wl,--build-id", "-o", "hand.so", "again.c"], cwd=tmp_path,
                   check=True)
    (tmp_path / "hand.dsc").write_text(f"{tmp_path / 'hand.so'}\n@{maker.library}\nfix:fixed\n")
    process = start(maker.library)
    ulp = Ulp()
    ulp.succeed("pack", tmp_path / "hand.dsc")
    ulp.succeed("trigger", "-p", process.pid, tmp_path / "hand.ulp")
    assert process.ask("fix", 5) == 5
    ulp.succeed("trigger", "-p", process.pid, later)
    assert process.ask("fix", 1) == 6

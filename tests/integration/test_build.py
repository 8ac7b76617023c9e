# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`ulp build`: from a source tree and a diff to a livepatch that was proved."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from harness.command import Ulp
from harness.paths import RUNTIME

SOURCE = """\
static int calls;
static int table[4] = {1, 2, 3, 4};
int shared = 10;
static __thread int mine;
static __attribute__((noinline)) int counted(int v) { calls++; return v + calls; }
int exported(int v) { return v + 1; }
int total(void) { return calls + mine + shared; }
int fix(int v)
{
    static int count = 5;
    count++;
    calls += 1;
    mine++;
    shared++;
    table[v & 3] += 1;
    return counted(v) + exported(v) + count + table[v & 3] + total();
}
"""
MAKEFILE = """\
libfix.so: fix.o
\tgcc -shared -Wl,--build-id -Wl,-soname,libfix.so -o $@ fix.o
fix.o: fix.c
\tgcc -O2 -g -fPIC -fpatchable-function-entry=16,14 -c fix.c
"""
PROGRAM = """\
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
print("loaded", flush=True)
for line in sys.stdin:
    print(library.fix(int(line)), flush=True)
"""


@pytest.fixture(name="build")
def fixture_build(tmp_path):
    """A function that builds a livepatch of SOURCE with some text replaced."""
    tree = tmp_path / "source"
    tree.mkdir()
    (tree / "Makefile").write_text(MAKEFILE)

    def build(old, new, *options):
        if not (tree / "fix.c").exists():
            (tree / "fix.c").write_text(SOURCE)
        assert old in SOURCE
        (tmp_path / "new.c").write_text(SOURCE.replace(old, new))
        done = subprocess.run(["diff", "-u", "--label", "a/fix.c", "--label", "b/fix.c", "source/fix.c", "new.c"],
                              cwd=tmp_path, stdout=subprocess.PIPE, check=False)
        (tmp_path / "fix.patch").write_bytes(done.stdout)
        return Ulp().run(
            "build", "--source", tree, "--build", "make", "--diff", tmp_path / "fix.patch", "--work", tmp_path / "work",
            "--runtime", RUNTIME, "--as-root", "--json", "-o", tmp_path / "out", *options)

    return build


def test_a_fix_shares_the_state_of_the_library(build, tmp_path):
    """Static, exported, thread-local variables and those of functions are the library's own, at once and later."""
    answer = build("    count++;\n", "    if (v > 1000)\n        return -1;\n    count++;\n")
    assert answer.status == 0, str(answer)
    report = answer.json()
    (target,) = report["targets"]
    assert not report["warnings"]
    assert [function["name"] for function in target["functions"]] == ["fix"]
    assert target["proof"]
    library = str(tmp_path / "work" / "before" / "libfix.so")
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, library], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True, env={**os.environ, "LD_PRELOAD": str(RUNTIME)})
    plain = subprocess.Popen([sys.executable, "-c", PROGRAM, library], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             text=True)

    def ask(who, value):
        who.stdin.write(f"{value}\n")
        who.stdin.flush()
        return who.stdout.readline().strip()

    try:
        assert process.stdout.readline() == plain.stdout.readline() == "loaded\n"
        assert [ask(process, value) for value in range(5)] == [ask(plain, value) for value in range(5)]
        Ulp().succeed("trigger", "-p", process.pid, target["path"])
        assert ask(process, 2000) == "-1"
        assert [ask(process, value) for value in range(5)] == [ask(plain, value) for value in range(5)]
        Ulp().succeed("trigger", "-p", process.pid, target["path"], "--revert")
        assert ask(process, 2000) == ask(plain, 2000)
    finally:
        for each in (process, plain):
            each.kill()
            each.communicate()
    # Nothing has changed: nothing is built.
    before = (tmp_path / "out" / "libfix.so.ulp").read_bytes()
    again = build("    count++;\n", "    if (v > 1000)\n        return -1;\n    count++;\n")
    assert again.json()["changed"] is False
    assert (tmp_path / "out" / "libfix.so.ulp").read_bytes() == before


def test_labels_are_those_of_pack(build, tmp_path):
    """Guards what lists, rollouts and the page show: seen to fail with all of them under ``labels``, and no page.

    What is no label is refused before anything is built.
    """
    report = build("count++;", "count += 2;", "--no-proof", "--label", "CVE-2026-0001, bsc#12", "--label",
                   "ticket=<script>\x1b[31m").json()
    (target,) = report["targets"]
    given = {"cve": ["CVE-2026-0001"], "references": ["bsc#12"], "ticket": ["<script>\x1b[31m"]}
    assert target["labels"] == given
    packed = Ulp().succeed("dump", "--json", target["path"]).json()["labels"]
    assert {key: packed[key] for key in given} == given and "labels" not in packed
    page = (tmp_path / "out" / "libfix.so.html").read_text()
    assert "CVE-2026-0001" in page and "&lt;script&gt;?[31m" in page and "\x1b" not in page
    wrong = build("count++;", "count += 3;", "--label", "=x")
    assert wrong.status == 1 and "label" in wrong.errors and "build after" not in wrong.errors


def test_new_code_calls_what_the_target_finds_in_the_program(build, monkeypatch):
    """As modules of Python do.  Seen to fail, as a function that no library has."""
    declared = "const char *Py_GetVersion(void);\nint version(void) { return Py_GetVersion()[0]; }\n"
    monkeypatch.setitem(globals(), "SOURCE", declared + SOURCE)
    answer = build("    count++;\n", "    count++;\n    calls += *(const char *)Py_GetVersion();\n")
    assert answer.status == 0, str(answer)
    assert answer.json()["targets"][0]["proof"]


def test_a_library_that_the_build_makes_twice(build, tmp_path):
    """As builds that are guided by a profile do: it is what the last command has made.  Seen to fail with 31."""
    tree = tmp_path / "source"
    (tree / "Makefile").write_text(
        "all: libfix.so try\n"
        "libfix.so: fix.c\n" + "".join(
            f"\tgcc -DVALUE={value} -O2 -g -fPIC -fpatchable-function-entry=16,14 -shared -Wl,--build-id"
            " -Wl,-soname,libfix.so -o $@ fix.c\n" for value in (1, 2))
        + "try: try.c libfix.so\n\tgcc -o $@ try.c ./libfix.so\n")
    (tree / "try.c").write_text("int exported(int v);\nint main(void) { return exported(3); }\n")
    answer = build("v + 1;", "v * 10 + VALUE;", "--target", "libfix.so", "--test", "./try; test $? = 32")
    assert answer.status == 0, str(answer)


def test_an_initial_value_is_refused_by_name(build):
    answer = build("count = 5", "count = 6")
    assert answer.status == 1
    assert "refused (initial value)" in answer.errors
    assert "count" in answer.json()["refused"][0]["name"]


def test_the_end_of_a_log_is_shown_line_by_line(tmp_path):
    """Seen to fail: a question mark stood in place of each end of a line."""
    (tmp_path / "source").mkdir()
    (tmp_path / "fix.patch").write_text("")
    answer = Ulp().run("build", "--source", tmp_path / "source", "--build",
                       "printf 'ulp: one\\ntwo\\033[1m\\n'; false", "--diff", tmp_path / "fix.patch", "--work",
                       tmp_path / "work", "--as-root", "--no-proof", "-o", tmp_path / "out")
    assert answer.status != 0
    assert answer.errors.endswith("\n  ulp: one\n  two?[1m\n"), answer.errors


def test_an_earlier_livepatch_is_not_taken_for_a_refused_one(build, tmp_path):
    """It stays, as it may be signed and wanted, and is named beside each refusal.  Seen to fail: nobody told of it."""
    earlier, work = tmp_path / "out" / "libfix.so.ulp", tmp_path / "work"
    assert build("count++;", "count += 2;").status == 0
    before = earlier.read_bytes()
    told = f"{earlier} is of an earlier build, and not what was asked for now"
    for old, new, *options in (("count = 5", "count = 6"), ("count = 5", "count = 6"),  # again, with nothing changed
                               ("count++;", "count += 3;", "--test", "false"),
                               ("count++;", "count++; no_such_thing();")):
        answer = build(old, new, *options)
        assert answer.status != 0
        assert told in answer.errors, str(answer)
        assert earlier.read_bytes() == before
    # What lies elsewhere is nobody's business.
    answer = build("count = 5", "count = 6", "-o", tmp_path / "elsewhere")
    assert answer.json()["left"] == []
    assert str(earlier) not in answer.errors
    # A target that was refused has nothing of its own, whoever made what is there.
    elsewhere = tmp_path / "elsewhere.ulp"
    elsewhere.write_bytes(before)
    shutil.rmtree(work)
    assert build("count = 5", "count = 6", "-o", elsewhere).json()["left"] == [str(elsewhere)]


def test_of_two_static_functions_of_one_name_one_cannot_be_hooked(tmp_path):
    """Without padding a function of three bytes has no room for a jump.  Seen to go on for ever."""
    tree = tmp_path / "source"
    tree.mkdir()
    text = "static __attribute__((noipa)) int same(int v) {{ return {0}; }}\nint {1}(int v) {{ return same(v) + v; }}\n"
    for directory, (first, second) in (("source", ("0", "v * 3 + 5")), ("new", ("1", "v * 3 + 7"))):
        (tmp_path / directory).mkdir(exist_ok=True)
        (tmp_path / directory / "first.c").write_text(text.format(first, "first"))
        (tmp_path / directory / "second.c").write_text(text.format(second, "second"))
    done = subprocess.run(["diff", "-ru", "source", "new"], cwd=tmp_path, stdout=subprocess.PIPE, check=False)
    (tmp_path / "fix.patch").write_bytes(done.stdout)
    (tree / "Makefile").write_text(
        "libsame.so: first.o second.o\n\tgcc -shared -Wl,--build-id -Wl,-soname,libsame.so -o $@ $^\n"
        "%.o: %.c\n\tgcc -O2 -g -fPIC -falign-functions=1 -c $<\n")
    command = ["build", "--source", tree, "--build", "make", "--diff", tmp_path / "fix.patch", "--work",
               tmp_path / "work", "--as-root", "--json", "--no-proof", "-o", tmp_path / "out"]
    refused = Ulp().run(*command)
    assert refused.status == 1, str(refused)
    assert [(each["kind"], each["name"]) for each in refused.json()["refused"]] == [("hook", "same")]
    allowed = Ulp().succeed(*command, "--allow", "same").json()["targets"][0]
    assert [(function["name"], function["source"]) for function in allowed["functions"]] == [("same", "second.c")]


def test_another_build_than_the_one_that_runs_is_refused(build, tmp_path):
    """Whatever is allowed: none of its addresses would be right.

    Seen to fail, on a name that the other build lacks, where it could be allowed.
    """
    running = tmp_path / "installed" / "libfix.so"
    running.parent.mkdir()
    (tmp_path / "other.c").write_text(SOURCE.replace("return v + 1;", "return v * v * v - v + 1;"))
    subprocess.run(
        ["gcc", "-O1", "-falign-functions=16", "-fPIC", "-fpatchable-function-entry=16,14", "-shared",
         "-Wl,--build-id", "-Wl,-soname,libfix.so", "-o", running, tmp_path / "other.c"], check=True)
    answer = build("    count++;\n", "    count += 2;\n", "--running", running, "--allow", "*")
    assert answer.status != 0, str(answer)
    refused = answer.json()["refused"]
    assert [(each["kind"], each["can_be_allowed"]) for each in refused] == [("running library", False)]
    assert "is not what was built from the source" in refused[0]["reason"]
    assert not list((tmp_path / "out").glob("*.ulp"))


THREAD_LOCAL = """\
#include <stdio.h>
extern __thread long shared;
static __thread int mine = 4;
static __thread int table[8];
__attribute__((noinline)) int fix(int v)
{
    mine += v; shared += 2; table[v & 7] += v + 1;
    return mine * 100 + (int)shared + table[v & 7];
}
#ifdef PROGRAM
int main(void)
{
    char line[64];
    puts("loaded");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        printf("%d\\n", fix(line[0] - '0'));
        fflush(stdout);
    }
    return 0;
}
#endif
"""


@pytest.mark.parametrize("target, flags, link", [
    ("libfix.so", "-fPIC -ftls-model=initial-exec", "-shared -Wl,-soname,libfix.so"),
    ("libfix.so", "-fPIC -mtls-dialect=gnu2", "-shared -Wl,-soname,libfix.so"),
    ("libfix.so", "-fPIC -mtls-dialect=gnu2", "-shared -Wl,-soname,libfix.so,-z,now -fuse-ld=lld"),
    ("program", "-DPROGRAM -fpie -mtls-dialect=gnu2 -ftls-model=global-dynamic", "-pie"),
    ("program", "-DPROGRAM -fpie", "-pie"),
    ("program", "-DPROGRAM -fno-pie", "-no-pie"),
    ("program", "-DPROGRAM -fpie -ftls-model=initial-exec", "-pie -Wl,--no-relax"),
])
def test_thread_local_variables_of_every_model(tmp_path, target, flags, link):
    """Each thread's own ones, wherever the code finds them.  Seen to fail: such references were refused."""
    for directory, text in (("source", THREAD_LOCAL), ("new", THREAD_LOCAL.replace("mine * 100", "mine * 1000"))):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "fix.c").write_text(text)
        (tmp_path / directory / "shared.c").write_text("__thread long shared = 50; __thread char more[3];\n")
        (tmp_path / directory / "Makefile").write_text(
            f"{target}: fix.o shared.o\n\tgcc -Wl,--build-id {link} -o $@ fix.o shared.o\n"
            f"%.o: %.c\n\tgcc -O2 -g {flags} -c $<\n")
    done = subprocess.run(["diff", "-ru", "source", "new"], cwd=tmp_path, stdout=subprocess.PIPE, check=False)
    (tmp_path / "fix.patch").write_bytes(done.stdout)
    report = Ulp().succeed(
        "build", "--source", tmp_path / "source", "--build", "make", "--diff", tmp_path / "fix.patch", "--work",
        tmp_path / "work", "--runtime", RUNTIME, "--as-root", "--json", "-o", tmp_path / "out").json()
    built = tmp_path / "work" / "before" / target
    command = [built] if target == "program" else [sys.executable, "-c", PROGRAM, built]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "LD_PRELOAD": str(RUNTIME)}) as process:

        def ask(value):
            process.stdin.write(f"{value}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        assert process.stdout.readline() == "loaded\n"
        assert ask(3) == 7 * 100 + 52 + 4
        Ulp().succeed("trigger", "-p", process.pid, report["targets"][0]["path"])
        assert ask(3) == 10 * 1000 + 54 + 8
        Ulp().succeed("trigger", "-p", process.pid, report["targets"][0]["path"], "--revert")
        assert ask(3) == 13 * 100 + 56 + 12
        process.stdin.close()


LABELS = """\
int fix(int v)
{
    static void *const labels[] = {&&zero, &&one, &&two};
    goto *labels[v % 3];
    zero: return 7;
    one: return v + 1;
    two: return v + 2;
}
"""


def test_a_table_of_labels_is_that_of_the_new_function(build, monkeypatch, tmp_path):
    """The code of both is equally long, so the table does not change.

    Seen to fail: the new function used the library's own table, and so went on in the old function.
    """
    monkeypatch.setitem(globals(), "SOURCE", LABELS)
    answer = build("v + 2", "v + 9")
    assert answer.status == 0, str(answer)
    library = str(tmp_path / "work" / "before" / "libfix.so")
    with subprocess.Popen([sys.executable, "-c", PROGRAM, library], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True, env={**os.environ, "LD_PRELOAD": str(RUNTIME)}) as process:
        assert process.stdout.readline() == "loaded\n"
        Ulp().succeed("trigger", "-p", process.pid, answer.json()["targets"][0]["path"])
        answers, _errors = process.communicate("3\n4\n5\n")
    assert answers.split() == ["7", "5", "14"]


STOCK = """\
static int table[4] = {{1, 2, 3, 4}};
static __attribute__((noinline)) int inner(int v) {{ table[v & 3] += v; return table[v & 3] * {0}; }}
__attribute__((noinline)) int middle(int v) {{ return inner(v) + inner(v + 1); }}
int fix(int v) {{ return v > {1} ? -1 : middle(v * 2 + 1); }}
int both(int v) {{ return fix(v) + inner(v + 2); }}
"""


def test_what_is_jumped_to_is_guarded(tmp_path):
    """Without padding: fix() goes on in middle() by a jump, and inner(), which that calls, is replaced as well.

    Seen to fail: it was refused, with the advice to make middle() a guard, for which there is no option.
    """
    for directory, numbers in (("source", (3, 100)), ("new", (5, 10))):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "fix.c").write_text(STOCK.format(*numbers))
        (tmp_path / directory / "Makefile").write_text(
            "libfix.so: fix.c\n\tgcc -O2 -g -fPIC -shared -Wl,--build-id -Wl,-soname,libfix.so -o $@ fix.c\n")
    done = subprocess.run(["diff", "-ru", "source", "new"], cwd=tmp_path, stdout=subprocess.PIPE, check=False)
    (tmp_path / "fix.patch").write_bytes(done.stdout)
    command = ["build", "--source", tmp_path / "source", "--build", "make", "--diff", tmp_path / "fix.patch", "--work",
               tmp_path / "work", "--runtime", RUNTIME, "--as-root", "-o", tmp_path / "out"]
    (target,) = Ulp().succeed(*command, "--json").json()["targets"]
    assert {function["name"] for function in target["functions"]} == {"fix", "inner"}
    assert target["guards"] == ["middle"]
    assert target["proof"]
    (warning,) = target["warnings"]
    assert "both of " in warning and "--guard both" in warning
    assert "  guards     middle: what is replaced jumps to it" in Ulp().succeed(*command).output
    assert "middle" in (tmp_path / "out" / "libfix.so.html").read_text()
    (target,) = Ulp().succeed(*command, "--guard", "both", "--json").json()["targets"]
    assert (sorted(target["guards"]), target["warnings"]) == (["both", "middle"], [])
    (target,) = Ulp().succeed(*command, "--guard", "neither", "--json").json()["targets"]
    assert "neither is not guarded: " in target["warnings"][0]


CHECK = """\
#include <stdio.h>
#include <unistd.h>
#include <sys/wait.h>
int fix(int v);
int main(int argc, char **argv)
{
    int status;
    if (argc < 2 && fork() == 0)
        execl(argv[0], argv[0], "child", (char *)0);
    if (argc < 2)
        wait(&status);
    printf("%d\\n", fix(2000));
    return (fix(2000) != -1) | (argc < 2 && status != 0);
}
"""


def test_the_own_test_runs_under_the_livepatch(build, tmp_path):
    """Each process of it is patched before main() begins; its verdict decides, and one that shows nothing is none."""
    fix = ("    count++;\n", "    if (v > 1000)\n        return -1;\n    count++;\n")
    (tmp_path / "check.c").write_text(CHECK)
    command = f"gcc -o check {tmp_path}/check.c ./libfix.so && ./check"
    answer = build(*fix, "--test", command)
    assert answer.status == 0, str(answer)
    test = answer.json()["test"]
    assert (test["command"], test["patched"], test["reached"]) == (command, 2, 2)
    assert test["processes"] > 2
    assert command.partition(" && ")[2] in (tmp_path / "out" / "libfix.so.html").read_text()
    (tmp_path / "out" / "libfix.so.ulp").unlink()
    for other, why in ((f"{command} another", None), (f"{command} && false", "fails under the livepatch (status 1)"),
                       ("true", "says nothing about the livepatch")):
        answer = build(*fix, "--test", other)
        assert (answer.status == 0) == (why is None), str(answer)
        if why:
            assert why in answer.errors
            assert not (tmp_path / "out" / "libfix.so.ulp").exists()
        else:
            (tmp_path / "out" / "libfix.so.ulp").unlink()


REACHING = """\
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/wait.h>
int main(int argc, char **argv)
{
    const char *how = argv[1];
    int status = 0, (*fix)(int), (*exported)(int);
    void *library = dlopen("./libfix.so", RTLD_NOW);
    fix = (int (*)(int))dlsym(library, "fix");
    exported = (int (*)(int))dlsym(library, "exported");
    if (strcmp(how, "never") == 0)
        return exported(1) != 2;
    if (strcmp(how, "forked") == 0 && fork() == 0)
        _exit(fix(2000) != -1);
    if (strcmp(how, "vfork") == 0 && vfork() == 0)
        _exit(0);
    if (strcmp(how, "forked") == 0 || strcmp(how, "vfork") == 0)
        wait(&status);
    if (strcmp(how, "forked") != 0 && fix(2000) != -1)
        return 1;
    if (strcmp(how, "at_once") == 0)
        _Exit(0);
    exit(status);
}
"""


@pytest.mark.parametrize(("ways", "reached"), ((("never",), 0), (("exit", "at_once", "forked", "vfork", "never"), 4)))
def test_whether_the_own_test_reaches_new_code(build, tmp_path, ways, reached):
    """Guards the count of processes in which new code was executed, however they end; seen to fail: no such count.

    With one file for all processes, what one of them executes would count for the others.
    """
    (tmp_path / "reaching.c").write_text(REACHING)
    answer = build("    count++;\n", "    if (v > 1000)\n        return -1;\n    count++;\n", "--test",
                   f"gcc -o reaching {tmp_path}/reaching.c -Wl,--no-as-needed ./libfix.so && "
                   + " && ".join(f"./reaching {way}" for way in ways))
    assert answer.status == 0, str(answer)
    assert (answer.json()["test"]["patched"], answer.json()["test"]["reached"]) == (len(ways), reached)
    warned = [warning for warning in answer.json()["warnings"] if "none of the new code" in warning]
    assert len(warned) == (not reached)
    assert f"new code executed in {reached}" in (tmp_path / "out" / "libfix.so.html").read_text()


WITHOUT = """\
#include <unistd.h>
int fix(int v);
int main(void)
{
    usleep(1500000);
    return fix(2000) == -1;
}
"""


def test_programs_of_the_own_test_that_run_without_the_livepatch(build, tmp_path):
    """What executes them has gone through the gate, and they have its PID.

    Seen to fail ("ran without the livepatch in process N (not_patchable") where that was taken for them.
    """
    (tmp_path / "without.c").write_text(WITHOUT)
    answer = build(
        "    count++;\n", "    if (v > 1000)\n        return -1;\n    count++;\n", "--test",
        f"gcc -o without {tmp_path}/without.c ./libfix.so && env -u LD_PRELOAD ./without && ! ./without")
    assert answer.status == 0, str(answer)
    assert answer.json()["test"]["patched"] == 1


LARGE = """\
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    size_t size = 512u << 20;
    char *memory = aligned_alloc(4096, size);
    madvise(memory, size, MADV_NOHUGEPAGE);
    memset(memory, argc, size);
    usleep(atoi(argv[1]) * 1000);
    return memory[size / 2] != argc;
}
"""


def test_programs_of_the_own_test_that_are_about_to_end(build, tmp_path):
    """A process that gives back much memory as it ends is no process without the livepatch.

    Seen to fail ("ran without the livepatch in process N (failed: process N does not exist, or it has ended)"), as with
    a compiler that a test of jsoncpp runs.
    """
    (tmp_path / "check.c").write_text(CHECK)
    (tmp_path / "large.c").write_text(LARGE)
    command = (f"gcc -o check {tmp_path}/check.c ./libfix.so && gcc -O1 -o large {tmp_path}/large.c && "
               "for delay in 60 90 120 150 180 210; do ./large $delay || exit 1; done && ./check")
    answer = build("    count++;\n", "    if (v > 1000)\n        return -1;\n    count++;\n", "--test", command)
    assert answer.status == 0, str(answer)
    assert answer.json()["test"]["patched"] == 2


def test_each_build_of_one_tree_gets_its_own(build, tmp_path):
    """Guards one run for a padded and a stock build, and for the files that run of them; seen to fail: one at a time.

    Whoever was not built so is refused by name, and keeps nobody from the others.
    """
    tree, fix = tmp_path / "source", ("    count++;\n", "    if (v > 1000)\n        return -1;\n    count++;\n")
    (tree / "Makefile").write_text(MAKEFILE.replace("-fpatchable-function-entry=16,14", "$(PADDING) -fno-ipa-ra"))
    commands = ["make", "make PADDING=-fpatchable-function-entry=16,14"]
    answer = build(*fix, "--build", commands[1])
    assert answer.status == 0, str(answer)
    report = answer.json()
    # The fixture has named the first one.
    assert [part["build"] for part in report["builds"]] == commands
    names = [os.path.basename(target["path"]) for target in report["targets"]]
    assert names == [f"libfix.so-{target['build_id'][:8]}.ulp" for target in report["targets"]]
    assert len(set(names)) == 2 and all(target["proof"] for target in report["targets"])
    assert sorted(os.listdir(tmp_path / "out")) == sorted([*names, *(name.replace(".ulp", ".html") for name in names)])
    assert build(*fix, "--build", commands[1]).json()["changed"] is False

    # One dispatch takes what came out.
    libraries = []
    for number, directory in enumerate(sorted((tmp_path / "work").glob("build-*"))):
        libraries.append(tmp_path / f"running-{number}.so")
        shutil.copy(directory / "before" / "libfix.so", libraries[-1])
    victims = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, library], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         text=True, env={**os.environ, "LD_PRELOAD": str(RUNTIME)}) for library in libraries]
    try:
        assert [victim.stdout.readline() for victim in victims] == ["loaded\n"] * 2
        pids = [victim.pid for victim in victims]
        rows = Ulp().succeed("dispatch", "patch", tmp_path / "out", *pids, "--json").json()
        assert [row["outcome"] for row in rows] == ["patched", "patched"]
        assert {row["patch_id"] for row in rows} == {target["patch_id"] for target in report["targets"]}
        assert [victim.communicate("2000\n")[0] for victim in victims] == ["-1\n"] * 2
    finally:
        for victim in victims:
            victim.kill()
            victim.communicate()

    other = tmp_path / "other.so"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-Wl,--build-id", "-Wl,-soname,libfix.so", "-o", other,
                    tree / "fix.c"], check=True)
    options = [word for library in [*libraries, other, tmp_path / "absent.so"] for word in ("--running", library)]
    answer = build(*fix, "--build", commands[1], *options)
    assert answer.status == 1
    report = answer.json()
    assert [os.path.basename(part["running"]) for part in report["builds"]] == [
        "running-0.so", "running-1.so", "other.so", "absent.so"]
    assert sorted(os.path.basename(target["path"]) for target in report["targets"] if target["path"]) == sorted(names)
    assert {refusal["kind"] for refusal in report["refused"]} == {"running library", "failed build"}
    assert str(other) in answer.errors and "absent.so" in answer.errors
    # Its own command may be the one that fails.
    answer = build(*fix, "--build", "make no-such-target", "--running", other)
    assert answer.status == 1 and "'make no-such-target' ended with status" in answer.errors, str(answer)
    refused = Ulp().run("build", "--source", tree, "--build", "make", "--build", "true", "--diff",
                        tmp_path / "fix.patch", "--as-root", "--no-proof", "-o", tmp_path / "one.ulp")
    assert refused.status == 1 and "name a directory instead of" in refused.errors

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a diff changes: recorded builds, line numbers that stay, objects compared."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.build.comparison import compare
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.compiler_wrapper import digest, unstripped_name
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.compiling_again import changes_aside
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.composition import composition
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.errors import BadDiff
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.objects import ObjectFile
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.recording import (
    read_records,
    recording_environment,
    write_wrappers,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.running import layout_difference
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.shadows import with_shadow
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.source_diff import apply_diffs
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage

SOURCE = """\
#include <assert.h>
static const int limits[3] = {1, 2, 3};
static int calls;
static inline int third(int value) { return value / 3; }
int counted(int value)
{
    static int count = 7;
    calls++;
    return value + count++;
}
int limit(int index)
{
    return limits[index];
}
int share(int value)
{
    return third(value) + 1;
}
int checked(int value)
{
    assert(value > 5);
    return value * 2;
}
int named(void)
{
    return __func__[0];
}
"""


@pytest.fixture(name="difference", params=["gcc", "clang"])
def fixture_difference(request, tmp_path):
    """A function that compares SOURCE with itself after replacements of text in it."""

    def difference(*replacements, source=SOURCE, suffix=".c", compiler=request.param):
        if suffix == ".cc":
            compiler = {"gcc": "g++", "clang": "clang++"}[compiler]
        objects = []
        for version in ("before", "after"):
            text = source
            if version == "after":
                for old, new in replacements:
                    assert old in text
                    text = text.replace(old, new)
            (tmp_path / version).mkdir(exist_ok=True)
            (tmp_path / version / f"unit{suffix}").write_text(text, encoding="utf-8")
            subprocess.run([compiler, "-O2", "-g", "-fPIC", "-ffunction-sections", "-fdata-sections", "-c",
                            f"unit{suffix}"], cwd=tmp_path / version, check=True)
            objects.append(ObjectFile(str(tmp_path / version / "unit.o")))
        return compare(*objects)

    return difference


def test_the_same_source_is_the_same(difference):
    assert difference().is_empty


def test_a_caller_that_the_fix_was_inlined_into_is_changed(difference):
    """Seen to fail with names compared instead of code."""
    assert difference(("value / 3", "value / 4")).changed == ["share"]


def test_a_constant_that_changes_is_told_apart_from_a_variable(difference):
    found = difference(("{1, 2, 3}", "{1, 2, 4}"))
    assert found.changed_constants == {"limits": "its initial value changes"}
    assert not found.changed_variables
    found = difference(("count = 7", "count = 8"))
    assert list(found.changed_variables.values()) == ["its initial value changes"]


def test_a_numbered_variable_is_the_same_by_its_users(difference):
    """Seen to fail with variables compared by name: gcc numbers ``count`` anew, and the function counted as changed."""
    found = difference(("static int calls;", "static int calls; extern int more(int), declarations(int);"))
    assert found.is_empty


def test_numbered_constants_are_the_same_by_their_contents(difference):
    """As those of libarchive's WARC reader, of one name and one size.  Seen to fail with ``key.1`` as ambiguous."""
    source = ("extern int find(const char *);\nint both(int v) {\n"
              "  { static const char key[] = \"Date:\"; v += find(key); }\n"
              "  { static const char key[] = \"Type:\"; v -= find(key); }\n  return v + 1;\n}\n")
    found = difference(("v + 1", "v + 2"), ("int both", "int more(void) { static const char key[] = \"Size:\"; return"
                                            " find(key); }\nint both"), source=source)
    assert not found.ambiguous
    assert found.changed == ["both"]
    assert not found.changed_constants


def test_new_and_vanished_functions(difference):
    found = difference(("int named(void)", "int other(void) { return 3; }\nint renamed(void)"))
    assert sorted(found.new) == ["other", "renamed"]
    assert found.gone == ["named"]


def test_a_catch_of_another_type_is_a_change(difference):
    """The code is the same, and only the exception table differs: seen to fail without looking at it."""
    source = ("extern void call();\nint guarded() { try { call(); } catch (int) { return 1; } return 0; }\n"
              "int other() { try { call(); } catch (char) { return 1; } return 0; }\n")
    found = difference(("catch (int)", "catch (long)"), source=source, suffix=".cc")
    assert found.changed == ["_Z7guardedv"]


def test_a_constructor(difference):
    source = "void call(int);\n__attribute__((constructor)) static void start(void) { call(1); }\n"
    assert difference(("call(1)", "call(2)"), source=source).constructors == ["start"]
    assert not difference(("void call", "int other(void) { return 3; }\nvoid call"), source=source).constructors


def make_diff(tree, name, *replacements):
    """A diff of tree/name, beside the tree."""
    old = (tree / name).read_text()
    new = old
    for before, after in replacements:
        assert before in new
        new = new.replace(before, after)
    (tree.parent / "new").write_text(new)
    done = subprocess.run(["diff", "-u", "--label", f"a/{name}", "--label", f"b/{name}", str(tree / name),
                           str(tree.parent / "new")], stdout=subprocess.PIPE, check=False)
    path = tree.parent / "fix.patch"
    path.write_bytes(done.stdout)
    return str(path)


@pytest.fixture(name="tree")
def fixture_tree(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "unit.c").write_text(SOURCE, encoding="utf-8")
    return tree


def test_lines_keep_their_numbers(tree):
    """Seen to fail without #line: each function with an assertion below the fix counted as changed."""
    compiling = ["gcc", "-O2", "-c", "-ffunction-sections", "-fdata-sections", "unit.c", "-o"]
    diff = make_diff(
        tree, "unit.c", ("    return limits", "    if (index > 2)\n        return 0;\n    return limits"))
    subprocess.run([*compiling, "../1.o"], cwd=tree, check=True)
    assert apply_diffs(str(tree), [diff]).files == ["unit.c"]
    subprocess.run([*compiling, "../2.o"], cwd=tree, check=True)
    assert compare(ObjectFile(f"{tree}/../1.o"), ObjectFile(f"{tree}/../2.o")).changed == ["limit"]


def test_each_line_tells_its_old_number(tree):
    """With several hunks, one that removes lines among them: what stands below each is numbered as before."""
    diff = make_diff(
        tree, "unit.c", ("    calls++;\n", ""),
        ("    return limits", "    /* one */\n    /* two */\n    return limits"),
        ("    return third", "    /* three */\n    return third"))
    apply_diffs(str(tree), [diff])
    text = (tree / "unit.c").read_text().replace("#include <assert.h>\n", "\n")
    for place in ("    assert(value > 5)", "    return __func__"):
        text = text.replace(place, "LINE __LINE__ ")
    done = subprocess.run(["gcc", "-E", "-x", "c", "-"], input=text, text=True, stdout=subprocess.PIPE, check=True)
    numbers = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("LINE")]
    lines = SOURCE.split("\n")
    assert numbers == [str(lines.index(line) + 1) for line in ("    assert(value > 5);", "    return __func__[0];")]


def test_a_diff_that_does_not_apply_changes_nothing(tree):
    diff = make_diff(tree, "unit.c", ("value / 3", "value / 4"))
    apply_diffs(str(tree), [diff])
    before = (tree / "unit.c").read_bytes()
    with pytest.raises(BadDiff, match=r"fix\.patch does not apply to the source with -p1"):
        apply_diffs(str(tree), [diff])
    assert (tree / "unit.c").read_bytes() == before
    with pytest.raises(BadDiff, match="does not exist"):
        apply_diffs(str(tree), [diff + "s"])


def recorded(commands, tree, directory):
    """The Records of a build by these shell commands in ``tree``."""
    write_wrappers(str(directory / "bin"))
    environment = recording_environment(str(directory / "bin"), str(directory / "records"))
    subprocess.run(["sh", "-e", "-c", commands], cwd=tree, env=environment, check=True)
    return read_records(str(directory / "records"))


@pytest.mark.parametrize("commands", [
    "gcc -O2 -fPIC -MD -MF unit.d -c unit.c -o unit.o\ngcc -shared -o libunit.so unit.o",
    "gcc -O2 -fPIC -c unit.c\nar rc libpart.a unit.o\n"
    "gcc -shared -o libunit.so -Wl,--whole-archive libpart.a -Wl,--no-whole-archive",
    "gcc -O2 -fPIC -shared -o libunit.so unit.c",
    "echo '-O2 -fPIC -shared' > options\nclang @options -olibunit.so unit.c",
    "gcc -O2 -fPIC -c unit.c\nar rcT libthin.a unit.o\n"
    "gcc -shared -o libunit.so -fuse-ld=gold -Wl,--whole-archive libthin.a -Wl,--no-whole-archive",
    # By a path, which no directory of PATH comes before: sh, and others that start programs in their own ways.
    "/usr/bin/gcc -O2 -fPIC -c unit.c\nenv /usr/bin/gcc -shared -o libunit.so unit.o",
    "printf 'libunit.so: unit.c\\n\\t/usr/bin/cc -O2 -fPIC -shared -o $@ $<\\n' > one.mk; make -f one.mk",
    "printf 'libunit.so: unit.c\\n\\t/usr/bin/cc -O2 -fPIC -shared -o $@ $< && true\\n' > one.mk; make -f one.mk",
    f"{sys.executable} -c 'import subprocess; subprocess.check_call("
    "[\"/usr/bin/gcc\", \"-O2\", \"-fPIC\", \"-shared\", \"-o\", \"libunit.so\", \"unit.c\"])'",
    f"{sys.executable} -c 'import os; pid = os.posix_spawnp(\"gcc\", "
    "\"gcc -O2 -fPIC -shared -o libunit.so unit.c\".split(), dict(os.environ, PATH=\"/usr/bin\")); os.waitpid(pid, 0)'",
    "PATH=/usr/bin gcc -O2 -fPIC -shared -o libunit.so unit.c",
])
def test_what_a_build_does_is_recorded(tree, tmp_path, commands):
    """Seen to fail with no records for compilers that are called by a path."""
    records = recorded(commands, tree, tmp_path)
    unit = with_shadow(*records.units.values())
    assert unit.source == str(tree / "unit.c")
    assert {"share", "checked"} <= set(compare(None, ObjectFile(unit.shadow)).new)
    link = records.links[str(tree / "libunit.so")]
    assert unit.key in link.units or unit.digest in [sha for _path, _member, sha in link.inputs]


@pytest.mark.parametrize("command", [
    "gcc -O2 -fPIC -I. -include ./first.h -c ../unit.c -o unit.o",
    "g++ -O2 -fPIC -I. -x c -include first.h -c ../unit.c -x none -o unit.o",
    "clang -O2 -fPIC -I . -imacros first.h -std=gnu11 -pedantic-errors -c ../unit.c -o unit.o",
    "gcc -O2 -fPIC -I. -include first.h -E ../unit.c -o unit.i && gcc -O2 -fPIC -c unit.i",
])
def test_a_shadow_object_is_made_of_nothing_but_its_text(tree, tmp_path, command):
    """Packages are built several times in one directory, or move it away.  Seen to fail: a header was no longer there.

    That was with the shadow object compiled from the source, when it was needed.
    """
    (tree / "unit.c").write_text((tree / "unit.c").read_text() + "\nint first(void) { return FIRST; }\n")
    records = recorded(f"mkdir made; cd made; echo '#define FIRST 1' > first.h; {command}; cd ..; rm -r made unit.c",
                       tree, tmp_path)
    unit = with_shadow(*records.units.values())
    assert {"first", "share"} <= set(compare(None, ObjectFile(unit.shadow)).new), unit.messages


@pytest.mark.parametrize("linker", ["ld", "/usr/bin/ld", "ld.gold"])
def test_a_linker_that_is_called_itself_is_recorded(tree, tmp_path, linker):
    """Seen to fail: nothing was known of the joined object but that no compiler had made it."""
    records = recorded(f"gcc -O2 -fPIC -c unit.c\n{linker} -r -o joined.o unit.o\ngcc -shared -o libunit.so joined.o",
                       tree, tmp_path)
    found = composition(records.links[str(tree / "libunit.so")], records)
    assert found.units.keys() == records.units.keys()


@pytest.mark.parametrize("commands", [
    "gcc -O2 -fPIC -shared -s -o libunit.so unit.c",
    "gcc -O2 -fPIC -c unit.c\ngcc -shared -Wl,-O1,--strip-all -o libunit.so unit.o",
    "gcc -O2 -fPIC -shared -Xlinker -s -o libunit.so unit.c",
    "gcc -O2 -fPIC -shared -o libunit.so unit.c\nstrip --strip-unneeded libunit.so",
    "gcc -O2 -fPIC -shared -o whole.so unit.c\n/usr/bin/strip -o libunit.so whole.so",
    "gcc -O2 -fPIC -shared -o whole.so unit.c\ninstall -s whole.so libunit.so",
])
def test_symbols_that_a_build_strips_are_kept(tree, tmp_path, commands):
    """Seen to fail: there was no copy."""
    recorded(commands, tree, tmp_path)
    stripped = str(tree / "libunit.so")
    assert "checked" not in {symbol.name for symbol in ElfImage.open(stripped).symbols()}
    kept = ElfImage.open(str(tmp_path / "records" / unstripped_name(digest(stripped))))
    assert "checked" in {symbol.name for symbol in kept.symbols()}
    assert layout_difference(kept, ElfImage.open(stripped)) is None


@pytest.mark.parametrize("change, again", [
    ("true", False),
    ("touch unit.c", False),
    ("echo '#define MORE 2' > unit.h", True),
    ("echo '/* other */' >> unit.h", True),
    ("mkdir first && echo '#define MORE 3' > first/unit.h", True),
    ("sed -i 's/value + 1/value + 2/' unit.c", True),
])
def test_what_has_not_changed_is_not_compiled_a_second_time_once_more(tree, tmp_path, change, again):
    """A build that begins anew after the diff took twice as long as the package's own.  Seen to fail that way."""
    (tree / "unit.h").write_text("#define MORE 1\n")
    with open(tree / "unit.c", "a", encoding="utf-8") as stream:
        stream.write('#include <unit.h>\nint more(int value) { return value + 1 + MORE; }\n')
    write_wrappers(str(tmp_path / "bin"))
    earlier = (str(tmp_path / "records"), str(tree), str(tmp_path / "before"))
    units = []
    for number, records in enumerate(("records", "later")):
        environment = recording_environment(
            str(tmp_path / "bin"), str(tmp_path / records), earlier=earlier if number else None)
        subprocess.run(["gcc", "-Ifirst", "-I.", "-O2", "-fPIC", "-c", "unit.c"], cwd=tree, env=environment, check=True)
        (unit,) = read_records(str(tmp_path / records)).units.values()
        units.append(unit)
        if not number:
            subprocess.run(["cp", "-a", tree, tmp_path / "before"], check=True)
            subprocess.run(["sh", "-e", "-c", change], cwd=tree, check=True)
    assert (units[1].shadow != units[0].shadow) is again


@pytest.mark.parametrize("line, aside", [
    ("\tlibrary/test/test_overflow.c \\", True),
    ("\tlibrary/test/test_overflow.c", True),
    ("tests/data/overflow.rar.uu \\", True),
    ("# Tests of what overflows.", True),
    ("", True),
    ("\tlibrary/overflow.c \\", False),
    ("\tlibrary/latest/overflow.c \\", False),
    ("\ttests/overflow.c library/overflow.c \\", False),
    ("library_SOURCES += tests/overflow.c", False),
    ("CFLAGS += -DLIMIT=5", False),
])
def test_a_makefile_that_gets_a_test(line, aside):
    """The whole package was built anew for it, seconds became minutes.  Seen to fail that way for libarchive."""
    short = b"TESTS = \\\n\ttests/one.c \\\n\ttests/two.c\n"
    long = short.replace(b"\ttests/two.c", line.encode() + b"\n\ttests/two.c")
    assert changes_aside(short, long) is aside
    assert changes_aside(long, short) is aside


def test_a_file_that_a_diff_takes_away_is_gone(tree, tmp_path):
    """Seen to fail: an empty file was there, and a Makefile that takes all files compiled it."""
    diff = tmp_path / "fix.patch"
    lines = (tree / "unit.c").read_text().splitlines()
    diff.write_text(f"--- a/unit.c\n+++ /dev/null\n@@ -1,{len(lines)} +0,0 @@\n" + "".join(
        f"-{line}\n" for line in lines))
    assert apply_diffs(str(tree), [str(diff)], 1).files == ["unit.c"]
    assert not (tree / "unit.c").exists()


def test_a_compiler_that_fails_fails(tree, tmp_path):
    write_wrappers(str(tmp_path / "bin"))
    environment = recording_environment(str(tmp_path / "bin"), str(tmp_path / "records"))
    done = subprocess.run(["gcc", "-c", "nothing.c"], cwd=tree, env=environment, check=False, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert b"nothing.c" in done.stderr
    assert not read_records(str(tmp_path / "records")).units

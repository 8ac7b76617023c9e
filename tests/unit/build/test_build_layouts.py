# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Types that a diff lays out anew, found in debug information of several versions and of both compilers."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.build.compiler_wrapper import preprocess
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.debug_types import DebugTypes
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.layouts import Compared, check_layouts
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.recording import Unit
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.refusals import Refusals
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.shadows import (
    compiling_environment,
    with_shadow,
)

SOURCE = """\
#include <stdarg.h>
struct opaque;
enum color { RED, GREEN, COLORS };
enum { LIMIT = 4 };
struct flags { unsigned first : 3, second : 5; };
struct item { int key; union { long number; char text[8]; }; struct { short low, high; } range; };
typedef struct { int used; enum color color; void *any; struct item *first; int (*call)(int); } box_t;
static struct { int hits, misses; } statistics;
static box_t box;
static __thread struct mine { int count; } mine;
static volatile enum { IDLE, RUNNING } state;
struct local { int from; int to; };
static __attribute__((noinline)) int width(struct local *l) { return l->to - l->from; }
int span(int v) { struct local l = {v, v * 3}; return width(&l); }
int count(int v) { struct item i = {.key = v}; box.used += i.key; return ++statistics.hits + box.used + LIMIT; }
int log_it(const char *text, int level) { return text[0] + level; }
int paint(enum color c) { struct flags f = {c, c}; return f.first + f.second + (c == COLORS); }
int peek(struct opaque *o) { mine.count++; return o != 0; }
int begin(void) { return state == RUNNING ? state = IDLE : 1; }
"""
CXX = """\
struct base { virtual int one(int); virtual int two(int); virtual ~base(); long size; };
namespace inner { template <class T> struct holder { T value; int count; }; }
struct derived : base { int one(int) override; inner::holder<int> held; static int shared; };
int derived::shared = 1;
int base::one(int v) { return v; }
int base::two(int v) { return v + size; }
base::~base() {}
int derived::one(int v) { return v + held.count + shared; }
int make(int v) { derived d; inner::holder<int> h{v, 2}; return d.one(v) + h.value + h.count; }
"""


@pytest.fixture(name="compiled", scope="module")
def fixture_compiled(tmp_path_factory):
    """A function that compiles a source text, once, as `ulp build` does for comparison; returns its Unit."""
    directory = tmp_path_factory.mktemp("units")
    done = {}

    def compiled(command, source, suffix):
        if (command, source) not in done:
            compiler, *options = command.split()
            compiler = {"gcc": "g++", "clang": "clang++"}[compiler] if suffix == ".cc" else compiler
            place = directory / str(len(done))
            place.mkdir()
            (place / f"unit{suffix}").write_text(source)
            unit = Unit(
                key="unit", source=str(place / f"unit{suffix}"), directory=str(place), compiler=compiler,
                arguments=["-O2", "-fPIC", *options, "-c", f"unit{suffix}"], environment={}, output="unit.o",
                digest=None, shadow=str(place / "unit.o"), messages="")
            answer = preprocess(compiler, unit.arguments, unit.source, unit.directory, unit.shadow,
                                compiling_environment(unit))
            assert answer.returncode == 0, answer.stdout
            done[command, source] = with_shadow(unit)
        return done[command, source]

    return compiled


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("suffix, source, variable, old, new", [
    (".c", SOURCE, "box", "RED, GREEN,", "GREEN, RED,"),
    (".c", SOURCE, "box", "short low, high;", "short high, low;"),
    (".c", SOURCE, "state", "IDLE, RUNNING", "IDLE, PAUSED, RUNNING"),
    (".cc", CXX + "base *kept;", "kept", "virtual int two(int);", "virtual int more(int); virtual int two(int);"),
])
def test_a_fingerprint_tells_what_a_variable_means(compiled, compiler, suffix, source, variable, old, new):
    """Guards a new variable that a later livepatch goes on with: of the same size, but read in another way.

    Seen to fail with equal ones for constants of enumerations and for virtual functions.
    """
    found = [DebugTypes(str(compiled(compiler, text, suffix).shadow)).fingerprints()[variable]
             for text in (source, source + "int more;", source.replace(old, new))]
    assert found[0] == found[1] != found[2]


@pytest.fixture(name="check", params=["gcc", "clang"])
def fixture_check(request, compiled):
    """A function that checks layouts of SOURCE after replacements of text; returns (changes by name, Refusals)."""

    def check(*replacements, source=SOURCE, suffix=".c", replaced=(), exported=(), other=None, allow=(), options=""):
        after = source
        for old, new in replacements:
            assert old in after
            after = after.replace(old, new)
        command = f"{request.param} {options}"
        units = [Compared(compiled(command, source, suffix), compiled(command, after, suffix))]
        if other is not None:
            units.append(Compared(compiled(command, other, suffix)._replace(key="other", source="other.c"), None))
        refusals = Refusals(allow)
        changes = check_layouts(units, replaced, exported, refusals)
        return {change.name: change for change in changes}, refusals

    return check


def test_the_same_types_are_no_change(check):
    changes, refusals = check(("mine.count++;", "mine.count += 2;"))
    assert not changes
    assert not refusals.refused
    assert check(source=CXX, suffix=".cc")[0] == {}


def test_a_type_only_of_replaced_functions_may_change(check):
    """Its objects are local variables of functions that are replaced, so none outlives a call."""
    changes, refusals = check(("int from; int to;", "int from; long more; int to;"), replaced=["span", "width"],
                              exported=["span", "count"])
    assert not refusals.refused
    assert "more: new -> offset 8, size 8" in changes["local"].differences
    assert "to: offset 4, size 4 -> offset 16, size 4" in changes["local"].differences
    assert "size 8 -> 24" in changes["local"].differences


def test_a_user_that_is_not_replaced_is_named(check):
    _changes, refusals = check(("int from; int to;", "int from; long more; int to;"), replaced=["width"])
    (refusal,) = refusals.refused
    assert (refusal.kind, refusal.name) == ("layout", "local")
    assert "also used by span (unit.c)" in refusal.what
    assert "width" not in refusal.what
    assert refusal.can_be_allowed


@pytest.mark.parametrize("allow", ["local", "layout:local", "layout:*"])
def test_a_change_is_allowed_by_name(check, allow):
    _changes, refusals = check(("int from; int to;", "int to; int from;"), allow=[allow])
    assert not refusals.refused
    assert refusals.allowed
    assert not refusals.unused


def test_objects_that_outlive_a_call_are_found(check):
    """Whoever uses it is replaced, and yet the variable that is there has the old layout, and so what it leads to."""
    everyone = ["span", "width", "count", "log_it", "paint", "peek", "begin"]
    for old, new, name, why in (
        ("int used;", "int more, used;", "box_t", "the variable box (unit.c)"),
        ("int key;", "int more, key;", "item", "the variable box (unit.c) leads to them"),
        ("int count;", "int more, count;", "mine", "the variable mine (unit.c)"),
        ("int hits, misses", "int misses, hits", "(type of statistics)", "the variable statistics (unit.c)"),
        ("IDLE, RUNNING", "IDLE = 1, RUNNING", "(of IDLE)", "the variable state (unit.c)"),
    ):
        _changes, refusals = check((old, new), replaced=everyone)
        assert [refusal.name for refusal in refusals.refused] == [name]
        assert why in refusals.refused[0].what
    handed = SOURCE.replace("static __attribute__((noinline)) int width", "int width")
    _changes, refusals = check(("int from; int to;", "int to; int from;"), source=handed, replaced=everyone,
                               exported=["width"])
    assert "the exported function width (unit.c) takes or returns them" in refusals.refused[0].what
    heap = ("extern void *malloc(unsigned long); struct node { int a; };\n"
            "int use(int v) { struct node *n = malloc(sizeof *n); n->a = v; return n->a; }\n")
    _changes, refusals = check(("int a;", "int z, a;"), source=heap, replaced=["use"])
    assert "no function has it as a local variable" in refusals.refused[0].what


@pytest.mark.parametrize("old, new, name, difference", [
    ("first : 3, second : 5", "first : 4, second : 5", "flags", "first: bit 0, size 3 bits -> bit 0, size 4 bits"),
    ("first : 3, second : 5", "second : 5, first : 3", "flags", "second: bit 3, size 5 bits -> bit 0, size 5 bits"),
    ("char text[8]", "char text[16]", "item", "text: offset 8, size 8 -> offset 8, size 16"),
    ("short low, high;", "short high, low;", "item", "range.low: offset 16, size 2 -> offset 18, size 2"),
    ("long number;", "double number;", "item", "number: int8 -> float8 at offset 8, size 8"),
    ("int (*call)(int)", "int (*call)(int, int)", "box_t",
     "call: *int4(int4) -> *int4(int4, int4) at offset 24, size 8"),
    ("RED, GREEN,", "GREEN, RED,", "color", "RED: 0 -> 1"),
    ("COLORS }", "COLORS = 1L << 40 }", "color", "size 4 -> 8"),
    ("struct local {", "struct __attribute__((aligned(8))) local {", "local", "alignment 4 -> 8"),
    ("int from; int to;", "int from __attribute__((aligned(8))); int to;", "local", "alignment 4 -> 8"),
])
def test_what_changes_is_told(check, old, new, name, difference):
    changes, refusals = check((old, new))
    assert difference in changes[name].differences
    assert name in [refusal.name for refusal in refusals.refused]


@pytest.mark.parametrize("old, new", [
    ("int key;", "unsigned key;"),
    ("void *any;", "const char *any;"),
    ("GREEN, COLORS", "GREEN, BLUE, COLORS"),
    ("LIMIT = 4", "LIMIT = 5"),
    ("struct local {", "struct __attribute__((aligned(4))) local {"),
    ("struct opaque;", "struct opaque; struct fresh { int a; }; extern struct fresh *fresh;"),
    ("int peek(struct opaque *o)", "int peek(const struct opaque *o)"),
])
def test_what_is_harmless_is_not_refused(check, old, new):
    assert not check((old, new), exported=["peek", "paint", "log_it"])[1].refused


@pytest.mark.parametrize("constants, now, harmless", [
    ("RED, GREEN, BLUE", "RED, GREEN, BLUE, PINK", True),
    ("RED, GREEN, BLUE", "RED, GREEN, BLUE, LAST = BLUE", True),
    ("RED, GREEN, BLUE, LAST = BLUE", "RED, GREEN, BLUE, PINK, LAST = PINK", True),
    ("RED, GREEN, BLUE", "RED, GREEN, PINK, BLUE", False),
    ("RED, GREEN, END", "RED, GREEN, BLUE, END", False),
    ("RED, GREEN", "RED, LIME", False),
    ("RED, GREEN, BLUE", "RED, BLUE = 2", False),
    ("RED, NUM_COLORS", "RED, GREEN, NUM_COLORS", True),
    ("RED, COLOR_MAX", "RED, GREEN, COLOR_MAX", True),
    ("RED, _LAST", "RED, GREEN, _LAST", True),
    ("RED, COLOR_MAX", "RED, COLOR_MAX = 5", False),
    ("RED, COLOR_MAX", "GREEN, RED, COLOR_MAX", False),
])
def test_values_of_an_enumeration_go_on_meaning_what_they_meant(check, constants, now, harmless):
    """Guards values that processes have in variables: seen to fail with a constant that came before the last one."""
    source = f"enum color {{ {constants} }};\nstatic enum color kept;\n" + """\
int keep(int value) { kept = value; return value; }
int kept_color(void) { return kept; }
"""
    changes, refusals = check((constants, now), source=source)
    assert changes["color"].harmless == harmless
    assert [refusal.name for refusal in refusals.refused] == ([] if harmless else ["color"])


def test_a_count_that_grows_is_told(check):
    """Guards what a reviewer must know: processes may have allocated tables of the old size."""
    changes, _refusals = check(("GREEN, COLORS", "GREEN, BLUE, COLORS"))
    assert changes["color"].differences == [
        "COLORS: 2 -> 3 (a count: what a process has allocated by it keeps its size)", "BLUE: new -> 2"]
    table = "enum kind { ONE, KINDS };\nint table[KINDS];\nint at(int k) { return table[k]++; }\n"
    _changes, refusals = check(("ONE, KINDS", "ONE, TWO, KINDS"), source=table)
    assert "from int4[1] to int4[2]" in refusals.refused[0].what


def test_values_of_an_enumeration_without_a_name(check):
    """Guards variables of another type, such as `int state`, that have such values; seen to fail without a refusal."""
    source = "enum { IDLE, BUSY };\nint state;\nint work(int v) { if (v) state = BUSY; return state == IDLE; }\n"
    _changes, refusals = check(("IDLE, BUSY", "IDLE, WAITING, BUSY"), source=source, replaced=["work"])
    (refusal,) = refusals.refused
    assert refusal.name == "(of IDLE)" and "nothing tells which variables have its values" in refusal.what
    assert not check(("IDLE, BUSY", "IDLE, BUSY = 7"), source=source, replaced=["work"])[1].refused


def test_a_variable_that_must_be_aligned_more_strictly(check):
    """Guards code that takes an alignment for granted which the variable of a process need not have."""
    _changes, refusals = check(("} statistics;", "} statistics __attribute__((aligned(64)));"), replaced=["count"])
    assert "to be aligned to 64 bytes" in refusals.refused[0].what


@pytest.mark.parametrize("old, new, name", [
    ("log_it(const char *text, int level)", "log_it(const char *text, long level)", "log_it"),
    ("log_it(const char *text, int level)", "log_it(const char *text, int level, int more)", "log_it"),
    ("log_it(const char *text, int level)", "log_it(const char *text, int level, ...)", "log_it"),
    ("log_it(const char *text, int level)", "log_it(const char *text, double level)", "log_it"),
    ("int peek(", "long peek(", "peek"),
])
def test_an_exported_function_that_is_called_otherwise_is_refused(check, old, new, name):
    assert [(refusal.kind, refusal.name) for refusal in check((old, new), exported=[name])[1].refused] == [
        ("signature", name)]
    assert not check((old, new), exported=["span"])[1].refused


def test_a_unit_that_was_not_compiled_again_uses_it(check):
    other = "struct local { int from; int to; };\nint other(struct local *l) { return l->to; }\n"
    _changes, refusals = check(("int from; int to;", "int to; int from;"), replaced=["span", "width"], other=other)
    assert "also used by other (other.c)" in refusals.refused[0].what
    # Another type of the same name, and one that is not seen.
    for other in ("struct local { char from[3]; };\nint other(struct local *l) { return l->from[0]; }\n",
                  "struct local;\nint other(struct local *l) { return l != 0; }\n"):
        _changes, refusals = check(("int from; int to;", "int to; int from;"), replaced=["span", "width"], other=other)
        assert not refusals.refused


@pytest.mark.parametrize("old, new, name, difference", [
    ("long size;", "int more; long size;", "base", "size: offset 8, size 8 -> offset 16, size 8"),
    ("virtual int one(int);", "virtual int zero(int); virtual int one(int);", "base",
     "virtual function _ZN4base3oneEi: slot 0 of the vtable -> slot 1 of the vtable"),
    ("virtual int one(int); virtual int two(int);", "virtual int one(int); int two(int);", "base",
     "virtual function _ZN4base3twoEi: slot 1 of the vtable -> gone"),
    ("T value; int count;", "int count; T value;", "inner::holder<int>",
     "value: offset 0, size 4 -> offset 4, size 4"),
    ("struct derived : base {", "struct more { long m; };\nstruct derived : more, base {", "derived",
     "base base: offset 0, size 16 -> offset 0, size 16"),
])
def test_classes(check, old, new, name, difference):
    changes, refusals = check((old, new), source=CXX, suffix=".cc")
    if name == "derived":
        assert any(line.startswith("base more: new") for line in changes[name].differences)
    else:
        assert difference in changes[name].differences
    assert name in [refusal.name for refusal in refusals.refused]


@pytest.mark.parametrize("options", ["-gdwarf-2 -gstrict-dwarf", "-gdwarf-3", "-gdwarf-4"])
def test_older_debug_information(check, options):
    """Bit-fields are counted from the other end there, and offsets are expressions."""
    changes, _refusals = check(("first : 3, second : 5", "second : 5, first : 3"), ("int key;", "int more, key;"),
                               options=options)
    assert "second: bit 3, size 5 bits -> bit 0, size 5 bits" in changes["flags"].differences
    assert "key: offset 0, size 4 -> offset 4, size 4" in changes["item"].differences


def test_debug_information_changes_no_code(tmp_path):
    """So what is compared is what the build makes."""
    (tmp_path / "unit.c").write_text(SOURCE)
    for compiler in ("gcc", "clang"):
        for name, option in (("with", "-g"), ("without", "-g0")):
            subprocess.run([compiler, "-O2", "-fPIC", option, "-c", "unit.c", "-o", name], cwd=tmp_path, check=True)
            subprocess.run(["objcopy", "-O", "binary", "-j", ".text", name, f"{name}.text"], cwd=tmp_path, check=True)
        assert (tmp_path / "with.text").read_bytes() == (tmp_path / "without.text").read_bytes()

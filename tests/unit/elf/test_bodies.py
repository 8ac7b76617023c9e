# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What code belongs to functions of a program: moved parts, jumps, and what is left out."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.bodies import bodies
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.patchable import patchable_functions
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import NotPatchable
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.resolution.stock import code_of

SOURCE = """
#define OPAQUE __attribute__((noipa))
__attribute__((cold)) OPAQUE void seldom(void) { __asm__ volatile(""); }
OPAQUE int far(int x) { return x + 7; }
OPAQUE int next(int x) { return far(x) + 3; }
OPAQUE int alone(int x) { return x + 1; }
OPAQUE int split(int x) { if (x) { seldom(); return far(x); } return next(x); }
OPAQUE int goes_on(int x) { alone(x); return next(x); }
__asm__(".globl bare\\n.type bare, @function\\nbare: ret\\n.size bare, . - bare\\n");
int bare(int x);
OPAQUE int to_bare(int x) { alone(x); return bare(x); }
OPAQUE int choose(int x)
{
    switch (x) {
    case 0: return alone(1);
    case 1: return far(2) + 1;
    case 2: return alone(3) + 2;
    case 3: seldom(); return far(4) + 3;
    case 4: return alone(5) + 4;
    case 5: return far(6) + 5;
    case 6: return far(6) * 5;
    case 7: return far(7) * 6;
    case 8: seldom(); return far(7) - 6;
    case 9: return far(8) * 6;
    default: __builtin_unreachable();
    }
}
__asm__(".globl calls_on\\n.type calls_on, @function\\ncalls_on: call middle\\nret\\n.size calls_on, . - calls_on\\n");
__asm__(".globl middle\\n.type middle, @function\\nmiddle: call alone\\nret\\n.size middle, . - middle\\n");
int calls_on(int x);
OPAQUE int to_calls_on(int x) { alone(x); return calls_on(x); }
__asm__("endless: ret\\n");
int endless(int x);
OPAQUE int to_endless(int x) { alone(x); return endless(x); }
__asm__(".globl by_slot\\n.type by_slot, @function\\nby_slot: jmp *next@GOTPCREL(%rip)\\n"
        ".size by_slot, . - by_slot\\n");
int main(int count, char **words)
{
    return split(count) + goes_on(count) + to_bare(count) + choose(count) + to_calls_on(count) + to_endless(count);
}
"""


@pytest.fixture(scope="module", params=["-pie", "-no-pie"])
def built(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bodies")
    source = folder / "program.c"
    source.write_text(SOURCE, encoding="utf-8")
    program = folder / "program"
    subprocess.run(
        ["gcc", "-O2", request.param, "-fpie" if request.param == "-pie" else "-fno-pie", "-Wl,--build-id,--no-relax",
         "-fpatchable-function-entry=16,14", "-o", str(program), str(source)], check=True)
    return program


@pytest.fixture(name="program")
def fixture_program(built):
    return Program(ElfImage.open(built))


class Program:
    def __init__(self, image, names=None):
        self.image = image
        self.functions = patchable_functions(image)
        # A stripped copy has its functions where they were.
        self.extents = names or {
            symbol.name: (symbol.value, symbol.value + symbol.size) for symbol in image.symbols()
            if symbol.size and (symbol.type == "STT_FUNC" or ".__part." in symbol.name)
        }

    def of(self, *names):
        return bodies(self.image, self.functions, frozenset(self.extents[name][0] for name in names))


def held(program, found):
    """The functions that are held as a whole: of each, the byte behind it is, too."""
    return {name for name, (start, end) in program.extents.items() if found.hold(start) and found.hold(end - 1)}


def test_function_alone(program):
    """With the byte behind it, to which a call as its last instruction would return: seen to fail without."""
    found = program.of("alone")
    start, end = program.extents["alone"]
    assert found.ranges == ((start, end + 1),)
    assert not found.jumped
    assert found.hold(start) and found.hold(end) and not found.hold(end + 1) and not found.hold(start - 1)


def test_function_in_which_it_goes_on_by_a_jump(program):
    found = program.of("goes_on")
    assert held(program, found) == {"goes_on", "next"}
    assert found.lead_to(program.extents["next"][0])
    assert not found.lead_to(program.extents["alone"][0])


def test_moved_part(program):
    """And what it jumps to: seen to fail without the look at the jumps, for far() is reached from there alone."""
    assert "split.cold" in program.extents
    found = program.of("split")
    assert held(program, found) == {"split", "split.cold", "next", "far"}


def test_moved_part_behind_an_indirect_jump(program):
    """A switch leads there by its table, no direct jump does: seen to fail without moved_parts()."""
    assert "choose.cold" in program.extents
    assert "choose.cold" in held(program, program.of("choose"))


def test_code_without_padding(program):
    """A thread that is there has come from the function that is replaced; seen to fail with it left out."""
    found = program.of("to_bare")
    assert held(program, found) == {"to_bare", "bare"}
    assert program.extents["bare"][0] in found.jumped


def test_code_without_padding_that_leads_back(program):
    """Threads could come back by it unseen, also by two calls; seen to fail without _ways_back()."""
    assert held(program, program.of("to_calls_on")) == {"to_calls_on", "calls_on"}
    with pytest.raises(NotPatchable, match=r"calls_on, to which a function that is replaced jumps, has no padding and"
                                           r" leads to alone, so that threads could come there unseen"):
        program.of("to_calls_on", "alone")


def test_code_of_which_nothing_tells_the_end(program):
    """Where a jump leads to it; seen to fail (it was left out in silence) without `required`."""
    with pytest.raises(NotPatchable, match="tells where the code that is jumped to at 0x"):
        program.of("to_endless")


def test_jump_through_a_word(program):
    """Which the loader fills in (-pie), or the linker; seen to fail without _Slots."""
    assert held(program, program.of("by_slot")) == {"by_slot", "next"}


def test_local_symbols_stripped(built, program, tmp_path):
    """The part behind a switch has no name then, others have; seen to fail when a symbol table is taken for whole."""
    stripped = tmp_path / "stripped"
    subprocess.run(["strip", "--discard-all", "-o", str(stripped), str(built)], check=True)
    image = ElfImage.open(stripped)
    names = {symbol.name for symbol in image.symbols()}
    assert "choose" in names and "choose.cold" not in names
    bare = Program(image, program.extents)
    assert "choose.cold" in held(bare, bare.of("choose"))


STATIC = """
#define OPAQUE __attribute__((noipa))
__attribute__((cold)) OPAQUE void seldom(int x) { __asm__ volatile("" :: "r"(x)); }
static OPAQUE int called(int x) { return x + 7; }
static OPAQUE int handed(int x) { return x + 8; }
OPAQUE int calls(int x) { return called(x) + 1; }
OPAQUE int hands(int (*with)(int), int x) { return with(x) + 1; }
OPAQUE int takes(int x) { return hands(handed, x) + 1; }
OPAQUE int choose(int x, int y)
{
    switch (x) {
    case 0: return calls(1) + y;
    case 1: return calls(2) + y + 1;
    case 2: return calls(3) + 2;
    case 3: seldom(y); return calls(4) + 3;
    case 4: return calls(5) + 4;
    case 5: return calls(6) + y + 5;
    case 6: return calls(7) * 6;
    case 7: seldom(y); return calls(y) - 7;
    default: __builtin_unreachable();
    }
}
#define KEPT(number) case number: __asm__ volatile("mov $" #number ", %0" : "+r"(x)); return x
OPAQUE int flat(int x)
{
    switch (x) { KEPT(0); KEPT(1); KEPT(2); KEPT(3); KEPT(4); KEPT(5); KEPT(6); KEPT(7); default: return 9; }
}
int main(int count, char **words) { return choose(count, 1) + takes(count) + flat(count); }
"""


@pytest.mark.parametrize("frame", [(), ("-fno-omit-frame-pointer",)])
def test_static_functions_of_a_stripped_file_are_no_parts(compile_file, frame):
    """They have no name either; each of them was held: seen to fail so, and no thread of a libc was ever outside."""
    built = compile_file(STATIC, "-O2", "-fpie", "-pie", *frame)
    extents = {symbol.name: (symbol.value, symbol.value + symbol.size) for symbol in ElfImage.open(built).symbols()
               if symbol.size and symbol.type == "STT_FUNC"}
    subprocess.run(["strip", "--strip-all", built], check=True)
    image = ElfImage.open(built)
    program = Program(image, extents)
    assert held(program, bodies(image, [], {extents["choose"][0]})) == {"choose", "choose.cold"}
    assert held(program, bodies(image, [], {extents["flat"][0]})) == {"flat", "flat.cold"}


def test_sections_of_basic_blocks(compile_file):
    """Parts that clang calls otherwise, behind a table of jumps; seen to fail (others', too) with `.cold` alone."""
    source = SOURCE.replace("noipa", "noinline").replace("int choose(", "__attribute__((used)) int choose(")
    path = compile_file(source, "-O2", "-fno-pie", "-no-pie", "-fbasic-block-sections=all",
                        "-fpatchable-function-entry=16,14", compiler="clang")
    program = Program(ElfImage.open(path))
    parts = {name for name in program.extents if name.startswith("choose.__part.")}
    assert len(parts) > 5
    assert {name for name in held(program, program.of("choose")) if ".__part." in name} == parts


def test_stripped(built, program, tmp_path):
    """Unwind information tells the same, as far as jumps go; a moved part has no name then."""
    stripped = tmp_path / "stripped"
    subprocess.run(["strip", "--strip-all", "-o", str(stripped), str(built)], check=True)
    bare = Program(ElfImage.open(stripped), program.extents)
    for name in ("alone", "goes_on", "split"):
        assert bare.of(name).ranges == program.of(name).ranges
    assert "choose.cold" in held(bare, bare.of("choose"))
    assert "_start" not in held(bare, bare.of("choose"))


def test_end_that_nothing_tells(built, tmp_path):
    """Without symbols and unwind information."""
    image = ElfImage.open(built)
    start = next(symbol.value for symbol in image.symbols() if symbol.name == "alone")
    stripped = tmp_path / "stripped"
    subprocess.run(["strip", "--strip-all", "--remove-section=.eh_frame_hdr", "-o", str(stripped), str(built)],
                   check=True)
    data = bytearray(stripped.read_bytes())
    gnu_eh_frame = (0x6474E550).to_bytes(4, "little")
    position = data.index(gnu_eh_frame)
    data[position:position + 4] = bytes(4)
    bare = ElfImage.parse(bytes(data), "stripped")
    with pytest.raises(NotPatchable, match=r"neither a symbol nor unwind information tells where the function at"):
        bodies(bare, patchable_functions(bare), frozenset([start]))


COMPUTED = """
#define OPAQUE __attribute__((noipa))
OPAQUE int first(int k) { return k + 1; }
OPAQUE int second(int k) { return k + 2; }
int (*const table[])(int) = {first, second};
OPAQUE int by_table(int k) { return table[k & 1](k); }
OPAQUE int by_name(int k) { return second(k + 3); }
OPAQUE int calls(int k) { return table[k & 1](k) + 1; }
int main(int count, char **words) { return by_table(count) + by_name(count) + calls(count); }
"""


@pytest.mark.parametrize("flags", [("-pie", "-fpie"), ("-no-pie", "-fno-pie"),
                                   ("-pie", "-fpie", "-mindirect-branch=thunk"),
                                   ("-no-pie", "-fno-pie", "-mindirect-branch=thunk-inline")])
def test_jump_through_a_table(compile_file, flags):
    """A computed jump may lead to each function that is replaced; seen to fail when only fixed targets counted."""
    image = ElfImage.open(compile_file(COMPUTED, "-O2", *flags, "-Wl,--build-id", "-fpatchable-function-entry=16,14"))
    functions = patchable_functions(image)
    addresses = {name: function.address for function in functions for name in function.names}
    led = {name: {other for other in ("first", "second") if bodies(
        image, functions, {addresses[name]}).lead_to(addresses[other])} for name in ("by_table", "by_name", "calls")}
    inline = "-mindirect-branch=thunk-inline" in flags
    assert led == {"by_table": {"first", "second"}, "by_name": {"second"},
                   "calls": {"first", "second"} if inline else set()}


LIBRARY = """
#define OPAQUE __attribute__((noipa))
OPAQUE int last(int x) { return x + 1; }
OPAQUE int first(int x) { __asm__ volatile("" : : : "memory"); return last(x); }
OPAQUE int visits(int x) { return last(x) + 1; }
OPAQUE int far(int x) { return visits(x); }
"""


@pytest.mark.parametrize("options", [["-Wl,-z,lazy"], ["-Wl,-z,now"], ["-Wl,-z,now", "-fcf-protection=full"]])
def test_stubs_of_a_library_lead_back_into_it(tmp_path, options):
    """Seen to fail with what a library jumps to by its own stubs taken for code of others."""
    path = tmp_path / "library.so"
    (tmp_path / "library.c").write_text(LIBRARY, encoding="utf-8")
    subprocess.run(
        ["gcc", "-O2", "-fPIC", "-shared", *options, "-o", path, tmp_path / "library.c"], check=True)
    image = ElfImage.open(path)
    addresses = {symbol.name: symbol.value for symbol in image.dynamic_symbols() if symbol.defined}
    found = code_of(image, frozenset([addresses["first"]]), {addresses["first"]: "first"}).bodies
    assert found.hold(addresses["last"]) and found.lead_to(addresses["last"])
    assert not found.hold(addresses["visits"])
    # Who is in there unseen would come back to what is replaced.
    roots = frozenset([addresses["far"], addresses["last"]])
    with pytest.raises(NotPatchable, match="visits, .* leads to last"):
        code_of(image, roots, {addresses["far"]: "far", addresses["last"]: "last"})


TIGHT = """
__asm__(".globl short_one, behind, front\\n"
        ".type short_one, @function\\nshort_one: .cfi_startproc\\nlea 1(%rdi,%rdi), %eax\\ncall other@plt\\n"
        "add $3, %eax\\nnop\\nret\\n.cfi_endproc\\n.size short_one, . - short_one\\n"
        ".type behind, @function\\nbehind: .cfi_startproc\\nmov %edi, %eax\\nret\\n.cfi_endproc\\n"
        ".size behind, . - behind\\n"
        ".type front, @function\\nfront: .cfi_startproc\\ninc %edi\\njmp short_one\\n.cfi_endproc\\n"
        ".size front, . - front\\n");
"""


def test_a_function_is_not_the_padding_of_the_next(compile_library):
    """One of 14 bytes right before another, as -Os leaves them.  Seen to fail: it was left out."""
    image = ElfImage.open(compile_library(TIGHT, "-Wl,-Bsymbolic", padding=()))
    addresses = {symbol.name: symbol.value for symbol in image.dynamic_symbols() if symbol.defined}
    assert addresses["behind"] - addresses["short_one"] == 14
    names = {addresses[name]: name for name in ("front", "behind")}
    found = code_of(image, frozenset(names), names).bodies
    assert all(found.hold(addresses[name] + 1) for name in ("front", "behind"))
    assert found.hold(addresses["short_one"] + 1)

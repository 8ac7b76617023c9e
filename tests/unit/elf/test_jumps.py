# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which functions and imports the code of a library jumps to."""

from __future__ import annotations

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.jumps import jumped_imports
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.patchable import patchable_functions


def by_name(path):
    return {name: function for function in patchable_functions(ElfImage.open(path)) for name in function.names}


NEIGHBOURS = r"""
__asm__(".text; .balign 16;"
    "1: .zero 14, 0x90; .globl target; .type target, @function; target: 2: nop; nop; ret; .size target, . - target;"
    ".type other, @function; other: CODE; ret; .size other, . - other;"
    ".section __patchable_function_entries, \"awo\", @progbits, .text; .balign 8; .quad 1b; .text");
"""


@pytest.mark.parametrize(("code", "expected"), [
    ("jmp 2b", True),
    ("je 2b", True),
    ("nop; jmp 2b", True),
    ("jmp target", True),
    # The operand looks like a jump: eb, and the distance from behind it back to target.
    ("mov $0xfaeb, %eax", False),
    ("nop; mov $0xf974, %eax", False),
    # Nothing is ruled out where the code does not decode.
    (".byte 0x06; mov $0xf9eb, %eax", True),
    # A distance that leads elsewhere.
    ("mov $0xf0eb, %eax", False),
    (".byte 0x06; mov $0xf0eb, %eax", False),
])
def test_short_jumps_are_told_from_operands(compile_library, code, expected):
    path = compile_library(NEIGHBOURS.replace("CODE", code))
    assert by_name(path)["target"].tail_target == expected


CYCLE = r"""
int count;
int pong(int x);
int __attribute__((noinline)) ping(int x) { count++; return x > 0 ? pong(x - 1) : 7; }
int __attribute__((noinline)) pong(int x) { count += 2; return x > 0 ? ping(x - 1) : 8; }
int __attribute__((noinline)) last(int x) { return x + count; }
int first(int x) { count = x; return last(x * 2); }
"""


@pytest.mark.parametrize("flags", [(), ("-Wl,-Bsymbolic",)])
def test_functions_that_jumps_may_lead_back_to(compile_library, flags):
    path = compile_library(CYCLE, *flags)
    functions = by_name(path)
    assert {name for name, function in functions.items() if function.tail_cycle} == {"ping", "pong"}
    assert functions["last"].tail_target


IMPORTS = r"""
int jumped_to(int);
int called_only(int);
int jumps(int x) { return jumped_to(x + 1); }
int calls(int x) { return called_only(x + 1) * 3; }
"""


@pytest.mark.parametrize("flags", [(), ("-fno-plt",), ("-fcf-protection=full",), ("-Wl,-z,now",)])
def test_imports_that_are_jumped_to(compile_library, flags):
    assert jumped_imports(ElfImage.open(compile_library(IMPORTS, *flags))) == {"jumped_to"}


TABLE = r"""
int state;
static __attribute__((noinline)) int slow(int k) { state++; return k + 1; }
static __attribute__((noinline)) int fast(int k) { state += 2; return k + 2; }
static int (*const table[])(int) = {slow, fast};
int other(int k) { state = k; return state * k; }
int choose(int k) { state = k; return JUMP table[k & 1](k) AFTER; }
"""


@pytest.mark.parametrize("flags", [(), ("-fcf-protection=full",), ("-Wl,-s",)])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_jump_through_a_table(compile_library, flags, compiler):
    """Guards tail calls by pointer; without, a thread that goes on so in a new function is taken for one that enters.

    Seen to fail when only jumps to constant targets counted.
    """
    source = TABLE.replace("JUMP", "").replace("AFTER", "")
    functions = patchable_functions(ElfImage.open(compile_library(source, *flags, compiler=compiler)))
    names = [function.label for function in functions if function.tail_target]
    assert len(names) == 2 and ("-Wl,-s" in flags or set(names) == {"fast", "slow"})
    calls = TABLE.replace("JUMP", "1 +").replace("AFTER", "")
    functions = by_name(compile_library(calls, *flags, compiler=compiler, name="calls.so"))
    assert not any(function.tail_target for function in functions.values())


SWITCH = r"""
int state;
static __attribute__((noinline)) int named(int k) { state++; return k + 1; }
int (*pointer)(int) = named;
int choose(int k)
{
    switch (k) {
    case 0: state = 3; break;
    case 1: state += 4; break;
    case 2: state *= k; break;
    case 3: state ^= 77; break;
    case 4: state -= 8; break;
    case 5: state |= 64; break;
    case 6: state = pointer(state) + 1; break;
    case 7: state = ~state; break;
    }
    return state;
}
"""


@pytest.mark.parametrize("flags", [("-O0",), ("-O2",), ("-O2", "-fcf-protection=full"), ("-O3",), ("-Os",)])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_jump_of_a_switch_stays_in_its_function(compile_library, flags, compiler):
    path = compile_library(SWITCH, *flags, compiler=compiler)
    assert not any(function.tail_target for function in by_name(path).values())


CHOSEN = r"""
int state;
__attribute__((noinline)) static int slow(int k) { state++; return k + 1; }
static int (*resolve(void))(int) { return slow; }
VISIBLE int chosen(int) __attribute__((ifunc("resolve")));
int jumps(int k) { state = k; return chosen(k * 2); }
"""


@pytest.mark.parametrize("visible", ["", "static", '__attribute__((visibility("hidden")))'])
@pytest.mark.parametrize("flags", [(), ("-fno-plt",), ("-fuse-ld=lld",), ("-fuse-ld=mold",)])
def test_jump_to_what_an_ifunc_resolver_has_chosen(compile_library, visible, flags):
    """Seen to fail when a word that a resolver fills counted for nothing."""
    functions = by_name(compile_library(CHOSEN.replace("VISIBLE", visible), *flags))
    assert functions["slow"].tail_target
    assert not functions["jumps"].tail_target


COLD = r"""
int count;
int pong(int x);
int __attribute__((noinline)) ping(int x)
{
    count++;
    if (__builtin_expect(x > 100, 0)) { count *= 3; __builtin_prefetch(&count); return pong(x - 1); }
    return 7;
}
int __attribute__((noinline)) pong(int x) { count += 2; return x > 0 ? ping(x - 1) : 8; }
__attribute__((cold, noipa)) void never(void) { count = 0; }
int __attribute__((noinline)) rare(int x)
{
    count++;
    if (x > 100) { never(); return common(x - 1); }
    return 7;
}
int __attribute__((noinline)) common(int x) { count += 2; return x > 0 ? rare(x - 1) : 8; }
"""


@pytest.mark.parametrize("flags", [(), ("-Wl,-s",)])
def test_cycle_through_a_part_that_was_moved_away(compile_library, flags):
    """Guards functions whose tail call stands in ``.cold``; seen to fail when only functions with padding counted."""
    source = "int common(int x);" + COLD
    assert "rare.cold" in {symbol.name for symbol in ElfImage.open(compile_library(source)).symbols()}
    cyclic = {name for name, function in by_name(compile_library(source, *flags)).items() if function.tail_cycle}
    assert cyclic == {"ping", "pong", "rare", "common"}


HANDLERS = r"""
int state;
int first(int k);
int second(int k);
int (*volatile next)(int) = first;
int (*other)(int) = second;
int first(int k) { state = k; return next(k + 1); }
int second(int k) { state = k + 1; return other(k + 2); }
int outside(int k) { state = k; return next(k); }
"""


def test_cycle_through_pointers(compile_library):
    """Two states of a machine that go on in each other by pointers; who only begins it is in no cycle."""
    functions = by_name(compile_library(HANDLERS))
    assert {name for name, function in functions.items() if function.tail_cycle} == {"first", "second"}
    assert {name for name, function in functions.items() if function.tail_target} == {"first", "second"}


STUB = r"""
int state;
int other(int k) { state = k; return state * k; }
__asm__(".text; .balign 16;"
    "1: .zero 14, 0x90; .globl target; .type target, @function; target: nop; nop; ret; .size target, . - target;"
    ".section __patchable_function_entries, \"awo\", @progbits, .text; .balign 8; .quad 1b;"
    ".section SECTION, \"ax\", @progbits; CODE; .text");
"""


@pytest.mark.parametrize("section", [".text", ".plt.other", ".linkage"])
@pytest.mark.parametrize(("code", "expected"), [
    ("push target@GOTPCREL(%rip); ret", True),
    ("movq target@GOTPCREL(%rip), %xmm0; movq %xmm0, %rax; jmp *%rax", True),
    ("lea target@GOTPCREL(%rip), %rcx; jmp *(%rcx)", True),
    ("mov target@GOTPCREL(%rip), %r10; xchg %r10, (%rsp); push %r10; ret", True),
    ("call *target@GOTPCREL(%rip); ret", False),
    ("cmp target@GOTPCREL(%rip), %rax; jmp *%rcx", False),
])
def test_code_that_no_compiler_makes(compile_library, section, code, expected):
    """Whatever uses the word of a function may jump to it, but for a call and a comparison."""
    path = compile_library(STUB.replace("SECTION", section).replace("CODE", code), "-Wa,-mrelax-relocations=no")
    if section == ".plt.other":
        # Of a stub that is not known nothing is believed.
        expected = True
    assert by_name(path)["target"].tail_target == expected

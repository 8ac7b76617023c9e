# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which functions of a library can be patched, and what is known about each."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.arch.padding import is_nops
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.patchable import (
    is_post_processed,
    patchable_functions,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.post import post_process

SOURCE = r"""
typedef int (*function)(int);
static int returned(int x) { return x - 2; }
static int __attribute__((noinline)) called(int x) { return x * x + 7; }
static int __attribute__((noinline)) jumped(int x) { return x * x + 8; }
static int tabled(int x) { return x - 1; }
int caller(int x) { return called(x) + 1; }
int jumper(int x) { return jumped(x + 3); }
__attribute__((noinline)) int plt_target(int x) { return x + 11; }
int plt_jumper(int x) { return plt_target(x + 1); }
int plt_called(int x) { return x + 12; }
int plt_caller(int x) { return plt_called(x + 1) * 2; }
function table[] = { tabled };
function get(void) { return returned; }
int far_jumped(int x) { return x - 9; }
"""


def by_name(path):
    return {name: function for function in patchable_functions(ElfImage.open(path)) for name in function.names}


@pytest.fixture(params=["gcc", "gcc -fcf-protection", "gcc -fno-plt", "clang"], name="flavour")
def fixture_flavour(request):
    compiler, *flags = request.param.split()
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    return compiler, flags


@pytest.mark.parametrize("processed", [False, True])
def test_functions_are_classified(compile_library, flavour, processed):
    compiler, flags = flavour
    path = compile_library(SOURCE, *flags, compiler=compiler)
    if processed:
        post_process(path)
    image = ElfImage.open(path)
    assert is_post_processed(image) == processed
    functions = by_name(path)
    exported = {"caller", "jumper", "plt_target", "plt_jumper", "plt_called", "plt_caller", "get", "far_jumped"}
    assert set(functions) == exported | {"returned", "called", "jumped", "tabled"}
    assert {name for name, function in functions.items() if function.exported} == exported
    assert {name for name, function in functions.items() if function.trampoline} == (exported if processed else set())
    assert {name for name, function in functions.items() if function.address_taken} == {"returned", "tabled"}
    assert {name for name, function in functions.items() if function.tail_target} == {"jumped", "plt_target"}
    assert [function.refusal for function in functions.values()] == [None] * len(functions)
    if "-fcf-protection" in flags:
        assert functions["caller"].endbr and functions["caller"].entry == functions["caller"].address + 4
        assert not functions["called"].endbr
    addresses = {symbol.name: symbol for symbol in image.symbols()}
    for name, function in functions.items():
        assert function.address == addresses[name].value
        assert function.size == addresses[name].size
    listed = [function.address for function in patchable_functions(image)]
    assert listed == sorted(listed)


def test_a_stripped_library_keeps_its_static_functions_without_names(compile_library):
    path = compile_library(SOURCE)
    named = by_name(path)
    subprocess.run(["strip", str(path)], check=True)
    functions = patchable_functions(ElfImage.open(path))
    assert [function.address for function in functions] == sorted(function.address for function in named.values())
    assert {function.address: function.names for function in functions}[named["called"].address] == ()
    assert all(function.refusal is None for function in functions)


@pytest.mark.parametrize(("source", "reason"), [
    ("__attribute__((patchable_function_entry(5, 0))) int odd(int x) { return x; }",
     "its padding is 0 bytes long instead of 14"),
    ("__attribute__((patchable_function_entry(20, 18))) int odd(int x) { return x; }",
     "its padding is 18 bytes long instead of 14"),
    ("__attribute__((patchable_function_entry(14, 14))) int odd(int x) { return x; }",
     "there is something else than two nops at its entry"),
    ("__attribute__((aligned(16), patchable_function_entry(15, 14))) int odd(int x) { return x; }",
     "there is something else than two nops at its entry"),
])
def test_other_padding_is_refused_by_name(compile_library, source, reason):
    functions = by_name(compile_library(source + "\nint even(int x) { return x + 1; }"))
    assert functions["odd"].refusal.startswith(reason)
    # It can be entered nevertheless, which is for others to judge.
    assert functions["odd"].exported
    assert functions["even"].refusal is None


# Two functions, hand-made so that the padding of the second does not begin at a multiple of 16.
ASSEMBLY = r"""
__asm__(
    ".text\n .balign 16\n"
    ".zero %(shift)d, 0x90\n"
    "1: %(padding)s\n"
    ".globl odd\n .type odd, @function\n"
    "odd: %(entry)s\n mov %%edi, %%eax\n ret\n"
    ".size odd, %(size)s\n"
    ".section __patchable_function_entries, \"awo\", @progbits, .text\n .balign 8\n .quad 1b\n .text\n");
int even(int x) { return x + 1; }
"""


@pytest.mark.parametrize(("shift", "padding", "entry", "size", "reason"), [
    (0, ".zero 14, 0x90", "nop; nop", ". - odd", None),
    (0, ".nops 14", ".nops 2", ". - odd", None),
    (1, ".zero 14, 0x90", "nop; nop", ". - odd", "is not aligned"),
    (9, ".zero 14, 0x90", "nop; nop", ". - odd", "is not aligned"),
    (2, ".zero 14, 0x90", "nop; nop", ". - odd", None),
    (0, ".zero 13, 0x90; ret", "nop; nop", ". - odd", "something else than nops in its padding"),
    (0, ".zero 14, 0x90", "nop; ret", ". - odd", "something else than two nops at its entry"),
    (0, ".zero 14, 0x90", "nop; nop", "1", "it is only 1 bytes long"),
])
def test_every_byte_around_the_entry_counts(compile_library, shift, padding, entry, size, reason):
    source = ASSEMBLY % {"shift": shift, "padding": padding, "entry": entry, "size": size}
    functions = by_name(compile_library(source))
    if reason is None:
        assert functions["odd"].refusal is None
    else:
        assert reason in functions["odd"].refusal
    assert functions["even"].refusal is None


def test_a_short_function_may_stand_at_the_very_end_of_the_code(compile_library):
    path = compile_library("void last(void) { }", "-nostdlib", "-nostartfiles")
    image = ElfImage.open(path)
    (function,) = patchable_functions(image)
    assert function.refusal is None
    assert image.end_of_segment(function.address) - function.address == 3  # two nops and a ret
    post_process(path)
    assert by_name(path)["last"].trampoline


def test_nops_of_every_length_are_recognised(compile_file, tmp_path):
    for length in range(1, 16):
        path = compile_file(f'__asm__(".globl f; f: .nops {length}");', "-c", name=f"nops{length}.o")
        binary = tmp_path / f"nops{length}.bin"
        subprocess.run(["objcopy", "-O", "binary", "-j", ".text", str(path), str(binary)], check=True)
        code = binary.read_bytes()
        assert len(code) == length
        assert is_nops(code), code.hex()
    for code in (b"\x0f\x1f", b"\x66", b"\x90\xc3", b"\x0f\x1f\xc8\x00", b"\xeb\x0c"):
        assert not is_nops(code)


FUNCTION = r"""
1: .zero 14, 0x90
.globl function{0}
.type function{0}, @function
function{0}: nop; nop
 lea table(%rip), %rax
 .rept 8
 cmp (%rax), %edi
 jle 2f
 lea 8(%rax), %rax
 2: call local
 .endr
 mov $0xe9ebe9eb, %eax
 jmp local
.size function{0}, . - function{0}
.balign 16, 0xcc
.pushsection __patchable_function_entries, "awo", @progbits, .text
.quad 1b
.popsection
"""


def lines_executed(call):
    """What ``call()`` returns, and how many lines of Python that took."""
    count = 0

    def trace(_frame, event, _argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        result = call()
    finally:
        sys.settrace(before)
    return result, count


def test_many_functions_take_work_in_proportion(compile_library):
    """Guards libraries of ten thousand functions, whose time `make bench` measures.

    Seen to fail (52 times the work for ten times the functions) with a look through all functions for each of them.
    """
    work = {}
    for number in (300, 3000):
        source = ".bss\ntable: .zero 8\n.text\nlocal: ret\n.balign 16\n" + "".join(map(FUNCTION.format, range(number)))
        image = ElfImage.open(compile_library(source, name=f"libmany{number}.so", suffix=".s"))
        functions, work[number] = lines_executed(lambda image=image: patchable_functions(image))
        assert len(functions) == number
        assert {function.refusal for function in functions} == {None}
    assert work[3000] < 12 * work[300], work


LARGE = r"""
int state;
static __attribute__((noipa)) int callback(int k) { return k + state; }
int (*given(int k))(int) { return k ? callback : (int (*)(int))0; }
"""


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_address_taken_in_the_large_model(compile_library, compiler):
    """A static function that is handed out is an entry, by whatever distance the code finds it."""
    path = compile_library(LARGE, "-mcmodel=large", compiler=compiler)
    functions = {name: function for function in patchable_functions(ElfImage.open(path)) for name in function.names}
    assert functions["callback"].address_taken

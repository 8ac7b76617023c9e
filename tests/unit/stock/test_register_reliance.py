# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callers that keep values in registers across a call, since they have seen what it changes (gcc's -fipa-ra)."""

from __future__ import annotations

import re

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.arch.register_use import ALL
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import NotPatchable
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import describe
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.pack import pack
from ansible_collections.libpulp.livepatch.plugins.module_utils.stock.code import Code
from ansible_collections.libpulp.livepatch.plugins.module_utils.stock.reliance import RegisterUse

TARGET = r"""
extern int puts(const char *);
static int __attribute__((noinline)) leaf(int x) { return x * 7 + 1; }
long user(long a, long b, long c) { if (a == 5) return c; long k = b * 3; return leaf((int)a) + k + c; }
static int __attribute__((noinline)) middle(int x) { return leaf(x + 1) * 5; }
static int __attribute__((noinline)) busy(int x) { return puts("busy") + x; }
long other(long a, long b) { return busy((int)a) + b; }
"""
PATCH = r"""
extern int puts(const char *);
int new_calls(int x) { puts("new"); return x; }
int new_small(int x) { return x * 9 + 2; }
int new_loop(int x) { int s = 0; for (int i = 0; i < x; i++) s += (i * x) ^ s; return s; }
__attribute__((no_caller_saved_registers)) int new_saves(int x)
{ int s = 0; for (int i = 0; i < x; i++) s += (i * x) ^ s; return s; }
int new_through(int x) { return new_loop(x) + 1; }
long new_user(long a, long b, long c) { return a + b + c; }
"""


@pytest.fixture(name="patch")
def fixture_patch(compile_library):
    return compile_library(PATCH, "-mgeneral-regs-only", "-fno-inline", name="patch.so", padding=())


@pytest.mark.parametrize(("functions", "refused"), [
    ({"leaf": "new_calls"}, True),
    ({"leaf": "new_loop"}, True),
    ({"leaf": "new_through"}, True),
    ({"leaf": "new_small"}, False),
    ({"leaf": "new_saves"}, False),
    # Who calls the new one is the new caller.
    ({"leaf": "new_calls", "user": "new_user"}, False),
    ({"busy": "new_calls"}, False),
])
def test_what_a_replacement_may_change(compile_library, patch, functions, refused):
    """Seen to fail, with the values that callers had kept changed."""
    target = compile_library(TARGET, name="target.so", padding=())
    description = describe(str(patch), str(target), functions)
    if not refused:
        assert pack(description).changed
        return
    with pytest.raises(NotPatchable) as caught:
        pack(description)
    assert caught.value.functions == ["leaf"]
    assert re.search("leaf of .* cannot be replaced by new_[a-z]+: user keeps a value in r(si|dx) across the call",
                     str(caught.value))


def test_a_library_compiled_without_it(compile_library, patch):
    target = compile_library(TARGET, "-fno-ipa-ra", "-fno-ipa-stack-alignment", name="target.so", padding=())
    assert pack(describe(str(patch), str(target), {"leaf": "new_calls"})).changed


@pytest.mark.parametrize("dialect", ["gnu2", "gnu"])
def test_a_call_by_a_thread_local_descriptor_changes_no_register(compile_library, dialect):
    """A caller may keep a value across it, other than across a call of __tls_get_addr().

    Seen to fail: such calls were taken for any other, and the caller got its value changed."""
    target = compile_library(
        "static __thread long t; static long __attribute__((noinline)) leaf(long x) { t += x; return t; }\n"
        "long user(long a, long b, long c) { if (a == 5) return c; long k = b * 3; return leaf(a) + k + c; }",
        f"-mtls-dialect={dialect}", name="target.so", padding=())
    image = ElfImage.open(target)
    symbols = {symbol.name: symbol.value for symbol in image.symbols()}
    found = RegisterUse(Code(image, image.symbols())).reliance(symbols["leaf"], ALL)
    assert (found.caller if found else None) == (symbols["user"] if dialect == "gnu2" else None)


@pytest.mark.parametrize(("body", "register"), [
    # A value in a register that is read behind the call, on one of two ways, or handed on.
    ("mov %rdx, %rax\n call leaf\n mov %rdx, %rax\n ret", "rdx"),
    ("mov $1, %ecx\n call leaf\n test %eax, %eax\n jz 1f\n ret\n 1: mov %ecx, %eax\n ret", "rcx"),
    ("mov $1, %esi\n call leaf\n mov %eax, %edi\n jmp takes_two", "rsi"),
    ("mov $1, %edi\n call leaf\n mov $2, %esi\n jmp far@PLT", "rdi"),
    ("call leaf\n jmp far@PLT", "rdi"),
    ("movq %rdi, %xmm5\n call leaf\n movq %xmm5, %rax\n ret", "xmm5"),
    ("vmovq %rdi, %xmm17\n call leaf\n vmovq %xmm17, %rax\n ret", "xmm17"),
    ("kmovw %edi, %k1\n call leaf\n kmovw %k1, %eax\n ret", "k1"),
    ("mov $5, %edx\n call leaf\n ret", "rdx"),
    # The caller's caller: what it calls leaves the register alone as well.
    ("call calls_leaf\n mov %r9, %rax\n ret", "r9"),
    ("call jumps_to_leaf\n mov %r9, %rax\n ret", "r9"),
    # Set anew, cleared, or destroyed by somebody else.
    ("call leaf\n mov $1, %edx\n mov %edx, %eax\n ret", None),
    ("call leaf\n xor %edx, %edx\n mov %edx, %eax\n ret", None),
    ("call leaf\n kxorw %k1, %k1, %k1\n kmovw %k1, %eax\n ret", None),
    ("push %rbx\n .cfi_adjust_cfa_offset 8\n call leaf\n mov $0, %edi\n call far@PLT\n pop %rbx\n"
     " .cfi_adjust_cfa_offset -8\n ret", None),
    ("call leaf\n call __stack_chk_fail@PLT", None),
    ("call leaf\n add $1, %eax\n ret", None),
])
def test_assembled_callers(compile_library, tmp_path, body, register):
    source = tmp_path / "callers.s"
    functions = {"leaf": "lea 1(%rdi), %eax\n ret", "takes_two": "lea (%rdi, %rsi), %eax\n ret", "caller": body}
    functions["calls_leaf"] = "call leaf\n ret"
    functions["jumps_to_leaf"] = "jmp leaf"
    source.write_text("".join(
        f".globl {name}\n.hidden {name}\n.type {name}, @function\n.p2align 4\n{name}:\n.cfi_startproc\n {code}\n"
        f".cfi_endproc\n.size {name}, . - {name}\n" for name, code in functions.items()
    ) + '.section .note.GNU-stack, "", @progbits\n', encoding="utf-8")
    image = ElfImage.open(compile_library("", str(source), name="callers.so", padding=()))
    symbols = {symbol.name: symbol.value for symbol in image.symbols()}
    found = RegisterUse(Code(image, image.symbols())).reliance(symbols["leaf"], ALL)
    assert (found.register if found else None) == register
    if found:
        assert found.caller == symbols["caller"]


def test_a_library_of_the_distribution():
    """objdump shows of libexpat: the function at 0x13f60 is called by one that has a value in r10."""
    image = ElfImage.open("/usr/lib/x86_64-linux-gnu/libexpat.so.1")
    code = Code(image, image.dynamic_symbols())
    use = RegisterUse(code)
    called = [extent.start for extent in code.extents if extent.start in code.calls]
    relied = [found for found in (use.reliance(address, ALL) for address in called) if found is not None]
    assert 5 <= len(relied) <= len(called) / 3
    assert {"r10", "r11"} <= {found.register for found in relied}

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callers that do not align the stack, since they have seen that a function needs no alignment.

Seen to fail with processes that died of SIGSEGV in printf(), where a replacement called it.
"""

from __future__ import annotations

import re

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.arch.x86_64 import disassembler
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import MissingDependency, NotPatchable
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import describe
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.pack import pack
from ansible_collections.libpulp.livepatch.plugins.module_utils.stock.alignment import StackAlignment
from ansible_collections.libpulp.livepatch.plugins.module_utils.stock.code import Code

TARGET = r"""
static int __attribute__((noinline)) leaf(int x) { return x * 7 + 1; }
int user(int a) { if (a == 5) return 1; return leaf(a) ^ 2; }
"""
PATCH = r"""
extern int snprintf(char *, unsigned long, const char *, ...);
int new_prints(int x) { char text[64]; return snprintf(text, sizeof text, "%f", (double)x); }
__attribute__((force_align_arg_pointer)) int new_aligns(int x) { return new_prints(x) + 1; }
int new_through(int x) { return new_prints(x) + 1; }
int new_small(int x) { return x * 9 + 2; }
static __attribute__((noinline)) int helped(int x) { return x ^ 5; }
int new_helped(int x) { return helped(x) * 3; }
int new_vectors(int x) { volatile __attribute__((vector_size(16))) int v = {x, x, x, x}; return v[x & 3]; }
int new_user(int a) { return a; }
"""


@pytest.fixture(name="patch")
def fixture_patch(compile_library):
    return compile_library(PATCH, "-fno-ipa-stack-alignment", name="patch.so", padding=())


@pytest.mark.parametrize(("functions", "refused"), [
    ({"leaf": "new_prints"}, True),
    ({"leaf": "new_through"}, True),
    ({"leaf": "new_vectors"}, True),
    ({"leaf": "new_aligns"}, False),
    ({"leaf": "new_small"}, False),
    ({"leaf": "new_helped"}, False),
    # Who calls the new one is the new caller.
    ({"leaf": "new_prints", "user": "new_user"}, False),
    ({"user": "new_prints"}, False),
])
def test_what_a_replacement_needs(compile_library, patch, functions, refused):
    target = compile_library(TARGET, name="target.so", padding=())
    description = describe(str(patch), str(target), functions)
    if not refused:
        assert pack(description).changed
        return
    with pytest.raises(NotPatchable) as caught:
        pack(description)
    assert caught.value.functions == ["leaf"]
    assert re.search("leaf of .* cannot be replaced by new_[a-z]+: user does not align the stack for the call at 0x",
                     str(caught.value))


def test_a_library_that_aligns(compile_library, patch):
    target = compile_library(TARGET, "-fno-ipa-stack-alignment", name="target.so", padding=())
    assert pack(describe(str(patch), str(target), {"leaf": "new_prints"})).changed


@pytest.mark.parametrize(("body", "unaligned"), [
    ("call leaf\n ret", True),
    ("push %rbx\n .cfi_adjust_cfa_offset 8\n call leaf\n pop %rbx\n .cfi_adjust_cfa_offset -8\n ret", False),
    # A jump in place of a call, and one with something left on the stack.
    ("jmp leaf", False),
    ("push %rbx\n .cfi_adjust_cfa_offset 8\n jmp leaf", True),
    # Two that do not align: then it is aligned again.
    ("call calls_leaf\n ret", False),
    ("push %rbx\n .cfi_adjust_cfa_offset 8\n call calls_leaf\n pop %rbx\n .cfi_adjust_cfa_offset -8\n ret", True),
    ("push %rbx\n .cfi_adjust_cfa_offset 8\n call jumps_to_leaf\n pop %rbx\n .cfi_adjust_cfa_offset -8\n ret", False),
    # Frames that hang on the frame pointer.
    ("FRAME\n call leaf\n leave\n .cfi_def_cfa 7, 8\n ret", False),
    ("FRAME\n push %rbx\n call leaf\n pop %rbx\n leave\n .cfi_def_cfa 7, 8\n ret", True),
    ("FRAME\n sub $24, %rsp\n test %edi, %edi\n jz 1f\n lea -8(%rsp), %rsp\n call leaf\n"
     " 1: lea -8(%rbp), %rsp\n call leaf\n leave\n .cfi_def_cfa 7, 8\n ret", True),
    ("FRAME\n sub $24, %rsp\n and $-32, %rsp\n call leaf\n leave\n .cfi_def_cfa 7, 8\n ret", False),
    # What comes behind the stack was aligned is the same whoever calls.
    ("FRAME\n and $-16, %rsp\n push %rbx\n call leaf\n leave\n .cfi_def_cfa 7, 8\n ret", True),
    # Room that is made as it is needed is aligned by whoever makes it.
    ("FRAME\n push %rbx\n sub %rax, %rsp\n call leaf\n leave\n .cfi_def_cfa 7, 8\n ret", False),
])
def test_assembled_callers(compile_library, tmp_path, body, unaligned):
    source = tmp_path / "callers.s"
    frame = ("push %rbp\n .cfi_adjust_cfa_offset 8\n .cfi_rel_offset rbp, 0\n mov %rsp, %rbp\n"
             " .cfi_def_cfa_register rbp")
    functions = {"leaf": "lea 1(%rdi), %eax\n ret", "caller": body.replace("FRAME", frame)}
    others = {"calls_leaf": "call leaf\n ret", "jumps_to_leaf": "jmp leaf"}
    functions.update({name: code for name, code in others.items() if name in body})
    source.write_text("".join(
        f".globl {name}\n.type {name}, @function\n.p2align 4\n{name}:\n.cfi_startproc\n {code}\n.cfi_endproc\n"
        f".size {name}, . - {name}\n" for name, code in functions.items()
    ) + "".join(f".hidden {name}\n" for name in functions if name != "caller")
        + '.section .note.GNU-stack, "", @progbits\n', encoding="utf-8")
    image = ElfImage.open(compile_library("", str(source), name="callers.so", padding=()))
    symbols = {symbol.name: symbol.value for symbol in image.symbols()}
    found = StackAlignment(Code(image, image.symbols())).unaligned_call(symbols["leaf"])
    assert (found is not None) == unaligned


PADDING = ("-fpatchable-function-entry=16,14",)


@pytest.mark.parametrize(("functions", "refused"), [
    ({"leaf": "new_prints"}, True),
    ({"leaf": "new_aligns"}, False),
    ({"leaf": "new_small"}, False),
    ({"leaf": "new_prints", "user": "new_user"}, False),
])
def test_a_target_with_padding(compile_library, patch, functions, refused):
    """Seen to fail: such a livepatch was made, and every process to which it was applied died in snprintf()."""
    target = compile_library(TARGET, name="target.so", padding=PADDING)
    description = describe(str(patch), str(target), functions)
    if refused:
        with pytest.raises(NotPatchable, match="user does not align the stack for the call at 0x"):
            pack(description)
    else:
        assert pack(description).changed


def test_a_target_with_padding_and_without_what_decodes_instructions(compile_library, patch, monkeypatch):
    """Nobody needs Capstone for it: docs/patch-author.md says what is not looked for then."""
    def absent(_detail, _skips):
        raise MissingDependency("capstone", "python3-capstone")

    monkeypatch.setattr(disassembler, "_decoder", absent)
    target = compile_library(TARGET, name="target.so", padding=PADDING)
    assert pack(describe(str(patch), str(target), {"leaf": "new_prints"})).changed


def test_a_target_with_padding_and_without_frames(compile_library, patch):
    """Guards that it can be packed for: nobody can tell how its functions are called."""
    target = compile_library(TARGET, "-fno-asynchronous-unwind-tables", "-fno-unwind-tables", name="target.so",
                             padding=PADDING)
    assert pack(describe(str(patch), str(target), {"leaf": "new_prints"})).changed

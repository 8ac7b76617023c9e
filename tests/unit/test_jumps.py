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

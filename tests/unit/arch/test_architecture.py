# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is true of x86-64 only lies in arch/, in the core and in the runtime: see docs/porting.md."""

from __future__ import annotations

import ast
import re
import string

import pytest
from test_layers import CORE, imported

from ansible_collections.libpulp.livepatch.plugins.module_utils.arch.object_relocations import RELOCATIONS
from ansible_collections.libpulp.livepatch.plugins.module_utils.arch.system_calls import NUMBERS

NATIVE = CORE.parents[1] / "native"

PYTHON = sorted(path for path in CORE.rglob("*.py") if path.relative_to(CORE).parts[0] != "arch")
C = sorted(path for folder in ("runtime", "bootstrap") for path in (NATIVE / folder).glob("*.[ch]"))

# Such names as mean nothing else.
REGISTERS = re.compile(
    r"orig_rax|[re][abcd]x|[re][sd]i|[re][sb]p|[re]ip|r(?:8|9|1[0-5])[dwb]?|[re]flags|[fg]s_base|[xyz]mm\d+")
TEXT = frozenset(string.printable.encode()) | {0}
MAGIC = b"\x7fELF"
# Of relocations, likewise.
TYPES = {name for name in RELOCATIONS.values() if not name[0].isdigit() and name != "NONE"}
# Of instructions, those that the contract does not name: arch.disassembly says which it does.
MNEMONICS = {"cmp", "endbr64", "hlt", "int3", "lea", "mov", "nop", "pop", "push", "sub", "test", "ud2", "xbegin"}
# Of virtual addresses, and of those of user space alone.
ADDRESS_BITS = (47, 48, 56, 57)


def violations(tree):
    """(line, what is wrong) for all that only one architecture can have said."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
            if node.value != MAGIC and not TEXT.issuperset(node.value):
                yield line, f"machine code {node.value!r}"
            elif b"x86" in node.value:
                yield line, f"a name of the kernel's, {node.value!r}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if REGISTERS.fullmatch(node.value):
                yield line, f"the register {node.value}"
            elif node.value in TYPES:
                yield line, f"the relocation {node.value}"
        elif isinstance(node, (ast.Attribute, ast.Name)):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            if REGISTERS.fullmatch(name):
                yield line, f"the register {name}"
            elif "x86" in name.lower():
                yield line, name
        elif isinstance(node, (ast.Tuple, ast.List)):
            yield from numbered(line, [node.elts])
        elif isinstance(node, ast.Dict):
            yield from numbered(line, zip(node.keys, node.values))
        elif (isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
                and "PAGE" in ast.dump(node.targets[0])):
            yield line, "the size of a page"
        elif isinstance(node, ast.Compare) and any(
                isinstance(other, ast.Constant) and other.value in MNEMONICS for other in node.comparators):
            yield line, "the name of an instruction"
        elif isinstance(node, ast.Compare) and isinstance(node.left, ast.Subscript):
            if any(isinstance(other, ast.Constant) and isinstance(other.value, int) and other.value > 0xF
                   for other in node.comparators):
                yield line, "a byte that is compared with an opcode"
        elif (isinstance(node, ast.BinOp) and isinstance(node.op, ast.LShift)
                and isinstance(node.right, ast.Constant) and node.right.value in ADDRESS_BITS):
            yield line, "an end of the address space"


def numbered(line, pairs):
    """The same for system calls that stand beside their numbers."""
    for name, number, *_rest in (pair for pair in map(list, pairs) if len(pair) > 1):
        if (isinstance(name, ast.Constant) and name.value in NUMBERS
                and isinstance(number, ast.Constant) and isinstance(number.value, int)):
            yield line, f"the number of {name.value}"


@pytest.mark.parametrize("path", PYTHON, ids=[str(path.relative_to(CORE)) for path in PYTHON])
def test_the_core_knows_no_architecture(path):
    """Seen to fail with the opcode of a jump in trigger/resolution/stock.py, 1 << 47 in livepatch/binding.py, the field
    x86_Thread_features in process/procfs.py, rax and lea in stock/reliance.py, a page of 4096 bytes in elf/vacancy.py,
    and GOTPCREL in build/extraction.py.
    """
    found = [f"{path.relative_to(CORE)}:{line}: {what}"
             for line, what in violations(ast.parse(path.read_text(encoding="utf-8")))]
    found += [f"{path.relative_to(CORE)}:{line} imports {module}"
              for line, module, _within in imported(path) if module.startswith("arch.x86_64")]
    assert not found


@pytest.mark.parametrize(("module", "what"), [
    ("address_space", "an end of the address space"), ("computed_jumps", "a byte that is compared with an opcode"),
    ("linkage", "machine code"), ("object_relocations", "the relocation TLSGD"), ("registers", "the register rsp"),
    ("system_calls", "the number of futex"),
])
def test_what_is_looked_for_is_found(module, what):
    """In the one place where it belongs."""
    tree = ast.parse((CORE / "arch" / "x86_64" / f"{module}.py").read_text(encoding="utf-8"))
    assert any(found.startswith(what) for _line, found in violations(tree))


def test_a_contract_names_what_it_offers():
    """What upper layers may import of arch is what its modules list, so that a port has a list to go by."""
    for path in (CORE / "arch").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        taken = {name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level
                 for name in node.names}
        lists = (node.value for node in tree.body if isinstance(node, ast.Assign))
        listed = [element.value for node in lists if isinstance(node, ast.List) for element in node.elts]
        assert taken == set(listed), path.name
        assert len(listed) == len(set(listed)), path.name


COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)
C_ONLY = re.compile(rf"\b(?:{REGISTERS.pattern}|__asm__|asm|(?:[A-Za-z_]\w*)?x86\w*|REG_R\w+|409[56](?:u?ll)?)\b")


@pytest.mark.parametrize("path", C, ids=[path.name for path in C])
def test_the_runtime_knows_no_architecture(path):
    """Seen to fail with "rep movsb" in freestanding.c, and with 4095 in slot.c."""
    text = path.read_text(encoding="utf-8")
    assert "arch/" not in "".join(re.findall(r"^#include.*$", text, re.MULTILINE))
    assert not C_ONLY.findall(COMMENT_OR_STRING.sub(" ", text))


def test_each_architecture_of_the_core_is_one_of_the_runtime():
    core = {path.name for path in (CORE / "arch").iterdir() if (path / "__init__.py").exists()}
    runtime = {path.name for path in (NATIVE / "arch").iterdir() if (path / "machine.h").exists()}
    assert core == runtime

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instruction lengths agree with those of the disassembler, over all of the C library."""

from __future__ import annotations

import ctypes.util
import re
import subprocess
from pathlib import Path

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.arch.code import instruction_starts

LINE = re.compile(r"^\s+([0-9a-f]+):\t((?:[0-9a-f]{2} )+)\s*\t(\S+)", re.MULTILINE)


def mapped_path(name):
    """Where the running process has a library mapped from."""
    ctypes.CDLL(name)
    return next(line.split()[-1] for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
                if line.endswith(f"/{name}"))


@pytest.mark.parametrize("name", ["libc.so.6", "libm.so.6"])
def test_every_instruction_of_a_large_library(name):
    listing = subprocess.run(["objdump", "-d", "--insn-width=16", mapped_path(name)], check=True,
                             stdout=subprocess.PIPE, encoding="utf-8").stdout
    seen = 0
    wrong = []
    for match in LINE.finditer(listing):
        code = bytes.fromhex(match.group(2).replace(" ", ""))
        # The disassembler shows fwait and the instruction behind it as one.
        expected = {0, 1} if code[0] == 0x9B and len(code) > 1 else {0}
        seen += 1
        if instruction_starts(code) != expected and match.group(3) != "(bad)":
            wrong.append(match.group(0))
    assert seen > 50000
    assert wrong == []


def test_what_cannot_be_decoded_is_said():
    assert instruction_starts(b"\x90\xc3") == {0, 1}
    assert instruction_starts(b"") == set()
    assert instruction_starts(b"\xe8\x00\x00") is None  # ends inside an instruction
    assert instruction_starts(b"\x06") is None  # not an instruction in 64-bit mode

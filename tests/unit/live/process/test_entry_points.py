# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which words on a stack are pointers to functions, and which may be return addresses: of a library loaded here."""

from __future__ import annotations

import ctypes
import os
import subprocess

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.post import post_process
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.entry_points import entry_points
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.mapped import MappedFiles
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.maps import read_code_maps

PADDING = 14
# The compiler aligns the padding: `call` ends exactly where that of the next function begins.
SOURCE = """
int usual(int x) { return x + 1; }
__asm__(".p2align 4\\n.nops FILL\\nCALL\\n");
int behind(int x) { return x + 2; }
int other(int x) { return x + 3; }
"""


@pytest.mark.parametrize(("call", "size"), [
    ("call other", 5), ("call *%rax", 2), ("call *%r11", 3), ("call *8(%rbx)", 3), ("call *0x1234(%rbx)", 6),
    ("call *8(%rsp)", 4), ("call *0x1234(%rsp,%rbx,8)", 7), ("call *0x1234(%rip)", 6), ("call *0x1234", 7),
])
def test_return_address_of_a_call_that_ends_a_function(tmp_path, runtime, call, size):
    """A trampoline right behind a call may be a return address; seen to fail with every trampoline exempt.

    The others are none: seen to fail with none exempt.
    """
    text = SOURCE.replace("FILL", str(32 - size)).replace("CALL", call)
    source = tmp_path / "library.c"
    source.write_text(text, encoding="utf-8")
    library = tmp_path / "libends.so"
    subprocess.run(
        ["gcc", "-O2", "-fno-toplevel-reorder", "-fno-semantic-interposition", "-falign-functions=16", "-fPIC",
         "-shared", "-fpatchable-function-entry=16,14", "-Wl,-Bsymbolic,--build-id", "-o", library, source,
         runtime / "trm.o"], check=True)
    post_process(library)
    image = ElfImage.open(library)
    trampolines = {name: image.find_dynamic_symbol(name).value for name in ("usual", "behind", "other")}
    assert image.read(trampolines["behind"], 2) == b"\xeb\x0c"
    assert trampolines["behind"] % 16 == 0

    held = ctypes.CDLL(str(library))
    files = MappedFiles()
    pid = os.getpid()
    (loaded,) = [found for found in files.libraries(pid, read_code_maps(pid)) if found.path == str(library)]
    found = entry_points(pid, [loaded], files)
    assert held.usual(1) == 2
    assert {name for name, address in trampolines.items() if loaded.base + address in found} == {"usual", "other"}
    assert loaded.base + trampolines["behind"] + PADDING not in found

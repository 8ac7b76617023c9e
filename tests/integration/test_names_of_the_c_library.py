# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A target that exports the functions by which the runtime, and the whole process, would call the C library."""

from __future__ import annotations

import re

import pytest
from harness.library import run
from harness.paths import CHECKOUT, TARGETS, TRM
from harness.variant import PADDING, PADDING_ONLY, POST
from harness.victim import Victim

NATIVE = CHECKOUT / "native" / "tests"
CYCLES = 5
# None of them may be made a call of another one by the compiler.
FLAGS = ("-O2", "-g", "-fPIC", "-fno-builtin", "-fno-optimize-sibling-calls", "-fno-tree-loop-distribute-patterns")


def names():
    return re.findall(r"^\tX\((\w+)\)", (NATIVE / "replaced_imports.h").read_text(), re.MULTILINE)


@pytest.mark.parametrize("mode", (POST, PADDING_ONLY))
def test_whatever_the_runtime_could_call_is_replaced(mode, tmp_path, preforked, livepatch):
    """Guards that nothing which the runtime executes on the way into a hooked function leads through a hook.

    Seen to fail with a runtime that puts errno back by __errno_location(): the process dies of an endless recursion.
    """
    library, patch, program = tmp_path / "libnames.so.1", tmp_path / "patch.so", tmp_path / "app"
    run(["gcc", *FLAGS, PADDING, "-shared", "-Wl,--build-id", f"-Wl,-soname,{library.name}", "-o", library,
         NATIVE / "replaced_imports_target.c", *((TRM,) if mode == POST else ())])
    if mode == POST:
        preforked.succeed("post", library)
    run(["gcc", *FLAGS, "-shared", "-Wl,--build-id", "-o", patch, NATIVE / "replaced_imports_patch.c", library])
    run(["gcc", "-O1", "-fno-builtin", "-pthread", "-D_GNU_SOURCE", f"-I{TARGETS}", "-o", program,
         TARGETS / "names" / "app.c", library])
    pairs = [f"{name}:new_{name}" for name in (*names(), "which_version")]
    description, ulp_file = tmp_path / "patch.dsc", tmp_path / "patch.ulp"
    description.write_text("\n".join((str(patch), f"@{library}", *pairs)) + "\n")
    # Each function remembers by itself what it found.
    preforked.succeed("pack", description, "-o", ulp_file, "--allow-duplicate", "next")
    change = livepatch(ulp_file)

    victim = Victim([program], libraries=[tmp_path])
    try:
        assert victim.ask("version") == "1"
        assert victim.ask("work") == "working"
        for _cycle in range(CYCLES):
            change.apply(victim, tries=20)
            assert victim.ask("version") == "2"
            assert victim.numbers("rounds")[1] == 0
            change.revert(victim, tries=20)
            assert victim.ask("version") == "1"
            assert victim.numbers("rounds")[1] == 0
        assert victim.numbers("stop")[1] == 0
        victim.finish()
    finally:
        victim.kill()

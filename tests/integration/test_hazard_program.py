# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions of the main executable, at a fixed address and position independent.

A program's own frames are on every stack, so here the functions that are replaced take the place of the
library: whoever is in one of them, or goes on in a function to which one has jumped, is inside.
"""

from __future__ import annotations

import pytest
from harness.livepatch import APPLIED, NOT_APPLIED, PENDING
from harness.paths import RUNTIME
from harness.program import KINDS, ProgramBuild
from harness.victim import Victim

from ansible_collections.libpulp.livepatch.plugins.module_utils import abi
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.hooks import hooks_of
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.mapped import MappedFiles
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.subject import examine

FUNCTIONS = ("version", "around", "moved", "jump", "last")
PAIR = ("both", "left", "right")
# Threads that spin on all cores leave the command what it needs.
YIELDING = ("nice", "-n", "19")


@pytest.fixture(params=sorted(KINDS))
def program(request, tmp_path, variant, preforked):
    return ProgramBuild(tmp_path, variant, request.param, preforked)


@pytest.fixture
def victim(program):
    victim = Victim([program.path], preload=program.variant.preload)
    yield victim
    if not victim.process.stdin.closed:
        try:
            victim.finish()
        finally:
            victim.kill()


@pytest.mark.parametrize("where", ["body", "moved", "jump", "last"])
def test_thread_inside_a_replaced_function_keeps_the_old_ones(program, victim, livepatch, where):
    """Guards what counts as inside: a function's body, its moved part, what it has jumped to, and
    the byte behind it, where a call of a function that never returns would return to.

    The moved part and the jump are held by tests/unit/elf/test_bodies.py. Seen to fail with every stack that is looked
    at taken for one that leads outside, and, for the last, without the byte behind a body.
    """
    patch = livepatch(program.patch("new", 2, FUNCTIONS))
    assert victim.ask(f"park {where}") == "parked"
    patch.apply(victim)
    assert victim.number("version") == 2
    assert patch.check(victim) == PENDING
    assert victim.numbers("release") == [1, 2]
    assert patch.check(victim) == APPLIED

    assert victim.ask(f"park {where}") == "parked"
    patch.revert(victim)
    assert victim.number("version") == 1
    assert victim.numbers("release") == [2, 1]


def test_hook_that_somebody_undoes(program, victim, livepatch):
    """Guards that hooks of a program's own functions are looked at as those of libraries are.

    Seen to fail with *applied*, while the old function ran.
    """
    patch = livepatch(program.patch("new", 2, FUNCTIONS))
    patch.apply(victim)
    state = examine(victim.pid, MappedFiles()).state
    (library,) = state.libraries
    with open(f"/proc/{victim.pid}/mem", "r+b", buffering=0) as memory:
        for hook in hooks_of(victim.pid, state, library):
            # The entry, and with it all that the hook relies on behind the padding.
            size = hook.relied.bit_length() - abi.PAD_BEFORE
            memory.seek(hook.function)
            memory.write(hook.original[abi.PAD_BEFORE:abi.PAD_BEFORE + size])
    assert victim.number("version") == 1
    assert patch.check(victim) == NOT_APPLIED
    patch.apply(victim)
    assert victim.number("version") == 2
    assert patch.check(victim) == APPLIED


def test_rest_of_the_program_is_outside(program, victim, livepatch):
    """Guards that a thread which is in no replaced function takes the new ones at once, and counts as patched.

    Seen to fail (pending) with the whole program's text counted as inside in process/runtime.py.
    """
    patch = livepatch(program.patch("new", 2, FUNCTIONS))
    assert victim.ask("park main") == "parked"
    assert victim.number("enter") == 1
    patch.apply(victim)
    assert patch.check(victim) == APPLIED
    assert victim.number("enter") == 2
    assert patch.check(victim) == APPLIED
    assert victim.numbers("release") == [2, 2]


def test_function_that_a_later_livepatch_replaces(program, victim, livepatch):
    """Guards universe.c's `grown`: what was seen of a thread before says nothing of functions that count only now.

    Seen to fail (3, not 2) with prove_by_floor() always OUTSIDE.
    """
    first = livepatch(program.patch("first", 2, ("version",)))
    second = livepatch(program.patch("second", 3, ("version", "late")))
    assert victim.ask("park late") == "parked"
    first.apply(victim)
    # Everybody is outside of what the first one replaces: the second one's request says so.
    assert first.check(victim) == APPLIED
    second.apply(victim)
    assert victim.number("version") == 3
    assert second.check(victim) == PENDING
    assert victim.numbers("release") == [2, 3]
    assert second.check(victim) == APPLIED
    second.revert(victim)
    first.revert(victim)
    assert victim.number("version") == 1


def test_pair_switches_together_in_a_tight_loop(program, livepatch, request):
    """Guards the order of publishing: 4 threads call a function that calls two others, all of them replaced.

    Seen to fail with stubs that compare with 1 instead of the patch's own number.
    """
    patch = livepatch(program.patch("pair", 2, PAIR))
    victim = Victim([*YIELDING, program.path], preload=program.variant.preload)
    assert victim.ask("start 4") == "4"
    assert victim.ask("round") == "round"
    for _cycle in range(max(request.config.getoption("--cycles") // 10, 5)):
        patch.apply(victim, tries=3)
        assert victim.ask("round") == "round"
        patch.revert(victim, tries=3)
    old, new, mixed = victim.numbers("stop")
    victim.finish()
    assert mixed == 0, f"{mixed} of {old + new + mixed} calls saw both versions"
    assert old and new


def test_stripped_program(program, livepatch):
    """Without symbols, unwind information tells where functions end; what was moved away is found by the jumps.

    Seen to fail (nobody inside) with elf/bodies.py following no jump and adding no code without a name.
    """
    program.strip()
    victim = Victim([program.path], preload=program.variant.preload)
    try:
        patch = livepatch(program.patch("new", 2, FUNCTIONS))
        assert victim.ask("park moved") == "parked"
        patch.apply(victim)
        assert patch.check(victim) == PENDING
        assert victim.numbers("release") == [1, 2]
        assert patch.check(victim) == APPLIED
        victim.finish()
    finally:
        victim.kill()


def test_dispatch_finds_the_processes_of_the_program(program, victim, ulp):
    """Without being told a PID: by the build ID of the main executable. Facts show it like a library.

    Seen to fail (no process found) when what has no soname is no target.
    """
    ulp_file = program.patch("new", 2, FUNCTIONS)
    said = ulp.run("dispatch", "check", ulp_file).errors
    assert f"process {victim.pid} (victim-program)" in said
    assert ("was started without the livepatch runtime" if program.variant.attached else "not applied to") in said
    rows = ulp.succeed("dispatch", "patch", ulp_file, "--runtime", RUNTIME, "--json").json()
    assert [(row["pid"], row["outcome"], row["threads_pending"]) for row in rows] == [(victim.pid, "patched", 0)]
    assert victim.number("version") == 2
    (process,) = ulp.succeed("list", "-p", victim.pid, "--json").json()["processes"]
    assert [library["path"] for library in process["libraries"]] == [str(program.path)]
    assert process["patches"][0]["status"] == "applied"
    rows = ulp.succeed("dispatch", "revert", ulp_file, "--json").json()
    assert [(row["pid"], row["outcome"]) for row in rows] == [(victim.pid, "reverted")]
    assert victim.number("version") == 1


def test_program_is_not_post_processed_and_no_patch_library(program, ulp):
    """A program is its own target as it is; post and pack say so when it is taken for something else.

    Seen to fail without the question of post: then functions without padding are the reason given.
    """
    answer = ulp.run("post", program.path)
    assert answer.status == 1
    assert "is a program, which needs no post-processing" in answer.errors
    description = program.description("new", 2, FUNCTIONS)
    lines = description.read_text().splitlines()
    description.write_text("\n".join([str(program.path), *lines[1:]]) + "\n")
    answer = ulp.run("pack", description, "-o", program.directory / "wrong.ulp")
    assert answer.status == 1
    assert f"{program.path} is a program, not a shared library" in answer.errors

# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The distribution's own C library as the target, in a program that was built without a thought of livepatches."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.library import WARNINGS, run
from harness.livepatch import APPLIED, NOT_APPLIED, PENDING
from harness.paths import RUNTIME, TARGETS
from harness.polling import wait_until
from harness.victim import Victim

FOLDER = TARGETS / "libc"
LIBC = Path("/lib/x86_64-linux-gnu/libc.so.6").resolve()
REPLACED = ("getnetbyaddr", "wordexp", "strfmon", "inet_ntop", "a64l", "localtime_r", "asctime_r", "getline",
            "lfind")
WORKERS = 4
CYCLES = 5
ATTACHED, PRELOADED = (), (RUNTIME,)


@pytest.fixture(scope="module", name="program")
def fixture_program(tmp_path_factory):
    path = tmp_path_factory.mktemp("libc") / "libc-app"
    run(["gcc", "-O2", *WARNINGS, "-D_GNU_SOURCE", "-o", path, FOLDER / "app.c"])
    return path


@pytest.fixture(scope="module", name="ulp_file")
def fixture_ulp_file(tmp_path_factory, preforked):
    directory = tmp_path_factory.mktemp("libc-patch")
    patch = directory / "patch.so"
    run(["gcc", "-O2", *WARNINGS, "-D_GNU_SOURCE", "-fPIC", "-shared", "-Wl,--build-id", "-o", patch,
         FOLDER / "patch.c"])
    description = directory / "patch.dsc"
    pairs = [f"{name}:new_{name}" for name in REPLACED]
    description.write_text("\n".join([str(patch), f"@{LIBC}", *pairs, "guard ctime_r"]) + "\n")
    ulp_file = directory / "patch.ulp"
    preforked.succeed("pack", description, "-o", ulp_file)
    return ulp_file


@pytest.fixture(name="victim", params=[ATTACHED, PRELOADED], ids=["attached", "preloaded"])
def fixture_victim(program, request):
    victim = Victim([program], preload=request.param)
    yield victim
    victim.kill()


def attach(ulp, ulp_file, victim):
    """Apply a livepatch to a process, with or without the runtime: the outcome."""
    answer = ulp.succeed("trigger", "--json", "-p", victim.pid, ulp_file, "--attach", "--runtime", RUNTIME)
    return answer.json()["outcome"]


def values(victim):
    """What the main thread gets: {function: "old" or "new"}."""
    return dict(word.split("=") for word in victim.ask("values").split())


def test_functions_that_all_threads_call(victim, ulp_file, preforked, repeated):
    """While they are called all the time: old ones, new ones, never one of each where a guard holds them together.

    The start frames of the main thread, which are the library's, keep nobody inside.  Seen to fail while each static
    function of the stripped library counted as a part of each that has a switch: no thread was ever outside.  Then
    seen to fail from the second publish on: what jumps to strcpy, an IFUNC, was taken to jump to each hooked function.
    """
    patch = repeated(ulp_file)
    assert victim.number(f"work {WORKERS}") == WORKERS
    assert set(values(victim).values()) == {"old"}
    attach(preforked, ulp_file, victim)
    for _cycle in range(CYCLES):
        assert set(values(victim).values()) == {"new"}
        patch.revert(victim)
        assert set(values(victim).values()) == {"old"}
        patch.apply(victim)
    patch.wait_for_check(victim, APPLIED)
    assert victim.ask("rounds") == "new 0"
    patch.revert(victim)
    patch.wait_for_check(victim, NOT_APPLIED)
    assert victim.ask("rounds") == "old 0"


@pytest.mark.parametrize(("how", "within"), [("wordexp", "old wrong"), ("getline", "old wrong"), ("lfind", "old old")])
def test_thread_inside_an_old_function(victim, ulp_file, preforked, livepatch, how, within):
    """It stays in the old one, sees old ones until it has left, and new ones from then on."""
    patch = livepatch(ulp_file)
    assert victim.number(f"park 0 {how}") == 1
    wait_until(lambda: len(blocked_in(victim)) == 2, "the thread blocks inside")

    assert attach(preforked, ulp_file, victim) == "pending"
    assert patch.check(victim) == PENDING
    assert set(values(victim).values()) == {"new"}

    assert victim.ask("release 0") == f"{within} new"
    patch.wait_for_check(victim, APPLIED)
    patch.revert(victim)
    assert set(values(victim).values()) == {"old"}


def blocked_in(victim):
    """The system calls, by number, in which threads wait."""
    return [call for call in map(victim.system_call, victim.threads()) if call == "0"]

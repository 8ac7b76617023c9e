# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that has loaded its target several times: each copy gets new functions that use that copy's data."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

import pytest
from harness.bindings import REFERENCES
from harness.library import WARNINGS, Hazard, run
from harness.livepatch import APPLIED, NOT_APPLIED
from harness.paths import RUNTIME, TARGETS
from harness.variant import PADDING_ONLY, POST, STOCK, Variant

from ansible_collections.libpulp.livepatch.plugins.module_utils.abi import LIBRARIES
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import read_livepatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.mapped import MappedFiles
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.drive import drive
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.judgement import applicability
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import Options
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.outcome import FAILED, PATCHED
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.trigger import Trigger

# So many are open while the livepatch is loaded from its own file: the program's three, the code, and that file.
FILES = 5
# <link.h>.
RT_CONSISTENT, RT_ADD = 0, 1
# What a copy adds up to that nobody has changed.
UNTOUCHED = 1 + 20 + 300 + 4000 + 50000 + 700000


@pytest.fixture(scope="module")
def library(tmp_path_factory, preforked):
    hazard = Hazard("bindings", tmp_path_factory.mktemp("copies"))
    return lambda mode: hazard.build(Variant(mode), preforked)


@pytest.fixture(params=[POST, PADDING_ONLY, STOCK])
def build(library, request):
    return library(request.param)


@pytest.fixture
def patch(build, livepatch):
    return livepatch(build.patch("bindings", {"sum": "new_sum", **REFERENCES}))


@pytest.fixture
def paths(build, tmp_path):
    """The library under two further names: files of the same build."""
    found = [tmp_path / name for name in ("first.so", "second.so")]
    for path in found:
        shutil.copy(build.library, path)
    return found


def launched(start, build, paths=(), **options):
    """A program that has loaded these."""
    victim = start(build, "copies.c", ("-Wl,--as-needed",), **options)
    for number, path in enumerate(paths):
        assert victim.number(f"load {path}") == number
    return victim


def sums(victim, count):
    return [victim.number(f"sum {number}") for number in range(count)]


def new(calls):
    """What the new function returns when it is called for the last of so many times: it counts in four variables."""
    return -(UNTOUCHED + 4 * calls)


def listed(patch, victim):
    """What ``ulp list`` says of the livepatch in the process: (patch ID, status, names of libraries)."""
    (process,) = patch.ulp.succeed("list", "--json", "-p", victim.pid).json()["processes"]
    return [(its["patch_id"], its["status"], its["libraries"]) for its in process["patches"]]


def test_two_copies(build, patch, paths, start):
    """Guards that each copy is patched, with its own data, and that all are reverted.

    Seen to fail with "has loaded the same build ... more than once"; with the instance loaded from the livepatch's own
    file, the second copy's sum counted in the first one's variables.
    """
    victim = launched(start, build, paths)
    (row,) = patch.ulp.succeed("dispatch", "patch", patch.ulp_file, victim.pid, "--dry-run", "--json").json()
    assert row["outcome"] == "patched"
    assert sums(victim, 2) == [UNTOUCHED, UNTOUCHED]
    patch.apply(victim)
    assert [victim.number("sum 0") for _each in range(3)] == [new(1), new(2), new(3)]
    assert sums(victim, 2) == [new(4), new(1)]
    assert patch.check(victim) == APPLIED
    (row,) = patch.ulp.succeed("dispatch", "patch", patch.ulp_file, victim.pid, "--json").json()
    assert row["outcome"] == "already_patched"
    ((patch_id, status, libraries),) = listed(patch, victim)
    assert (status, libraries) == ("applied", [build.library.name] * 2)
    assert patch.ulp.succeed("dump", patch.ulp_file, "--json").json()["patch_id"] == patch_id
    patch.revert(victim)
    assert sums(victim, 2) == [UNTOUCHED + 4 * 4, UNTOUCHED + 4]
    assert patch.check(victim) == NOT_APPLIED
    patch.apply(victim)
    assert sums(victim, 2) == [new(5), new(2)]


def test_a_copy_that_comes_later(build, patch, paths, start):
    """Guards that a copy which was loaded after the apply counts, is reached, and is reverted like the first.

    Seen to fail with words that name no copy where check() did not look at each, and with the second copy patched for
    good where revert() looked for one instance.
    """
    victim = launched(start, build, paths[:1])
    patch.apply(victim)
    assert victim.number(f"load {paths[1]}") == 1
    assert sums(victim, 2) == [new(1), UNTOUCHED]
    answer = patch.ulp.run("check", "-p", victim.pid, patch.ulp_file)
    assert answer.status == NOT_APPLIED
    assert f"{paths[0]} has the livepatch and {paths[1]} has not" in answer.output + answer.errors
    (row,) = patch.ulp.succeed("dispatch", "patch", patch.ulp_file, victim.pid, "--dry-run", "--json").json()
    assert row["outcome"] == "patched"
    patch.apply(victim)
    assert sums(victim, 2) == [new(2), new(1)]
    assert patch.check(victim) == APPLIED
    (row,) = patch.ulp.succeed("dispatch", "revert", patch.ulp_file, victim.pid, "--json").json()
    assert row["outcome"] == "reverted"
    assert sums(victim, 2) == [UNTOUCHED + 4 * 2, UNTOUCHED + 4]


@pytest.mark.parametrize("build", [STOCK], indirect=True)
def test_livepatches_on_top_of_each_other(build, paths, start, livepatch):
    """Guards that order and replacement hold in each copy, and that ``--all-of`` takes off what each has.

    Seen to fail with the older livepatch still in the second copy, where it was to go by its patch ID.
    """
    below = livepatch(build.patch("bindings", {"sum": "new_sum", **REFERENCES}))
    above = livepatch(build.patch("above", {"sum": "new_sum", **REFERENCES}, flags=("-DMORE=1000000",)))
    victim = launched(start, build, paths)
    below.apply(victim)
    above.apply(victim)
    assert sums(victim, 2) == [new(1) - 1000000, new(1) - 1000000]
    above.revert(victim)
    assert sums(victim, 2) == [new(2), new(2)]
    above.ulp.succeed("dispatch", "patch", above.ulp_file, victim.pid, "--replace")
    assert [status for _id, status, _libraries in listed(above, victim)] == ["reverted", "applied"]
    assert sums(victim, 2) == [new(3) - 1000000, new(3) - 1000000]
    above.revert(victim)
    assert sums(victim, 2) == [UNTOUCHED + 4 * 3, UNTOUCHED + 4 * 3]
    below.apply(victim)
    above.apply(victim)
    above.ulp.succeed("dispatch", "revert", "--all-of", build.library.name, victim.pid)
    assert sums(victim, 2) == [UNTOUCHED + 4 * 3, UNTOUCHED + 4 * 3]
    assert [status for _id, status, _libraries in listed(above, victim)] == ["reverted", "reverted"]


def test_nothing_is_patched_where_one_copy_cannot_be(build, patch, paths, start):
    """Guards that every copy is asked before the first is touched.

    Seen to fail with the first copy patched, where the copies were not looked at beforehand.
    """
    victim = launched(start, build, paths)
    place = victim.number("at 1")
    with open(f"/proc/{victim.pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(place)
        before = memory.read(1)
        memory.seek(place)
        memory.write(b"\xcc")
        refused = patch.ulp.refuse("trigger", "-p", victim.pid, patch.ulp_file, naming=victim.pid)
        assert "breakpoint" in refused.errors
        memory.seek(place)
        memory.write(before)
    assert sums(victim, 2) == [UNTOUCHED, UNTOUCHED]
    assert listed(patch, victim) == []


@pytest.mark.parametrize("build", [POST], indirect=True)
def test_more_copies_than_the_runtime_has_room_for(build, patch, start, tmp_path):
    """Guards that the room is counted before the first is touched; seen to fail with 64 of 65 copies patched."""
    paths = [tmp_path / f"{number}.so" for number in range(LIBRARIES + 1)]
    for path in paths:
        shutil.copy(build.library, path)
    victim = launched(start, build, paths)
    refused = patch.ulp.refuse("trigger", "-p", victim.pid, patch.ulp_file, naming=victim.pid)
    assert f"{len(paths)} times, and the runtime can patch {LIBRARIES} libraries" in refused.errors
    assert sums(victim, len(paths)) == [UNTOUCHED] * len(paths)
    assert listed(patch, victim) == []


@pytest.mark.parametrize("build", [POST], indirect=True)
def test_code_that_the_loader_does_not_list(build, patch, paths, start, monkeypatch):
    """Guards that nobody patches what may be no library, and that a look between two steps of the loader is no verdict.

    Seen to fail with "not_patchable" where the map was not read again.
    """
    victim = launched(start, build, paths[:1])
    assert victim.ask(f"map {paths[1]}") == "mapped"
    refused = patch.ulp.refuse("trigger", "-p", victim.pid, patch.ulp_file, naming=victim.pid)
    assert "its dynamic loader does not say that it has loaded all of them" in refused.errors
    assert sums(victim, 1) == [UNTOUCHED]
    pauses = []

    def unmap(seconds):
        pauses.append(seconds)
        assert victim.ask("unmap") == "unmapped"

    monkeypatch.setattr(applicability, "sleep", unmap)
    row = Trigger(read_livepatch(patch.ulp_file), MappedFiles(), Options()).apply(victim.pid)
    assert (row.outcome, len(pauses)) == (PATCHED, 1), row
    assert sums(victim, 1) == [new(1)]


@pytest.mark.parametrize("build", [POST], indirect=True)
def test_one_copy_fails_after_the_other_was_patched(build, paths, start, livepatch):
    """Guards the truth about what is half done, and that the next apply does the rest.

    The instance for the second copy needs one more open file than the process may have.  Seen to fail without the words
    on which copy has it, and with "patched" by finding_out(), which had counted the instances alone.
    """
    patch = livepatch(build.patch("bindings", {"sum": "new_sum", **REFERENCES}))
    victim = launched(start, build, paths)
    limits = resource.prlimit(victim.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(victim.pid, resource.RLIMIT_NOFILE, (FILES, limits[1]))
    answer = patch.ulp.run("dispatch", "patch", patch.ulp_file, victim.pid, "--json")
    (row,) = answer.json()
    assert (answer.status, row["outcome"]) == (NOT_APPLIED, "failed")
    assert f"{paths[0]} has the livepatch and {paths[1]} has not" in row["reason"]
    assert sums(victim, 2) == [new(1), UNTOUCHED]
    assert patch.check(victim) == NOT_APPLIED
    # As whoever looks who was interrupted between the two.
    found = drive(Trigger(read_livepatch(patch.ulp_file), MappedFiles(), Options()).finding_out(victim.pid, PATCHED))
    assert (found.outcome, found.changed) == (FAILED, True)
    resource.prlimit(victim.pid, resource.RLIMIT_NOFILE, limits)
    patch.apply(victim)
    assert sums(victim, 2) == [new(2), new(1)]


@pytest.mark.parametrize("build", [STOCK], indirect=True)
def test_a_process_that_was_started_without_the_runtime(build, paths, start, livepatch):
    """Guards an apply that loads the runtime first, and then patches both copies.

    Seen to fail with a state block that was read before the runtime was there.
    """
    patch = livepatch(build.patch("bindings", {"sum": "new_sum", **REFERENCES}))
    victim = launched(start, build, paths, preload=())
    (row,) = patch.ulp.succeed(
        "dispatch", "patch", patch.ulp_file, victim.pid, "--runtime", RUNTIME, "--json").json()
    assert (row["outcome"], row["attached_now"]) == ("patched", True)
    assert sums(victim, 2) == [new(1), new(1)]
    assert patch.check(victim) == APPLIED


def test_two_targets_of_which_one_is_loaded_twice(target, livepatch, start, tmp_path):
    """Guards that nobody guesses which copy works with which other library: the refusal names both files.

    Seen to fail with one copy patched without that look in Resolution.copies.
    """
    pair = target("two_libraries", Variant(POST))
    both = livepatch(pair.both_patch(2))
    copy = tmp_path / "copy.so"
    shutil.copy(pair.library, copy)
    victim = start(pair, "late.c")
    assert victim.ask(f"load upper {copy}") == "loaded"
    refused = both.ulp.refuse("trigger", "-p", victim.pid, both.ulp_file, naming=victim.pid)
    assert str(pair.library) in refused.errors and str(copy) in refused.errors
    assert f"nobody can tell which of them works with {pair.lower.name}" in refused.errors


@pytest.mark.parametrize("same_file", [False, True], ids=["another file", "the same file"])
def test_copy_in_a_namespace_of_its_own(build, patch, paths, start, same_file):
    """Guards a copy that dlmopen() has loaded: its instance is loaded beside it, and uses what it uses.

    Seen to fail with "is no longer mapped where it was": the runtime had asked dl_iterate_phdr(), which shows one
    namespace.
    """
    victim = launched(start, build, paths[:1])
    assert victim.number(f"apart {paths[0 if same_file else 1]}") == 1
    patch.apply(victim)
    assert sums(victim, 2) == [new(1), new(1)]
    assert sums(victim, 2) == [new(2), new(2)]
    assert patch.check(victim) == APPLIED
    patch.revert(victim)
    assert sums(victim, 2) == [UNTOUCHED + 8, UNTOUCHED + 8]
    patch.apply(victim)
    assert sums(victim, 2) == [new(3), new(3)]


@pytest.mark.parametrize("build", [POST], indirect=True)
def test_library_in_no_namespace_but_its_own(build, patch, start):
    """Guards a library that the program's own namespace does not have at all; seen to fail likewise."""
    victim = launched(start, build)
    assert victim.number(f"apart {build.library}") == 0
    patch.apply(victim)
    assert sums(victim, 1) == [new(1)]
    patch.revert(victim)
    assert sums(victim, 1) == [UNTOUCHED + 4]


@pytest.mark.parametrize("build", [POST], indirect=True)
def test_namespace_that_the_loader_is_changing(build, start, livepatch):
    """Guards that the patch library goes where its target is, or nowhere: the two may use different C libraries.

    Seen to fail with the patch library in the program's own namespace, which was refused only after that, as the list
    was still being changed.
    """
    below = livepatch(build.patch("bindings", {"sum": "new_sum", **REFERENCES}))
    above = livepatch(build.patch("above", {"sum": "new_sum", **REFERENCES}, flags=("-DMORE=1000000",)))
    victim = launched(start, build)
    assert victim.number(f"apart {build.library}") == 0
    below.apply(victim)
    assert victim.number("busy 1") == RT_ADD
    refused = above.ulp.refuse("trigger", "-p", victim.pid, above.ulp_file, naming=victim.pid)
    assert "does not tell where the target is" in refused.errors
    assert above.ulp_file.name not in Path(f"/proc/{victim.pid}/maps").read_text()
    assert sums(victim, 1) == [new(1)]
    assert victim.number("busy 0") == RT_CONSISTENT
    above.apply(victim)
    assert sums(victim, 1) == [new(2) - 1000000]


@pytest.mark.parametrize("build", [POST], indirect=True)
def test_names_are_looked_up_as_the_copy_would(build, paths, start, livepatch):
    """Guards a reference by name: in each copy, wherever it was loaded, that is the copy's own function.

    Seen to fail with ULP_BINDING_FAILED for the copy in the namespace, where ulp_loader_symbol() asked RTLD_DEFAULT.
    """
    patch = livepatch(build.patch("symbol", {"interposed": "new_interposed", "#sum": "sum_word"}, "symbol.c"))
    (target,) = patch.ulp.succeed("dump", patch.ulp_file, "--json").json()["targets"]
    assert [binding["kind"] for binding in target["bindings"]] == ["symbol"]
    victim = launched(start, build, paths)
    assert victim.number(f"apart {build.library}") == 2
    patch.apply(victim)
    expected = [UNTOUCHED - 50000 + (victim.number(f"at {number}") & 0xFFFFFF) for number in range(3)]
    assert sums(victim, 3) == expected
    assert len(set(expected)) == 3


@pytest.mark.parametrize("called", [True, False], ids=["called before", "never called"])
def test_what_a_plugin_puts_in_place_of_the_library_s(build, patch, start, tmp_path, called):
    """Guards the scope of a plugin: the library that came with it means the plugin's function, and so does new code.

    Seen to fail with the library's own function, 10,000 less, where the loader was asked for its name instead.
    """
    plugin = tmp_path / "plugin.so"
    run(["gcc", *WARNINGS, "-fPIC", "-shared", "-o", plugin, TARGETS / "bindings" / "plugin.c", build.library])
    victim = launched(start, build, [plugin])
    if called:
        assert victim.number("sum 0") == UNTOUCHED + 10000
    patch.apply(victim)
    assert victim.number("sum 0") == new(1) - 10000
    patch.revert(victim)
    assert victim.number("sum 0") == UNTOUCHED + 10000 + 4

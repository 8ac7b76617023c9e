# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One fix for several builds of a library, in one dispatch: each process gets the one for the build that it runs."""

from __future__ import annotations

import json
import shutil

import pytest
from harness.blocked import PAIRS, version_patch
from harness.hostile import staged
from harness.livepatch import APPLIED, NOT_APPLIED, PENDING
from harness.modules import module
from harness.paths import RUNTIME
from harness.variant import PADDING_ONLY, POST, STOCK, Variant
from test_hostile_processes import kept_faults

from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import parse_description
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.pack import pack

MODES = (POST, PADDING_ONLY, STOCK)


@pytest.fixture
def builds(target):
    """The library as it is built in each mode; each has a build ID of its own."""
    return [target("blocked", Variant(mode)) for mode in MODES]


@pytest.fixture
def fixes(builds, tmp_path):
    """A directory with a livepatch for each of them, after which version is 2."""
    directory = tmp_path / "fixes"
    directory.mkdir()
    for mode, build in zip(MODES, builds):
        shutil.copy(version_patch(build), directory / f"{mode}.ulp")
    return directory


@pytest.fixture
def pair(target):
    """Two libraries, of which one process loads both."""
    return target("two_libraries", Variant(POST))


def patch_ids(ulp, *ulp_files):
    return [ulp.succeed("dump", "--json", ulp_file).json()["patch_id"] for ulp_file in ulp_files]


def results(answer):
    return [(row["pid"], row["outcome"], row["patch_id"]) for row in answer.json()]


def test_each_process_gets_the_one_for_its_build(builds, fixes, start, preforked):
    """Seen to fail, with one livepatch, with ``already_fixed_on_disk`` for the processes that run another build."""
    ids = patch_ids(preforked, *(fixes / f"{mode}.ulp" for mode in MODES))
    victims = [start(build) for build in builds for _twice in range(2)]
    pids = [victim.pid for victim in victims]
    wanted = {victim.pid: ids[number // 2] for number, victim in enumerate(victims)}

    def outcome(word):
        return sorted((pid, word, wanted[pid]) for pid in pids)

    foreseen = preforked.succeed("dispatch", "patch", fixes, *pids, "--dry-run", "--json")
    assert results(foreseen) == outcome("patched")
    assert [victim.number("version") for victim in victims] == [1] * 6
    assert results(preforked.succeed("dispatch", "patch", fixes, *pids, "--json")) == outcome("patched")
    assert [victim.number("version") for victim in victims] == [2] * 6
    assert results(preforked.succeed("dispatch", "patch", fixes, *pids, "--json")) == outcome("already_patched")
    assert results(preforked.succeed("dispatch", "check", fixes, *pids, "--json")) == outcome("already_patched")
    # Every process that runs one of the builds is found without being named, too.
    found = results(preforked.succeed("dispatch", "patch", fixes, "--json"))
    assert set(outcome("already_patched")) <= set(found)

    listed = preforked.succeed("list", "--json", *pids).json()["processes"]
    assert {process["pid"]: [patch["patch_id"] for patch in process["patches"]] for process in listed} == {
        pid: [wanted[pid]] for pid in pids}
    explained = preforked.succeed("explain", "-p", pids[2], "--json", fixes).json()
    assert (explained["livepatch"], explained["outcome"]) == (str(fixes / f"{PADDING_ONLY}.ulp"), "already_patched")
    one = preforked.succeed("check", "-p", pids[0], fixes)
    assert one.output.splitlines()[0].split()[:4] == ["PID", "NAME", "LIVEPATCH", "OUTCOME"]
    assert f"{POST}.ulp" in one.output and PADDING_ONLY not in one.output

    assert results(preforked.succeed("dispatch", "revert", fixes, *pids, "--json")) == outcome("reverted")
    assert [victim.number("version") for victim in victims] == [1] * 6
    assert preforked.run("check", "-p", pids[0], fixes).status == NOT_APPLIED


def test_a_build_that_none_is_for(builds, fixes, start, preforked):
    """Guards one row, that names all builds, where there is no livepatch for the one that runs."""
    post, padded, stock = builds
    victim = start(stock)
    two = [fixes / f"{POST}.ulp", fixes / f"{PADDING_ONLY}.ulp"]
    answer = preforked.run("dispatch", "patch", *two, victim.pid, "--json")
    (row,) = answer.json()
    assert (answer.status, row["outcome"], row["patch_id"]) == (1, "already_fixed_on_disk", "")
    for build in (post, padded):
        assert build_id(preforked, version_patch(build)) in row["reason"]
    # All of it is as with one where nobody asked for the process.
    mine = [row for row in preforked.succeed("dispatch", "patch", *two, "--json").json() if row["pid"] == victim.pid]
    assert [row["outcome"] for row in mine] == ["already_fixed_on_disk"]


def build_id(ulp, ulp_file):
    return ulp.succeed("dump", "--json", ulp_file).json()["targets"][0]["build_id"]


def test_a_process_that_two_are_for(pair, start, preforked):
    """Guards that a process with two libraries gets both livepatches, and has a row for each."""
    files = [pair.upper_patch(2), pair.lower_patch(2)]
    victim = start(pair)
    ids = patch_ids(preforked, *files)

    def rows(operation, *options, status=0):
        answer = preforked.run("dispatch", operation, *files, victim.pid, "--json", *options)
        assert answer.status == status, str(answer)
        return [row[1:] for row in results(answer)]

    assert rows("patch", "--dry-run") == [("patched", each) for each in ids]
    assert victim.numbers("versions")[:2] == [1, 1]
    preforked.succeed("dispatch", "patch", files[1], victim.pid)
    assert rows("check", status=1) == [("failed", ids[0]), ("already_patched", ids[1])]
    assert rows("patch") == [("patched", ids[0]), ("already_patched", ids[1])]
    assert victim.numbers("versions") == [2, 2, 22]
    assert rows("check") == [("already_patched", each) for each in ids]
    assert rows("revert", "--dry-run") == [("reverted", each) for each in reversed(ids)]
    assert rows("revert") == [("reverted", each) for each in reversed(ids)]
    assert victim.numbers("versions") == [1, 1, 11]


def test_attaching_once_for_two(pair, start, preforked):
    """Guards that ``attached_now`` is said of the first only, in a dry run as well: the runtime is loaded once."""
    files = [pair.upper_patch(2), pair.lower_patch(2)]
    victim = start(pair, preload=())
    words = ("dispatch", "patch", *files, victim.pid, "--json", "--runtime", RUNTIME)
    for options in (("--dry-run",), ()):
        answer = preforked.succeed(*words, *options)
        assert [(row["outcome"], row["attached"], row["attached_now"]) for row in answer.json()] == [
            ("patched", True, True), ("patched", True, False)]
    assert victim.numbers("versions") == [2, 2, 22]
    preforked.succeed("dispatch", "revert", *files, victim.pid)


def test_pending_in_one_of_two(pair, start, preforked):
    """Guards that both rows are brought up to date while threads are waited for, each by itself."""
    files = [pair.upper_patch(2), pair.lower_patch(2)]
    victim = start(pair)
    assert victim.numbers("park 0 upper") == [1, 1, 11]
    answer = preforked.succeed("dispatch", "patch", *files, victim.pid, "--json", "--wait-migrated", "0.3")
    assert [row["outcome"] for row in answer.json()] == ["pending", "patched"]
    assert preforked.run("dispatch", "check", *files, victim.pid).status == PENDING
    victim.numbers("release 0")
    assert preforked.run("dispatch", "check", *files, victim.pid).status == APPLIED
    preforked.succeed("dispatch", "revert", *files, victim.pid)


def test_two_for_the_same_function_of_a_build(builds, start, preforked, tmp_path):
    """Guards the refusal before anything is touched; reverting both is no question."""
    build = builds[0]
    second, third = version_patch(build), version_patch(build, 3)
    victim = start(build)
    for names in ((second, third), (third, second)):
        answer = preforked.refuse("dispatch", "patch", *names, victim.pid, naming=second)
        assert str(third) in answer.errors
    copy = tmp_path / "copy.ulp"
    shutil.copy(second, copy)
    assert str(copy) in preforked.refuse("dispatch", "patch", second, copy, victim.pid, naming=second).errors
    assert victim.number("version") == 1
    # The same file twice is one livepatch.
    assert len(preforked.succeed("dispatch", "patch", second, second, victim.pid, "--json").json()) == 1
    preforked.succeed("dispatch", "patch", third, victim.pid)
    rows = preforked.succeed("dispatch", "revert", second, third, victim.pid, "--json").json()
    assert [row["outcome"] for row in rows] == ["reverted", "reverted"]
    assert victim.number("version") == 1


def test_one_that_replaces_another(builds, start, preforked):
    """Guards that what is replaced anyway is not applied first, so that a second run has nothing to do.

    Seen to fail with ``patched`` for both, in every run.
    """
    build = builds[0]
    second = version_patch(build)
    ulp_file = version_patch(build, 3)
    third = ulp_file.with_suffix(".replacing.ulp")
    preforked.succeed("pack", ulp_file.with_suffix(".dsc"), "-o", third, "--replaces", second.name)
    victim = start(build)
    for files in ((second, third), (third, second)):
        for word in ("patched", "already_patched"):
            rows = preforked.succeed("dispatch", "patch", *files, victim.pid, "--json").json()
            assert [row["outcome"] for row in rows] == [word]
            assert victim.number("version") == 3
        preforked.succeed("dispatch", "check", *files, victim.pid)
        preforked.succeed("dispatch", "revert", *files, victim.pid)
        assert victim.number("version") == 1


def test_one_that_depends_on_another(builds, start, preforked, tmp_path):
    """Guards the order, whatever the files are called, in dry runs too; a revert goes the other way."""
    build = builds[0]
    files = tmp_path / "stacked"
    files.mkdir()
    second = files / "b.ulp"
    shutil.copy(version_patch(build), second)
    third = build.patch("third", PAIRS, flags=("-DVERSION=3",))
    (needed,) = patch_ids(preforked, second)
    pack(parse_description(third.with_suffix(".dsc")), files / "a.ulp", dependencies=[needed])
    ids = [needed, *patch_ids(preforked, files / "a.ulp")]
    victim = start(build)
    for options in (["--dry-run"], []):
        answer = preforked.succeed("dispatch", "patch", files, victim.pid, "--json", *options)
        assert [row[1:] for row in results(answer)] == [("patched", each) for each in ids]
    assert victim.number("version") == 3
    for options in (["--dry-run"], []):
        answer = preforked.succeed("dispatch", "revert", files, victim.pid, "--json", *options)
        assert [row[1:] for row in results(answer)] == [("reverted", each) for each in reversed(ids)]
    assert victim.number("version") == 1


def test_replace_keeps_those_of_the_run(builds, start, preforked):
    """Guards that --replace takes back what is not among the livepatches, and none of them."""
    build = builds[0]
    old = version_patch(build, 4)
    one = build.patch("one", {"version": "patched_version"}, flags=("-DVERSION=2",))
    other = build.patch("other", {"hidden_version": "patched_hidden_version"}, flags=("-DVERSION=2",))
    victim = start(build)
    preforked.succeed("dispatch", "patch", old, victim.pid)
    for word in ("patched", "already_patched"):
        rows = preforked.succeed("dispatch", "patch", one, other, victim.pid, "--replace", "--json").json()
        assert [row["outcome"] for row in rows] == [word, word]
    assert preforked.run("check", "-p", victim.pid, old).status == NOT_APPLIED
    preforked.succeed("check", "-p", victim.pid, one, other)
    preforked.succeed("dispatch", "revert", one, other, victim.pid)


def test_what_a_directory_stands_for(fixes, builds, start, preforked, tmp_path):
    """Guards that it is every livepatch in it, none below it, and that an empty one is no success."""
    victim = start(builds[0])
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("nothing")
    preforked.refuse("dispatch", "patch", empty, victim.pid, naming=f"the directory {empty} has no livepatch in it")
    (fixes / "more.ulp").mkdir()
    (fixes / ".hidden.ulp").write_text("no livepatch")
    preforked.succeed("dispatch", "patch", fixes, victim.pid)
    preforked.succeed("dispatch", "revert", fixes, victim.pid)
    (fixes / "bad.ulp").write_text("no livepatch")
    preforked.refuse("dispatch", "patch", fixes, victim.pid, naming=fixes / "bad.ulp")
    assert victim.number("version") == 1
    preforked.refuse("dispatch", "patch", victim.pid, status=2, naming="FILE.ulp")
    preforked.refuse("dispatch", "patch", tmp_path / "absent", victim.pid, naming=tmp_path / "absent")


def test_a_process_that_never_answers(builds, fixes, start, preforked):
    """Guards that it costs its own row, which is about no livepatch in particular, and the others nothing."""
    victim = start(builds[1])
    with staged(builds[0], fixes / f"{POST}.ulp") as stage:
        silent = kept_faults(stage)
        answer = preforked.run("dispatch", "patch", fixes, silent, victim.pid, "--json", "--examine-timeout", 1)
        rows = {row["pid"]: row for row in answer.json()}
    assert answer.status == 1
    assert (rows[silent]["outcome"], rows[silent]["patch_id"]) == ("failed", "")
    assert "takes too long to examine" in rows[silent]["reason"]
    assert (rows[victim.pid]["outcome"], victim.number("version")) == ("patched", 2)
    preforked.succeed("dispatch", "revert", fixes, victim.pid)


def test_ledger_names_each(pair, start, preforked, tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    files = [pair.upper_patch(2), pair.lower_patch(2)]
    victim = start(pair)
    for operation in ("patch", "revert"):
        preforked.succeed("dispatch", operation, *files, victim.pid, "--ledger", ledger)
    entries = [json.loads(line) for line in ledger.read_text().splitlines()]
    names = [file.name for file in files]
    assert [entry["patch"] for entry in entries] == names + names[::-1]
    assert [entry["patch_id"] for entry in entries[:2]] == patch_ids(preforked, *files)


def test_modules(builds, fixes, start, tmp_path):
    """Guards the modules' shape with a list and a directory: ``changed`` and check mode are exact."""
    victims = [start(build) for build in builds[:2]]
    pids = [victim.pid for victim in victims]
    files = [str(fixes / f"{mode}.ulp") for mode in MODES]
    plan = module("ulp_dispatch", "--check", patch=files, pids=pids)
    assert plan["changed"] and plan["outcomes"] == {"patched": 2}
    assert [victim.number("version") for victim in victims] == [1, 1]
    ids = [row["patch_id"] for row in plan["processes"]]
    assert [livepatch["path"] for livepatch in plan["livepatches"]] == files
    assert ids == [livepatch["patch_id"] for livepatch in plan["livepatches"][:2]]
    on_host = tmp_path / "host"
    done = module("ulp_dispatch", source=str(fixes), patch=str(on_host), pids=pids)
    assert sorted(livepatch["path"] for livepatch in done["livepatches"]) == sorted(map(str, on_host.iterdir()))
    assert (done["changed"], done["patch_id"], done["outcomes"]) == (True, "", {"patched": 2})
    assert [row["patch_id"] for row in done["processes"]] == ids
    assert not module("ulp_dispatch", patch=str(fixes), pids=pids)["changed"]
    assert module("ulp_check", patch=files, pids=pids)["applied"]
    assert module("ulp_dispatch", patch=files, pids=pids, state="absent")["outcomes"] == {"reverted": 2}
    check = module("ulp_check", patch=str(fixes), pids=pids)
    assert (check["applied"], check["outcomes"]) == (False, {"reverted": 2})
    assert [victim.number("version") for victim in victims] == [1, 1]

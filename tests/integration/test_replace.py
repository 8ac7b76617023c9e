# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One livepatch in place of others: asked for when it is applied, or said by the livepatch itself."""

from __future__ import annotations

import pytest
from harness.livepatch import APPLIED, NOT_APPLIED

from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import parse_description
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.pack import pack


@pytest.fixture
def versions(build, ulp):
    """A function that packs the livepatch with which version is ``number``, with further options of ulp pack."""

    def versioned(number, *options):
        ulp_file = build.patch(f"version{number}", {"version": "patched_version"}, flags=(f"-DVERSION={number}",))
        if not options:
            return ulp_file
        replacing = ulp_file.with_suffix(".replacing.ulp")
        ulp.succeed("pack", ulp_file.with_suffix(".dsc"), "-o", replacing, *options)
        return replacing

    return versioned


def rows(answer):
    return answer.json()


def test_replace_when_asked(build, versions, start, livepatch, ulp):
    victim = start(build)
    second, third = livepatch(versions(2)), livepatch(versions(3))
    second.apply(victim)
    foreseen = ulp.succeed("dispatch", "--json", "patch", third.ulp_file, victim.pid, "--replace", "--dry-run")
    assert [row["reason"] for row in rows(foreseen)] == ["in place of version2.ulp"]
    assert (victim.number("version"), second.check(victim)) == (2, APPLIED)
    for outcome in ("patched", "already_patched"):
        (row,) = rows(ulp.succeed("dispatch", "--json", "patch", third.ulp_file, victim.pid, "--replace"))
        assert row["outcome"] == outcome
    assert victim.number("version") == 3
    assert (second.check(victim), third.check(victim)) == (NOT_APPLIED, APPLIED)
    third.revert(victim)
    # What was replaced stays away.
    assert victim.number("version") == 1


def test_replace_what_the_livepatch_names(build, versions, start, livepatch, ulp):
    """Guards that the livepatch alone, applied in any way, takes the place of the others, also where they came later.

    Seen to fail with ``already_patched``, while the function of the other one ran.
    """
    victim = start(build)
    second = livepatch(versions(2))
    third = livepatch(versions(3, "--replaces", "version2*", "--label", "CVE-2026-0001"))
    second.apply(victim)
    third.apply(victim)
    assert (victim.number("version"), second.check(victim)) == (3, NOT_APPLIED)
    listed = ulp.succeed("list", "-p", victim.pid)
    assert "    cve: CVE-2026-0001" in listed.output.splitlines()
    second.apply(victim)
    assert victim.number("version") == 2
    answer = ulp.run("check", "-p", victim.pid, third.ulp_file)
    assert answer.status == NOT_APPLIED and "has the livepatch beside version2.ulp" in answer.errors
    third.apply(victim)
    assert (victim.number("version"), second.check(victim), third.check(victim)) == (3, NOT_APPLIED, APPLIED)


def test_what_another_one_depends_on_is_not_replaced(build, versions, start, livepatch, ulp, tmp_path):
    victim = start(build)
    second = livepatch(versions(2))
    second.apply(victim)
    needed = ulp.succeed("dump", "--json", second.ulp_file).json()["patch_id"]
    dependent = tmp_path / "dependent.ulp"
    hidden = build.patch("hidden", {"hidden_version": "patched_version"}, flags=("-DVERSION=7",))
    pack(parse_description(hidden.with_suffix(".dsc")), dependent, dependencies=[needed])
    livepatch(dependent).apply(victim)
    third = livepatch(versions(3, "--replaces", "version2.ulp"))
    answer = ulp.run("trigger", "-p", victim.pid, third.ulp_file)
    assert answer.status == 1 and "dependent.ulp, applied to process" in answer.errors
    assert "depends on version2.ulp, which was to go" in answer.errors
    assert (victim.number("version"), second.check(victim)) == (2, APPLIED)
    # All of them may go together.
    ulp.succeed("dispatch", "patch", third.ulp_file, victim.pid, "--replace")
    assert (victim.number("version"), livepatch(dependent).check(victim)) == (3, NOT_APPLIED)


def test_revert_all_of_a_library(build, versions, start, livepatch, ulp, tmp_path):
    """Guards that all go in one publish, by what the process has loaded: no file of a livepatch is needed.

    Seen to fail with ``reverted``, and the function of the livepatch below.
    """
    victim, other = start(build), start(build)
    soname = build.hazard.soname
    unneeded = tmp_path / "third.ulp"
    unneeded.write_bytes(versions(3).read_bytes())
    second, third = livepatch(versions(2)), livepatch(unneeded)
    second.apply(victim)
    third.apply(victim)
    unneeded.unlink()
    words = ("dispatch", "--json", "revert", "--all-of", soname, victim.pid, other.pid)
    (row, nothing) = rows(ulp.succeed(*words, "--dry-run"))
    assert (row["outcome"], nothing["outcome"], victim.number("version")) == ("reverted", "not_applicable", 3)
    (row, nothing) = rows(ulp.succeed(*words))
    assert (row["outcome"], row["reason"]) == ("reverted", "without third.ulp and version2.ulp")
    assert nothing["reason"].startswith(f"no livepatch is applied to {soname} in process {other.pid}")
    assert victim.number("version") == 1
    (described,) = ulp.succeed("list", "--json", "-p", victim.pid).json()["processes"]
    assert [patch["status"] for patch in described["patches"]] == ["reverted", "reverted"]
    assert len({patch["universe"] for patch in described["patches"]}) == 1
    (row, _nothing) = rows(ulp.succeed(*words))
    assert row["outcome"] == "not_applicable"
    second.apply(victim)
    held = ulp.run("dispatch", "--json", "revert", "--all-of", soname, "--exclude", "patch=version2.ulp", victim.pid)
    assert [row["outcome"] for row in rows(held)] == ["excluded"] and victim.number("version") == 2
    ulp.refuse("dispatch", "patch", "--all-of", soname, status=2, naming="--all-of")
    ulp.refuse("dispatch", "revert", status=2, naming="FILE.ulp")

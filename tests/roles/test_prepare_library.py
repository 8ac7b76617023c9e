# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""prepare_library on a Debian host: its zlib, rebuilt, installed by apt, and patched in programs that use it."""

from __future__ import annotations

import json
import re
import time
import zlib

import pytest
from containers import CHECKOUT, Container, podman
from play import Play

# Seconds: a host installs a compiler and what the package needs, and builds it.
pytestmark = pytest.mark.timeout(1800)
DEADLINE = 60
SUFFIX = "+0ulp1"
REPOSITORY = "/srv/libpulp/packages"
LIBRARY = "/lib/x86_64-linux-gnu/libz.so.1"
RUNTIME = "/usr/lib/libpulp/libpulp.so"
OPTIONS = {"prepare_library_source": "zlib", "prepare_library_build_profiles": ["nobiarch"]}
# Writes what zlib answers to a question for which the livepatch has an answer of its own.
PROGRAM = """\
import sys, time, zlib
while True:
    with open(sys.argv[1], "w") as file:
        file.write(f"{zlib.adler32(b'is this the livepatch?'):x}\\n")
    time.sleep(0.05)
"""
STOCK = f"{zlib.adler32(b'is this the livepatch?'):x}"
PATCHED = "600d"
# The container has podman's filter, which the host can examine, and a process inside can't.
FILTERED = ("--seccomp", "assume_errno")


@pytest.fixture(scope="module")
def play(tmp_path_factory):
    with Container("12-ready") as container:
        play = Play(container, tmp_path_factory.mktemp("play"))
        play.changes("ulp_runtime", ulp_runtime_build=str(CHECKOUT / "build"))
        yield play


@pytest.fixture(scope="module")
def packages(play):
    """The host with the packages in its repository."""
    play.container.run("apt-get", "-q", "update")
    # What every build needs is not installed, and there is no directory: several changes, of which none is made.
    assert play.changes("prepare_library", "--check", **OPTIONS) > 1
    assert play.container.run("ls", "/srv") == ""
    assert play.changes("prepare_library", **OPTIONS) > 0
    return play


@pytest.fixture(scope="module")
def livepatch(packages):
    """A livepatch of adler32 for the rebuilt zlib, which the host has installed."""
    container = packages.container
    container.write("/etc/apt/sources.list.d/livepatch.list", f"deb [trusted=yes] file:{REPOSITORY} ./\n")
    container.run("apt-get", "-q", "update")
    container.run("apt-get", "-q", "-y", "install", "zlib1g")
    podman("cp", str(CHECKOUT / "tests" / "targets"), f"{container.name}:/root/targets")
    container.run("gcc", "-O2", "-fPIC", "-shared", "-Wl,--build-id", "-o", "/root/patch.so",
                  "/root/targets/zlib/patch.c")
    container.write("/root/patch.dsc", f"/root/patch.so\n@{LIBRARY}\nadler32:patched_adler32\n")
    container.run("ulp", "pack", "/root/patch.dsc", "-o", "/root/patch.ulp")
    container.write("/root/program.py", PROGRAM)
    return "/root/patch.ulp"


def refused(play, **variables):
    """What a run says that must fail, once, and in words of the role."""
    status, _changed, output = play.run("prepare_library", **{**OPTIONS, **variables})
    assert status != 0, output
    assert len(re.findall(r"^(?:fatal|failed): \[host\]", output, re.MULTILINE)) == 1, output
    return output


def answer(container, file, wanted):
    """Wait until a program has got this answer from zlib."""
    deadline = time.monotonic() + DEADLINE
    while (said := container.run("cat", file, check=False).strip()) != wanted:
        assert time.monotonic() < deadline, f"the program says {said!r}"
        time.sleep(0.1)


def test_bad_names_are_refused(play):
    """Each would be a path, or a version that apt takes for the distribution's, further on."""
    assert "give the name of one source package" in refused(play, prepare_library_source="../zlib")
    assert "give letters, digits" in refused(play, prepare_library_suffix="")


def test_a_host_without_ulp_is_refused(play):
    output = refused(play, prepare_library_command="/usr/bin/no-ulp")
    assert "has no /usr/bin/no-ulp: run the role libpulp.livepatch.ulp_runtime there first" in output


def test_check_mode_builds_once(packages):
    """Once is not due any more.  Seen to fail with one change: apt gives its directory lists/partial another mode."""
    assert packages.changes("prepare_library", "--check", **OPTIONS) == 0
    assert packages.changes("prepare_library", **OPTIONS) == 0
    status, changed, output = packages.run("prepare_library", "--check", **OPTIONS, prepare_library_sonames=["libz.*"])
    assert (status, changed) == (0, 1), output
    assert re.search(r"zlib_\S+\.dsc would be built", output), output


def test_a_package_that_was_taken_away_is_built_again(packages):
    """Seen to fail with a stamp that only tells what went into the build: the repository stayed as it was."""
    listing = packages.container.run("ls", REPOSITORY)
    package = next(name for name in listing.split() if name.startswith("zlib1g_"))
    digest = packages.container.run("sha256sum", f"{REPOSITORY}/{package}")
    packages.container.run("rm", f"{REPOSITORY}/{package}")
    assert packages.changes("prepare_library", **OPTIONS) > 0
    assert packages.container.run("ls", REPOSITORY) == listing
    # The same source, built twice, has to have the same build ID, or a livepatch of one would not suit the other.
    assert packages.container.run("sha256sum", f"{REPOSITORY}/{package}") == digest


def test_version_is_between_those_of_the_distribution(livepatch, packages):
    """Newer than what the archive has, and older than its next security update or rebuild."""
    container = packages.container
    version = container.run("dpkg-query", "-W", "-f=${Version}", "zlib1g")
    assert version.endswith(SUFFIX)
    stock = version[: -len(SUFFIX)]
    for older, newer in ((stock, version), (version, f"{stock}+deb12u1"), (version, f"{stock}+b1")):
        container.run("dpkg", "--compare-versions", older, "lt", newer)


@pytest.mark.parametrize("preload", [True, False], ids=["preloaded", "attached"])
def test_installed_library_is_patched_under_a_program(livepatch, packages, preload):
    """At the padding, not where a jump fits.  Seen to fail with a zlib built without the linker of the role."""
    container = packages.container
    targets = json.loads(container.run("ulp", "dump", "--json", livepatch))["targets"]
    assert [(pair["old"], pair["sites"]) for pair in targets[0]["functions"]] == [("adler32", [])]
    posted = json.loads(container.run("ulp", "post", "--json", LIBRARY))
    assert (posted["changed"], posted["untracked"]) == (False, [])
    assert posted["build_id"] == targets[0]["build_id"]

    unit, file = ("summing-preloaded", "/run/preloaded") if preload else ("summing", "/run/answer")
    environment = (f"--setenv=LD_PRELOAD={RUNTIME}",) if preload else ()
    container.run("systemd-run", f"--unit={unit}", *environment, "/usr/bin/python3", "/root/program.py", file)
    answer(container, file, STOCK)
    pid = container.run("systemctl", "show", "--property=MainPID", "--value", unit).strip()
    assert (RUNTIME in container.run("cat", f"/proc/{pid}/maps")) == preload

    container.run("ulp", "trigger", *FILTERED, "-p", pid, livepatch)
    answer(container, file, PATCHED)
    container.run("ulp", "check", "-p", pid, livepatch)
    container.run("ulp", "trigger", *FILTERED, "--revert", "-p", pid, livepatch)
    answer(container, file, STOCK)
    checked = podman("exec", container.name, "ulp", "check", "-p", pid, livepatch, check=False)
    assert checked.returncode == 1, checked.stdout


def test_what_no_archive_has_is_refused(packages):
    """Seen to fail with apt's status alone: non-zero return code."""
    output = refused(packages, prepare_library_source="no-such-source")
    assert "there is no source package no-such-source for this host" in output
    output = refused(packages, prepare_library_version="1:0.1-1")
    assert "there is no source package zlib=1:0.1-1 for this host" in output


def test_a_host_without_archives_is_refused(packages):
    packages.container.run("mv", "/etc/apt/sources.list", "/root/sources.list")
    try:
        assert "knows no archive with sources" in refused(packages)
    finally:
        packages.container.run("mv", "/root/sources.list", "/etc/apt/sources.list")


def test_a_build_that_prepares_nothing_fails(packages):
    """What an earlier run put into the repository stays there."""
    listing = packages.container.run("ls", REPOSITORY)
    output = refused(packages, prepare_library_sonames=["libno.so.*"])
    assert "no library of it was prepared" in output
    assert packages.container.run("ls", REPOSITORY) == listing


def test_functions_without_padding_fail_the_build(packages):
    """Seen to fail: zlib's configure script takes the refusal for a compiler that makes no shared libraries."""
    output = refused(packages, prepare_library_padding="-O2")
    assert "zlib was not built, since a library of it can't be livepatched" in output
    assert "was built without padding" in output


def test_a_compiler_that_fails_is_quoted(packages):
    output = refused(packages, prepare_library_padding="-fno-such-option")
    assert "zlib could not be built" in output
    assert "build.log on host ends with" in output
